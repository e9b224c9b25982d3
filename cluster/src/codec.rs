//! The one place that knows how records of the log and messages between nodes become bytes.
//!
//! A record is a version byte and the value in bincode's standard form (variable-length integers). Decoding has a
//! size limit, so that a length that lies cannot reserve memory, and refuses versions that it does not know.

use serde::{Serialize, de::DeserializeOwned};

/// The version of everything that this build writes.
pub const FORMAT: u8 = 1;

/// No record is larger than this, in bytes: a topology of a thousand nodes takes a tenth of it.
pub const RECORD_LIMIT: usize = 16 << 20;

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// It was written by a build whose format this one does not know.
    #[error(
        "written in format {0}, and this build reads only format {FORMAT}; start a build that is at least as new"
    )]
    Format(u8),
    /// Nothing there.
    #[error("an empty record")]
    Empty,
    /// The bytes are damaged, or not of this type.
    #[error("a damaged record: {0}")]
    Damaged(#[from] bincode::error::DecodeError),
}

/// Encodes a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("plain data, written into memory");
    bytes
}

/// Decodes what [`encode`] made. Never panics, whatever the bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadRecord> {
    let config = bincode::config::standard().with_limit::<RECORD_LIMIT>();
    match bytes.split_first() {
        None => Err(BadRecord::Empty),
        Some((&FORMAT, body)) => Ok(bincode::serde::decode_from_slice(body, config)?.0),
        Some((&other, _)) => Err(BadRecord::Format(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_lies_reserves_nothing() {
        let bytes = [FORMAT, 253, 255, 255, 255, 255, 255, 255, 255, 127];
        assert!(matches!(decode::<Vec<u64>>(&bytes), Err(BadRecord::Damaged(_))));
    }

    #[test]
    fn other_formats_are_refused_by_number() {
        assert!(matches!(decode::<u8>(&[9, 1]), Err(BadRecord::Format(9))));
        assert!(matches!(decode::<u8>(&[]), Err(BadRecord::Empty)));
        assert_eq!(decode::<u8>(&encode(&7u8)).unwrap(), 7);
    }
}
