//! When the fields of a hash end, in order: the soonest is known at once, and what is due is found without a look at
//! what is not.
//!
//! A field keeps its deadline itself; this says where to look, by the deadline and the field's hash. Fields that are
//! alike in both are only numbered: whichever of them goes, the greatest number goes.

use std::{cell::Cell, collections::BTreeSet, ops::Bound};

use super::super::place;

/// Deadline, hash of the field, number.
type Point = (u64, u32, u32);

/// The deadlines of a hash that has some.
#[derive(Clone, Debug)]
pub(super) struct Deadlines {
    points: BTreeSet<Point>,
    soonest: u64,
    /// An instant, and how many have passed by then.
    passed: Cell<(u64, usize)>,
}

impl Deadlines {
    /// What a deadline costs here, in bytes.
    pub(super) const COST: usize = place(size_of::<Point>());

    /// No deadline yet.
    pub(super) fn new() -> Self {
        Self { points: BTreeSet::new(), soonest: u64::MAX, passed: Cell::default() }
    }

    /// The soonest one; `u64::MAX` if there is none.
    pub(super) fn soonest(&self) -> u64 {
        self.soonest
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<u64> {
        Some(self.points.last()?.0)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// How many have passed at `now`. What was counted is kept, so as time goes on each is counted once.
    pub(super) fn due(&self, now: u64) -> usize {
        if self.soonest > now {
            return 0;
        }
        let (before, passed) = self.passed.get();
        let passed = if now < before {
            passed - self.between(now, before)
        } else {
            passed + self.between(before, now)
        };
        self.passed.set((now, passed));
        passed
    }

    /// How many are later than `before`, and not later than `until`, which is not sooner.
    fn between(&self, before: u64, until: u64) -> usize {
        let end = |instant| (instant, u32::MAX, u32::MAX);
        self.points.range((Bound::Excluded(end(before)), Bound::Included(end(until)))).count()
    }

    /// Where a deadline is among those that have passed, their number has become another one.
    fn recount(&self, deadline: u64, new: impl Fn(usize) -> usize) {
        let (until, passed) = self.passed.get();
        if deadline <= until {
            self.passed.set((until, new(passed)));
        }
    }

    /// A field with this hash got this deadline.
    pub(super) fn add(&mut self, deadline: u64, hash: u32) {
        let number = self.greatest(deadline, hash).map_or(0, |number| number + 1);
        self.points.insert((deadline, hash, number));
        self.recount(deadline, |passed| passed + 1);
        self.soonest = self.soonest.min(deadline);
    }

    /// A field with this hash has this deadline no more.
    pub(super) fn remove(&mut self, deadline: u64, hash: u32) {
        if let Some(number) = self.greatest(deadline, hash) {
            self.points.remove(&(deadline, hash, number));
            self.recount(deadline, |passed| passed - 1);
        }
        if deadline == self.soonest {
            self.soonest = self.points.first().map_or(u64::MAX, |point| point.0);
        }
    }

    /// All of them from the soonest on, each with the hash of its field.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Point> {
        self.points.iter()
    }

    fn greatest(&self, deadline: u64, hash: u32) -> Option<u32> {
        let alike = (deadline, hash, 0)..=(deadline, hash, u32::MAX);
        Some(self.points.range(alike).next_back()?.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_passed_is_counted_once() {
        let mut deadlines = Deadlines::new();
        (0..100).for_each(|instant| deadlines.add(instant, instant as u32));
        for (now, due) in [(9, 10), (9, 10), (60, 61), (59, 60), (99, 100), (1_000, 100)] {
            assert_eq!(deadlines.due(now), due);
            assert_eq!(deadlines.passed.get(), (now, due));
        }
        deadlines.due(50);
        deadlines.add(50, 7);
        deadlines.add(51, 7);
        deadlines.remove(3, 3);
        deadlines.remove(80, 80);
        assert_eq!((deadlines.passed.get(), deadlines.due(51)), ((50, 51), 53));
    }
}
