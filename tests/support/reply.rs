//! A reply exactly as it came over the wire.
//!
//! Two replies are equal if and only if their bytes are (but for leading zeros in lengths, which no server writes):
//! doubles keep their text, and the three spellings of null stay apart. An expected reply is written once, in its
//! RESP3 form; [`Reply::in_protocol`] derives the RESP2 form by the rules that Redis follows.

use std::io::{self, BufRead};

use super::notation::Pattern;

/// The version of RESP that a connection has agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Resp2,
    Resp3,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// `_` of RESP3. In an expected reply: null, which RESP2 spells `$-1`.
    Null,
    /// `$-1` of RESP2; never in an expected reply.
    NullBulk,
    /// `*-1` of RESP2. In an expected reply: null, which RESP2 spells `*-1`.
    NullArray,
    Array(Vec<Reply>),
    Set(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Push(Vec<Reply>),
    Double(String),
    Boolean(bool),
    BigNumber(String),
    /// Format and text, such as `txt:hello`.
    Verbatim(Vec<u8>),
    /// Only in an expected reply: what a placeholder such as `<int>` stands for.
    Any(Pattern),
}

/// Which parts of a reply may come in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unordered {
    /// The parts are flat pairs: a name and its value stay together.
    pub(crate) pairs: bool,
    /// They are in this element of the reply, not in the reply itself.
    pub(crate) element: Option<usize>,
}

