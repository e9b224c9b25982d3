//! A large sorted set.

/// A large sorted set.
#[derive(Clone, Debug, Default)]
pub struct ZSet {
    bytes: usize,
}

impl ZSet {
    /// Bytes of memory that it owns.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }
}
