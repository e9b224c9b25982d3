//! What nodes send each other to run requests: frames on a link between two event loops.
//!
//! A request is the command as the client sent it, with what the owner must know of the client; a reply is the reply
//! as the client will read it, with the positions in the logs of what was written, for `WAIT`. All numbers are little
//! endian; every frame begins with the length of what follows it.

use ringfort_cluster::{Epoch, Offset, ShardId, Version};
use ringfort_protocol::Resp;
use smallvec::SmallVec;

use crate::commands::reply::FLAT_LIMIT;

/// No frame is longer than this: the longest command, or the longest reply, with its head.
pub const FRAME_LIMIT: usize = CONTENT_LIMIT + 8192;

/// No command and no reply in a frame is longer than this.
pub const CONTENT_LIMIT: usize = FLAT_LIMIT;

/// Bytes of a request's head.
const REQUEST_HEAD: usize = 4 + 4 + 8 + 1 + 1 + 1;

/// Bits of a request's last byte before the command.
const SILENT: u8 = 1;
const WAITS: u8 = 2;
const WAITED: u8 = 4;
const LAST_LOOK: u8 = 8;

/// Stands for the number of positions in a reply frame that says [`Answer::NotPrimary`].
const NOT_PRIMARY: u16 = u16::MAX;

/// Stands for the id in a reply that answers none: the node is about to stop, has given its lease up, and runs nothing
/// of what it has not answered.
const FAREWELL: u32 = u32::MAX;

/// Stands for the id in a frame that says [`Answer::Waits`]; the request's own follows.
const WAITING: u32 = u32::MAX - 1;

/// The id of what is sent without wanting a reply: one that comes nevertheless is passed over, too.
pub(super) const NO_REPLY: u32 = u32::MAX - 2;

/// Positions in logs that a request has written up to.
pub type Written = SmallVec<[(ShardId, Epoch, Offset); 1]>;

/// A request as the owner reads it.
#[derive(Debug, PartialEq)]
pub struct PeerRequest<'a> {
    /// Chosen by the sender, for the reply.
    pub id: u32,
    /// The version of the topology by which the sender found the owner.
    pub version: Version,
    /// The client's database.
    pub db: u8,
    /// The version of RESP that the client speaks.
    pub resp: Resp,
    /// Reads leave no mark on keys.
    pub silent: bool,
    /// It may wait for data, if it is a command that does; and has come so many nanoseconds ago.
    pub waits: Option<u64>,
    /// It has begun to wait for data before.
    pub waited: bool,
    /// It is to be looked at soon or not at all; then there is nothing.
    pub last_look: bool,
    /// The command in RESP.
    pub command: &'a [u8],
}

/// A reply as the sender of the request reads it.
#[derive(Debug, PartialEq)]
pub struct PeerReply<'a> {
    /// The request's.
    pub id: u32,
    /// What came of it.
    pub answer: Answer<'a>,
}

/// What came of a request.
#[derive(Debug, PartialEq)]
pub enum Answer<'a> {
    /// It was run.
    Reply {
        /// How far it wrote.
        written: Written,
        /// The reply in RESP.
        bytes: &'a [u8],
    },
    /// Nothing was run: the node that was asked is not the primary, by this version of the topology.
    NotPrimary(Version),
    /// It waits at the owner, and its reply follows. Only of a request that may wait for data is that said.
    Waits {
        /// For data, or for its shard; then nothing was run yet.
        for_data: bool,
        /// The command that it is from now on; empty: as it was sent.
        command: &'a [u8],
    },
}

