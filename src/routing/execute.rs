//! Running a request on this node, under the locks of its shards.

use std::collections::VecDeque;

use ringfort_cluster::{Offset, ShardId};
use smallvec::SmallVec;

use super::{Origin, Request, Router, frame::Written, hold::Stay, park::Ready};
use crate::{
    commands::{
        Blocking, CommandError, Cx, Done, Flags, Handler, Reply, Run, Spread, dispatch,
        follow::{Following, Reach},
        generic::{among::Among, awaited::left_to_try},
    },
    env::Now,
    node::Node,
    store::{Access, Db, Key, Locked, Role, Shard},
};

/// What came of an attempt to run a request here.
#[derive(Debug, PartialEq)]
pub enum Executed {
    /// It was run, and has written so far. Its reply, or its error, is in the output.
    Done(Written),
    /// Nothing was run: this node does not serve one of the shards at this moment.
    NotServing,
    /// There is nothing for it yet. If it was said who asks, it is parked, and will be answered; if not, it has left no
    /// trace.
    Waits,
}

impl Router {
    /// Runs a request whose keys are all on this node, as the topology has it, and serves those who waited for what it
    /// has changed. `who` asks, if the request is to wait where there is nothing for it yet.
    pub fn execute(
        &mut self,
        request: &Request<'_>,
        keys: &[Key<'_>],
        who: Option<(Origin, Stay)>,
        out: &mut Reply,
    ) -> Executed {
        let executed = self.execute_alone(request, keys, who, out);
        if !self.ready.is_empty() {
            self.serve_ready();
        }
        executed
    }

    fn execute_alone(
        &mut self,
        request: &Request<'_>,
        keys: &[Key<'_>],
        who: Option<(Origin, Stay)>,
        out: &mut Reply,
    ) -> Executed {
        // Without it, only what a copy can tell is told, and only to those who asked for that.
        let has_lease = self.node.lease.holds(self.now.boot);
        if !has_lease && (!request.replica || keys.is_empty()) {
            return Executed::NotServing;
        }
        self.ran |= has_lease;
        // Who has waited was not refused when it came.
        if request.command.flags.has(Flags::DENYOOM) && !request.waited && self.is_out_of_memory() {
            out.error(&CommandError::OutOfMemory);
            return Executed::Done(Written::new());
        }
        match request.command.run {
            Run::Data(handler) if keys.len() == 1 => self.execute_one(handler, request, keys, out),
            Run::Blocking(Blocking { handler, .. })
                if keys.len() == 1 && !request.waits && !request.waited =>
            {
                self.execute_one(handler, request, keys, out)
            }
            Run::Data(_) if request.command.spread == Spread::Cursor => self.execute_scan(request, out),
            Run::Data(handler) | Run::Following(Following { run: handler, .. }) => {
                self.execute_several(handler, request, keys, None, out)
            }
            Run::Blocking(Blocking { handler, .. }) => self.execute_several(handler, request, keys, who, out),
            Run::EachShard(handler) => {
                let mine: Vec<_> =
                    (0..self.node.store.shards()).map(ShardId).filter(|id| self.is_here(*id)).collect();
                self.execute_each(handler, request, &mine, out)
            }
            Run::Among => match Among::parse(request.args, self.node.store.shards()) {
                Ok(Among { shards, command, handler, args }) => {
                    self.execute_each(handler, &Request { command, args, ..*request }, &shards, out)
                }
                Err(error) => {
                    out.error(&error);
                    Executed::Done(Written::new())
                }
            },
            Run::Container | Run::Session(_) | Run::Control | Run::Wait => Executed::NotServing,
        }
    }

    fn execute_one(
        &mut self,
        handler: Handler,
        request: &Request<'_>,
        keys: &[Key<'_>],
        out: &mut Reply,
    ) -> Executed {
        let (random, access) = (self.dice.roll(), self.access(request));
        let Self { node, settings, now, logged, lookups, ready, .. } = self;
        let mut guard = node.store.lock(node.store.shard_of(keys[0].slot));
        if !serves(node, *now, &guard, request) {
            return Executed::NotServing;
        }
        let before = guard.core.log.end();
        let slots = node.store.slots_per_shard();
        let mut locked = [&mut *guard];
        let db = Db::new(Locked::new(&mut locked, slots), request.db, now.wall, access);
        let mut cx = Cx { db, keys, out, random, limits: &settings.limits, waited: false };
        dispatch::run(handler, &mut cx, request.args);
        lookups.add(cx.db.lookups());
        let mut written = Written::new();
        *logged |= settle(node, &mut guard, before, &mut written, ready);
        Executed::Done(written)
    }

    fn execute_several(
        &mut self,
        handler: Handler,
        request: &Request<'_>,
        keys: &[Key<'_>],
        who: Option<(Origin, Stay)>,
        out: &mut Reply,
    ) -> Executed {
        let (node, settings) = (self.node.clone(), self.settings.clone());
        let mut ids = self.needed(request, keys);
        ids.sort_unstable();
        ids.dedup();
        let mut guards: SmallVec<[_; 8]> = ids.iter().map(|id| node.store.lock(*id)).collect();
        if !guards.iter().all(|shard| serves(&node, self.now, shard, request)) {
            return Executed::NotServing;
        }
        let before: SmallVec<[_; 8]> = guards.iter().map(|shard| shard.core.log.end()).collect();
        let (random, access) = (self.dice.roll(), self.access(request));
        let mut shards: Vec<&mut Shard> = guards.iter_mut().map(|guard| &mut **guard).collect();
        let locked = Locked::new(&mut shards, node.store.slots_per_shard());
        let db = Db::new(locked, request.db, self.now.wall, access);
        let mark = out.mark();
        let left = request.waited.then(|| left_to_try(&db, request.command, request.args, keys));
        let keys = left.as_deref().unwrap_or(keys);
        let (limits, waited) = (&settings.limits, request.waited);
        let mut cx = Cx { db, keys, out, random, limits, waited };
        let done = if keys.is_empty() && waited {
            cx.out.null_array();
            Done::Waits
        } else {
            dispatch::run(handler, &mut cx, request.args)
        };
        let mut waits = done == Done::Waits && request.waits;
        let lasting = match request.command.run {
            Run::Blocking(blocking) if waits => (blocking.lasting)(&cx, request.args),
            _ => None,
        };
        self.lookups.add(cx.db.lookups());
        if waits {
            out.rewind(mark);
            // Under the locks: whoever changes a key after this finds it parked.
            if let Some((origin, stay)) = who
                && let Err(error) = self.park(origin, request, stay, lasting.as_ref(), &mut guards)
            {
                out.error(&error);
                waits = false;
            }
        }
        let mut written = Written::new();
        for (guard, before) in guards.iter_mut().zip(before) {
            self.logged |= settle(&node, guard, before, &mut written, &mut self.ready);
        }
        if waits { Executed::Waits } else { Executed::Done(written) }
    }

    /// The shards that a request needs: those of its keys, and those that it may find by their values.
    pub(super) fn needed(&self, request: &Request<'_>, keys: &[Key<'_>]) -> SmallVec<[ShardId; 8]> {
        let store = &self.node.store;
        let mut shards: SmallVec<[ShardId; 8]> = keys.iter().map(|key| store.shard_of(key.slot)).collect();
        if let Run::Following(following) = request.command.run {
            match (following.reach)(request.args) {
                Reach::Everything => shards = (0..store.shards()).map(ShardId).collect(),
                Reach::Slots(slots) => shards.extend(slots.into_iter().map(|slot| store.shard_of(slot))),
            }
        }
        shards
    }

    /// Runs a command once for each of these shards, in ascending order, and puts the replies together. All are locked
    /// meanwhile: either all are served, or nothing is run.
    fn execute_each(
        &mut self,
        handler: Handler,
        request: &Request<'_>,
        shards: &[ShardId],
        out: &mut Reply,
    ) -> Executed {
        let (node, settings) = (self.node.clone(), self.settings.clone());
        let mut guards: Vec<_> = shards.iter().map(|id| node.store.lock(*id)).collect();
        if !guards.iter().all(|shard| shard.core.role == Role::Primary) {
            return Executed::NotServing;
        }
        let (mut replies, mut weights) = (Vec::new(), Vec::new());
        let mut written = Written::new();
        for guard in &mut guards {
            let before = guard.core.log.end();
            let (random, access) = (self.dice.roll(), self.access(request));
            let slots = node.store.slots_per_shard();
            let mut locked = [&mut **guard];
            let db = Db::new(Locked::new(&mut locked, slots), request.db, self.now.wall, access);
            let mut part = Reply::new(request.resp);
            let (keys, limits) = (&[], &settings.limits);
            let mut cx = Cx { db, keys, out: &mut part, random, limits, waited: false };
            let result = handler(&mut cx, request.args);
            self.lookups.add(cx.db.lookups());
            let done = match result {
                Ok(done) => done,
                Err(error) => {
                    out.error(&error);
                    return Executed::Done(written);
                }
            };
            debug_assert!(done != Done::Changed, "a command without a key logs its own effects");
            self.logged |= settle(&node, guard, before, &mut written, &mut self.ready);
            replies.push(part.into_bytes());
            weights.push(guard.len(request.db));
        }
        drop(guards);
        super::spread::combine(request, &replies, &weights, out, self.dice.roll());
        Executed::Done(written)
    }

    pub(super) fn access(&mut self, request: &Request<'_>) -> Access {
        let lfu = self.settings.policy.is_lfu();
        Access {
            now: self.now.wall,
            lfu,
            log_factor: self.settings.lfu_log_factor,
            decay_minutes: self.settings.lfu_decay_time,
            dice: if lfu { self.dice.roll() as u32 } else { 0 },
            silent: request.silent,
        }
    }
}

/// Notes what a shard has become, before it is unlocked: how far its log reaches now, what has expired, and who may be
/// served. Returns whether there is something for replication.
pub(super) fn settle(
    node: &Node,
    shard: &mut Shard,
    before: Offset,
    written: &mut Written,
    ready: &mut VecDeque<Ready>,
) -> bool {
    let id = shard.core.id;
    if shard.core.has_changed() {
        ready.extend(shard.core.take_changed().into_iter().map(|key| Ready { shard: id, key }));
    }
    let end = shard.core.log.end();
    let mut logged = false;
    if end != before {
        written.push((shard.core.id, shard.core.epoch, end));
        if shard.core.log.is_kept() {
            node.store.note_growth(shard.core.id);
            logged = true;
        }
    }
    if shard.core.expired > 0 {
        node.stats.expired.add(std::mem::take(&mut shard.core.expired).into());
    }
    if shard.core.expired_fields > 0 {
        node.stats.expired_fields.add(std::mem::take(&mut shard.core.expired_fields).into());
    }
    node.store.settle(shard);
    logged
}

fn serves(node: &Node, now: Now, shard: &Shard, request: &Request<'_>) -> bool {
    match shard.core.role {
        Role::Primary => node.lease.holds(now.boot),
        Role::Replica => request.replica,
        Role::Absent | Role::Sealed => false,
    }
}
