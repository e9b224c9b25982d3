//! Links between nodes: this loop's to each peer, by which it sends requests, and those by which peers send theirs.

use std::{
    cell::{Cell, RefCell},
    io,
    net::TcpStream as StdStream,
    rc::Rc,
    time::Duration,
};

use ringfort_cluster::Version;
use tokio::{net::TcpStream, sync::Notify};

use super::EventLoop;
use crate::{
    bus::Purpose,
    routing::{ConnKey, PeerIndex, PeerQueue, frame},
};

/// Pause between two attempts to reach a peer.
const RECONNECT: Duration = Duration::from_millis(20);

/// Time that an attempt may take.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// This loop's link to one peer.
#[derive(Default)]
pub(super) struct Link {
    stream: RefCell<Option<Rc<TcpStream>>>,
    /// Wakes the task: bytes are left that the socket did not take, or the link is to be closed.
    wake: Notify,
}

impl Link {
    /// Sends as much as the socket takes.
    pub(super) fn flush(&self, queue: &mut PeerQueue) {
        let stream = self.stream.borrow().clone();
        let Some(stream) = stream else { return };
        if queue.close {
            // What was not sent waits for the next owner; nobody would answer it here.
            return self.wake.notify_one();
        }
        let mut sent = 0;
        while sent < queue.out.len() {
            match stream.try_write(&queue.out[sent..]) {
                Ok(n) if n > 0 => sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                _ => {
                    queue.close = true;
                    break;
                }
            }
        }
        queue.sent(sent);
        if queue.close || !queue.out.is_empty() {
            self.wake.notify_one();
        }
    }
}

