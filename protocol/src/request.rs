//! Requests: bytes from a client to the arguments of one command, without copying them.
//!
//! [`Parser::parse`] looks at the bytes from the first one of a command on and says whether the command is whole.
//! If not, the parser remembers how far it came, so that a command that arrives in a thousand pieces is still read
//! once. It keeps a few words of state per connection and nothing of the bytes.
//!
//! What is accepted follows Redis 7.0 (`processMultibulkBuffer`, `processInlineBuffer`) byte for byte: the byte
//! after a CR and the two bytes after an argument may be anything, lengths have no leading zero and no `+`, a
//! negative number of arguments is a command of none, and a NUL hides the rest of a line. One thing is stricter:
//! a line longer than [`Limits::inline`] is refused always, in Redis only if its end came in a later read.
//!
//! The trick is in `short_length`: nearly every length is one to three digits whose line is whole, so the loop
//! over arguments has one short path and leaves everything odd to a function that is never inlined.

use crate::{OwnedArgs, ParseError, Span, inline, number::parse_i64, reply::head};

/// Arguments that a client may send in one command before it has authenticated.
pub const UNAUTHENTICATED_ARGS: usize = 10;
/// Bytes of one argument that a client may send before it has authenticated.
pub const UNAUTHENTICATED_BULK: usize = 16 * 1024;
/// Bytes of the shortest argument, `$0`, with its line ends.
const SHORTEST_ARG: usize = 6;

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one argument: `proto-max-bulk-len`.
    pub bulk: usize,
    /// Arguments of one command. Redis 7.0 has no limit here; a table of a million spans is 8 MiB.
    pub args: usize,
    /// Bytes of one line: an inline command, or the text of a length.
    pub inline: usize,
    /// Bytes of one command with its framing: `client-query-buffer-limit`. Never more than 4 GiB.
    pub frame: usize,
    /// Whether the client has authenticated, or need not. Until then [`UNAUTHENTICATED_ARGS`] and
    /// [`UNAUTHENTICATED_BULK`] hold as well.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bulk: 512 << 20, args: 1 << 20, inline: 64 << 10, frame: 1 << 30, authenticated: true }
    }
}

impl Limits {
    /// What nodes of one cluster may send each other: anything that fits into a frame. The node that a client talks to
    /// has held the client to its limits.
    pub const BETWEEN_NODES: Self = Self {
        bulk: u32::MAX as usize,
        args: 1 << 26,
        inline: 64 << 10,
        frame: u32::MAX as usize,
        authenticated: true,
    };

    /// The default limits for a client that has yet to authenticate.
    pub fn unauthenticated() -> Self {
        Self { authenticated: false, ..Self::default() }
    }

    fn check_args(&self, count: usize) -> Result<usize, ParseError> {
        // Redis reads no more than an `int`, and says so first.
        if !self.authenticated && (UNAUTHENTICATED_ARGS + 1..=i32::MAX as usize).contains(&count) {
            Err(ParseError::UnauthenticatedMultibulkLength)
        } else if count > self.args {
            Err(ParseError::InvalidMultibulkLength)
        } else {
            Ok(count)
        }
    }

    /// Bytes that an argument may have now.
    fn bulk_now(&self) -> usize {
        if self.authenticated { self.bulk } else { self.bulk.min(UNAUTHENTICATED_BULK) }
    }

    /// Why an argument of `len` bytes is refused, which is more than [`Self::bulk_now`].
    #[cold]
    fn bulk_error(&self, len: usize) -> ParseError {
        if len > self.bulk { ParseError::InvalidBulkLength } else { ParseError::UnauthenticatedBulkLength }
    }
}

/// What the input begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A part of a command.
    Incomplete {
        /// At least so many bytes are missing: a hint for the size of the buffer, never 0.
        wanted: usize,
    },
    /// A command of at least one argument; the spans tell where they lie.
    Command {
        /// Bytes that it took.
        len: usize,
    },
    /// An inline command; [`Parser::inline_args`] has its arguments.
    Inline {
        /// Bytes that it took.
        len: usize,
    },
    /// A command of no arguments (`*0`, `*-1`) or an empty line: to be skipped without a reply.
    Nothing {
        /// Bytes that it took.
        len: usize,
    },
}

