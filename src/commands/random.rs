//! Random choices of one command, from the 64 bits that it is given.

use std::collections::BTreeSet;

/// More elements than this are not drawn with repetition by one command: the reply would be as long as the client
/// cares to ask.
pub(super) const MOST_REPEATS: usize = 1 << 23;

/// A small generator (SplitMix64): even, but not secret.
pub(super) struct Dice(u64);

impl Dice {
    /// Begins with [`Cx::random`](super::Cx::random).
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// A number below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.roll()) * bound as u128) >> 64) as usize
    }

    /// `count` of the indices below `len`, or all of them, in ascending order.
    pub(super) fn choose(&mut self, count: usize, len: usize) -> BTreeSet<usize> {
        // Floyd's: one roll for each index that is chosen, whatever `len` is.
        let mut chosen = BTreeSet::new();
        for last in len.saturating_sub(count)..len {
            let index = self.below(last + 1);
            if !chosen.insert(index) {
                chosen.insert(last);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_has_as_many_indices_as_asked_each_as_likely() {
        let mut dice = Dice::new(7);
        let mut seen = [0; 10];
        for _ in 0..20_000 {
            let chosen = dice.choose(3, 10);
            assert_eq!(chosen.len(), 3);
            chosen.into_iter().for_each(|index| seen[index] += 1);
        }
        assert!(seen.iter().all(|count| (5_700..6_300).contains(count)), "{seen:?}");
        assert!(dice.choose(10, 10).into_iter().eq(0..10));
        assert!(dice.choose(11, 3).into_iter().eq(0..3));
        assert_eq!((dice.choose(0, 3).len(), dice.choose(3, 0).len(), dice.below(0)), (0, 0, 0));
    }
}
