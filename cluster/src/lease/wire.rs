//! The datagrams of leases: how they look, and how it is known that one comes from a node of this cluster.
//!
//! A datagram is a head (format, kind, cluster, sender, receiver), a body of fixed fields, and a MAC of 16 bytes by a
//! key that is made from the cluster's secret. The MAC covers all that stands before it, and nothing is looked at
//! before it is checked, but the format and the cluster, so that a stranger's datagram costs next to nothing. A newer
//! build may append fields to a body: what stands after the known fields is skipped. Integers are little-endian.
//!
//! Replay: beats and asks carry a counter that rises within the sender's incarnation, and the receiver drops what is not
//! newer. Answers and refusals are facts that stay true, so saying them twice does no harm. A consent is soon stale: it
//! carries the time of its probe by the clock of the leader, which judges by that. The datagrams are not encrypted: they
//! hold nothing secret.

use std::time::Duration;

use crate::{
    ids::{ClusterId, Incarnation, Member, NodeId},
    lease::{
        BootTime,
        voters::{MAX_VOTERS, Stamp, Voters},
    },
};

/// The first byte of every datagram of this build.
pub const FORMAT: u8 = 1;

/// No datagram is longer than this, in bytes; it fits the smallest packet that IPv6 allows.
pub const DATAGRAM_LIMIT: usize = 1200;

/// Length of the MAC at the end, in bytes.
const MAC: usize = 16;

/// Length of the head, in bytes.
const HEAD: usize = 1 + 1 + 20 + 28 + 20;

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The life of the node that sent it.
    pub from: Member,
    /// The node that it is for.
    pub to: NodeId,
    /// What it says.
    pub body: Body,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// From every node to council members.
    Beat(Beat),
    /// From a council member to a node whose beat it got.
    Answer(Answer),
    /// From the leader to council members.
    Ask(Ask),
    /// From a council member to the others: it never answers this incarnation again, nor an older one.
    Refusal(Member),
    /// From the leader to council members, before any ask.
    Probe(Probe),
    /// From a council member to the leader that probed.
    Consent(Consent),
}

/// "I live; promise me a lease."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Rises with each beat of the incarnation, whoever it is sent to.
    pub counter: u64,
    /// Not later than it left, by the sender's clock.
    pub sent: BootTime,
    /// How long a promise is wished for.
    pub lease: Duration,
    /// The counter of the newest beat whose answer by the receiver the sender has heard; 0 for none.
    pub heard: u64,
    /// The newest configuration of the council that the sender has heard of.
    pub knows: Stamp,
    /// The sender's wall clock in Unix milliseconds, by which the skew between nodes is measured.
    pub wall_ms: u64,
}

/// What a council member says to a beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The incarnation that had sent the beat.
    pub about: Incarnation,
    /// The beat's own `counter`.
    pub counter: u64,
    /// The beat's own `sent`.
    pub sent: BootTime,
    /// Whether there is a promise.
    pub reply: Reply,
    /// The member's configuration of the council, if it is newer than the one that the beat's sender knew.
    pub voters: Option<Voters>,
    /// The member's wall clock in Unix milliseconds.
    pub wall_ms: u64,
}

/// Whether a member promises to help nobody declare an incarnation dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It does, for so long from the beat's arrival.
    Promise(Duration),
    /// It has refused this incarnation or knows that it is over.
    Refused,
    /// It knows of no such incarnation yet.
    Unknown,
}

/// "Would you refuse this incarnation?" Binds nobody to anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Not later than it left, by the sender's clock.
    pub sent: BootTime,
    /// Which incarnation.
    pub about: Member,
    /// The leader's configuration of the council.
    pub council: Stamp,
}

/// "I would refuse it now": the promise to the incarnation was over when this was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Which incarnation.
    pub about: Member,
    /// The probe's own `sent`.
    pub sent: BootTime,
}

/// "Is your promise to this incarnation over? Then refuse it."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Rises with each ask of the sender's incarnation.
    pub counter: u64,
    /// Which incarnation.
    pub about: Member,
    /// The leader's configuration of the council.
    pub council: Stamp,
}

