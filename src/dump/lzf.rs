//! Strings that were compressed by LZF, which Redis does unless it is told not to.
//!
//! A byte below 32 says that one byte more than it tells follows as it is. Any other begins a copy of what was written
//! before: the length less two in its upper three bits (7: more in the next byte), the distance less one in the rest
//! and in the last byte.

use super::Error;

/// The greatest length that the first byte of a copy tells; with it, another byte tells more.
const LONG: usize = 7;

/// Decompresses to `len` bytes, no more and no less. Reserves no more than the compressed bytes can tell.
pub(super) fn decompress(bytes: &[u8], len: usize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(len.min(bytes.len().saturating_mul(4)));
    let mut rest = bytes;
    while let Some(control) = next(&mut rest) {
        if control < 32 {
            let (literal, after) = rest.split_at_checked(control + 1).ok_or(Error::Format)?;
            out.extend_from_slice(literal);
            rest = after;
        } else {
            let more = if control >> 5 == LONG { next(&mut rest).ok_or(Error::Format)? } else { 0 };
            let low = next(&mut rest).ok_or(Error::Format)?;
            copy(&mut out, ((control & 31) << 8 | low) + 1, (control >> 5) + more + 2)?;
        }
        if out.len() > len {
            return Err(Error::Format);
        }
    }
    if out.len() == len { Ok(out) } else { Err(Error::Format) }
}

fn next(rest: &mut &[u8]) -> Option<usize> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(usize::from(*first))
}

/// Appends `len` bytes from `distance` before the end on; they may overlap with what is appended.
fn copy(out: &mut Vec<u8>, distance: usize, len: usize) -> Result<(), Error> {
    let start = out.len().checked_sub(distance).ok_or(Error::Format)?;
    if distance >= len {
        out.extend_from_within(start..start + len);
    } else {
        (start..start + len).for_each(|at| out.push(out[at]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_and_copies_are_put_together() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"", b""),
            (b"\x02abc", b"abc"),
            (b"\x00a\xe0\x0a\x00", b"aaaaaaaaaaaaaaaaaaaa"),
            (b"\x01ab\x20\x01", b"ababa"),
            (b"\x03abcd\x40\x03\x00e", b"abcdabcde"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decompress(bytes, expected.len()).as_deref(), Ok(expected), "{bytes:?}");
            assert_eq!(decompress(bytes, expected.len() + 1), Err(Error::Format), "too few");
            if !expected.is_empty() {
                assert_eq!(decompress(bytes, expected.len() - 1), Err(Error::Format), "too many");
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_copies_from_nowhere_is_refused() {
        for bytes in
            [&b"\x02ab"[..], b"\x00a\x20", b"\x00a\xe0", b"\x00a\xe0\x01", b"\x00a\x20\x01", b"\x20\x00"]
        {
            assert_eq!(decompress(bytes, 4), Err(Error::Format), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_have_the_length(
            bytes in prop::collection::vec(any::<u8>(), 0..50),
            len in 0..300usize,
        ) {
            if let Ok(out) = decompress(&bytes, len) {
                prop_assert_eq!(out.len(), len);
            }
        }
    }
}