/// Appends a request.
pub fn put_request(out: &mut Vec<u8>, request: &PeerRequest<'_>) {
    let age = request.waits.map_or(0, |age| size_of_val(&age));
    let len = REQUEST_HEAD - 4 + age + request.command.len();
    out.reserve(4 + len);
    out.extend_from_slice(&(len as u32).to_le_bytes());
    out.extend_from_slice(&request.id.to_le_bytes());
    out.extend_from_slice(&request.version.0.to_le_bytes());
    let resp = if request.resp == Resp::V3 { 3 } else { 2 };
    let waits = u8::from(request.waits.is_some()) * WAITS + u8::from(request.waited) * WAITED;
    let bits = u8::from(request.silent) * SILENT + waits + u8::from(request.last_look) * LAST_LOOK;
    out.extend_from_slice(&[request.db, resp, bits]);
    request.waits.inspect(|age| out.extend_from_slice(&age.to_le_bytes()));
    out.extend_from_slice(request.command);
}

/// Reads the body of a request frame; `None` if it is not one.
pub fn request(body: &[u8]) -> Option<PeerRequest<'_>> {
    let (id, rest) = body.split_first_chunk()?;
    let (version, rest) = rest.split_first_chunk()?;
    let ([db, resp, bits], mut command) = rest.split_first_chunk()?;
    let mut waits = None;
    if bits & WAITS != 0 {
        let (age, rest) = command.split_first_chunk()?;
        (waits, command) = (Some(u64::from_le_bytes(*age)), rest);
    }
    Some(PeerRequest {
        id: u32::from_le_bytes(*id),
        version: Version(u64::from_le_bytes(*version)),
        db: *db,
        resp: if *resp == 3 { Resp::V3 } else { Resp::V2 },
        silent: bits & SILENT != 0,
        waits,
        waited: bits & WAITED != 0,
        last_look: bits & LAST_LOOK != 0,
        command,
    })
}

/// What a reply that does not fit into a frame is replaced by.
const TOO_LONG: &[u8] =
    b"-ERR the reply is too long to be sent from node to node; ask the node that owns the key\r\n";

/// Appends a reply frame.
pub fn put_reply(out: &mut Vec<u8>, reply: &PeerReply<'_>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let id = if matches!(reply.answer, Answer::Waits { .. }) { WAITING } else { reply.id };
    out.extend_from_slice(&id.to_le_bytes());
    match &reply.answer {
        Answer::Waits { for_data, command } => {
            out.extend_from_slice(&u16::from(*for_data).to_le_bytes());
            out.extend_from_slice(&reply.id.to_le_bytes());
            out.extend_from_slice(command);
        }
        Answer::NotPrimary(version) => {
            out.extend_from_slice(&NOT_PRIMARY.to_le_bytes());
            out.extend_from_slice(&version.0.to_le_bytes());
        }
        Answer::Reply { written, bytes } => {
            // There are at most 16384 shards, and no request writes to one of them many times.
            out.extend_from_slice(&(written.len() as u16).to_le_bytes());
            for (shard, epoch, offset) in written {
                out.extend_from_slice(&shard.0.to_le_bytes());
                out.extend_from_slice(&epoch.0.to_le_bytes());
                out.extend_from_slice(&offset.0.to_le_bytes());
            }
            out.extend_from_slice(if bytes.len() > CONTENT_LIMIT { TOO_LONG } else { bytes });
        }
    }
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

/// Appends the last frame of a node that is about to stop.
pub fn put_farewell(out: &mut Vec<u8>, version: Version) {
    put_reply(out, &PeerReply { id: FAREWELL, answer: Answer::NotPrimary(version) });
}

impl PeerReply<'_> {
    /// Whether this is the last frame of a node that is about to stop: what it has not answered was surely not run.
    pub fn is_farewell(&self) -> bool {
        self.id == FAREWELL
    }
}

