//! Connections of clients: what the server knows of each, and the list of all.

pub mod monitor;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
};

use ringfort_protocol::Resp;

use self::monitor::{Monitor, Monitors};
use crate::{lock::lock, signal::Signal};

/// Which port a client came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Any client, every key: requests are forwarded.
    Client,
    /// Cluster-aware clients: requests for other nodes are answered with MOVED.
    Cluster,
}

/// Whether a client is on this machine.
pub fn is_local(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

/// What becomes of replies: CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// They are sent.
    On,
    /// None is sent.
    Off,
    /// That of the next command is not sent.
    SkipNext,
    /// That of the current command is not sent.
    Skip,
}

/// How CLIENT UNBLOCK ends the wait of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblock {
    /// As if its time were over.
    Timeout,
    /// With an error.
    Error,
}

/// A connection, as its own session sees it.
#[derive(Debug)]
pub struct Client {
    /// What others may see.
    pub shared: Arc<Shared>,
    /// Which port it came in by.
    pub door: Door,
    /// The database it has selected.
    pub db: u8,
    /// Whether it may run commands.
    pub authenticated: bool,
    /// Whether it has chosen RESP3 by HELLO.
    pub resp3: bool,
    /// It watches what others run: MONITOR.
    pub monitor: Option<Arc<Monitor>>,
    /// What becomes of replies.
    pub replies: Replies,
    /// Its reads leave no mark on keys: CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// On the cluster door, it reads from replicas: READONLY.
    pub readonly: bool,
    /// The connection closes once its output is sent.
    pub closing: bool,
}

impl Client {
    /// A client that has just come in.
    pub fn new(shared: Arc<Shared>, door: Door, authenticated: bool) -> Self {
        Self {
            shared,
            door,
            db: 0,
            authenticated,
            resp3: false,
            monitor: None,
            replies: Replies::On,
            no_touch: false,
            readonly: false,
            closing: false,
        }
    }

    /// Selects a database.
    pub fn select(&mut self, db: u8) {
        self.db = db;
        self.shared.db.store(db, Ordering::Relaxed);
    }

    /// Chooses the version of the protocol.
    pub fn speak(&mut self, resp: Resp) {
        self.resp3 = resp == Resp::V3;
        self.shared.resp.store(if self.resp3 { 3 } else { 2 }, Ordering::Relaxed);
    }
}

/// What other threads may see and do of a connection.
#[derive(Debug)]
pub struct Shared {
    /// Its number, never used again.
    pub id: u64,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Where it came to.
    pub local: SocketAddr,
    /// When it came, by `Clock::boot`.
    pub since: u64,
    /// The number of its socket in this process.
    pub fd: i32,
    /// When it last sent something, by `Clock::boot`.
    pub active: AtomicU64,
    /// Bytes that it sent and that were not used yet.
    pub input: AtomicUsize,
    /// Bytes that it is to be sent and does not take.
    pub output: AtomicUsize,
    /// The database it has selected.
    pub db: AtomicU8,
    /// Number of the version of RESP that it speaks.
    pub resp: AtomicU8,
    /// It is exempt from being closed for memory: CLIENT NO-EVICT.
    pub no_evict: AtomicBool,
    /// It watches what others run: MONITOR.
    pub watches: AtomicBool,
    /// It can be told to ask another server: CLIENT CAPA redirect. Here, nobody is.
    pub takes_redirects: AtomicBool,
    /// Whether its command waits for data, and whether somebody has ended that: one of the constants below.
    blocked: AtomicU8,
    /// Somebody wants it closed.
    killed: AtomicBool,
    /// Wakes its task to look at what has changed for it.
    pub signal: Signal,
    texts: Mutex<Texts>,
}

/// What a client has told of itself, and what it last did.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: String,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: String,
    /// The last command, in full.
    pub command: &'static str,
}

/// What [`Shared::blocked`] holds.
const FREE: u8 = 0;
const BLOCKED: u8 = 1;
const UNBLOCKED_BY_TIMEOUT: u8 = 2;
const UNBLOCKED_BY_ERROR: u8 = 3;

