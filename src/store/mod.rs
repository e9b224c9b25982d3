//! The data: shards, tables, entries, data types, and each shard's log. Knows no socket, no task and no wall clock.
//!
//! A [`Store`] is the shards of a node, each behind a lock of its own. Whoever works on data locks the shards of its
//! keys in ascending order, opens a [`Db`] on them, and [settles](Store::settle) each when it is done. Read on in
//! [`db`] for what commands see, in [`shard`] for what a shard is, in [`ordered`] for the tables, in [`log`] and
//! [`copy`] for what replicas get.

pub mod copy;
pub mod db;
mod entry;
pub mod evict;
pub mod eviction;
mod expiry;
pub mod key;
mod keys;
pub mod log;
pub mod objects;
pub mod ordered;
mod outline;
pub mod packed;
mod sample;
pub mod shard;
pub mod value;
mod waiting;

pub use self::{
    db::{Db, Edit, Locked, Lookups, Peek, Taken},
    evict::{Access, Policy},
    eviction::{Eviction, Evictor, Rules},
    key::Key,
    keys::Point,
    shard::{Core, DATABASES, Role, Shard},
    value::{Form, Kind, Object, Value},
    waiting::{ChangedKey, WaiterId},
};

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use ringfort_cluster::{SLOTS, ShardId};

use self::outline::Outlines;
use crate::lock::lock;

/// All shards of a node.
pub struct Store {
    shards: Box<[Mutex<Shard>]>,
    slots_per_shard: u16,
    /// The cluster's secret seed of the hash by which keys are ordered.
    pub hash_seed: u64,
    /// Bytes that the logs of all shards may keep together.
    log_budget: AtomicUsize,
    /// Bytes that they keep.
    log_bytes: AtomicUsize,
    /// What is known of the shards without their locks.
    outlines: Outlines,
    /// Bytes that were removed and are not given back to the allocator yet.
    dropping: Arc<AtomicUsize>,
    /// Shards whose log has grown since replication last looked, one bit each.
    grown: Box<[AtomicU64]>,
    trash: crossbeam_channel::Sender<(Trash, usize)>,
}

/// No shard's log keeps more than this part of the budget.
const BUSY_SHARE: usize = 8;

/// What takes time to drop.
enum Trash {
    Objects(Vec<Object>),
    Tables(Vec<shard::Cleared>),
}

impl Trash {
    fn bytes(&self) -> usize {
        match self {
            Self::Objects(objects) => objects.iter().map(Object::heap_bytes).sum(),
            Self::Tables(tables) => tables.iter().map(|cleared| cleared.bytes).sum(),
        }
    }
}

impl Store {
    /// A store of so many shards, all empty and without a role.
    pub fn new(shards: u16, hash_seed: u64) -> Self {
        let slots_per_shard = SLOTS / shards;
        let new = |id| Mutex::new(Shard::new(ShardId(id), slots_per_shard));
        let (trash, bin) = crossbeam_channel::unbounded();
        let dropping = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&dropping);
        let empty_the_bin = move || {
            for (trash, bytes) in bin {
                drop::<Trash>(trash);
                left.fetch_sub(bytes, Ordering::Relaxed);
            }
        };
        thread::Builder::new()
            .name("drop".into())
            .spawn(empty_the_bin)
            .expect("the system gives a thread at start-up");
        Self {
            shards: (0..shards).map(new).collect(),
            slots_per_shard,
            hash_seed,
            log_budget: AtomicUsize::new(0),
            log_bytes: AtomicUsize::new(0),
            outlines: Outlines::new(shards),
            dropping,
            grown: (0..shards.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            trash,
        }
    }

    /// Number of shards.
    pub fn shards(&self) -> u16 {
        self.shards.len() as u16
    }

    /// How many slots each shard has.
    pub fn slots_per_shard(&self) -> u16 {
        self.slots_per_shard
    }

    /// The shard of a slot.
    pub fn shard_of(&self, slot: u16) -> ShardId {
        ShardId(slot / self.slots_per_shard)
    }

    /// Locks a shard. To lock several, do so in ascending order.
    pub fn lock(&self, shard: ShardId) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(shard.0)])
    }

    /// To be called before a shard that may have changed is unlocked: brings the node's account of memory up to date,
    /// tells replication, and sends large removed values to be dropped.
    pub fn settle(&self, shard: &mut Shard) {
        let core = &mut shard.core;
        let outline = core.outline();
        if outline != core.settled {
            self.outlines.settle(core.id, core.settled, outline);
            core.settled = outline;
        }
        let kept = core.log.kept();
        if kept != core.settled_log {
            let budget = self.log_budget.load(Ordering::Relaxed);
            let before = self.log_bytes.fetch_add(kept.wrapping_sub(core.settled_log), Ordering::Relaxed);
            core.settled_log = kept;
            // Busy shards may keep more than their share for as long as others leave them room.
            let share = if before > budget { budget / self.shards.len() } else { budget / BUSY_SHARE };
            core.log.limit(share);
        }
        if !core.dropped.is_empty() {
            let objects = std::mem::take(&mut core.dropped);
            self.throw(Trash::Objects(objects));
        }
        if !core.cleared.is_empty() {
            self.drop_later(std::mem::take(&mut core.cleared));
        }
    }

    /// Sets how many bytes the logs of all shards may keep together.
    pub fn set_log_budget(&self, bytes: usize) {
        self.log_budget.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that the logs of all shards keep.
    pub fn log_bytes(&self) -> usize {
        self.log_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that all entries take, by the store's own account.
    pub fn used(&self) -> usize {
        self.outlines.used()
    }

    /// Of [`Store::used`], bytes in shards that this node is not the primary of.
    pub fn used_by_copies(&self) -> usize {
        self.outlines.used_by_copies()
    }

    /// Bytes that were removed and are not given back to the allocator yet.
    pub fn dropping(&self) -> usize {
        self.dropping.load(Ordering::Relaxed)
    }

    /// Whether a shard that this node is primary of may have keys whose time is over at `now`.
    pub fn is_due(&self, shard: ShardId, now: u64) -> bool {
        self.outlines.is_due(shard, now)
    }

    /// Whether this node is primary of any key that may be given up: of one with a deadline, if only those may.
    pub fn has_evictable(&self, volatile: bool) -> bool {
        self.outlines.weights(volatile).any(|weight| weight > 0)
    }

    /// Notes that the log of a shard has grown. Returns whether replication is to be woken: it has no other work.
    pub fn note_growth(&self, shard: ShardId) {
        self.grown[usize::from(shard.0 / 64)].fetch_or(1 << (shard.0 % 64), Ordering::Release);
    }

    /// The shards whose log has grown since this was last asked.
    pub fn take_grown(&self) -> Vec<ShardId> {
        let mut shards = Vec::new();
        for (word, bits) in (0..).zip(&self.grown) {
            let mut bits =
                if bits.load(Ordering::Relaxed) == 0 { 0 } else { bits.swap(0, Ordering::Acquire) };
            while bits != 0 {
                shards.push(ShardId(word * 64 + bits.trailing_zeros() as u16));
                bits &= bits - 1;
            }
        }
        shards
    }

    /// Drops emptied tables where nobody waits for it.
    pub fn drop_later(&self, tables: Vec<shard::Cleared>) {
        self.throw(Trash::Tables(tables));
    }

    fn throw(&self, trash: Trash) {
        let bytes = trash.bytes();
        self.dropping.fetch_add(bytes, Ordering::Relaxed);
        // The receiver lives as long as the process.
        let _ = self.trash.send((trash, bytes));
    }
}
