//! Requests that wait until somebody serves their shards: in the order in which they came, within limits.

use std::collections::HashSet;

use ringfort_cluster::{ShardId, Version};
use rustc_hash::FxBuildHasher;

use super::{
    ConnKey, Executed, Flight, Origin, Owned, PeerIndex, Place, Request, Router, Written, blocked::Ending,
    frame,
};
use crate::{
    clients::Door,
    commands::{CommandError, Spread},
    store::Key,
};

/// How long a request waits before it is refused, in nanoseconds. Longer than an orphaned shard waits for a holder.
const HOLD_NS: u64 = 10_000_000_000;

/// How long the look at one part of a request waits for its shard while another part has something: longer than a shard
/// takes to move or to fail over, as a rule.
const LAST_LOOK_NS: u64 = 1_000_000_000;

/// How long this node may be without the lease that it had before requests that wait on it are refused, in nanoseconds.
/// A node that draws a new incarnation has one again sooner; one that hears no majority of the council may not.
const NO_LEASE_NS: u64 = 1_000_000_000;

/// Requests of one loop that may wait.
const HELD_LIMIT: usize = 100_000;

/// Bytes of requests of one loop that may wait.
const HELD_BYTES_LIMIT: usize = 256 << 20;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) origin: Origin,
    pub(super) request: Owned,
    stay: Stay,
}

/// When a request first came to the router, and how long it may stay.
#[derive(Clone, Copy, Debug)]
pub struct Stay {
    /// Its place in the order in which requests came; kept when it is sent, comes back, and waits again.
    order: u64,
    /// When it came to the cluster, by the clock since this machine started, in nanoseconds: below 0, if another machine
    /// knew it before.
    since: i64,
    /// When it is refused, by the same clock, unless it may wait for data.
    until: u64,
    /// It is not to wait for data, but looked at once; where that is not possible, there is nothing.
    last_look: bool,
    /// The version of the topology by which another node has sent it.
    version: Version,
}

impl Stay {
    /// When it came to the cluster, by the clock since this machine started, in nanoseconds.
    pub(super) fn since(self) -> i64 {
        self.since
    }

    /// For how many nanoseconds it has been in the cluster.
    pub(super) fn age(self, now: u64) -> u64 {
        u64::try_from((now as i64).saturating_sub(self.since)).unwrap_or(0)
    }

    /// Of a request that another node has sent by this version of the topology.
    pub(super) fn by(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// Of a part of a request that has this one.
    pub(super) fn of(self, whole: Self) -> Self {
        Self { since: whole.since, ..self }
    }

    /// Of a request that is to be looked at once from now on.
    pub(super) fn for_last_look(self, now: u64) -> Self {
        Self { until: now + LAST_LOOK_NS, last_look: true, ..self }
    }

    /// Whether it is to be looked at once: see [`Stay::for_last_look`].
    pub(super) fn is_for_last_look(self) -> bool {
        self.last_look
    }

    /// Of a request that came to another node, so many nanoseconds before it came here.
    pub(super) fn aged(self, nanos: u64) -> Self {
        Self { since: self.since.saturating_sub(i64::try_from(nanos).unwrap_or(i64::MAX)), ..self }
    }
}

impl Held {
    /// It is run once its shard is served, if that is soon, and answered whether or not there is anything.
    fn wait_no_more(&mut self, now: u64) {
        self.request.waits = false;
        if !self.stay.last_look {
            self.stay = self.stay.for_last_look(now);
        }
    }
}

impl Router {
    /// The stay of a request that has just come. Those that may wait for data are served by when they came, whichever
    /// loop they came by, so that is told exactly.
    pub(super) fn new_stay(&mut self, request: &Request<'_>) -> Stay {
        self.next_order += 1;
        let now = if request.may_wait() { self.node.clock.boot() } else { self.now.boot };
        let (order, since, until) = (self.next_order, now as i64, now + HOLD_NS);
        Stay { order, since, until, last_look: false, version: Version(0) }
    }

