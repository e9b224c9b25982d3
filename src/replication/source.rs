//! The primary's side: what one other node follows of this node's shards.
//!
//! For each shard the source asks what the replica has, and then either lets it follow the log from there, or sends a
//! copy first. All shards of one replica's node share one connection; what it is to be sent is bounded, and logs are
//! read on only as it drains.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use ringfort_cluster::{Epoch, Member, Offset, ShardId, Topology, Version};

use super::wire::{Kind, Message, put};
use crate::{
    commands::rebuild,
    node::Node,
    store::{
        Role, Shard,
        copy::{Copy, Position},
        log,
    },
};

/// Bytes that may wait to be sent to one replica's node before logs and copies are read on.
pub const OUT_LIMIT: usize = 4 << 20;

/// Bytes of one message of records, about.
const BATCH: usize = 256 << 10;

/// Keys that one step of a copy visits under the shard's lock.
const COPY_STEP: usize = 64;

/// The sending end to one node.
pub struct Source {
    node: Arc<Node>,
    /// The life of the node that follows.
    pub to: Member,
    /// What is to be sent.
    pub out: Vec<u8>,
    followers: BTreeMap<ShardId, Follower>,
}

/// One shard as the other node follows it.
#[derive(Debug)]
struct Follower {
    epoch: Epoch,
    state: State,
    /// Up to where its log was sent.
    sent: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asked,
    Copying,
    Following,
}

impl Source {
    /// A connection to this life of a node was made; what it follows comes by [`Source::sync`].
    pub fn new(node: Arc<Node>, to: Member) -> Self {
        Self { node, to, out: Vec::new(), followers: BTreeMap::new() }
    }

    /// Takes the topology over: begins with shards that the node is to follow, and leaves those that it is not.
    pub fn sync(&mut self, topology: &Topology) {
        let me = self.node.member();
        for (id, shard) in topology.shards() {
            let wanted = shard.primary == Some(me) && shard.replicas.contains(&self.to.node);
            let known = self.followers.get(&id).map(|follower| follower.epoch);
            if known.is_some() && (!wanted || known != Some(shard.epoch)) {
                self.leave(id);
            }
            if wanted && known != Some(shard.epoch) {
                self.ask(id, shard.epoch, topology.version);
            }
        }
    }

    fn ask(&mut self, id: ShardId, epoch: Epoch, version: Version) {
        self.followers.insert(id, Follower { epoch, state: State::Asked, sent: Offset(0) });
        self.say(Kind::Ask, id, epoch, Offset(0), &version.0.to_le_bytes());
    }

    fn leave(&mut self, id: ShardId) {
        self.followers.remove(&id);
        let to = self.to;
        let mut shard = self.node.store.lock(id);
        shard.core.copies.0.retain(|copy| copy.to != to);
        shard.core.acked.retain(|acked| acked.0 != to);
    }

    /// The connection is over: forgets all that was noted on shards for it.
    pub fn end(&mut self) {
        for id in self.followers.keys().copied().collect::<Vec<_>>() {
            self.leave(id);
        }
    }

    /// Takes one message of the replica's. Returns `false` if it makes no sense.
    pub fn receive(&mut self, message: &Message<'_>, topology: &Topology) -> bool {
        let Some(follower) = self.followers.get(&message.shard) else { return true };
        let (id, epoch, state) = (message.shard, follower.epoch, follower.state);
        match message.kind {
            Kind::Have if state == State::Asked => {
                let continues = topology.shard(id).continues(message.epoch, message.offset);
                let kept = self.node.store.lock(id).core.log.start() <= message.offset;
                if continues && kept {
                    self.follow(id, message.offset);
                } else {
                    self.copy(id);
                }
            }
            Kind::HaveNothing if state != State::Copying => self.copy(id),
            Kind::Ack if message.epoch == epoch => self.note_ack(id, message.offset),
            Kind::Refuse if message.epoch > epoch => {
                let mut shard = self.node.store.lock(id);
                if shard.core.role == Role::Primary && shard.core.epoch < message.epoch {
                    tracing::warn!(shard = %id, ours = %epoch, theirs = %message.epoch,
                        "a replica has seen a later epoch of the shard; this node serves it no more");
                    shard.core.role = Role::Sealed;
                    shard.core.sealed_at = topology.version;
                }
                drop(shard);
                self.leave(id);
            }
            Kind::Have | Kind::HaveNothing | Kind::Ack | Kind::Refuse => {}
            _ => return false,
        }
        true
    }

    fn follow(&mut self, id: ShardId, from: Offset) {
        let Some(follower) = self.followers.get_mut(&id) else { return };
        (follower.state, follower.sent) = (State::Following, from);
        let epoch = follower.epoch;
        self.say(Kind::Follow, id, epoch, from, &[]);
        self.pump(id);
    }

