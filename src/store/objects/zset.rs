//! A large sorted set: members by score and by name.
//!
//! A member is stored once, in [`slots`], and has a number there. Two indexes hold numbers: a [`tree`] in the order
//! of score and member, which finds by rank, and a table in the order of hashes, which finds by name and lets ZSCAN
//! go on from any hash. Everything but a whole iteration takes logarithmic time. Some 60 bytes a member, of up to 22
//! bytes.

mod slots;
mod tree;
mod view;

use std::{cmp::Ordering, ops::Range};

pub use self::view::{ZSetRef, packed_score};
use self::{slots::Slots, tree::Tree};
use crate::store::{
    key::hash,
    ordered::{Item, Ordered, Pos},
};

/// A large sorted set.
#[derive(Clone, Debug)]
pub struct ZSet {
    slots: Slots,
    names: Ordered<Name>,
    tree: Tree,
    /// Of the hash by which names are ordered.
    seed: u64,
}

/// A member's place in the table of names.
#[derive(Clone, Debug)]
struct Name {
    hash: u32,
    id: u32,
}

impl Item for Name {
    type Note = ();

    fn hash(&self) -> u32 {
        self.hash
    }
}

/// What a name costs in its table, in bytes: its place, and the share of places that stand empty.
const NAME: usize = size_of::<Name>() * 4 / 3;

/// The order of a sorted set. No score is NaN.
pub fn compare(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    let scores = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
    scores.then_with(|| a.1.cmp(b.1))
}

impl ZSet {
    /// An empty one, whose scans go by the hash with this seed.
    pub fn new(seed: u64) -> Self {
        Self { slots: Slots::default(), names: Ordered::default(), tree: Tree::default(), seed }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it owns. Constant time.
    pub fn heap_bytes(&self) -> usize {
        self.slots.heap_bytes() + self.tree.heap_bytes() + self.names.len() * NAME
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let pos = self.find(member, hash(member, self.seed))?;
        Some(self.slots.get(self.names.get(pos).id).score)
    }

    /// The rank of a member, from 0, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.place(score, member), score))
    }

    /// How many members from the first on are `before`: true of those up to a point, and false from there on.
    pub fn count_while(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.tree.rank(|score, id| before(score, self.slots.get(id).member.bytes()))
    }

    /// How many members have a lower score than a bound: true of scores up to a point. Looks at no member.
    pub fn count_scores_while(&self, before: impl Fn(f64) -> bool) -> usize {
        self.tree.rank(|score, _| before(score))
    }

