//! The replica's side: what a primary sends is applied to the copies here.
//!
//! A sink belongs to one connection. It takes records only of the epoch that its shard follows, and never of one that
//! is older than what it has seen or has promised to refuse (a candidate that told its offset to the leader promised
//! that). A copy in the making is no copy: until it is complete the shard's role is [`Role::Absent`], so it is no
//! candidate and nobody reads it.

use std::sync::{Arc, atomic::Ordering};

use ringfort_cluster::{Epoch, Offset, ShardId};

use super::{
    apply,
    wire::{Kind, Message, put, version},
};
use crate::{
    node::Node,
    store::{Role, Shard},
};

/// The receiving end of one connection.
pub struct Sink {
    node: Arc<Node>,
    /// Messages to be sent back.
    pub out: Vec<u8>,
    /// Tells this connection from every other: a copy takes records from the one that began it.
    number: u64,
    /// Shards whose records have come since the last acknowledgement.
    touched: Vec<ShardId>,
}

impl Sink {
    /// The end of a new connection.
    pub fn new(node: Arc<Node>) -> Self {
        let number = node.sinks.fetch_add(1, Ordering::Relaxed) + 1;
        Self { node, out: Vec::new(), number, touched: Vec::new() }
    }

    /// Takes one message of the primary's. Returns `false` if it makes no sense: the connection is to be closed.
    pub fn receive(&mut self, message: &Message<'_>) -> bool {
        if message.shard.0 >= self.node.store.shards() {
            return false;
        }
        let node = Arc::clone(&self.node);
        let mut shard = node.store.lock(message.shard);
        if message.epoch < shard.core.epoch.max(shard.core.refuses_below) {
            let epoch = shard.core.epoch.max(shard.core.refuses_below);
            self.say(Kind::Refuse, message.shard, epoch, Offset(0));
            return true;
        }
        let follows = message.epoch == shard.core.epoch && shard.core.fed_by == self.number;
        match message.kind {
            Kind::Ask => {
                let Some(version) = version(message) else { return false };
                shard.core.fed_at = shard.core.fed_at.max(version);
                // Who has heard of a later epoch follows no older one.
                shard.core.refuses_below = shard.core.refuses_below.max(message.epoch);
                self.tell(&mut shard, message.epoch);
            }
            Kind::Follow => {
                let complete = shard.core.role == Role::Replica;
                if !complete || shard.core.log.end() != message.offset {
                    self.say(Kind::HaveNothing, message.shard, message.epoch, Offset(0));
                } else {
                    shard.core.epoch = message.epoch;
                    shard.core.fed_by = self.number;
                    self.touch(message.shard);
                }
            }
            Kind::Copy => {
                node.store.drop_later(shard.clear(None));
                shard.core.role = Role::Absent;
                shard.core.epoch = message.epoch;
                shard.core.fed_by = self.number;
                shard.core.log.restart(Offset(0));
            }
            Kind::CopyRecords if follows && shard.core.role == Role::Absent => {
                let log = shard.core.log.end();
                if apply::records(&node, &mut shard, message.bytes) {
                    shard.core.log.restart(log);
                } else {
                    self.give_up(&mut shard, message.epoch);
                }
            }
            Kind::CopyEnd if follows && shard.core.role == Role::Absent => {
                shard.core.log.restart(message.offset);
                shard.core.role = Role::Replica;
                self.touch(message.shard);
            }
            Kind::Records if follows && shard.core.role == Role::Replica => {
                if shard.core.log.end() != message.offset {
                    self.say(Kind::HaveNothing, message.shard, message.epoch, Offset(0));
                } else if apply::records(&node, &mut shard, message.bytes) {
                    shard.core.log.append_records(message.bytes);
                    self.touch(message.shard);
                } else {
                    self.give_up(&mut shard, message.epoch);
                }
            }
            // What was given up in between: the primary must not take this copy for one that follows.
            Kind::CopyEnd | Kind::Records => {
                self.say(Kind::HaveNothing, message.shard, message.epoch, Offset(0));
            }
            Kind::CopyRecords => {}
            Kind::Hello | Kind::Have | Kind::HaveNothing | Kind::Ack | Kind::Refuse => return false,
        }
        node.store.settle(&mut shard);
        true
    }

    /// Acknowledges what has come: to be called when a batch is through.
    pub fn acknowledge(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            let shard = self.node.store.lock(id);
            let (epoch, end) = (shard.core.epoch, shard.core.log.end());
            let kind = if shard.core.role == Role::Replica { Kind::Ack } else { Kind::HaveNothing };
            drop(shard);
            self.say(kind, id, epoch, end);
        }
    }

    /// The copy is of no use any more: an effect could not be applied to it.
    fn give_up(&mut self, shard: &mut Shard, epoch: Epoch) {
        shard.core.role = Role::Absent;
        shard.core.fed_by = 0;
        self.say(Kind::HaveNothing, shard.core.id, epoch, Offset(0));
    }

    fn tell(&mut self, shard: &mut Shard, epoch: Epoch) {
        let core = &mut shard.core;
        // A primary that meets a later epoch is one no more.
        if matches!(core.role, Role::Primary | Role::Sealed) && epoch > core.epoch {
            core.role = Role::Replica;
        }
        match core.role {
            Role::Replica => self.say(Kind::Have, core.id, core.epoch, core.log.end()),
            _ => self.say(Kind::HaveNothing, core.id, epoch, Offset(0)),
        }
    }

    fn touch(&mut self, shard: ShardId) {
        if !self.touched.contains(&shard) {
            self.touched.push(shard);
        }
    }

    fn say(&mut self, kind: Kind, shard: ShardId, epoch: Epoch, offset: Offset) {
        put(&mut self.out, &Message { kind, shard, epoch, offset, bytes: &[] });
    }
}
