//! Runs of registers that hold the same: what most registers of a small sketch do.
//!
//! | bits | run |
//! | --- | --- |
//! | `00llllll` | `l + 1` registers that hold 0 |
//! | `01llllll llllllll` | the same |
//! | `1vvvvvll` | `l + 1` registers that hold `v + 1` |
//!
//! The bytes come from clients, too, so nothing is taken for granted: runs may be too many, too few, or cut off. A
//! second byte that is missing counts as 0.

use smallvec::SmallVec;

use super::{
    Corrupt, dense,
    hash::REGISTERS,
    value::{self, HEADER},
};

/// The longest run of zeros in one byte.
const ZEROS: usize = 64;

/// The longest run of registers that are not 0.
const RANKS: usize = 4;

/// The greatest rank that a run can tell.
const MOST_RANK: u8 = 32;

/// Runs that are looked at, to put neighbours together, after one was changed.
const MERGE_SCAN: usize = 5;

/// The runs of a sketch without elements.
pub(super) const EMPTY: [u8; 2] = [0x40 | ((REGISTERS - 1) >> 8) as u8, (REGISTERS - 1) as u8];

/// By how many bytes a value grows at most when a register rises.
pub(super) const GROWTH: usize = 4;

/// What takes the place of one run: at most two of zeros and one between them.
type Parts = SmallVec<[u8; 8]>;

/// A run of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where its bytes begin.
    pub(super) at: usize,
    /// Its first register.
    pub(super) first: usize,
    /// Number of registers.
    pub(super) len: usize,
    /// What they hold.
    pub(super) rank: u8,
    /// Number of its bytes.
    pub(super) size: usize,
}

/// The run that begins at `at`, within the value, with this register.
fn run(value: &[u8], at: usize, first: usize) -> Run {
    let byte = value[at];
    let low = usize::from(byte & 0x3f);
    let (rank, len, size) = match byte >> 6 {
        0 => (0, low + 1, 1),
        1 => (0, (low << 8 | value.get(at + 1).map_or(0, |byte| usize::from(*byte))) + 1, 2),
        _ => ((byte >> 2 & 0x1f) + 1, usize::from(byte & 3) + 1, 1),
    };
    Run { at, first, len, rank, size }
}

/// The runs in order.
pub(super) fn runs(value: &[u8]) -> impl Iterator<Item = Run> {
    let (mut at, mut first) = (HEADER, 0);
    std::iter::from_fn(move || {
        let run = (at < value.len()).then(|| run(value, at, first))?;
        (at, first) = (at + run.size, first + run.len);
        Some(run)
    })
}

