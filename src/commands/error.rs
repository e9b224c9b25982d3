//! Errors of commands. The text is what the client reads, to the letter of Redis.

use std::borrow::Cow;

/// Why a command was refused or failed. Its `Display` is the text of the error reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum CommandError {
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    #[error("ERR value is not a valid float")]
    NotFloat,
    #[error("ERR no such key")]
    NoSuchKey,
    #[error("ERR index out of range")]
    IndexOutOfRange,
    #[error("ERR value is out of range, must be positive")]
    NotPositive,
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(Cow<'static, str>),
    #[error("ERR DB index is out of range")]
    DbOutOfRange,
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    /// Any other text, its code included.
    #[error("{0}")]
    Other(Cow<'static, str>),
    /// Any other text that repeats bytes of the client, its code included.
    #[error("{}", String::from_utf8_lossy(.0))]
    Quoting(Vec<u8>),
}

impl CommandError {
    /// An error of this text; it begins with its code, as in `ERR no`.
    pub const fn other(text: &'static str) -> Self {
        Self::Other(Cow::Borrowed(text))
    }

    /// An error whose text is made.
    pub fn made(text: String) -> Self {
        Self::Other(Cow::Owned(text))
    }

    /// An error whose text repeats a text of the client.
    pub fn quoting(before: &str, text: &[u8], after: &str) -> Self {
        Self::Quoting([before.as_bytes(), quoted(text), after.as_bytes()].concat())
    }

    /// The error reply, byte for byte.
    pub fn text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Quoting(text) => Cow::Borrowed(text),
            Self::Other(text) => Cow::Borrowed(text.as_bytes()),
            other => Cow::Owned(other.to_string().into_bytes()),
        }
    }
}

/// Whether a reply is an error.
pub fn is_error(reply: &[u8]) -> bool {
    reply.first() == Some(&b'-')
}

/// Whether a reply is an error that says that its command was not run at all.
pub fn is_refusal(reply: &[u8]) -> bool {
    [&b"-CROSSSLOT "[..], b"-MOVED ", b"-OOM "].iter().any(|code| reply.starts_with(code))
}

/// As much of a client's text as Redis repeats: up to its first zero.
pub(super) fn quoted(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}
