//! Where a request goes: here, to a peer, to several, or into a queue until somebody serves its shard.
//!
//! Each event loop has one [`Router`]. It holds the loop's view of the topology as a table (shard to [`Route`]), the
//! requests that are under way elsewhere ([`Flight`]) and those that wait ([`hold`]), and the bytes that are to go to
//! each peer. It is a pure state machine: sessions and links feed it, the loop sends what it leaves in
//! [`Router::peers`] and delivers what it leaves in [`Router::completions`].
//!
//! A request is run by [`execute`] under the locks of its shards, by nobody but the primary and only while it holds its
//! lease. A request of several keys is [split](spread) over the nodes that own them, or takes several
//! [steps]; one that waits for data is [parked](park), with those who [wait](blocked) looked after where they are. What
//! promise 1 of the project means is decided here: a client may send any command to any node.
//!
//! **Order.** Replies of a connection leave in the order of its requests (holes see to that). Requests of one
//! connection for one shard are also *run* in their order: while one of them is under way elsewhere or waits, later
//! ones follow it on the same link or wait behind it.

mod assemble;
mod awaiting;
mod blocked;
mod carry;
mod execute;
pub mod frame;
mod hold;
mod park;
mod peer;
mod scan;
mod spread;
mod steps;
#[cfg(test)]
mod tests;
mod upkeep;
mod wait;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use ringfort_cluster::{Member, NodeId, ShardId, Topology, Version};
use ringfort_protocol::{Args, OwnedArgs, Resp};
use rustc_hash::FxBuildHasher;
use slab::Slab;
use smallvec::{SmallVec, smallvec};

pub use self::{execute::Executed, frame::Written, park::Parking, peer::PeerQueue, wait::WaitFor};
use crate::{
    clients::{Door, Pause},
    commandlog::{Entry, Kind, kept},
    commands::{
        self, Command, CommandError, Flags, Run, Spread,
        error::is_refusal,
        follow::{Following, Reach},
        full_name,
        generic::among::Among,
        names,
        scratch::Scratch,
        session::Later,
    },
    config::Settings,
    env::{Now, Ticker, random::Dice},
    latency::Event,
    node::Node,
    stopwatch::Stopwatch,
    store::{Evictor, Key, Lookups, Role},
    tally::Tally,
};

/// Commands that a loop has tracked and not counted yet.
const TRACKED_LIMIT: usize = 256;

/// Names a connection of this loop: a client's, or one by which a peer sends requests. Never used again.
pub type ConnKey = u64;

/// Names the place of one reply in the output of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hole(pub(crate) u64);

/// A peer's place in [`Router::peers`].
pub type PeerIndex = u16;

/// The keys of one command.
pub type Keys<'a> = SmallVec<[Key<'a>; 2]>;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A client of this loop.
    Client {
        /// Its connection.
        conn: ConnKey,
        /// Where its reply goes.
        hole: Hole,
    },
    /// A part of a request that was split.
    Part {
        /// Which one.
        gather: usize,
        /// Which part.
        part: usize,
    },
    /// A step of a request that takes several.
    Step(usize),
    /// A part of a request that waits for keys of several nodes.
    Watch {
        /// Which one.
        job: usize,
        /// Which part.
        part: usize,
    },
    /// Another node, for a client of its own.
    Peer {
        /// Its connection.
        conn: ConnKey,
        /// Its number for the request.
        id: u32,
    },
}

/// A request, by reference to the buffer that it came in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The command.
    pub command: &'static Command,
    /// Its arguments, the name included.
    pub args: Args<'a>,
    /// The client's database.
    pub db: u8,
    /// The version of RESP that the client speaks.
    pub resp: Resp,
    /// Reads leave no mark on keys.
    pub silent: bool,
    /// The port the client came in by; for requests of peers, the client port.
    pub door: Door,
    /// Replicas may answer.
    pub replica: bool,
    /// It may wait for data, if it is a command that does.
    pub waits: bool,
    /// It has begun to before: it has seen its keys, and goes on waiting whatever they hold by now.
    pub waited: bool,
}

