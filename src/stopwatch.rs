//! How long commands take: measured for the [command log](crate::commandlog), for [`crate::latency`] and for the
//! [tally](crate::tally), which takes what is measured for the others.
//!
//! Each command ends where the next begins, so the clock is read once a command. As long as nobody asks for anything
//! below 10 ms the coarse clock is good enough, which costs a few nanoseconds; it is wrong by one tick at most, as is
//! the figure that is told then. Below that, the exact clock is read, which whoever asks for it pays for. Time that a
//! request spends waiting is not counted, and what another node runs for it is counted there.

use crate::env::{Clock, clock::COARSE_TICK};

/// Measures the commands of one turn of an event loop, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stopwatch {
    /// From how many nanoseconds on a command is told; `None`: nothing is measured.
    threshold: Option<u64>,
    last: u64,
    took: u64,
}

impl Stopwatch {
    /// Starts. Somebody wants to know of commands that take `threshold` nanoseconds, if anybody does.
    pub fn start(threshold: Option<u64>, clock: &dyn Clock) -> Self {
        let mut this = Self { threshold, ..Self::default() };
        this.restart(clock);
        this
    }

    /// Starts anew: what was done meanwhile belongs to no command.
    pub fn restart(&mut self, clock: &dyn Clock) {
        self.last = self.read(clock);
    }

    /// A command has ended. Returns how many nanoseconds it took, if somebody wants to know.
    #[inline]
    pub fn lap(&mut self, clock: &dyn Clock) -> Option<u64> {
        let threshold = self.threshold?;
        let now = self.read(clock);
        self.took = now.saturating_sub(std::mem::replace(&mut self.last, now));
        (self.took >= threshold).then_some(self.took)
    }

    /// How many nanoseconds the last command took; 0 if nothing is measured. By the coarse clock a short one takes
    /// nothing as a rule, and now and then a whole tick: the sum over many is right.
    #[inline]
    pub fn took(&self) -> u64 {
        self.took
    }

    fn read(&self, clock: &dyn Clock) -> u64 {
        match self.threshold {
            None => 0,
            Some(threshold) if threshold >= COARSE_TICK => clock.coarse(),
            Some(_) => clock.boot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::node::testing::Hands;

    #[test]
    fn a_lap_is_told_from_the_threshold_on() {
        let clock = Hands { boot: 5_000.into() };
        let mut exact = Stopwatch::start(Some(100_000), &clock);
        clock.boot.store(5_000 + 99_000, Ordering::Relaxed);
        assert_eq!(exact.lap(&clock), None);
        clock.boot.store(5_000 + 199_000, Ordering::Relaxed);
        assert_eq!(exact.lap(&clock), Some(100_000));
        assert_eq!(Stopwatch::start(Some(0), &clock).lap(&clock), Some(0));
        assert_eq!(Stopwatch::start(None, &clock).lap(&clock), None);
        let mut coarse = Stopwatch::start(Some(COARSE_TICK), &clock);
        clock.boot.store(2 * COARSE_TICK + 1, Ordering::Relaxed);
        assert_eq!(coarse.lap(&clock), Some(2 * COARSE_TICK));
        assert_eq!((exact.took(), coarse.took()), (100_000, 2 * COARSE_TICK));
    }
}
