//! The numbers of types and of their forms.

/// A string.
pub(super) const STRING: u8 = 0;
/// A list, element by element.
pub(super) const LIST: u8 = 1;
/// A set, member by member.
pub(super) const SET: u8 = 2;
/// A sorted set whose scores are texts.
pub(super) const ZSET: u8 = 3;
/// A hash, field by field.
pub(super) const HASH: u8 = 4;
/// A sorted set whose scores are doubles.
pub(super) const ZSET_2: u8 = 5;
/// A list in one [`super::ziplist`].
pub(super) const LIST_ZIPLIST: u8 = 10;
/// A set of integers in one [`super::intset`].
pub(super) const SET_INTSET: u8 = 11;
/// A sorted set in one ziplist: what Redis 6.2 writes.
pub(super) const ZSET_ZIPLIST: u8 = 12;
/// A hash in one ziplist: what Redis 6.2 writes.
pub(super) const HASH_ZIPLIST: u8 = 13;
/// A list in a row of ziplists: what Redis 6.2 writes.
pub(super) const LIST_QUICKLIST: u8 = 14;
/// A stream: what Redis 6.2 writes.
pub(super) const STREAM: u8 = 15;
/// A hash in one [`super::listpack`].
pub(super) const HASH_LISTPACK: u8 = 16;
/// A sorted set in one listpack.
pub(super) const ZSET_LISTPACK: u8 = 17;
/// A list in a row of listpacks and of single elements.
pub(super) const LIST_QUICKLIST_2: u8 = 18;
/// A stream that knows of the entries that it had.
pub(super) const STREAM_2: u8 = 19;
/// A set in one listpack: what Redis 7.2 writes.
pub(super) const SET_LISTPACK: u8 = 20;
/// A stream whose consumers have a second time: what Redis 7.2 writes.
pub(super) const STREAM_3: u8 = 21;
/// A hash, field by field with their deadlines: what Valkey 9 writes.
pub(super) const HASH_2: u8 = 22;

/// A node of a [`LIST_QUICKLIST_2`] that is one element.
pub(super) const PLAIN: u64 = 1;
/// A node of a [`LIST_QUICKLIST_2`] that is a listpack.
pub(super) const PACKED: u64 = 2;
