//! The command log: commands that stood out lately, with their arguments, for a person to look at.
//!
//! There are three, by what a command stood out by ([`Kind`]): each is a ring of bounded length, filled by all event
//! loops. What an entry keeps of its command is bounded as in Redis: some arguments, some bytes of each. How long
//! commands take is measured by [`crate::stopwatch`].

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

use ringfort_protocol::Args;

use crate::lock::lock;

/// Arguments of a command that are kept; in place of the last one stands how many there are beyond.
const ARGS_KEPT: usize = 32;

/// Bytes of an argument that are kept.
const BYTES_KEPT: usize = 128;

/// What a command stands out by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It took long: microseconds.
    Slow,
    /// It is large: bytes that the client sent.
    LargeRequest,
    /// Its reply is large: bytes that the client is sent.
    LargeReply,
}

impl Kind {
    /// All of them, by the names that commands and settings call them.
    pub const NAMES: [(&str, Self); 3] =
        [("slow", Self::Slow), ("large-request", Self::LargeRequest), ("large-reply", Self::LargeReply)];
}

/// The command log of a node.
#[derive(Debug, Default)]
pub struct CommandLog([Log; Kind::NAMES.len()]);

impl CommandLog {
    /// Its part for commands that stand out by this.
    pub fn of(&self, kind: Kind) -> &Log {
        &self.0[kind as usize]
    }
}

/// The commands that stood out by one thing.
#[derive(Debug, Default)]
pub struct Log(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    newest_first: VecDeque<Entry>,
}

/// A command that stood out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, never used again.
    pub id: u64,
    /// When it ran, in Unix seconds.
    pub time: u64,
    /// By how much it stood out, in the unit of its [`Kind`].
    pub value: u64,
    /// Its arguments, cut short.
    pub args: Vec<Vec<u8>>,
    /// The address of who asked: of the client, or of the node that sent it on.
    pub peer: String,
    /// What the client calls itself; of a node, its id.
    pub name: String,
}

impl Log {
    /// Notes a command and forgets the oldest beyond `limit`.
    pub fn note(&self, entry: Entry, limit: usize) {
        let mut entries = self.lock();
        let id = entries.next;
        entries.next += 1;
        entries.newest_first.push_front(Entry { id, ..entry });
        entries.newest_first.truncate(limit);
    }

    /// Up to `count` entries, the newest first.
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.lock().newest_first.iter().take(count).cloned().collect()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.lock().newest_first.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all entries.
    pub fn clear(&self) {
        self.lock().newest_first.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        lock(&self.0)
    }
}

/// What is kept of a command's arguments.
pub fn kept(args: Args<'_>) -> Vec<Vec<u8>> {
    let whole = if args.len() > ARGS_KEPT { ARGS_KEPT - 1 } else { args.len() };
    let mut kept: Vec<Vec<u8>> = args.iter().take(whole).map(cut).collect();
    if whole < args.len() {
        kept.push(format!("... ({} more arguments)", args.len() - whole).into());
    }
    kept
}

fn cut(arg: &[u8]) -> Vec<u8> {
    match arg.len().checked_sub(BYTES_KEPT) {
        None | Some(0) => arg.to_vec(),
        Some(more) => [&arg[..BYTES_KEPT], format!("... ({more} more bytes)").as_bytes()].concat(),
    }
}

#[cfg(test)]
mod tests {
    use ringfort_protocol::OwnedArgs;

    use super::*;

    fn entry(value: u64) -> Entry {
        Entry { id: 0, time: 0, value, args: Vec::new(), peer: String::new(), name: String::new() }
    }

    #[test]
    fn the_oldest_are_forgotten_and_numbers_go_on() {
        let log = Log::default();
        (1..=4).for_each(|value| log.note(entry(value), 3));
        let ids = |count| log.newest(count).iter().map(|entry| (entry.id, entry.value)).collect::<Vec<_>>();
        assert_eq!(ids(2), [(3, 4), (2, 3)]);
        assert_eq!(log.len(), 3);
        log.clear();
        log.note(entry(5), 3);
        assert_eq!(ids(9), [(4, 5)]);
        log.note(entry(6), 0);
        assert!(log.is_empty());
    }

    #[test]
    fn arguments_are_cut_as_redis_cuts_them() {
        let long: OwnedArgs = (0..40).map(|n| n.to_string()).collect();
        let cut = kept(long.as_args());
        assert_eq!(
            (cut.len(), cut[30].as_slice(), cut[31].as_slice()),
            (32, &b"30"[..], &b"... (9 more arguments)"[..])
        );
        let wide: OwnedArgs = ["x".repeat(200)].into_iter().collect();
        assert_eq!(kept(wide.as_args())[0], format!("{}... (72 more bytes)", "x".repeat(128)).into_bytes());
        let fits: OwnedArgs = ["x".repeat(128)].into_iter().chain((0..31).map(|n| n.to_string())).collect();
        assert_eq!((kept(fits.as_args()).len(), kept(fits.as_args())[0].len()), (32, 128));
    }
}
