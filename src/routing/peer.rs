//! Requests to and from other nodes.

use ringfort_cluster::{Incarnation, Member, NodeId, Topology, Version};
use ringfort_protocol::{Args, Limits, Parsed, Parser, Resp, Span, encode_command};

use super::{ConnKey, Flight, Origin, PeerIndex, Place, Request, Router, blocked, frame, hold::Stay};
use crate::{
    clients::Door,
    commandlog::{Kind, kept},
    commands::{self, Command, CommandError, Flags, Run, generic::among::Among},
    routing::Executed,
    store::DATABASES,
};

/// Bytes that may wait to be sent to one peer before requests are refused.
pub(super) const QUEUE_LIMIT: usize = 256 << 20;

/// How long a node that has left in order may take to answer what it was sent, in nanoseconds: longer than its loops
/// take to end.
const LEAVING_NS: u64 = 1_000_000_000;

/// What a node sends to say who sends requests by a link: followed by its id and its incarnation. Without a reply.
const CALLER: &[u8] = b"link.caller";

/// The link of this loop to one peer: what is to be sent on it.
#[derive(Debug)]
pub struct PeerQueue {
    /// Which node.
    pub node: NodeId,
    /// Which of its lives, as far as this loop knows.
    pub member: Member,
    /// Whether the link is up: only then is anything put here.
    pub connected: bool,
    /// The loop is to close the link: what was sent on it will not be answered.
    pub close: bool,
    /// Until when the link is kept for what the node still has to answer: it has left in order.
    leaving: Option<u64>,
    /// What is to be sent.
    pub out: Vec<u8>,
    /// Bytes that were sent, since the link is up.
    sent: u64,
}

impl PeerQueue {
    pub(super) fn new(node: NodeId, member: Member) -> Self {
        Self { node, member, connected: false, close: false, leaving: None, out: Vec::new(), sent: 0 }
    }

    /// The position in the stream where the next frame will begin.
    pub(super) fn end(&self) -> u64 {
        self.sent + self.out.len() as u64
    }

    pub(super) fn put(&mut self, id: u32, version: Version, request: &Request<'_>, stay: Stay, now: u64) {
        let mut command = Vec::new();
        encode_command(&mut command, request.args.iter());
        let Request { db, resp, silent, waited, .. } = *request;
        let (waits, last_look) = (request.may_wait().then(|| stay.age(now)), stay.is_for_last_look());
        let command = &command;
        let frame = frame::PeerRequest { id, version, db, resp, silent, waits, waited, last_look, command };
        frame::put_request(&mut self.out, &frame);
    }

    /// Puts what nodes say to each other about requests, in words of their own.
    pub(super) fn put_words<const N: usize>(
        &mut self,
        id: u32,
        version: Version,
        resp: Resp,
        words: [&[u8]; N],
    ) {
        let mut command = Vec::new();
        encode_command(&mut command, words.into_iter());
        let (db, silent, waits, waited, last_look, command) = (0, false, None, false, false, &command);
        let frame = frame::PeerRequest { id, version, db, resp, silent, waits, waited, last_look, command };
        frame::put_request(&mut self.out, &frame);
    }

    /// The loop has sent so many bytes of [`PeerQueue::out`].
    pub fn sent(&mut self, bytes: usize) {
        self.out.drain(..bytes);
        self.sent += bytes as u64;
    }
}

impl Router {
    /// The link to a peer is up: what waits for it can go.
    pub fn link_up(&mut self, peer: PeerIndex) {
        let queue = &mut self.peers[usize::from(peer)];
        (queue.connected, queue.close, queue.leaving, queue.sent) = (true, false, None, 0);
        queue.out.clear();
        self.introduce(peer);
        self.retry_held();
    }

