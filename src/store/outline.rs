//! What is known of each shard without its lock: enough to pass over those where there is nothing to do.
//!
//! [`Store::settle`](super::Store::settle) brings it up to date before a shard is unlocked, so it is as old as the
//! last change. Whoever acts on it locks the shard and looks again.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use ringfort_cluster::ShardId;

use super::shard::{Core, Role};

/// One shard, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outline {
    /// Bytes that its entries take.
    used: usize,
    /// The same where this node is not its primary, else 0.
    copied: usize,
    /// Keys that this node may remove on its own: all where it is the primary, else none.
    keys: u32,
    /// Of these, keys with a deadline.
    volatile: u32,
    /// None of these deadlines is sooner.
    soonest: u64,
}

impl Default for Outline {
    fn default() -> Self {
        Self { used: 0, copied: 0, keys: 0, volatile: 0, soonest: u64::MAX }
    }
}

impl Core {
    pub(super) fn outline(&self) -> Outline {
        let used = self.used;
        if self.role != Role::Primary {
            return Outline { used, copied: used, ..Outline::default() };
        }
        let volatile = self.deadlines.iter().sum();
        Outline { used, copied: 0, keys: self.keys, volatile, soonest: self.rounds.soonest() }
    }
}

#[derive(Debug)]
struct Shared {
    keys: AtomicU32,
    volatile: AtomicU32,
    soonest: AtomicU64,
}

/// All shards, seen from outside.
#[derive(Debug)]
pub(super) struct Outlines {
    shards: Box<[Shared]>,
    used: AtomicUsize,
    copied: AtomicUsize,
}

impl Outlines {
    pub(super) fn new(shards: u16) -> Self {
        let empty = |_| Shared { keys: 0.into(), volatile: 0.into(), soonest: u64::MAX.into() };
        Self { shards: (0..shards).map(empty).collect(), used: 0.into(), copied: 0.into() }
    }

    /// Takes over what a shard has become since it was last told of. To be called under its lock.
    pub(super) fn settle(&self, shard: ShardId, before: Outline, after: Outline) {
        let add = |sum: &AtomicUsize, before: usize, after: usize| {
            if before != after {
                // Wraps around for a shard that has shrunk, and so subtracts.
                sum.fetch_add(after.wrapping_sub(before), Relaxed);
            }
        };
        add(&self.used, before.used, after.used);
        add(&self.copied, before.copied, after.copied);
        let shared = &self.shards[usize::from(shard.0)];
        shared.keys.store(after.keys, Relaxed);
        shared.volatile.store(after.volatile, Relaxed);
        shared.soonest.store(after.soonest, Relaxed);
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(super) fn used_by_copies(&self) -> usize {
        self.copied.load(Relaxed)
    }

    pub(super) fn is_due(&self, shard: ShardId, now: u64) -> bool {
        self.shards[usize::from(shard.0)].soonest.load(Relaxed) <= now
    }

    /// Of each shard in turn, how many keys may be given up: all, or those with a deadline.
    pub(super) fn weights(&self, volatile: bool) -> impl Iterator<Item = u64> {
        self.shards.iter().map(move |shared| {
            let keys = if volatile { &shared.volatile } else { &shared.keys };
            u64::from(keys.load(Relaxed))
        })
    }
}
