//! When the fields of a hash end, in order: the soonest is known at once, and what is due is found without a look at
//! what is not.
//!
//! A field keeps its deadline itself; this says where to look, by the deadline and the field's hash. Fields that are
//! alike in both are only numbered: whichever of them goes, the greatest number goes.

use std::collections::BTreeSet;

use super::super::place;

/// Deadline, hash of the field, number.
type Point = (u64, u32, u32);

/// The deadlines of a hash that has some.
#[derive(Clone, Debug)]
pub(super) struct Deadlines {
    points: BTreeSet<Point>,
    soonest: u64,
}

impl Deadlines {
    /// What a deadline costs here, in bytes.
    pub(super) const COST: usize = place(size_of::<Point>());

    /// No deadline yet.
    pub(super) fn new() -> Self {
        Self { points: BTreeSet::new(), soonest: u64::MAX }
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

    /// How many have passed at `now`. O(that many).
    pub(super) fn due(&self, now: u64) -> usize {
        if self.soonest > now { 0 } else { self.points.range(..=(now, u32::MAX, u32::MAX)).count() }
    }

    /// A field with this hash got this deadline.
    pub(super) fn add(&mut self, deadline: u64, hash: u32) {
        let number = self.greatest(deadline, hash).map_or(0, |number| number + 1);
        self.points.insert((deadline, hash, number));
        self.soonest = self.soonest.min(deadline);
    }

    /// A field with this hash has this deadline no more.
    pub(super) fn remove(&mut self, deadline: u64, hash: u32) {
        if let Some(number) = self.greatest(deadline, hash) {
            self.points.remove(&(deadline, hash, number));
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
