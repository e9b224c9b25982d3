//! Values as payloads: in the forms that Redis 7.0 itself writes, but never compressed, and in that of Valkey 9 where
//! there is no such form.

use super::{
    VALKEY_9, VERSION, intset, listpack, seal, stream, types,
    wire::{put_len, put_string},
};
use crate::store::{
    Value,
    objects::{hash::HashRef, list::ListRef, set::SetRef, stream::Stream, zset::ZSetRef},
    packed::Item,
};

/// The payload of a value as it is at `now`; `None` if it is of a type that is not written.
pub fn encode(value: Value<'_>, now: u64) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut version = VERSION;
    if let Some(bytes) = value.as_string() {
        out.push(types::STRING);
        put_string(&mut out, bytes);
    } else if let Some(value) = ListRef::of(value) {
        list(value, &mut out);
    } else if let Some(value) = SetRef::of(value) {
        set(value, &mut out);
    } else if let Some(value) = HashRef::of(value, now) {
        if value.is_dated() {
            version = VALKEY_9;
            dated_hash(value, &mut out);
        } else {
            hash(value, &mut out);
        }
    } else if let Some(value) = Stream::of(value) {
        stream::encode(value, &mut out);
    } else {
        zset(ZSetRef::of(value)?, &mut out);
    }
    seal(&mut out, version);
    Some(out)
}

fn list(list: ListRef<'_>, out: &mut Vec<u8>) {
    out.push(types::LIST_QUICKLIST_2);
    put_len(out, list.runs().count());
    for run in list.runs() {
        put_len(out, types::PACKED as usize);
        put_listpack(out, run);
    }
}

/// Packed ones, too, go member by member: Redis has them since 7.2.
fn set(set: SetRef<'_>, out: &mut Vec<u8>) {
    if let SetRef::Ints(bytes) = set {
        let mut blob = Vec::new();
        intset::encode(bytes, &mut blob);
        out.push(types::SET_INTSET);
        put_len(out, blob.len());
        out.extend_from_slice(&blob);
        return;
    }
    out.push(types::SET);
    put_len(out, set.len());
    set.each(|member| put_item(out, member));
}

fn hash(hash: HashRef<'_>, out: &mut Vec<u8>) {
    if let HashRef::Small(run) = hash {
        out.push(types::HASH_LISTPACK);
        return put_listpack(out, run);
    }
    out.push(types::HASH);
    put_len(out, hash.len());
    hash.each(|field, value| {
        put_item(out, field);
        put_item(out, value);
    });
}

fn dated_hash(hash: HashRef<'_>, out: &mut Vec<u8>) {
    out.push(types::HASH_2);
    put_len(out, hash.len());
    hash.each_dated(|field, value, deadline| {
        put_item(out, field);
        put_item(out, value);
        // -1 says that there is none.
        out.extend_from_slice(&deadline.unwrap_or(u64::MAX).to_le_bytes());
    });
}

/// The members of a large one go from the last to the first: so Redis adds each at the front when it reads them.
fn zset(zset: ZSetRef<'_>, out: &mut Vec<u8>) {
    if let ZSetRef::Small(run) = zset {
        out.push(types::ZSET_LISTPACK);
        return put_listpack(out, run);
    }
    out.push(types::ZSET_2);
    put_len(out, zset.len());
    zset.each(0..zset.len(), true, |member, score| {
        put_string(out, member);
        out.extend_from_slice(&score.to_le_bytes());
    });
}

fn put_item(out: &mut Vec<u8>, item: Item<'_>) {
    put_string(out, item.as_bytes(&mut itoa::Buffer::new()));
}

fn put_listpack(out: &mut Vec<u8>, run: &[u8]) {
    put_len(out, listpack::encoded_len(run));
    listpack::encode(run, out);
}
