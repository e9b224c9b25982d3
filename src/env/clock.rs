//! Time, of both kinds that a node needs.

use rustix::time::{ClockId, clock_gettime};

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Time since the machine started, in nanoseconds, suspensions included (`CLOCK_BOOTTIME`): for leases, latencies
    /// and deadlines of waiting.
    fn boot(&self) -> u64;

    /// A clock that costs less to read and is up to [`COARSE_TICK`] behind, in nanoseconds from any beginning: for
    /// lengths of time that are much longer than that.
    fn coarse(&self) -> u64 {
        self.boot()
    }

    /// Wall-clock time in Unix milliseconds: for the deadlines of keys.
    fn wall_ms(&self) -> u64;

    /// Wall-clock time in Unix microseconds, where whole milliseconds will not do.
    fn wall_micros(&self) -> u64 {
        self.wall_ms() * 1_000
    }
}

/// What [`Clock::coarse`] may be wrong by, in nanoseconds: Linux counts at least 100 times a second.
pub const COARSE_TICK: u64 = 10_000_000;

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn boot(&self) -> u64 {
        let time = clock_gettime(ClockId::Boottime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    fn coarse(&self) -> u64 {
        let time = clock_gettime(ClockId::MonotonicCoarse);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    fn wall_ms(&self) -> u64 {
        let time = clock_gettime(ClockId::Realtime);
        time.tv_sec as u64 * 1_000 + time.tv_nsec as u64 / 1_000_000
    }

    fn wall_micros(&self) -> u64 {
        let time = clock_gettime(ClockId::Realtime);
        time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
    }
}

/// An instant by both clocks: the time of one turn of an event loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// [`Clock::boot`].
    pub boot: u64,
    /// [`Clock::wall_ms`].
    pub wall: u64,
}

/// Tells the time of one turn after another: the wall clock is read anew with each tick of the coarse clock, and in
/// between it is told by the other one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticker {
    /// What the clocks showed when the last tick was noticed: coarse and boot in nanoseconds, wall in microseconds.
    coarse: u64,
    boot: u64,
    wall: u64,
}

impl Ticker {
    /// The time of a clock whose coarse hand shows `coarse`. Always the same clock.
    pub fn now(&mut self, clock: &dyn Clock, coarse: u64) -> Now {
        let boot = clock.boot();
        if self.coarse != coarse {
            *self = Self { coarse, boot, wall: clock.wall_micros() };
        }
        Now { boot, wall: (self.wall + boot.saturating_sub(self.boot) / 1_000) / 1_000 }
    }
}

impl Now {
    /// The time of this clock.
    pub fn of(clock: &dyn Clock) -> Self {
        Self { boot: clock.boot(), wall: clock.wall_ms() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Two clocks that are set by hand: since the start in nanoseconds, and the wall's in microseconds.
    struct Hands(AtomicU64, AtomicU64);

    impl Clock for Hands {
        fn boot(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn wall_ms(&self) -> u64 {
            self.wall_micros() / 1_000
        }

        fn wall_micros(&self) -> u64 {
            self.1.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn the_wall_clock_is_told_to_the_millisecond_and_read_once_a_tick() {
        let clock = Hands(AtomicU64::new(7_000_000), AtomicU64::new(1_000_900));
        let mut ticker = Ticker::default();
        let now = |boot, wall| Now { boot, wall };
        assert_eq!(ticker.now(&clock, 4), now(7_000_000, 1_000));
        clock.0.store(7_100_000, Ordering::Relaxed);
        assert_eq!(ticker.now(&clock, 4), now(7_100_000, 1_001));
        // Somebody sets the wall clock: from the next tick on.
        clock.1.store(5_000_000, Ordering::Relaxed);
        assert_eq!(ticker.now(&clock, 4), now(7_100_000, 1_001));
        assert_eq!(ticker.now(&clock, 8), now(7_100_000, 5_000));
    }
}