    /// The members with these ranks, as far as there are such, with their scores; from either end.
    pub fn range(
        &self,
        ranks: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], f64)> + ExactSizeIterator {
        self.tree.entries(ranks).map(|(score, id)| (self.slots.get(id).member.bytes(), score))
    }

    /// Visits members in the order of their hashes, from the hash `from` on, until at least `count` were visited and
    /// all that share the last hash. Returns the hash to go on from, or `None` at the end.
    pub fn scan<'a>(&'a self, from: u32, count: usize, mut visit: impl FnMut(&'a [u8], f64)) -> Option<u32> {
        self.names.scan(from, count, |name| {
            let slot = self.slots.get(name.id);
            visit(slot.member.bytes(), slot.score);
        })
    }

    /// Gives a member this score, and adds it if it is not there. Returns the score that it had.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        // The small form has no -0. If this one had, a score would depend on which form it was first written to, and
        // a copy that is rebuilt from nothing would differ.
        let score = score + 0.0;
        let hash = hash(member, self.seed);
        let Some(pos) = self.find(member, hash) else {
            let rank = self.place(score, member);
            let id = self.slots.push(member, score);
            self.names.insert(Name { hash, id });
            self.tree.insert(rank, score, id);
            return None;
        };
        let id = self.names.get(pos).id;
        let old = self.slots.get(id).score;
        self.tree.remove(self.place(old, member));
        self.tree.insert(self.place(score, member), score, id);
        self.slots.set_score(id, score);
        Some(old)
    }

    /// Takes a member out. Returns the score that it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (rank, score) = self.rank(member)?;
        self.remove_at(rank);
        Some(score)
    }

    /// Takes out the members with these ranks, as far as there are such. Returns how many there were.
    pub fn remove_range(&mut self, ranks: Range<usize>) -> usize {
        let end = ranks.end.min(self.len());
        let count = end.saturating_sub(ranks.start);
        (0..count).for_each(|_| self.remove_at(ranks.start));
        count
    }

    fn remove_at(&mut self, rank: usize) {
        let (_, id) = self.tree.remove(rank);
        let gone = self.slots.get(id).member.bytes();
        let pos = self.find(gone, hash(gone, self.seed));
        self.names.remove(pos.expect("every member has a name"));
        // The last member takes over the number of the one that goes.
        let last = (self.slots.len() - 1) as u32;
        if id != last {
            let moved = self.slots.get(last);
            let member = moved.member.bytes();
            let (rank, pos) = (self.place(moved.score, member), self.find(member, hash(member, self.seed)));
            self.tree.rename(rank, id);
            self.names.get_mut(pos.expect("every member has a name")).id = id;
        }
        self.slots.swap_remove(id);
    }

    fn find(&self, member: &[u8], hash: u32) -> Option<Pos> {
        self.names.find(hash, |name| self.slots.get(name.id).member.bytes() == member)
    }

    /// How many members come before one of this name and score.
    fn place(&self, score: f64, member: &[u8]) -> usize {
        let place = (score, member);
        self.count_while(|score, member| compare((score, member), place).is_lt())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        xxhash_rust::xxh3::xxh3_64(&state.to_le_bytes())
    }

    /// Members of many lengths, some of which share their beginning.
    fn member(number: u64) -> Vec<u8> {
        let text = format!("{:0>width$}", number, width = number as usize % 30);
        text.into_bytes()
    }

    #[derive(Default)]
    struct Model {
        scores: BTreeMap<Vec<u8>, i64>,
        order: BTreeSet<(i64, Vec<u8>)>,
    }

    impl Model {
        fn insert(&mut self, member: &[u8], score: i64) -> Option<f64> {
            let old = self.remove(member);
            self.scores.insert(member.to_vec(), score);
            self.order.insert((score, member.to_vec()));
            old
        }

        fn remove(&mut self, member: &[u8]) -> Option<f64> {
            let old = self.scores.remove(member)?;
            assert!(self.order.remove(&(old, member.to_vec())));
            Some(old as f64)
        }

        fn assert_equals(&self, zset: &ZSet) {
            assert_eq!(zset.len(), self.order.len());
            let expected = || self.order.iter().map(|(score, member)| (&member[..], *score as f64));
            assert!(zset.range(0..usize::MAX).eq(expected()));
            assert!(zset.range(0..usize::MAX).rev().eq(expected().rev()));
            for (rank, (score, member)) in self.order.iter().enumerate() {
                assert_eq!(zset.rank(member), Some((rank, *score as f64)));
            }
        }
    }

    #[test]
    fn it_holds_what_an_ordered_set_holds_after_any_sequence() {
        let (mut zset, mut model, mut seed) = (ZSet::new(3), Model::default(), 1);
        for step in 0..40_000u32 {
            let name = member(random(&mut seed) % 3_000);
            let grows = (step / 8_000) % 2 == 0;
            match random(&mut seed) % 10 {
                0 => {
                    let start = random(&mut seed) as usize % (zset.len() + 2);
                    let end = start + random(&mut seed) as usize % 6;
                    let gone: Vec<_> = model.order.iter().skip(start).take(end - start).cloned().collect();
                    assert_eq!(zset.remove_range(start..end), gone.len());
                    gone.iter().for_each(|(_, member)| assert!(model.remove(member).is_some()));
                }
                n if n < if grows { 9 } else { 4 } => {
                    // Few scores, so that members order most of them.
                    let score = random(&mut seed) as i64 % 20;
                    assert_eq!(zset.insert(&name, score as f64), model.insert(&name, score));
                }
                _ => assert_eq!(zset.remove(&name), model.remove(&name)),
            }
            let score = model.scores.get(&name).map(|score| *score as f64);
            assert_eq!(zset.score(&name), score);
            if step % 2_000 == 0 {
                model.assert_equals(&zset);
            }
        }
        model.assert_equals(&zset);
        let all = zset.len();
        assert_eq!(zset.remove_range(0..usize::MAX), all);
        assert_eq!(zset.heap_bytes() - zset.tree.heap_bytes(), zset.slots.heap_bytes());
    }

    #[test]
    fn members_are_counted_up_to_a_bound() {
        let mut zset = ZSet::new(0);
        for number in 0..1_000 {
            zset.insert(format!("{number:04}").as_bytes(), f64::from(number / 10));
        }
        assert_eq!(zset.count_scores_while(|score| score < 50.0), 500);
        assert_eq!(zset.count_scores_while(|score| score <= 50.0), 510);
        assert_eq!(zset.count_scores_while(|score| score < f64::INFINITY), 1_000);
        assert_eq!(zset.count_while(|_, member| member < &b"0123"[..]), 123);
    }

    #[test]
    fn a_scan_visits_each_member_once() {
        let mut zset = ZSet::new(5);
        for number in 0..1_000 {
            zset.insert(&member(number), number as f64);
        }
        let (mut seen, mut cursor) = (BTreeMap::new(), Some(0));
        while let Some(from) = cursor {
            cursor =
                zset.scan(from, 10, |member, score| *seen.entry(member.to_vec()).or_insert(0.0) += score);
        }
        let expected = (0..1_000).map(|number| (member(number), number as f64)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn zeros_have_no_sign() {
        let mut zset = ZSet::new(0);
        zset.insert(b"b", -0.0);
        zset.insert(b"a", 0.0);
        assert_eq!(zset.rank(b"a"), Some((0, 0.0)));
        assert_eq!(zset.score(b"b").map(f64::is_sign_positive), Some(true));
    }
}
