//! Time, of both kinds that a node needs.

use rustix::time::{ClockId, clock_gettime};

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Time since the machine started, in nanoseconds, suspensions included (`CLOCK_BOOTTIME`): for leases, latencies
    /// and deadlines of waiting.
    fn boot(&self) -> u64;

    /// Wall-clock time in Unix milliseconds: for the deadlines of keys.
    fn wall_ms(&self) -> u64;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn boot(&self) -> u64 {
        let time = clock_gettime(ClockId::Boottime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    fn wall_ms(&self) -> u64 {
        let time = clock_gettime(ClockId::Realtime);
        time.tv_sec as u64 * 1_000 + time.tv_nsec as u64 / 1_000_000
    }
}

/// An instant by both clocks: the time of one turn of an event loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// [`Clock::boot`].
    pub boot: u64,
    /// [`Clock::wall_ms`].
    pub wall: u64,
}

impl Now {
    /// The time of this clock.
    pub fn of(clock: &dyn Clock) -> Self {
        Self { boot: clock.boot(), wall: clock.wall_ms() }
    }
}