    /// Tells a peer who sends it requests.
    fn introduce(&mut self, peer: PeerIndex) {
        let Member { node, incarnation } = self.known_as;
        let incarnation = incarnation.0.to_string();
        let words = [CALLER, &node.0, incarnation.as_bytes()];
        self.peers[usize::from(peer)].put_words(
            frame::NO_REPLY,
            self.topology.version,
            Resp::default(),
            words,
        );
    }

    /// Tells all peers if this node has begun another life.
    pub(super) fn introduce_anew(&mut self) {
        let member = self.node.member();
        if std::mem::replace(&mut self.known_as, member) == member {
            return;
        }
        for peer in 0..self.peers.len() {
            if self.peers[peer].connected {
                self.introduce(peer as PeerIndex);
            }
        }
    }

    /// A peer has told who it is.
    fn note_caller(&mut self, conn: ConnKey, args: Args<'_>) {
        let node = args.get(1).and_then(|node| node.try_into().ok()).map(NodeId);
        let incarnation = args.get(2).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        let (Some(node), Some(incarnation)) = (node, incarnation.map(Incarnation)) else { return };
        let caller = Member { node, incarnation };
        let is_over = |known: &ringfort_cluster::Node| {
            let newest = known.info.incarnation;
            !known.leaving
                && (newest > incarnation || newest == incarnation && !self.topology.is_alive(caller))
        };
        if self.topology.nodes.get(&node).is_some_and(is_over) {
            self.dead.push(conn);
        } else {
            self.callers.insert(conn, caller);
        }
    }

    /// Forgets the requests of nodes that have died since the topology `before`: nothing is to be taken out for their
    /// clients any more, though their connections may not have broken yet. A node that leaves in order is owed answers,
    /// and ends its connections itself.
    pub(super) fn drop_dead_callers(&mut self, before: &Topology) {
        let leaves = |node: &NodeId| self.topology.nodes.get(node).is_none_or(|node| node.leaving);
        let has_died = |caller: &Member| {
            before.is_alive(*caller) && !self.topology.is_alive(*caller) && !leaves(&caller.node)
        };
        let dead: Vec<ConnKey> =
            self.callers.iter().filter(|(_, caller)| has_died(caller)).map(|(conn, _)| *conn).collect();
        for conn in dead {
            self.forget_peer(conn);
            self.dead.push(conn);
        }
    }

    /// The link to a peer is down. What was not sent waits for the next owner, and so do reads, and what waited at the
    /// peer; of any other write that was sent nobody knows whether it was run.
    pub fn link_down(&mut self, peer: PeerIndex) {
        let queue = &mut self.peers[usize::from(peer)];
        (queue.connected, queue.close, queue.leaving) = (false, false, None);
        queue.out.clear();
        let sent = queue.sent;
        for flight in self.take_flights(peer) {
            if matches!(flight.request.command.run, Run::Wait) {
                // Whoever serves the shard next knows nothing of who had acknowledged what.
                self.complete_count(flight.origin, 0);
            } else if flight.at >= sent || !flight.may_have_written() {
                self.hold_flight(flight);
            } else {
                let (node, command) = (self.peers[usize::from(peer)].node, flight.request.command.name);
                tracing::debug!(%node, command, "a link broke before a write was answered");
                self.untrack(flight.origin, &flight.request.as_request(), true);
                let text = "UNKNOWN The node that ran this write failed before it answered; \
                            whether it was applied is not known";
                self.fail(flight.origin, &CommandError::other(text));
            }
        }
        self.retry_held();
    }

    /// Marks links to nodes whose life is over, by the topology, to be closed. A node that has left in order, or was
    /// removed, answers what it was sent, and does not end before its links are closed.
    pub(super) fn drop_dead_links(&mut self) {
        let until = self.now.boot + LEAVING_NS;
        for queue in &mut self.peers {
            if !queue.connected || self.topology.is_alive(queue.member) {
                continue;
            }
            if self.topology.nodes.get(&queue.node).is_none_or(|node| node.leaving) {
                queue.leaving.get_or_insert(until);
            } else {
                queue.close = true;
            }
        }
        self.drop_left_links();
    }

