//! What each event loop shows of itself to other threads: some times a second, never on the way of a request.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::runtime::RuntimeMetrics;

/// When a thread last showed that it turns, by [`crate::env::Clock::boot`].
#[derive(Debug)]
pub struct Pulse(AtomicU64);

impl Default for Pulse {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Pulse {
    /// Shows that the thread turns.
    pub fn beat(&self, now: u64) {
        self.0.store(now, Relaxed);
    }

    /// How long the thread has not turned; nothing before its first turn.
    pub fn silence(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.0.load(Relaxed)))
    }
}

/// One event loop, as others see it.
#[derive(Debug, Default)]
pub struct Loop {
    /// When it last turned.
    pub pulse: Pulse,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    runtime: OnceLock<RuntimeMetrics>,
}

impl Loop {
    /// To be called once, within the loop's runtime: its figures can be read from then on.
    pub fn begin(&self) {
        self.runtime.get_or_init(|| tokio::runtime::Handle::current().metrics());
    }

    /// Shows that it turns, and how many requests wait on it, of so many bytes.
    pub fn show(&self, now: u64, waiting: usize, bytes: usize) {
        self.waiting.store(waiting, Relaxed);
        self.waiting_bytes.store(bytes, Relaxed);
        self.pulse.beat(now);
    }

    /// Requests that waited when it last turned, and their bytes.
    pub fn waiting(&self) -> (usize, usize) {
        (self.waiting.load(Relaxed), self.waiting_bytes.load(Relaxed))
    }

    /// How often it has run out of work and waited for more: its turns.
    pub fn turns(&self) -> u64 {
        self.runtime.get().map_or(0, |runtime| runtime.worker_park_count(0))
    }

    /// How long it has worked, rather than waited for work.
    pub fn busy(&self) -> Duration {
        self.runtime.get().map_or(Duration::ZERO, |runtime| runtime.worker_total_busy_duration(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_silent_from_its_last_turn_on_and_not_before_its_first() {
        let pulse = Pulse::default();
        assert_eq!(pulse.silence(5_000), Duration::ZERO);
        pulse.beat(1_000);
        assert_eq!(pulse.silence(5_000), Duration::from_nanos(4_000));
        assert_eq!(pulse.silence(900), Duration::ZERO);
    }

    #[test]
    fn a_loop_counts_its_turns_once_it_has_begun() {
        let shown = Loop::default();
        assert_eq!((shown.turns(), shown.busy()), (0, Duration::ZERO));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
        runtime.unwrap().block_on(async {
            shown.begin();
            while shown.turns() < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(shown.busy() > Duration::ZERO);
    }
}
