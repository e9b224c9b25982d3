//! Keeping memory in bounds: room for commands that need it, and keys whose time is over.
//!
//! All of it is done by whichever loop has cause to, in steps of bounded work with no lock held between them, and only
//! on shards that this node is primary of while it holds its lease.

use std::sync::atomic::Ordering;

use ringfort_cluster::ShardId;

use super::{Router, execute, frame::Written, park::Ready};
use crate::{
    latency::Event,
    store::{Access, Eviction, Policy, Role, Rules},
};

/// Keys that may be given up, or looked for in vain, in one step: for a command, or by the loop in between.
const EVICTIONS: usize = 32;

/// Entries that one step of expiry looks at.
const EXPIRY_BUDGET: usize = 512;

impl Router {
    /// Makes room for a command that may need memory. Returns whether there is none: the limit is passed, and no key
    /// may be given up. Where the limit is still passed after a bounded number of evictions, the command may run, and
    /// the loop goes on giving up keys ([`Router::over_limit`]).
    pub(super) fn is_out_of_memory(&mut self) -> bool {
        if !self.is_over_limit() {
            return false;
        }
        self.settings.policy == Policy::NoEviction || self.evict_down() == Some(Eviction::Nothing)
    }

    /// Gives up some keys if memory is over its limit. Returns whether there is more to do.
    pub fn evict_some(&mut self) -> bool {
        self.over_limit = false;
        if !self.node.lease.holds(self.now.boot) || !self.is_over_limit() {
            return false;
        }
        let last = self.evict_down();
        self.serve_ready();
        last.is_some_and(|last| last != Eviction::Nothing)
    }

    fn is_over_limit(&self) -> bool {
        let limit = self.settings.maxmemory;
        limit > 0 && self.node.memory.used(&self.node.store) > limit
    }

    /// Gives up keys until memory is within its limit, or for one step. Returns what came of the last attempt if the
    /// limit is still passed.
    fn evict_down(&mut self) -> Option<Eviction> {
        self.watched(Event::EvictionCycle, Self::evict_step)
    }

    fn evict_step(&mut self) -> Option<Eviction> {
        let node = self.node.clone();
        let access = Access {
            now: self.now.wall,
            lfu: self.settings.policy.is_lfu(),
            log_factor: self.settings.lfu_log_factor,
            decay_minutes: self.settings.lfu_decay_time,
            ..Access::default()
        };
        let samples = self.settings.maxmemory_samples as usize;
        let rules = Rules { policy: self.settings.policy, samples, access };
        let mut last = Eviction::Missed;
        for _ in 0..EVICTIONS {
            last = self.evictor.evict(&node.store, &rules, &mut self.dice);
            match last {
                Eviction::Gone { shard, logged } => {
                    node.stats.evicted.add(1);
                    self.logged |= logged;
                    let changed = node.store.lock(shard).core.take_changed();
                    self.ready.extend(changed.into_iter().map(|key| Ready { shard, key }));
                }
                Eviction::Missed => {}
                Eviction::Nothing => return Some(last),
            }
            if !self.is_over_limit() {
                return None;
            }
        }
        self.over_limit = true;
        Some(last)
    }

    /// Removes some keys of a shard whose time is over. Returns whether there is more to do.
    pub fn expire_some(&mut self, shard: ShardId) -> bool {
        self.watched(Event::ExpireCycle, |router| router.expire_step(shard))
    }

    fn expire_step(&mut self, shard: ShardId) -> bool {
        let node = self.node.clone();
        if !node.lease.holds(self.now.boot) || !node.expires_by_itself.load(Ordering::Relaxed) {
            return false;
        }
        let mut shard = node.store.lock(shard);
        if shard.core.role != Role::Primary {
            return false;
        }
        let before = shard.core.log.end();
        let more = shard.expire(self.now.wall, EXPIRY_BUDGET);
        self.logged |= execute::settle(&node, &mut shard, before, &mut Written::new(), &mut self.ready);
        drop(shard);
        self.serve_ready();
        more
    }
}