/// Keeps the link to a peer up for as long as the loop runs.
pub(super) async fn keep(of: Rc<EventLoop>, link: Rc<Link>, peer: PeerIndex) {
    loop {
        let address = of.address_of(peer);
        if let Some(address) = address {
            let attempt = of.bus.connect(&address, Purpose::Requests);
            if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_LIMIT, attempt).await {
                let stream = Rc::new(stream);
                *link.stream.borrow_mut() = Some(Rc::clone(&stream));
                of.with_router(|router| router.link_up(peer));
                receive(&of, &link, peer, &stream).await;
                *link.stream.borrow_mut() = None;
                of.with_router(|router| {
                    router.turn();
                    router.link_down(peer);
                });
            }
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Takes replies from a peer until the link breaks or is to be closed.
async fn receive(of: &Rc<EventLoop>, link: &Link, peer: PeerIndex, stream: &TcpStream) {
    let mut input = Vec::new();
    loop {
        let (closes, owes) = {
            let router = of.router.borrow();
            let queue = &router.peers[usize::from(peer)];
            (queue.close, !queue.out.is_empty())
        };
        if closes {
            return;
        }
        let mut more = false;
        tokio::select! {
            ready = stream.readable() => match ready.and_then(|()| read(stream, of, &mut input)) {
                Ok(filled) => more = filled,
                Err(_) => return,
            },
            ready = stream.writable(), if owes => {
                if ready.is_err() {
                    return;
                }
                link.flush(&mut of.router.borrow_mut().peers[usize::from(peer)]);
            }
            () = link.wake.notified() => {}
        }
        let sound = of.with_router(|router| {
            router.turn();
            frame::take_all(&mut input, |body| {
                router.peer_replied(peer, frame::reply(body)?);
                Some(())
            })
        });
        if !sound {
            tracing::error!("a peer sent what is no reply; the link is closed");
            return;
        }
        if more {
            tokio::task::yield_now().await;
        }
    }
}

/// Reads what has come, up to the size of a buffer, and returns whether it was filled: then more may be there, and
/// whoever reads gives way first, or a peer that never pauses would keep everything else on this loop waiting. The end
/// of the stream is an error.
fn read(stream: &TcpStream, of: &Rc<EventLoop>, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = of.buffer.borrow_mut();
    match stream.try_read(&mut buffer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(n) => {
            input.extend_from_slice(&buffer[..n]);
            Ok(n == buffer.len())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// A connection by which a peer sends requests.
pub(super) struct PeerConnection {
    pub(super) dirty: Cell<bool>,
    /// What is to be sent.
    pub(super) out: RefCell<Vec<u8>>,
    /// Among what is to be sent are replies that rest on the lease.
    pub(super) ran_here: Cell<bool>,
    lost: Cell<bool>,
    key: ConnKey,
    stream: TcpStream,
    wake: Notify,
}

impl PeerConnection {
    pub(super) fn new(stream: StdStream, key: ConnKey) -> io::Result<Rc<Self>> {
        let stream = TcpStream::from_std(stream)?;
        let (dirty, ran_here, lost) = Default::default();
        Ok(Rc::new(Self { dirty, out: RefCell::default(), ran_here, lost, key, stream, wake: Notify::new() }))
    }

    /// The node stops: the peer is told that what it was not answered was not run, and closes the connection.
    pub(super) fn say_farewell(&self, version: Version) {
        frame::put_farewell(&mut self.out.borrow_mut(), version);
    }

    /// Ends the connection: the node that sends requests by it has died.
    pub(super) fn close(&self) {
        self.lost.set(true);
        self.wake.notify_one();
    }

    /// Sends as much as the socket takes. Without the right to serve, what was run here is not confirmed: the connection
    /// ends, and the other node tells its clients what that means for them.
    pub(super) fn flush(&self, serves: bool) {
        if self.ran_here.replace(false) && !serves {
            tracing::warn!("the lease ran out before what was run for another node could be confirmed");
            self.lost.set(true);
        }
        if self.lost.get() {
            return self.wake.notify_one();
        }
        let mut out = self.out.borrow_mut();
        let mut sent = 0;
        while sent < out.len() {
            match self.stream.try_write(&out[sent..]) {
                Ok(n) if n > 0 => sent += n,
                _ => break,
            }
        }
        out.drain(..sent);
        if !out.is_empty() {
            self.wake.notify_one();
        }
    }
}

/// Replies that a peer may be owed, in bytes, before its next requests are read.
const OWED_LIMIT: usize = 64 << 20;

/// Runs a peer's requests until its connection ends.
pub(super) async fn serve(of: Rc<EventLoop>, connection: Rc<PeerConnection>) {
    let this = &*connection;
    let mut input = Vec::new();
    'serve: loop {
        if this.lost.get() {
            break 'serve;
        }
        let owed = this.out.borrow().len();
        let mut more = false;
        tokio::select! {
            ready = this.stream.readable(), if owed < OWED_LIMIT => {
                match ready.and_then(|()| read(&this.stream, &of, &mut input)) {
                    Ok(filled) => more = filled,
                    Err(_) => break 'serve,
                }
            }
            ready = this.stream.writable(), if owed > 0 => {
                if ready.is_err() {
                    break 'serve;
                }
                this.flush(of.node.lease.confirms(of.node.clock.boot()));
            }
            () = this.wake.notified() => {}
        }
        if this.lost.get() {
            break 'serve;
        }
        let mut out = std::mem::take(&mut *this.out.borrow_mut());
        let sound = of.with_router(|router| {
            router.turn();
            frame::take_all(&mut input, |body| {
                router.serve_peer(this.key, &frame::request(body)?, &mut out);
                this.ran_here.set(this.ran_here.get() | router.ran);
                Some(())
            })
        });
        // What has completed meanwhile belongs behind what was answered at once.
        out.append(&mut this.out.borrow_mut());
        let owes = !out.is_empty();
        *this.out.borrow_mut() = out;
        if !sound {
            tracing::error!("a peer sent what is no request; its connection is closed");
            break 'serve;
        }
        if owes {
            of.owe_peer(&connection);
        }
        if more {
            tokio::task::yield_now().await;
        }
    }
    of.peers.borrow_mut().remove(&this.key);
    of.with_router(|router| router.forget_peer(this.key));
    of.ended.notify_one();
}
