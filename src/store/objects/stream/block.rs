//! A run of neighbouring entries, packed as Redis packs them.
//!
//! A block is the body of one of Redis' listpacks, element by element: the number of shared names and these, a zero,
//! then the entries. Each begins with flags ([`DELETED`], [`SAME_NAMES`]), goes on with its distance from the block's
//! first id (time and number apart), its values (with their number and names in front and between, unless these are the
//! shared ones), and ends with the number of its elements, so that a block is also read backwards. An entry is deleted
//! by a flag, in its place. The two counts in front of a listpack's names are kept as numbers of their own: deleting
//! then moves nothing.

use super::id::StreamId;
use crate::store::packed::{self, Encoded, Item};

/// The entry is there no longer.
const DELETED: i64 = 1;

/// The entry's names are the shared ones.
const SAME_NAMES: i64 = 2;

/// What a listpack has around its elements: its length, their number, and an end.
const LISTPACK_EXTRA: usize = 7;

/// No block may have more bytes, whatever the settings allow.
pub const MOST_BYTES: usize = 1 << 30;

/// How large blocks may become.
#[derive(Clone, Copy, Debug)]
pub struct BlockLimit {
    /// Redis' `stream-node-max-bytes`; 0: as large as can be.
    pub bytes: usize,
    /// Redis' `stream-node-max-entries`; 0: as many as there is room for.
    pub entries: usize,
}

/// Entries, of which the first one's id, deleted or not, is the block's.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    bytes: Vec<u8>,
    /// Where the entries begin.
    body: u32,
    /// Number of shared names.
    shared: u32,
    live: u32,
    deleted: u32,
}

impl Block {
    /// An empty block whose entries are expected to have these fields: names and values in turn.
    pub fn new<'f>(fields: impl ExactSizeIterator<Item = &'f [u8]>) -> Self {
        let mut bytes = Vec::new();
        let shared = fields.len() / 2;
        put_int(&mut bytes, shared as i64);
        fields.step_by(2).for_each(|name| packed::encode(&mut bytes, name));
        put_int(&mut bytes, 0);
        Self { body: bytes.len() as u32, bytes, shared: shared as u32, live: 0, deleted: 0 }
    }

    /// A block of bytes from elsewhere: the elements of a listpack without the two counts in front. `None`: they are
    /// no block, or another one than the counts say.
    pub fn from_elements(bytes: &[u8], live: i64, deleted: i64) -> Option<Self> {
        packed::count_well_formed(bytes)?;
        let mut elements = packed::iter_in(bytes, 0..bytes.len());
        let mut int = || int(elements.next()?.value);
        let shared = u32::try_from(int()?).ok()?;
        for _ in 0..shared {
            elements.next()?;
        }
        let end = elements.next()?;
        if end.value != Item::Int(0) {
            return None;
        }
        let mut block = Self {
            bytes: bytes.to_vec(),
            body: u32::try_from(end.range.end).ok()?,
            shared,
            live: 0,
            deleted: 0,
        };
        let mut at = end.range.end;
        while at < bytes.len() {
            let (flags, next) = block.checked_entry(at)?;
            *if flags & DELETED == 0 { &mut block.live } else { &mut block.deleted } += 1;
            at = next;
        }
        ((block.live.into(), block.deleted.into()) == (live, deleted)).then_some(block)
    }

    /// Reads an entry that may make no sense: its flags, and where it ends.
    fn checked_entry(&self, at: usize) -> Option<(i64, usize)> {
        let mut elements = packed::iter_in(&self.bytes, at..self.bytes.len());
        let flags = elements.next()?;
        // Flags in a longer form than they need could not be changed in their place.
        let is_short = flags.range.len() == int_len(0);
        let flags =
            int(flags.value).filter(|flags| is_short && (0..=DELETED | SAME_NAMES).contains(flags))?;
        let mut next = || elements.next().map(|element| element.value).and_then(int);
        let (_ms, _seq) = (next()?, next()?);
        let (mut texts, mut before) = (u64::from(self.shared), 3);
        if flags & SAME_NAMES == 0 {
            texts = u64::try_from(next()?).ok()?.checked_mul(2)?;
            before += 1;
        }
        if texts == 0 {
            return None;
        }
        for _ in 0..texts {
            elements.next()?;
        }
        let last = elements.next()?;
        let pieces = i64::try_from(before + texts).ok()?;
        (last.value == Item::Int(pieces)).then_some((flags, last.range.end))
    }

    /// Number of entries that are not deleted.
    pub fn live(&self) -> u64 {
        self.live.into()
    }

    /// Number of entries that are deleted.
    pub fn deleted(&self) -> u64 {
        self.deleted.into()
    }

    /// Its elements, without the two counts.
    pub fn elements(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory that it owns.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether there is room for an entry whose texts have so many bytes.
    pub fn has_room(&self, texts: usize, limit: BlockLimit) -> bool {
        let counts = [self.live, self.deleted].map(|count| int_len(count.into()));
        let listpack = LISTPACK_EXTRA + counts[0] + counts[1] + self.bytes.len();
        let most = if limit.bytes == 0 { MOST_BYTES } else { limit.bytes.min(MOST_BYTES) };
        let entries = self.live as usize + self.deleted as usize;
        listpack + texts < most && (limit.entries == 0 || entries < limit.entries)
    }

    /// Adds an entry behind the others. `first` is the block's id.
    pub fn push<'f>(
        &mut self,
        first: StreamId,
        id: StreamId,
        fields: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
    ) {
        let count = fields.len() / 2;
        let mut names = fields.clone().step_by(2);
        let same = count == self.shared as usize
            && self.names().all(|name| names.next().is_some_and(|own| name == *own));
        let bytes = &mut self.bytes;
        put_int(bytes, if same { SAME_NAMES } else { 0 });
        put_int(bytes, id.ms.wrapping_sub(first.ms).cast_signed());
        put_int(bytes, id.seq.wrapping_sub(first.seq).cast_signed());
        let pieces = if same {
            fields.skip(1).step_by(2).for_each(|value| packed::encode(bytes, value));
            3 + count
        } else {
            put_int(bytes, count as i64);
            fields.for_each(|text| packed::encode(bytes, text));
            4 + 2 * count
        };
        put_int(bytes, pieces as i64);
        self.live += 1;
    }

    /// Gives back memory that no further entry will need.
    pub fn close(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The id of its first entry that is not deleted.
    pub fn first_live(&self, first: StreamId) -> Option<StreamId> {
        self.entries(first).find(|entry| !entry.is_deleted).map(|entry| entry.id)
    }

    /// The id of its last entry, deleted or not.
    pub fn last_id(&self, first: StreamId) -> StreamId {
        self.entries(first).next_back().map_or(first, |entry| entry.id)
    }

    /// Marks an entry, which is not deleted, as deleted.
    pub fn delete(&mut self, at: Place) {
        // Flags are small numbers: one byte, which is the number.
        self.bytes[at.0] |= DELETED as u8;
        self.live -= 1;
        self.deleted += 1;
    }

    /// All entries, deleted ones too, from either end.
    pub fn entries(&self, first: StreamId) -> Entries<'_> {
        Entries { block: self, first, front: self.body as usize, back: self.bytes.len() }
    }

    fn names(&self) -> impl Iterator<Item = Item<'_>> + Clone {
        let names = packed::iter_in(&self.bytes, 0..self.body as usize);
        names.map(|element| element.value).skip(1).take(self.shared as usize)
    }
}

