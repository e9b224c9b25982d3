//! A client's socket: it feeds the session and sends its output.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::AsRawFd,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{EventLoop, READ_BUFFER};
use crate::{
    clients::{Client, Door, Shared, is_local},
    commands::{CommandError, Reply},
    config::Settings,
    routing::{Completion, ConnKey, Router},
    session::Session,
};

/// What a client reads that is one too many.
const TOO_MANY: &str = "ERR max number of clients reached";

/// What a client of another machine reads while nothing protects the data.
const PROTECTED: &str = "DENIED This node is in protected mode: it has no password, so it serves clients of its own \
    machine only. To let others in, set a password (requirepass in its configuration, --requirepass when it starts, or \
    CONFIG SET requirepass from its own machine). Or, where nobody but those who may reaches its port, switch the mode \
    off: CONFIG SET protected-mode no from its own machine, and protected-mode no in its configuration";

/// A connection with more bytes than this to send is not read from.
const UNSENT_LIMIT: usize = 1 << 20;

pub(super) struct Connection {
    pub(super) dirty: Cell<bool>,
    key: ConnKey,
    stream: OwnedWriteHalf,
    shared: Arc<Shared>,
    session: RefCell<Session>,
    /// What came and was not used yet: an incomplete command, or commands behind one that waits.
    input: RefCell<Vec<u8>>,
    unsent: RefCell<VecDeque<Bytes>>,
    /// Its commands have run on this node since it was last sent anything.
    ran_here: Cell<bool>,
    broken: Cell<bool>,
}

impl Connection {
    pub(super) fn new(
        of: &Rc<EventLoop>,
        door: Door,
        stream: TcpStream,
        peer: SocketAddr,
        key: ConnKey,
    ) -> io::Result<(Rc<Self>, OwnedReadHalf)> {
        stream.set_nodelay(true)?;
        let settings = of.node.config.load();
        if let Some(refusal) = refusal(&settings, peer) {
            return Err(refuse(of, &stream, refusal));
        }
        if settings.tcp_keepalive > 0 {
            keep_alive(&stream, settings.tcp_keepalive)?;
        }
        let (now, fd, local) = (of.node.clock.boot(), stream.as_raw_fd(), stream.local_addr()?);
        let Some(shared) = of.node.clients.enter(peer, local, fd, now, settings.maxclients) else {
            return Err(refuse(of, &stream, TOO_MANY));
        };
        let client = Client::new(Arc::clone(&shared), door, settings.requirepass.is_empty());
        let (reads, stream) = stream.into_split();
        let this = Self {
            dirty: Cell::new(false),
            key,
            stream,
            shared,
            session: RefCell::new(Session::new(client, key)),
            input: RefCell::default(),
            unsent: RefCell::default(),
            ran_here: Cell::new(false),
            broken: Cell::new(false),
        };
        Ok((Rc::new(this), reads))
    }

    pub(super) fn complete(&self, completion: &Completion, ran: bool, router: &Router) {
        self.ran_here.set(self.ran_here.get() | ran);
        let mut session = self.session.borrow_mut();
        let went_on = session.may_go_on();
        session.complete(completion, router);
        let kept = !self.input.borrow().is_empty();
        if (kept || !went_on) && session.may_go_on() {
            self.shared.signal.raise();
        }
    }

    /// Its command has begun to wait for data.
    pub(super) fn begin_to_wait(&self) {
        self.session.borrow().begin_to_wait();
        // To notice that its client goes.
        self.shared.signal.raise();
    }

    /// CLIENT PAUSE may be over.
    pub(super) fn end_pause(&self) {
        self.session.borrow_mut().resume();
        self.shared.signal.raise();
    }

    /// Closes the connection if its client has been silent for so long, in nanoseconds, and is not waiting for
    /// anything.
    pub(super) fn close_if_idle(&self, now: u64, timeout: u64) {
        let silent = now.saturating_sub(self.shared.active.load(Ordering::Relaxed));
        if silent > timeout && self.session.borrow().is_idle() {
            self.shared.kill();
        }
    }

    /// The node stops: the connection ends when its client has the replies to all that was run or sent on for it.
    pub(super) fn wind_down(&self) {
        self.session.borrow_mut().client.closing = true;
        self.shared.signal.raise();
    }

