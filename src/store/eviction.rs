//! Eviction: gives up the key that is likely to be missed least.
//!
//! As in Redis: a few keys are looked at by chance, the best of all that were looked at so far are remembered in a
//! small pool, and the best of those goes. With 5 samples this comes within a third of a point of exact LRU in hit
//! ratio, at no cost for reads. Only keys of shards that this node is primary of go, and their removal is logged as `DEL`.
//!
//! Each event loop has an [`Evictor`] of its own. It holds no lock between two calls, so what it remembers may have
//! changed: a candidate that was used, changed or removed since is passed over.

use ringfort_cluster::ShardId;

use super::{
    Store,
    entry::Entry,
    evict::{Access, Policy},
    ordered::Item,
    shard::{Place, Role, Shard},
};
use crate::env::random::Dice;

/// Candidates that are remembered, as in Redis.
const POOL: usize = 16;

/// Shards that are drawn at a time.
const DRAWN: usize = 16;

/// What is to go, and in what order.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Redis' `maxmemory-policy`.
    pub policy: Policy,
    /// Redis' `maxmemory-samples`: keys that are looked at for each one that goes.
    pub samples: usize,
    /// How clocks are read.
    pub access: Access,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// A key is gone.
    Gone {
        /// Its shard.
        shard: ShardId,
        /// Whether replicas are to be told: its shard keeps a log.
        logged: bool,
    },
    /// This time none was found; there are some.
    Missed,
    /// There is no key that may go.
    Nothing,
}

/// Chooses the keys that go.
#[derive(Debug, Default)]
pub struct Evictor {
    policy: Policy,
    pool: Vec<Candidate>,
    drawn: Vec<ShardId>,
}

/// A key that may go. Where hash and clock of two keys of a slot are equal, either may go.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    shard: ShardId,
    db: u8,
    slot: u16,
    hash: u32,
    clock: u32,
    deadline: Option<u64>,
}

impl Candidate {
    fn new(shard: ShardId, db: u8, slot: u16, entry: &Entry) -> Self {
        Self { shard, db, slot, hash: entry.hash(), clock: entry.clock.get(), deadline: entry.deadline() }
    }

    /// The higher, the sooner it goes.
    fn rank(&self, rules: &Rules) -> u64 {
        match rules.policy {
            Policy::NoEviction | Policy::AllKeysRandom | Policy::VolatileRandom => 0,
            Policy::AllKeysLru | Policy::VolatileLru => rules.access.idle_ms(self.clock),
            Policy::AllKeysLfu | Policy::VolatileLfu => rules.access.disuse(self.clock),
            Policy::VolatileTtl => u64::MAX - self.deadline.unwrap_or(u64::MAX),
        }
    }

    fn is_same_key(&self, other: &Self) -> bool {
        (self.slot, self.db, self.hash) == (other.slot, other.db, other.hash)
    }
}

impl Evictor {
    /// Gives up one key. No shard may be locked by this thread.
    pub fn evict(&mut self, store: &Store, rules: &Rules, dice: &mut Dice) -> Eviction {
        if self.policy != rules.policy {
            *self = Self { policy: rules.policy, ..Self::default() };
        }
        if self.drawn.is_empty() {
            self.draw_shards(store, dice);
        }
        let Some(id) = self.drawn.pop() else { return Eviction::Nothing };
        let mut random = || dice.roll();
        let samples = if rules.policy.is_random() { 1 } else { rules.samples };
        let shard = store.lock(id);
        if shard.core.role == Role::Primary {
            let volatile = rules.policy.is_volatile();
            shard.sample_keys(volatile, samples, &mut random, |db, slot, entry| {
                self.offer(Candidate::new(id, db, slot, entry), rules);
            });
        }
        drop(shard);
        while let Some(best) = self.take_best(rules) {
            let mut shard = store.lock(best.shard);
            if shard.evict(&best) {
                let logged = shard.core.log.is_kept();
                if logged {
                    store.note_growth(best.shard);
                }
                store.settle(&mut shard);
                return Eviction::Gone { shard: best.shard, logged };
            }
        }
        Eviction::Missed
    }