/// Where a shard is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// On this node.
    Here,
    /// By a peer.
    Peer(PeerIndex),
    /// By nobody at the moment.
    Nobody,
}

/// Where a request is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// All of it is served on this node.
    Here,
    /// All of it is served by this peer.
    Peer(PeerIndex),
    /// Its keys are on several nodes.
    Several,
    /// It must wait.
    Wait,
}

impl From<Route> for Place {
    fn from(route: Route) -> Self {
        match route {
            Route::Here => Self::Here,
            Route::Peer(peer) => Self::Peer(peer),
            Route::Nobody => Self::Wait,
        }
    }
}

/// A reply for a client whose request was not answered at once.
#[derive(Debug)]
pub struct Completion {
    /// Its connection.
    pub conn: ConnKey,
    /// Where the reply goes.
    pub hole: Hole,
    /// The reply.
    pub reply: Vec<u8>,
    /// How far it wrote.
    pub written: Written,
    /// What was asked, cut short, where the reply is so large that it belongs into the command log.
    pub asked: Option<Vec<Vec<u8>>>,
}

/// A reply for a peer whose request was not answered at once: a frame.
#[derive(Debug)]
pub struct PeerCompletion {
    /// Its connection.
    pub conn: ConnKey,
    /// The frame to send.
    pub frame: Vec<u8>,
}

/// A request that was sent to a peer and not answered yet.
#[derive(Debug)]
struct Flight {
    origin: Origin,
    request: Owned,
    peer: PeerIndex,
    /// The position in the stream to the peer where its frame begins.
    at: u64,
    /// The peer has said that it waits there.
    waits: bool,
    stay: hold::Stay,
}

impl Flight {
    /// Whether its effects would be unknown if the node that runs it died. What waits has not been run, as a rule; what
    /// was taken out for it in the last moment is lost with its node.
    fn may_have_written(&self) -> bool {
        self.request.command.flags.has(Flags::WRITE) && !self.waits
    }
}

/// A request that outlives the buffer that it came in.
#[derive(Debug)]
struct Owned {
    command: &'static Command,
    args: OwnedArgs,
    db: u8,
    resp: Resp,
    silent: bool,
    door: Door,
    replica: bool,
    waits: bool,
    waited: bool,
}

impl Owned {
    fn as_request(&self) -> Request<'_> {
        let Self { command, ref args, db, resp, silent, door, replica, waits, waited } = *self;
        Request { command, args: args.as_args(), db, resp, silent, door, replica, waits, waited }
    }
}

impl Request<'_> {
    /// Whether it is to wait where there is nothing for it yet.
    fn may_wait(&self) -> bool {
        self.waits && matches!(self.command.run, Run::Blocking(_))
    }

    fn to_owned(self) -> Owned {
        let Self { command, args, db, resp, silent, door, replica, waits, waited } = self;
        Owned { command, args: args.into(), db, resp, silent, door, replica, waits, waited }
    }
}

/// The requests of one connection for one shard that are not answered.
#[derive(Clone, Copy, Debug, Default)]
struct Unresolved {
    /// How many were sent to a peer.
    sent: u32,
    /// To which.
    to: PeerIndex,
    /// How many wait here.
    held: u32,
}

/// What a loop counts for itself, to add it to the node's [`Stats`](crate::stats::Stats) some times a second: those are
/// shared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Bytes that came from clients.
    pub bytes_in: u64,
    /// Bytes that were sent to clients.
    pub bytes_out: u64,
}