/// Where an entry lies in its block.
#[derive(Clone, Copy, Debug)]
pub struct Place(usize);

/// An entry.
#[derive(Clone)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    /// Whether it is there no longer.
    pub is_deleted: bool,
    /// Number of its fields.
    pub len: usize,
    /// Where it lies.
    pub place: Place,
    block: &'a Block,
    same: bool,
    texts: packed::Iter<'a>,
}

impl<'a> Entry<'a> {
    /// Passes each name with its value to `visit`.
    pub fn each(&self, mut visit: impl FnMut(Item<'a>, Item<'a>)) {
        let mut texts = self.texts.clone().map(|element| element.value);
        let mut names = self.block.names();
        for _ in 0..self.len {
            let name = if self.same { names.next() } else { texts.next() };
            if let (Some(name), Some(value)) = (name, texts.next()) {
                visit(name, value);
            }
        }
    }

    /// Bytes of its names and values.
    pub fn text_len(&self) -> usize {
        let mut len = 0;
        self.each(|name, value| len += name.text_len() + value.text_len());
        len
    }
}

/// See [`Block::entries`].
#[derive(Clone)]
pub struct Entries<'a> {
    block: &'a Block,
    first: StreamId,
    front: usize,
    back: usize,
}

impl<'a> Entries<'a> {
    /// The entry that begins at `at`, and where it ends.
    fn read(&self, at: usize) -> Option<(Entry<'a>, usize)> {
        let mut texts = packed::iter_in(&self.block.bytes, at..self.block.bytes.len());
        let mut next = || texts.next().map(|element| element.value).and_then(int);
        let (flags, ms, seq) = (next()?, next()?, next()?);
        let same = flags & SAME_NAMES != 0;
        let len = if same { self.block.shared as usize } else { usize::try_from(next()?).ok()? };
        let id = StreamId {
            ms: self.first.ms.wrapping_add(ms.cast_unsigned()),
            seq: self.first.seq.wrapping_add(seq.cast_unsigned()),
        };
        let is_deleted = flags & DELETED != 0;
        let entry =
            Entry { id, is_deleted, len, place: Place(at), block: self.block, same, texts: texts.clone() };
        let behind = if same { len } else { 2 * len };
        Some((entry, texts.nth(behind)?.range.end))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (entry, end) = self.read(self.front)?;
        self.front = end;
        Some(entry)
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let mut elements = packed::iter_in(&self.block.bytes, self.front..self.back);
        let pieces = usize::try_from(int(elements.next_back()?.value)?).ok()?;
        self.back = elements.nth_back(pieces.checked_sub(1)?)?.range.start;
        self.read(self.back).map(|(entry, _)| entry)
    }
}

