//! Names of entries.

use std::fmt;

/// Names an entry of a stream: a time in Unix milliseconds, and a number among the entries of that time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The time.
    pub ms: u64,
    /// The number.
    pub seq: u64,
}

impl StreamId {
    /// The least, which no entry has: it also stands for "none".
    pub const MIN: Self = Self { ms: 0, seq: 0 };

    /// The greatest.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The one behind it.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The one before it.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// As Redis' files have it: both numbers with their most significant byte first.
    pub fn to_be_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// The reverse of [`StreamId::to_be_bytes`].
    pub fn from_be_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { ms: (both >> 64) as u64, seq: both as u64 }
    }

    /// Its text, as clients read and write it.
    pub fn text(self) -> IdText {
        let mut text = IdText { bytes: [0; LONGEST], len: 0 };
        let mut number = itoa::Buffer::new();
        text.push(number.format(self.ms).as_bytes());
        text.push(b"-");
        text.push(number.format(self.seq).as_bytes());
        text
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Two numbers of at most 20 digits with a dash between.
const LONGEST: usize = 41;

/// The text of an id: `1700000000000-0`.
#[derive(Clone, Copy, Debug)]
pub struct IdText {
    bytes: [u8; LONGEST],
    len: u8,
}

impl IdText {
    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn push(&mut self, text: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + text.len()].copy_from_slice(text);
        self.len += text.len() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_neighbours_up_to_the_ends() {
        let id = |ms, seq| StreamId { ms, seq };
        assert_eq!(id(1, 2).next(), Some(id(1, 3)));
        assert_eq!(id(1, u64::MAX).next(), Some(id(2, 0)));
        assert_eq!(id(2, 0).previous(), Some(id(1, u64::MAX)));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        assert_eq!(StreamId::MAX.text().as_bytes(), StreamId::MAX.to_string().as_bytes());
        assert_eq!(StreamId::from_be_bytes(id(7, 9).to_be_bytes()), id(7, 9));
    }
}
