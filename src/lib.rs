//! Ringfort: a distributed in-memory cache cluster that speaks the Redis protocol.
//!
//! This is the tour of the code, in the order in which a request meets it. `docs/architecture.md` says why it is so.
//!
//! 1. A client connects to any node, on either port. [`net`] has an event loop for each core; the loop reads what has
//!    come and hands it to the connection's [`session`].
//! 2. The session parses commands where they lie (crate `ringfort_protocol`), checks them, and asks the loop's router
//!    ([`routing`]) where their keys are: here, on a peer, on several, or with nobody at the moment.
//! 3. Here: the router locks the shards of the keys and runs the command's handler. [`commands`] has one declaration
//!    for each command and one file for each family. A handler sees data only through the store's interface.
//! 4. [`store`] keeps shards: tables in hash order, entries, large objects, expiry, eviction, and each shard's log of
//!    effects. [`dump`] writes and reads its values in the format of Redis' files.
//! 5. Elsewhere: the request leaves a hole in the session's output, travels over a link of the [`bus`], and the reply
//!    fills the hole.
//! 6. What was written goes to replicas: [`replication`] copies a shard, follows its log, switches its primary.
//! 7. Who is primary of what is agreed on by the nodes (crate `ringfort_cluster`): the [`control`] thread takes part in
//!    that, applies each new topology to the shards, and conducts failover and placement while its node leads. A
//!    thread of its own sends beats.
//! 8. [`server`] starts all of it in order and stops it in order; [`cli`] is the command line; [`config`] the settings;
//!    [`node`] what all threads of a node share.
//!
//! [`ops`] shows what all of these publish: metrics, health and the log, by HTTP on the admin port.
//!
//! Dependencies point one way: `net` → `session` → `routing` → `commands` → `dump` → `store`, with `replication`
//! beside `routing`; `tests/layering.rs` has the whole list. State machines take bytes, messages and the time as
//! arguments; only `net`, `control`, `server` and the driver in `replication` do input and output.

pub mod bus;
pub mod cli;
pub mod clients;
pub mod commandlog;
pub mod commands;
pub mod config;
pub mod control;
pub mod dump;
pub mod env;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod latency;
pub mod lock;
pub mod log;
pub mod loops;
pub mod memory;
pub mod net;
pub mod node;
pub mod ops;
pub mod replication;
pub mod routing;
pub mod server;
pub mod session;
pub mod signal;
pub mod stats;
pub mod stopping;
pub mod stopwatch;
pub mod store;
mod tally;
pub mod tasks;
