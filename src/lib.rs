//! Ringfort: a distributed in-memory cache cluster that speaks the Redis protocol.

pub mod commands;
pub mod store;
