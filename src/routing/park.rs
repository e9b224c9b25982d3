//! Requests that wait at this node for data, and how they are served: first come, first served.
//!
//! A request that finds nothing is parked under the locks that it was run under: it is entered at its keys in their
//! shards, so that no change of them is missed. Whoever changes such a key, on whichever loop, runs the request again
//! once its own is done and its locks are released, and before its loop runs anything else; so `RPUSH` followed by
//! `LLEN` sees what the first who waited has left. What that changes may let others be served in turn.
//!
//! A waiter is served or taken out, and never both: its own lock, taken under those of its shards, decides. Its reply
//! goes to the loop that it came by.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use ringfort_cluster::{Epoch, ShardId};
use ringfort_protocol::OwnedArgs;
use rustc_hash::FxBuildHasher;
use smallvec::{SmallVec, smallvec};
use tokio::sync::Notify;

use super::{Keys, Origin, Owned, Request, Router, execute::settle, frame::Written, hold::Stay};
use crate::{
    commands::{Blocking, CommandError, Cx, Done, KeyFlags, Reply, Run, dispatch},
    lock::lock,
    store::{ChangedKey, Core, Db, Key, Kind, Locked, Role, Shard, WaiterId},
};

/// Requests of one loop that may wait for data.
const PARKED_LIMIT: usize = 100_000;

/// Bytes that they may take.
const PARKED_BYTES_LIMIT: usize = 256 << 20;

/// What a place in the queue of a key takes, beside the name of the key.
const PLACE_BYTES: usize = 96;

/// Those who wait for data on a node, as all its loops know them.
pub struct Parking {
    next: AtomicU64,
    waiters: Mutex<HashMap<WaiterId, Arc<Waiter>, FxBuildHasher>>,
    mailboxes: Box<[Mailbox]>,
}

/// Replies for waiters of one loop whom another one has served: one for each at most.
#[derive(Default)]
struct Mailbox {
    served: Mutex<Vec<(Origin, Reply, Written)>>,
    wake: Notify,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    id: WaiterId,
    /// The loop that it came by.
    home: usize,
    origin: Origin,
    request: Owned,
    stay: Stay,
    /// Its shards, and in which epoch they were when it came.
    shards: SmallVec<[(ShardId, Epoch); 2]>,
    /// Cleared by whoever serves it or takes it out.
    waits: Mutex<bool>,
}

/// Those who came by one loop.
#[derive(Debug, Default)]
pub(super) struct Parked {
    waiters: HashMap<Origin, Arc<Waiter>, FxBuildHasher>,
    bytes: usize,
}

/// A key that has changed, and that somebody waits for.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ready {
    pub(super) shard: ShardId,
    pub(super) key: ChangedKey,
}

/// What came of an attempt to serve the next who waits for a key.
enum Next {
    /// This one was served, or found nothing.
    Tried(WaiterId),
    /// Nobody else waits for what the key holds.
    Nobody,
    /// One of the shards is not served at this moment.
    NotServing,
}

impl Parking {
    /// For a node of so many loops.
    pub fn new(loops: usize) -> Self {
        let mailboxes = (0..loops).map(|_| Mailbox::default()).collect();
        Self { next: AtomicU64::new(1), waiters: Mutex::default(), mailboxes }
    }

    /// Waits until another loop has served somebody of loop `index`.
    pub async fn served(&self, index: usize) {
        self.mailboxes[index].wake.notified().await;
    }

    fn get(&self, id: WaiterId) -> Option<Arc<Waiter>> {
        lock(&self.waiters).get(&id).cloned()
    }
}

impl Waiter {
    /// The names of the keys that it waits for.
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        let request = self.request.as_request();
        request.command.awaited(request.args).map(move |index| request.args.at(index))
    }

    fn keys(&self, seed: u64) -> impl Iterator<Item = Key<'_>> {
        self.names().map(move |name| Key::new(name, seed))
    }

    fn bytes(&self) -> usize {
        let places: usize = self.names().map(|name| name.len() + PLACE_BYTES).sum();
        self.request.args.capacity() + places
    }

    fn blocking(&self) -> Option<Blocking> {
        let Run::Blocking(blocking) = self.request.command.run else { return None };
        Some(blocking)
    }

    /// The keys that it is run with when this one can be had.
    fn keys_with<'a>(&'a self, ready: Key<'a>, seed: u64) -> Keys<'a> {
        let request = self.request.as_request();
        let mut keys = Keys::new();
        for spec in request.command.keys {
            if spec.flags.has(KeyFlags::ACCESS) {
                keys.push(ready);
            } else {
                keys.extend(spec.indices(request.args).map(|index| Key::new(request.args.at(index), seed)));
            }
        }
        keys
    }
}

