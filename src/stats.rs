//! What a node has done since it started, or since CONFIG RESETSTAT.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, until it is reset.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins again at zero.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        /// The counters of a node.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Stats {
            /// Sets all to zero.
            pub fn reset(&self) {
                $(self.$name.reset();)*
            }

            /// All counters, with what they are called here.
            #[cfg(test)]
            pub(crate) fn all(&self) -> Vec<(&'static str, &Counter)> {
                vec![$((stringify!($name), &self.$name)),*]
            }
        }
    };
}

stats! {
    /// Connections that were accepted.
    connections;
    /// Connections that were refused.
    connections_refused;
    /// Commands that were run, here or elsewhere for clients of this node.
    commands;
    /// Bytes that clients sent.
    bytes_in;
    /// Bytes that were sent to clients.
    bytes_out;
    /// Reads that found their key.
    hits;
    /// Reads that did not.
    misses;
    /// Requests that were sent on to the node that owns their keys.
    forwarded;
    /// Requests of other nodes' clients that were run here.
    served_for_peers;
    /// Requests that waited for a shard to get a primary.
    held;
    /// Keys whose time was over.
    expired;
    /// Keys that were given up for want of memory.
    evicted;
    /// Copies of shards that were made for other nodes.
    copies;
    /// Bytes that were sent in copies.
    copied_bytes;
    /// Error replies.
    errors;
}
