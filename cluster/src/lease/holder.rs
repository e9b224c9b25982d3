//! Every node's side: it beats, and knows until when it may serve.
//!
//! A lease is a majority of promises. Each answer says for which beat it is, and the beat was sent at a time of this
//! node's own clock; the member's promise runs from the beat's arrival, which is later. So the lease from that member
//! ends one lease after the sending, less 2 % because the member's clock may run faster than this one.
//!
//! Whose promises count is said by the newest configuration of the council that the node has heard of, from its own
//! log or from any answer. What was gained by an older configuration is not taken away when a newer one is heard of,
//! it only is not prolonged: an old majority that had answered later beats would have told of the change.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    ids::{Member, NodeId},
    lease::{
        BEAT, BootTime, less_drift,
        voters::Voters,
        wire::{Answer, Beat, Reply},
    },
};

/// After how many leases without one a node that was refused gives its incarnation up.
pub const STARVED_LEASES: u32 = 4;

/// The lease of one incarnation.
pub struct Holder {
    me: Member,
    lease: Duration,
    voters: Voters,
    peers: BTreeMap<NodeId, Peer>,
    counter: u64,
    beat_at: BootTime,
    /// Until when a majority has promised.
    until: BootTime,
    started: BootTime,
    healthy: bool,
    over: bool,
}

/// What is known from one council member.
struct Peer {
    /// Until when this member's promise counts.
    until: BootTime,
    /// The newest beat that it has answered.
    heard: u64,
    refused: bool,
}

impl Holder {
    /// An incarnation that begins `now`, without a lease.
    pub fn new(now: BootTime, me: Member, lease: Duration) -> Self {
        Self {
            me,
            lease,
            voters: Voters::default(),
            peers: BTreeMap::new(),
            counter: 0,
            beat_at: now,
            until: BootTime::NEVER,
            started: now,
            healthy: true,
            over: false,
        }
    }

    /// The incarnation whose lease this is.
    pub fn me(&self) -> Member {
        self.me
    }

    /// The newest configuration of the council that this node has heard of.
    pub fn voters(&self) -> &Voters {
        &self.voters
    }

    /// From now on promises of this length are asked for.
    pub fn set_lease(&mut self, lease: Duration) {
        self.lease = lease;
    }

    /// Takes over a configuration of the council if it is newer than the one known, and beats to its newcomers soon.
    pub fn hear_of(&mut self, voters: &Voters) {
        if voters.stamp <= self.voters.stamp {
            return;
        }
        self.voters.clone_from(voters);
        self.peers.retain(|node, _| voters.contains(*node));
        self.beat_at = BootTime::NEVER;
    }

    /// Whether every event loop turns. While one hangs there are no beats, so that the node does not hold on to
    /// shards that it does not serve.
    pub fn set_healthy(&mut self, healthy: bool) {
        self.healthy = healthy;
    }

    /// The incarnation is over: declared dead, or replaced. It beats no more and has no lease ever again.
    pub fn end(&mut self) {
        self.over = true;
    }

    /// Whether [`Holder::end`] was called.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The beats to send, if it is time. `began` is not later than they leave.
    pub fn beats(&mut self, began: BootTime, wall_ms: u64, mut send: impl FnMut(NodeId, Beat)) {
        if !self.healthy || self.over || began < self.beat_at {
            return;
        }
        // A late beat does not make the next ones come in a burst.
        let on_time = self.beat_at + BEAT;
        self.beat_at = if on_time > began { on_time } else { began + BEAT };
        for node in self.voters.nodes() {
            self.counter += 1;
            let peer =
                self.peers.entry(node).or_insert(Peer { until: BootTime::NEVER, heard: 0, refused: false });
            let beat = Beat {
                counter: self.counter,
                sent: began,
                lease: self.lease,
                heard: peer.heard,
                knows: self.voters.stamp,
                wall_ms,
            };
            send(node, beat);
        }
    }

    /// Takes an answer that arrived not later than `now`.
    pub fn answer(&mut self, now: BootTime, from: NodeId, answer: &Answer) {
        if self.over || answer.about != self.me.incarnation || answer.sent > now {
            return;
        }
        // A member that does not promise may know of this incarnation's death, and of a council that was made after it:
        // others of that council may not know yet, and their promises must not count by it.
        if let (Reply::Promise(_), Some(voters)) = (answer.reply, &answer.voters) {
            self.hear_of(voters);
        }
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.heard = peer.heard.max(answer.counter);
        match answer.reply {
            Reply::Promise(lease) => peer.until = peer.until.max(answer.sent + less_drift(lease)),
            Reply::Refused => peer.refused = true,
            Reply::Unknown => {}
        }
        let until = |node: NodeId| self.peers.get(&node).map_or(BootTime::NEVER, |peer| peer.until);
        self.until = self.until.max(self.voters.majority_until(until));
    }

    /// The node may serve while its clock shows less than this.
    pub fn lease_until(&self) -> BootTime {
        if self.over { BootTime::NEVER } else { self.until }
    }