/// The parser of one connection.
#[derive(Debug, Default)]
pub struct Parser {
    /// Bytes of the frame that are done with; all else refers to what follows them.
    pos: usize,
    /// Bytes of the frame that were searched for the end of a line in vain. No line ends between `pos` and here, so
    /// this may lag behind `pos` and need not be kept up with it.
    searched: usize,
    /// Arguments that are still missing; 0 as long as their number has not been read.
    missing: usize,
    /// Length of the argument at `pos`, if it has been read.
    bulk: Option<usize>,
    /// Arguments of the last inline command.
    inline: OwnedArgs,
}

impl Parser {
    /// A parser that expects the first byte of a command.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the command that `input` begins with.
    ///
    /// While the answer is [`Parsed::Incomplete`], `input` must begin at the same byte the next time, and `spans`
    /// must be left alone. After any other answer the caller goes on `len` bytes further. `spans` is cleared when a
    /// command begins. It grows by what has arrived, not by what was announced. After an error the connection, and
    /// this parser with it, is of no more use.
    #[inline]
    pub fn parse(
        &mut self,
        input: &[u8],
        spans: &mut Vec<Span>,
        limits: &Limits,
    ) -> Result<Parsed, ParseError> {
        if self.missing == 0 {
            spans.clear();
            match input.first() {
                None => return Ok(Parsed::Incomplete { wanted: 1 }),
                Some(b'*') => {}
                Some(_) => return self.parse_inline(input, limits),
            }
            let (count, next) = match short_length(input, 1) {
                Some(found) => found,
                None => match self.long_length(input, 0, limits, ParseError::TooBigMultibulkCount)? {
                    // A negative number is as good as none.
                    Some((count, next)) => (usize::try_from(count).unwrap_or(0), next),
                    None => return Ok(Parsed::Incomplete { wanted: 1 }),
                },
            };
            let count = limits.check_args(count)?;
            if count == 0 {
                self.searched = 0;
                return Ok(Parsed::Nothing { len: next });
            }
            self.pos = next;
            self.missing = count;
        }
        self.parse_args(input, spans, limits)
    }

    /// Reads the arguments from `self.pos` on.
    fn parse_args(
        &mut self,
        input: &[u8],
        spans: &mut Vec<Span>,
        limits: &Limits,
    ) -> Result<Parsed, ParseError> {
        let frame = limits.frame.min(u32::MAX as usize);
        let room = input.len().min(frame);
        let bulk_limit = limits.bulk_now();
        let (mut pos, mut missing, mut bulk) = (self.pos, self.missing, self.bulk.take());
        while missing > 0 {
            let len = match bulk.take() {
                Some(len) => len,
                None => {
                    let short = match input.get(pos) {
                        Some(b'$') => short_length(input, pos + 1),
                        _ => None,
                    };
                    let (len, next) = match short {
                        Some(found) => found,
                        None => match self.long_length(input, pos, limits, ParseError::TooBigBulkCount)? {
                            Some((len, next)) => {
                                (usize::try_from(len).map_err(|_| ParseError::InvalidBulkLength)?, next)
                            }
                            None => return Ok(self.pause(pos, missing, None, input.len())),
                        },
                    };
                    if len > bulk_limit {
                        return Err(limits.bulk_error(len));
                    }
                    pos = next;
                    len
                }
            };
            // No overflow: a length is below 2^63, as is a position.
            let end = pos + len;
            if end + 2 > room {
                if end + 2 > frame {
                    return Err(ParseError::TooBigRequest);
                }
                return Ok(self.pause(pos, missing, Some(len), input.len()));
            }
            spans.push(Span { start: pos as u32, end: end as u32 });
            pos = end + 2;
            missing -= 1;
        }
        self.pos = 0;
        self.searched = 0;
        self.missing = 0;
        Ok(Parsed::Command { len: pos })
    }

    /// Remembers where the input ended.
    #[cold]
    fn pause(&mut self, pos: usize, missing: usize, bulk: Option<usize>, input: usize) -> Parsed {
        self.pos = pos;
        self.missing = missing;
        self.bulk = bulk;
        let known = match bulk {
            Some(bulk) => pos + bulk + 2 + (missing - 1) * SHORTEST_ARG,
            None => pos + missing * SHORTEST_ARG,
        };
        Parsed::Incomplete { wanted: known.saturating_sub(input).max(1) }
    }

