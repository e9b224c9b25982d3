//! What held an event loop up, and how long commands take: what LATENCY tells, after Redis.
//!
//! *Spikes*: where an [`Event`] takes as long as `latency-monitor-threshold` says, it is remembered, the worst of each
//! second, for the last [`HISTORY`] seconds that had one. *Histograms*: while `latency-tracking` is on, it is counted
//! how often each command took how long. Nothing is locked here on the way of a command that is neither slow nor
//! tracked; event loops hand over what they have tracked in one go.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard},
};

use hdrhistogram::Histogram;

use crate::lock::lock;

/// Seconds with a spike that are remembered of each event.
pub const HISTORY: usize = 160;

/// What histograms tell apart: from 1 ns to 1 s, with two digits that count. What is beyond counts as 1 s.
const LONGEST: u64 = 1_000_000_000;
const DIGITS: u8 = 2;

/// What may take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A command.
    Command,
    /// A command that should need a small and bounded time.
    FastCommand,
    /// Keys were removed whose time was over.
    ExpireCycle,
    /// Keys were given up for want of memory.
    EvictionCycle,
}

impl Event {
    /// All of them, by Redis' names.
    pub const NAMES: [(&str, Self); 4] = [
        ("command", Self::Command),
        ("fast-command", Self::FastCommand),
        ("expire-cycle", Self::ExpireCycle),
        ("eviction-cycle", Self::EvictionCycle),
    ];
}

/// The worst of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The second, in Unix time.
    pub time: u64,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// What is remembered of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spikes {
    /// The last seconds that had one, the oldest first.
    pub samples: VecDeque<Sample>,
    /// The longest that there was, in milliseconds.
    pub worst: u64,
}

/// How long each command took, in nanoseconds, by its full name.
pub type Histograms = BTreeMap<&'static str, Histogram<u64>>;

/// What is known of a node.
#[derive(Debug, Default)]
pub struct Latency {
    spikes: Mutex<[Spikes; Event::NAMES.len()]>,
    histograms: Mutex<Histograms>,
}

impl Latency {
    /// Notes that an event took so many milliseconds. `now` is in Unix seconds.
    pub fn note(&self, event: Event, millis: u64, now: u64) {
        let spikes = &mut lock(&self.spikes)[event as usize];
        spikes.worst = spikes.worst.max(millis);
        match spikes.samples.back_mut() {
            Some(last) if last.time == now => last.millis = last.millis.max(millis),
            _ => {
                if spikes.samples.len() == HISTORY {
                    spikes.samples.pop_front();
                }
                spikes.samples.push_back(Sample { time: now, millis });
            }
        }
    }

    /// What is remembered of an event.
    pub fn spikes(&self, event: Event) -> Spikes {
        lock(&self.spikes)[event as usize].clone()
    }

    /// Forgets an event. Returns whether there was anything to forget.
    pub fn forget(&self, event: Event) -> bool {
        let spikes = std::mem::take(&mut lock(&self.spikes)[event as usize]);
        !spikes.samples.is_empty()
    }

    /// Counts commands, by their full names, with how many nanoseconds each took.
    pub fn count(&self, commands: impl Iterator<Item = (&'static str, u64)>) {
        let mut histograms = lock(&self.histograms);
        for (name, nanos) in commands {
            histograms.entry(name).or_insert_with(empty).saturating_record(nanos.clamp(1, LONGEST));
        }
    }

    /// How long each command took, for as long as the caller looks at it: event loops wait meanwhile.
    pub fn histograms(&self) -> MutexGuard<'_, Histograms> {
        lock(&self.histograms)
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("bounds and digits that can be")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_each_second_is_remembered() {
        let latency = Latency::default();
        for (millis, now) in [(3, 10), (9, 10), (4, 10), (2, 11)] {
            latency.note(Event::Command, millis, now);
        }
        let spikes = latency.spikes(Event::Command);
        let samples: Vec<_> = spikes.samples.iter().map(|sample| (sample.time, sample.millis)).collect();
        assert_eq!((samples.as_slice(), spikes.worst), (&[(10, 9), (11, 2)][..], 9));
        assert_eq!(latency.spikes(Event::FastCommand), Spikes::default());
        assert!(latency.forget(Event::Command) && !latency.forget(Event::Command));
        assert_eq!(latency.spikes(Event::Command), Spikes::default());
    }

    #[test]
    fn the_oldest_seconds_are_forgotten_but_not_the_worst_of_all() {
        let latency = Latency::default();
        (0..=HISTORY as u64).for_each(|now| latency.note(Event::ExpireCycle, 1_000 - now, now));
        let spikes = latency.spikes(Event::ExpireCycle);
        assert_eq!((spikes.samples.len(), spikes.samples[0].time, spikes.worst), (HISTORY, 1, 1_000));
    }

    #[test]
    fn what_takes_longer_than_can_be_told_counts_as_the_longest() {
        let latency = Latency::default();
        latency.count([("get", 0), ("get", 3_000), ("set", 5 * LONGEST)].into_iter());
        let histograms = latency.histograms();
        assert_eq!(histograms.keys().collect::<Vec<_>>(), [&"get", &"set"]);
        assert_eq!((histograms["get"].len(), histograms["get"].max()), (2, 3_007));
        assert!((LONGEST..LONGEST * 2).contains(&histograms["set"].max()));
    }
}
