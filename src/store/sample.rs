//! Keys of a shard by chance, for eviction to choose from.
//!
//! Every key is as likely as any other, whatever its slot and database. Keys with a deadline may be few among many
//! others: then they are looked for where the notes of pages say that there are some, and the look has an end.

use super::{
    entry::Entry,
    ordered::Ordered,
    shard::{DATABASES, Shard},
};

/// A shard with no more keys than this is looked at as a whole.
const FEW: u32 = 16;

/// Where fewer than one key in so many has a deadline, they are looked for by the notes of pages.
const SPARSE: u32 = 4;

/// Pages, and entries of pages that may have a deadline, that one look for rare keys goes through.
const LOOK: usize = 1_024;

impl Shard {
    /// Shows about `count` keys to `show`, with their database and slot: any, or only such with a deadline.
    pub(super) fn sample_keys(
        &self,
        volatile: bool,
        count: usize,
        random: &mut impl FnMut() -> u64,
        mut show: impl FnMut(u8, u16, &Entry),
    ) {
        let keys = self.core.keys;
        let dated: u32 = self.core.deadlines.iter().sum();
        if keys == 0 || (volatile && dated == 0) {
            return;
        }
        if keys <= FEW {
            for (db, slot, table) in self.tables() {
                let entries = table.iter().filter(|entry| !volatile || entry.deadline().is_some());
                entries.for_each(|entry| show(db, slot, entry));
            }
        } else if !volatile {
            (0..count).for_each(|_| self.show_one(random, &mut show));
        } else if u64::from(dated) * u64::from(SPARSE) >= u64::from(keys) {
            let mut left = count;
            for _ in 0..count * SPARSE as usize {
                self.show_one(random, &mut |db, slot, entry: &Entry| {
                    if left > 0 && entry.deadline().is_some() {
                        left -= 1;
                        show(db, slot, entry);
                    }
                });
            }
        } else {
            self.look_for_dated(count, random, show);
        }
    }

    /// Shows one key.
    fn show_one(&self, random: &mut impl FnMut() -> u64, show: &mut impl FnMut(u8, u16, &Entry)) {
        let mut point = below(random(), self.core.keys as usize);
        for (db, slot, table) in self.tables() {
            if point < table.len() {
                if let Some(pos) = table.sample(random) {
                    show(db, slot, table.get(pos));
                }
                return;
            }
            point -= table.len();
        }
    }

    /// Shows keys with a deadline, from a place by chance on.
    fn look_for_dated(
        &self,
        count: usize,
        random: &mut impl FnMut() -> u64,
        mut show: impl FnMut(u8, u16, &Entry),
    ) {
        let tables = || self.tables().filter(|(db, ..)| self.core.deadlines[usize::from(*db)] > 0);
        let (mut left, mut budget) = (count, LOOK);
        let start = below(random(), tables().count());
        // The first table is gone through from somewhere in its middle on; what is before that comes last.
        let middle = random() as u32;
        let round = tables().skip(start).chain(tables().take(start + 1));
        for (number, (db, slot, table)) in round.enumerate() {
            let from = if number == 0 { middle } else { 0 };
            let may_have = |note: super::entry::Soonest| note.0 != u64::MAX;
            table.visit_wanted(from, &mut budget, may_have, |entry| {
                if entry.deadline().is_some() {
                    show(db, slot, entry);
                    left -= 1;
                }
                left > 0
            });
            if left == 0 || budget == 0 {
                return;
            }
        }
    }

    /// The tables of all databases that are not empty, with database and slot.
    fn tables(&self) -> impl Iterator<Item = (u8, u16, &Ordered<Entry>)> {
        let of = |db: u8| {
            let tables = self.databases[usize::from(db)].iter().flatten();
            self.slots().zip(tables).map(move |(slot, table)| (db, slot, table))
        };
        (0..DATABASES).flat_map(of).filter(|(_, _, table)| !table.is_empty())
    }
}

/// A number below `end` out of 64 random bits.
fn below(random: u64, end: usize) -> usize {
    (((random >> 32) * end as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use crate::{commands::bench::Bench, env::random::Dice};

    /// How often each key is shown in so many samples.
    fn counts(bench: &Bench, volatile: bool, samples: usize) -> HashMap<String, usize> {
        let (mut dice, mut counts) = (Dice::new(3), HashMap::new());
        let shard = bench.shard();
        for _ in 0..samples {
            shard.sample_keys(volatile, 5, &mut || dice.roll(), |_, _, entry| {
                *counts.entry(String::from_utf8_lossy(entry.key()).into_owned()).or_default() += 1;
            });
        }
        counts
    }

    #[test]
    fn keys_of_full_and_of_nearly_empty_slots_are_as_likely() {
        let mut bench = Bench::new();
        for i in 0..100 {
            bench.run(&format!("set {{crowd}}{i} v"));
            bench.run(&format!("set alone{i} v"));
        }
        let counts = counts(&bench, false, 4_000);
        // Binomial with mean 100: seven standard deviations on either side.
        assert!(counts.len() == 200 && counts.values().all(|n| (30..=170).contains(n)), "{counts:?}");
    }

    #[test]
    fn only_keys_with_a_deadline_are_shown_where_asked_however_rare() {
        for (keys, dated) in [(10, 3), (400, 200), (2_000, 3)] {
            let mut bench = Bench::new();
            for i in 0..keys {
                let option = if i < dated { "ex 100" } else { "" };
                bench.run(format!("set {{t}}{i} v {option}").trim_end());
            }
            let counts = counts(&bench, true, 2_000);
            let all_dated = counts.keys().all(|key| key[3..].parse::<usize>().unwrap() < dated);
            assert!(all_dated && counts.len() == dated, "{keys} {dated}: {counts:?}");
        }
    }

    #[test]
    fn nothing_is_shown_where_no_key_has_a_deadline() {
        let mut bench = Bench::new();
        (0..100).for_each(|i| drop(bench.run(&format!("set {i} v"))));
        assert!(counts(&bench, true, 10).is_empty());
    }
}