    /// Marks links to nodes that have left to be closed, if all that was sent on them is answered, or took too long.
    /// To be called some times a second.
    pub fn drop_left_links(&mut self) {
        for (peer, queue) in self.peers.iter_mut().enumerate() {
            let Some(until) = queue.leaving else { continue };
            let owed = || self.flights.iter().any(|(_, flight)| usize::from(flight.peer) == peer);
            queue.close |= self.now.boot >= until || !owed();
        }
    }

    /// A peer is about to stop and answers nothing more: what it was sent goes to the next owner, writes too.
    fn farewell(&mut self, peer: PeerIndex) {
        let queue = &mut self.peers[usize::from(peer)];
        // Nothing more is put on the link, so no late reply can be taken for one to a later request.
        (queue.connected, queue.close) = (false, true);
        for flight in self.take_flights(peer) {
            if matches!(flight.request.command.run, Run::Wait) {
                self.complete_count(flight.origin, 0);
            } else {
                self.hold_flight(flight);
            }
        }
    }

    /// Takes all that was sent to a peer and is not answered, in the order in which it was sent.
    fn take_flights(&mut self, peer: PeerIndex) -> Vec<Flight> {
        let ids: Vec<usize> =
            self.flights.iter().filter(|(_, flight)| flight.peer == peer).map(|(id, _)| id).collect();
        let mut flights: Vec<Flight> = ids.into_iter().map(|id| self.flights.remove(id)).collect();
        for flight in &flights {
            self.sent.remove(&flight.origin);
        }
        flights.sort_by_key(|flight| flight.at);
        flights
    }

    /// A reply frame came from a peer.
    pub fn peer_replied(&mut self, peer: PeerIndex, reply: frame::PeerReply<'_>) {
        if reply.is_farewell() {
            return self.farewell(peer);
        }
        let id = reply.id as usize;
        let Some(flight) = self.flights.get_mut(id).filter(|flight| flight.peer == peer) else { return };
        match reply.answer {
            frame::Answer::Waits { for_data, command } => {
                flight.waits = true;
                flight.request.waited |= for_data;
                let Request { command: asked, args, .. } = flight.request.as_request();
                // What has other keys is no other form of it.
                if let Some(lasting) = command_of(command, &mut Default::default())
                    && asked.takes(lasting.len())
                    && asked.names(lasting).eq(asked.names(args))
                {
                    flight.request.args = lasting.into();
                }
                let origin = flight.origin;
                self.tell_that_it_waits(origin, for_data, None);
            }
            frame::Answer::Reply { written, bytes } => {
                let flight = self.take_flight(id);
                let request = flight.request.as_request();
                self.untrack(flight.origin, &request, true);
                self.answer(flight.origin, &request, bytes.to_vec(), written);
            }
            frame::Answer::NotPrimary(version) => {
                let flight = self.take_flight(id);
                self.hold_flight(flight);
                if version < self.topology.version {
                    self.retry_held();
                }
            }
        }
    }

    /// Takes a request back that a peer has answered.
    fn take_flight(&mut self, id: usize) -> Flight {
        let flight = self.flights.remove(id);
        self.sent.remove(&flight.origin);
        if self.peers[usize::from(flight.peer)].leaving.is_some() {
            self.drop_left_links();
        }
        flight
    }

