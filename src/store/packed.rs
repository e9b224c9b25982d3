//! Small collections as one run of bytes.
//!
//! Layout: the number of elements (two bytes, little endian), then the elements one behind the other, each encoded
//! exactly as in Redis' listpack: a head that tells type and length, the bytes of a string, and the length of the two
//! once more in a form that is read backwards. So DUMP and RESTORE pass elements through unchanged, and a run is
//! walked from both ends. A text that is an integer in its one canonical form is kept as an integer and comes back
//! as the same text; therefore equal elements have equal encodings.
//!
//! Reading works on borrowed bytes. A small value in its entry is changed by
//! [`Edit::splice`](super::Edit::splice) with the parts of an [`Encoded`] element and a new [`head`]; a run in a
//! `Vec` by [`push`], [`insert`] and [`cut`]. The bytes are trusted: whoever takes them from outside checks them by
//! [`is_well_formed`] first.

use std::ops::Range;

use ringfort_protocol::number::parse_i64;

/// Bytes in front of the elements: their number.
pub const HEAD: usize = 2;

/// A run without elements.
pub const EMPTY: [u8; HEAD] = [0; HEAD];

/// More elements than this do not fit one run.
pub const MOST: usize = u16::MAX as usize;

/// An element's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Any text that is the canonical form of an integer.
    Int(i64),
    /// Any other text.
    Bytes(&'a [u8]),
}

impl<'a> Item<'a> {
    /// The value as it would be encoded.
    #[inline]
    pub fn of(text: &'a [u8]) -> Self {
        parse_i64(text).map_or(Self::Bytes(text), Self::Int)
    }

    /// The text; an integer is written into `buffer`.
    #[inline]
    pub fn as_bytes<'b>(&'b self, buffer: &'b mut itoa::Buffer) -> &'b [u8] {
        match self {
            Self::Int(value) => buffer.format(*value).as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Appends the text.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes(&mut itoa::Buffer::new()));
    }

    /// The text.
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// Length of the text.
    pub fn text_len(&self) -> usize {
        self.as_bytes(&mut itoa::Buffer::new()).len()
    }
}

impl PartialEq<[u8]> for Item<'_> {
    fn eq(&self, text: &[u8]) -> bool {
        *self == Item::of(text)
    }
}

/// An element and where it lies in the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its value.
    pub value: Item<'a>,
    /// Its bytes.
    pub range: Range<usize>,
}

/// Number of elements.
#[inline]
pub fn count(bytes: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// The first bytes of a run of `count` elements, at most [`MOST`].
#[inline]
pub fn head(count: usize) -> [u8; HEAD] {
    debug_assert!(count <= MOST);
    (count as u16).to_le_bytes()
}

/// The elements, from either end.
#[inline]
pub fn iter(bytes: &[u8]) -> Iter<'_> {
    iter_in(bytes, HEAD..bytes.len())
}

/// The elements of a part of the run, which begins and ends where elements do.
#[inline]
pub fn iter_in(bytes: &[u8], part: Range<usize>) -> Iter<'_> {
    Iter { bytes, front: part.start, back: part.end }
}

/// The texts' values, from either end.
pub fn items(bytes: &[u8]) -> impl DoubleEndedIterator<Item = Item<'_>> {
    iter(bytes).map(|element| element.value)
}

/// Values two by two: field and value, member and score.
pub fn pairs(bytes: &[u8]) -> impl Iterator<Item = (Item<'_>, Item<'_>)> {
    let mut items = items(bytes);
    std::iter::from_fn(move || Some((items.next()?, items.next()?)))
}

/// The element at `index`, looked for from the nearer end.
pub fn get(bytes: &[u8], index: usize) -> Option<Element<'_>> {
    let count = count(bytes);
    let behind = count.checked_sub(index + 1)?;
    if index <= behind { iter(bytes).nth(index) } else { iter(bytes).nth_back(behind) }
}

/// The bytes of the `count` elements from `index` on, or of as many as there are.
pub fn range_of(bytes: &[u8], index: usize, count: usize) -> Range<usize> {
    let start = get(bytes, index).map_or(bytes.len(), |element| element.range.start);
    let last = count.checked_sub(1).and_then(|more| index.checked_add(more));
    let end = match last {
        None => start,
        Some(last) => get(bytes, last).map_or(bytes.len(), |element| element.range.end),
    };
    start..end
}

/// The first element that is `text`, looking at every `step`th from the first on: 1 for all, 2 for fields.
#[inline]
pub fn find<'a>(bytes: &'a [u8], text: &[u8], step: usize) -> Option<Element<'a>> {
    let wanted = Item::of(text);
    iter(bytes).step_by(step).find(|element| element.value == wanted)
}