    /// Draws shards by their number of keys, so that every key of the node is as likely to be looked at.
    fn draw_shards(&mut self, store: &Store, dice: &mut Dice) {
        let volatile = self.policy.is_volatile();
        let total: u64 = store.outlines.weights(volatile).sum();
        if total == 0 || self.policy == Policy::NoEviction {
            return;
        }
        let mut points: [u64; DRAWN] = std::array::from_fn(|_| dice.roll() % total);
        points.sort_unstable();
        let mut points = points.into_iter().peekable();
        let mut end = 0;
        for (id, weight) in (0..).zip(store.outlines.weights(volatile)) {
            end += weight;
            while points.next_if(|point| *point < end).is_some() {
                self.drawn.push(ShardId(id));
            }
        }
    }

    fn offer(&mut self, candidate: Candidate, rules: &Rules) {
        if let Some(known) = self.pool.iter_mut().find(|known| known.is_same_key(&candidate)) {
            *known = candidate;
        } else if self.pool.len() < POOL {
            self.pool.push(candidate);
        } else if let Some(worst) = self.pool.iter_mut().min_by_key(|known| known.rank(rules))
            && worst.rank(rules) < candidate.rank(rules)
        {
            *worst = candidate;
        }
    }

    fn take_best(&mut self, rules: &Rules) -> Option<Candidate> {
        let ranks = self.pool.iter().map(|candidate| candidate.rank(rules));
        let best = ranks.enumerate().max_by_key(|(_, rank)| *rank)?.0;
        Some(self.pool.swap_remove(best))
    }
}

