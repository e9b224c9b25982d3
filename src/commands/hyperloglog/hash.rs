//! Which register an element belongs to, and what it tells it.
//!
//! The hash is MurmurHash64A with a fixed seed: it is part of the format, since registers that were filled by another
//! hash could not be merged.

/// Number of registers: 2^14.
pub(super) const REGISTERS: usize = 1 << INDEX_BITS;

/// Bits of the hash that choose the register.
const INDEX_BITS: u32 = 14;

/// Bits of the hash that are left.
pub(super) const REST_BITS: u32 = 64 - INDEX_BITS;

const SEED: u64 = 0xadc8_3b19;

/// The register of an element, and the rank that it brings: one more than the zeros that the rest of its hash ends
/// with, so 1 to 51.
pub(super) fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element);
    let index = hash as usize % REGISTERS;
    let rest = hash >> INDEX_BITS | 1 << REST_BITS;
    (index, rest.trailing_zeros() as u8 + 1)
}

fn murmur64a(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mix = |word: u64| {
        let word = word.wrapping_mul(FACTOR);
        (word ^ word >> SHIFT).wrapping_mul(FACTOR)
    };
    let (words, tail) = bytes.as_chunks::<8>();
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    for word in words {
        hash = (hash ^ mix(u64::from_le_bytes(*word))).wrapping_mul(FACTOR);
    }
    if !tail.is_empty() {
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_any_length_are_where_redis_puts_them() {
        // What PFADD and PFDEBUG DECODE of redis-server show.
        for (element, expected) in PLACES {
            assert_eq!(place(element.as_bytes()), expected, "{element}");
        }
    }

    const PLACES: [(&str, (usize, u8)); 6] = [
        ("", (5938, 2)),
        ("a", (12711, 2)),
        ("abcdefg", (5634, 2)),
        ("abcdefgh", (1383, 1)),
        ("abcdefghi", (6903, 1)),
        ("the quick brown fox", (15795, 1)),
    ];
}
