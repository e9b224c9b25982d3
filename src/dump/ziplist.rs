//! Collections in one string, as Redis kept them before 7.0: the length of all, where the last element begins (four
//! bytes each), the number of elements (two; the greatest says that they are to be counted), the elements, and a last
//! byte. Each element begins with the length of the one before it, which takes one byte or five.

use super::{Elements, Error};

const HEAD: usize = 10;
const END: u8 = 0xff;
/// The length of the element before takes five bytes, of which this is the first.
const LONG: u8 = 0xfe;

/// Reads the elements.
pub(super) fn decode(bytes: &[u8], elements: &mut Elements) -> Result<(), Error> {
    let (head, body) = bytes.split_at_checked(HEAD).ok_or(Error::Format)?;
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let (len, last) = (number(0), number(4));
    let Some((END, mut rest)) = body.split_last().map(|(last, rest)| (*last, rest)) else {
        return Err(Error::Format);
    };
    if len != bytes.len() {
        return Err(Error::Format);
    }
    let (mut found, mut before, mut start) = (0, 0, HEAD);
    while !rest.is_empty() {
        start = bytes.len() - 1 - rest.len();
        let (told, after) = length_before(rest)?;
        if told != before {
            return Err(Error::Format);
        }
        let after = element(after, elements)?;
        before = rest.len() - after.len();
        rest = after;
        found += 1;
    }
    let told = usize::from(u16::from_le_bytes([head[8], head[9]]));
    let is_counted = told == usize::from(u16::MAX) || told == found;
    if last == start && is_counted { Ok(()) } else { Err(Error::Format) }
}

/// The length of the element before, and what follows.
fn length_before(bytes: &[u8]) -> Result<(usize, &[u8]), Error> {
    match bytes {
        [LONG, a, b, c, d, rest @ ..] => Ok((u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest)),
        [short @ 0..LONG, rest @ ..] => Ok((usize::from(*short), rest)),
        _ => Err(Error::Format),
    }
}

/// Reads an element; returns what follows.
fn element<'a>(bytes: &'a [u8], elements: &mut Elements) -> Result<&'a [u8], Error> {
    let (tag, rest) = bytes.split_first().ok_or(Error::Format)?;
    let mut int = |width: usize| {
        let (raw, rest) = rest.split_at_checked(width).ok_or(Error::Format)?;
        let mut wide = [0; 8];
        wide[8 - width..].copy_from_slice(raw);
        elements.push_int(i64::from_le_bytes(wide) >> (64 - 8 * width));
        Ok(rest)
    };
    let (len, rest) = match (tag, rest) {
        (0x00..0x40, rest) => (usize::from(*tag), rest),
        (0x40..0x80, [low, rest @ ..]) => (usize::from(tag & 0x3f) << 8 | usize::from(*low), rest),
        (0x80, [a, b, c, d, rest @ ..]) => (u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest),
        (0xc0, _) => return int(2),
        (0xd0, _) => return int(4),
        (0xe0, _) => return int(8),
        (0xf0, _) => return int(3),
        (0xfe, _) => return int(1),
        (0xf1..=0xfd, rest) => {
            elements.push_int(i64::from(*tag) - 0xf1);
            return Ok(rest);
        }
        _ => return Err(Error::Format),
    };
    let (text, rest) = rest.split_at_checked(len).ok_or(Error::Format)?;
    elements.push(text);
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ziplist of elements that are encoded already, without the lengths of those before.
    fn ziplist(elements: &[&[u8]]) -> Vec<u8> {
        let (mut bytes, mut before, mut last) = (vec![0; HEAD], 0, HEAD);
        for element in elements {
            last = bytes.len();
            if before < usize::from(LONG) {
                bytes.push(before as u8);
            } else {
                bytes.push(LONG);
                bytes.extend_from_slice(&(before as u32).to_le_bytes());
            }
            bytes.extend_from_slice(element);
            before = bytes.len() - last;
        }
        bytes.push(END);
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes[4..8].copy_from_slice(&(last as u32).to_le_bytes());
        bytes[8..10].copy_from_slice(&(elements.len() as u16).to_le_bytes());
        bytes
    }

    fn texts(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let mut elements = Elements::default();
        decode(bytes, &mut elements)?;
        Ok(elements.iter().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn elements_of_every_form_are_read() {
        let long = [&[0x41, 0x2c][..], &[b'x'; 300]].concat();
        let elements: [&[u8]; 10] = [
            b"\x02ab",
            &long,
            b"\x80\0\0\0\x03abc",
            b"\xc0\xff\x7f",
            b"\xd0\0\0\0\x80",
            b"\xe0\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\xf0\xff\xff\xff",
            b"\xfe\x80",
            b"\xf1",
            b"\xfd",
        ];
        let expected: [&[u8]; 10] = [
            b"ab",
            &[b'x'; 300],
            b"abc",
            b"32767",
            b"-2147483648",
            b"9223372036854775807",
            b"-1",
            b"-128",
            b"0",
            b"12",
        ];
        assert_eq!(texts(&ziplist(&elements)).unwrap(), expected);
        assert_eq!(texts(&ziplist(&[])).unwrap(), Vec::<Vec<u8>>::new());
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_refused_or_read(at in any::<prop::sample::Index>(), byte: u8, cut in 0..20usize) {
            let mut bytes = ziplist(&[b"\x02ab", b"\xc0\xff\x7f", b"\xf1", b"\x01c"]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(bytes.len() - cut);
            if let Ok(texts) = texts(&bytes) {
                prop_assert!(texts.len() <= bytes.len());
            }
        }
    }
}
