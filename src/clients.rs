//! Connections of clients: what the server knows of each, and the list of all.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

/// Which port a client came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Any client, every key: requests are forwarded.
    Client,
    /// Cluster-aware clients: requests for other nodes are answered with MOVED.
    Cluster,
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
    /// What becomes of replies.
    pub replies: Replies,
    /// Its reads leave no mark on keys: CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// On the cluster door, it reads from replicas: READONLY.
    pub readonly: bool,
    /// The connection closes once its output is sent.
    pub closing: bool,
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
    /// When it last sent something, by `Clock::boot`.
    pub active: AtomicU64,
    /// The database it has selected.
    pub db: AtomicU8,
    /// Number of the version of RESP that it speaks.
    pub resp: AtomicU8,
    /// It is exempt from being closed for memory: CLIENT NO-EVICT.
    pub no_evict: AtomicBool,
    /// Somebody wants it closed.
    killed: AtomicBool,
    /// Wakes its task to look at `killed`.
    pub wake: Notify,
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

impl Shared {
    /// Closes the connection soon.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether it was asked to close.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Its texts, to read or change.
    pub fn texts(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// All connections of a node, by number.
#[derive(Debug, Default)]
pub struct Clients {
    next: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Shared>>>,
}

impl Clients {
    /// Enters a new connection.
    pub fn enter(&self, peer: SocketAddr, local: SocketAddr, now: u64) -> Arc<Shared> {
        let shared = Arc::new(Shared {
            id: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            peer,
            local,
            since: now,
            active: AtomicU64::new(now),
            db: AtomicU8::new(0),
            resp: AtomicU8::new(2),
            no_evict: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            wake: Notify::new(),
            texts: Mutex::default(),
        });
        self.lock().insert(shared.id, Arc::clone(&shared));
        shared
    }

    /// Strikes a connection that has ended off the list.
    pub fn leave(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// All connections, the oldest first.
    pub fn list(&self) -> Vec<Arc<Shared>> {
        self.lock().values().cloned().collect()
    }

    /// Number of connections.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Shared>>> {
        self.all.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