    fn copy(&mut self, id: ShardId) {
        let Some(follower) = self.followers.get_mut(&id) else { return };
        follower.state = State::Copying;
        let epoch = follower.epoch;
        let to = self.to;
        let mut shard = self.node.store.lock(id);
        if !leads(&shard, epoch) {
            return;
        }
        shard.core.copies.0.retain(|copy| copy.to != to);
        // What it had acknowledged of an earlier copy says nothing of this one.
        shard.core.acked.retain(|acked| acked.0 != to);
        let at = Some(Position { slot: shard.slots().start, db: 0, hash: 0 });
        shard.core.copies.0.push(Copy { to, at, backlog: Vec::new(), overrun: false });
        drop(shard);
        self.say(Kind::Copy, id, epoch, Offset(0), &[]);
    }

    fn note_ack(&mut self, id: ShardId, offset: Offset) {
        let to = self.to;
        let mut shard = self.node.store.lock(id);
        match shard.core.acked.iter_mut().find(|acked| acked.0 == to) {
            Some(acked) => acked.1 = acked.1.max(offset),
            None => shard.core.acked.push((to, offset)),
        }
    }

    /// Sends what the log of a shard has gained, if it is followed.
    pub fn pump(&mut self, id: ShardId) {
        let Some(follower) = self.followers.get_mut(&id) else { return };
        if follower.state != State::Following {
            return;
        }
        while self.out.len() < OUT_LIMIT {
            let shard = self.node.store.lock(id);
            if !leads(&shard, follower.epoch) || shard.core.log.end() == follower.sent {
                return;
            }
            let Some(records) = shard.core.log.read(follower.sent, BATCH) else {
                // It was away for longer than the log reaches back.
                drop(shard);
                return self.copy(id);
            };
            drop(shard);
            let (kind, epoch, offset) = (Kind::Records, follower.epoch, follower.sent);
            follower.sent = Offset(offset.0 + records.len() as u64);
            put(&mut self.out, &Message { kind, shard: id, epoch, offset, bytes: &records });
        }
    }

    /// Goes on with everything that is followed, and with copies a step each. Returns whether there is more to do at
    /// once.
    pub fn go_on(&mut self) -> bool {
        let mut more = false;
        for id in self.followers.keys().copied().collect::<Vec<_>>() {
            if self.out.len() >= OUT_LIMIT {
                return true;
            }
            match self.followers[&id].state {
                State::Following => self.pump(id),
                State::Copying => more |= self.step_copy(id),
                State::Asked => {}
            }
        }
        more
    }

    /// One step of a copy. Returns whether another one can follow.
    fn step_copy(&mut self, id: ShardId) -> bool {
        let epoch = self.followers[&id].epoch;
        let to = self.to;
        let mut guard = self.node.store.lock(id);
        let shard = &mut *guard;
        if !leads(shard, epoch) {
            return false;
        }
        let Some(index) = shard.core.copies.0.iter().position(|copy| copy.to == to) else {
            drop(guard);
            self.leave(id);
            return false;
        };
        if shard.core.copies.0[index].overrun {
            drop(guard);
            self.copy(id);
            return true;
        }
        let from = shard.core.copies.0[index].at;
        // Effects on what the last steps have visited come first, then what this step visits.
        let mut records = std::mem::take(&mut shard.core.copies.0[index].backlog);
        let mut next = None;
        if let Some(from) = from {
            next = Some(from);
            for _ in 0..COPY_STEP {
                let Some(at) = next.filter(|_| records.len() < BATCH) else { break };
                next = shard.walk_for_copy(at, 1, |db, key, value, deadline| {
                    rebuild::records(db, key, value, deadline, &mut records);
                });
            }
            shard.core.copies.0[index].at = next;
        }
        let end = shard.core.log.end();
        if next.is_none() {
            shard.core.copies.0.remove(index);
        }
        drop(guard);
        if !records.is_empty() {
            for batch in log::batches(&records, BATCH) {
                self.say(Kind::CopyRecords, id, epoch, Offset(0), batch);
            }
            self.node.stats.copied_bytes.add(records.len() as u64);
        }
        if next.is_none() {
            self.say(Kind::CopyEnd, id, epoch, end, &[]);
            self.node.stats.copies.add(1);
            if let Some(follower) = self.followers.get_mut(&id) {
                (follower.state, follower.sent) = (State::Following, end);
            }
        }
        true
    }

    /// The shards that the node follows, without those that are being copied.
    pub fn following(&self) -> impl Iterator<Item = ShardId> + '_ {
        let follows =
            |(id, follower): (&ShardId, &Follower)| (follower.state == State::Following).then_some(*id);
        self.followers.iter().filter_map(follows)
    }

    fn say(&mut self, kind: Kind, shard: ShardId, epoch: Epoch, offset: Offset, bytes: &[u8]) {
        put(&mut self.out, &Message { kind, shard, epoch, offset, bytes });
    }
}

/// Whether this node is the primary of the shard's data in this epoch: what it has is what is to be followed.
fn leads(shard: &Shard, epoch: Epoch) -> bool {
    matches!(shard.core.role, Role::Primary | Role::Sealed) && shard.core.epoch == epoch
}

impl Node {
    /// Counts an acknowledgement, so that those who wait for one look again.
    pub fn note_acks(&self) {
        self.acks.fetch_add(1, Ordering::Release);
        self.acked.notify_waiters();
    }
}
