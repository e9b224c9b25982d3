//! The large forms of collections, and views that read either form. Each large value keeps a running count of its
//! bytes.

pub mod hash;
pub mod intset;
pub mod list;
pub mod set;
pub mod stream;
pub mod zset;

/// What an item of so many bytes costs in an [`Ordered`](super::ordered::Ordered) table: its place, and the share of
/// places that stand empty.
const fn place(bytes: usize) -> usize {
    bytes * 4 / 3
}