/// One loop's routing.
pub struct Router {
    /// What all threads share.
    pub node: Arc<Node>,
    /// The settings in force, as of this turn.
    pub settings: Arc<Settings>,
    /// The time of this turn.
    pub now: Now,
    /// Replies to be delivered to clients.
    pub completions: Vec<Completion>,
    /// Replies to be delivered to peers.
    pub peer_completions: Vec<PeerCompletion>,
    /// Commands for the control thread.
    pub for_control: Vec<(Origin, OwnedArgs)>,
    /// What sessions asked the loop to do, and to answer later.
    pub for_later: Vec<(Origin, Later)>,
    /// Connections whose command has begun to wait for data.
    pub waiting: Vec<ConnKey>,
    /// Connections by which nodes sent requests that have died: they are to be closed.
    pub dead: Vec<ConnKey>,
    /// Connections that CLIENT PAUSE holds up.
    pub paused: Vec<ConnKey>,
    /// Which commands it holds up in this turn.
    pub pause: Pause,
    /// Measures the commands of this turn.
    pub stopwatch: Stopwatch,
    /// Counts commands and what came of them.
    pub tally: Tally,
    /// Whether somebody watches what is run in this turn: then each command is measured.
    pub watched: bool,
    ticker: Ticker,
    /// What the coarse clock showed when the turn began that [`Router::keep_turn`] may go on with.
    turn_began: Option<u64>,
    /// The links to other nodes, and what is to be sent on each.
    pub peers: Vec<PeerQueue>,
    /// Whether a request was run here since the caller last looked: its reply rests on the lease.
    pub ran: bool,
    /// Whether something was written to a log since the loop last told replication.
    pub logged: bool,
    /// What look-ups here have found since [`Router::publish`].
    lookups: Lookups,
    /// What else was counted since this was last published.
    pub counted: Counted,
    /// The commands that were tracked since then, with how many nanoseconds each took.
    tracked: Vec<(&'static str, u64)>,
    /// Whether more memory is in use than may be, and the loop is to go on giving up keys.
    pub over_limit: bool,
    evictor: Evictor,
    topology: Arc<Topology>,
    /// Who sends requests by a connection, once that is known.
    callers: HashMap<ConnKey, Member, FxBuildHasher>,
    /// As whom this node sends requests.
    known_as: Member,
    routes: Box<[Route]>,
    flights: Slab<Flight>,
    /// Requests that nobody can run at the moment, by the order in which they came.
    held: BTreeMap<u64, hold::Held>,
    held_bytes: usize,
    /// Whether this node has had a lease since it started.
    had_lease: bool,
    /// Since when it has been without the lease that it had.
    without_lease_since: Option<u64>,
    next_order: u64,
    gathers: Slab<spread::Gathering>,
    waits: Vec<wait::Wait>,
    jobs: Slab<steps::Job>,
    /// Steps that have ended, whose jobs are to go on.
    ended: steps::Ended,
    awaits: Slab<awaiting::Awaiting>,
    /// Those who wait for data, as all loops know them.
    parking: Arc<Parking>,
    /// This loop's place among them.
    index: usize,
    parked: park::Parked,
    /// Keys that have changed, and whose waiters are to be served.
    ready: VecDeque<park::Ready>,
    /// Those of them whose shards were not served: for another time.
    put_off: BTreeSet<park::Ready>,
    serving: bool,
    blocked: HashMap<ConnKey, blocked::Blocked, FxBuildHasher>,
    deadlines: BTreeSet<(u64, ConnKey)>,
    /// Requests that may wait at a peer, by who asked.
    sent: HashMap<Origin, usize, FxBuildHasher>,
    /// Where commands run on copies; made when one first does.
    scratch: Option<Box<Scratch>>,
    unresolved: HashMap<(ConnKey, ShardId), Unresolved, FxBuildHasher>,
    dice: Dice,
}

impl Router {
    /// The router of loop `index`, which knows the topology that its node has applied.
    pub fn new(node: Arc<Node>, parking: Arc<Parking>, index: usize, seed: u64) -> Self {
        let mut router = Self {
            settings: node.config.load(),
            topology: node.topology.load_full(),
            callers: HashMap::default(),
            known_as: node.member(),
            routes: vec![Route::Nobody; usize::from(node.store.shards())].into(),
            now: Now::of(&*node.clock),
            tally: node.tallies.join(names().len()),
            node,
            completions: Vec::new(),
            peer_completions: Vec::new(),
            for_control: Vec::new(),
            for_later: Vec::new(),
            waiting: Vec::new(),
            dead: Vec::new(),
            paused: Vec::new(),
            pause: Pause::Nothing,
            stopwatch: Stopwatch::default(),
            watched: false,
            ticker: Ticker::default(),
            turn_began: None,
            peers: Vec::new(),
            ran: false,
            logged: false,
            lookups: Lookups::default(),
            counted: Counted::default(),
            tracked: Vec::new(),
            over_limit: false,
            evictor: Evictor::default(),
            flights: Slab::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            had_lease: false,
            without_lease_since: None,
            next_order: 0,
            gathers: Slab::new(),
            waits: Vec::new(),
            jobs: Slab::new(),
            ended: Default::default(),
            awaits: Slab::new(),
            parking,
            index,
            parked: Default::default(),
            ready: VecDeque::new(),
            put_off: BTreeSet::new(),
            serving: false,
            blocked: HashMap::default(),
            deadlines: BTreeSet::new(),
            sent: HashMap::default(),
            scratch: None,
            unresolved: HashMap::default(),
            dice: Dice::new(seed),
        };
        router.lay_routes();
        router
    }