    /// A request frame came from a peer on connection `conn`. Its reply is appended to `out`, or follows among the
    /// completions.
    pub fn serve_peer(&mut self, conn: ConnKey, request: &frame::PeerRequest<'_>, out: &mut Vec<u8>) {
        let mut spans = Vec::new();
        let origin = Origin::Peer { conn, id: request.id };
        let Some(args) = command_of(request.command, &mut spans) else {
            return self.fail(origin, &CommandError::other("ERR a peer sent what is no command"));
        };
        if args.at(0) == b"WAIT" {
            return self.wait_for_peer(origin, args);
        }
        if args.at(0) == blocked::CANCEL {
            return self.cancel_for_peer(origin, args);
        }
        if args.at(0) == CALLER {
            return self.note_caller(conn, args);
        }
        let command = match commands::resolve_for_peer(args) {
            Ok(command) => command,
            Err(error) => return self.fail(origin, &error),
        };
        self.node.stats.served_for_peers.add(1);
        let frame::PeerRequest { db, resp, silent, waited, .. } = *request;
        let (waits, age) = (request.waits.is_some(), request.waits.unwrap_or(0));
        if db >= DATABASES {
            return self.fail(origin, &CommandError::DbOutOfRange);
        }
        let (door, replica) = (Door::Client, false);
        let view = Request { command, args, db, resp, silent, door, replica, waits, waited };
        let keys = self.keys(command, args);
        let place = self.place(&view, &keys);
        let mut stay = self.new_stay(&view).aged(age);
        if request.last_look {
            stay = stay.for_last_look(self.now.boot);
        }
        if self.must_queue(conn, &view, &keys, place) {
            return self.hold(origin, view.to_owned(), &keys, stay);
        }
        match place {
            Place::Wait => self.hold(origin, view.to_owned(), &keys, stay),
            // The sender knows a newer topology: this node is about to learn that it is the owner, or of a third one.
            Place::Peer(_) | Place::Several if request.version > self.version() => {
                self.hold(origin, view.to_owned(), &keys, stay.by(request.version));
            }
            Place::Peer(_) | Place::Several => self.answer_not_primary(origin),
            Place::Here => {
                let mut reply = commands::Reply::new(resp);
                match self.execute(&view, &keys, Some((origin, stay)), &mut reply) {
                    Executed::Waits => {}
                    Executed::NotServing => self.hold(origin, view.to_owned(), &keys, stay),
                    Executed::Done(written) => {
                        let bytes = reply.into_bytes();
                        let answer = frame::Answer::Reply { written, bytes: &bytes };
                        frame::put_reply(out, &frame::PeerReply { id: request.id, answer });
                    }
                }
                if let Some(nanos) = self.stopwatch.lap(&*self.node.clock) {
                    self.note_served(conn, command, args, nanos);
                }
            }
        }
    }

    /// Remembers a command that took `nanos` nanoseconds here for a client of another node, where somebody wants to
    /// know that. The node stands in place of the client.
    #[cold]
    fn note_served(&mut self, conn: ConnKey, command: &'static Command, args: Args<'_>, nanos: u64) {
        // What a client asked of all shards is told as it was asked.
        let (command, args) = match command.run {
            Run::Among => match Among::parse(args, self.node.store.shards()) {
                Ok(among) => (among.command, among.args),
                Err(_) => (command, args),
            },
            _ => (command, args),
        };
        self.note_time(command, nanos);
        let micros = nanos / 1_000;
        if command.flags.has(Flags::SKIP_SLOWLOG) || !self.settings.stands_out(Kind::Slow, micros) {
            return;
        }
        let id = self.callers.get(&conn).map(|caller| caller.node);
        let node = id.and_then(|id| self.topology.nodes.get(&id));
        let address =
            node.map(|node| format!("{}:{}", node.info.address.host, node.info.address.client_port));
        let name = id.map(|id| id.to_string());
        self.note_command(
            Kind::Slow,
            micros,
            kept(args),
            address.unwrap_or_default(),
            name.unwrap_or_default(),
        );
    }
}

/// The command in a frame, if it is one.
fn command_of<'a>(bytes: &'a [u8], spans: &'a mut Vec<Span>) -> Option<Args<'a>> {
    let parsed = Parser::new().parse(bytes, spans, &Limits::BETWEEN_NODES);
    matches!(parsed, Ok(Parsed::Command { .. })).then(|| Args::new(bytes, spans))
}
