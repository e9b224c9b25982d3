//! A large list.

/// A large list.
#[derive(Debug, Default)]
pub struct List {
    bytes: usize,
}

impl List {
    /// Bytes of memory that it owns.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }
}
