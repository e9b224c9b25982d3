//! Event loops and sockets: they drive sessions and links, and decide nothing.
//!
//! Each core has one loop: a thread with a tokio runtime of its own, its own listeners (`SO_REUSEPORT` spreads the
//! connections), one [`Router`], and one link to each peer. Nothing of a loop is shared with another one but the
//! [`Node`]. A turn of the loop reads what has come from all sockets that are ready, runs it, and then sends: what
//! connections and links are owed goes out at the end, one send each ([`EventLoop::flush`]).

mod connection;
mod link;
pub mod listen;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    io,
    net::{SocketAddr, TcpStream as StdStream},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use ringfort_cluster::Version;
use ringfort_protocol::OwnedArgs;
use rustc_hash::FxBuildHasher;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::{connection::Connection, link::PeerConnection};
use crate::{
    bus::Bus,
    clients::{Door, Pause},
    commands::{CommandError, Reply, session::Later, shutdown},
    control,
    node::Node,
    replication,
    routing::{ConnKey, Origin, Parking, Router, Written},
    signal::Signal,
    tasks,
};

/// Bytes that are read from a socket at once. One buffer serves all connections of a loop.
const READ_BUFFER: usize = 64 << 10;

/// How often a loop shows that it turns.
const SHOW_TURN: Duration = Duration::from_millis(100);

/// How often requests that wait are tried again, beside each change of the topology.
const RETRY: Duration = Duration::from_millis(5);

/// How often a loop looks whether CLIENT PAUSE is over: another loop may have ended it.
const PAUSE_TICK: Duration = Duration::from_millis(2);

/// How often a loop looks for silent clients.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// How long a loop that is to end waits for replies that its clients are owed, and for peers to close their links.
pub const WIND_DOWN_LIMIT: Duration = Duration::from_millis(500);

/// How far a node is on its way to its end, as its event loops are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It has given its lease up: it runs nothing more itself, and confirms what it ran. It still sends requests on.
    Retired,
    /// Its clients are told what they are owed and nothing more, and then the loops end.
    Ending,
}

/// What a loop is started with.
pub struct Start {
    /// What all threads share.
    pub node: Arc<Node>,
    /// Its listeners, and which port each is for.
    pub listeners: Vec<(Door, std::net::TcpListener)>,
    /// How it reaches other nodes.
    pub bus: Arc<Bus>,
    /// Tells of new versions of the topology, once the node's shards have their roles.
    pub topology: watch::Receiver<Version>,
    /// Connections by which peers send requests: authenticated by the bus and handed to this loop.
    pub peers: mpsc::UnboundedReceiver<StdStream>,
    /// Woken when something was written to a log.
    pub replication: Arc<Notify>,
    /// Takes commands for the control thread.
    pub control: mpsc::UnboundedSender<control::Command>,
    /// Where the loop shows that it turns.
    pub beats: Arc<control::beats::Beats>,
    /// Its place among the loops.
    pub index: usize,
    /// How many loops there are.
    pub loops: usize,
    /// What runs on this loop beside serving clients.
    pub beside: Option<replication::Start>,
    /// How far the node is on its way to its end.
    pub phase: watch::Receiver<Phase>,
    /// Told once, when what was run before the node retired is confirmed.
    pub retired: mpsc::UnboundedSender<()>,
    /// Those who wait for data.
    pub parking: Arc<Parking>,
    /// Any number, of its own for each loop.
    pub seed: u64,
}

/// A connection that is sent something at the end of the turn.
enum Owed {
    Client(Rc<Connection>),
    Peer(Rc<PeerConnection>),
}

