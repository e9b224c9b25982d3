//! Keeps the shards of a cluster moving while others test it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

use super::connection::Connection;
use super::reply::{Protocol, Reply};
use super::server::wait_until;

/// Has one node after the other hand over all that it has and take its share again, until it is dropped.
pub(crate) struct Mover {
    ends: Arc<AtomicBool>,
    drained: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Mover {
    /// For the nodes at these addresses.
    pub(crate) fn start(nodes: Vec<SocketAddr>) -> Self {
        let (ends, drained) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (until, count) = (Arc::clone(&ends), Arc::clone(&drained));
        let thread = std::thread::spawn(move || {
            let mut nodes = nodes.iter().cycle();
            while let (false, Some(node)) = (until.load(Ordering::Relaxed), nodes.next()) {
                move_all(*node, &until)?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { ends, drained, thread: Some(thread) }
    }

    /// How often a node has handed over all that it had.
    pub(crate) fn drained(&self) -> usize {
        self.drained.load(Ordering::Relaxed)
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
fn move_all(node: SocketAddr, until: &AtomicBool) -> Result<(), String> {
    let name = node.to_string();
    let mut connection = Connection::open(node, Protocol::Resp2).map_err(|error| error.to_string())?;
    let mut ask = |args: &[&str]| connection.call(args).map_err(|error| error.to_string());
    let mut reach = |what: &str, goal: &dyn Fn(&Value) -> bool| {
        wait_until(what, || {
            let reply = ask(&["RINGFORT", "STATUS"])?;
            let Reply::Bulk(text) = reply else { return Err(format!("no status but {reply:?}")) };
            let status = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            Ok(goal(&status) || until.load(Ordering::Relaxed))
        })
    };
    let of_node = |status: &Value, field: &str| {
        let nodes = status["nodes"].as_array().into_iter().flatten();
        nodes.filter(|node| node["address"] == *name).filter_map(|node| node[field].as_u64()).sum::<u64>()
    };
    let order = |word: &str| {
        let reply = Connection::open(node, Protocol::Resp2)
            .and_then(|mut connection| connection.call(&["RINGFORT", word, &name]))
            .map_err(|error| error.to_string())?;
        match reply {
            Reply::Error(text) => Err(format!("{word} {name}: {}", String::from_utf8_lossy(&text))),
            _ => Ok(()),
        }
    };
    order("DRAIN")?;
    reach("a drained node serves nothing", &|status| of_node(status, "primary_of") == 0)?;
    order("UNDRAIN")?;
    reach("it serves its share again", &|status| {
        of_node(status, "primary_of") > 0 && status["moves_left"] == 0
    })
}
