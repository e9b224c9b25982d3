//! Streams: their blocks, each as a first id and a listpack, what the stream knows of entries that it had, and its
//! groups, each with all that is pending and then, consumer by consumer, whose that is.

use std::collections::BTreeMap;

use super::{
    Error, listpack, types,
    wire::{Reader, put_len, put_string},
};
use crate::store::{
    objects::stream::{Block, Group, Stream, StreamId},
    packed::{self, Encoded, Item},
};

/// Entries share names, so that a short payload can stand for a long stream. Names and values of all entries, with the
/// names written out for each, may have so many bytes,
const TEXTS_LIMIT: usize = 256 << 20;

/// or so many times what the blocks have.
const TEXTS_RATIO: usize = 16;

/// Appends a stream, in the form of [`types::STREAM_2`], which has no place for when consumers were given something.
pub(super) fn encode(stream: &Stream, out: &mut Vec<u8>) {
    out.push(types::STREAM_2);
    put_len(out, stream.blocks().len());
    for (first, block) in stream.blocks() {
        put_bytes(out, &first.to_be_bytes());
        put_block(out, block);
    }
    put_number(out, stream.len());
    [stream.last, stream.first(), stream.max_deleted].iter().for_each(|id| put_id(out, *id));
    put_number(out, stream.added.cast_unsigned());
    put_len(out, stream.groups().len());
    stream.groups().for_each(|(name, group)| put_group(out, name, group));
}

fn put_block(out: &mut Vec<u8>, block: &Block) {
    let counts = [block.live(), block.deleted()].map(|count| Encoded::int(count.cast_signed()));
    let mut run = packed::EMPTY.to_vec();
    counts.iter().flat_map(Encoded::parts).for_each(|part| run.extend_from_slice(part));
    run.extend_from_slice(block.elements());
    let elements = packed::iter_in(&run, packed::HEAD..run.len()).count();
    run[..packed::HEAD].copy_from_slice(&packed::head(elements.min(packed::MOST)));
    put_len(out, listpack::encoded_len(&run));
    listpack::encode(&run, out);
}

fn put_group(out: &mut Vec<u8>, name: &[u8], group: &Group) {
    put_string(out, name);
    put_id(out, group.last);
    put_number(out, group.read.unwrap_or(-1).cast_unsigned());
    put_len(out, group.pending_len());
    for (id, pending) in group.pending_in(..) {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&pending.time.to_le_bytes());
        put_number(out, pending.count);
    }
    put_len(out, group.consumers().len());
    for consumer in group.consumers() {
        put_string(out, consumer.name());
        out.extend_from_slice(&consumer.seen.to_le_bytes());
        put_len(out, consumer.pending().len());
        consumer.pending().iter().for_each(|id| out.extend_from_slice(&id.to_be_bytes()));
    }
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_number(out, id.ms);
    put_number(out, id.seq);
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    put_len(out, number as usize);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Reads a stream of this type. What it says of itself must be true, and such that commands could have made it.
pub(super) fn decode(reader: &mut Reader<'_>, kind: u8) -> Result<Stream, Error> {
    let (mut stream, mut bytes, mut texts) = (Stream::default(), 0, 0_usize);
    for _ in 0..reader.len()? {
        let mut buffer = itoa::Buffer::new();
        let first: [u8; 16] = reader.text()?.as_bytes(&mut buffer).try_into().map_err(|_| Error::Format)?;
        let (first, block) = (StreamId::from_be_bytes(first), block(reader.text()?.as_bytes(&mut buffer))?);
        bytes += block.elements().len();
        let live = block.entries(first).filter(|entry| !entry.is_deleted);
        texts = live.fold(texts, |texts, entry| texts.saturating_add(entry.text_len()));
        sound(stream.add_block(first, block))?;
    }
    sound(texts <= TEXTS_LIMIT.max(bytes.saturating_mul(TEXTS_RATIO)) && reader.len()? == stream.len())?;
    stream.last = id(reader)?;
    if kind == types::STREAM {
        stream.added = stream.len().cast_signed();
    } else {
        let _first = id(reader)?;
        stream.max_deleted = id(reader)?;
        stream.added = i64::try_from(reader.len()?).map_err(|_| Error::Format)?;
    }
    // Deleted entries may have higher ids than the last one, after XSETID.
    sound(stream.top() <= Some(stream.last) && stream.len().cast_signed() <= stream.added)?;
    for _ in 0..reader.len()? {
        let mut buffer = itoa::Buffer::new();
        let name = reader.text()?;
        let group = group(reader, kind, &stream)?;
        sound(stream.add_group(name.as_bytes(&mut buffer), group))?;
    }
    Ok(stream)
}

fn block(bytes: &[u8]) -> Result<Block, Error> {
    let body = listpack::body(bytes)?;
    let mut elements = packed::iter_in(body, 0..body.len());
    let mut count = || match elements.next() {
        Some(packed::Element { value: Item::Int(count), range }) => Ok((count, range.end)),
        _ => Err(Error::Format),
    };
    let ((live, _), (deleted, end)) = (count()?, count()?);
    Block::from_elements(&body[end..], live, deleted).ok_or(Error::Format)
}

fn group(reader: &mut Reader<'_>, kind: u8, stream: &Stream) -> Result<Group, Error> {
    let last = id(reader)?;
    let read = match kind {
        types::STREAM => stream.distance(last),
        _ => match reader.len()?.cast_signed() {
            -1 => None,
            read => Some(read).filter(|read| *read >= 0).map(Some).ok_or(Error::Format)?,
        },
    };
    let mut group = Group::new(last, read);
    let mut pending = BTreeMap::new();
    for _ in 0..reader.len()? {
        let (id, time) = (StreamId::from_be_bytes(reader.array()?), time(reader)?.ok_or(Error::Format)?);
        let count = reader.len()?;
        sound(i64::try_from(count).is_ok() && pending.insert(id, (time, count)).is_none())?;
    }
    for _ in 0..reader.len()? {
        let mut buffer = itoa::Buffer::new();
        let (name, seen) = (reader.text()?, time(reader)?.ok_or(Error::Format)?);
        let (key, is_new) = group.find_or_create(name.as_bytes(&mut buffer), seen);
        sound(is_new)?;
        // Older types do not tell; Redis guesses the same.
        let active = if kind == types::STREAM_3 { time(reader)? } else { Some(seen) };
        group.consumer_mut(key).active = active;
        for _ in 0..reader.len()? {
            let id = StreamId::from_be_bytes(reader.array()?);
            let (time, count) = pending.remove(&id).ok_or(Error::Format)?;
            group.assign(id, key, time, count);
        }
    }
    sound(pending.is_empty())?;
    Ok(group)
}

fn id(reader: &mut Reader<'_>) -> Result<StreamId, Error> {
    Ok(StreamId { ms: reader.len()?, seq: reader.len()? })
}

/// A time in Unix milliseconds; a negative one is none.
fn time(reader: &mut Reader<'_>) -> Result<Option<u64>, Error> {
    Ok(u64::try_from(i64::from_le_bytes(reader.array()?)).ok())
}

fn sound(is_sound: bool) -> Result<(), Error> {
    if is_sound { Ok(()) } else { Err(Error::Format) }
}
