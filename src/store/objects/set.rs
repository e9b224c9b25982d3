//! A large set.

/// A large set.
#[derive(Clone, Debug, Default)]
pub struct Set {
    bytes: usize,
}

impl Set {
    /// Bytes of memory that it owns.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }
}