/// The element behind `element`.
#[inline]
pub fn after<'a>(bytes: &'a [u8], element: &Element<'_>) -> Option<Element<'a>> {
    iter_in(bytes, element.range.end..bytes.len()).next()
}

/// Appends the encoding of `text` to bytes that already have a head or will get one.
pub fn encode(out: &mut Vec<u8>, text: &[u8]) {
    for part in Encoded::new(text).parts() {
        out.extend_from_slice(part);
    }
}

/// Adds an element at the end of a run.
pub fn push(bytes: &mut Vec<u8>, text: &[u8]) {
    let head = head(count(bytes) + 1);
    bytes[..HEAD].copy_from_slice(&head);
    encode(bytes, text);
}

/// Puts an element where another one begins, or at the end.
pub fn insert(bytes: &mut Vec<u8>, at: usize, text: &[u8]) {
    insert_encoded(bytes, at, &Encoded::new(text));
}

/// The same with an element that is encoded already.
pub fn insert_encoded(bytes: &mut Vec<u8>, at: usize, element: &Encoded<'_>) {
    let head = head(count(bytes) + 1);
    bytes[..HEAD].copy_from_slice(&head);
    open(bytes, at..at, element.len());
    element.copy_to(&mut bytes[at..]);
}

/// Puts `text` in the place of the element whose bytes are `range`.
pub fn replace(bytes: &mut Vec<u8>, range: Range<usize>, text: &[u8]) {
    let encoded = Encoded::new(text);
    let at = range.start;
    open(bytes, range, encoded.len());
    encoded.copy_to(&mut bytes[at..]);
}

/// Takes out the bytes of `removed` elements.
pub fn cut(bytes: &mut Vec<u8>, range: Range<usize>, removed: usize) {
    let head = head(count(bytes) - removed);
    bytes[..HEAD].copy_from_slice(&head);
    bytes.drain(range);
}

/// Makes room for `len` bytes in the place of `range`.
fn open(bytes: &mut Vec<u8>, range: Range<usize>, len: usize) {
    let (old, end) = (bytes.len(), range.start + len);
    if range.len() < len {
        bytes.resize(old + len - range.len(), 0);
    }
    bytes.copy_within(range.end..old, end);
    bytes.truncate(end + old - range.end);
}

/// Bytes that an element takes.
pub fn encoded_len(text: &[u8]) -> usize {
    Encoded::new(text).len()
}

/// An encoded element, in three parts so that its text is not copied before it is in its place.
pub struct Encoded<'a> {
    head: [u8; 9],
    head_len: u8,
    text: &'a [u8],
    back: [u8; 5],
    back_len: u8,
}

impl<'a> Encoded<'a> {
    /// Encodes `text`.
    #[inline]
    pub fn new(text: &'a [u8]) -> Self {
        let mut head = [0; 9];
        let (head_len, text) = match Item::of(text) {
            Item::Int(value) => (int_head(&mut head, value), &text[..0]),
            Item::Bytes(text) => (text_head(&mut head, text.len()), text),
        };
        let (back, back_len) = back(head_len + text.len());
        Self { head, head_len: head_len as u8, text, back, back_len }
    }

    /// Encodes an integer.
    pub fn int(value: i64) -> Self {
        let mut head = [0; 9];
        let head_len = int_head(&mut head, value);
        let (back, back_len) = back(head_len);
        Self { head, head_len: head_len as u8, text: &[], back, back_len }
    }

    /// The bytes, in order.
    #[inline]
    pub fn parts(&self) -> [&[u8]; 3] {
        [&self.head[..usize::from(self.head_len)], self.text, &self.back[..usize::from(self.back_len)]]
    }

    /// Number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "an encoding is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.head_len) + self.text.len() + usize::from(self.back_len)
    }

    fn copy_to(&self, out: &mut [u8]) {
        let mut at = 0;
        for part in self.parts() {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
    }
}

fn int_head(head: &mut [u8; 9], value: i64) -> usize {
    let raw = value.to_le_bytes();
    let (tag, width) = match value {
        0..=127 => {
            head[0] = raw[0];
            return 1;
        }
        -4096..=4095 => {
            head[0] = 0xc0 | raw[1] & 0x1f;
            head[1] = raw[0];
            return 2;
        }
        -0x8000..=0x7fff => (0xf1, 2),
        -0x80_0000..=0x7f_ffff => (0xf2, 3),
        -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
        _ => (0xf4, 8),
    };
    head[0] = tag;
    head[1..=width].copy_from_slice(&raw[..width]);
    1 + width
}

fn text_head(head: &mut [u8; 9], len: usize) -> usize {
    match len {
        0..=63 => {
            head[0] = 0x80 | len as u8;
            1
        }
        64..=4095 => {
            head[0] = 0xe0 | (len >> 8) as u8;
            head[1] = len as u8;
            2
        }
        _ => {
            head[0] = 0xf0;
            head[1..5].copy_from_slice(&(len as u32).to_le_bytes());
            5
        }
    }
}

