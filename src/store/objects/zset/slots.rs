//! The members of a large sorted set with their scores, by number.
//!
//! Numbers are dense: when a member goes, the last one takes its number. So nothing is left behind by members that
//! went, and a random number is a random member. Members lie in chunks, so that growth never moves them all; one of
//! up to [`INLINE`] bytes needs no memory of its own.

use crate::store::entry::allocated;

/// Longest member that lies in its slot, in bytes: what fills it up to where the box of a longer one ends.
const INLINE: usize = 22;

/// Slots of a chunk.
const CHUNK: usize = 256;

/// A member.
#[derive(Clone, Debug)]
pub(super) enum Member {
    /// A short one, and its length.
    Inline(u8, [u8; INLINE]),
    /// A longer one.
    Boxed(Box<[u8]>),
}

/// A member and its score.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) score: f64,
    pub(super) member: Member,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    chunks: Vec<Vec<Slot>>,
    /// Bytes of boxed members.
    boxed: usize,
}

impl Member {
    fn new(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        match inline.get_mut(..bytes.len()) {
            None => Self::Boxed(bytes.into()),
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Inline(bytes.len() as u8, inline)
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Self::Boxed(bytes) => bytes,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline(..) => 0,
            Self::Boxed(bytes) => allocated(bytes.len()),
        }
    }
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        full + self.chunks.last().map_or(0, Vec::len)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let slots: usize = match &self.chunks[..] {
            [one] => one.capacity(),
            chunks => chunks.len() * CHUNK,
        };
        slots * size_of::<Slot>() + self.chunks.capacity() * size_of::<Vec<Slot>>() + self.boxed
    }

    pub(super) fn get(&self, id: u32) -> &Slot {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    pub(super) fn set_score(&mut self, id: u32, score: f64) {
        self.chunks[id as usize / CHUNK][id as usize % CHUNK].score = score;
    }

    /// Adds a member and returns its number.
    pub(super) fn push(&mut self, member: &[u8], score: f64) -> u32 {
        let id = self.len() as u32;
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first chunk grows with the set.
            let capacity = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let member = Member::new(member);
        self.boxed += member.heap_bytes();
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(Slot { score, member });
        }
        id
    }

    /// Takes a member out. The one whose number was the highest now has this number.
    pub(super) fn swap_remove(&mut self, id: u32) -> Option<Slot> {
        let chunk = self.chunks.last_mut()?;
        let last = chunk.pop()?;
        if chunk.is_empty() {
            self.chunks.pop();
        }
        let gone = match id as usize == self.len() {
            true => last,
            false => std::mem::replace(&mut self.chunks[id as usize / CHUNK][id as usize % CHUNK], last),
        };
        self.boxed -= gone.member.heap_bytes();
        Some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_takes_32_bytes() {
        assert_eq!(size_of::<Slot>(), 32);
    }

    #[test]
    fn numbers_stay_dense() {
        let (mut slots, mut list) = (Slots::default(), Vec::new());
        for number in 0..2_000u32 {
            let member = vec![b'x'; number as usize % 40];
            assert_eq!(slots.push(&member, f64::from(number)), number);
            list.push((member, f64::from(number)));
        }
        let mut at = 7;
        while !list.is_empty() {
            at = (at * 31 + 11) % list.len();
            let (member, score) = list.swap_remove(at);
            let gone = slots.swap_remove(at as u32).unwrap();
            assert_eq!((gone.member.bytes(), gone.score), (&member[..], score));
            assert_eq!(slots.len(), list.len());
            if let Some((member, score)) = list.get(at) {
                let moved = slots.get(at as u32);
                assert_eq!((moved.member.bytes(), moved.score), (&member[..], *score));
            }
        }
        assert_eq!((slots.boxed, slots.chunks.len()), (0, 0));
        assert!(slots.swap_remove(0).is_none());
    }
}
