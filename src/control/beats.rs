//! The beat thread: it drives the node's lease agent, and does nothing else.
//!
//! It has a plain socket and no lock that others hold for long, so that neither a busy event loop nor a slow disk
//! makes the node look dead. What it must not do itself it hands to the control thread by [`Out`]; what it needs to
//! know comes by [`In`], and a byte sent to its own socket wakes it.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
    time::Duration,
};

use ringfort_cluster::{
    Change, Member, NodeId, Topology,
    lease::{
        BootTime,
        agent::{Agent, Reading, To},
        elector::RaftView,
        wire::DATAGRAM_LIMIT,
    },
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use crate::{
    lock::lock,
    loops::{Loop, Pulse},
    node::Node,
};

/// Datagrams that are read in one go before what is due is sent.
const READS_AT_ONCE: usize = 4096;

/// A thread that has not turned for so long is taken to hang, and the node with it.
const HANG: Duration = Duration::from_secs(1);

/// What the beat thread is told.
#[derive(Default)]
pub struct In {
    /// A newer topology.
    pub topology: Option<Arc<Topology>>,
    /// Where nodes receive datagrams, as far as that was found out.
    pub places: HashMap<NodeId, SocketAddr>,
    /// What Raft says now.
    pub raft: Option<RaftView>,
    /// Refusals that are on disk.
    pub persisted: Vec<Member>,
    /// The incarnation that was drawn, and is on disk.
    pub reborn: Option<Member>,
}

/// What the beat thread asks the control thread to do.
#[derive(Debug)]
pub enum Out {
    /// Write this refusal to disk, and say so.
    Persist(Member),
    /// The council has decided that an incarnation is dead: propose this.
    End(Change),
    /// The leader is dead: call an election.
    Elect,
    /// This incarnation is over, or gets no lease: draw a new one, and say so.
    Draw,
}

/// The way to the beat thread.
pub struct Beats {
    inbox: Mutex<In>,
    waker: UdpSocket,
    thread: SocketAddr,
    pulse: Pulse,
    /// What each event loop shows of itself.
    pub loops: Vec<Loop>,
}

impl Beats {
    /// For a thread that will read from `socket`, and as many event loops.
    pub fn new(socket: &UdpSocket, loops: usize) -> io::Result<Self> {
        let mut thread = socket.local_addr()?;
        if thread.ip().is_unspecified() {
            thread.set_ip(match thread.ip() {
                std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let waker = UdpSocket::bind(SocketAddr::new(thread.ip(), 0))?;
        waker.set_nonblocking(true)?;
        let loops = (0..loops).map(|_| Loop::default()).collect();
        Ok(Self { inbox: Mutex::default(), waker, thread, pulse: Pulse::default(), loops })
    }

    /// Leaves something for the thread, and wakes it.
    pub fn tell(&self, leave: impl FnOnce(&mut In)) {
        leave(&mut lock(&self.inbox));
        // If the socket's buffer is full, the thread is awake.
        let _ = self.waker.send_to(&[0], self.thread);
    }

    fn take(&self) -> In {
        std::mem::take(&mut lock(&self.inbox))
    }

    /// The first event loop that hangs, by its index, and for how long it has not turned.
    pub fn hanging_loop(&self, now: u64) -> Option<(usize, Duration)> {
        let silences = self.loops.iter().map(|one| one.pulse.silence(now));
        silences.enumerate().find(|(_, silence)| *silence >= HANG)
    }

    /// For how long the beat thread itself has not turned, if it hangs.
    pub fn hang(&self, now: u64) -> Option<Duration> {
        Some(self.pulse.silence(now)).filter(|silence| *silence >= HANG)
    }
}

/// Runs the agent for as long as the process lives.
pub fn run(
    node: &Node,
    beats: &Beats,
    mut agent: Agent,
    socket: &UdpSocket,
    out: &mpsc::UnboundedSender<Out>,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let reading = || Reading { boot: BootTime(node.clock.boot()), wall_ms: node.clock.wall_ms() };
    let mut places = HashMap::new();
    let mut drawing = false;
    let mut buffer = [0; DATAGRAM_LIMIT + 1];
    loop {
        let began = reading();
        let told = beats.take();
        if let Some(topology) = told.topology {
            places.retain(|node, _| topology.nodes.contains_key(node));
            agent.adopt(began.boot, topology);
        }
        places.extend(told.places);
        if let Some(raft) = &told.raft {
            agent.see_raft(began.boot, raft);
        }
        told.persisted.into_iter().for_each(|member| agent.persisted(member));
        if let Some(member) = told.reborn {
            agent.reincarnate(began.boot, member);
            drawing = false;
        }
        beats.pulse.beat(began.boot.0);
        agent.set_healthy(beats.hanging_loop(began.boot.0).is_none());
        let emptied = read_all(socket, &mut buffer, |source, bytes| {
            // A single byte wakes this thread; anything else that is no datagram of ours is not worth a word.
            let _ = agent.receive(reading(), source, bytes);
        });
        if emptied {
            agent.turn_end(began);
        }
        // While a new incarnation is drawn, the roles of the shards are still those of the old one.
        let until = if drawing { 0 } else { agent.lease_until().0 };
        node.lease.set(until);
        for (to, bytes) in agent.outbox().datagrams() {
            let place = match to {
                To::Back(place) => Some(place),
                To::Node(node) => places.get(&node).copied(),
            };
            if let Some(place) = place {
                // A lost beat is followed by another.
                let _ = socket.send_to(bytes, place);
            }
        }
        let outbox = agent.outbox();
        let hand_on = |what| {
            // The receiver lives as long as the process.
            let _ = out.send(what);
        };
        outbox.persist.iter().for_each(|member| hand_on(Out::Persist(*member)));
        outbox.ends().for_each(|end| hand_on(Out::End(end)));
        if outbox.elect {
            hand_on(Out::Elect);
        }
        if outbox.draw && !drawing {
            drawing = true;
            node.lease.set(0);
            hand_on(Out::Draw);
        }
        agent.outbox_mut().clear();
        let pause = agent.deadline().since(BootTime(node.clock.boot()));
        wait(socket, if emptied { pause } else { Duration::ZERO })?;
    }
}

/// Reads what has come. Returns whether that was all.
fn read_all(socket: &UdpSocket, buffer: &mut [u8], mut take: impl FnMut(SocketAddr, &[u8])) -> bool {
    for _ in 0..READS_AT_ONCE {
        match socket.recv_from(buffer) {
            Ok((len, source)) => take(source, &buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            // An earlier datagram could not be delivered: says nothing about what has come.
            Err(_) => {}
        }
    }
    false
}

/// Waits until something comes or the time is over, a beat at the longest.
fn wait(socket: &UdpSocket, time: Duration) -> io::Result<()> {
    let time = time.min(ringfort_cluster::lease::BEAT);
    let limit = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks the system to run this thread before others. Returns what was granted, in words.
pub fn raise_priority() -> &'static str {
    use thread_priority::{
        RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let lowest = ThreadPriority::Crossplatform(1u8.try_into().expect("1 is a priority"));
    if set_thread_priority_and_policy(thread_native_id(), lowest, policy).is_ok() {
        return "round-robin";
    }
    match rustix::process::nice(-10) {
        Ok(_) => "nice",
        Err(_) => "normal",
    }
}
