//! Replies: the primitives of RESP2 and RESP3, appended to a buffer.
//!
//! Each function writes one whole element, except the heads of aggregates ([`array()`], [`map`], [`set`], [`push`],
//! [`bulk_head`]), whose contents follow by further calls. Where the two versions differ, `resp` says which one the
//! client speaks; everything else is the same in both. What older clients cannot read is written as the nearest
//! thing that they can, as Redis does: a map as an array of twice the length, a double as its text.

use crate::{ParseError, number};

/// The version of the protocol that a client has chosen by HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resp {
    /// The version that every client begins with.
    #[default]
    V2,
    /// The version with maps, sets, doubles and push messages.
    V3,
}

/// A status like `OK`. Line ends within `text` become spaces, those behind it go.
pub fn simple(out: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    line(out, b'+', text.as_ref());
}

/// An error: its code, a space, and words for a person. Line ends within `text` become spaces, or the client would take
/// what follows them for the next reply; those behind it go.
pub fn error(out: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    line(out, b'-', text.as_ref());
}

/// What a client reads before its connection is closed for breaking the protocol.
pub fn protocol_error(out: &mut Vec<u8>, error: &ParseError) {
    out.extend_from_slice(b"-ERR Protocol error: ");
    match *error {
        // Redis repeats the byte itself, whatever it is.
        ParseError::ExpectedBulk(byte) => {
            let byte = if byte == b'\r' || byte == b'\n' { b' ' } else { byte };
            out.extend_from_slice(&[b"expected '$', got '", &[byte][..], b"'"].concat());
        }
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

/// An integer.
#[inline]
pub fn int(out: &mut Vec<u8>, value: i64) {
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// An integer as a bulk string, as INCRBY stores it and GET reads it.
pub fn bulk_int(out: &mut Vec<u8>, value: i64) {
    bulk(out, itoa::Buffer::new().format(value).as_bytes());
}

/// A string of any bytes.
#[inline]
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    bulk_head(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// The head of a string of `len` bytes. The caller appends the bytes and CR LF.
#[inline]
pub fn bulk_head(out: &mut Vec<u8>, len: usize) {
    head(out, b'$', len);
}

/// No value.
pub fn null(out: &mut Vec<u8>, resp: Resp) {
    out.extend_from_slice(match resp {
        Resp::V2 => b"$-1\r\n",
        Resp::V3 => b"_\r\n",
    });
}

/// No value where an array was expected: RESP2 tells the two apart.
pub fn null_array(out: &mut Vec<u8>, resp: Resp) {
    out.extend_from_slice(match resp {
        Resp::V2 => b"*-1\r\n",
        Resp::V3 => b"_\r\n",
    });
}

/// The head of an array; `len` elements follow.
#[inline]
pub fn array(out: &mut Vec<u8>, len: usize) {
    head(out, b'*', len);
}

/// The head of a map; `pairs` keys, each with its value, follow.
pub fn map(out: &mut Vec<u8>, resp: Resp, pairs: usize) {
    match resp {
        Resp::V2 => head(out, b'*', pairs * 2),
        Resp::V3 => head(out, b'%', pairs),
    }
}

/// The head of a set; `len` elements follow.
pub fn set(out: &mut Vec<u8>, resp: Resp, len: usize) {
    head(out, if resp == Resp::V2 { b'*' } else { b'~' }, len);
}

/// The head of a push message, which answers no command; `len` elements follow.
pub fn push(out: &mut Vec<u8>, resp: Resp, len: usize) {
    head(out, if resp == Resp::V2 { b'*' } else { b'>' }, len);
}

/// A floating-point number, see [`number::format_double`].
pub fn double(out: &mut Vec<u8>, resp: Resp, value: f64) {
    let text = number::format_double(value);
    match resp {
        Resp::V2 => bulk(out, text.as_bytes()),
        Resp::V3 => line(out, b',', text.as_bytes()),
    }
}

/// True or false; 1 or 0 in RESP2.
pub fn bool(out: &mut Vec<u8>, resp: Resp, value: bool) {
    out.extend_from_slice(match (resp, value) {
        (Resp::V2, false) => b":0\r\n",
        (Resp::V2, true) => b":1\r\n",
        (Resp::V3, false) => b"#f\r\n",
        (Resp::V3, true) => b"#t\r\n",
    });
}

/// An integer of any size, given by its decimal digits.
pub fn big_number(out: &mut Vec<u8>, resp: Resp, digits: &str) {
    match resp {
        Resp::V2 => bulk(out, digits.as_bytes()),
        Resp::V3 => line(out, b'(', digits.as_bytes()),
    }
}

/// A text for people, such as INFO's. `format` tells its kind: `txt` or `mkd`, three bytes.
pub fn verbatim(out: &mut Vec<u8>, resp: Resp, format: &[u8; 3], bytes: &[u8]) {
    match resp {
        Resp::V2 => bulk(out, bytes),
        Resp::V3 => {
            head(out, b'=', bytes.len() + 4);
            out.extend_from_slice(format);
            out.push(b':');
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A type's byte, a length, and the line end.
#[inline]
pub(crate) fn head(out: &mut Vec<u8>, kind: u8, len: usize) {
    if len < 10 {
        out.extend_from_slice(&[kind, b'0' + len as u8, b'\r', b'\n']);
    } else {
        out.push(kind);
        out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// A type's byte and a text that is kept on one line.
fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    let start = out.len();
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    out.extend_from_slice(&text[..end]);
    let mut rest = &mut out[start..];
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        rest[at] = b' ';
        rest = &mut rest[at + 1..];
    }
    out.extend_from_slice(b"\r\n");
}
