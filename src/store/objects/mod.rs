//! The large forms of collections: each keeps a running count of its bytes.

pub mod hash;
pub mod list;
pub mod set;
pub mod zset;
