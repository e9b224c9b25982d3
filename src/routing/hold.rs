//! Requests that wait until somebody serves their shards: in the order in which they came, within limits.

use std::collections::HashSet;

use ringfort_cluster::ShardId;
use rustc_hash::FxBuildHasher;

use super::{ConnKey, Flight, Origin, Owned, PeerIndex, Place, Router, frame};
use crate::{clients::Door, commands::CommandError, store::Key};

/// How long a request waits before it is refused, in nanoseconds. Longer than an orphaned shard waits for a holder.
const HOLD_NS: u64 = 10_000_000_000;

/// Requests of one loop that may wait.
const HELD_LIMIT: usize = 100_000;

/// Bytes of requests of one loop that may wait.
const HELD_BYTES_LIMIT: usize = 256 << 20;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Held {
    origin: Origin,
    request: Owned,
    until: u64,
}

impl Router {
    pub(super) fn hold(&mut self, origin: Origin, request: Owned, keys: &[Key<'_>]) {
        let bytes: usize = request.args.capacity();
        if self.held.len() >= HELD_LIMIT || self.held_bytes + bytes > HELD_BYTES_LIMIT {
            let text = "CLUSTERDOWN Too many requests wait for shards without a primary";
            return self.fail(origin, &CommandError::other(text));
        }
        self.track(origin, keys, None);
        self.node.stats.held.add(1);
        self.held_bytes += bytes;
        self.held.push_back(Held { origin, request, until: self.now.boot + HOLD_NS });
    }

    /// Whether requests wait, for somebody to serve their shards or for replicas.
    pub fn has_waiting(&self) -> bool {
        !self.held.is_empty() || self.waits_for_replicas()
    }

    /// Number of requests that wait for somebody to serve their shards, and their bytes.
    pub fn held(&self) -> (usize, usize) {
        (self.held.len(), self.held_bytes)
    }

    /// Tries all that wait once more, in their order.
    pub fn retry_held(&mut self) {
        let mut passed_over = HashSet::default();
        for _ in 0..self.held.len() {
            let Some(held) = self.held.pop_front() else { return };
            self.held_bytes -= held.request.args.capacity();
            self.retry(held, &mut passed_over);
        }
    }

    /// Tries one once more. `passed_over` are the shards that earlier ones of a connection still wait for.
    fn retry(&mut self, held: Held, passed_over: &mut HashSet<(ConnKey, ShardId), FxBuildHasher>) {
        let Held { origin, request, until } = held;
        let view = request.as_request();
        self.untrack(origin, &view, false);
        let waiting = self.held.len();
        if self.now.boot >= until {
            let text = "CLUSTERDOWN No node serves the shard of this key, and waiting for one took too long";
            return self.fail(origin, &CommandError::other(text));
        }
        let keys = self.keys(view.command, view.args);
        let place = self.place(&view, &keys);
        let conn = self.connection_of(origin);
        let shard = |key: &Key<'_>| self.node.store.shard_of(key.slot);
        let behind = |conn| keys.iter().any(|key| passed_over.contains(&(conn, shard(key))));
        let blocked = conn.is_some_and(|conn| behind(conn) || self.overtakes(conn, &keys, place));
        match place {
            _ if blocked => self.hold_until(origin, view, &keys, until),
            // Another node asked, and by now it is not for this one to answer.
            Place::Peer(_) | Place::Several if matches!(origin, Origin::Peer { .. }) => {
                self.answer_not_primary(origin);
            }
            Place::Peer(peer) if !self.is_ready(peer, view.door) => {
                self.hold_until(origin, view, &keys, until);
            }
            Place::Wait => self.hold_until(origin, view, &keys, until),
            Place::Here => {
                let mut out = crate::commands::Reply::new(view.resp);
                match self.execute(&view, &keys, &mut out) {
                    super::Executed::Done(written) => self.complete(origin, out.into_bytes(), written),
                    super::Executed::NotServing => self.hold_until(origin, view, &keys, until),
                }
            }
            place => self.submit(origin, view, &keys, place),
        }
        if self.held.len() > waiting
            && let Some(conn) = conn
        {
            passed_over.extend(keys.iter().map(|key| (conn, self.node.store.shard_of(key.slot))));
        }
    }

    fn is_ready(&self, peer: PeerIndex, door: Door) -> bool {
        door == Door::Cluster || self.peers[usize::from(peer)].connected
    }

    fn hold_until(&mut self, origin: Origin, request: super::Request<'_>, keys: &[Key<'_>], until: u64) {
        self.track(origin, keys, None);
        let request = request.to_owned();
        self.held_bytes += request.args.capacity();
        self.held.push_back(Held { origin, request, until });
    }

    pub(super) fn answer_not_primary(&mut self, origin: Origin) {
        let Origin::Peer { conn, id } = origin else { return };
        let answer = frame::Answer::NotPrimary(self.topology.version);
        let mut bytes = Vec::new();
        frame::put_reply(&mut bytes, &frame::PeerReply { id, answer });
        self.peer_completions.push(super::PeerCompletion { conn, frame: bytes });
    }

    /// Takes a request back that a peer did not run, to be tried again.
    pub(super) fn hold_flight(&mut self, flight: Flight) {
        let view = flight.request.as_request();
        self.untrack(flight.origin, &view, true);
        let keys = self.keys(view.command, view.args);
        self.hold_until(flight.origin, view, &keys, self.now.boot + HOLD_NS);
    }

    /// Forgets the requests of a connection that has ended: what waits is not run any more.
    pub fn forget(&mut self, conn: ConnKey) {
        let gone = CommandError::other("ERR the client has gone");
        for _ in 0..self.held.len() {
            let Some(held) = self.held.pop_front() else { break };
            if self.connection_of(held.origin) == Some(conn) {
                self.held_bytes -= held.request.args.capacity();
                self.untrack(held.origin, &held.request.as_request(), false);
                self.fail(held.origin, &gone);
            } else {
                self.held.push_back(held);
            }
        }
        for wait in std::mem::take(&mut self.waits) {
            if self.connection_of(wait.origin) == Some(conn) {
                self.fail(wait.origin, &gone);
            } else {
                self.waits.push(wait);
            }
        }
    }
}