impl Shared {
    /// Notes that its command waits for data, or does so no more.
    pub fn set_blocked(&self, blocked: bool) {
        if blocked {
            // If it did before, somebody may have ended that: it stays so.
            let _ = self.blocked.compare_exchange(FREE, BLOCKED, Ordering::AcqRel, Ordering::Acquire);
        } else {
            self.blocked.store(FREE, Ordering::Release);
        }
    }

    /// Whether its command waits for data, and nobody has ended that.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire) == BLOCKED
    }

    /// Ends the wait soon. Returns whether there was one that nobody else had ended.
    pub fn unblock(&self, how: Unblock) -> bool {
        let to = match how {
            Unblock::Timeout => UNBLOCKED_BY_TIMEOUT,
            Unblock::Error => UNBLOCKED_BY_ERROR,
        };
        let ended = self.blocked.compare_exchange(BLOCKED, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if ended {
            self.signal.raise();
        }
        ended
    }

    /// How somebody has ended the wait.
    pub fn ended(&self) -> Option<Unblock> {
        match self.blocked.load(Ordering::Acquire) {
            UNBLOCKED_BY_TIMEOUT => Some(Unblock::Timeout),
            UNBLOCKED_BY_ERROR => Some(Unblock::Error),
            _ => None,
        }
    }

    /// Closes the connection soon.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.signal.raise();
    }

    /// Whether it was asked to close.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Its texts, to read or change.
    pub fn texts(&self) -> MutexGuard<'_, Texts> {
        lock(&self.texts)
    }
}

/// Which commands wait: CLIENT PAUSE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pause {
    /// None.
    #[default]
    Nothing,
    /// Those that may write.
    Writes,
    /// All.
    All,
}

/// All connections of a node, by number.
#[derive(Debug, Default)]
pub struct Clients {
    next: AtomicU64,
    each_turn: EachTurn,
    all: Mutex<BTreeMap<u64, Arc<Shared>>>,
    monitors: Monitors,
}

/// What event loops look at in each turn: in one line of the cache, which is hardly ever written to.
#[derive(Debug, Default)]
#[repr(align(16))]
struct EachTurn {
    /// Until when clients are paused, by `Clock::boot`.
    paused_until: AtomicU64,
    /// Whether only writes are.
    pauses_writes: AtomicBool,
    /// Whether somebody watches what is run.
    watched: AtomicBool,
}

impl Clients {
    /// Enters a new connection, unless there are `most` already.
    pub fn enter(
        &self,
        peer: SocketAddr,
        local: SocketAddr,
        fd: i32,
        now: u64,
        most: usize,
    ) -> Option<Arc<Shared>> {
        let mut all = self.lock();
        if all.len() >= most {
            return None;
        }
        let shared = Arc::new(Shared {
            id: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            peer,
            local,
            since: now,
            fd,
            active: AtomicU64::new(now),
            input: AtomicUsize::new(0),
            output: AtomicUsize::new(0),
            db: AtomicU8::new(0),
            resp: AtomicU8::new(2),
            no_evict: AtomicBool::new(false),
            watches: AtomicBool::new(false),
            takes_redirects: AtomicBool::new(false),
            blocked: AtomicU8::new(FREE),
            killed: AtomicBool::new(false),
            signal: Signal::default(),
            texts: Mutex::default(),
        });
        all.insert(shared.id, Arc::clone(&shared));
        Some(shared)
    }

    /// Strikes a connection that has ended off the list.
    pub fn leave(&self, id: u64) {
        let left = self.lock().remove(&id);
        if let Some(client) = left.filter(|client| client.watches.load(Ordering::Relaxed)) {
            self.unwatch(&client);
        }
    }

    /// All connections, the oldest first.
    pub fn list(&self) -> Vec<Arc<Shared>> {
        self.lock().values().cloned().collect()
    }

