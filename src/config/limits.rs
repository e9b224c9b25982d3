//! Thresholds at which values change their form, and how large they may become: what commands are given of the
//! settings.

/// Settings that decide how values are stored and how large they may become: Redis' directives of these names.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are Redis' own")]
pub struct Limits {
    pub proto_max_bulk_len: usize,
    /// Negative: -1 to -5 stand for 4, 8, 16, 32 and 64 KiB; positive: number of elements.
    pub list_max_listpack_size: i32,
    pub hash_max_listpack_entries: usize,
    pub hash_max_listpack_value: usize,
    pub set_max_intset_entries: usize,
    pub set_max_listpack_entries: usize,
    pub set_max_listpack_value: usize,
    pub zset_max_listpack_entries: usize,
    pub zset_max_listpack_value: usize,
    pub hll_sparse_max_bytes: usize,
    pub stream_node_max_bytes: usize,
    pub stream_node_max_entries: usize,
    /// The cluster's secret seed, by which keys and members of large collections are ordered.
    pub hash_seed: u64,
    /// Whether the eviction policy counts uses: OBJECT FREQ and IDLETIME ask.
    pub lfu: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            proto_max_bulk_len: 512 << 20,
            list_max_listpack_size: -2,
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            hll_sparse_max_bytes: 3000,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
            hash_seed: 0,
            lfu: false,
        }
    }
}
