//! The string that a sketch is: a header of 16 bytes, then the registers.
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 0..4 | `HYLL` |
//! | 4 | 0: [`dense`], 1: [`sparse`] |
//! | 5..8 | not used |
//! | 8..16 | the cardinality when it was last asked for, little endian; with the highest bit set: not known |

use super::{Corrupt, dense, estimate::Histogram, hash::REGISTERS, sparse};
use crate::{commands::CommandError, store::Value};

/// Bytes in front of the registers.
pub(super) const HEADER: usize = 16;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING: usize = 4;

/// Where the cardinality lies.
pub(super) const CARDINALITY: std::ops::Range<usize> = 8..16;

/// The byte that tells whether the cardinality is known.
pub(super) const KNOWN: usize = 15;

/// The bit of that byte which says that it is not.
pub(super) const STALE: u8 = 0x80;

/// A string whose header is that of a sketch.
#[derive(Clone, Copy)]
pub(super) enum Sketch<'s> {
    /// With all registers.
    Dense(&'s [u8]),
    /// With runs of registers, which may make no sense.
    Sparse(&'s [u8]),
}

/// A sketch without elements.
pub(super) fn empty() -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER + sparse::EMPTY.len() + sparse::GROWTH);
    value.resize(HEADER, 0);
    value[..MAGIC.len()].copy_from_slice(MAGIC);
    value[ENCODING] = 1;
    value.extend_from_slice(&sparse::EMPTY);
    value
}

/// Whether the header says that the registers are dense.
pub(super) fn is_dense(value: &[u8]) -> bool {
    value[ENCODING] == 0
}

/// Says in the header that the registers are dense.
pub(super) fn set_dense(value: &mut [u8]) {
    value[ENCODING] = 0;
}

/// Forgets the cardinality.
pub(super) fn invalidate(value: &mut [u8]) {
    value[KNOWN] |= STALE;
}

impl<'s> Sketch<'s> {
    /// The sketch that a value is; `None` where there is no value.
    pub(super) fn of(value: Option<Value<'s>>) -> Result<Option<Self>, CommandError> {
        let Some(value) = value else { return Ok(None) };
        let bytes = value.as_string().ok_or(CommandError::WrongType)?;
        let head = bytes.get(..HEADER).filter(|head| head.starts_with(MAGIC));
        match head.map(|head| head[ENCODING]) {
            Some(0) if bytes.len() == dense::SIZE => Ok(Some(Self::Dense(bytes))),
            Some(1) => Ok(Some(Self::Sparse(bytes))),
            _ => Err(CommandError::other("WRONGTYPE Key is not a valid HyperLogLog string value.")),
        }
    }

    /// All of its bytes.
    pub(super) fn bytes(self) -> &'s [u8] {
        match self {
            Self::Dense(bytes) | Self::Sparse(bytes) => bytes,
        }
    }

    /// The cardinality, if it is known since it was asked for last.
    pub(super) fn known_cardinality(self) -> Option<i64> {
        let mut raw = [0; 8];
        raw.copy_from_slice(&self.bytes()[CARDINALITY]);
        let cardinality = i64::from_le_bytes(raw);
        (cardinality >= 0).then_some(cardinality)
    }

    /// The cardinality, by the registers.
    pub(super) fn cardinality(self) -> Result<i64, Corrupt> {
        let histogram = match self {
            Self::Dense(bytes) => Histogram::of(dense::iter(bytes)),
            Self::Sparse(bytes) => {
                let mut histogram = Histogram::zeros();
                sparse::each(bytes, |_, rank| histogram.move_from_zero(rank))?;
                histogram
            }
        };
        Ok(histogram.cardinality())
    }

    /// Raises registers to what they are here.
    pub(super) fn merge_into(self, registers: &mut [u8; REGISTERS]) -> Result<(), Corrupt> {
        match self {
            Self::Dense(bytes) => {
                dense::raise_all(bytes, registers);
                Ok(())
            }
            Self::Sparse(bytes) => {
                sparse::each(bytes, |index, rank| registers[index] = rank.max(registers[index]))
            }
        }
    }
}