/// Why bytes are not a datagram for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDatagram {
    /// Longer than any datagram.
    #[error("longer than any datagram between nodes")]
    Long,
    /// Written by a build whose format this one does not know, or not by Ringfort at all.
    #[error("a datagram of another format")]
    Format,
    /// From another cluster.
    #[error("a datagram of another cluster")]
    Cluster,
    /// The MAC does not fit: another secret, or forged, or damaged.
    #[error("a datagram whose MAC does not fit; is the cluster secret the same on all nodes?")]
    Mac,
    /// It ends too soon, or holds a value that cannot be.
    #[error("a datagram that ends too soon or makes no sense")]
    Damaged,
}

/// Makes and reads the datagrams of one cluster.
#[derive(Clone)]
pub struct Wire {
    cluster: ClusterId,
    key: [u8; blake3::KEY_LEN],
}

impl Wire {
    /// For the nodes of `cluster`, which share `secret`.
    pub fn new(cluster: ClusterId, secret: &[u8]) -> Self {
        Self { cluster, key: blake3::derive_key("ringfort lease datagrams, format 1", secret) }
    }

    /// Appends the datagram to `bytes`.
    pub fn encode(&self, datagram: &Datagram, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        let kind = match &datagram.body {
            Body::Beat(_) => 1,
            Body::Answer(_) => 2,
            Body::Ask(_) => 3,
            Body::Refusal(_) => 4,
            Body::Probe(_) => 5,
            Body::Consent(_) => 6,
        };
        bytes.extend([FORMAT, kind]);
        bytes.extend(self.cluster.0);
        put_member(bytes, datagram.from);
        bytes.extend(datagram.to.0);
        match &datagram.body {
            Body::Beat(beat) => {
                put(bytes, beat.counter);
                put(bytes, beat.sent.0);
                put_millis(bytes, beat.lease);
                put(bytes, beat.heard);
                put_stamp(bytes, beat.knows);
                put(bytes, beat.wall_ms);
            }
            Body::Answer(answer) => {
                put(bytes, answer.about.0);
                put(bytes, answer.counter);
                put(bytes, answer.sent.0);
                let (reply, promise) = match answer.reply {
                    Reply::Promise(lease) => (1, lease),
                    Reply::Refused => (2, Duration::ZERO),
                    Reply::Unknown => (3, Duration::ZERO),
                };
                bytes.push(reply);
                put_millis(bytes, promise);
                put(bytes, answer.wall_ms);
                put_voters(bytes, answer.voters.as_ref());
            }
            Body::Ask(ask) => {
                put(bytes, ask.counter);
                put_member(bytes, ask.about);
                put_stamp(bytes, ask.council);
            }
            Body::Refusal(about) => put_member(bytes, *about),
            Body::Probe(probe) => {
                put(bytes, probe.sent.0);
                put_member(bytes, probe.about);
                put_stamp(bytes, probe.council);
            }
            Body::Consent(consent) => {
                put_member(bytes, consent.about);
                put(bytes, consent.sent.0);
            }
        }
        let mac = self.mac(&bytes[start..]);
        bytes.extend(mac);
    }

    /// Reads a datagram. Never panics, whatever the bytes.
    pub fn decode(&self, bytes: &[u8]) -> Result<Datagram, BadDatagram> {
        if bytes.len() > DATAGRAM_LIMIT {
            return Err(BadDatagram::Long);
        }
        if bytes.first() != Some(&FORMAT) {
            return Err(BadDatagram::Format);
        }
        if bytes.len() < HEAD + MAC {
            return Err(BadDatagram::Damaged);
        }
        let (covered, mac) = bytes.split_at(bytes.len() - MAC);
        if covered[2..22] != self.cluster.0 {
            return Err(BadDatagram::Cluster);
        }
        // blake3's hash type compares in constant time, a slice would not.
        let mut given = [0; blake3::OUT_LEN];
        let mut made = [0; blake3::OUT_LEN];
        given[..MAC].copy_from_slice(mac);
        made[..MAC].copy_from_slice(&self.mac(covered));
        if blake3::Hash::from_bytes(given) != blake3::Hash::from_bytes(made) {
            return Err(BadDatagram::Mac);
        }
        let kind = covered[1];
        read(kind, &mut Fields(&covered[22..])).ok_or(BadDatagram::Damaged)
    }

    fn mac(&self, covered: &[u8]) -> [u8; MAC] {
        let hash = blake3::keyed_hash(&self.key, covered);
        std::array::from_fn(|i| hash.as_bytes()[i])
    }
}

fn put(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend(number.to_le_bytes());
}

fn put_member(bytes: &mut Vec<u8>, member: Member) {
    bytes.extend(member.node.0);
    put(bytes, member.incarnation.0);
}

