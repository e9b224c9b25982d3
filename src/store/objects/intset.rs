//! Sets of integers as one run of bytes.
//!
//! Layout: the width of an integer (one byte: 2, 4 or 8), then the integers in ascending order, little endian, as in
//! Redis' intset behind its header. The width is that of the widest integer that was ever in the set.

/// A set without members.
pub const EMPTY: [u8; 1] = [2];

/// Bytes in front of the integers.
const HEAD: usize = 1;

/// Number of members.
pub fn len(bytes: &[u8]) -> usize {
    (bytes.len() - HEAD) / width(bytes)
}

/// Bytes of one integer.
pub fn width(bytes: &[u8]) -> usize {
    usize::from(bytes[0])
}

/// The member at `index` in ascending order, which exists.
pub fn get(bytes: &[u8], index: usize) -> i64 {
    let width = width(bytes);
    read(&bytes[HEAD + index * width..HEAD + (index + 1) * width])
}

/// The index of a member; if it is none, the index that it would have.
pub fn find(bytes: &[u8], value: i64) -> Result<usize, usize> {
    let (mut low, mut high) = (0, len(bytes));
    while low < high {
        let middle = low.midpoint(high);
        match get(bytes, middle).cmp(&value) {
            std::cmp::Ordering::Equal => return Ok(middle),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Err(low)
}

/// The members in ascending order.
pub fn iter(bytes: &[u8]) -> impl ExactSizeIterator<Item = i64> + DoubleEndedIterator {
    bytes[HEAD..].chunks_exact(width(bytes)).map(read)
}

/// The bytes of the member at `index`, or where it would stand.
pub fn range(bytes: &[u8], index: usize) -> std::ops::Range<usize> {
    let width = width(bytes);
    HEAD + index * width..HEAD + (index + 1) * width
}

/// Bytes that an integer needs.
pub fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

/// Adds a member. Returns whether it is new.
pub fn insert(bytes: &mut Vec<u8>, value: i64) -> bool {
    let Err(index) = find(bytes, value) else {
        return false;
    };
    if width_of(value) > width(bytes) {
        *bytes = widened(bytes, width_of(value));
    }
    let at = range(bytes, index).start;
    bytes.splice(at..at, value.to_le_bytes().into_iter().take(width(bytes)));
    true
}

/// The same set with wider integers.
fn widened(bytes: &[u8], width: usize) -> Vec<u8> {
    let mut wide = Vec::with_capacity(HEAD + (len(bytes) + 1) * width);
    wide.push(width as u8);
    iter(bytes).for_each(|value| wide.extend_from_slice(&value.to_le_bytes()[..width]));
    wide
}

fn read(bytes: &[u8]) -> i64 {
    let mut raw = [0; 8];
    raw[8 - bytes.len()..].copy_from_slice(bytes);
    i64::from_le_bytes(raw) >> (64 - 8 * bytes.len())
}

/// Whether bytes from elsewhere are such a set, members in order and all.
pub fn is_well_formed(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(2 | 4 | 8))
        && (bytes.len() - HEAD).is_multiple_of(width(bytes))
        && iter(bytes).is_sorted_by(|a, b| a < b)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_an_ordered_set(values in prop::collection::vec((any::<i64>(), 0..64u32), 0..60)) {
            let (mut bytes, mut model) = (EMPTY.to_vec(), BTreeSet::new());
            for value in values.into_iter().map(|(value, bits)| value >> bits) {
                prop_assert_eq!(insert(&mut bytes, value), model.insert(value));
                prop_assert!(find(&bytes, value).is_ok());
            }
            prop_assert!(iter(&bytes).eq(model.iter().copied()));
            prop_assert!(is_well_formed(&bytes));
            let widest = model.iter().copied().map(width_of).max().unwrap_or(2);
            prop_assert_eq!(width(&bytes), widest);
            prop_assert_eq!(len(&bytes), model.len());
            for (index, value) in model.iter().enumerate() {
                prop_assert_eq!(get(&bytes, index), *value);
                prop_assert_eq!(find(&bytes, *value), Ok(index));
                bytes.drain(range(&bytes, 0)).for_each(drop);
                insert(&mut bytes, *model.first().unwrap());
            }
        }
    }

    #[test]
    fn damage_is_noticed() {
        for bad in [&[][..], &[3], &[2, 1], &[2, 1, 0, 1, 0], &[2, 1, 0, 0, 0], &[8, 1, 2, 3, 4]] {
            assert!(!is_well_formed(bad), "{bad:?}");
        }
        assert!(is_well_formed(&EMPTY) && is_well_formed(&[2, 0xff, 0xff, 1, 0]));
    }
}
