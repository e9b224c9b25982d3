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
#[derive(Clone, Copy, Debug, Default)]
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
