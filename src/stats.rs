//! What a node has done since it started, or since CONFIG RESETSTAT.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use crate::lock::lock;

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
            rates: Mutex<Rates>,
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
    /// Fields of hashes whose time was over.
    expired_fields;
    /// Keys that were given up for want of memory.
    evicted;
    /// Copies of shards that were made for other nodes.
    copies;
    /// Bytes that were sent in copies.
    copied_bytes;
    /// Errors that clients of this node were told.
    errors;
}

/// Samples that a rate is the mean of.
const SAMPLES: usize = 16;

/// How much is done per second lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerSecond {
    /// Commands.
    pub commands: f64,
    /// Bytes that clients sent.
    pub bytes_in: f64,
    /// Bytes that were sent to clients.
    pub bytes_out: f64,
}

#[derive(Debug, Default)]
struct Rates {
    last: Option<(u64, [u64; 3])>,
    samples: [[f64; 3]; SAMPLES],
    next: usize,
}

impl Stats {
    /// Takes a sample, for [`Stats::per_second`]: `now` is `Clock::boot`, `commands` how many commands there were so
    /// far. To be called some times a second.
    pub fn sample(&self, now: u64, commands: u64) {
        let counts = [commands, self.bytes_in.get(), self.bytes_out.get()];
        let mut rates = lock(&self.rates);
        let Some((then, before)) = rates.last.replace((now, counts)) else { return };
        let seconds = now.saturating_sub(then) as f64 / 1e9;
        if seconds > 0.0 {
            let next = rates.next;
            // A counter that was reset in between starts at zero.
            rates.samples[next] =
                std::array::from_fn(|i| counts[i].saturating_sub(before[i]) as f64 / seconds);
            rates.next = (next + 1) % SAMPLES;
        }
    }

    /// The mean of the last samples.
    pub fn per_second(&self) -> PerSecond {
        let rates = lock(&self.rates);
        let mean = |i: usize| rates.samples.iter().map(|sample| sample[i]).sum::<f64>() / SAMPLES as f64;
        PerSecond { commands: mean(0), bytes_in: mean(1), bytes_out: mean(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_the_mean_of_the_last_samples() {
        let stats = Stats::default();
        for tenth in 0..=SAMPLES as u64 {
            stats.sample(tenth * 100_000_000, tenth * 50);
        }
        assert!((stats.per_second().commands - 500.0).abs() < 1e-9);
        // Counters that were reset in between.
        stats.sample(2_000_000_000, 0);
        assert!(stats.per_second().commands < 500.0);
    }
}
