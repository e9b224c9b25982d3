//! What the tests of whole servers share: processes on free ports, connections, replies and their written form.
//!
//! `server` starts what is tested and stops it again, `connection` speaks RESP to it and `http` HTTP, `reply` holds a
//! reply exactly as it came, `notation` is how replies are written in scripts and in failures, `script` reads a reply
//! script, `exposition` reads metrics, `mover` keeps the shards of a cluster moving.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod connection;
pub(crate) mod exposition;
pub(crate) mod generator;
pub(crate) mod http;
pub(crate) mod mover;
pub(crate) mod notation;
pub(crate) mod reply;
pub(crate) mod script;
pub(crate) mod server;