/// Reads the body of a reply frame; `None` if it is not one.
pub fn reply(body: &[u8]) -> Option<PeerReply<'_>> {
    let (id, rest) = body.split_first_chunk()?;
    let id = u32::from_le_bytes(*id);
    let (count, mut rest) = rest.split_first_chunk()?;
    let count = u16::from_le_bytes(*count);
    if count == NOT_PRIMARY {
        let version = Version(u64::from_le_bytes(*rest.first_chunk()?));
        return Some(PeerReply { id, answer: Answer::NotPrimary(version) });
    }
    if id == WAITING {
        let (id, command) = rest.split_first_chunk()?;
        let answer = Answer::Waits { for_data: count > 0, command };
        return Some(PeerReply { id: u32::from_le_bytes(*id), answer });
    }
    let mut written = Written::new();
    for _ in 0..count {
        let (shard, next) = rest.split_first_chunk()?;
        let (epoch, next) = next.split_first_chunk()?;
        let (offset, next) = next.split_first_chunk()?;
        rest = next;
        let (epoch, offset) = (u64::from_le_bytes(*epoch), u64::from_le_bytes(*offset));
        written.push((ShardId(u16::from_le_bytes(*shard)), Epoch(epoch), Offset(offset)));
    }
    Some(PeerReply { id, answer: Answer::Reply { written, bytes: rest } })
}

/// Splits the first frame off: its body and how many bytes it took. `None`: incomplete. An error: too long to be true.
pub fn split(input: &[u8]) -> Result<Option<(&[u8], usize)>, FrameTooLong> {
    let Some((head, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*head) as usize;
    if len > FRAME_LIMIT {
        return Err(FrameTooLong(len));
    }
    Ok(rest.get(..len).map(|body| (body, 4 + len)))
}

/// Passes the bodies of the frames that are complete to `take`, up to one that makes no sense to it, and removes them
/// from `input`. Returns whether all made sense.
pub fn take_all(input: &mut Vec<u8>, mut take: impl FnMut(&[u8]) -> Option<()>) -> bool {
    let mut used = 0;
    let sound = loop {
        match split(&input[used..]) {
            Ok(None) => break true,
            Ok(Some((body, len))) if take(body).is_some() => used += len,
            Ok(Some(_)) | Err(_) => break false,
        }
    };
    input.drain(..used);
    sound
}

/// A frame whose length is above [`FRAME_LIMIT`].
#[derive(Debug, thiserror::Error)]
#[error("a frame of {0} bytes from a peer, and none may be longer than {FRAME_LIMIT}")]
pub struct FrameTooLong(usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were_put() {
        let sent = PeerRequest {
            id: 7,
            version: Version(9),
            db: 3,
            resp: Resp::V3,
            silent: true,
            waits: None,
            waited: false,
            last_look: true,
            command: b"*1\r\n$4\r\nPING\r\n",
        };
        let mut out = Vec::new();
        put_request(&mut out, &sent);
        let (body, len) = split(&out).unwrap().unwrap();
        assert_eq!((request(body), len), (Some(sent), out.len()));
        let sent =
            PeerRequest { silent: false, waits: Some(1 << 40), waited: true, ..request(body).unwrap() };
        let mut out = Vec::new();
        put_request(&mut out, &sent);
        assert_eq!(request(&out[4..]), Some(sent));
        for answer in [
            Answer::NotPrimary(Version(5)),
            Answer::Waits { for_data: false, command: b"" },
            Answer::Waits { for_data: true, command: b"*1\r\n$4\r\nPING\r\n" },
            Answer::Reply { written: Written::new(), bytes: b"+PONG\r\n" },
            Answer::Reply { written: [(ShardId(1), Epoch(2), Offset(3))].into_iter().collect(), bytes: b"" },
            Answer::Reply {
                written: (0..300).map(|i| (ShardId(i), Epoch(2), Offset(3))).collect(),
                bytes: b"+",
            },
        ] {
            let sent = PeerReply { id: 1, answer };
            let mut out = Vec::new();
            put_reply(&mut out, &sent);
            let (body, _) = split(&out).unwrap().unwrap();
            assert_eq!(reply(body), Some(sent));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert!(split(&[1, 0]).unwrap().is_none());
        assert!(split(&[5, 0, 0, 0, 1]).unwrap().is_none());
        assert!(split(&[0xff; 8]).is_err());
        assert_eq!(request(&[1, 2, 3]), None);
        assert_eq!(reply(&[1, 0, 0, 0, 2, 0, 9]), None);
    }
}
