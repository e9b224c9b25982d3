//! All registers, six bits each, one behind the other from the least significant bit on.

use super::{hash::REGISTERS, value::HEADER};

const BITS: usize = 6;

/// The greatest value of a register.
const MOST: u8 = (1 << BITS) - 1;

/// Bytes of a dense value, its header included.
pub(super) const SIZE: usize = HEADER + (REGISTERS * BITS).div_ceil(8);

/// The bytes that hold a register (the second one only as far as there is one), and how far it is shifted in them.
fn place(index: usize) -> (usize, u32) {
    let bit = index * BITS;
    (HEADER + bit / 8, (bit % 8) as u32)
}

fn word(value: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([value[at], value.get(at + 1).copied().unwrap_or(0)])
}

/// What a register holds.
pub(super) fn get(value: &[u8], index: usize) -> u8 {
    let (at, shift) = place(index);
    (word(value, at) >> shift) as u8 & MOST
}

/// The two bytes from the returned position on, as they are when a register holds `rank`.
pub(super) fn with(value: &[u8], index: usize, rank: u8) -> (usize, [u8; 2]) {
    let (at, shift) = place(index);
    let cleared = word(value, at) & !(u16::from(MOST) << shift);
    (at, (cleared | u16::from(rank & MOST) << shift).to_le_bytes())
}

/// Sets a register.
pub(super) fn set(value: &mut [u8], index: usize, rank: u8) {
    let (at, bytes) = with(value, index, rank);
    value[at..].iter_mut().zip(bytes).for_each(|(byte, new)| *byte = new);
}

/// The registers in order.
pub(super) fn iter(value: &[u8]) -> impl Iterator<Item = u8> {
    // Four registers lie in three bytes.
    value[HEADER..].as_chunks::<3>().0.iter().flat_map(|&[a, b, c]| {
        let word = u32::from_le_bytes([a, b, c, 0]);
        [0, 6, 12, 18].map(|shift| (word >> shift) as u8 & MOST)
    })
}

/// Raises all registers to what they are in a dense value: sixteen at a time, which the compiler compares at once.
pub(super) fn raise_all(value: &[u8], registers: &mut [u8; REGISTERS]) {
    let (groups, _) = value[HEADER..].as_chunks::<12>();
    for (registers, group) in registers.as_chunks_mut::<16>().0.iter_mut().zip(groups) {
        let mut ranks = [0; 16];
        for (ranks, &[a, b, c]) in ranks.as_chunks_mut::<4>().0.iter_mut().zip(group.as_chunks::<3>().0) {
            let word = u32::from_le_bytes([a, b, c, 0]);
            *ranks = [0, 6, 12, 18].map(|shift| (word >> shift) as u8 & MOST);
        }
        registers.iter_mut().zip(ranks).for_each(|(register, rank)| *register = rank.max(*register));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn registers_do_not_touch_each_other(changes in prop::collection::vec((0..REGISTERS, 0..=MOST), 1..200)) {
            let (mut value, mut model) = (vec![0; SIZE], vec![0; REGISTERS]);
            for (index, rank) in changes {
                set(&mut value, index, rank);
                model[index] = rank;
                prop_assert_eq!(get(&value, index), rank);
            }
            let mut raised = [0; REGISTERS];
            raised[..8].fill(MOST);
            raise_all(&value, &mut raised);
            prop_assert!(raised[..8] == [MOST; 8] && raised[8..] == model[8..]);
            prop_assert!(iter(&value).eq(model));
            prop_assert!(value[..HEADER].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn the_last_register_ends_with_the_value() {
        let mut value = vec![0; SIZE];
        set(&mut value, REGISTERS - 1, MOST);
        assert_eq!((get(&value, REGISTERS - 1), get(&value, REGISTERS - 2)), (MOST, 0));
        assert_eq!(value[SIZE - 1], 0xfc);
    }
}
