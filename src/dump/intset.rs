//! Sets of integers in one string: the width of an integer and their number (four bytes each), then the integers in
//! ascending order. All is little endian.

use super::{Elements, Error};
use crate::store::objects::intset;

const HEAD: usize = 8;

/// Appends the string of a set as the store keeps it.
pub(super) fn encode(set: &[u8], out: &mut Vec<u8>) {
    let width = intset::width(set);
    out.extend_from_slice(&(width as u32).to_le_bytes());
    out.extend_from_slice(&(intset::len(set) as u32).to_le_bytes());
    intset::iter(set).for_each(|value| out.extend_from_slice(&value.to_le_bytes()[..width]));
}

/// Reads the members.
pub(super) fn decode(bytes: &[u8], elements: &mut Elements) -> Result<(), Error> {
    let (head, integers) = bytes.split_at_checked(HEAD).ok_or(Error::Format)?;
    let (width, count) = head.split_at(4);
    let width = match *width {
        [width @ (2 | 4 | 8), 0, 0, 0] => width,
        _ => return Err(Error::Format),
    };
    if integers.is_empty() || !integers.len().is_multiple_of(width.into()) {
        return Err(Error::Format);
    }
    let values = integers.chunks_exact(width.into()).map(|raw| {
        let mut wide = [0; 8];
        wide[8 - raw.len()..].copy_from_slice(raw);
        i64::from_le_bytes(wide) >> (64 - 8 * u32::from(width))
    });
    let is_counted = (values.len() as u64).to_le_bytes()[..4] == *count;
    if !is_counted || !values.clone().is_sorted_by(|a, b| a < b) {
        return Err(Error::Format);
    }
    values.for_each(|value| elements.push_int(value));
    Ok(())
}
