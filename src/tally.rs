//! How often each command was called, how long it took and how it ended: what INFO tells of commands and of errors.
//!
//! Each event loop counts for itself, in a [`Tally`] that it alone writes to, so that counting is a plain addition to
//! memory that is nobody else's. Who asks adds them up. Nothing is ever set back there: a reset remembers how far the
//! counts were.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::lock::lock;

/// Codes of errors that are told apart. There are not so many, unless something is wrong.
const CODES_LIMIT: usize = 128;

/// A number that one thread changes and others may read.
#[derive(Debug, Default)]
struct Own(AtomicU64);

impl Own {
    #[inline]
    fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one event loop has counted of one command.
#[derive(Debug, Default)]
struct Count {
    calls: Own,
    nanos: Own,
    refused: Own,
    failed: Own,
}

/// What one event loop has counted. It is to be changed by the loop's thread only.
#[derive(Clone, Debug)]
pub struct Tally(Arc<[Count]>);

impl Tally {
    /// Counts a call of the command of this number, which kept the loop busy for so many nanoseconds.
    #[inline]
    pub fn call(&self, command: u16, nanos: u64) {
        if let Some(count) = self.0.get(usize::from(command)) {
            count.calls.add(1);
            count.nanos.add(nanos);
        }
    }

    /// A call that was counted has failed.
    pub fn fail(&self, command: u16) {
        self.0.get(usize::from(command)).inspect(|count| count.failed.add(1));
    }

    /// Counts a command that was refused before it was called.
    pub fn refuse(&self, command: u16) {
        self.0.get(usize::from(command)).inspect(|count| count.refused.add(1));
    }

    /// A call that was counted was none: it was refused.
    pub fn take_back(&self, command: u16) {
        self.0.get(usize::from(command)).inspect(|count| count.calls.add(u64::MAX));
        self.refuse(command);
    }
}

/// What all event loops have counted of one command since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How often it was called.
    pub calls: u64,
    /// For how many nanoseconds it kept event loops busy.
    pub nanos: u64,
    /// How often it was refused, which is no call.
    pub refused: u64,
    /// How many of the calls ended with an error.
    pub failed: u64,
}

impl Sum {
    fn add(&mut self, count: &Count) {
        self.calls = self.calls.wrapping_add(count.calls.get());
        self.nanos = self.nanos.wrapping_add(count.nanos.get());
        self.refused = self.refused.wrapping_add(count.refused.get());
        self.failed = self.failed.wrapping_add(count.failed.get());
    }

    fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            nanos: self.nanos.saturating_sub(before.nanos),
            refused: self.refused.saturating_sub(before.refused),
            failed: self.failed.saturating_sub(before.failed),
        }
    }
}

/// What a node has counted.
#[derive(Debug, Default)]
pub struct Tallies {
    loops: Mutex<Vec<Tally>>,
    /// How far the counts were at the last reset.
    before: Mutex<Vec<Sum>>,
    /// How many errors of each code clients were told.
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Tallies {
    /// The tally of one more event loop, for commands of numbers below `commands`.
    pub fn join(&self, commands: usize) -> Tally {
        let tally = Tally((0..commands).map(|_| Count::default()).collect());
        lock(&self.loops).push(tally.clone());
        tally
    }

    /// What was counted of each command since the last reset, by number.
    pub fn sums(&self) -> Vec<Sum> {
        let mut sums = self.all();
        for (sum, before) in sums.iter_mut().zip(lock(&self.before).iter()) {
            *sum = sum.since(*before);
        }
        sums
    }

    /// How many calls there were since the last reset.
    pub fn calls(&self) -> u64 {
        self.sums().iter().map(|sum| sum.calls).sum()
    }

    /// Counts an error reply.
    pub fn note_error(&self, reply: &[u8]) {
        let code = String::from_utf8_lossy(code(reply));
        let mut errors = lock(&self.errors);
        if let Some(count) = errors.get_mut(&*code) {
            *count += 1;
        } else if errors.len() < CODES_LIMIT {
            errors.insert(code.into_owned(), 1);
        }
    }

    /// How many error replies there were of each code since the last reset.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        lock(&self.errors).clone()
    }

    /// Begins again at zero.
    pub fn reset(&self) {
        *lock(&self.before) = self.all();
        lock(&self.errors).clear();
    }

    /// What was counted ever since.
    fn all(&self) -> Vec<Sum> {
        let mut sums = Vec::new();
        for tally in lock(&self.loops).iter() {
            sums.resize(tally.0.len().max(sums.len()), Sum::default());
            sums.iter_mut().zip(&*tally.0).for_each(|(sum, count)| sum.add(count));
        }
        sums
    }
}

/// The code of an error reply, as Redis tells it.
fn code(reply: &[u8]) -> &[u8] {
    const LONGEST: usize = 32;
    let text = reply.get(1..).unwrap_or_default();
    let end = text.iter().take(LONGEST).position(|byte| *byte == b' ');
    end.map_or(b"ERR", |end| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_added_up_and_a_reset_begins_at_zero() {
        let tallies = Tallies::default();
        let [one, two] = [tallies.join(3), tallies.join(3)];
        one.call(1, 500);
        two.call(1, 700);
        two.fail(1);
        two.call(2, 0);
        two.take_back(2);
        one.refuse(2);
        one.call(3, 1);
        let sum = |calls, nanos, refused, failed| Sum { calls, nanos, refused, failed };
        assert_eq!(tallies.sums(), [sum(0, 0, 0, 0), sum(2, 1_200, 0, 1), sum(0, 0, 2, 0)]);
        assert_eq!(tallies.calls(), 2);
        tallies.reset();
        one.call(2, 9);
        assert_eq!(tallies.sums()[1..], [sum(0, 0, 0, 0), sum(1, 9, 0, 0)]);
    }

    #[test]
    fn errors_are_told_apart_by_their_codes_which_are_bounded() {
        let tallies = Tallies::default();
        let long = format!("-{} x", "X".repeat(33));
        for reply in ["-ERR no\r\n", "-ERR never\r\n", "-WRONGTYPE x\r\n", "-ALONE\r\n", &long] {
            tallies.note_error(reply.as_bytes());
        }
        let errors = tallies.errors();
        assert_eq!(errors.into_iter().collect::<Vec<_>>(), [("ERR".into(), 4), ("WRONGTYPE".into(), 1)]);
        (0..2 * CODES_LIMIT).for_each(|n| tallies.note_error(format!("-CODE{n} x").as_bytes()));
        assert_eq!(tallies.errors().len(), CODES_LIMIT);
        tallies.reset();
        assert!(tallies.errors().is_empty());
    }
}