/// Bytes of the length that stands behind an element of `len` bytes. The borders are one below what would fit, as
/// in Redis.
fn back_len(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn back(len: usize) -> ([u8; 5], u8) {
    let size = back_len(len);
    let mut back = [0; 5];
    for (i, byte) in back[..size].iter_mut().enumerate() {
        let group = (len >> (7 * (size - 1 - i))) as u8 & 127;
        // All but the first, which is read last, say that there is more.
        *byte = group | if i == 0 { 0 } else { 128 };
    }
    (back, size as u8)
}

/// The element that begins `bytes`, and its length without the one that is read backwards.
#[inline]
fn decode(bytes: &[u8]) -> (Item<'_>, usize) {
    fn int<const N: usize>(bytes: &[u8]) -> (Item<'_>, usize) {
        let mut raw = [0; 8];
        raw[8 - N..].copy_from_slice(&bytes[1..=N]);
        (Item::Int(i64::from_le_bytes(raw) >> (64 - 8 * N)), 1 + N)
    }
    let text = |head: usize, len: usize| (Item::Bytes(&bytes[head..head + len]), head + len);
    match bytes[0] {
        small @ 0..=0x7f => (Item::Int(small.into()), 1),
        tag @ 0x80..=0xbf => text(1, usize::from(tag & 0x3f)),
        tag @ 0xc0..=0xdf => {
            let raw = u16::from_be_bytes([tag << 3, 0]) | u16::from(bytes[1]) << 3;
            (Item::Int((raw.cast_signed() >> 3).into()), 2)
        }
        tag @ 0xe0..=0xef => text(2, usize::from(tag & 0x0f) << 8 | usize::from(bytes[1])),
        0xf1 => int::<2>(bytes),
        0xf2 => int::<3>(bytes),
        0xf3 => int::<4>(bytes),
        0xf4 => int::<8>(bytes),
        _ => {
            let len = u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
            text(5, len as usize)
        }
    }
}

/// Where the element begins that ends where `bytes` does.
#[inline]
fn start_of_last(bytes: &[u8]) -> usize {
    let (mut len, mut shift, mut at) = (0, 0, bytes.len());
    loop {
        at -= 1;
        len |= usize::from(bytes[at] & 127) << shift;
        if bytes[at] & 128 == 0 {
            return at - len;
        }
        shift += 7;
    }
}

/// Whether bytes from elsewhere are a run that can be read without fear.
pub fn is_well_formed(bytes: &[u8]) -> bool {
    bytes.get(HEAD..).and_then(count_well_formed).is_some_and(|found| found == count(bytes))
}

/// The number of elements in bytes from elsewhere that have no head, if they can be read without fear.
pub fn count_well_formed(elements: &[u8]) -> Option<usize> {
    let (mut at, mut found) = (0, 0);
    while at < elements.len() {
        let rest = &elements[at..];
        let head = match rest[0] {
            0..=0xbf => 1,
            0xc0..=0xef => 2,
            0xf0 | 0xf3 => 5,
            0xf1 => 3,
            0xf2 => 4,
            0xf4 => 9,
            _ => return None,
        };
        if rest.len() < head {
            return None;
        }
        let text = match rest[0] {
            tag @ 0x80..=0xbf => usize::from(tag & 0x3f),
            tag @ 0xe0..=0xef => usize::from(tag & 0x0f) << 8 | usize::from(rest[1]),
            0xf0 => u32::from_le_bytes([rest[1], rest[2], rest[3], rest[4]]) as usize,
            _ => 0,
        };
        let (back, size) = back(head + text);
        let end = head + text + usize::from(size);
        if rest.get(head + text..end) != Some(&back[..usize::from(size)]) {
            return None;
        }
        at += end;
        found += 1;
    }
    Some(found)
}

/// See [`iter`].
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.front >= self.back {
            return None;
        }
        let start = self.front;
        let (value, len) = decode(&self.bytes[start..self.back]);
        self.front = start + len + back_len(len);
        Some(Element { value, range: start..self.front })
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let end = self.back;
        self.back = start_of_last(&self.bytes[..end]);
        Some(Element { value: decode(&self.bytes[self.back..end]).0, range: self.back..end })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element() -> impl Strategy<Value = Vec<u8>> {
        let number = any::<i64>().prop_map(|value| value.to_string().into_bytes());
        let shorter = (any::<i64>(), 0..64u32)
            .prop_map(|(value, bits): (i64, u32)| (value >> bits).to_string().into_bytes());
        let almost = prop::sample::select(vec!["", "-0", "+1", "007", "-", "9223372036854775808", "1 "]);
        let long = (0..20_000usize).prop_map(|len| vec![b'x'; len]);
        prop_oneof![
            number,
            shorter,
            almost.prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..80),
            long,
        ]
    }

    fn pack(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = EMPTY.to_vec();
        elements.iter().for_each(|element| push(&mut bytes, element));
        bytes
    }

    fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
        items(bytes).map(|item| item.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out_from_both_ends(elements in prop::collection::vec(element(), 0..40)) {
            let bytes = pack(&elements);
            prop_assert!(is_well_formed(&bytes));
            prop_assert_eq!(count(&bytes), elements.len());
            prop_assert_eq!(texts(&bytes), elements.clone());
            let forwards: Vec<_> = iter(&bytes).collect();
            let mut backwards: Vec<_> = iter(&bytes).rev().collect();
            backwards.reverse();
            prop_assert_eq!(&forwards, &backwards);
            for (index, found) in forwards.iter().enumerate() {
                prop_assert_eq!(get(&bytes, index), Some(found.clone()));
                prop_assert_eq!(after(&bytes, found), forwards.get(index + 1).cloned());
                let first = elements.iter().position(|element| *element == elements[index]).unwrap();
                prop_assert_eq!(find(&bytes, &elements[index], 1), Some(forwards[first].clone()));
                prop_assert!(found.value == *elements[index]);
            }
            prop_assert_eq!(get(&bytes, elements.len()), None);
        }

        #[test]
        fn edits_do_what_they_do_to_a_vec(
            elements in prop::collection::vec(element(), 1..12),
            new in element(),
            at in any::<prop::sample::Index>(),
            many in 0..12usize,
        ) {
            let at = at.index(elements.len());
            let bytes = pack(&elements);
            let place = get(&bytes, at).unwrap().range;

            let (mut inserted, mut model) = (bytes.clone(), elements.clone());
            insert(&mut inserted, place.start, &new);
            model.insert(at, new.clone());
            prop_assert_eq!(&inserted, &pack(&model));

            let (mut replaced, mut model) = (bytes.clone(), elements.clone());
            replace(&mut replaced, place, &new);
            model[at] = new;
            prop_assert_eq!(&replaced, &pack(&model));

            let (mut removed, mut model) = (bytes.clone(), elements.clone());
            let gone = model.drain(at..(at + many).min(elements.len())).count();
            cut(&mut removed, range_of(&bytes, at, many), gone);
            prop_assert_eq!(&removed, &pack(&model));
        }

        #[test]
        fn bytes_from_elsewhere_are_refused_or_readable(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if is_well_formed(&bytes) {
                prop_assert_eq!(iter(&bytes).count(), iter(&bytes).rev().count());
            }
        }
    }

    #[test]
    fn encodings_are_those_of_redis() {
        // What DUMP of redis-server shows between a listpack's head and its end.
        let cases: [(&[u8], &[u8]); 10] = [
            (b"0", b"\x00\x01"),
            (b"127", b"\x7f\x01"),
            (b"128", b"\xc0\x80\x02"),
            (b"-1", b"\xdf\xff\x02"),
            (b"4096", b"\xf1\x00\x10\x03"),
            (b"-32769", b"\xf2\xff\x7f\xff\x04"),
            (b"8388608", b"\xf3\x00\x00\x80\x00\x05"),
            (b"4294967296", b"\xf4\x00\x00\x00\x00\x01\x00\x00\x00\x09"),
            (b"ab", b"\x82ab\x03"),
            (b"01", b"\x8201\x03"),
        ];
        for (text, expected) in cases {
            let mut out = Vec::new();
            encode(&mut out, text);
            assert_eq!(out, expected, "{}", text.escape_ascii());
        }
        for (len, head, back) in [
            (63, &[0xbf][..], &[64][..]),
            (64, &[0xe0, 64], &[66]),
            (126, &[0xe0, 126], &[1, 128]),
            (4096, &[0xf0, 0, 16, 0, 0], &[32, 0x80 | 5]),
            (16_378, &[0xf0, 0xfa, 0x3f, 0, 0], &[0, 0xff, 0xff]),
        ] {
            let text = vec![b'x'; len];
            let encoded = Encoded::new(&text);
            assert_eq!(encoded.parts(), [head, &text[..], back], "{len}");
        }
    }

    #[test]
    fn damage_is_noticed() {
        let good = pack(&[b"abc".to_vec(), b"5".to_vec()]);
        assert!(is_well_formed(&good) && is_well_formed(&EMPTY));
        assert!(!is_well_formed(&[]) && !is_well_formed(&[0]));
        for cut in HEAD..good.len() {
            assert!(!is_well_formed(&good[..cut]), "{cut}");
        }
        for (at, byte) in [(0, 3), (2, 0xff), (2, 0x84), (6, 3)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(!is_well_formed(&bad), "{at}");
        }
    }
}
