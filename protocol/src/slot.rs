//! Slots: which of the 16384 parts of the keyspace a key belongs to, as Redis Cluster defines it.
//!
//! A key that has a hash tag, a non-empty part between its first `{` and the next `}`, belongs where its tag does,
//! so that keys can be kept together. The hash is CRC-16/XMODEM; eight tables let it take eight bytes per step.

/// Number of slots.
pub const SLOTS: u16 = 16384;

/// The slot of `key`, below [`SLOTS`].
#[inline]
pub fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

/// The part of `key` that decides on its slot: its hash tag, or all of it.
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    if !may_have_brace(key) {
        return key;
    }
    let Some(open) = memchr::memchr(b'{', key) else {
        return key;
    };
    let rest = &key[open + 1..];
    match memchr::memchr(b'}', rest) {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// Whether `{` occurs in `key`, or key is long. Most keys are short and have none: then this, inlined and eight bytes
/// at a time, takes a fraction of what a call of `memchr` does.
#[inline]
fn may_have_brace(key: &[u8]) -> bool {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const BRACES: u64 = u64::from_ne_bytes([b'{'; 8]);
    let (eights, rest) = key.as_chunks::<8>();
    if eights.len() > 4 {
        return true;
    }
    // A byte of `zeros` is 0 where the key has a brace; the lowest such byte always borrows into its high bit.
    let found = eights.iter().fold(0, |found, &eight| {
        let zeros = u64::from_ne_bytes(eight) ^ BRACES;
        found | (zeros.wrapping_sub(LOW) & !zeros & HIGH)
    });
    found != 0 || rest.contains(&b'{')
}

/// `TABLES[n][b]`: the effect of byte `b` on the sum after `n` more bytes.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x8000 != 0 { 0x1021 } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0, no reflection.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let (eights, rest) = bytes.as_chunks::<8>();
    for &[a, b, c, d, e, f, g, h] in eights {
        let [high, low] = crc.to_be_bytes();
        crc = TABLES[7][usize::from(a ^ high)]
            ^ TABLES[6][usize::from(b ^ low)]
            ^ TABLES[5][usize::from(c)]
            ^ TABLES[4][usize::from(d)]
            ^ TABLES[3][usize::from(e)]
            ^ TABLES[2][usize::from(f)]
            ^ TABLES[1][usize::from(g)]
            ^ TABLES[0][usize::from(h)];
    }
    for &byte in rest {
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_keys_have_the_slots_that_redis_gives_them() {
        for (key, expected) in [
            (&b"123456789"[..], 12739),
            (b"", 0),
            (b"foo", 12182),
            (b"{user1000}.following", 3443),
            (b"{user1000}.followers", 3443),
            (b"user1000", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
        ] {
            assert_eq!(slot(key), expected, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn tag_lies_between_the_first_opening_brace_and_the_next_closing_one() {
        for (key, tag) in [
            ("a{b}c", "b"),
            ("a}b{c}d", "c"),
            ("{}a", "{}a"),
            ("{a", "{a"),
            ("a{}{b}", "a{}{b}"),
            ("{{a}}", "{a"),
            ("}{", "}{"),
            ("12345678{tag}", "tag"),
            ("1234567{8}", "8"),
            ("a key of more than forty bytes with its tag {at the end}", "at the end"),
            (
                "a key of more than forty bytes with no tag at its end",
                "a key of more than forty bytes with no tag at its end",
            ),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn tables_agree_with_the_definition_bit_by_bit(bytes: Vec<u8>) {
            let mut crc = 0u16;
            for &byte in &bytes {
                crc ^= u16::from(byte) << 8;
                for _ in 0..8 {
                    crc = (crc << 1) ^ if crc & 0x8000 != 0 { 0x1021 } else { 0 };
                }
            }
            prop_assert_eq!(crc16(&bytes), crc);
        }
    }
}
