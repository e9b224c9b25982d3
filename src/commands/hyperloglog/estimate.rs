//! How many elements registers tell of: Otmar Ertl's estimator ("New cardinality estimation algorithms for
//! HyperLogLog sketches", arXiv:1702.01284), which needs no correction for small or large numbers.
//!
//! All is done in the order in which Redis does it, so that the doubles, and what they are rounded to, are the same.

use super::hash::{REGISTERS, REST_BITS};

/// Registers that are counted side by side.
const LANES: usize = 8;

/// How many registers hold each value.
pub(super) struct Histogram([u32; 64]);

impl Histogram {
    /// Of registers one by one.
    pub(super) fn of(registers: impl Iterator<Item = u8>) -> Self {
        let mut counts = [0; 64];
        registers.for_each(|rank| counts[usize::from(rank)] += 1);
        Self(counts)
    }

    /// Of registers that lie in memory, none above 63: fast where many are 0, and where neighbours are alike, which one
    /// counter for both would have to wait for.
    pub(super) fn of_all(registers: &[u8; REGISTERS]) -> Self {
        let mut counts = [[0; 64]; LANES];
        let (groups, _) = registers.as_chunks::<LANES>();
        let mut zeros = 0;
        for group in groups {
            if *group == [0; LANES] {
                zeros += LANES as u32;
                continue;
            }
            for (counts, rank) in counts.iter_mut().zip(group) {
                counts[usize::from(rank & 63)] += 1;
            }
        }
        counts[0][0] += zeros;
        Self(std::array::from_fn(|rank| counts.iter().map(|counts| counts[rank]).sum()))
    }

    /// Of registers that hold 0 until they are said to hold something else.
    pub(super) fn zeros() -> Self {
        let mut counts = [0; 64];
        counts[0] = REGISTERS as u32;
        Self(counts)
    }

    /// A register that was 0 holds this.
    pub(super) fn move_from_zero(&mut self, rank: u8) {
        self.0[0] -= 1;
        self.0[usize::from(rank)] += 1;
    }

    /// The estimated number of elements. Registers that hold what no element brings, which only clients can write,
    /// may tell of numbers beyond all bounds: then it is the least integer, which no cache keeps.
    pub(super) fn cardinality(&self) -> i64 {
        const HALF_BY_LN_2: f64 = 0.721_347_520_444_481_7;
        let all = REGISTERS as f64;
        let count = |rank: u32| f64::from(self.0[rank as usize]);
        let mut sum = all * tau((all - count(REST_BITS + 1)) / all);
        for rank in (1..=REST_BITS).rev() {
            sum = (sum + count(rank)) * 0.5;
        }
        sum += all * sigma(count(0) / all);
        let estimate = (HALF_BY_LN_2 * all * all / sum).round();
        if estimate < i64::MAX as f64 { estimate as i64 } else { i64::MIN }
    }
}

/// `x + Σ x^(2^k) · 2^(k-1)` for k from 1 on.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if before == sum {
            return sum;
        }
    }
}

/// `(1 - x - Σ (1 - x^(2^-k))² · 2^-k) / 3` for k from 1 on.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if before == sum {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::hyperloglog::hash::place;

    fn estimate(elements: u32) -> i64 {
        let mut registers = vec![0; REGISTERS];
        for element in 0..elements {
            let (index, rank) = place(&element.to_le_bytes());
            registers[index] = rank.max(registers[index]);
        }
        Histogram::of(registers.into_iter()).cardinality()
    }

    #[test]
    fn estimates_are_near_the_truth() {
        for elements in [0, 1, 2, 10] {
            assert_eq!(estimate(elements), i64::from(elements));
        }
        for elements in [100, 1_000, 10_000, 100_000, 1_000_000] {
            let error = (estimate(elements) as f64 / f64::from(elements) - 1.0).abs();
            // Three times the standard error.
            assert!(error < 3.0 * 1.04 / (REGISTERS as f64).sqrt(), "{elements}: {error}");
        }
    }

    #[test]
    fn registers_in_memory_are_counted_as_one_by_one() {
        let mut registers = [0; REGISTERS];
        for step in [1, 3, 7, 1_000] {
            registers
                .iter_mut()
                .step_by(step)
                .enumerate()
                .for_each(|(n, rank)| *rank = (n * step % 64) as u8);
            let (all, each) = (Histogram::of_all(&registers), Histogram::of(registers.iter().copied()));
            assert_eq!(all.0, each.0);
        }
        assert_eq!(Histogram::of_all(&[0; REGISTERS]).0, Histogram::zeros().0);
    }

    #[test]
    fn registers_that_no_element_brings_have_an_estimate_too() {
        assert_eq!(Histogram::of(std::iter::repeat_n(63, REGISTERS)).cardinality(), i64::MIN);
        for rank in 0..64 {
            let _ = Histogram::of(std::iter::repeat_n(rank, REGISTERS)).cardinality();
        }
    }
}
