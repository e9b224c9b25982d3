//! Copies of a shard in the making: which part of it each has seen, and what goes to it.
//!
//! A copy walks the shard in the order of (slot, database, hash), a few keys at a time, each step under the shard's
//! lock, and turns every entry into the commands that rebuild it. Writes go on meanwhile: the effect of one on a key
//! that the walk has passed goes to the copy too, behind what was walked; one on a key not yet visited does not, for
//! the walk will find its result. For this to be decidable **every effect names exactly one key** (or none: a
//! flush), which is a rule for all commands. When the walk is over, the copy is what the log's end says, and follows
//! the log from there.

use ringfort_cluster::Member;

/// Bytes waiting for one copy before it is given up and begun anew: its link does not keep up with the writes.
pub const COPY_BACKLOG_LIMIT: usize = 64 << 20;

/// A point in the order in which a shard is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The slot.
    pub slot: u16,
    /// The database.
    pub db: u8,
    /// The hash of the key.
    pub hash: u32,
}

/// A copy that is being made for another node.
#[derive(Debug)]
pub struct Copy {
    /// For whom.
    pub to: Member,
    /// What comes before this was visited; `None` when all was.
    pub at: Option<Position>,
    /// Records that wait to be sent, as in the log.
    pub backlog: Vec<u8>,
    /// It cannot go on, for its backlog outgrew its limit or databases were swapped: it is to begin anew.
    pub overrun: bool,
}

/// The copies of a shard that are being made.
#[derive(Debug, Default)]
pub struct Copies(pub Vec<Copy>);

impl Copies {
    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets all of them begin anew: the walk's order has changed beneath them.
    pub(super) fn begin_anew(&mut self) {
        for copy in &mut self.0 {
            copy.overrun = true;
            copy.backlog = Vec::new();
        }
    }

    /// Passes on the record of an effect on the key at `key`; `None`: on all keys.
    pub(super) fn pass(&mut self, key: Option<Position>, record: &[u8]) {
        for copy in &mut self.0 {
            let seen = match (key, copy.at) {
                (Some(key), Some(at)) => key < at,
                _ => true,
            };
            if seen && !copy.overrun {
                copy.backlog.extend_from_slice(record);
                if copy.backlog.len() > COPY_BACKLOG_LIMIT {
                    copy.overrun = true;
                    copy.backlog = Vec::new();
                }
            }
        }
    }
}