/// Passes the registers that do not hold 0 to `visit`. An error, at any time, if there are not as many registers as
/// there must be.
pub(super) fn each(value: &[u8], mut visit: impl FnMut(usize, u8)) -> Result<(), Corrupt> {
    let mut end = 0;
    for run in runs(value) {
        end = run.first + run.len;
        if end > REGISTERS {
            return Err(Corrupt);
        }
        if run.rank > 0 {
            (run.first..end).for_each(|index| visit(index, run.rank));
        }
    }
    if end == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

/// The run that a register is in, and where the run before it begins.
fn find(value: &[u8], index: usize) -> Result<(Run, usize), Corrupt> {
    let mut before = HEADER;
    for run in runs(value) {
        if index < run.first + run.len {
            return Ok((run, before));
        }
        before = run.at;
    }
    Err(Corrupt)
}

/// What a register holds.
pub(super) fn get(value: &[u8], index: usize) -> Result<u8, Corrupt> {
    find(value, index).map(|(run, _)| run.rank)
}

/// Lets a register hold at least `rank`. Returns whether that is new. The value becomes a dense one if it would have
/// more than `most` bytes, or if a run cannot tell the rank.
pub(super) fn raise(value: &mut Vec<u8>, index: usize, rank: u8, most: usize) -> Result<bool, Corrupt> {
    if rank > MOST_RANK {
        return raise_dense(value, index, rank);
    }
    let (run, before) = find(value, index)?;
    if run.rank >= rank {
        return Ok(false);
    }
    let mut parts = Parts::new();
    put(&mut parts, run.rank, index - run.first);
    put(&mut parts, rank, 1);
    put(&mut parts, run.rank, run.first + run.len - 1 - index);
    let end = value.len().min(run.at + run.size);
    let grows = parts.len() > run.size;
    if grows && value.len() + parts.len() - run.size > most {
        return raise_dense(value, index, rank);
    }
    value.splice(run.at..end, parts);
    merge(value, before);
    value::invalidate(value);
    Ok(true)
}

fn raise_dense(value: &mut Vec<u8>, index: usize, rank: u8) -> Result<bool, Corrupt> {
    *value = to_dense(value)?;
    if dense::get(value, index) < rank {
        dense::set(value, index, rank);
    }
    Ok(true)
}

/// Appends a run; nothing if it has no registers.
fn put(out: &mut Parts, rank: u8, len: usize) {
    let Some(len) = len.checked_sub(1) else { return };
    match rank {
        0 if len < ZEROS => out.push(len as u8),
        0 => out.extend([0x40 | (len >> 8) as u8, len as u8]),
        _ => out.push(rank_run(rank, len + 1)),
    }
}

fn rank_run(rank: u8, len: usize) -> u8 {
    0x80 | (rank - 1) << 2 | (len - 1) as u8
}

/// Puts neighbours that hold the same together, among a few runs from the one at `at` on: exactly those that Redis
/// does, as the bytes shall be the same.
fn merge(value: &mut Vec<u8>, mut at: usize) {
    for _ in 0..MERGE_SCAN {
        if at >= value.len() {
            return;
        }
        let this = run(value, at, 0);
        let next = (this.rank > 0 && at + 1 < value.len()).then(|| run(value, at + 1, 0));
        match next {
            Some(next) if next.rank == this.rank && this.len + next.len <= RANKS => {
                value[at + 1] = rank_run(this.rank, this.len + next.len);
                value.remove(at);
            }
            _ => at += this.size,
        }
    }
}

/// The same registers as a dense value, with the same header but for the encoding.
pub(super) fn to_dense(value: &[u8]) -> Result<Vec<u8>, Corrupt> {
    let mut all = vec![0; dense::SIZE];
    all[..HEADER].copy_from_slice(&value[..HEADER]);
    value::set_dense(&mut all);
    each(value, |index, rank| dense::set(&mut all, index, rank))?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn empty() -> Vec<u8> {
        value::empty()
    }

    fn registers(value: &[u8]) -> Vec<u8> {
        let mut all = vec![0; REGISTERS];
        each(value, |index, rank| all[index] = rank).unwrap();
        all
    }

    proptest! {
        #[test]
        fn runs_tell_what_was_raised(
            changes in prop::collection::vec((prop_oneof![0..20usize, 0..REGISTERS], 1..=MOST_RANK), 1..120),
        ) {
            let (mut value, mut model) = (empty(), vec![0; REGISTERS]);
            for (index, rank) in changes {
                prop_assert_eq!(raise(&mut value, index, rank, usize::MAX), Ok(rank > model[index]));
                model[index] = rank.max(model[index]);
                prop_assert_eq!(get(&value, index), Ok(model[index]));
            }
            prop_assert_eq!(registers(&value), model.clone());
            let all = to_dense(&value).unwrap();
            prop_assert!(dense::iter(&all).eq(model));
        }

        #[test]
        fn bytes_from_elsewhere_are_refused_or_worked_with(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            changes in prop::collection::vec((0..REGISTERS, 1..=51u8), 1..10),
        ) {
            let mut value = empty();
            value.truncate(HEADER);
            value.extend(bytes);
            for (index, rank) in changes {
                let was = get(&value, index);
                match raise(&mut value, index, rank, 60) {
                    Ok(rises) if value.len() == dense::SIZE => {
                        prop_assert!(rises);
                        break;
                    }
                    Ok(rises) => prop_assert_eq!(Ok(rises), was.map(|was| was < rank)),
                    Err(Corrupt) => {}
                }
            }
        }
    }

    #[test]
    fn neighbours_are_put_together_up_to_four() {
        let mut value = empty();
        for index in 0..5 {
            raise(&mut value, index, 3, usize::MAX).unwrap();
        }
        assert_eq!(&value[HEADER..], [0x80 | 2 << 2 | 3, 0x80 | 2 << 2, 0x40 | 63, 250]);
        raise(&mut value, 1, 7, usize::MAX).unwrap();
        let runs: Vec<_> = runs(&value).map(|run| (run.rank, run.len)).collect();
        assert_eq!(runs, [(3, 1), (7, 1), (3, 3), (0, REGISTERS - 5)]);
    }

    #[test]
    fn a_value_that_would_be_too_long_and_a_rank_that_is_too_great_make_it_dense() {
        let mut value = empty();
        raise(&mut value, 100, 32, HEADER + 5).unwrap();
        assert_eq!(value.len(), HEADER + 5);
        let mut longer = value.clone();
        assert_eq!(raise(&mut longer, 200, 1, HEADER + 5), Ok(true));
        assert_eq!((longer.len(), dense::get(&longer, 100), dense::get(&longer, 200)), (dense::SIZE, 32, 1));
        assert_eq!(raise(&mut value, 100, 33, usize::MAX), Ok(true));
        assert_eq!((value.len(), dense::get(&value, 100)), (dense::SIZE, 33));
    }

    #[test]
    fn too_few_and_too_many_registers_are_corrupt() {
        let with = |runs: &[u8]| [&empty()[..HEADER], runs].concat();
        for runs in [&[][..], &[0], &[0x7f], &[0x7f, 0xff, 0], &[0x7f, 0xfe, 0x81], &[0x7f, 0xff, 0x7f, 0xff]]
        {
            assert_eq!(each(&with(runs), |_, _| ()), Err(Corrupt), "{runs:?}");
            assert_eq!(to_dense(&with(runs)), Err(Corrupt));
        }
        assert_eq!(get(&with(&[0x7f, 0xfe]), REGISTERS - 1), Err(Corrupt));
        assert_eq!(each(&with(&[0x7f, 0xfe, 0x80]), |_, _| ()), Ok(()));
    }
}
