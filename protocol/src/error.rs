//! Why bytes are not RESP.
//!
//! Each of these ends the connection: after a broken frame nobody can say where the next one begins. The texts of
//! the request's errors are Redis' own, since clients and test suites compare them.

/// Bytes that break the protocol. `Display` gives what follows `-ERR Protocol error: ` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The number of arguments is no number, or above [`Limits::args`](crate::Limits::args).
    #[error("invalid multibulk length")]
    InvalidMultibulkLength,
    /// More than ten arguments before authentication.
    #[error("unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// An argument's length is no number, negative, or above [`Limits::bulk`](crate::Limits::bulk).
    #[error("invalid bulk length")]
    InvalidBulkLength,
    /// An argument of more than 16 KiB before authentication.
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// An argument that does not begin with `$`, but with this byte. [`protocol_error`](crate::reply::protocol_error)
    /// writes the byte as it came; here one that is not printable ASCII is escaped.
    #[error("expected '$', got '{}'", std::ascii::escape_default(*.0))]
    ExpectedBulk(u8),
    /// An inline command longer than [`Limits::inline`](crate::Limits::inline).
    #[error("too big inline request")]
    TooBigInline,
    /// No line end within [`Limits::inline`](crate::Limits::inline) bytes after `*`.
    #[error("too big mbulk count string")]
    TooBigMultibulkCount,
    /// No line end within [`Limits::inline`](crate::Limits::inline) bytes after `$`.
    #[error("too big bulk count string")]
    TooBigBulkCount,
    /// A quote in an inline command that is not closed, or not followed by a space.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A command that needs more than [`Limits::frame`](crate::Limits::frame) bytes. Redis closes without a word.
    #[error("too big request")]
    TooBigRequest,
    /// A reply that begins with a byte that no RESP type has.
    #[error("unknown reply type '{}'", std::ascii::escape_default(*.0))]
    UnknownReplyType(u8),
    /// A length in a reply that is no number, out of range, or streamed (`?`).
    #[error("invalid length in a reply")]
    InvalidReplyLength,
    /// A line of a reply that is longer than [`crate::reply_reader::MAX_LINE`].
    #[error("too long a line in a reply")]
    TooLongReplyLine,
    /// A reply nested deeper than [`crate::reply_reader::MAX_DEPTH`].
    #[error("too deeply nested reply")]
    TooDeepReply,
    /// A part of a reply that does not end in CR LF.
    #[error("missing line end in a reply")]
    MissingLineEnd,
}