impl Shard {
    /// Removes the candidate, unless it is not what it was, and logs it. Returns whether it is gone.
    fn evict(&mut self, candidate: &Candidate) -> bool {
        if self.core.role != Role::Primary {
            return false;
        }
        let Candidate { db, slot, hash, clock, deadline, .. } = *candidate;
        let is = |entry: &Entry| entry.clock.get() == clock && entry.deadline() == deadline;
        let Some(pos) = self.table(db, slot).and_then(|table| table.find(hash, is)) else { return false };
        let entry = self.remove(db, Place { table: slot - self.first_slot, pos });
        self.core.log_removal(db, slot, &entry);
        self.core.drop_later(entry);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::{Db, Form, Key, Locked, log};

    const NOW: u64 = 1_700_000_000_000;

    struct Bench {
        store: Store,
        evictor: Evictor,
        dice: Dice,
        rules: Rules,
    }

    impl Bench {
        /// A store of four shards that this node is primary of.
        fn new(policy: Policy) -> Self {
            let store = Store::new(4, 0);
            for id in 0..4 {
                let mut shard = store.lock(ShardId(id));
                shard.core.role = Role::Primary;
                shard.core.log.keep(1 << 20);
                store.settle(&mut shard);
            }
            let access = Access { now: NOW, lfu: policy.is_lfu(), decay_minutes: 1, ..Access::default() };
            let rules = Rules { policy, samples: 5, access };
            Self { store, evictor: Evictor::default(), dice: Dice::new(1), rules }
        }

        fn with<R>(&self, key: &str, db: u8, work: impl FnOnce(&mut Db<'_>, Key<'_>) -> R) -> R {
            let key = Key::new(key.as_bytes(), 0);
            let mut guard = self.store.lock(self.store.shard_of(key.slot));
            let mut locked = [&mut *guard];
            let locked = Locked::new(&mut locked, self.store.slots_per_shard());
            let result = work(&mut Db::new(locked, db, self.rules.access.now, self.rules.access), key);
            self.store.settle(&mut guard);
            result
        }

        fn set(&self, key: &str, deadline: Option<u64>) {
            self.with(key, 0, |db, key| db.edit(key).put(Form::Str, &[b"v"], deadline));
        }

        fn read(&self, key: &str) {
            assert!(self.with(key, 0, |db, key| db.read(key).is_some()));
        }

        fn has(&self, key: &str) -> bool {
            self.with(key, 0, |db, key| db.peek(key).is_some())
        }

        fn evict(&mut self) -> Eviction {
            self.evictor.evict(&self.store, &self.rules, &mut self.dice)
        }

        /// Evicts so many keys, of those numbered from 0 to `of`, and returns the numbers of those that are left.
        fn left_after(&mut self, evictions: usize, of: usize) -> BTreeSet<usize> {
            let mut gone = 0;
            while gone < evictions {
                match self.evict() {
                    Eviction::Gone { .. } => gone += 1,
                    Eviction::Missed => {}
                    Eviction::Nothing => panic!("there are more"),
                }
            }
            let left: BTreeSet<usize> = (0..of).filter(|i| self.has(&format!("k{i}"))).collect();
            assert_eq!(left.len(), of - evictions);
            left
        }
    }

    #[test]
    fn lru_gives_up_what_was_not_used_for_longest() {
        let mut bench = Bench::new(Policy::AllKeysLru);
        for i in 0..1_000 {
            bench.rules.access.now = NOW + i * 100;
            bench.set(&format!("k{i}"), None);
        }
        for i in 0..100 {
            bench.rules.access.now += 100;
            bench.read(&format!("k{i}"));
        }
        let left = bench.left_after(500, 1_000);
        assert!((0..100).all(|i| left.contains(&i)), "read last, so kept");
        let old = left.range(100..500).count();
        assert!(old < 60, "of the 400 oldest, {old} outlived younger ones");
    }

    #[test]
    fn lfu_gives_up_what_is_used_least() {
        let mut bench = Bench::new(Policy::AllKeysLfu);
        for i in 0..400 {
            bench.set(&format!("k{i}"), None);
            for _ in 0..if i < 100 { 200 } else { 0 } {
                bench.read(&format!("k{i}"));
            }
        }
        let left = bench.left_after(250, 400);
        assert!((0..100).all(|i| left.contains(&i)));
        // Once their use is long ago, they are worth no more than others.
        bench.rules.access.now += 300 * 60_000;
        bench.set("new", None);
        bench.left_after(0, 0);
        while (0..100).any(|i| bench.has(&format!("k{i}"))) {
            assert!(bench.has("new") && bench.evict() != Eviction::Nothing);
        }
    }

    #[test]
    fn volatile_policies_give_up_keys_with_a_deadline_and_no_others() {
        for policy in [Policy::VolatileLru, Policy::VolatileLfu, Policy::VolatileRandom, Policy::VolatileTtl]
        {
            let mut bench = Bench::new(policy);
            for i in 0..300 {
                bench.set(&format!("k{i}"), (i < 20).then_some(NOW + 1_000 + i));
            }
            assert!(bench.store.has_evictable(true));
            let left = bench.left_after(20, 300);
            assert_eq!(left, (20..300).collect(), "{policy:?}");
            assert!(!bench.store.has_evictable(true) && bench.store.has_evictable(false));
            // What was drawn before the last one went may still be looked through in vain.
            let last = (0..=DRAWN).map(|_| bench.evict()).last();
            assert_eq!(last, Some(Eviction::Nothing));
        }
    }

    #[test]
    fn volatile_ttl_gives_up_what_is_to_expire_soonest() {
        let mut bench = Bench::new(Policy::VolatileTtl);
        (0..1_000).for_each(|i| bench.set(&format!("k{i}"), Some(NOW + 1_000 + i)));
        let left = bench.left_after(500, 1_000);
        let soon = left.range(0..400).count();
        assert!(soon < 60, "of the 400 soonest, {soon} outlived later ones");
    }

    #[test]
    fn random_gives_up_any() {
        let mut bench = Bench::new(Policy::AllKeysRandom);
        (0..1_000).for_each(|i| bench.set(&format!("k{i}"), None));
        let left = bench.left_after(500, 1_000);
        // Binomial with mean 250: six standard deviations on either side.
        assert!((180..=320).contains(&left.range(0..500).count()));
    }

    #[test]
    fn noeviction_gives_up_nothing() {
        let mut bench = Bench::new(Policy::NoEviction);
        bench.set("k0", None);
        assert_eq!(bench.evict(), Eviction::Nothing);
    }

    #[test]
    fn a_candidate_that_was_used_since_is_passed_over() {
        let mut bench = Bench::new(Policy::AllKeysLru);
        for i in 0..5 {
            bench.rules.access.now = NOW + i * 1_000;
            bench.set(&format!("k{i}"), None);
        }
        // A whole turn through the shards fills the pool with all that there is.
        for id in 0..4 {
            bench.evictor.policy = Policy::AllKeysLru;
            let shard = bench.store.lock(ShardId(id));
            let (evictor, rules) = (&mut bench.evictor, bench.rules);
            shard.sample_keys(false, 5, &mut || 0, |db, slot, entry| {
                evictor.offer(Candidate::new(ShardId(id), db, slot, entry), &rules);
            });
        }
        assert_eq!(bench.evictor.pool.len(), 5);
        bench.rules.access.now += 1_000;
        bench.read("k0");
        let best = bench.evictor.take_best(&bench.rules).unwrap();
        assert!(!bench.store.lock(best.shard).evict(&best), "k0 is not what it was");
        let best = bench.evictor.take_best(&bench.rules).unwrap();
        assert!(bench.store.lock(best.shard).evict(&best));
        assert!(bench.has("k0") && !bench.has("k1"));
    }

    #[test]
    fn the_pool_keeps_the_best_that_were_offered() {
        let mut bench = Bench::new(Policy::VolatileTtl);
        let offer = |bench: &mut Bench, deadline: u64| {
            let slot = deadline as u16;
            let shard = ShardId(0);
            let candidate = Candidate { shard, db: 0, slot, hash: 0, clock: 0, deadline: Some(deadline) };
            let rules = bench.rules;
            bench.evictor.offer(candidate, &rules);
        };
        (0..100).rev().for_each(|deadline| offer(&mut bench, deadline));
        (50..100).for_each(|deadline| offer(&mut bench, deadline));
        let rules = bench.rules;
        let order: Vec<_> = std::iter::from_fn(|| bench.evictor.take_best(&rules)?.deadline).collect();
        assert_eq!(order, (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn copies_are_left_alone() {
        let mut bench = Bench::new(Policy::AllKeysLru);
        (0..100).for_each(|i| bench.set(&format!("k{i}"), None));
        for id in 0..4 {
            let mut shard = bench.store.lock(ShardId(id));
            shard.core.role = Role::Replica;
            bench.store.settle(&mut shard);
        }
        assert_eq!(bench.evict(), Eviction::Nothing);
        assert_eq!(bench.store.used_by_copies(), bench.store.used());
    }

    #[test]
    fn the_removal_is_logged_in_its_database() {
        let mut bench = Bench::new(Policy::AllKeysLru);
        bench.with("k", 7, |db, key| db.edit(key).put(Form::Str, &[b"v"], None));
        let used = bench.store.used();
        assert_eq!(bench.evict(), Eviction::Gone { shard: ShardId(1), logged: true });
        assert!(used > 0 && bench.store.used() == 0);
        let id = bench.store.take_grown();
        assert_eq!(id.len(), 1);
        let shard = bench.store.lock(id[0]);
        let bytes = shard.core.log.read(shard.core.log.start(), usize::MAX).unwrap();
        let records: Vec<_> = log::records(&bytes).collect();
        assert_eq!(records, [(7, &b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"[..])]);
    }
}
