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
pub mod key;
mod keys;
pub mod log;
pub mod objects;
pub mod ordered;
pub mod packed;
pub mod shard;
pub mod value;

pub use self::{
    db::{Db, Edit, Locked, Peek, Taken},
    evict::{Access, Policy},
    key::Key,
    keys::Point,
    shard::{Core, DATABASES, Role, Shard},
    value::{Form, Kind, Object, Value},
};

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use ringfort_cluster::{SLOTS, ShardId};

/// All shards of a node.
pub struct Store {
    shards: Box<[Mutex<Shard>]>,
    slots_per_shard: u16,
    /// The cluster's secret seed of the hash by which keys are ordered.
    pub hash_seed: u64,
    used: AtomicUsize,
    /// Bytes that the logs of all shards may keep together.
    log_budget: AtomicUsize,
    /// Bytes that they keep.
    log_bytes: AtomicUsize,
    /// Shards whose log has grown since replication last looked, one bit each.
    grown: Box<[AtomicU64]>,
    trash: crossbeam_channel::Sender<Trash>,
}

/// No shard's log keeps more than this part of the budget.
const BUSY_SHARE: usize = 8;

/// What takes time to drop.
enum Trash {
    Objects(#[expect(dead_code, reason = "held to be dropped")] Vec<Object>),
    Tables(#[expect(dead_code, reason = "held to be dropped")] Vec<shard::Cleared>),
}

impl Store {
    /// A store of so many shards, all empty and without a role.
    pub fn new(shards: u16, hash_seed: u64) -> Self {
        let slots_per_shard = SLOTS / shards;
        let new = |id| Mutex::new(Shard::new(ShardId(id), slots_per_shard));
        let (trash, bin) = crossbeam_channel::unbounded();
        let empty_the_bin = move || bin.iter().for_each(drop::<Trash>);
        thread::Builder::new()
            .name("drop".into())
            .spawn(empty_the_bin)
            .expect("the system gives a thread at start-up");
        Self {
            shards: (0..shards).map(new).collect(),
            slots_per_shard,
            hash_seed,
            used: AtomicUsize::new(0),
            log_budget: AtomicUsize::new(0),
            log_bytes: AtomicUsize::new(0),
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
        // A panic stops the whole process, so no lock is ever poisoned where that matters.
        self.shards[usize::from(shard.0)].lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// To be called before a shard that may have changed is unlocked: brings the node's account of memory up to date,
    /// tells replication, and sends large removed values to be dropped.
    pub fn settle(&self, shard: &mut Shard) {
        let core = &mut shard.core;
        if core.used != core.settled {
            self.used.fetch_add(core.used.wrapping_sub(core.settled), Ordering::Relaxed);
            core.settled = core.used;
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
            // The receiver lives as long as the process.
            let _ = self.trash.send(Trash::Objects(objects));
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
        self.used.load(Ordering::Relaxed)
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
        let _ = self.trash.send(Trash::Tables(tables));
    }
}
