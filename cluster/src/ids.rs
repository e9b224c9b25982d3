//! The words of the cluster as types: ids, counters and positions that must not be mixed up.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Number of hash slots, as in Redis Cluster.
pub const SLOTS: u16 = 16384;

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 20]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let mut id = [0; 20];
                if text.len() != 40 || !text.is_ascii() {
                    return Err(BadId);
                }
                for (i, byte) in id.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| BadId)?;
                }
                Ok(Self(id))
            }
        }
    };
}

/// A text that is not 40 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 40 hexadecimal digits")]
pub struct BadId;

hex_id! {
    /// The name of a node for life: 160 random bits, kept in its data directory, written as 40 hex digits.
    NodeId
}

hex_id! {
    /// The name of a cluster: 160 random bits, drawn when it was founded.
    ClusterId
}

impl NodeId {
    /// The number that stands for this node in Raft, where ids are 64 bits: the first eight bytes.
    pub fn raft_id(&self) -> u64 {
        u64::from_be_bytes(self.0[..8].try_into().expect("an id has 20 bytes"))
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl $name {
            /// The next one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// How often a node has started, or was declared dead while it lived. Durable; raised before the first beat.
    Incarnation(u64)
}
counter! {
    /// Counts the changes of the topology.
    Version(u64)
}
counter! {
    /// Counts the changes of a shard's primary. The first is 1.
    Epoch(u64)
}
counter! {
    /// A position in a shard's log, in bytes since the shard began.
    Offset(u64)
}

/// A shard's number, `0..shards`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// One life of a node: what leases, in-sync sets and primaries name, so that a restarted node is nobody's primary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.node, self.incarnation)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let id = NodeId(std::array::from_fn(|i| i as u8 * 13));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 40);
        assert_eq!("12".parse::<NodeId>(), Err(BadId));
        assert_eq!("é".repeat(20).parse::<NodeId>(), Err(BadId));
    }
}