/// One event loop.
pub(crate) struct EventLoop {
    node: Arc<Node>,
    bus: Arc<Bus>,
    router: RefCell<Router>,
    buffer: RefCell<Vec<u8>>,
    next_key: Cell<ConnKey>,
    clients: RefCell<HashMap<ConnKey, Rc<Connection>, FxBuildHasher>>,
    peers: RefCell<HashMap<ConnKey, Rc<PeerConnection>, FxBuildHasher>>,
    links: RefCell<Vec<Rc<link::Link>>>,
    /// Who is owed something.
    owed: RefCell<Vec<Owed>>,
    flush: Signal,
    /// Woken when a connection of a client or a peer has ended.
    ended: Notify,
    waits: Notify,
    pauses: Notify,
    over_limit: Notify,
    /// Woken when another wait is the next to end.
    deadline: Notify,
    /// When that is.
    next_deadline: Cell<Option<u64>>,
    replication: Arc<Notify>,
    control: mpsc::UnboundedSender<control::Command>,
}

/// Runs an event loop on this thread until it is told to stop.
pub fn run(start: Start) -> io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    runtime.block_on(EventLoop::run(start))
}

impl EventLoop {
    async fn run(start: Start) -> io::Result<()> {
        let Start { node, listeners, bus, topology, peers, replication, control, phase, .. } = start;
        let router = Router::new(node, Arc::clone(&start.parking), start.index, start.seed);
        let this = Rc::new(Self::new(router, bus, replication, control));
        if let Some(beside) = start.beside {
            replication::start(beside);
        }
        tasks::local("turns", Rc::clone(&this).show_turns(start.beats, start.index));
        this.start_upkeep(start.index, start.loops);
        for (door, listener) in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tasks::local("accept", Rc::clone(&this).accept(door, listener, phase.clone()));
        }
        tasks::local("flush", Rc::clone(&this).flush_forever());
        tasks::local("topology", Rc::clone(&this).follow_topology(topology));
        tasks::local("retry", Rc::clone(&this).retry_forever());
        tasks::local("served", Rc::clone(&this).pass_served_on(start.parking, start.index));
        tasks::local("deadlines", Rc::clone(&this).end_overdue_waits());
        tasks::local("pauses", Rc::clone(&this).end_pauses());
        tasks::local("idle", Rc::clone(&this).close_idle());
        tasks::local("peers", Rc::clone(&this).accept_peers(peers));
        this.end(phase, start.retired).await;
        Ok(())
    }

    fn new(
        router: Router,
        bus: Arc<Bus>,
        replication: Arc<Notify>,
        control: mpsc::UnboundedSender<control::Command>,
    ) -> Self {
        Self {
            node: Arc::clone(&router.node),
            router: RefCell::new(router),
            bus,
            buffer: RefCell::new(vec![0; READ_BUFFER]),
            next_key: Cell::new(0),
            clients: RefCell::default(),
            peers: RefCell::default(),
            links: RefCell::default(),
            owed: RefCell::default(),
            flush: Signal::default(),
            ended: Notify::new(),
            waits: Notify::new(),
            pauses: Notify::new(),
            over_limit: Notify::new(),
            deadline: Notify::new(),
            next_deadline: Cell::default(),
            replication,
            control,
        }
    }

    /// Serves until the node is to end, and then ends in order: nobody who was answered is cut off before he has read
    /// it, and no peer is left with a request of which it does not know what has become.
    async fn end(self: &Rc<Self>, mut phase: watch::Receiver<Phase>, retired: mpsc::UnboundedSender<()>) {
        // The sender is dropped only with the process.
        let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
        // What was run in an earlier turn: in this one nothing is, since the lease was given up before.
        self.flush();
        // The receiver has given up on this loop: then it does not wait for it.
        let _ = retired.send(());
        let _ = phase.wait_for(|phase| *phase == Phase::Ending).await;
        self.clients.borrow().values().for_each(|client| client.wind_down());
        self.with_router(|router| {
            router.turn();
            router.end_all_waits();
        });
        let version = self.router.borrow().version();
        for peer in self.peers.borrow().values() {
            peer.say_farewell(version);
            peer.flush(true);
        }
        let ended = async {
            while !(self.clients.borrow().is_empty() && self.peers.borrow().is_empty()) {
                self.ended.notified().await;
            }
        };
        if tokio::time::timeout(WIND_DOWN_LIMIT, ended).await.is_err() {
            let (clients, peers) = (self.clients.borrow().len(), self.peers.borrow().len());
            tracing::info!(clients, peers, "connections are closed that still wait for something");
        }
    }

    /// Shows other threads that this loop turns.
    async fn show_turns(self: Rc<Self>, beats: Arc<control::beats::Beats>, index: usize) {
        let shown = &beats.loops[index];
        shown.begin();
        loop {
            self.with_router(|router| {
                router.turn();
                router.watch_lease();
                router.publish();
                router.drop_left_links();
            });
            let now = self.node.clock.boot();
            let (waiting, bytes) = self.router.borrow().held();
            shown.show(now, waiting, bytes);
            if index == 0 {
                self.node.stats.sample(now, self.node.tallies.calls());
            }
            tokio::time::sleep(SHOW_TURN).await;
        }
    }

    /// Has the control thread run a command.
    async fn ask_control(self: Rc<Self>, origin: Origin, args: OwnedArgs) {
        let result = match control::admin::Admin::parse(args.as_args()) {
            Err(error) => Err(error),
            Ok(what) => {
                let (answer, answered) = oneshot::channel();
                // The receiver lives as long as the node.
                let _ = self.control.send(control::Command { what, answer });
                let answered = answered.await.unwrap_or_else(|_| Err("the node is stopping".into()));
                answered.map_err(|text| CommandError::made(format!("ERR {text}")))
            }
        };
        self.with_router(|router| match result {
            Err(error) => router.fail(origin, &error),
            Ok(text) => {
                let mut out = Reply::default();
                out.bulk(text.as_bytes());
                router.complete(origin, out.into_bytes(), Written::new());
            }
        });
    }

    async fn accept(
        self: Rc<Self>,
        door: Door,
        listener: tokio::net::TcpListener,
        mut phase: watch::Receiver<Phase>,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = phase.wait_for(|phase| *phase == Phase::Ending) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.greet(door, stream, peer),
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some connections to end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn greet(self: &Rc<Self>, door: Door, stream: tokio::net::TcpStream, peer: SocketAddr) {
        self.node.stats.connections.add(1);
        let key = self.new_key();
        match Connection::new(self, door, stream, peer, key) {
            Ok((connection, reads)) => {
                self.clients.borrow_mut().insert(key, Rc::clone(&connection));
                tasks::local("client", connection::serve(Rc::clone(self), connection, reads));
            }
            Err(error) => tracing::debug!(%error, "a connection ended before it began"),
        }
    }

    fn new_key(&self) -> ConnKey {
        self.next_key.set(self.next_key.get() + 1);
        self.next_key.get()
    }

    async fn accept_peers(self: Rc<Self>, mut peers: mpsc::UnboundedReceiver<StdStream>) {
        while let Some(stream) = peers.recv().await {
            let key = self.new_key();
            match PeerConnection::new(stream, key) {
                Ok(connection) => {
                    self.peers.borrow_mut().insert(key, Rc::clone(&connection));
                    tasks::local("peer", link::serve(Rc::clone(&self), connection));
                }
                Err(error) => tracing::debug!(%error, "a peer's connection ended before it began"),
            }
        }
    }

    async fn follow_topology(self: Rc<Self>, mut topology: watch::Receiver<Version>) {
        loop {
            self.with_router(|router| {
                router.turn();
                router.refresh();
            });
            self.keep_links();
            if topology.changed().await.is_err() {
                return;
            }
        }
    }

    /// Starts a link to each peer that has none.
    fn keep_links(self: &Rc<Self>) {
        let known = self.links.borrow().len();
        let peers = self.router.borrow().peers.len();
        for index in known..peers {
            let link = Rc::new(link::Link::default());
            self.links.borrow_mut().push(Rc::clone(&link));
            tasks::local("link", link::keep(Rc::clone(self), link, index as u16));
        }
    }

    async fn retry_forever(self: Rc<Self>) {
        loop {
            self.waits.notified().await;
            while self.router.borrow().has_waiting() {
                let acked = self.node.acked.notified();
                // Whichever comes first: it looks at all that waits.
                let _ = tokio::time::timeout(RETRY, acked).await;
                self.with_router(|router| {
                    router.turn();
                    router.retry_held();
                    router.check_waits();
                });
            }
        }
    }

    /// Answers those who waited for data and whom other loops have served.
    async fn pass_served_on(self: Rc<Self>, parking: Arc<Parking>, index: usize) {
        loop {
            parking.served(index).await;
            self.with_router(|router| {
                router.turn();
                router.take_served();
            });
        }
    }

    /// Answers those who waited for data in vain.
    async fn end_overdue_waits(self: Rc<Self>) {
        loop {
            let changed = self.deadline.notified();
            match self.next_deadline.get() {
                None => changed.await,
                Some(deadline) => {
                    let left = Duration::from_nanos(deadline.saturating_sub(self.node.clock.boot()));
                    // Whichever comes first: it looks at what is over.
                    let _ = tokio::time::timeout(left, changed).await;
                }
            }
            self.with_router(|router| {
                router.turn();
                router.end_overdue();
            });
        }
    }

    /// Lets the clients that CLIENT PAUSE has held up go on once it is over.
    async fn end_pauses(self: Rc<Self>) {
        loop {
            self.pauses.notified().await;
            while self.node.clients.pause(self.node.clock.boot()) != Pause::Nothing {
                tokio::time::sleep(PAUSE_TICK).await;
            }
            let paused = std::mem::take(&mut self.router.borrow_mut().paused);
            let clients = self.clients.borrow();
            paused.iter().filter_map(|key| clients.get(key)).for_each(|connection| connection.end_pause());
        }
    }

    /// Closes connections whose clients have been silent for longer than the setting `timeout`.
    async fn close_idle(self: Rc<Self>) {
        loop {
            tokio::time::sleep(IDLE_TICK).await;
            let timeout = u64::from(self.node.config.load().timeout) * 1_000_000_000;
            if timeout > 0 {
                let now = self.node.clock.boot();
                self.clients.borrow().values().for_each(|client| client.close_if_idle(now, timeout));
            }
        }
    }

    /// Does what a session asked for, and answers.
    async fn do_later(self: Rc<Self>, origin: Origin, later: Later) {
        let result = match later {
            Later::Sleep(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Later::RewriteConfig => {
                let node = Arc::clone(&self.node);
                let written = tokio::task::spawn_blocking(move || node.config.rewrite()).await;
                let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
                written.map_err(|error| CommandError::made(format!("ERR Rewriting config file: {error}")))
            }
            Later::Stop(stop) => {
                self.node.stopping.ask(stop);
                self.node.stopping.taken_back().await;
                Err(shutdown::FAILED)
            }
        };
        self.with_router(|router| match result {
            Err(error) => router.fail(origin, &error),
            Ok(()) => router.complete(origin, b"+OK\r\n".to_vec(), Written::new()),
        });
    }

    fn address_of(&self, peer: u16) -> Option<ringfort_cluster::Address> {
        let router = self.router.borrow();
        let queue = &router.peers[usize::from(peer)];
        let node = router.topology().nodes.get(&queue.node)?;
        router.topology().is_alive(queue.member).then(|| node.info.address.clone())
    }

    /// Lets `work` use the router, and passes on what comes of it.
    fn with_router<R>(self: &Rc<Self>, work: impl FnOnce(&mut Router) -> R) -> R {
        let mut router = self.router.borrow_mut();
        let result = work(&mut router);
        let ran = std::mem::take(&mut router.ran);
        let completions = std::mem::take(&mut router.completions);
        let for_peers = std::mem::take(&mut router.peer_completions);
        let for_control = std::mem::take(&mut router.for_control);
        let for_later = std::mem::take(&mut router.for_later);
        let waiting = std::mem::take(&mut router.waiting);
        let dead = std::mem::take(&mut router.dead);
        if !router.paused.is_empty() {
            self.pauses.notify_one();
        }
        if router.has_waiting() {
            self.waits.notify_one();
        }
        if router.over_limit {
            self.over_limit.notify_one();
        }
        let next_deadline = router.next_deadline();
        if self.next_deadline.replace(next_deadline) != next_deadline {
            self.deadline.notify_one();
        }
        if router.logged {
            router.logged = false;
            self.replication.notify_one();
        }
        let links_owed = router.peers.iter().any(|peer| !peer.out.is_empty() || peer.close);
        drop(router);
        for (origin, args) in for_control {
            tasks::local("control", Rc::clone(self).ask_control(origin, args));
        }
        for (origin, later) in for_later {
            tasks::local("later", Rc::clone(self).do_later(origin, later));
        }
        for connection in waiting.iter().filter_map(|key| self.clients.borrow().get(key).cloned()) {
            connection.begin_to_wait();
        }
        for connection in dead.iter().filter_map(|key| self.peers.borrow().get(key).cloned()) {
            connection.close();
        }
        for completion in completions {
            let connection = self.clients.borrow().get(&completion.conn).cloned();
            if let Some(connection) = connection {
                connection.complete(&completion, ran, &self.router.borrow());
                self.owe_client(&connection);
            }
        }
        for completion in for_peers {
            let connection = self.peers.borrow().get(&completion.conn).cloned();
            if let Some(connection) = connection {
                connection.out.borrow_mut().extend_from_slice(&completion.frame);
                connection.ran_here.set(connection.ran_here.get() | ran);
                self.owe_peer(&connection);
            }
        }
        if links_owed {
            self.flush.raise();
        }
        result
    }

    /// Notes that a client may be owed something.
    fn owe_client(&self, connection: &Rc<Connection>) {
        if !connection.dirty.replace(true) {
            self.owe(Owed::Client(Rc::clone(connection)));
        }
    }

    /// Notes that a peer is owed something.
    fn owe_peer(&self, connection: &Rc<PeerConnection>) {
        if !connection.dirty.replace(true) {
            self.owe(Owed::Peer(Rc::clone(connection)));
        }
    }

    fn owe(&self, whom: Owed) {
        let mut owed = self.owed.borrow_mut();
        owed.push(whom);
        if owed.len() == 1 {
            self.flush.raise();
        }
    }

    async fn flush_forever(self: Rc<Self>) {
        loop {
            poll_fn(|cx| self.flush.poll(cx)).await;
            self.flush();
        }
    }

    /// Sends what connections and links are owed. It is woken by the first that is, and runs behind all that were
    /// ready in the same turn.
    fn flush(&self) {
        let mut owed = std::mem::take(&mut *self.owed.borrow_mut());
        let serves = self.router.borrow_mut().end_turn();
        let mut bytes_out = 0;
        for whom in owed.drain(..) {
            match whom {
                Owed::Client(client) => {
                    client.dirty.set(false);
                    client.flush(serves, &mut bytes_out);
                }
                Owed::Peer(peer) => {
                    peer.dirty.set(false);
                    peer.flush(serves);
                }
            }
        }
        if self.owed.borrow().is_empty() {
            // Its memory is used again.
            self.owed.replace(owed);
        }
        let mut router = self.router.borrow_mut();
        router.counted.bytes_out += bytes_out;
        for (link, queue) in self.links.borrow().iter().zip(&mut router.peers) {
            link.flush(queue);
        }
    }
}