    /// Whether the node should give this incarnation up and draw a new one of its own accord: a member has refused it
    /// and it has had no lease for long. The members that are left may never make a majority, neither for its lease
    /// nor for its death.
    pub fn is_starved(&self, now: BootTime) -> bool {
        let had = self.until.max(self.started);
        let refused = self.peers.values().any(|peer| peer.refused);
        refused && !self.over && now.since(had) >= self.lease * STARVED_LEASES
    }

    /// When the next beat is due.
    pub fn deadline(&self) -> BootTime {
        if self.healthy && !self.over { self.beat_at } else { BootTime::FOREVER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::Incarnation, lease::voters::Stamp};

    const LEASE: Duration = Duration::from_millis(200);

    fn ms(millis: u64) -> BootTime {
        BootTime(1_000_000_000_000 + millis * 1_000_000)
    }

    fn node(node: u8) -> NodeId {
        NodeId([node; 20])
    }

    fn voters(index: u64, old: &[u8], new: &[u8]) -> Voters {
        Voters {
            stamp: Stamp { term: 1, index },
            old: old.iter().copied().map(node).collect(),
            new: new.iter().copied().map(node).collect(),
        }
    }

    fn holder() -> Holder {
        let me = Member { node: node(9), incarnation: Incarnation(4) };
        let mut holder = Holder::new(ms(0), me, LEASE);
        holder.hear_of(&voters(1, &[1, 2, 3], &[]));
        holder.beats(ms(0), 0, |_, _| {});
        holder
    }

    fn answer(sent: BootTime, reply: Reply) -> Answer {
        Answer { about: Incarnation(4), counter: 1, sent, reply, voters: None, wall_ms: 0 }
    }

    fn promise(sent: BootTime) -> Answer {
        answer(sent, Reply::Promise(LEASE))
    }

    #[test]
    fn a_majority_of_promises_is_a_lease_from_the_sending_less_the_drift() {
        let mut holder = holder();
        holder.answer(ms(30), node(1), &promise(ms(20)));
        assert_eq!(holder.lease_until(), BootTime::NEVER);
        holder.answer(ms(90), node(2), &promise(ms(0)));
        assert_eq!(holder.lease_until(), ms(0) + less_drift(LEASE));
        assert!(holder.lease_until() < ms(196));
        holder.answer(ms(90), node(3), &promise(ms(50)));
        assert_eq!(holder.lease_until(), ms(20) + less_drift(LEASE));
    }

    #[test]
    fn what_is_not_a_promise_to_this_incarnation_by_a_member_does_not_count() {
        let mut holder = holder();
        holder.answer(ms(30), node(1), &promise(ms(20)));
        holder.answer(ms(30), node(2), &answer(ms(20), Reply::Refused));
        holder.answer(ms(30), node(3), &answer(ms(20), Reply::Unknown));
        holder.answer(ms(30), node(7), &promise(ms(20)));
        holder.answer(ms(30), node(3), &promise(ms(31)));
        let older = Answer { about: Incarnation(3), ..promise(ms(20)) };
        holder.answer(ms(30), node(3), &older);
        assert_eq!(holder.lease_until(), BootTime::NEVER);
    }

    #[test]
    fn a_newer_council_counts_from_when_it_is_heard_of_and_takes_nothing_away() {
        let mut holder = holder();
        holder.answer(ms(30), node(1), &promise(ms(20)));
        holder.answer(ms(30), node(2), &promise(ms(20)));
        let until = holder.lease_until();
        let tells = Answer { voters: Some(voters(2, &[1, 2, 3], &[3, 4, 5])), ..promise(ms(60)) };
        holder.answer(ms(70), node(1), &tells);
        holder.answer(ms(70), node(2), &promise(ms(60)));
        assert_eq!(holder.lease_until(), until);
        let mut beaten = Vec::new();
        holder.beats(ms(80), 0, |node, _| beaten.push(node));
        assert_eq!(beaten, [1, 2, 3, 4, 5].map(node));
        holder.answer(ms(90), node(4), &promise(ms(80)));
        holder.answer(ms(90), node(5), &promise(ms(80)));
        assert_eq!(holder.lease_until(), ms(60) + less_drift(LEASE));
        holder.hear_of(&voters(1, &[1], &[]));
        assert_eq!(holder.voters().stamp.index, 2);
    }

    #[test]
    fn a_hung_node_and_an_incarnation_that_is_over_do_not_beat() {
        let mut holder = holder();
        let beats = |holder: &mut Holder, now| {
            let mut count = 0;
            holder.beats(now, 0, |_, _| count += 1);
            count
        };
        assert_eq!(beats(&mut holder, ms(49)), 0);
        assert_eq!(beats(&mut holder, ms(50)), 3);
        holder.set_healthy(false);
        assert_eq!(beats(&mut holder, ms(100)), 0);
        holder.set_healthy(true);
        assert_eq!(beats(&mut holder, ms(500)), 3);
        assert_eq!(beats(&mut holder, ms(501)), 0);
        holder.answer(ms(510), node(1), &promise(ms(500)));
        holder.answer(ms(510), node(2), &promise(ms(500)));
        assert_ne!(holder.lease_until(), BootTime::NEVER);
        holder.end();
        assert_eq!(beats(&mut holder, ms(600)), 0);
        assert_eq!(holder.lease_until(), BootTime::NEVER);
    }
}