    /// Goes on with a turn of the loop: its time and its settings hold for all connections that are ready in it, until
    /// [`Router::end_turn`] or the next tick of the coarse clock.
    pub fn keep_turn(&mut self) {
        let coarse = self.node.clock.coarse();
        if self.turn_began == Some(coarse) {
            self.stopwatch.restart(&*self.node.clock);
        } else {
            self.begin_turn(coarse);
            self.turn_began = Some(coarse);
        }
    }

    /// Begins a turn of the loop: takes the time and the settings.
    pub fn turn(&mut self) {
        self.turn_began = None;
        self.begin_turn(self.node.clock.coarse());
    }

    fn begin_turn(&mut self, coarse: u64) {
        self.now = self.ticker.now(&*self.node.clock, coarse);
        self.reload();
        self.measure();
    }

    /// All that was ready in this turn was run. Returns whether it may be confirmed: whether the node still has the
    /// right to serve, by the exact clock.
    pub fn end_turn(&mut self) -> bool {
        self.turn_began = None;
        self.node.lease.confirms(self.node.clock.boot())
    }

    /// Takes over settings that a command may have changed.
    pub fn reload(&mut self) {
        self.settings = self.node.config.load();
        self.pause = self.node.clients.pause(self.now.boot);
    }

    /// Measures the commands from now on of which somebody wants to know.
    pub fn measure(&mut self) {
        self.watched = self.node.clients.are_watched();
        let threshold = if self.watched { Some(0) } else { self.settings.timed_from() };
        self.stopwatch = Stopwatch::start(threshold, &*self.node.clock);
    }

    /// Notes how long a command took, in nanoseconds, where LATENCY is to tell of it.
    pub fn note_time(&mut self, command: &'static Command, nanos: u64) {
        let is_fast = command.flags.has(Flags::FAST);
        self.note_spike(if is_fast { Event::FastCommand } else { Event::Command }, nanos);
        if self.settings.latency_tracking {
            self.tracked.push((full_name(command), nanos));
            if self.tracked.len() >= TRACKED_LIMIT {
                self.publish();
            }
        }
    }

    /// Counts an error that a client is told, and that the call of this command has failed, or was none.
    #[cold]
    pub fn note_error(&self, command: Option<&Command>, reply: &[u8]) {
        self.node.stats.errors.add(1);
        self.node.tallies.note_error(reply);
        match command {
            Some(command) if is_refusal(reply) => self.tally.take_back(command.number),
            Some(command) => self.tally.fail(command.number),
            None => {}
        }
    }

