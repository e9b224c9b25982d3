//! RESP as Ringfort speaks it: bytes in, commands out; replies in, bytes out.
//!
//! This crate turns the bytes of a client into arguments ([`request`]), writes replies ([`reply`]), finds where a
//! reply of another node ends ([`reply_reader`]), and holds the three rules of Redis that every layer needs to the
//! letter: which slot a key belongs to ([`mod@slot`]), which names a glob matches ([`glob`]), and what a number looks
//! like as text ([`number`], [`long_double`]).
//!
//! It does no I/O, asks for no time, and knows neither commands nor the cluster. Nothing here panics on any input,
//! and what a connection can make it hold is bounded by [`Limits`]. Where Redis 7.0 accepts sloppy input, so does
//! this crate; where Redis refuses, the client reads the same words.

#![forbid(unsafe_code)]

mod args;
mod error;
mod inline;

pub mod glob;
pub mod long_double;
pub mod number;
pub mod reply;
pub mod reply_reader;
pub mod request;
pub mod slot;

pub use args::{Args, OwnedArgs, Span};
pub use error::ParseError;
pub use long_double::LongDouble;
pub use reply::Resp;
pub use reply_reader::{Elements, ReplyScanner, elements, reply_len};
pub use request::{Limits, Parsed, Parser, encode_command};
pub use slot::{SLOTS, hash_tag, slot};
