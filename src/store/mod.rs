//! The data: shards, tables, entries, data types, and each shard's log. Knows no socket, no task and no wall clock.
//!
//! A [`Store`] is the shards of a node, each behind a lock of its own. Whoever works on data locks the shards of its
//! keys in ascending order, opens a [`Db`] on them, and [settles](Store::settle) each when it is done. Read on in
//! [`db`] for what commands see, in [`shard`] for what a shard is, in [`ordered`] for the tables, in [`log`] and
//! [`copy`] for what replicas get.

pub mod copy;
pub mod db;
mod entry;
pub mod evict;
pub mod key;
pub mod log;
pub mod objects;
pub mod ordered;
pub mod packed;
pub mod shard;
pub mod value;

pub use self::{
    db::{Db, Edit, Locked, Peek, Taken},
    evict::{Access, Policy},
    key::Key,
    shard::{Core, DATABASES, Role, Shard},
    value::{Form, Kind, Object, Value},
};
