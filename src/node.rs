//! What all threads of a node share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use ringfort_cluster::{Incarnation, Member, NodeId, Topology};

use crate::{
    clients::Clients, commandlog::CommandLog, config::Config, env::Clock, latency::Latency, memory::Memory,
    stats::Stats, stopping::Stopping, store::Store, tally::Tallies,
};

#[cfg(test)]
pub(crate) mod testing;

/// A node.
pub struct Node {
    /// Its name for life.
    pub id: NodeId,
    /// Which of its lives this is; a living process draws a new one if it was declared dead.
    pub incarnation: AtomicU64,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// When it started, by [`Clock::boot`].
    pub started: u64,
    /// Its data.
    pub store: Store,
    /// How much memory it uses.
    pub memory: Memory,
    /// The newest topology that it has applied, and whose roles its shards have.
    pub topology: Arc<ArcSwap<Topology>>,
    /// Its right to serve.
    pub lease: Lease,
    /// Its settings.
    pub config: Config,
    /// Its connections.
    pub clients: Clients,
    /// What it has done.
    pub stats: Stats,
    /// How often it was asked for each command, and what came of it.
    pub tallies: Tallies,
    /// Commands that stood out.
    pub commandlog: CommandLog,
    /// What held its event loops up, and how long commands take.
    pub latency: Latency,
    /// Whether keys whose time is over are removed though nobody uses them: as always, unless a test has said otherwise.
    pub expires_by_itself: AtomicBool,
    /// Whether it is to end.
    pub stopping: Stopping,
    /// Requests that wait for data here, of clients of any node.
    pub parked: AtomicUsize,
    /// Counts the connections by which primaries have fed copies here.
    pub sinks: AtomicU64,
    /// Counts acknowledgements of replicas.
    pub acks: AtomicU64,
    /// Wakes those who wait for acknowledgements.
    pub acked: tokio::sync::Notify,
}

impl Node {
    /// The life that it is in.
    pub fn member(&self) -> Member {
        Member { node: self.id, incarnation: Incarnation(self.incarnation.load(Ordering::Acquire)) }
    }
}

/// The right to serve as primary, for a bounded time by the node's own clock.
#[derive(Debug, Default)]
pub struct Lease {
    until: AtomicU64,
    /// The node has given the right up for good.
    retired: AtomicBool,
}

impl Lease {
    /// Sets the instant, by [`Clock::boot`], until which it holds.
    pub fn set(&self, until: u64) {
        self.until.store(until, Ordering::Release);
    }

    /// Gives the right up for good: the node is about to say that it has stopped serving.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Whether the node has given the right up for good.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Until when it holds.
    pub fn until(&self) -> u64 {
        if self.is_retired() { 0 } else { self.until.load(Ordering::Acquire) }
    }

    /// Whether it holds at this instant: requests may be run.
    pub fn holds(&self, now: u64) -> bool {
        now < self.until()
    }

    /// Whether what was run may be confirmed at this instant. A node that retires still confirms what it ran before:
    /// nobody else serves until it has said that it does not.
    pub fn confirms(&self, now: u64) -> bool {
        now < self.until.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_retires_runs_nothing_more_and_confirms_what_it_ran() {
        let lease = Lease::default();
        lease.set(10);
        assert!(lease.holds(9) && lease.confirms(9));
        lease.retire();
        assert!(!lease.holds(9) && lease.confirms(9));
        lease.set(20);
        assert!(!lease.holds(19) && lease.confirms(19) && !lease.confirms(20));
    }
}
