//! Values as the payloads of DUMP and RESTORE: the format in which Redis writes one value of its files.
//!
//! A payload is a byte that tells the type, the value, the version of the format (two bytes), and a checksum over all
//! of that (eight). [`encode()`] writes what Redis 7.0 and later read, but for hashes whose fields have deadlines: Redis
//! 7 has no such, so these are written as Valkey 9 does. [`decode()`] reads what Redis 6.2, 7.0, 7.2 and Valkey 9 write,
//! with the older forms of collections that these have kept: see [`types`].
//!
//! Payloads come from clients. Nothing in them is believed before it was checked: a length reserves no memory, it only
//! says how much of what is there is taken. What is decoded is not yet in the forms of the store, whose choice is that
//! of the commands; it lies in at most two pieces of memory, however many elements there are.
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`wire`] | lengths, strings, numbers |
//! | [`lzf`] | strings that were compressed |
//! | [`listpack`], [`ziplist`], [`intset`] | collections in one string |
//! | [`stream`] | streams |
//! | [`mod@encode`], [`mod@decode`] | values |

mod decode;
mod elements;
mod encode;
mod intset;
mod listpack;
mod lzf;
mod stream;
#[cfg(test)]
mod tests;
mod types;
mod wire;
mod ziplist;

pub use self::{
    decode::{Decoded, decode},
    elements::Elements,
    encode::encode,
};

use crc::{CRC_64_REDIS, Crc, Table};

/// The version of the format that is written: that of Redis 7.0.
pub(crate) const VERSION: u16 = 10;

/// The newest version that is read: that of Redis 7.2.
const NEWEST: u16 = 11;

/// The version that Valkey 9 writes; in between lie versions of a Redis whose forms are others.
const VALKEY_9: u16 = 80;

/// Bytes of version and checksum.
const FOOTER: usize = 10;

static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// Why a payload is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not as it was written, or newer than this server.
    #[error("ERR DUMP payload version or checksum are wrong")]
    Footer,
    /// It makes no sense, or is of a type that this server does not have.
    #[error("ERR Bad data format")]
    Format,
}

/// Appends version and checksum.
pub(crate) fn seal(payload: &mut Vec<u8>, version: u16) {
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = CHECKSUM.checksum(payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
}

/// The payload without its footer, if that is right.
fn open(payload: &[u8]) -> Result<&[u8], Error> {
    let (body, footer) = payload.split_last_chunk::<FOOTER>().ok_or(Error::Footer)?;
    let [low, high, checksum @ ..] = *footer;
    let version = u16::from_le_bytes([low, high]);
    let is_known = version <= NEWEST || version == VALKEY_9;
    let covered = &payload[..body.len() + 2];
    if is_known && CHECKSUM.checksum(covered) == u64::from_le_bytes(checksum) {
        Ok(body)
    } else {
        Err(Error::Footer)
    }
}