    /// Number of connections.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Number of connections whose command waits for data.
    pub fn blocked(&self) -> usize {
        self.lock().values().filter(|client| client.is_blocked()).count()
    }

    /// The connection of this number.
    pub fn get(&self, id: u64) -> Option<Arc<Shared>> {
        self.lock().get(&id).cloned()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which commands wait at this instant.
    pub fn pause(&self, now: u64) -> Pause {
        if now >= self.each_turn.paused_until.load(Ordering::Acquire) {
            Pause::Nothing
        } else if self.each_turn.pauses_writes.load(Ordering::Relaxed) {
            Pause::Writes
        } else {
            Pause::All
        }
    }

    /// Pauses commands until an instant. A pause in force is never shortened, nor made weaker.
    pub fn pause_until(&self, until: u64, what: Pause, now: u64) {
        // The lock makes both fields one.
        let _one_at_a_time = self.lock();
        let in_force = self.pause(now);
        let writes = what == Pause::Writes && in_force != Pause::All;
        self.each_turn.pauses_writes.store(writes, Ordering::Relaxed);
        self.each_turn.paused_until.fetch_max(until, Ordering::Release);
    }

    /// Ends a pause.
    pub fn unpause(&self) {
        self.each_turn.paused_until.store(0, Ordering::Release);
    }

    /// Whether any client watches what others run.
    pub fn are_watched(&self) -> bool {
        self.each_turn.watched.load(Ordering::Relaxed)
    }

    /// Lets a client watch what others run from now on.
    pub fn watch(&self, client: &Arc<Shared>) -> Arc<Monitor> {
        self.monitors.add(client, &self.each_turn.watched)
    }

    /// A client watches no more. What it was not sent yet is forgotten.
    pub fn unwatch(&self, client: &Shared) {
        self.monitors.remove(client, &self.each_turn.watched);
    }

    /// Shows all who watch what was run: a [line](monitor::line). `None`: one that is too long to be shown.
    pub fn show(&self, line: Option<&[u8]>) {
        self.monitors.show(line);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Shared>>> {
        lock(&self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_shortened_nor_made_weaker() {
        let clients = Clients::default();
        assert_eq!(clients.pause(5), Pause::Nothing);
        clients.pause_until(100, Pause::Writes, 5);
        assert_eq!((clients.pause(99), clients.pause(100)), (Pause::Writes, Pause::Nothing));
        clients.pause_until(50, Pause::All, 6);
        assert_eq!(clients.pause(99), Pause::All);
        clients.pause_until(200, Pause::Writes, 7);
        assert_eq!(clients.pause(199), Pause::All);
        clients.unpause();
        assert_eq!(clients.pause(8), Pause::Nothing);
        clients.pause_until(300, Pause::Writes, 9);
        assert_eq!(clients.pause(10), Pause::Writes);
    }

    #[test]
    fn a_wait_is_ended_once() {
        let clients = Clients::default();
        let client = clients.enter(([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into(), 3, 0, 2).unwrap();
        assert!(!client.unblock(Unblock::Timeout), "it does not wait");
        client.set_blocked(true);
        assert_eq!((client.is_blocked(), client.ended(), clients.blocked()), (true, None, 1));
        assert!(client.unblock(Unblock::Error));
        assert!(!client.unblock(Unblock::Timeout));
        client.set_blocked(true);
        assert_eq!(
            (client.is_blocked(), client.ended(), clients.blocked()),
            (false, Some(Unblock::Error), 0)
        );
        client.set_blocked(false);
        assert_eq!(client.ended(), None);
    }

    #[test]
    fn no_more_connections_enter_than_may() {
        let clients = Clients::default();
        let enter = || clients.enter(([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into(), 3, 0, 2);
        let first = enter().unwrap();
        assert_eq!((first.id, enter().map(|second| second.id)), (1, Some(2)));
        assert!(enter().is_none());
        clients.leave(first.id);
        assert_eq!(enter().map(|third| third.id), Some(3));
    }
}
