//! How much memory the node uses: what its allocator says, brought up to date by the store's own account.
//!
//! `maxmemory` is about bytes that are really allocated, with all that entries, tables, logs and connections take. The
//! allocator knows, but asking it takes tens of microseconds, so one loop asks it a few times a second. In between,
//! what the store's account has changed by since is added. Where the allocator is not jemalloc (in tests), the account
//! is all there is.
//!
//! Three things are left out of what is in use: what the node took before it had any data (tables of libraries, the
//! council), since the limit is one for data; what threads keep at hand of memory that was given back, which is overhead
//! as fragmentation is; and removed values that a thread is about to drop, since giving up keys for them would be in
//! vain. [`Memory::startup`] and [`Allocator`] tell of the first two.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use tikv_jemalloc_ctl::{Access, AsName, epoch, stats, thread};

use crate::{
    config::Settings,
    store::{Policy, Store},
};

/// The logs of all shards together take at most one byte in so many of `maxmemory`, whatever their own budget is: else a
/// node with a small limit would give up its data for them.
const LOG_SHARE: u64 = 8;

/// Bytes that the allocator keeps for all threads at hand. Its number 4096 stands for all arenas.
const THREAD_CACHES: &[u8] = b"stats.arenas.4096.tcache_bytes\0";

/// Bytes that the logs of all shards may keep together.
pub fn log_budget(settings: &Settings) -> usize {
    match settings.maxmemory {
        0 => settings.log_budget,
        limit => settings.log_budget.min(usize::try_from(limit / LOG_SHARE).unwrap_or(usize::MAX)),
    }
}

/// What the allocator says, in bytes: INFO's `allocator_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocator {
    /// Allocated, and not given back.
    pub allocated: u64,
    /// In pages that have something allocated in them.
    pub active: u64,
    /// In pages that the system holds in memory for it.
    pub resident: u64,
}

impl Allocator {
    /// Bytes lost to gaps between what is allocated, and how many times what is allocated the pages take.
    pub fn fragmentation(&self) -> (u64, f64) {
        difference(self.allocated, self.active)
    }

    /// Bytes in pages that are held and not in use, and how many times what is in use they take.
    pub fn overhead(&self) -> (u64, f64) {
        difference(self.active, self.resident)
    }
}

fn difference(less: u64, more: u64) -> (u64, f64) {
    let ratio = if less == 0 { 1.0 } else { more as f64 / less as f64 };
    (more.saturating_sub(less), ratio)
}

/// The memory of a node.
#[derive(Debug)]
pub struct Memory {
    /// Whether jemalloc is the allocator.
    is_measured: bool,
    /// Bytes that were in use when the node was about to get data.
    startup: u64,
    /// What was in use beyond the store's account when the allocator was last asked.
    beyond: AtomicI64,
    allocated: AtomicU64,
    active: AtomicU64,
    resident: AtomicU64,
    peak: AtomicU64,
    crowded_by_copies: AtomicBool,
}

impl Memory {
    /// Finds out who allocates, and how much is in use before there is any data.
    #[expect(clippy::new_without_default, reason = "it asks the allocator")]
    pub fn new() -> Self {
        let is_measured = is_jemalloc();
        let at_start = if is_measured { measure() } else { None };
        Self {
            is_measured,
            startup: at_start.map_or(0, |(allocator, caches)| allocator.allocated.saturating_sub(caches)),
            beyond: AtomicI64::new(0),
            allocated: AtomicU64::new(0),
            active: AtomicU64::new(0),
            resident: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            crowded_by_copies: AtomicBool::new(false),
        }
    }

    /// Asks the allocator. Takes tens of microseconds.
    pub fn refresh(&self, store: &Store) {
        let account = account(store);
        let now = if self.is_measured { measure() } else { None };
        let (allocator, caches) =
            now.unwrap_or((Allocator { allocated: account, active: account, resident: account }, 0));
        let used = if now.is_some() {
            allocator.allocated.saturating_sub(self.startup + caches + store.dropping() as u64)
        } else {
            account
        };
        self.beyond.store(used as i64 - account as i64, Relaxed);
        self.allocated.store(allocator.allocated, Relaxed);
        self.active.store(allocator.active, Relaxed);
        self.resident.store(allocator.resident, Relaxed);
        self.peak.fetch_max(used, Relaxed);
    }

    /// Bytes in use: what `maxmemory` limits.
    pub fn used(&self, store: &Store) -> u64 {
        let used = account(store) as i64 + self.beyond.load(Relaxed);
        u64::try_from(used).unwrap_or(0)
    }

    /// Bytes that the node took before it had any data: no part of [`Memory::used`].
    pub fn startup(&self) -> u64 {
        self.startup
    }

    /// The most that was ever in use, as far as was measured.
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }

    /// What the allocator said last.
    pub fn allocator(&self) -> Allocator {
        Allocator {
            allocated: self.allocated.load(Relaxed),
            active: self.active.load(Relaxed),
            resident: self.resident.load(Relaxed),
        }
    }

    /// The name of the allocator.
    pub fn allocator_name(&self) -> &'static str {
        if self.is_measured { "jemalloc" } else { "system" }
    }

    /// Whether memory is over its limit, and nothing that this node may remove would bring it back: the rest are copies
    /// of shards that others are primary of.
    pub fn is_crowded_by_copies(&self) -> bool {
        self.crowded_by_copies.load(Relaxed)
    }

    /// Notices whether copies crowd the node, and says so when they begin to.
    pub fn watch(&self, store: &Store, settings: &Settings) {
        let (used, limit, copies) = (self.used(store), settings.maxmemory, store.used_by_copies());
        let may_evict =
            settings.policy != Policy::NoEviction && store.has_evictable(settings.policy.is_volatile());
        let crowded = limit > 0 && used > limit && copies > 0 && !may_evict;
        if crowded && !self.crowded_by_copies.load(Relaxed) {
            tracing::warn!(
                used,
                maxmemory = limit,
                copies,
                "memory is over its limit and copies of other nodes' shards take part of it; raise maxmemory, \
                 or add a node"
            );
        }
        self.crowded_by_copies.store(crowded, Relaxed);
    }
}

