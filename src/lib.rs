//! Ringfort: a distributed in-memory cache cluster that speaks the Redis protocol.

pub mod bus;
pub mod cli;
pub mod clients;
pub mod commands;
pub mod config;
pub mod control;
pub mod env;
pub mod loops;
pub mod memory;
pub mod net;
pub mod node;
pub mod ops;
pub mod replication;
pub mod routing;
pub mod server;
pub mod session;
pub mod slowlog;
pub mod stats;
pub mod store;
pub mod tasks;