    /// Remembers a command that stood out by `value`, with what is kept of its arguments, and who asked.
    pub fn note_command(&self, kind: Kind, value: u64, args: Vec<Vec<u8>>, peer: String, name: String) {
        let entry = Entry { id: 0, time: self.now.wall / 1_000, value, args, peer, name };
        self.node.commandlog.of(kind).note(entry, self.settings.commandlog_max_len(kind));
    }

    fn note_spike(&self, event: Event, nanos: u64) {
        let (millis, threshold) = (nanos / 1_000_000, self.settings.latency_monitor_threshold);
        if threshold > 0 && millis >= threshold {
            self.node.latency.note(event, millis, self.now.wall / 1_000);
        }
    }

    /// Does some work, and notes how long it took where LATENCY is to tell of it.
    fn watched<R>(&mut self, event: Event, work: impl FnOnce(&mut Self) -> R) -> R {
        if self.settings.latency_monitor_threshold == 0 {
            return work(self);
        }
        let began = self.node.clock.boot();
        let result = work(self);
        self.note_spike(event, self.node.clock.boot().saturating_sub(began));
        result
    }

    /// Adds what was counted here to the counters of the node, which all loops share: some times a second, and before
    /// this loop tells them.
    pub fn publish(&mut self) {
        let stats = &self.node.stats;
        let (hits, misses) = self.lookups.take();
        let Counted { bytes_in, bytes_out } = std::mem::take(&mut self.counted);
        let counters = [
            (&stats.hits, hits),
            (&stats.misses, misses),
            (&stats.bytes_in, bytes_in),
            (&stats.bytes_out, bytes_out),
        ];
        for (counter, count) in counters.into_iter().filter(|(_, count)| *count > 0) {
            counter.add(count);
        }
        if !self.tracked.is_empty() {
            self.node.latency.count(self.tracked.drain(..));
        }
    }

    /// The topology that requests are routed by.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Takes over the topology that the node has applied, and sends on what it lets go.
    pub fn refresh(&mut self) {
        let topology = self.node.topology.load_full();
        if topology.version > self.topology.version {
            let before = std::mem::replace(&mut self.topology, topology);
            self.lay_routes();
            self.drop_dead_links();
            self.drop_dead_callers(&before);
            self.introduce_anew();
            self.call_back_moved();
        }
        self.retry_held();
    }

    fn lay_routes(&mut self) {
        let me = self.node.member();
        for index in 0..self.topology.nodes.len() {
            let (id, node) = self.topology.nodes.iter().nth(index).expect("an index below the length");
            if *id != self.node.id {
                let (id, member) = (*id, node.info.member());
                self.peer(id, member);
            }
        }
        for (route, shard) in self.routes.iter_mut().zip(&self.topology.shards) {
            *route = match shard.primary {
                None => Route::Nobody,
                Some(primary) if primary == me => Route::Here,
                Some(primary) if primary.node == me.node => Route::Nobody,
                Some(primary) => {
                    let known = self.peers.iter().position(|peer| peer.node == primary.node);
                    known.map_or(Route::Nobody, |index| Route::Peer(index as PeerIndex))
                }
            };
        }
    }

    fn peer(&mut self, node: NodeId, member: Member) -> PeerIndex {
        match self.peers.iter().position(|peer| peer.node == node) {
            Some(index) => {
                let queue = &mut self.peers[index];
                // What answers on the link is another life of the node, or nobody.
                queue.close |= queue.connected && queue.member != member;
                queue.member = member;
                index as PeerIndex
            }
            None => {
                self.peers.push(PeerQueue::new(node, member));
                self.peers.len() as PeerIndex - 1
            }
        }
    }

