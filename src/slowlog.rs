//! The slow log: the commands that took longest lately, with their arguments, for a person to look at.
//!
//! A ring of bounded length, filled by all event loops. What an entry keeps of its command is bounded as in Redis: some
//! arguments, some bytes of each.
//!
//! **How time is measured.** Each command ends where the next begins, so the clock is read once a command
//! ([`Stopwatch`]). At the usual threshold of 10 ms the coarse clock is good enough, which costs a few nanoseconds; it
//! is wrong by one tick at most, as is the figure in the log then. Below that, the exact clock is read, which whoever
//! sets such a threshold pays for. Time that a request spends on other nodes or waiting is not counted.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ringfort_protocol::Args;

use crate::env::{Clock, clock::COARSE_TICK};

/// Arguments of a command that are kept; in place of the last one stands how many there are beyond.
const ARGS_KEPT: usize = 32;

/// Bytes of an argument that are kept.
const BYTES_KEPT: usize = 128;

/// The slow log of a node.
#[derive(Debug, Default)]
pub struct SlowLog(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    newest_first: VecDeque<Entry>,
}

/// A slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, never used again.
    pub id: u64,
    /// When it ran, in Unix seconds.
    pub time: u64,
    /// How long it ran, in microseconds.
    pub micros: u64,
    /// Its arguments, cut short.
    pub args: Vec<Vec<u8>>,
    /// Who asked.
    pub peer: SocketAddr,
    /// What the client calls itself.
    pub name: String,
}

impl SlowLog {
    /// Notes a slow command and forgets the oldest beyond `limit`.
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Measures the commands of one turn of an event loop, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stopwatch {
    /// From how many nanoseconds on a command is slow; `None`: nothing is measured.
    threshold: Option<u64>,
    last: u64,
}

impl Stopwatch {
    /// Starts. `slower_than` is `slowlog-log-slower-than`.
    pub fn start(slower_than: i64, clock: &dyn Clock) -> Self {
        let threshold = u64::try_from(slower_than).ok().map(|micros| micros.saturating_mul(1_000));
        let mut this = Self { threshold, last: 0 };
        this.last = this.read(clock);
        this
    }

    /// A command has ended. Returns how many microseconds it took, if it was slow.
    #[inline]
    pub fn lap(&mut self, clock: &dyn Clock) -> Option<u64> {
        let threshold = self.threshold?;
        let now = self.read(clock);
        let took = now.saturating_sub(std::mem::replace(&mut self.last, now));
        (took >= threshold).then_some(took / 1_000)
    }

    fn read(&self, clock: &dyn Clock) -> u64 {
        match self.threshold {
            None => 0,
            Some(threshold) if threshold >= COARSE_TICK => clock.coarse(),
            Some(_) => clock.boot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use ringfort_protocol::OwnedArgs;

    use super::*;

    fn entry(micros: u64) -> Entry {
        let peer = ([127, 0, 0, 1], 1).into();
        Entry { id: 0, time: 0, micros, args: Vec::new(), peer, name: String::new() }
    }

    #[test]
    fn the_oldest_are_forgotten_and_numbers_go_on() {
        let log = SlowLog::default();
        (1..=4).for_each(|micros| log.note(entry(micros), 3));
        let ids = |count| log.newest(count).iter().map(|entry| (entry.id, entry.micros)).collect::<Vec<_>>();
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

    struct Hands(AtomicU64);

    impl Clock for Hands {
        fn boot(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn coarse(&self) -> u64 {
            self.boot() / COARSE_TICK * COARSE_TICK
        }

        fn wall_ms(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_lap_is_told_from_the_threshold_on() {
        let clock = Hands(AtomicU64::new(5_000));
        let mut exact = Stopwatch::start(100, &clock);
        clock.0.store(5_000 + 99_000, Ordering::Relaxed);
        assert_eq!(exact.lap(&clock), None);
        clock.0.store(5_000 + 199_000, Ordering::Relaxed);
        assert_eq!(exact.lap(&clock), Some(100));
        assert_eq!(Stopwatch::start(0, &clock).lap(&clock), Some(0));
        assert_eq!(Stopwatch::start(-1, &clock).lap(&clock), None);
        let mut coarse = Stopwatch::start(10_000, &clock);
        clock.0.store(2 * COARSE_TICK + 1, Ordering::Relaxed);
        assert_eq!(coarse.lap(&clock), Some(20_000));
    }
}
