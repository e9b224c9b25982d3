//! Which keys to give up when memory is short, by policy, and the clocks of entries that tell.
//!
//! Every entry carries 32 bits. Under an LRU policy they are the time of its last use in ticks of [`TICK_MS`]; under
//! an LFU policy, as in Redis, a logarithmic counter (low 8 bits) and the minute of its last decay (upper 24).

use std::cell::Cell;

/// Resolution of the LRU clock in milliseconds: with the whole second that Redis uses, a fast replay of real traces
/// loses up to four points of hit ratio.
pub const TICK_MS: u64 = 50;

/// A new key's counter, so that it is not the first to go.
const LFU_NEW: u8 = 5;

/// Which keys are given up, and in what order: Redis' `maxmemory-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// None: writes that need memory are refused.
    #[default]
    NoEviction,
    /// Any key, least recently used first.
    AllKeysLru,
    /// Keys with a deadline, least recently used first.
    VolatileLru,
    /// Any key, least frequently used first.
    AllKeysLfu,
    /// Keys with a deadline, least frequently used first.
    VolatileLfu,
    /// Any key.
    AllKeysRandom,
    /// Any key with a deadline.
    VolatileRandom,
    /// Keys with a deadline, soonest first.
    VolatileTtl,
}

impl Policy {
    const NAMES: [(&str, Self); 8] = [
        ("noeviction", Self::NoEviction),
        ("allkeys-lru", Self::AllKeysLru),
        ("volatile-lru", Self::VolatileLru),
        ("allkeys-lfu", Self::AllKeysLfu),
        ("volatile-lfu", Self::VolatileLfu),
        ("allkeys-random", Self::AllKeysRandom),
        ("volatile-random", Self::VolatileRandom),
        ("volatile-ttl", Self::VolatileTtl),
    ];

    /// All policies, by the names that Redis gives them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|named| named.0)
    }

    /// The policy of this name, in any case of letters.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|named| named.0.eq_ignore_ascii_case(name)).map(|named| named.1)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|named| named.1 == self).map_or("", |named| named.0)
    }

    /// Whether entries count how often they are used instead of when.
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::AllKeysLfu | Self::VolatileLfu)
    }

    /// Whether chance alone decides.
    pub fn is_random(self) -> bool {
        matches!(self, Self::AllKeysRandom | Self::VolatileRandom)
    }

    /// Whether only keys with a deadline go.
    pub fn is_volatile(self) -> bool {
        matches!(self, Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl)
    }
}

/// How use is marked on entries, for the length of one command.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access {
    /// The time in Unix milliseconds.
    pub now: u64,
    /// Whether entries count how often they are used.
    pub lfu: bool,
    /// Redis' `lfu-log-factor`.
    pub log_factor: u8,
    /// Redis' `lfu-decay-time`, in minutes.
    pub decay_minutes: u8,
    /// Any number: decides whether a counter rises.
    pub dice: u32,
    /// The client asked that its reads leave no mark.
    pub silent: bool,
}

impl Access {
    /// The clock of a new entry.
    pub(super) fn fresh(&self) -> u32 {
        if self.lfu { self.minute() << 8 | u32::from(LFU_NEW) } else { self.tick() }
    }

    /// The clock of an entry that was last used so many milliseconds ago.
    pub(super) fn idle_since(&self, ms: u64) -> u32 {
        self.tick().wrapping_sub(u32::try_from(ms / TICK_MS).unwrap_or(u32::MAX))
    }

    /// The clock of an entry that is so much in use.
    pub(super) fn used(&self, frequency: u8) -> u32 {
        self.minute() << 8 | u32::from(frequency)
    }

    /// Marks a use.
    pub(super) fn touch(&self, clock: &Cell<u32>) {
        if self.silent {
            return;
        }
        clock.set(if self.lfu {
            self.minute() << 8 | u32::from(self.raised(self.frequency(clock.get())))
        } else {
            self.tick()
        });
    }

    /// Milliseconds since the last use that an LRU clock tells.
    pub(super) fn idle_ms(&self, clock: u32) -> u64 {
        u64::from(self.tick().wrapping_sub(clock)) * TICK_MS
    }