impl Reply {
    /// Reads one reply. A malformed one is an error of kind `InvalidData`.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, format!("malformed reply: {line:?}"));
        let body = line.strip_suffix(b"\r\n").ok_or_else(malformed)?;
        let (kind, body) = body.split_first().ok_or_else(malformed)?;
        let text = || String::from_utf8(body.to_vec()).map_err(|_| malformed());
        let integer = || text()?.parse::<i64>().map_err(|_| malformed());
        let length = || integer().and_then(|n| usize::try_from(n).map_err(|_| malformed()));
        Ok(match kind {
            b'+' => Self::Simple(body.to_vec()),
            b'-' => Self::Error(body.to_vec()),
            b':' => Self::Integer(integer()?),
            b'_' => Self::Null,
            b'$' if body == b"-1" => Self::NullBulk,
            b'*' if body == b"-1" => Self::NullArray,
            b'$' => Self::Bulk(read_blob(from, length()?)?),
            b'=' => Self::Verbatim(read_blob(from, length()?)?),
            b'*' => Self::Array(read_many(from, length()?)?),
            b'~' => Self::Set(read_many(from, length()?)?),
            b'>' => Self::Push(read_many(from, length()?)?),
            b'%' => Self::Map(pair_up(read_many(from, 2 * length()?)?)),
            b',' => Self::Double(text()?),
            b'(' => Self::BigNumber(text()?),
            b'#' if body == b"t" => Self::Boolean(true),
            b'#' if body == b"f" => Self::Boolean(false),
            _ => return Err(malformed()),
        })
    }

    /// What a connection of this protocol gets where the expected reply is `self`.
    pub(crate) fn in_protocol(&self, protocol: Protocol) -> Self {
        let all = |parts: &[Self]| parts.iter().map(|part| part.in_protocol(protocol)).collect();
        match (self, protocol) {
            (Self::Null, Protocol::Resp2) => Self::NullBulk,
            (Self::NullArray, Protocol::Resp3) => Self::Null,
            (Self::Map(pairs), Protocol::Resp2) => Self::Array(
                pairs.iter().flat_map(|(k, v)| [k.in_protocol(protocol), v.in_protocol(protocol)]).collect(),
            ),
            (Self::Set(parts) | Self::Push(parts), Protocol::Resp2) => Self::Array(all(parts)),
            (Self::Double(text) | Self::BigNumber(text), Protocol::Resp2) => {
                Self::Bulk(text.clone().into_bytes())
            }
            (Self::Boolean(value), Protocol::Resp2) => Self::Integer(i64::from(*value)),
            (Self::Verbatim(text), Protocol::Resp2) => Self::Bulk(text.get(4..).unwrap_or_default().to_vec()),
            (Self::Any(Pattern::Verbatim(glob)), Protocol::Resp2) => Self::Any(Pattern::Bulk(glob.clone())),
            (Self::Array(parts), _) => Self::Array(all(parts)),
            (Self::Set(parts), _) => Self::Set(all(parts)),
            (Self::Push(parts), _) => Self::Push(all(parts)),
            (Self::Map(pairs), _) => Self::Map(
                pairs.iter().map(|(k, v)| (k.in_protocol(protocol), v.in_protocol(protocol))).collect(),
            ),
            _ => self.clone(),
        }
    }

    /// The one expected reply that gives `resp3` and `resp2`, if there is one.
    pub(crate) fn merged(resp3: &Self, resp2: &Self) -> Option<Self> {
        let all = |a: &[Self], b: &[Self]| {
            (a.len() == b.len()).then(|| a.iter().zip(b).map(|(a, b)| Self::merged(a, b)).collect()).flatten()
        };
        let merged = match (resp3, resp2) {
            (Self::Null, Self::NullBulk) => Self::Null,
            (Self::Null, Self::NullArray) => Self::NullArray,
            (Self::Array(a), Self::Array(b)) => Self::Array(all(a, b)?),
            (Self::Set(a), Self::Array(b)) => Self::Set(all(a, b)?),
            (Self::Map(a), Self::Array(b)) => {
                let flat: Vec<Self> = a.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect();
                Self::Map(pair_up(all(&flat, b)?))
            }
            _ => resp3.clone(),
        };
        (merged.in_protocol(Protocol::Resp3) == *resp3 && merged.in_protocol(Protocol::Resp2) == *resp2)
            .then_some(merged)
    }

    /// Sorts what may come in any order, so that equal replies compare equal.
    pub(crate) fn sort(&mut self, unordered: Unordered) {
        if let Some(index) = unordered.element {
            if let Self::Array(parts) = self
                && let Some(part) = parts.get_mut(index)
            {
                part.sort(Unordered { element: None, ..unordered });
            }
            return;
        }
        match self {
            Self::Map(pairs) => pairs.sort(),
            Self::Array(parts) if unordered.pairs => {
                let mut pairs = pair_up(std::mem::take(parts));
                pairs.sort();
                parts.extend(pairs.into_iter().flat_map(|(name, value)| [name, value]));
            }
            Self::Array(parts) | Self::Set(parts) => parts.sort(),
            _ => {}
        }
    }

    /// Makes times in what tells of streams 0, and leaves out what depends on Redis' version or on its radix tree.
    pub(crate) fn forget_times(&mut self) {
        let is = |part: &Self, names: &[&str]| matches!(part, Self::Bulk(text) if names.iter().any(|n| n.as_bytes() == text));
        let left_out = ["inactive", "active-time", "radix-tree-keys", "radix-tree-nodes"];
        match self {
            Self::Map(pairs) => {
                pairs.retain(|(name, _)| !is(name, &left_out));
                for (name, value) in pairs {
                    if is(name, &["idle", "seen-time"]) {
                        *value = Self::Integer(0);
                    }
                    value.forget_times();
                }
            }
            Self::Array(parts) => {
                while let Some(at) = parts.iter().position(|part| is(part, &left_out)) {
                    parts.drain(at..(at + 2).min(parts.len()));
                }
                for at in 1..parts.len() {
                    if is(&parts[at - 1], &["idle", "seen-time"]) {
                        parts[at] = Self::Integer(0);
                    }
                }
                match parts.as_mut_slice() {
                    // An id, perhaps a consumer, when that was delivered, and how often.
                    [Self::Bulk(_), Self::Bulk(_), time @ Self::Integer(_), Self::Integer(_)]
                    | [Self::Bulk(_), time @ Self::Integer(_), Self::Integer(_)] => *time = Self::Integer(0),
                    parts => parts.iter_mut().for_each(Self::forget_times),
                }
            }
            _ => {}
        }
    }

    /// Makes each -0 a 0.
    pub(crate) fn forget_signs_of_zero(&mut self) {
        match self {
            Self::Bulk(text) if text == b"-0" => *text = b"0".to_vec(),
            Self::Double(text) if text == "-0" => *text = "0".to_owned(),
            Self::Array(parts) | Self::Set(parts) => parts.iter_mut().for_each(Self::forget_signs_of_zero),
            Self::Map(pairs) => pairs.iter_mut().for_each(|(_, value)| value.forget_signs_of_zero()),
            _ => {}
        }
    }

    /// Whether `actual` is what this expected reply, already in the connection's protocol, allows.
    pub(crate) fn allows(&self, actual: &Self) -> bool {
        let all = |a: &[Self], b: &[Self]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.allows(b));
        match (self, actual) {
            (Self::Any(pattern), _) => pattern.allows(actual),
            (Self::Array(a), Self::Array(b))
            | (Self::Set(a), Self::Set(b))
            | (Self::Push(a), Self::Push(b)) => all(a, b),
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0.allows(&b.0) && a.1.allows(&b.1))
            }
            _ => self == actual,
        }
    }

    /// Whether a placeholder is anywhere in it.
    pub(crate) fn has_pattern(&self) -> bool {
        match self {
            Self::Any(_) => true,
            Self::Array(parts) | Self::Set(parts) | Self::Push(parts) => parts.iter().any(Self::has_pattern),
            Self::Map(pairs) => pairs.iter().any(|(name, value)| name.has_pattern() || value.has_pattern()),
            _ => false,
        }
    }
}

fn read_blob(from: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    let mut blob = vec![0; length + 2];
    from.read_exact(&mut blob)?;
    if !blob.ends_with(b"\r\n") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a string is longer than it says"));
    }
    blob.truncate(length);
    Ok(blob)
}

fn read_many(from: &mut impl BufRead, count: usize) -> io::Result<Vec<Reply>> {
    (0..count).map(|_| Reply::read(from)).collect()
}

/// Turns a flat list of names and values into pairs; an odd last element is paired with null, so that it shows.
fn pair_up(flat: Vec<Reply>) -> Vec<(Reply, Reply)> {
    let mut pairs = Vec::with_capacity(flat.len() / 2);
    let mut parts = flat.into_iter();
    while let Some(name) = parts.next() {
        pairs.push((name, parts.next().unwrap_or(Reply::Null)));
    }
    pairs
}