    /// Reads a length that is odd or not whole: the number and where the next line begins, or `None` if the line
    /// has not come whole. `too_big` tells which of the two kinds of length it is.
    #[cold]
    fn long_length(
        &mut self,
        input: &[u8],
        pos: usize,
        limits: &Limits,
        too_big: ParseError,
    ) -> Result<Option<(i64, usize)>, ParseError> {
        let line = input.get(pos..).unwrap_or_default();
        let Some(end) = self.line_end(input, pos, b'\r', limits).map_err(|TooLong| too_big)? else {
            return Ok(None);
        };
        if end + 2 > line.len() {
            self.searched = pos + end;
            return Ok(None);
        }
        let invalid = if too_big == ParseError::TooBigBulkCount {
            if line[0] != b'$' {
                return Err(ParseError::ExpectedBulk(line[0]));
            }
            ParseError::InvalidBulkLength
        } else {
            ParseError::InvalidMultibulkLength
        };
        let length = parse_i64(&line[1..end]).ok_or(invalid)?;
        Ok(Some((length, pos + end + 2)))
    }

    /// Length of the line at `pos`, which `byte` ends; `None` if it has not come whole, an error if it is too long. A
    /// NUL ends the search in vain, as C's `strchr` does.
    fn line_end(
        &mut self,
        input: &[u8],
        pos: usize,
        byte: u8,
        limits: &Limits,
    ) -> Result<Option<usize>, TooLong> {
        let from = self.searched.clamp(pos, input.len().max(pos));
        let found = input.get(from..).and_then(|rest| memchr::memchr2(byte, 0, rest)).map(|at| from + at);
        match found {
            Some(end) if input[end] == byte && end - pos <= limits.inline => Ok(Some(end - pos)),
            _ if input.len() > pos + limits.inline => Err(TooLong),
            _ => {
                self.searched = found.unwrap_or(input.len());
                Ok(None)
            }
        }
    }

    #[cold]
    fn parse_inline(&mut self, input: &[u8], limits: &Limits) -> Result<Parsed, ParseError> {
        let Some(end) = self.line_end(input, 0, b'\n', limits).map_err(|TooLong| ParseError::TooBigInline)?
        else {
            return Ok(Parsed::Incomplete { wanted: 1 });
        };
        let len = end + 1;
        self.searched = 0;
        let line = &input[..end];
        self.inline = inline::split(line.strip_suffix(b"\r").unwrap_or(line))?;
        if self.inline.as_args().is_empty() {
            return Ok(Parsed::Nothing { len });
        }
        Ok(Parsed::Inline { len })
    }

    /// Hands over the arguments of the inline command that [`Parser::parse`] just found; none otherwise.
    pub fn inline_args(&mut self) -> OwnedArgs {
        std::mem::take(&mut self.inline)
    }
}

/// A line without an end within [`Limits::inline`].
struct TooLong;

/// Reads up to nine digits without a leading zero, a CR and any byte from `at` on: the number, and what position
/// comes next. `None` for everything else, right or wrong.
#[inline(always)]
fn short_length(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = input.get(at..)?;
    if let Some(&[first, second, third, _]) = rest.first_chunk() {
        let (first, second) = (first.wrapping_sub(b'0'), second.wrapping_sub(b'0'));
        if first <= 9 && second == b'\r'.wrapping_sub(b'0') {
            return Some((usize::from(first), at + 3));
        }
        if (1..=9).contains(&first) && second <= 9 && third == b'\r' {
            return Some((usize::from(first) * 10 + usize::from(second), at + 4));
        }
    }
    let digits = rest.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0
        || (digits > 1 && rest[0] == b'0')
        || rest.get(digits) != Some(&b'\r')
        || rest.len() < digits + 2
    {
        return None;
    }
    let length = rest[..digits].iter().fold(0, |length, byte| length * 10 + usize::from(byte - b'0'));
    Some((length, at + digits + 2))
}

/// Appends a command as clients send it: an array of bulk strings.
pub fn encode_command<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: impl ExactSizeIterator<Item = A>) {
    head(out, b'*', args.len());
    for arg in args {
        crate::reply::bulk(out, arg.as_ref());
    }
}
