//! Where a reply ends, without looking at what it says.
//!
//! A node that forwards a request hands on the owner's reply as bytes. It must know where that reply ends, and for
//! a request that was split it needs the elements of an array, still as bytes. [`ReplyScanner`] does the first,
//! remembering across reads how far it came; [`elements`] the second.
//!
//! All types of RESP2 and RESP3 are understood, attributes included (they belong to the reply that follows them).
//! Streamed strings and aggregates (`$?`, `*?`) are not: no server sends them. Nesting is counted on a small stack
//! of its own, never by recursion, and a length that was announced reserves no memory.

use crate::{ParseError, number::parse_i64};

/// Levels of arrays within arrays that a reply may have.
pub const MAX_DEPTH: usize = 128;
/// Bytes of the longest line: a status, an error, a number.
pub const MAX_LINE: usize = 1 << 20;
/// Bytes of the longest string within a reply.
pub const MAX_BULK: usize = u32::MAX as usize;

/// Finds the end of one reply that arrives bit by bit.
#[derive(Debug, Default)]
pub struct ReplyScanner {
    /// Bytes that are done with.
    pos: usize,
    /// Bytes of the line at `pos` that were searched for its end in vain.
    searched: usize,
    /// The aggregates that are open, the outermost first.
    open: Vec<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// Elements that are still to come; not 0.
    missing: u64,
    /// An attribute, which is no reply by itself.
    attribute: bool,
}

impl ReplyScanner {
    /// A scanner that expects the first byte of a reply.
    pub fn new() -> Self {
        Self::default()
    }

    /// The length of the reply that `input` begins with, or `None` if it is not whole. Then `input` must begin at
    /// the same byte the next time; after a reply was found, at the byte after it.
    pub fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, ParseError> {
        while let Some((head, next)) = self.head(input)? {
            let complete = match head {
                Head::Line => Some(next),
                Head::Bulk(len) => {
                    let end = next + len + 2;
                    if input.len() < end {
                        return Ok(None);
                    }
                    if input[end - 2..end] != *b"\r\n" {
                        return Err(ParseError::MissingLineEnd);
                    }
                    Some(end)
                }
                Head::Aggregate(Open { missing: 0, attribute: false }) => Some(next),
                Head::Aggregate(Open { missing: 0, attribute: true }) => None,
                Head::Aggregate(open) => {
                    if self.open.len() == MAX_DEPTH {
                        return Err(ParseError::TooDeepReply);
                    }
                    self.open.push(open);
                    None
                }
            };
            self.pos = complete.unwrap_or(next);
            self.searched = 0;
            if complete.is_some() && self.close() {
                return Ok(Some(std::mem::take(&mut self.pos)));
            }
        }
        Ok(None)
    }

    /// Counts an element that is complete, and the aggregates that it completes; whether the reply is.
    fn close(&mut self) -> bool {
        while let Some(open) = self.open.last_mut() {
            open.missing -= 1;
            if open.missing > 0 {
                return false;
            }
            let attribute = open.attribute;
            self.open.pop();
            if attribute {
                return false;
            }
        }
        true
    }

    /// Reads the line at `self.pos`: what it announces, and where the next byte is.
    fn head(&mut self, input: &[u8]) -> Result<Option<(Head, usize)>, ParseError> {
        let line = &input[self.pos.min(input.len())..];
        let Some(&kind) = line.first() else {
            return Ok(None);
        };
        if !b"+-:_,#($!=*~>%|".contains(&kind) {
            return Err(ParseError::UnknownReplyType(kind));
        }
        let from = self.searched.min(line.len());
        let Some(end) = memchr::memchr(b'\n', &line[from..]).map(|at| from + at) else {
            self.searched = line.len();
            return if line.len() > MAX_LINE { Err(ParseError::TooLongReplyLine) } else { Ok(None) };
        };
        if end > MAX_LINE {
            return Err(ParseError::TooLongReplyLine);
        }
        let text = line[1..end].strip_suffix(b"\r").ok_or(ParseError::MissingLineEnd)?;
        // Stays here if this is the head of a string that is not whole.
        self.searched = end;
        Ok(Some((Head::read(kind, text)?, self.pos + end + 1)))
    }
}

/// What the first line of an element announces.
enum Head {
    /// Nothing more.
    Line,
    /// So many bytes and a line end.
    Bulk(usize),
    /// So many elements.
    Aggregate(Open),
}

impl Head {
    fn read(kind: u8, text: &[u8]) -> Result<Self, ParseError> {
        let aggregate = |per_count: u64, attribute: bool| {
            if text == b"-1" && kind == b'*' {
                return Ok(Self::Line);
            }
            let count = parse_i64(text).and_then(|count| u64::try_from(count).ok());
            let count = count.ok_or(ParseError::InvalidReplyLength)?;
            // No overflow: the count is below 2^63.
            let missing = count * per_count;
            Ok(Self::Aggregate(Open { missing, attribute }))
        };
        match kind {
            b'$' if text == b"-1" => Ok(Self::Line),
            b'$' | b'!' | b'=' => {
                let len = parse_i64(text).and_then(|len| usize::try_from(len).ok());
                len.filter(|&len| len <= MAX_BULK).map(Self::Bulk).ok_or(ParseError::InvalidReplyLength)
            }
            b'*' | b'~' | b'>' => aggregate(1, false),
            b'%' => aggregate(2, false),
            b'|' => aggregate(2, true),
            _ => Ok(Self::Line),
        }
    }
}

/// The length of the reply that `input` begins with, or `None` if it is not whole.
///
/// For bytes that are all there; a reply that may still be arriving wants a [`ReplyScanner`].
pub fn reply_len(input: &[u8]) -> Result<Option<usize>, ParseError> {
    ReplyScanner::new().scan(input)
}

/// The elements of `reply`, a whole reply; `None` if it is no array, set, push message or map. Those of a map are
/// its keys and values in turn.
pub fn elements(reply: &[u8]) -> Option<Elements<'_>> {
    let kind = *reply.first()?;
    let end = memchr::memchr(b'\n', reply)?;
    match Head::read(kind, reply.get(1..end)?.strip_suffix(b"\r")?) {
        Ok(Head::Aggregate(Open { missing, attribute: false })) => {
            Some(Elements { rest: &reply[end + 1..], missing })
        }
        _ => None,
    }
}

/// Iterates over the elements of a reply, each one a reply as bytes. Ends early if the reply is cut off or broken.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    missing: u64,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.missing = self.missing.checked_sub(1)?;
        let len = reply_len(self.rest).ok()??;
        let (element, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(element)
    }
}