impl Router {
    /// Lets a request wait for its keys, whose shards are locked, with other arguments if some are given. Fails if too
    /// many wait.
    pub(super) fn park(
        &mut self,
        origin: Origin,
        request: &Request<'_>,
        stay: Stay,
        lasting: Option<&OwnedArgs>,
        shards: &mut [MutexGuard<'_, Shard>],
    ) -> Result<(), CommandError> {
        let epoch = |shard: &MutexGuard<'_, Shard>| (shard.core.id, shard.core.epoch);
        let lasting = lasting.map(OwnedArgs::as_args);
        let request = &Request { args: lasting.unwrap_or(request.args), waited: true, ..*request };
        let waiter = Arc::new(Waiter {
            id: WaiterId { since: stay.since(), number: self.parking.next.fetch_add(1, Ordering::Relaxed) },
            home: self.index,
            origin,
            request: Request::to_owned(*request),
            stay,
            shards: shards.iter().map(epoch).collect(),
            waits: Mutex::new(true),
        });
        let bytes = waiter.bytes();
        let (Some(blocking), true) = (
            waiter.blocking(),
            self.parked.waiters.len() < PARKED_LIMIT && self.parked.bytes + bytes <= PARKED_BYTES_LIMIT,
        ) else {
            return Err(CommandError::other("ERR too many clients wait for data"));
        };
        for key in waiter.keys(self.node.store.hash_seed) {
            let shard = self.node.store.shard_of(key.slot);
            if let Some(shard) = shards.iter_mut().find(|locked| locked.core.id == shard) {
                shard.core.wait_for(request.db, key, blocking.kind, waiter.id);
            }
        }
        lock(&self.parking.waiters).insert(waiter.id, Arc::clone(&waiter));
        self.node.parked.fetch_add(1, Ordering::Relaxed);
        self.parked.bytes += bytes;
        self.parked.waiters.insert(origin, waiter);
        self.tell_that_it_waits(origin, true, lasting);
        Ok(())
    }

    /// Takes a request out that waits here: it will not be served. `None` if it does not wait, or has been served.
    pub(super) fn unpark(&mut self, origin: Origin) -> Option<Unparked> {
        let waiter = Arc::clone(self.parked.waiters.get(&origin)?);
        if !std::mem::take(&mut *lock(&waiter.waits)) {
            return None;
        }
        self.leave(&waiter);
        self.forget_parked(origin);
        Some(Unparked { waiter })
    }

    /// Whether a request waits here, or was served and its reply is on its way.
    pub(super) fn is_parked(&self, origin: Origin) -> bool {
        self.parked.waiters.contains_key(&origin)
    }

    fn forget_parked(&mut self, origin: Origin) -> Option<Arc<Waiter>> {
        let waiter = self.parked.waiters.remove(&origin)?;
        self.parked.bytes -= waiter.bytes();
        Some(waiter)
    }

    /// Takes one who does not wait any more out of the queues of his keys. No shard may be locked.
    fn leave(&self, waiter: &Waiter) {
        lock(&self.parking.waiters).remove(&waiter.id);
        self.node.parked.fetch_sub(1, Ordering::Relaxed);
        for key in waiter.keys(self.node.store.hash_seed) {
            let shard = self.node.store.shard_of(key.slot);
            self.node.store.lock(shard).core.stop_waiting(waiter.request.db, key, waiter.id);
        }
    }

    /// Those who wait for shards that this node has ceased to serve since are to wait where these are served now.
    pub(super) fn call_back_moved(&mut self) {
        let is_as_it_was = |(shard, epoch): &(ShardId, Epoch)| {
            self.is_here(*shard) && self.topology.shard(*shard).epoch == *epoch
        };
        let moved = self.parked.waiters.values().filter(|waiter| !waiter.shards.iter().all(is_as_it_was));
        let origins: Vec<Origin> = moved.map(|waiter| waiter.origin).collect();
        for origin in origins {
            let Some(waiter) = self.unpark(origin) else { continue };
            let request = waiter.request();
            let keys = self.keys(request.command, request.args);
            self.hold_until(waiter.waiter.origin, request, &keys, waiter.waiter.stay);
        }
    }

    /// Requests of a connection of a peer that wait here.
    pub(super) fn parked_of(&self, conn: super::ConnKey) -> Vec<Origin> {
        let is_its = |origin: &&Origin| self.connection_of(**origin) == Some(conn);
        self.parked.waiters.keys().filter(is_its).copied().collect()
    }

    /// Serves those who wait for keys that have changed, until nobody finds anything any more. It ends, since each who
    /// is served does not wait any more. Where a shard is not served, that is put off until [`Router::retry_held`].
    pub(super) fn serve_ready(&mut self) {
        if std::mem::replace(&mut self.serving, true) {
            return;
        }
        while let Some(ready) = self.ready.pop_front() {
            let mut after = WaiterId::FIRST;
            loop {
                match self.serve_next(&ready, after) {
                    Next::Tried(id) => after = id,
                    Next::Nobody => break,
                    Next::NotServing => {
                        self.put_off.insert(ready);
                        break;
                    }
                }
            }
        }
        self.serving = false;
    }

    /// Runs the request of the first who waits for a key behind waiter `after`.
    fn serve_next(&mut self, ready: &Ready, after: WaiterId) -> Next {
        let (node, parking, settings) = (self.node.clone(), self.parking.clone(), self.settings.clone());
        let (db, seed) = (ready.key.db, node.store.hash_seed);
        let key = Key::new(&ready.key.name, seed);
        let mut ids: SmallVec<[ShardId; 2]> = smallvec![ready.shard];
        loop {
            let mut guards: SmallVec<[_; 2]> = ids.iter().map(|id| node.store.lock(*id)).collect();
            let Some(core) = core_of(&mut guards, ready.shard).filter(|core| core.has_waiters(db, key))
            else {
                return Next::Nobody;
            };
            if core.role != Role::Primary || !node.lease.holds(self.now.boot) {
                return Next::NotServing;
            }
            let kind = self.kind_of(&mut guards, db, key);
            let core = core_of(&mut guards, ready.shard);
            let next = core.and_then(|core| core.next_waiter(db, key, kind, after));
            let Some(id) = next else { return Next::Nobody };
            let Some(waiter) = parking.get(id) else { return Next::Tried(id) };
            let keys = waiter.keys_with(key, seed);
            let mut needed: SmallVec<[ShardId; 2]> =
                keys.iter().map(|key| node.store.shard_of(key.slot)).collect();
            needed.sort_unstable();
            needed.dedup();
            if needed != ids {
                // In ascending order, from the beginning; who is next may be another one by then.
                ids = needed;
                continue;
            }
            if guards.iter().any(|shard| shard.core.role != Role::Primary) {
                return Next::NotServing;
            }
            let mut waits = lock(&waiter.waits);
            if !*waits {
                return Next::Tried(id);
            }
            let request = waiter.request.as_request();
            let Some(Blocking { handler, .. }) = waiter.blocking() else { return Next::Tried(id) };
            let before: SmallVec<[_; 2]> = guards.iter().map(|shard| shard.core.log.end()).collect();
            let (random, access) = (self.dice.roll(), self.access(&request));
            let mut shards: Vec<&mut Shard> = guards.iter_mut().map(|guard| &mut **guard).collect();
            let locked = Locked::new(&mut shards, node.store.slots_per_shard());
            let mut out = Reply::new(request.resp);
            let opened = Db::new(locked, db, self.now.wall, access);
            let limits = &settings.limits;
            let mut cx = Cx { db: opened, keys: &keys, out: &mut out, random, limits, waited: true };
            let done = dispatch::run(handler, &mut cx, request.args);
            self.lookups.add(cx.db.lookups());
            let served = done != Done::Waits;
            *waits = !served;
            drop(waits);
            let mut written = Written::new();
            for (guard, before) in guards.iter_mut().zip(before) {
                self.logged |= settle(&node, guard, before, &mut written, &mut self.ready);
            }
            drop(guards);
            if served {
                self.ran = true;
                self.leave(&waiter);
                self.hand_over(&waiter, out, written);
            }
            return Next::Tried(id);
        }
    }

    /// The type of what a key holds, whose shard is locked.
    fn kind_of(&self, guards: &mut [MutexGuard<'_, Shard>], db: u8, key: Key<'_>) -> Option<Kind> {
        let mut shards: Vec<&mut Shard> = guards.iter_mut().map(|guard| &mut **guard).collect();
        let locked = Locked::new(&mut shards, self.node.store.slots_per_shard());
        let db = Db::new(locked, db, self.now.wall, Default::default());
        Some(db.inspect(key)?.value().kind())
    }

    /// Passes a reply on to the loop that the waiter came by.
    fn hand_over(&mut self, waiter: &Waiter, reply: Reply, written: Written) {
        if waiter.home == self.index {
            return self.answer_parked(waiter.origin, reply, written);
        }
        let mailbox = &self.parking.mailboxes[waiter.home];
        lock(&mailbox.served).push((waiter.origin, reply, written));
        mailbox.wake.notify_one();
    }

    /// Passes on the replies for those whom other loops have served.
    pub fn take_served(&mut self) {
        let parking = Arc::clone(&self.parking);
        let served = std::mem::take(&mut *lock(&parking.mailboxes[self.index].served));
        self.ran |= !served.is_empty();
        for (origin, reply, written) in served {
            self.answer_parked(origin, reply, written);
        }
    }

    /// Answers one who came by this loop and was served.
    fn answer_parked(&mut self, origin: Origin, reply: Reply, written: Written) {
        if let Some(waiter) = self.forget_parked(origin) {
            self.answer(origin, &waiter.request.as_request(), reply.into_bytes(), written);
        }
    }
}

/// A request that waited and was taken out.
pub(super) struct Unparked {
    waiter: Arc<Waiter>,
}

impl Unparked {
    pub(super) fn request(&self) -> Request<'_> {
        self.waiter.request.as_request()
    }
}

fn core_of<'a>(guards: &'a mut [MutexGuard<'_, Shard>], shard: ShardId) -> Option<&'a mut Core> {
    guards.iter_mut().map(|guard| &mut guard.core).find(|core| core.id == shard)
}

#[cfg(test)]
impl Router {
    /// How many wait here, as this loop knows them and as all do.
    pub(super) fn waiters(&self) -> usize {
        let all = lock(&self.parking.waiters).len();
        assert_eq!(self.node.parked.load(Ordering::Relaxed), all);
        self.parked.waiters.len() + all
    }
}