fn int(item: Item<'_>) -> Option<i64> {
    match item {
        Item::Int(value) => Some(value),
        Item::Bytes(_) => None,
    }
}

fn put_int(bytes: &mut Vec<u8>, value: i64) {
    Encoded::int(value).parts().iter().for_each(|part| bytes.extend_from_slice(part));
}

fn int_len(value: i64) -> usize {
    Encoded::int(value).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    fn fields(text: &str) -> std::vec::IntoIter<&[u8]> {
        text.split(' ').map(str::as_bytes).collect::<Vec<_>>().into_iter()
    }

    fn text(entry: &Entry<'_>) -> String {
        let mut text = format!("{}{}", entry.id, if entry.is_deleted { " deleted" } else { "" });
        entry.each(|name, value| {
            for item in [name, value] {
                text += &format!(" {}", String::from_utf8_lossy(&item.to_vec()));
            }
        });
        text
    }

    fn block() -> Block {
        let first = id(100, 5);
        let mut block = Block::new(fields("a 1 b 2"));
        block.push(first, first, fields("a 1 b 2"));
        block.push(first, id(100, 6), fields("a x b y"));
        block.push(first, id(200, 0), fields("b y a x"));
        block.push(first, id(u64::MAX, 1), fields("c -7"));
        block
    }

    const TEXTS: [&str; 4] =
        ["100-5 a 1 b 2", "100-6 a x b y", "200-0 b y a x", "18446744073709551615-1 c -7"];

    #[test]
    fn entries_are_read_from_both_ends() {
        let block = block();
        let forwards: Vec<String> = block.entries(id(100, 5)).map(|entry| text(&entry)).collect();
        let mut backwards: Vec<String> = block.entries(id(100, 5)).rev().map(|entry| text(&entry)).collect();
        backwards.reverse();
        assert_eq!(forwards, TEXTS);
        assert_eq!(backwards, TEXTS);
        assert_eq!(block.last_id(id(100, 5)), id(u64::MAX, 1));
    }

    #[test]
    fn names_that_are_shared_are_kept_once() {
        let with = |text: &str| {
            let mut block = Block::new(fields("name-of-a-field 1"));
            let before = block.elements().len();
            block.push(id(1, 1), id(1, 1), fields(text));
            block.elements().len() - before
        };
        assert_eq!(with("name-of-a-field 1") + "name-of-b-field".len() + 4, with("name-of-b-field 1"));
    }

    #[test]
    fn deleting_moves_nothing() {
        let mut block = block();
        let before = block.elements().to_vec();
        let place = block.entries(id(100, 5)).nth(1).unwrap().place;
        block.delete(place);
        assert_eq!((block.live(), block.deleted()), (3, 1));
        assert_eq!(block.elements().iter().zip(&before).filter(|(a, b)| a != b).count(), 1);
        let second = block.entries(id(100, 5)).nth(1).unwrap();
        assert_eq!(text(&second), "100-6 deleted a x b y");
    }

    #[test]
    fn an_entry_without_fields_is_refused() {
        let with = |shared: i64, entry: &[i64]| {
            let mut bytes = Vec::new();
            put_int(&mut bytes, shared);
            (0..shared).for_each(|_| packed::encode(&mut bytes, b"name"));
            put_int(&mut bytes, 0);
            entry.iter().for_each(|part| put_int(&mut bytes, *part));
            Block::from_elements(&bytes, 1, 0).is_some()
        };
        // Flags, time, number, how many names, and how many elements that is.
        assert!(!with(0, &[0, 0, 0, 0, 4]));
        assert!(!with(1, &[0, 0, 0, 0, 4]));
        assert!(!with(0, &[SAME_NAMES, 0, 0, 3]));
        assert!(with(0, &[0, 0, 0, 1, 7, 7, 6]));
        assert!(with(1, &[SAME_NAMES, 0, 0, 7, 4]));
    }

    #[test]
    fn elements_from_elsewhere_are_a_block_or_refused() {
        let mut block = block();
        let place = block.entries(id(100, 5)).nth(1).unwrap().place;
        block.delete(place);
        let bytes = block.elements().to_vec();
        let read = Block::from_elements(&bytes, 3, 1).unwrap();
        assert!(
            read.entries(id(100, 5))
                .map(|entry| text(&entry))
                .eq(block.entries(id(100, 5)).map(|e| text(&e)))
        );
        assert!(Block::from_elements(&bytes, 4, 0).is_none());
        for end in 0..bytes.len() {
            assert!(Block::from_elements(&bytes[..end], 3, 1).is_none(), "{end}");
        }
        for at in 0..bytes.len() {
            for byte in 0..=255 {
                let mut bytes = bytes.clone();
                bytes[at] = byte;
                // Whatever is taken can be read.
                if let Some(block) = Block::from_elements(&bytes, 3, 1) {
                    assert_eq!(block.entries(id(0, 0)).count(), 4);
                    assert_eq!(block.entries(id(0, 0)).rev().count(), 4);
                    block.entries(id(0, 0)).for_each(|entry| _ = text(&entry));
                }
            }
        }
    }
}
