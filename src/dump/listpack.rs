//! Collections in one string, as Redis keeps them since 7.0: the length of all (four bytes), the number of elements
//! (two; the greatest says that they are to be counted), the elements, and a last byte. A [`packed`] run of the store
//! has the same elements.

use super::{Elements, Error};
use crate::store::packed::{self, Item};

const HEAD: usize = 6;
const END: u8 = 0xff;

/// Bytes of the string of a packed run.
pub(super) fn encoded_len(run: &[u8]) -> usize {
    HEAD + (run.len() - packed::HEAD) + 1
}

/// Appends the string of a packed run.
pub(super) fn encode(run: &[u8], out: &mut Vec<u8>) {
    // Runs are smaller than 4 GiB: the largest value of a client is.
    out.extend_from_slice(&(encoded_len(run) as u32).to_le_bytes());
    out.extend_from_slice(run);
    out.push(END);
}

/// Reads the elements.
pub(super) fn decode(bytes: &[u8], elements: &mut Elements) -> Result<(), Error> {
    let body = body(bytes)?;
    for element in packed::iter_in(body, 0..body.len()) {
        match element.value {
            Item::Int(value) => elements.push_int(value),
            Item::Bytes(text) => elements.push(text),
        }
    }
    Ok(())
}

/// The elements as they are written, if they are sound and as many as is told.
pub(super) fn body(bytes: &[u8]) -> Result<&[u8], Error> {
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or(Error::Format)?;
    let Some((END, run)) = rest.split_last().map(|(last, run)| (*last, run)) else {
        return Err(Error::Format);
    };
    let (count, body) = run.split_first_chunk::<2>().ok_or(Error::Format)?;
    if u32::from_le_bytes(*len) as usize != bytes.len() {
        return Err(Error::Format);
    }
    let found = packed::count_well_formed(body).ok_or(Error::Format)?;
    let told = usize::from(u16::from_le_bytes(*count));
    if told == packed::MOST || told == found { Ok(body) } else { Err(Error::Format) }
}
