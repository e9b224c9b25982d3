//! What is seen of a node from outside, without a Redis client: metrics, health, the log.
//!
//! It reads what others publish and changes nothing but the level of the log. [`http`] serves it on the admin port from
//! the first moment on, so that a node that waits to join can say so; what there is to see arrives once the node has
//! its shards ([`Ops::watch`]). [`metrics`] is the one table of all metrics, [`facts`] what a scrape looks at,
//! [`health`] what makes a node healthy or ready.

pub mod exposition;
pub mod facts;
pub mod health;
pub mod http;
pub mod metrics;

use std::sync::{Arc, OnceLock};

use ringfort_cluster::council::Council;

use crate::{control::beats::Beats, env::Clock, node::Node};

/// What is seen of a process.
pub struct Ops {
    clock: Arc<dyn Clock>,
    started: u64,
    watched: OnceLock<Watched>,
}

/// A node that has its shards.
pub struct Watched {
    /// What its threads share.
    pub node: Arc<Node>,
    /// Its part in the council.
    pub council: Arc<Council>,
    /// Its beat thread, and the turns of its loops.
    pub beats: Arc<Beats>,
}

impl Ops {
    /// A process that was started at this instant of the clock ([`Clock::boot`]).
    pub fn new(clock: Arc<dyn Clock>, started: u64) -> Self {
        Self { clock, started, watched: OnceLock::new() }
    }

    /// The node has its shards. Only the first call counts.
    pub fn watch(&self, watched: Watched) {
        self.watched.get_or_init(|| watched);
    }
}