fn put_stamp(bytes: &mut Vec<u8>, stamp: Stamp) {
    put(bytes, stamp.term);
    put(bytes, stamp.index);
}

/// Whole milliseconds in 32 bits; what is longer is written as the longest.
fn put_millis(bytes: &mut Vec<u8>, duration: Duration) {
    let millis = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    bytes.extend(millis.to_le_bytes());
}

fn put_voters(bytes: &mut Vec<u8>, voters: Option<&Voters>) {
    let Some(voters) = voters else {
        bytes.push(0);
        return;
    };
    bytes.push(1);
    put_stamp(bytes, voters.stamp);
    for half in [&voters.old, &voters.new] {
        let half = &half[..half.len().min(MAX_VOTERS)];
        bytes.push(half.len() as u8);
        half.iter().for_each(|node| bytes.extend(node.0));
    }
}

fn read(kind: u8, fields: &mut Fields<'_>) -> Option<Datagram> {
    let from = fields.member()?;
    let to = fields.node()?;
    let body = match kind {
        1 => Body::Beat(Beat {
            counter: fields.number()?,
            sent: BootTime(fields.number()?),
            lease: fields.millis()?,
            heard: fields.number()?,
            knows: fields.stamp()?,
            wall_ms: fields.number()?,
        }),
        2 => Body::Answer(Answer {
            about: Incarnation(fields.number()?),
            counter: fields.number()?,
            sent: BootTime(fields.number()?),
            reply: fields.reply()?,
            wall_ms: fields.number()?,
            voters: fields.voters()?,
        }),
        3 => Body::Ask(Ask { counter: fields.number()?, about: fields.member()?, council: fields.stamp()? }),
        4 => Body::Refusal(fields.member()?),
        5 => Body::Probe(Probe {
            sent: BootTime(fields.number()?),
            about: fields.member()?,
            council: fields.stamp()?,
        }),
        6 => Body::Consent(Consent { about: fields.member()?, sent: BootTime(fields.number()?) }),
        _ => return None,
    };
    Some(Datagram { from, to, body })
}

