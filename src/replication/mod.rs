//! One mechanism: copy a shard, follow its log, switch its primary.
//!
//! Replication, failover, scaling and planned stops are uses of it. A primary's node keeps one connection to each
//! node that holds copies of its shards ([`source`]); the other end applies what comes ([`sink`]). Roles change with the
//! topology ([`roles`]), and what a primary asks of the council is in [`handoff`]. All of it is state machines; the
//! driver here runs them on one event loop of the node and does the input and output.
//!
//! What holds: equal (epoch, offset) means equal data, since effects are deterministic and applied in order; a replica
//! follows only the highest epoch it has seen; a copy in the making is no candidate.

pub mod apply;
pub mod handoff;
pub mod roles;
pub mod sink;
pub mod source;
pub mod wire;

use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc, sync::Arc, time::Duration};

use ringfort_cluster::{Member, NodeId, ShardChange, Version};
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc, watch},
};

use self::{handoff::Handoff, sink::Sink, source::Source};
use crate::{
    bus::{Bus, Purpose},
    node::Node,
    tasks,
};

/// How often a primary looks at its replicas when nothing else makes it.
const LOOK: Duration = Duration::from_millis(50);

/// Pause between two attempts to reach a replica's node.
const RECONNECT: Duration = Duration::from_millis(50);

/// Time that an attempt may take.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// Bytes that are read from a socket at once.
const READ_BUFFER: usize = 256 << 10;

/// What replication is started with, on one of the node's event loops.
pub struct Start {
    /// What all threads share.
    pub node: Arc<Node>,
    /// How it reaches other nodes.
    pub bus: Arc<Bus>,
    /// Tells of new versions of the topology, once the node's shards have their roles.
    pub topology: watch::Receiver<Version>,
    /// Woken when something was written to a log.
    pub grown: Arc<Notify>,
    /// Connections of primaries that this node follows.
    pub primaries: mpsc::UnboundedReceiver<std::net::TcpStream>,
    /// Takes what is asked of the council.
    pub ask: mpsc::UnboundedSender<Vec<ShardChange>>,
}

struct Driver {
    node: Arc<Node>,
    bus: Arc<Bus>,
    ask: mpsc::UnboundedSender<Vec<ShardChange>>,
    links: RefCell<BTreeMap<NodeId, Rc<Link>>>,
    handoff: RefCell<Handoff>,
}

/// The connection to one node that follows.
struct Link {
    to: Member,
    source: RefCell<Option<Source>>,
    /// Wakes the task: there is something to send, or to do.
    wake: Notify,
    over: std::cell::Cell<bool>,
}

/// Runs replication. Must be called within the runtime of an event loop.
pub fn start(start: Start) {
    let Start { node, bus, topology, grown, primaries, ask } = start;
    let driver = Rc::new(Driver { node, bus, ask, links: RefCell::default(), handoff: RefCell::default() });
    tasks::local("replication", Rc::clone(&driver).run(topology, grown));
    tasks::local("followed", driver.accept(primaries));
}