    /// Sends as much as the socket takes, and adds that to `bytes_out`. Without the right to serve, what was run here is
    /// not confirmed: the client is told so, and the connection ends.
    pub(super) fn flush(&self, serves: bool, bytes_out: &mut u64) {
        let ran_here = self.ran_here.replace(false);
        let mut session = self.session.borrow_mut();
        if ran_here && !serves {
            session.output.withdraw();
            let text = "UNKNOWN This node lost its right to serve while it ran this; \
                        whether a write was applied is not known";
            session.output.tail().error(&CommandError::other(text));
            session.client.closing = true;
        }
        let mut unsent = self.unsent.borrow_mut();
        let owed = !unsent.is_empty();
        if !owed {
            session.show_lines();
        }
        if unsent.is_empty() && session.output.ready().shared.is_empty() {
            let reply = session.output.take_ready();
            if let Some(rest) = self.send(reply.bytes.as_slice(), bytes_out) {
                unsent.push_back(Bytes::copy_from_slice(&reply.bytes[rest..]));
            }
            session.output.give_back(reply.bytes);
        } else {
            put(session.output.take_ready(), &mut unsent);
            while let Some(front) = unsent.front_mut() {
                match self.send(front, bytes_out) {
                    None => drop(unsent.pop_front()),
                    Some(rest) => {
                        front.advance(rest);
                        break;
                    }
                }
            }
        }
        self.shared.output.store(unsent.iter().map(Bytes::len).sum(), Ordering::Relaxed);
        let done = session.client.closing && session.output.holes() == 0;
        // Only if something has changed for it: while the client takes nothing, it would go round and round.
        if done || self.broken.get() || owed == unsent.is_empty() {
            self.shared.signal.raise();
        }
    }

    /// Sends bytes. Returns where the rest begins if the socket did not take all.
    fn send(&self, bytes: &[u8], bytes_out: &mut u64) -> Option<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.try_write(&bytes[sent..]) {
                Ok(0) => break,
                Ok(n) => {
                    *bytes_out += n as u64;
                    sent += n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(sent),
                Err(_) => break,
            }
        }
        if sent < bytes.len() {
            self.broken.set(true);
        }
        None
    }

    fn unsent_bytes(&self) -> usize {
        self.unsent.borrow().iter().map(Bytes::len).sum()
    }

    fn is_over(&self) -> bool {
        let session = self.session.borrow();
        let told_all = session.output.holes() == 0
            && session.output.ready().is_empty()
            && self.unsent.borrow().is_empty();
        self.broken.get() || self.shared.is_killed() || (session.client.closing && told_all)
    }

    /// Runs the commands in what is kept from before and in `fresh`.
    fn run(self: &Rc<Self>, of: &Rc<EventLoop>, fresh: &[u8]) {
        let mut input = self.input.borrow_mut();
        let mut session = self.session.borrow_mut();
        of.with_router(|router| {
            router.keep_turn();
            router.counted.bytes_in += fresh.len() as u64;
            self.shared.active.store(router.now.boot, Ordering::Relaxed);
            if input.is_empty() {
                let used = session.receive(fresh, router);
                input.extend_from_slice(&fresh[used..]);
            } else {
                input.extend_from_slice(fresh);
                let used = session.receive(&input, router);
                input.drain(..used);
                if input.is_empty() {
                    *input = Vec::new();
                }
            }
            self.shared.input.store(input.len(), Ordering::Relaxed);
            if session.waits_for_data() && input.len() > router.settings.protocol.frame {
                // Not to be read from any more, it could go without being noticed.
                let (client, bytes) = (self.shared.peer, input.len());
                tracing::warn!(%client, bytes, "closed: it sent too much while its command waits for data");
                self.shared.kill();
            }
            // It stays set for those who were served by what ran.
            self.ran_here.set(self.ran_here.get() | router.ran);
            // A completion may be for this very session, which is in use until here.
            drop(session);
            drop(input);
        });
        of.owe_client(self);
    }

    /// Waits for what comes first. What is owed and what has changed are looked at before more is read.
    fn poll_event(
        &self,
        cx: &mut Context<'_>,
        reads: &mut OwnedReadHalf,
        of: &EventLoop,
        wants: bool,
        owes: bool,
    ) -> Poll<Event> {
        if self.shared.signal.take() {
            return Poll::Ready(Event::Signal);
        }
        if owes && let Poll::Ready(ready) = self.stream.as_ref().poll_write_ready(cx) {
            return Poll::Ready(Event::Writable(ready));
        }
        if wants && let Poll::Ready(read) = poll_read(cx, reads, of) {
            return Poll::Ready(Event::Read(read));
        }
        self.shared.signal.poll(cx).map(|()| Event::Signal)
    }

    /// Whether its client watches what others run: then there may be more to send than was owed so far.
    fn watches(&self) -> bool {
        self.session.borrow().client.monitor.is_some()
    }

    fn wants_input(&self) -> bool {
        let session = self.session.borrow();
        (session.may_go_on() || session.waits_for_data()) && self.unsent_bytes() < UNSENT_LIMIT
    }
}