/// What is still to be read of a body.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn millis(&mut self) -> Option<Duration> {
        let millis = self.bytes().map(u32::from_le_bytes)?;
        Some(Duration::from_millis(millis.into()))
    }

    fn node(&mut self) -> Option<NodeId> {
        self.bytes().map(NodeId)
    }

    fn member(&mut self) -> Option<Member> {
        Some(Member { node: self.node()?, incarnation: Incarnation(self.number()?) })
    }

    fn stamp(&mut self) -> Option<Stamp> {
        Some(Stamp { term: self.number()?, index: self.number()? })
    }

    fn reply(&mut self) -> Option<Reply> {
        let reply = self.byte()?;
        let promise = self.millis()?;
        match reply {
            1 => Some(Reply::Promise(promise)),
            2 => Some(Reply::Refused),
            3 => Some(Reply::Unknown),
            _ => None,
        }
    }

    /// The outer option is "damaged", the inner "none is told".
    fn voters(&mut self) -> Option<Option<Voters>> {
        match self.byte()? {
            0 => Some(None),
            1 => Some(Some(Voters { stamp: self.stamp()?, old: self.half()?, new: self.half()? })),
            _ => None,
        }
    }

    fn half(&mut self) -> Option<Vec<NodeId>> {
        let count = usize::from(self.byte()?);
        (count <= MAX_VOTERS).then_some(())?;
        (0..count).map(|_| self.node()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire() -> Wire {
        Wire::new(ClusterId([7; 20]), b"secret")
    }

    fn member() -> impl Strategy<Value = Member> {
        (any::<[u8; 20]>(), any::<u64>()).prop_map(|(node, incarnation)| Member {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
        })
    }

    fn stamp() -> impl Strategy<Value = Stamp> {
        any::<(u64, u64)>().prop_map(|(term, index)| Stamp { term, index })
    }

    fn millis() -> impl Strategy<Value = Duration> {
        any::<u32>().prop_map(|millis| Duration::from_millis(millis.into()))
    }

    fn voters() -> impl Strategy<Value = Voters> {
        let half = || prop::collection::vec(any::<[u8; 20]>().prop_map(NodeId), 0..=MAX_VOTERS);
        (stamp(), half(), half()).prop_map(|(stamp, old, new)| Voters { stamp, old, new })
    }

    fn body() -> impl Strategy<Value = Body> {
        let reply =
            prop_oneof![millis().prop_map(Reply::Promise), Just(Reply::Refused), Just(Reply::Unknown),];
        prop_oneof![
            (any::<[u64; 4]>(), millis(), stamp()).prop_map(|(numbers, lease, knows)| {
                Body::Beat(Beat {
                    counter: numbers[0],
                    sent: BootTime(numbers[1]),
                    lease,
                    heard: numbers[3],
                    knows,
                    wall_ms: numbers[2],
                })
            }),
            (any::<[u64; 4]>(), reply, prop::option::of(voters())).prop_map(|(numbers, reply, voters)| {
                Body::Answer(Answer {
                    about: Incarnation(numbers[0]),
                    counter: numbers[3],
                    sent: BootTime(numbers[1]),
                    reply,
                    voters,
                    wall_ms: numbers[2],
                })
            }),
            (any::<u64>(), member(), stamp()).prop_map(|(counter, about, council)| Body::Ask(Ask {
                counter,
                about,
                council
            })),
            member().prop_map(Body::Refusal),
            (any::<u64>(), member(), stamp()).prop_map(|(sent, about, council)| {
                Body::Probe(Probe { sent: BootTime(sent), about, council })
            }),
            (member(), any::<u64>())
                .prop_map(|(about, sent)| Body::Consent(Consent { about, sent: BootTime(sent) })),
        ]
    }

    fn datagram() -> impl Strategy<Value = Datagram> {
        (member(), any::<[u8; 20]>(), body()).prop_map(|(from, to, body)| Datagram {
            from,
            to: NodeId(to),
            body,
        })
    }

    fn encoded(datagram: &Datagram) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire().encode(datagram, &mut bytes);
        bytes
    }

    /// Replaces the MAC by one that fits, so that what is behind it is tested too.
    fn sealed(mut covered: Vec<u8>) -> Vec<u8> {
        let mac = wire().mac(&covered);
        covered.extend(mac);
        covered
    }

    proptest! {
        #[test]
        fn datagrams_survive_their_bytes(datagram in datagram()) {
            let bytes = encoded(&datagram);
            prop_assert!(bytes.len() <= DATAGRAM_LIMIT);
            prop_assert_eq!(wire().decode(&bytes), Ok(datagram));
        }

        #[test]
        fn one_changed_bit_is_noticed(datagram in datagram(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut bytes = encoded(&datagram);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(wire().decode(&bytes).is_err());
        }

        #[test]
        fn garbage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..DATAGRAM_LIMIT + 10)) {
            prop_assert!(wire().decode(&bytes).is_err());
        }

        #[test]
        fn garbage_with_a_fitting_mac_does_not_panic(kind in 0..8u8, body in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut covered = vec![FORMAT, kind];
            covered.extend([7; 20]);
            covered.extend(body);
            let _ = wire().decode(&sealed(covered));
        }

        #[test]
        fn a_datagram_that_was_cut_short_is_an_error(datagram in datagram(), keep in any::<prop::sample::Index>()) {
            let mut covered = encoded(&datagram);
            covered.truncate(covered.len() - MAC);
            covered.truncate(keep.index(covered.len()));
            prop_assert!(wire().decode(&sealed(covered)).is_err());
        }

        #[test]
        fn fields_that_a_newer_build_appends_are_skipped(datagram in datagram(), more in any::<[u8; 9]>()) {
            let mut covered = encoded(&datagram);
            covered.truncate(covered.len() - MAC);
            covered.extend(more);
            prop_assert_eq!(wire().decode(&sealed(covered)), Ok(datagram));
        }
    }

    #[test]
    fn other_clusters_and_other_secrets_are_told_apart() {
        let refusal = Datagram {
            from: Member { node: NodeId([1; 20]), incarnation: Incarnation(1) },
            to: NodeId([2; 20]),
            body: Body::Refusal(Member { node: NodeId([3; 20]), incarnation: Incarnation(1) }),
        };
        let bytes = encoded(&refusal);
        let decode = |wire: Wire| wire.decode(&bytes);
        assert_eq!(decode(Wire::new(ClusterId([8; 20]), b"secret")), Err(BadDatagram::Cluster));
        assert_eq!(decode(Wire::new(ClusterId([7; 20]), b"Secret")), Err(BadDatagram::Mac));
        assert_eq!(wire().decode(b"*1\r\n$4\r\nPING\r\n"), Err(BadDatagram::Format));
    }
}