impl Driver {
    async fn run(self: Rc<Self>, mut topology: watch::Receiver<Version>, grown: Arc<Notify>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.sync();
        loop {
            tokio::select! {
                () = grown.notified() => self.pump(),
                _ = look.tick() => self.look(),
                changed = topology.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.sync();
                    self.look();
                }
            }
        }
    }

    /// Sends on what logs have gained.
    fn pump(&self) {
        let grown = self.node.store.take_grown();
        for link in self.links.borrow().values() {
            if let Some(source) = &mut *link.source.borrow_mut() {
                grown.iter().for_each(|shard| source.pump(*shard));
                if !source.out.is_empty() {
                    link.wake.notify_one();
                }
            }
        }
    }

    /// Asks of the council what is to be asked.
    fn look(&self) {
        let topology = self.node.topology.load();
        let now = self.node.clock.boot();
        let steps = self.handoff.borrow_mut().look(&self.node, &topology, now);
        if !steps.is_empty() {
            // The receiver lives as long as the node.
            let _ = self.ask.send(steps);
        }
    }

    /// Takes the topology over: a link to each living node that is to hold a copy of a shard of this node's.
    fn sync(self: &Rc<Self>) {
        let topology = self.node.topology.load_full();
        let me = self.node.member();
        let mut wanted: BTreeMap<NodeId, Member> = BTreeMap::new();
        for (_, shard) in topology.shards().filter(|(_, shard)| shard.primary == Some(me)) {
            let alive = shard.replicas.iter().filter_map(|replica| topology.alive(replica));
            wanted.extend(alive.map(|member| (member.node, member)));
        }
        let mut links = self.links.borrow_mut();
        links.retain(|node, link| {
            let stays = wanted.get(node) == Some(&link.to);
            if !stays {
                link.over.set(true);
                link.wake.notify_one();
            }
            stays
        });
        for (node, to) in wanted {
            let link = links.entry(node).or_insert_with(|| {
                let (source, wake, over) = (RefCell::default(), Notify::new(), false.into());
                let link = Rc::new(Link { to, source, wake, over });
                tasks::local("follower", Rc::clone(self).keep(Rc::clone(&link)));
                link
            });
            if let Some(source) = &mut *link.source.borrow_mut() {
                source.sync(&topology);
                link.wake.notify_one();
            }
        }
    }

    /// Keeps the connection to one node up for as long as it is wanted.
    async fn keep(self: Rc<Self>, link: Rc<Link>) {
        while !link.over.get() {
            let address =
                self.node.topology.load().nodes.get(&link.to.node).map(|node| node.info.address.clone());
            if let Some(address) = address {
                let attempt = self.bus.connect(&address, Purpose::Replication);
                if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_LIMIT, attempt).await {
                    let ended = self.send(&link, &stream).await;
                    if let Some(mut source) = link.source.borrow_mut().take() {
                        source.end();
                    }
                    if let Err(error) = ended {
                        tracing::debug!(to = %link.to, %error, "a replication link ended");
                    }
                }
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn send(&self, link: &Link, stream: &TcpStream) -> io::Result<()> {
        let mut source = Source::new(Arc::clone(&self.node), link.to);
        wire::put_hello(&mut source.out, self.node.member());
        *link.source.borrow_mut() = Some(source);
        let mut input = Vec::new();
        let mut greeted = false;
        let mut more = false;
        while !link.over.get() {
            let owes = link.source.borrow().as_ref().is_some_and(|source| !source.out.is_empty());
            tokio::select! {
                ready = stream.readable() => {
                    ready?;
                    read(stream, &mut input)?;
                }
                ready = stream.writable(), if owes => ready?,
                () = link.wake.notified() => {}
                () = tokio::task::yield_now(), if more => {}
            }
            let mut slot = link.source.borrow_mut();
            let Some(source) = &mut *slot else { return Ok(()) };
            let topology = self.node.topology.load();
            let mut used = 0;
            let mut acks = false;
            while let Some((message, len)) = wire::split(&input[used..]).map_err(io::Error::other)? {
                used += len;
                match wire::hello(&message) {
                    Some(member) if !greeted && member == link.to => {
                        greeted = true;
                        source.sync(&topology);
                    }
                    Some(_) => return Err(io::Error::other("another life of the node answers")),
                    None => {
                        acks |= message.kind == wire::Kind::Ack;
                        if !source.receive(&message, &topology) {
                            return Err(io::Error::other("a message that a replica does not send"));
                        }
                    }
                }
            }
            input.drain(..used);
            more = greeted && source.go_on();
            let sent = write(stream, &source.out)?;
            source.out.drain(..sent);
            more &= source.out.len() < source::OUT_LIMIT;
            drop(slot);
            if acks {
                self.node.note_acks();
                if self.handoff.borrow().is_sealing() {
                    self.look();
                }
            }
        }
        Ok(())
    }

    async fn accept(self: Rc<Self>, mut primaries: mpsc::UnboundedReceiver<std::net::TcpStream>) {
        while let Some(stream) = primaries.recv().await {
            let node = Arc::clone(&self.node);
            tasks::local("following", async move {
                if let Err(error) = follow(node, stream).await {
                    tracing::debug!(%error, "a primary's connection ended");
                }
            });
        }
    }
}

/// Applies what a primary sends until its connection ends.
async fn follow(node: Arc<Node>, stream: std::net::TcpStream) -> io::Result<()> {
    let stream = TcpStream::from_std(stream)?;
    let me = node.member();
    let mut sink = Sink::new(node);
    wire::put_hello(&mut sink.out, me);
    let mut input = Vec::new();
    loop {
        tokio::select! {
            ready = stream.readable() => {
                ready?;
                read(&stream, &mut input)?;
            }
            ready = stream.writable(), if !sink.out.is_empty() => ready?,
        }
        let mut used = 0;
        while let Some((message, len)) = wire::split(&input[used..]).map_err(io::Error::other)? {
            used += len;
            let greets = wire::hello(&message).is_some();
            if !greets && !sink.receive(&message) {
                return Err(io::Error::other("a message that a primary does not send"));
            }
        }
        input.drain(..used);
        sink.acknowledge();
        let sent = write(&stream, &sink.out)?;
        sink.out.drain(..sent);
        // A primary that never pauses would keep everything else on this loop waiting.
        tokio::task::yield_now().await;
    }
}

/// Reads what has come, up to the size of a buffer. The end of the stream is an error.
fn read(stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    let start = input.len();
    input.resize(start + READ_BUFFER, 0);
    let result = stream.try_read(&mut input[start..]);
    input.truncate(start + *result.as_ref().unwrap_or(&0));
    match result {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sends as much as the socket takes. Returns how much that was.
fn write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.try_write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        io::Write,
        net::{Shutdown, TcpListener, TcpStream},
    };

    use ringfort_cluster::{Epoch, Offset, ShardId};

    use super::*;
    use crate::node::testing;

    /// A connection on which bytes are there already, as many as the system holds, and then it ends.
    fn full() -> (TcpStream, TcpStream, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut primary = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (replica, _) = listener.accept().unwrap();
        primary.set_nonblocking(true).unwrap();
        replica.set_nonblocking(true).unwrap();
        let (kind, epoch) = (wire::Kind::CopyRecords, Epoch(u64::MAX));
        let ignored = wire::Message { kind, shard: ShardId(0), epoch, offset: Offset(0), bytes: &[0; 4096] };
        let mut bytes = Vec::new();
        (0..1024).for_each(|_| wire::put(&mut bytes, &ignored));
        let mut sent = 0;
        while let Ok(more) = primary.write(&bytes[sent % bytes.len()..]) {
            sent += more;
        }
        primary.shutdown(Shutdown::Write).unwrap();
        (primary, replica, sent)
    }

    #[test]
    fn a_primary_that_never_pauses_leaves_turns_to_others() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
        runtime.unwrap().block_on(async {
            let (_primary, replica, sent) = full();
            let reads = sent / READ_BUFFER;
            assert!(reads >= 2, "the system holds {sent} bytes, too few for this test");
            let turns = Rc::new(Cell::new(0));
            let counted = Rc::clone(&turns);
            tasks::local("others", async move {
                loop {
                    counted.set(counted.get() + 1);
                    tokio::task::yield_now().await;
                }
            });
            let ended = follow(Arc::new(testing::node()), replica).await.unwrap_err();
            assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
            assert!(turns.get() >= reads, "{} turns in {reads} reads", turns.get());
        });
    }
}