/// Why a client is refused before it has said anything.
fn refusal(settings: &Settings, peer: SocketAddr) -> Option<&'static str> {
    (settings.protected_mode && settings.requirepass.is_empty() && !is_local(peer)).then_some(PROTECTED)
}

/// Tells a client why it is refused, as far as its socket takes it at once.
fn refuse(of: &EventLoop, stream: &TcpStream, text: &str) -> io::Error {
    of.node.stats.connections_refused.add(1);
    // Whatever comes of it, the connection ends here.
    let _ = stream.try_write(format!("-{text}\r\n").as_bytes());
    io::Error::other(text)
}

/// Has the system probe a silent connection: after so many seconds, and then more often.
fn keep_alive(stream: &TcpStream, seconds: u32) -> io::Result<()> {
    let time = Duration::from_secs(seconds.into());
    let probes = TcpKeepalive::new().with_time(time).with_interval((time / 3).max(Duration::from_secs(1)));
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

/// Queues a reply: its bytes, with the values that it shares between them.
fn put(reply: Reply, unsent: &mut VecDeque<Bytes>) {
    let Reply { bytes, shared, .. } = reply;
    let mut bytes = Bytes::from(bytes);
    let mut done = 0;
    for (at, value) in shared {
        unsent.push_back(bytes.split_to(at - done));
        done = at;
        unsent.push_back(value);
    }
    unsent.push_back(bytes);
    unsent.retain(|piece| !piece.is_empty());
}

/// What a connection's task wakes for.
enum Event {
    /// So many bytes were read into the loop's buffer, none at the end; or the socket has failed.
    Read(io::Result<usize>),
    /// The socket takes more of what is owed, or has failed.
    Writable(io::Result<()>),
    /// Something has changed: it may go on, or was killed, or its wait was ended.
    Signal,
}

/// Serves a connection until it ends.
pub(super) async fn serve(of: Rc<EventLoop>, connection: Rc<Connection>, mut reads: OwnedReadHalf) {
    let this = &connection;
    loop {
        let wants = this.wants_input();
        let owes = !this.unsent.borrow().is_empty();
        match poll_fn(|cx| this.poll_event(cx, &mut reads, &of, wants, owes)).await {
            Event::Read(Ok(len)) if len > 0 => {
                // The buffer is the loop's: no other task runs between the read and this.
                this.run(&of, &of.buffer.borrow()[..len]);
                if len == READ_BUFFER {
                    // More is there already: others come first.
                    tokio::task::yield_now().await;
                }
            }
            Event::Writable(Ok(())) => {
                of.owe_client(this);
                tokio::task::yield_now().await;
            }
            Event::Signal => {
                if this.session.borrow().may_go_on() && this.wants_input() && !this.input.borrow().is_empty()
                {
                    this.run(&of, &[]);
                }
                if let Some(how) = this.shared.ended() {
                    of.with_router(|router| router.unblock(this.key, how));
                }
                if this.watches() {
                    of.owe_client(this);
                }
            }
            Event::Read(_) | Event::Writable(_) => break,
        }
        if this.is_over() {
            break;
        }
    }
    of.clients.borrow_mut().remove(&this.key);
    of.node.clients.leave(this.shared.id);
    of.with_router(|router| router.forget(this.key));
    of.ended.notify_one();
}

/// Reads into the loop's buffer. Unlike `try_read`, this notices by a short read that the socket is empty, which saves
/// a system call for each request.
fn poll_read(cx: &mut Context<'_>, reads: &mut OwnedReadHalf, of: &EventLoop) -> Poll<io::Result<usize>> {
    let mut buffer = of.buffer.borrow_mut();
    let mut buffer = ReadBuf::new(&mut buffer);
    Pin::new(reads).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
}