    /// Lets a request wait that has just come, unless too many do.
    pub(super) fn hold(&mut self, origin: Origin, request: Owned, keys: &[Key<'_>], stay: Stay) {
        let bytes: usize = request.args.capacity();
        if self.held.len() >= HELD_LIMIT || self.held_bytes + bytes > HELD_BYTES_LIMIT {
            let text = "CLUSTERDOWN Too many requests wait for shards without a primary";
            return self.fail(origin, &CommandError::other(text));
        }
        self.track(origin, keys, None);
        self.node.stats.held.add(1);
        if request.as_request().may_wait() {
            self.tell_that_it_waits(origin, false, None);
        }
        self.put_held(Held { origin, request, stay });
    }

    /// Puts a request into its place in the order in which they came.
    fn put_held(&mut self, held: Held) {
        self.held_bytes += held.request.args.capacity();
        self.held.insert(held.stay.order, held);
    }

    /// Whether requests wait, for somebody to serve their shards or for replicas; or whether somebody who waits for
    /// data could not be served.
    pub fn has_waiting(&self) -> bool {
        let serves_later = !self.ready.is_empty() || !self.put_off.is_empty();
        !self.held.is_empty() || self.waits_for_replicas() || serves_later
    }

    /// Number of requests that wait for somebody to serve their shards, and their bytes.
    pub fn held(&self) -> (usize, usize) {
        (self.held.len(), self.held_bytes)
    }

    /// Notes whether this node has a lease. To be called some times a second. One that has lost it for long knows no
    /// more who serves what, and cannot learn it: it gives up the links on which peers owe answers for as long. Of one
    /// that has just started nothing is known: others may be starting too.
    pub fn watch_lease(&mut self) {
        if self.node.lease.holds(self.now.boot) {
            (self.had_lease, self.without_lease_since) = (true, None);
        } else if self.had_lease {
            self.without_lease_since.get_or_insert(self.now.boot);
        }
        if !self.is_cut_off() {
            return;
        }
        // Of what waits there for data, no answer is due.
        for (_, flight) in self.flights.iter().filter(|(_, flight)| !flight.waits) {
            if flight.stay.age(self.now.boot) >= NO_LEASE_NS {
                self.peers[usize::from(flight.peer)].close = true;
            }
        }
    }

    /// Whether this node has been without a lease for longer than a failover takes.
    fn is_cut_off(&self) -> bool {
        // It may have one again since it was last looked at.
        !self.node.lease.holds(self.now.boot)
            && self
                .without_lease_since
                .is_some_and(|since| self.now.boot.saturating_sub(since) >= NO_LEASE_NS)
    }

    /// Tries all that wait once more, in their order.
    pub fn retry_held(&mut self) {
        self.ready.extend(std::mem::take(&mut self.put_off));
        self.serve_ready();
        let mut passed_over = HashSet::default();
        for held in std::mem::take(&mut self.held).into_values() {
            self.held_bytes -= held.request.args.capacity();
            self.retry(held, &mut passed_over);
        }
    }

    /// Tries one once more. `passed_over` are the shards that earlier ones of a connection still wait for.
    fn retry(&mut self, mut held: Held, passed_over: &mut HashSet<(ConnKey, ShardId), FxBuildHasher>) {
        self.untrack(held.origin, &held.request.as_request(), false);
        let waiting = self.held.len();
        match self.last_word(&mut held) {
            None => {}
            Some(Ok(reply)) => return self.complete(held.origin, reply, Written::new()),
            Some(Err(refusal)) => return self.fail(held.origin, &refusal),
        }
        let Held { origin, request, stay } = held;
        let view = request.as_request();
        let keys = self.keys(view.command, view.args);
        let place = self.place(&view, &keys);
        let conn = self.connection_of(origin);
        let needed = self.needed(&view, &keys);
        let behind = |conn| needed.iter().any(|shard| passed_over.contains(&(conn, *shard)));
        let blocked = conn.is_some_and(|conn| behind(conn) || self.overtakes(conn, &needed, place));
        match place {
            _ if blocked => self.hold_until(origin, view, &keys, stay),
            // The keys have parted since they were grouped: its job begins anew.
            Place::Several if matches!(origin, Origin::Watch { .. }) && view.waits => {
                self.complete(origin, Ending::TimedOut.reply(view.resp), Written::new());
            }
            Place::Several
                if let (Origin::Watch { job, .. }, Spread::InTurn) = (origin, view.command.spread) =>
            {
                self.try_anew(job);
            }
            // Another node asked, and by now it is not for this one to answer.
            Place::Peer(_) | Place::Several if matches!(origin, Origin::Peer { .. }) => {
                if self.version() >= stay.version {
                    self.answer_not_primary(origin);
                } else {
                    self.hold_until(origin, view, &keys, stay);
                }
            }
            Place::Peer(peer) if !self.is_ready(peer, view.door) => {
                self.hold_until(origin, view, &keys, stay);
            }
            Place::Wait => self.hold_until(origin, view, &keys, stay),
            Place::Here => {
                let mut out = crate::commands::Reply::new(view.resp);
                match self.execute(&view, &keys, Some((origin, stay)), &mut out) {
                    Executed::Done(written) => self.answer(origin, &view, out.into_bytes(), written),
                    Executed::NotServing => self.hold_until(origin, view, &keys, stay),
                    Executed::Waits => {}
                }
            }
            place => self.submit_with(origin, view, &keys, place, stay),
        }
        if self.held.len() > waiting
            && let Some(conn) = conn
        {
            passed_over.extend(keys.iter().map(|key| (conn, self.node.store.shard_of(key.slot))));
        }
    }

    /// What a request is answered that is not to be tried any more.
    fn last_word(&self, held: &mut Held) -> Option<Result<Vec<u8>, CommandError>> {
        let resp = held.request.resp;
        match self.ending_of(held.origin, &held.request.as_request()) {
            None => {}
            Some(Ending::Served) => held.wait_no_more(self.now.boot),
            Some(ending) => return Some(Ok(ending.reply(resp))),
        }
        let refusal = if self.is_cut_off() {
            "CLUSTERDOWN This node hears from no majority of the cluster's council, so it may not serve"
        } else if self.now.boot >= held.stay.until && !held.request.as_request().may_wait() {
            // Who waits for data has a deadline of his own.
            "CLUSTERDOWN No node serves the shard of this key, and waiting for one took too long"
        } else {
            return None;
        };
        let refusal = Err(CommandError::other(refusal));
        Some(if held.stay.last_look { Ok(Ending::Served.reply(resp)) } else { refusal })
    }

    /// Takes a request out that waits, if it does.
    pub(super) fn take_held(&mut self, origin: Origin) -> Option<Owned> {
        let order = *self.held.iter().find(|(_, held)| held.origin == origin)?.0;
        self.take_held_at(order).map(|held| held.request)
    }

    /// Has a request that is held not wait for data once its shard is served. Returns whether there is one.
    pub(super) fn wait_no_more(&mut self, origin: Origin) -> bool {
        let held = self.held.values_mut().find(|held| held.origin == origin);
        held.map(|held| held.wait_no_more(self.now.boot)).is_some()
    }

    fn take_held_at(&mut self, order: u64) -> Option<Held> {
        let held = self.held.remove(&order)?;
        self.held_bytes -= held.request.args.capacity();
        self.untrack(held.origin, &held.request.as_request(), false);
        Some(held)
    }

    fn is_ready(&self, peer: PeerIndex, door: Door) -> bool {
        door == Door::Cluster || self.peers[usize::from(peer)].connected
    }

    pub(super) fn hold_until(&mut self, origin: Origin, request: Request<'_>, keys: &[Key<'_>], stay: Stay) {
        self.track(origin, keys, None);
        self.put_held(Held { origin, request: request.to_owned(), stay });
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
        if view.may_wait() {
            self.tell_that_it_waits(flight.origin, false, None);
        }
        let keys = self.keys(view.command, view.args);
        self.hold_until(flight.origin, view, &keys, flight.stay);
    }

    /// Forgets the requests of a connection that has ended: what waits is not run any more.
    pub fn forget(&mut self, conn: ConnKey) {
        self.forget_wait(conn);
        let gone = CommandError::other("ERR the client has gone");
        let is_its = |held: &Held| self.connection_of(held.origin) == Some(conn);
        let its: Vec<u64> =
            self.held.iter().filter(|(_, held)| is_its(held)).map(|(order, _)| *order).collect();
        for order in its {
            if let Some(held) = self.take_held_at(order) {
                self.fail(held.origin, &gone);
            }
        }
        self.end_waits_for_replicas(conn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_for_longer_than_this_machine_runs_is_before_others() {
        let stay = Stay { order: 1, since: 5, until: 5 + HOLD_NS, last_look: false, version: Version(0) };
        assert!(stay.aged(3_600).since() < stay.aged(60).since());
        assert_eq!(stay.aged(3_600).age(10), 3_605);
        assert_eq!(stay.aged(u64::MAX).aged(u64::MAX).since(), i64::MIN);
        assert_eq!(stay.age(2), 0);
    }
}
