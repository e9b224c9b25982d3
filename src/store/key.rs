//! A key as the first pass over a request leaves it: its slot and its hash are known.

use ringfort_protocol::slot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

// A key's bytes decide on its slot, and the cluster on who serves a slot. The crates that know the one and the other know
// nothing of each other.
const _: () =
    assert!(ringfort_protocol::SLOTS == ringfort_cluster::SLOTS, "both crates count the same slots");

/// A key with what the store needs to find it.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its place in the order of its slot's table; from the cluster's secret seed.
    pub hash: u32,
    /// Its slot, `0..16384`.
    pub slot: u16,
}

impl<'a> Key<'a> {
    /// Hashes a key with the cluster's seed.
    pub fn new(bytes: &'a [u8], seed: u64) -> Self {
        Self { bytes, hash: hash(bytes, seed), slot: slot(bytes) }
    }
}

/// The hash by which keys, and members of large collections, are ordered.
pub fn hash(bytes: &[u8], seed: u64) -> u32 {
    (xxh3_64_with_seed(bytes, seed) >> 32) as u32
}
