//! A large hash.

/// A large hash.
#[derive(Clone, Debug, Default)]
pub struct Hash {
    bytes: usize,
}

impl Hash {
    /// Bytes of memory that it owns.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }
}
