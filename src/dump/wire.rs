//! Lengths, strings and numbers, as they are written one behind the other.
//!
//! The two upper bits of a length's first byte tell its form: 6 bits, 14 bits (most significant byte first), 32 or 64
//! bits in the bytes that follow, or no length at all: a string that is an integer, or one that is compressed.

use ringfort_protocol::number::{parse_f64, parse_i64};

use super::{Error, lzf};

const BITS_14: u8 = 0x40;
const BITS_32: u8 = 0x80;
const BITS_64: u8 = 0x81;
/// The upper bits of what is no length.
const SPECIAL: u8 = 0xc0;
const INT_8: u8 = 0xc0;
const INT_16: u8 = 0xc1;
const INT_32: u8 = 0xc2;
const COMPRESSED: u8 = 0xc3;

/// A string that might be an integer of 32 bits has at most so many bytes.
const LONGEST_INT: usize = 11;

/// Appends a length.
pub(super) fn put_len(out: &mut Vec<u8>, len: usize) {
    match len {
        0..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend([BITS_14 | (len >> 8) as u8, len as u8]),
        _ => match u32::try_from(len) {
            Ok(len) => {
                out.push(BITS_32);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                out.push(BITS_64);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        },
    }
}

/// Appends a string, as an integer if it is one that is short.
pub(super) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    let int = if text.len() <= LONGEST_INT { parse_i64(text) } else { None };
    match int.and_then(|value| i32::try_from(value).ok()) {
        Some(value) => put_int(out, value),
        None => {
            put_len(out, text.len());
            out.extend_from_slice(text);
        }
    }
}

fn put_int(out: &mut Vec<u8>, value: i32) {
    if let Ok(value) = i8::try_from(value) {
        out.extend([INT_8, value.cast_unsigned()]);
    } else if let Ok(value) = i16::try_from(value) {
        out.push(INT_16);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.push(INT_32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A string, as it was read.
pub(super) enum Text<'a> {
    /// As it stands in the payload.
    Plain(&'a [u8]),
    /// An integer.
    Int(i64),
    /// What was compressed.
    Owned(Vec<u8>),
}

impl Text<'_> {
    /// The text; an integer is written into `buffer`.
    pub(super) fn as_bytes<'b>(&'b self, buffer: &'b mut itoa::Buffer) -> &'b [u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Int(value) => buffer.format(*value).as_bytes(),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Reads what was written, as far as it is there.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// The greatest length of a string.
    longest: usize,
}

impl<'a> Reader<'a> {
    /// Reads these bytes, in which no string may be longer than `longest`.
    pub(super) fn new(bytes: &'a [u8], longest: usize) -> Self {
        Self { rest: bytes, longest }
    }

    /// So many bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Error::Format)?;
        self.rest = rest;
        Ok(*array)
    }

    fn bytes(&mut self, len: u64) -> Result<&'a [u8], Error> {
        let len = usize::try_from(len).ok().filter(|len| *len <= self.longest).ok_or(Error::Format)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Error::Format)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A length, or whatever else is written as one.
    pub(super) fn len(&mut self) -> Result<u64, Error> {
        let first = self.byte()?;
        self.len_from(first)
    }

    fn len_from(&mut self, first: u8) -> Result<u64, Error> {
        match first {
            0..BITS_14 => Ok(first.into()),
            BITS_14..BITS_32 => Ok(u16::from_be_bytes([first & !BITS_14, self.byte()?]).into()),
            BITS_32 => Ok(u32::from_be_bytes(self.array()?).into()),
            BITS_64 => Ok(u64::from_be_bytes(self.array()?)),
            _ => Err(Error::Format),
        }
    }

    /// How many elements follow, of which each has at least a byte; none are no value.
    pub(super) fn count(&mut self) -> Result<u64, Error> {
        let count = self.len()?;
        if count == 0 || count > self.rest.len() as u64 { Err(Error::Format) } else { Ok(count) }
    }

    /// A string.
    pub(super) fn text(&mut self) -> Result<Text<'a>, Error> {
        let first = self.byte()?;
        match first {
            INT_8 => Ok(Text::Int(i8::from_le_bytes(self.array()?).into())),
            INT_16 => Ok(Text::Int(i16::from_le_bytes(self.array()?).into())),
            INT_32 => Ok(Text::Int(i32::from_le_bytes(self.array()?).into())),
            COMPRESSED => {
                let (compressed, len) = (self.len()?, self.len()?);
                let len = usize::try_from(len).ok().filter(|len| *len <= self.longest);
                let compressed = self.bytes(compressed)?;
                Ok(Text::Owned(lzf::decompress(compressed, len.ok_or(Error::Format)?)?))
            }
            _ if first >= SPECIAL => Err(Error::Format),
            _ => {
                let len = self.len_from(first)?;
                self.bytes(len).map(Text::Plain)
            }
        }
    }

    /// When a field ends, in Unix milliseconds; -1 says that it does not.
    pub(super) fn deadline(&mut self) -> Result<Option<u64>, Error> {
        match i64::from_le_bytes(self.array()?) {
            -1 => Ok(None),
            // What ended in 1970 has ended, but 0 is no time here.
            deadline => {
                u64::try_from(deadline).map(|deadline| Some(deadline.max(1))).map_err(|_| Error::Format)
            }
        }
    }

    /// A score as a double.
    pub(super) fn double(&mut self) -> Result<f64, Error> {
        let score = f64::from_le_bytes(self.array()?);
        if score.is_nan() { Err(Error::Format) } else { Ok(score) }
    }

    /// A score as text, with its length in one byte, three values of which stand for what has no digits.
    pub(super) fn double_text(&mut self) -> Result<f64, Error> {
        match self.byte()? {
            255 => Ok(f64::NEG_INFINITY),
            254 => Ok(f64::INFINITY),
            253 => Err(Error::Format),
            len => parse_f64(self.bytes(len.into())?).ok_or(Error::Format),
        }
    }
}