    /// The keys of a command, hashed.
    pub fn keys<'a>(&self, command: &Command, args: Args<'a>) -> Keys<'a> {
        let key = |name| Key::new(name, self.node.store.hash_seed);
        if let [spec] = command.keys
            && let Some(index) = spec.only()
        {
            return smallvec![key(args.at(index))];
        }
        command.names(args).map(key).collect()
    }

    /// Where a request with these keys is to go, if nothing of its connection is in its way.
    pub fn place(&self, request: &Request<'_>, keys: &[Key<'_>]) -> Place {
        let place = self.place_of(keys.iter().map(|key| self.route(key.slot)));
        let Some(place) = place else { return self.place_keyless(request) };
        match &request.command.run {
            Run::Following(following) if place != Place::Wait => {
                self.place_following(request, following, place)
            }
            _ => place,
        }
    }

    /// Where a request is to go whose keys have this place, and which may read others.
    fn place_following(&self, request: &Request<'_>, following: &Following, place: Place) -> Place {
        // Clients of the cluster port are told who owns the keys that they have named, and ask there.
        if request.door == Door::Cluster && matches!(place, Place::Peer(_)) {
            return place;
        }
        let is_there = |route: Route| match (place, route) {
            (Place::Here, Route::Here) => true,
            (Place::Peer(one), Route::Peer(other)) => one == other,
            _ => false,
        };
        let all_there = match (following.reach)(request.args) {
            Reach::Slots(slots) => slots.iter().all(|slot| is_there(self.route(*slot))),
            Reach::Everything => self.routes.iter().all(|route| is_there(*route)),
        };
        if all_there { place } else { Place::Several }
    }

    fn place_keyless(&self, request: &Request<'_>) -> Place {
        if matches!(request.command.run, Run::Among) {
            return self.place_among(request);
        }
        if request.command.spread == Spread::Cursor {
            return self.place_scan(request);
        }
        // Clients of the cluster port ask each node for what it has itself.
        if !matches!(request.command.run, Run::EachShard(_)) || request.door == Door::Cluster {
            return Place::Here;
        }
        let reached = |route: &Route| match route {
            Route::Here => true,
            Route::Peer(peer) => self.peers[usize::from(*peer)].connected,
            Route::Nobody => false,
        };
        if !self.routes.iter().all(reached) {
            return Place::Wait;
        }
        if self.routes.iter().all(|route| *route == Route::Here) { Place::Here } else { Place::Several }
    }

    fn place_among(&self, request: &Request<'_>) -> Place {
        // What makes no sense is refused here.
        let Ok(among) = Among::parse(request.args, self.node.store.shards()) else { return Place::Here };
        self.place_of(among.shards.iter().map(|shard| self.routes[usize::from(shard.0)]))
            .unwrap_or(Place::Here)
    }

    /// Where what is routed so is to go together; `None` if nothing is.
    fn place_of(&self, mut routes: impl Iterator<Item = Route>) -> Option<Place> {
        let mut place = Place::from(routes.next()?);
        for route in routes {
            place = match (place, Place::from(route)) {
                (Place::Wait, _) | (_, Place::Wait) => return Some(Place::Wait),
                (one, other) if one == other => one,
                _ => Place::Several,
            };
        }
        Some(place)
    }

    /// Whether the topology has this node serve the shard.
    fn is_here(&self, shard: ShardId) -> bool {
        self.routes[usize::from(shard.0)] == Route::Here
    }

    fn route(&self, slot: u16) -> Route {
        self.routes[usize::from(self.node.store.shard_of(slot).0)]
    }

    /// Whether a request of this connection must not overtake an earlier one on a shard that it needs, if it goes to
    /// `place`.
    pub fn must_queue(&self, conn: ConnKey, request: &Request<'_>, keys: &[Key<'_>], place: Place) -> bool {
        if self.unresolved.is_empty() {
            return false;
        }
        let needed = self.needed(request, keys);
        let mut earlier = needed.iter().filter_map(|shard| self.unresolved.get(&(conn, *shard)));
        earlier.any(|earlier| earlier.held > 0) || self.overtakes(conn, &needed, place)
    }

    /// Whether a request that needs these shards would overtake one that was sent to a peer.
    fn overtakes(&self, conn: ConnKey, needed: &[ShardId], place: Place) -> bool {
        let mut earlier = needed.iter().filter_map(|shard| self.unresolved.get(&(conn, *shard)));
        earlier.any(|earlier| earlier.sent > 0 && place != Place::Peer(earlier.to))
    }

    /// Sends a request where it must go, or lets it wait. Its reply will be among the completions.
    pub fn submit(&mut self, origin: Origin, request: Request<'_>, keys: &[Key<'_>], place: Place) {
        self.note_deadline(origin, &request);
        let stay = self.new_stay(&request);
        self.submit_with(origin, request, keys, place, stay);
    }

    /// The same for a request that has been in the router for some time, and keeps its place in the order.
    fn submit_with(
        &mut self,
        origin: Origin,
        request: Request<'_>,
        keys: &[Key<'_>],
        place: Place,
        stay: hold::Stay,
    ) {
        match place {
            Place::Wait => self.hold(origin, request.to_owned(), keys, stay),
            Place::Peer(peer) if request.door == Door::Cluster => self.fail(origin, &self.moved(keys, peer)),
            Place::Peer(peer) if self.peers[usize::from(peer)].connected => {
                self.send(origin, request, keys, peer, stay);
            }
            Place::Peer(_) => self.hold(origin, request.to_owned(), keys, stay),
            Place::Several => self.spread(origin, request, keys, stay),
            Place::Here => {
                let mut out = commands::Reply::new(request.resp);
                match self.execute(&request, keys, Some((origin, stay)), &mut out) {
                    Executed::Done(written) => self.answer(origin, &request, out.into_bytes(), written),
                    Executed::NotServing => self.hold(origin, request.to_owned(), keys, stay),
                    Executed::Waits => {}
                }
            }
        }
    }

    /// Tells a client of the cluster port which peer owns these keys.
    pub fn moved(&self, keys: &[Key<'_>], peer: PeerIndex) -> CommandError {
        let owner = self.peers[usize::from(peer)].node;
        let slot = keys.first().map_or(0, |key| key.slot);
        match self.topology.nodes.get(&owner) {
            Some(node) => {
                let address = &node.info.address;
                CommandError::made(format!("MOVED {slot} {}:{}", address.host, address.cluster_port))
            }
            None => CommandError::other("CLUSTERDOWN The owner of the slot has just been removed; try again"),
        }
    }

    fn send(
        &mut self,
        origin: Origin,
        request: Request<'_>,
        keys: &[Key<'_>],
        peer: PeerIndex,
        stay: hold::Stay,
    ) {
        let bytes: usize = request.args.iter().map(|arg| arg.len() + 16).sum();
        if bytes > frame::CONTENT_LIMIT {
            return self.fail(
                origin,
                &CommandError::other("ERR the command is too long to be sent to another node"),
            );
        }
        if self.peers[usize::from(peer)].out.len() > peer::QUEUE_LIMIT {
            let text = "ERR the link to the node that owns this key is congested; try again later";
            return self.fail(origin, &CommandError::other(text));
        }
        self.track(origin, keys, Some(peer));
        let now = if request.may_wait() { self.node.clock.boot() } else { self.now.boot };
        let queue = &mut self.peers[usize::from(peer)];
        let flight =
            Flight { origin, request: request.to_owned(), peer, at: queue.end(), waits: false, stay };
        let id = self.flights.insert(flight);
        queue.put(id as u32, self.topology.version, &request, stay, now);
        if request.waits {
            self.sent.insert(origin, id);
        }
        self.node.stats.forwarded.add(1);
    }

    /// Notes that a request of a connection for these shards is under way: to a peer, or it waits.
    fn track(&mut self, origin: Origin, keys: &[Key<'_>], to: Option<PeerIndex>) {
        let Some(conn) = self.connection_of(origin) else { return };
        for key in keys {
            let shard = self.node.store.shard_of(key.slot);
            let entry = self.unresolved.entry((conn, shard)).or_default();
            match to {
                Some(to) => (entry.sent, entry.to) = (entry.sent + 1, to),
                None => entry.held += 1,
            }
        }
    }

    /// Takes that back: the request was sent, or waited.
    fn untrack(&mut self, origin: Origin, request: &Request<'_>, was_sent: bool) {
        let Some(conn) = self.connection_of(origin) else { return };
        for key in &self.keys(request.command, request.args) {
            let shard = self.node.store.shard_of(key.slot);
            if let Some(entry) = self.unresolved.get_mut(&(conn, shard)) {
                let count = if was_sent { &mut entry.sent } else { &mut entry.held };
                *count = count.saturating_sub(1);
                if (entry.sent, entry.held) == (0, 0) {
                    self.unresolved.remove(&(conn, shard));
                }
            }
        }
    }

    fn connection_of(&self, origin: Origin) -> Option<ConnKey> {
        match origin {
            Origin::Client { conn, .. } | Origin::Peer { conn, .. } => Some(conn),
            Origin::Part { gather, .. } => self.connection_of(self.gathers.get(gather)?.origin),
            // What matters to the order of its connection's requests is the whole of it.
            Origin::Step(_) | Origin::Watch { .. } => None,
        }
    }

    /// Answers with an error.
    pub fn fail(&mut self, origin: Origin, error: &CommandError) {
        let mut out = commands::Reply::default();
        out.error(error);
        self.complete(origin, out.into_bytes(), Written::new());
    }

    /// Passes the reply to a request on to whoever asked. Of a large one, a client's session learns what was asked.
    fn answer(&mut self, origin: Origin, request: &Request<'_>, reply: Vec<u8>, written: Written) {
        self.answer_to(origin, reply, written, || asked(request));
    }

    /// The same, for who knows what was asked.
    fn answer_to(
        &mut self,
        origin: Origin,
        reply: Vec<u8>,
        written: Written,
        asked: impl FnOnce() -> Option<Vec<Vec<u8>>>,
    ) {
        let is_large = self.settings.stands_out(Kind::LargeReply, reply.len() as u64);
        self.complete(origin, reply, written);
        if let (true, Origin::Client { .. }, Some(last)) = (is_large, origin, self.completions.last_mut()) {
            last.asked = asked();
        }
    }

    /// Passes a reply on to whoever asked.
    pub fn complete(&mut self, origin: Origin, reply: Vec<u8>, written: Written) {
        match origin {
            Origin::Client { conn, hole } => {
                self.end_of_wait(conn, hole);
                self.completions.push(Completion { conn, hole, reply, written, asked: None });
            }
            Origin::Part { gather, part } => self.gather(gather, part, reply, written),
            Origin::Step(_) | Origin::Watch { .. } => self.end_in_turn(origin, reply, written),
            Origin::Peer { conn, id } => {
                let mut frame = Vec::new();
                let answer = frame::Answer::Reply { written, bytes: &reply };
                frame::put_reply(&mut frame, &frame::PeerReply { id, answer });
                self.peer_completions.push(PeerCompletion { conn, frame });
            }
        }
    }

    /// The version of the topology that requests are routed by.
    pub fn version(&self) -> Version {
        self.topology.version
    }

    /// Whether this node has, of all shards that a request with keys needs, complete copies of others' or its own.
    pub fn has_copies(&self, request: &Request<'_>, keys: &[Key<'_>]) -> bool {
        let role = |shard: &ShardId| self.node.store.lock(*shard).core.role;
        let is_copy = |shard: &ShardId| matches!(role(shard), Role::Replica | Role::Primary);
        !keys.is_empty() && self.needed(request, keys).iter().all(is_copy)
    }
}

/// What is kept of a request that stands out, if it may.
fn asked(request: &Request<'_>) -> Option<Vec<Vec<u8>>> {
    if request.command.flags.has(Flags::SKIP_SLOWLOG) {
        return None;
    }
    Some(kept(request.args))
}