/// Bytes that the store knows of.
fn account(store: &Store) -> u64 {
    (store.used() + store.log_bytes()) as u64
}

/// Whether what Rust allocates comes from jemalloc.
fn is_jemalloc() -> bool {
    let Ok(allocated) = thread::allocatedp::read() else { return false };
    let before = allocated.get();
    let probe = std::hint::black_box(vec![0u8; 64]);
    drop(probe);
    allocated.get() > before
}

/// What the allocator says, and how much of what is allocated lies ready for threads.
fn measure() -> Option<(Allocator, u64)> {
    epoch::advance().ok()?;
    let allocator = Allocator {
        allocated: stats::allocated::read().ok()? as u64,
        active: stats::active::read().ok()? as u64,
        resident: stats::resident::read().ok()? as u64,
    };
    let caches: usize = THREAD_CACHES.name().read().ok()?;
    Some((allocator, caches as u64))
}

#[cfg(test)]
mod tests {
    use ringfort_cluster::ShardId;

    use super::*;
    use crate::store::{Db, Form, Key, Locked, Role};

    fn put(store: &Store, role: Role, key: &str) {
        let key = Key::new(key.as_bytes(), 0);
        let mut guard = store.lock(ShardId(0));
        guard.core.role = role;
        let mut locked = [&mut *guard];
        let locked = Locked::new(&mut locked, store.slots_per_shard());
        Db::new(locked, 0, 1, Default::default()).edit(key).put(Form::Str, &[&[b'v'; 1_000]], None);
        store.settle(&mut guard);
    }

    #[test]
    fn without_jemalloc_the_account_alone_counts() {
        let (memory, store) = (Memory::new(), Store::new(1, 0));
        memory.refresh(&store);
        assert_eq!(memory.used(&store), 0);
        put(&store, Role::Primary, "k");
        assert!(store.used() > 1_000);
        assert_eq!(memory.used(&store), store.used() as u64, "without asking again");
        store.set_log_budget(1 << 20);
        store.lock(ShardId(0)).core.log.keep(1 << 20);
        put(&store, Role::Primary, "l");
        let mut shard = store.lock(ShardId(0));
        shard.core.log_effect(0, None, [&b"FLUSHDB"[..]].into_iter());
        store.settle(&mut shard);
        assert!(store.log_bytes() > 0, "logs count");
        assert_eq!(memory.used(&store), (store.used() + store.log_bytes()) as u64);
    }

    #[test]
    fn what_is_in_use_beyond_the_account_is_added() {
        let (memory, store) = (Memory::new(), Store::new(1, 0));
        memory.beyond.store(5_000, Relaxed);
        assert_eq!(memory.used(&store), 5_000);
        put(&store, Role::Primary, "k");
        assert_eq!(memory.used(&store), 5_000 + store.used() as u64);
        memory.beyond.store(-1 << 40, Relaxed);
        assert_eq!(memory.used(&store), 0, "never below nothing");
    }

    #[test]
    fn values_that_wait_to_be_dropped_are_counted_apart_until_they_are_gone() {
        let store = Store::new(1, 0);
        put(&store, Role::Primary, "k");
        let cleared = store.lock(ShardId(0)).clear(None);
        store.settle(&mut store.lock(ShardId(0)));
        assert_eq!(store.used(), 0);
        store.drop_later(cleared);
        while store.dropping() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn copies_crowd_a_node_only_while_it_has_nothing_of_its_own_to_give_up() {
        let (memory, store) = (Memory::new(), Store::new(1, 0));
        let settings = Settings { maxmemory: 1_000, policy: Policy::AllKeysLru, ..Settings::default() };
        put(&store, Role::Primary, "k");
        memory.watch(&store, &settings);
        assert!(!memory.is_crowded_by_copies(), "there is a key to give up");
        put(&store, Role::Replica, "l");
        memory.watch(&store, &settings);
        assert!(memory.is_crowded_by_copies());
        memory.watch(&store, &Settings { maxmemory: 1 << 20, ..settings });
        assert!(!memory.is_crowded_by_copies());
    }

    #[test]
    fn logs_take_a_share_of_a_small_limit_and_their_budget_of_a_large_one() {
        let budget =
            |maxmemory| log_budget(&Settings { maxmemory, log_budget: 1_000, ..Settings::default() });
        assert_eq!((budget(0), budget(80), budget(8_000), budget(1 << 40)), (1_000, 10, 1_000, 1_000));
    }

    #[test]
    fn fragmentation_is_told_in_bytes_and_as_a_ratio() {
        let allocator = Allocator { allocated: 100, active: 150, resident: 300 };
        assert_eq!((allocator.fragmentation(), allocator.overhead()), ((50, 1.5), (150, 2.0)));
        assert_eq!(Allocator::default().fragmentation(), (0, 1.0));
    }
}
