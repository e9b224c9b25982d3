//! Payloads as values.

use ringfort_protocol::number::parse_f64;

use super::{Elements, Error, intset, listpack, open, stream, types, wire::Reader, ziplist};
use crate::store::objects::stream::Stream;

/// What a payload holds. Collections have elements, and no element of a set, field of a hash or member of a sorted set
/// twice.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A string.
    Str(Vec<u8>),
    /// A list.
    List(Elements),
    /// A set.
    Set(Elements),
    /// Fields, each followed by its value, and their deadlines in this order, none of which is 0: of each, or of none.
    Hash(Elements, Vec<Option<u64>>),
    /// Members, and the score of each; none is NaN. They come in any order.
    ZSet(Elements, Vec<f64>),
    /// A stream, as the store has it.
    Stream(Box<Stream>),
}

/// Reads a payload in which no string may be longer than `longest` bytes. What stands behind the value is ignored, as
/// Redis does.
pub fn decode(payload: &[u8], longest: usize) -> Result<Decoded, Error> {
    let mut reader = Reader::new(open(payload)?, longest);
    let decoded = match reader.byte()? {
        types::STRING => Decoded::Str(reader.text()?.as_bytes(&mut itoa::Buffer::new()).to_vec()),
        types::LIST => Decoded::List(texts(&mut reader, 1)?),
        types::SET => Decoded::Set(texts(&mut reader, 1)?),
        types::HASH => Decoded::Hash(texts(&mut reader, 2)?, Vec::new()),
        types::HASH_2 => dated(&mut reader)?,
        types::ZSET => scored(&mut reader, Reader::double_text)?,
        types::ZSET_2 => scored(&mut reader, Reader::double)?,
        types::LIST_ZIPLIST => Decoded::List(blob(&mut reader, ziplist::decode)?),
        types::LIST_QUICKLIST => Decoded::List(nodes(&mut reader, ziplist::decode, |_| Ok(types::PACKED))?),
        types::LIST_QUICKLIST_2 => Decoded::List(nodes(&mut reader, listpack::decode, Reader::len)?),
        types::SET_INTSET => Decoded::Set(blob(&mut reader, intset::decode)?),
        types::SET_LISTPACK => Decoded::Set(blob(&mut reader, listpack::decode)?),
        types::HASH_ZIPLIST => Decoded::Hash(blob(&mut reader, ziplist::decode)?, Vec::new()),
        types::HASH_LISTPACK => Decoded::Hash(blob(&mut reader, listpack::decode)?, Vec::new()),
        types::ZSET_ZIPLIST => with_scores(&blob(&mut reader, ziplist::decode)?)?,
        types::ZSET_LISTPACK => with_scores(&blob(&mut reader, listpack::decode)?)?,
        kind @ (types::STREAM | types::STREAM_2 | types::STREAM_3) => {
            Decoded::Stream(Box::new(stream::decode(&mut reader, kind)?))
        }
        _ => return Err(Error::Format),
    };
    decoded.check()?;
    Ok(decoded)
}

/// Reads as many texts as are told, times `each`.
fn texts(reader: &mut Reader<'_>, each: u64) -> Result<Elements, Error> {
    let mut elements = Elements::default();
    for _ in 0..reader.count()?.checked_mul(each).ok_or(Error::Format)? {
        elements.push(reader.text()?.as_bytes(&mut itoa::Buffer::new()));
    }
    Ok(elements)
}

/// Reads fields with their values and deadlines.
fn dated(reader: &mut Reader<'_>) -> Result<Decoded, Error> {
    let (mut pairs, mut deadlines) = (Elements::default(), Vec::new());
    for _ in 0..reader.count()? {
        pairs.push(reader.text()?.as_bytes(&mut itoa::Buffer::new()));
        pairs.push(reader.text()?.as_bytes(&mut itoa::Buffer::new()));
        deadlines.push(reader.deadline()?);
    }
    Ok(Decoded::Hash(pairs, deadlines))
}

/// Reads members with their scores.
fn scored<'a>(
    reader: &mut Reader<'a>,
    score: impl Fn(&mut Reader<'a>) -> Result<f64, Error>,
) -> Result<Decoded, Error> {
    let (mut members, mut scores) = (Elements::default(), Vec::new());
    for _ in 0..reader.count()? {
        members.push(reader.text()?.as_bytes(&mut itoa::Buffer::new()));
        scores.push(score(reader)?);
    }
    Ok(Decoded::ZSet(members, scores))
}

/// Reads the elements of one string by `decode`.
fn blob(
    reader: &mut Reader<'_>,
    decode: impl Fn(&[u8], &mut Elements) -> Result<(), Error>,
) -> Result<Elements, Error> {
    let mut elements = Elements::default();
    decode(reader.text()?.as_bytes(&mut itoa::Buffer::new()), &mut elements)?;
    Ok(elements)
}

/// Reads a row of nodes; `kind` reads what tells of which kind a node is. Nodes may be empty, but not all of them.
fn nodes<'a>(
    reader: &mut Reader<'a>,
    decode: impl Fn(&[u8], &mut Elements) -> Result<(), Error>,
    kind: impl Fn(&mut Reader<'a>) -> Result<u64, Error>,
) -> Result<Elements, Error> {
    let mut elements = Elements::default();
    for _ in 0..reader.count()? {
        let kind = kind(reader)?;
        let (text, mut buffer) = (reader.text()?, itoa::Buffer::new());
        match (kind, text.as_bytes(&mut buffer)) {
            (_, []) => return Err(Error::Format),
            (types::PLAIN, text) => elements.push(text),
            (types::PACKED, bytes) => decode(bytes, &mut elements)?,
            _ => return Err(Error::Format),
        }
    }
    Ok(elements)
}

/// Members that are each followed by the text of a score.
fn with_scores(elements: &Elements) -> Result<Decoded, Error> {
    let (mut members, mut scores) = (Elements::default(), Vec::new());
    if !elements.len().is_multiple_of(2) {
        return Err(Error::Format);
    }
    for (member, score) in elements.pairs() {
        members.push(member);
        scores.push(parse_f64(score).ok_or(Error::Format)?);
    }
    Ok(Decoded::ZSet(members, scores))
}

impl Decoded {
    fn check(&self) -> Result<(), Error> {
        let is_sound = match self {
            Self::Str(_) | Self::Stream(_) => true,
            Self::List(elements) => !elements.is_empty(),
            Self::Set(members) | Self::ZSet(members, _) => {
                !members.is_empty() && are_different(members.iter())
            }
            Self::Hash(pairs, _) => {
                !pairs.is_empty()
                    && pairs.len().is_multiple_of(2)
                    && are_different(pairs.pairs().map(|pair| pair.0))
            }
        };
        if is_sound { Ok(()) } else { Err(Error::Format) }
    }
}

fn are_different<'a>(texts: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut texts: Vec<&[u8]> = texts.collect();
    texts.sort_unstable();
    texts.windows(2).all(|pair| pair[0] != pair[1])
}
