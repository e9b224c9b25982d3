//! Keeps the shards of a cluster moving while others test it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::Value;

use super::connection::Connection;
use super::reply::{Protocol, Reply};
use super::server::wait_until;

/// Has one node after the other hand over all that it has and take its share again, until it is dropped.
pub(crate) struct Mover {
    ends: Arc<AtomicBool>,
    drained: Arc<AtomicUsize>,
    turns: Arc<Turns>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

/// Whose turn it is: shards move, or they rest.
#[derive(Default)]
struct Turns {
    turn: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Default)]
struct Turn {
    moves: bool,
    rests: bool,
}

/// Until it is dropped, no shard moves.
pub(crate) struct Rest<'a>(&'a Turns);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.change(|turn| turn.rests = false);
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Turn)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_while(&self, holds: impl Fn(&Turn) -> bool) -> MutexGuard<'_, Turn> {
        self.changed.wait_while(self.lock(), |turn| holds(turn)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves shards, once they need not rest.
    fn move_by(&self, moves: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        self.wait_while(|turn| turn.rests).moves = true;
        let moved = moves();
        self.change(|turn| turn.moves = false);
        moved
    }
}

impl Mover {
    /// For the nodes at these addresses. It gives its orders to the last one, so that the others are asked nothing that
    /// the tests do not ask.
    pub(crate) fn start(nodes: &[SocketAddr]) -> Result<Self, String> {
        let through = nodes.last().ok_or("a cluster has nodes")?;
        let mut connection =
            Connection::open(*through, Protocol::Resp2).map_err(|error| error.to_string())?;
        let names: Vec<String> = nodes.iter().map(SocketAddr::to_string).collect();
        let (ends, drained) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let turns = Arc::<Turns>::default();
        let (until, count, taken) = (Arc::clone(&ends), Arc::clone(&drained), Arc::clone(&turns));
        #[allow(clippy::disallowed_methods, reason = "the rule is for threads of the server")]
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                for node in &names {
                    move_all(node, &mut connection, &until, &taken)?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        Ok(Self { ends, drained, turns, thread: Some(thread) })
    }

    /// How often a node has handed over all that it had.
    pub(crate) fn drained(&self) -> usize {
        self.drained.load(Ordering::Relaxed)
    }

    /// Lets all that moves arrive, and nothing else move until what this returns is dropped.
    pub(crate) fn rest(&self) -> Rest<'_> {
        self.turns.change(|turn| turn.rests = true);
        drop(self.turns.wait_while(|turn| turn.moves));
        Rest(&self.turns)
    }

    /// Fails with what has kept it from moving on.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match self.thread.take_if(|thread| thread.is_finished()) {
            Some(thread) => thread.join().map_err(|_| "the mover has panicked".to_string())?,
            None => Ok(()),
        }
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Drains a node, and takes that back once it serves nothing.
fn move_all(
    node: &str,
    connection: &mut Connection,
    until: &AtomicBool,
    turns: &Turns,
) -> Result<(), String> {
    let of_node = |status: &Value, field: &str| {
        let nodes = status["nodes"].as_array().into_iter().flatten();
        nodes.filter(|of| of["address"] == node).filter_map(|of| of[field].as_u64()).sum::<u64>()
    };
    let is_empty = |status: &Value| of_node(status, "primary_of") == 0 && status["moves_left"] == 0;
    let is_whole = |status: &Value| of_node(status, "primary_of") > 0 && status["moves_left"] == 0;
    turns.move_by(|| {
        ask(connection, &["RINGFORT", "DRAIN", node])?;
        reach(connection, until, "a drained node serves nothing", is_empty)
    })?;
    turns.move_by(|| {
        ask(connection, &["RINGFORT", "UNDRAIN", node])?;
        reach(connection, until, "it serves its share again", is_whole)
    })
}

fn ask(connection: &mut Connection, args: &[&str]) -> Result<Reply, String> {
    match connection.call(args).map_err(|error| error.to_string())? {
        Reply::Error(text) => Err(format!("{args:?}: {}", String::from_utf8_lossy(&text))),
        reply => Ok(reply),
    }
}

fn reach(
    connection: &mut Connection,
    until: &AtomicBool,
    what: &str,
    goal: impl Fn(&Value) -> bool,
) -> Result<(), String> {
    wait_until(what, || match ask(connection, &["RINGFORT", "STATUS"])? {
        Reply::Bulk(text) => {
            let status = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            Ok(goal(&status) || until.load(Ordering::Relaxed))
        }
        reply => Err(format!("no status but {reply:?}")),
    })
}
