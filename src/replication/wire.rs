//! What a primary and a replica say to each other.
//!
//! One connection carries all shards of one primary's node that one other node follows. Every message has the same
//! head: its kind, the shard, an epoch and an offset; some have bytes behind it. All numbers are little endian, and
//! each message begins with its length.

use ringfort_cluster::{Epoch, Incarnation, Member, NodeId, Offset, ShardId, Version};

/// Bytes of a message's head, its length included.
const HEAD: usize = 4 + 1 + 2 + 8 + 8;

/// No message is longer: a record of the largest value, with its head.
pub const MESSAGE_LIMIT: usize = (1 << 30) + 4096;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it says.
    pub kind: Kind,
    /// About which shard.
    pub shard: ShardId,
    /// In which epoch.
    pub epoch: Epoch,
    /// Where in the log.
    pub offset: Offset,
    /// Records, or nothing.
    pub bytes: &'a [u8],
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Both, first of all: which life of which node speaks (in `bytes`).
    Hello = 1,
    /// Primary: what do you have of this shard? In `bytes`, the version of the topology that makes it ask.
    Ask = 2,
    /// Replica: a complete copy, of this epoch, up to this offset.
    Have = 3,
    /// Replica: no complete copy.
    HaveNothing = 4,
    /// Primary: records of this epoch follow from this offset on.
    Follow = 5,
    /// Primary: a copy follows; drop what you have.
    Copy = 6,
    /// Primary: records of the copy.
    CopyRecords = 7,
    /// Primary: the copy is complete, and is what the log says up to this offset.
    CopyEnd = 8,
    /// Primary: records of the log, from this offset on.
    Records = 9,
    /// Replica: I have this shard up to this offset of this epoch.
    Ack = 10,
    /// Replica: I have seen this later epoch, and follow no older one.
    Refuse = 11,
}

impl Kind {
    fn from_code(code: u8) -> Option<Self> {
        const ALL: [Kind; 11] = [
            Kind::Hello,
            Kind::Ask,
            Kind::Have,
            Kind::HaveNothing,
            Kind::Follow,
            Kind::Copy,
            Kind::CopyRecords,
            Kind::CopyEnd,
            Kind::Records,
            Kind::Ack,
            Kind::Refuse,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// Appends a message.
pub fn put(out: &mut Vec<u8>, message: &Message<'_>) {
    let len = (HEAD - 4 + message.bytes.len()) as u32;
    out.extend_from_slice(&len.to_le_bytes());
    out.push(message.kind as u8);
    out.extend_from_slice(&message.shard.0.to_le_bytes());
    out.extend_from_slice(&message.epoch.0.to_le_bytes());
    out.extend_from_slice(&message.offset.0.to_le_bytes());
    out.extend_from_slice(message.bytes);
}

/// Appends a greeting.
pub fn put_hello(out: &mut Vec<u8>, member: Member) {
    let mut bytes = member.node.0.to_vec();
    bytes.extend_from_slice(&member.incarnation.0.to_le_bytes());
    let message =
        Message { kind: Kind::Hello, shard: ShardId(0), epoch: Epoch(0), offset: Offset(0), bytes: &bytes };
    put(out, &message);
}

/// Who greets.
pub fn hello(message: &Message<'_>) -> Option<Member> {
    let (node, rest) = message.bytes.split_first_chunk::<20>()?;
    let incarnation = u64::from_le_bytes(*rest.first_chunk()?);
    (message.kind == Kind::Hello)
        .then_some(Member { node: NodeId(*node), incarnation: Incarnation(incarnation) })
}

/// The version of the topology that a primary asks by.
pub fn version(message: &Message<'_>) -> Option<Version> {
    Some(Version(u64::from_le_bytes(*message.bytes.first_chunk()?)))
}

/// Splits the first message off, and tells how many bytes it took; `None` if it is incomplete.
pub fn split(input: &[u8]) -> Result<Option<(Message<'_>, usize)>, BadMessage> {
    let Some((len, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*len) as usize;
    if !(HEAD - 4..=MESSAGE_LIMIT).contains(&len) {
        return Err(BadMessage);
    }
    let Some(body) = rest.get(..len) else { return Ok(None) };
    let message = parse(body).ok_or(BadMessage)?;
    Ok(Some((message, 4 + len)))
}

fn parse(body: &[u8]) -> Option<Message<'_>> {
    let (kind, rest) = body.split_first()?;
    let (shard, rest) = rest.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (offset, bytes) = rest.split_first_chunk()?;
    Some(Message {
        kind: Kind::from_code(*kind)?,
        shard: ShardId(u16::from_le_bytes(*shard)),
        epoch: Epoch(u64::from_le_bytes(*epoch)),
        offset: Offset(u64::from_le_bytes(*offset)),
        bytes,
    })
}

/// Bytes that are no message of this protocol.
#[derive(Debug, thiserror::Error)]
#[error("what came by a replication link is no message of this version")]
pub struct BadMessage;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_put() {
        let mut out = Vec::new();
        let sent = Message {
            kind: Kind::Records,
            shard: ShardId(3),
            epoch: Epoch(4),
            offset: Offset(1 << 40),
            bytes: b"abc",
        };
        put(&mut out, &sent);
        let member = Member { node: NodeId([7; 20]), incarnation: Incarnation(8) };
        put_hello(&mut out, member);
        let (first, len) = split(&out).unwrap().unwrap();
        assert_eq!(first, sent);
        assert_eq!(hello(&first), None);
        let (second, _) = split(&out[len..]).unwrap().unwrap();
        assert_eq!(hello(&second), Some(member));
        assert!(split(&out[..len - 1]).unwrap().is_none());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(split(&[0xff; 64]).is_err());
        assert!(split(&[3, 0, 0, 0, 1, 1, 1]).is_err());
        let mut out = Vec::new();
        put_hello(&mut out, Member { node: NodeId([7; 20]), incarnation: Incarnation(8) });
        out[4] = 99;
        assert!(split(&out).is_err());
    }
}