    /// The counter of an LFU clock after its decay.
    pub(super) fn frequency(&self, clock: u32) -> u8 {
        let passed = self.minute().wrapping_sub(clock >> 8) & 0x00ff_ffff;
        let periods = if self.decay_minutes == 0 { 0 } else { passed / u32::from(self.decay_minutes) };
        (clock as u8).saturating_sub(periods.min(255) as u8)
    }

    /// How little an LFU clock speaks for its entry: by its counter; among equal ones, by how long ago it was used.
    pub(super) fn disuse(&self, clock: u32) -> u64 {
        let passed = self.minute().wrapping_sub(clock >> 8) & 0x00ff_ffff;
        u64::from(u8::MAX - self.frequency(clock)) << 32 | u64::from(passed)
    }

    /// The counter after one more use: the higher it is, the rarer it rises.
    fn raised(&self, counter: u8) -> u8 {
        let above = u32::from(counter.saturating_sub(LFU_NEW));
        let odds = u64::from(above * u32::from(self.log_factor) + 1);
        let rises = u64::from(self.dice) * odds <= u64::from(u32::MAX);
        counter.saturating_add(u8::from(rises))
    }

    fn tick(&self) -> u32 {
        (self.now / TICK_MS) as u32
    }

    fn minute(&self) -> u32 {
        (self.now / 60_000) as u32 & 0x00ff_ffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lfu(minute: u64) -> Access {
        Access { now: minute * 60_000, lfu: true, log_factor: 10, decay_minutes: 2, ..Access::default() }
    }

    #[test]
    fn a_frequency_falls_by_one_for_each_period_and_never_below_zero() {
        let clock = 1_000 << 8 | 7;
        let falls: Vec<u8> =
            [1_000, 1_001, 1_002, 1_005, 1_014, 9_000].map(|at| lfu(at).frequency(clock)).into();
        assert_eq!(falls, [7, 7, 6, 5, 0, 0]);
        assert_eq!(Access { decay_minutes: 0, ..lfu(9_000) }.frequency(clock), 7);
    }

    #[test]
    fn a_frequency_rises_the_seldomer_the_higher_it_is() {
        let rises = |counter: u8, dice: u32| Access { dice, ..lfu(1_000) }.raised(counter) > counter;
        assert!(rises(0, u32::MAX) && rises(5, u32::MAX), "below a new key's, by every use");
        assert!(!rises(6, u32::MAX) && rises(6, u32::MAX / 11));
        assert!(!rises(105, u32::MAX / 1_000) && rises(105, u32::MAX / 1_002));
        assert!(!rises(255, 0), "there is no higher one");
    }

    #[test]
    fn a_use_under_lfu_counts_from_the_decayed_counter() {
        let clock = Cell::new(1_000 << 8 | 7);
        Access { dice: u32::MAX, ..lfu(1_004) }.touch(&clock);
        assert_eq!(clock.get(), 1_004 << 8 | 6);
    }

    #[test]
    fn idle_time_is_told_in_ticks() {
        let access = Access { now: 1_700_000_000_049, ..Access::default() };
        let clock = access.fresh();
        assert_eq!(Access { now: access.now + TICK_MS, ..access }.idle_ms(clock), TICK_MS);
        assert_eq!(access.idle_ms(clock), 0);
    }

    #[test]
    fn clocks_can_be_set_to_what_they_shall_tell() {
        let access = Access { now: 1_700_000_000_000, ..Access::default() };
        for ms in [0, TICK_MS, 3_600_000] {
            assert_eq!(access.idle_ms(access.idle_since(ms)), ms);
        }
        assert_eq!(access.idle_ms(access.idle_since(u64::MAX)), u64::from(u32::MAX) * TICK_MS);
        assert_eq!(lfu(1_000).frequency(lfu(1_000).used(200)), 200);
    }

    #[test]
    fn policies_have_redis_names() {
        for name in Policy::names() {
            assert_eq!(Policy::from_name(&name.to_uppercase()).map(Policy::name), Some(name));
        }
        assert_eq!((Policy::names().count(), Policy::from_name("lru")), (8, None));
    }
}
