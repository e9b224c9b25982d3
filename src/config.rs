//! Settings of a node.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{commands::Limits, store::Policy};

/// The settings in force, replaced as a whole when one is changed.
#[derive(Debug, Default)]
pub struct Config(ArcSwap<Settings>);

/// Settings that can be changed while the node runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The password of the default user; empty: none is needed.
    pub requirepass: String,
    /// Bytes of memory that may be used; 0: no limit.
    pub maxmemory: u64,
    /// What happens at the limit.
    pub policy: Policy,
    /// Keys that are looked at to find one to give up.
    pub maxmemory_samples: u32,
    /// Redis' `lfu-log-factor`.
    pub lfu_log_factor: u8,
    /// Redis' `lfu-decay-time`, in minutes.
    pub lfu_decay_time: u8,
    /// Bytes that the logs of all shards may keep together: Redis' `repl-backlog-size`.
    pub log_budget: usize,
    /// What a client may send.
    pub protocol: ringfort_protocol::Limits,
    /// Thresholds and sizes of values.
    pub limits: Arc<Limits>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requirepass: String::new(),
            maxmemory: 0,
            policy: Policy::NoEviction,
            maxmemory_samples: 5,
            lfu_log_factor: 10,
            lfu_decay_time: 1,
            log_budget: 64 << 20,
            protocol: ringfort_protocol::Limits::default(),
            limits: Arc::default(),
        }
    }
}

impl Config {
    /// Begins with these settings.
    pub fn new(settings: Settings) -> Self {
        Self(ArcSwap::from_pointee(settings))
    }

    /// The settings in force.
    pub fn load(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    /// Puts changed settings in force.
    pub fn store(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }
}
