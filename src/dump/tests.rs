//! Tests of the format: what is written comes back, and what comes from elsewhere is read or refused.

use proptest::prelude::*;

use super::*;
use crate::store::{
    Form, Object, Value,
    objects::{
        hash::{Hash, Lasts},
        list::{End, List, NodeLimit},
        set::{NewSet, SetLimits},
        stream::{BlockLimit, Group, Stream, StreamId},
        zset::ZSet,
    },
    packed,
};

const LONGEST: usize = 1 << 20;

fn sealed(body: &[u8]) -> Vec<u8> {
    let mut payload = body.to_vec();
    seal(&mut payload, VERSION);
    payload
}

fn written(value: Value<'_>) -> Vec<u8> {
    encode(value, 0).expect("a type that is written")
}

fn decoded(body: &[u8]) -> Result<Decoded, Error> {
    decode(&sealed(body), LONGEST)
}

fn elements(texts: &[&[u8]]) -> Elements {
    let mut elements = Elements::default();
    texts.iter().for_each(|text| elements.push(text));
    elements
}

fn sorted(elements: &Elements) -> Vec<&[u8]> {
    let mut texts: Vec<_> = elements.iter().collect();
    texts.sort_unstable();
    texts
}

fn run_of<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> Vec<u8> {
    let mut run = packed::EMPTY.to_vec();
    texts.into_iter().for_each(|text| packed::push(&mut run, text));
    run
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let integer = (any::<i64>(), 0..64u32).prop_map(|(value, bits)| (value >> bits).to_string().into_bytes());
    prop_oneof![
        integer,
        prop::collection::vec(any::<u8>(), 0..80),
        (60..70usize).prop_map(|len| vec![b'x'; len]),
        (16_380..16_390usize).prop_map(|len| vec![b'y'; len]),
    ]
}

proptest! {
    #[test]
    fn strings_come_back(bytes in text()) {
        let payload = written(Value::Str(&bytes));
        prop_assert_eq!(decode(&payload, LONGEST), Ok(Decoded::Str(bytes.clone())));
        let shared = bytes::Bytes::from(bytes);
        prop_assert_eq!(written(Value::Shared(&shared)), payload);
    }

    #[test]
    fn lists_come_back(texts in prop::collection::vec(text(), 1..60)) {
        let expected = Ok(Decoded::List(elements(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>())));
        let run = run_of(texts.iter().map(Vec::as_slice));
        prop_assert_eq!(decode(&written(Value::Packed(Form::List, &run)), LONGEST), expected.clone());
        let mut list = List::default();
        texts.iter().for_each(|text| list.push(End::Back, text, NodeLimit::new(4)));
        prop_assert_eq!(decode(&written(Value::Big(&Object::List(list))), LONGEST), expected);
    }

    #[test]
    fn sets_come_back(members in prop::collection::btree_set(text(), 1..60), ints: bool, packed in 0..80usize) {
        let limits = SetLimits { ints: 512, packed, text: 64, seed: 1 };
        let members: Vec<Vec<u8>> = match ints {
            true => members.iter().map(|member| member.len().to_string().into_bytes()).collect(),
            false => members.into_iter().collect(),
        };
        let mut set = NewSet::default();
        members.iter().for_each(|member| _ = set.add(member, &limits));
        let mut expected: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
        expected.sort_unstable();
        expected.dedup();
        let payload = match set {
            NewSet::Ints(bytes) => written(Value::Packed(Form::IntSet, &bytes)),
            NewSet::Small(run) => written(Value::Packed(Form::Set, &run)),
            NewSet::Large(set) => written(Value::Big(&Object::Set(set))),
        };
        let Ok(Decoded::Set(found)) = decode(&payload, LONGEST) else { panic!("no set") };
        prop_assert_eq!(sorted(&found), expected);
    }

    #[test]
    fn hashes_come_back(pairs in prop::collection::btree_map(text(), text(), 1..60)) {
        let run = run_of(pairs.iter().flat_map(|(field, value)| [field.as_slice(), value]));
        for payload in [
            written(Value::Packed(Form::Hash, &run)),
            written(Value::Big(&Object::Hash(Hash::of(&run, 5)))),
        ] {
            let Ok(Decoded::Hash(found, _)) = decode(&payload, LONGEST) else { panic!("no hash") };
            let mut found: Vec<_> = found.pairs().collect();
            found.sort_unstable();
            prop_assert!(found.into_iter().eq(pairs.iter().map(|(field, value)| (field.as_slice(), value.as_slice()))));
        }
    }

    #[test]
    fn sorted_sets_come_back(
        scores in prop::collection::btree_map(text(), any::<f64>().prop_filter("NaN", |score| !score.is_nan()), 1..60),
    ) {
        let mut zset = ZSet::new(3);
        scores.iter().for_each(|(member, score)| _ = zset.insert(member, *score));
        let payload = written(Value::Big(&Object::ZSet(zset)));
        let Ok(Decoded::ZSet(members, found)) = decode(&payload, LONGEST) else { panic!("no sorted set") };
        prop_assert_eq!(members.len(), scores.len());
        for (member, score) in members.iter().zip(found) {
            prop_assert_eq!(scores.get(member).copied(), Some(score));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(kind in 0..24u8, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = decoded(&[&[kind][..], &bytes].concat());
    }

    #[test]
    fn damage_of_good_payloads_is_read_or_refused(
        which in 0..BODIES.len(),
        at in any::<prop::sample::Index>(),
        byte: u8,
        cut in 0..4usize,
    ) {
        let mut body = BODIES[which].0.to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        body.truncate(body.len() - cut);
        let _ = decoded(&body);
    }
}

/// Bodies of payloads as Redis writes them, of every type that it has, and their texts (of sorted sets: members).
const BODIES: [(&[u8], &[&[u8]]); 13] = [
    (b"\x00\xc3\x09\x40\x64\x01xx\xe0\x57\x01\x01xx", &[&[b'x'; 100]]),
    (b"\x01\x02\x01a\xc0\x05", &[b"a", b"5"]),
    (b"\x02\x02\xc1\x39\x30\x01b", &[b"12345", b"b"]),
    (b"\x03\x02\x01a\x031.5\x01b\xfe", &[b"a", b"b"]),
    (b"\x04\x01\x01f\xc2\x40\x42\x0f\x00", &[b"f", b"1000000"]),
    (b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x3f", &[b"a"]),
    (b"\x0a\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf2\x02\xf3\xff", &[b"1", b"2"]),
    (b"\x0b\x0c\x02\0\0\0\x02\0\0\0\xff\xff\x07\0", &[b"-1", b"7"]),
    (b"\x0c\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf2\xff", &[b"a"]),
    (b"\x0e\x01\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf2\x02\xf3\xff", &[b"1", b"2"]),
    (b"\x10\x0c\x0c\0\0\0\x02\0\x81f\x02\x07\x01\xff", &[b"f", b"7"]),
    (b"\x12\x02\x01\x03abc\x02\x09\x09\0\0\0\x01\0\x07\x01\xff", &[b"abc", b"7"]),
    (b"\x14\x0c\x0c\0\0\0\x02\0\x81f\x02\x07\x01\xff", &[b"f", b"7"]),
];

#[test]
fn every_type_is_read() {
    for (body, expected) in BODIES {
        let found = match decoded(body) {
            Ok(Decoded::Str(bytes)) => elements(&[&bytes]),
            Ok(
                Decoded::List(found)
                | Decoded::Set(found)
                | Decoded::Hash(found, _)
                | Decoded::ZSet(found, _),
            ) => found,
            Ok(Decoded::Stream(_)) => panic!("a stream: {}", body.escape_ascii()),
            Err(error) => panic!("{error}: {}", body.escape_ascii()),
        };
        assert!(found.iter().eq(expected.iter().copied()), "{}: {found:?}", body.escape_ascii());
    }
}

/// A stream of several blocks, with deleted entries and groups.
fn stream() -> Stream {
    let (mut stream, limit) = (Stream::default(), BlockLimit { bytes: 4096, entries: 3 });
    let id = |ms| StreamId { ms, seq: 7 };
    for ms in 1..=7 {
        let fields: &[&[u8]] = if ms % 3 == 0 { &[b"f", b"1", b"g", b"x"] } else { &[b"f", b"-70000"] };
        stream.add(id(ms), fields.iter().copied(), limit);
    }
    stream.delete(id(5));
    for (name, read) in [(&b"g"[..], Some(3)), (b"12", None)] {
        let mut group = Group::new(id(4), read);
        let ann = group.find_or_create(b"ann", 1_000).0;
        let bob = group.find_or_create(b"bob", 2_000).0;
        for (consumer, seen) in [(ann, 1_000), (bob, 2_000)] {
            group.consumer_mut(consumer).active = Some(seen);
        }
        [1, 5, 9].iter().for_each(|ms| group.assign(id(*ms), ann, 3_000 + ms, *ms));
        stream.add_group(name, group);
    }
    stream
}

#[test]
fn a_stream_comes_back_with_all_that_it_has() {
    let payload = written(Value::Big(&Object::Stream(Box::new(stream()))));
    assert_eq!(decode(&payload, LONGEST), Ok(Decoded::Stream(Box::new(stream()))));
    let empty = written(Value::Big(&Object::Stream(Box::default())));
    assert_eq!(decode(&empty, LONGEST), Ok(Decoded::Stream(Box::default())));
}

#[test]
fn a_damaged_stream_is_refused_or_can_be_written_again() {
    let payload = written(Value::Big(&Object::Stream(Box::new(stream()))));
    let (body, _) = payload.split_last_chunk::<FOOTER>().unwrap();
    (0..body.len()).for_each(|end| assert_eq!(decoded(&body[..end]), Err(Error::Format), "{end}"));
    for at in 1..body.len() {
        for byte in 0..=255 {
            let mut body = body.to_vec();
            body[at] = byte;
            if let Ok(found) = decoded(&body) {
                let Decoded::Stream(stream) = &found else { panic!("another type") };
                let again = written(Value::Big(&Object::Stream(stream.clone())));
                assert_eq!(decode(&again, LONGEST).as_ref(), Ok(&found), "{at} {byte}");
            }
        }
    }
}

/// Of payloads of redis-server 7.0: the block, and what follows it.
const DELETED_BEYOND_LAST: &[u8] =
    b"&&\0\0\0\x0f\0\x01\x01\x01\x01\x01\x01\x81a\x02\0\x01\x02\x01\0\x01\0\x01\x01\x01\x04\x01\x03\x01\x05\
      \x01\0\x01\x01\x01\x04\x01\xff\x01\x05\0\x05\0\x0a\0\x02\0";
const WITHOUT_ENTRIES: &[u8] =
    b"\xc3%0\x0e0\0\0\0\x14\0\0\x01\x03\x01\x01\x01\x81a\x02@\x08\0\0 \x01\x02\x01\x01\x04`\x12\xc0\x09\0\x02\x80\
      \x09\x01\x01\xff\0\x03\0\0\0\x03\0\x03\0";
const BEHIND_DELETED: &[u8] =
    b"\xc33?\x0f?\0\0\0\x1b\0\x01\x01\x03\x01\x01\x01\x81a\x02\0 \x08\0\0 \x01\x02\x01\x01\x04 \x09\0\x01\xe0\0\
      \x09\0\x02\xa0\x09@\x19@\x03\x07\x81b\x02\x02\x01\x06\x01\xff\x01\x02\0\x02\0\x03\0\x04\0";

#[test]
fn what_redis_leaves_of_deleted_entries_is_read() {
    // XADD 5-0, XADD 10-0, XDEL 10-0, XSETID 5-0; XADD 1-0 to 3-0, XDEL 3-0, XTRIM MINID 3; XSETID 1-0, XADD 2-0.
    for (first, rest, entries, last) in
        [(5, DELETED_BEYOND_LAST, &[5][..], 5), (1, WITHOUT_ENTRIES, &[], 3), (1, BEHIND_DELETED, &[2], 2)]
    {
        let id = StreamId { ms: first, seq: 0 };
        let body = [&b"\x13\x01\x10"[..], &id.to_be_bytes(), rest].concat();
        let Ok(Decoded::Stream(stream)) = decoded(&body) else { panic!("{}", body.escape_ascii()) };
        let found: Vec<u64> = stream.range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id.ms).collect();
        assert_eq!((found.as_slice(), stream.last.ms), (entries, last));
        let again = written(Value::Big(&Object::Stream(stream.clone())));
        assert_eq!(decode(&again, LONGEST), Ok(Decoded::Stream(stream)));
    }
}

#[test]
fn names_that_entries_share_make_no_long_stream_of_a_short_payload() {
    let (name, limit) = (vec![b'n'; 1 << 20], BlockLimit { bytes: 0, entries: 0 });
    let payload = |entries: u64| {
        let mut stream = Stream::default();
        for ms in 1..=entries {
            stream.add(StreamId { ms, seq: 0 }, [&name[..], b"1"].into_iter(), limit);
        }
        written(Value::Big(&Object::Stream(Box::new(stream))))
    };
    let decoded = |entries| decode(&payload(entries), usize::MAX).map(drop);
    assert_eq!((decoded(255), decoded(257)), (Ok(()), Err(Error::Format)));
}

#[test]
fn when_a_consumer_was_given_something_is_read_where_it_is_told() {
    let mut stream = Stream::default();
    let mut group = Group::new(StreamId::MIN, None);
    group.find_or_create(b"ann", 2_000);
    stream.add_group(b"g", group);
    let payload = written(Value::Big(&Object::Stream(Box::new(stream))));
    let (body, _) = payload.split_last_chunk::<FOOTER>().unwrap();
    let active = |body: &[u8]| {
        let Ok(Decoded::Stream(stream)) = decoded(body) else { panic!("no stream") };
        let group = stream.group(b"g").unwrap();
        group.consumers().next().unwrap().active
    };
    // Type 19 does not tell, so it was when the consumer was last seen.
    assert_eq!(active(body), Some(2_000));
    for (time, expected) in [(1_234, Some(1_234)), (-1, None)] {
        // It stands in front of the number of the consumer's pending entries, which ends the payload.
        let (last, front) = body[1..].split_last().unwrap();
        let body = [&[types::STREAM_3][..], front, &i64::to_le_bytes(time), &[*last]].concat();
        assert_eq!(active(&body), expected);
    }
}

#[test]
fn deadlines_of_fields_are_written_as_valkey_does() {
    let mut hash = Hash::new(5);
    hash.set(b"f", b"v", Lasts::Until(0x0102_0304));
    hash.set(b"g", b"7", Lasts::Forever);
    let object = Object::Hash(hash);
    let at = |now| encode(Value::Big(&object), now).unwrap();
    let payload = at(0);
    assert_eq!(payload[..2], *b"\x16\x02");
    assert_eq!(payload[payload.len() - FOOTER..][..2], VALKEY_9.to_le_bytes());
    let Ok(Decoded::Hash(pairs, deadlines)) = decode(&payload, LONGEST) else { panic!("no hash") };
    let mut found: Vec<_> = pairs.pairs().zip(&deadlines).collect();
    found.sort_unstable();
    let expected: [((&[u8], &[u8]), _); 2] = [((b"f", b"v"), Some(0x0102_0304)), ((b"g", b"7"), None)];
    assert!(found.into_iter().map(|(pair, deadline)| (pair, *deadline)).eq(expected));
    // What is over is not written, and then there is no deadline left to write.
    let payload = at(0x0102_0304);
    assert_eq!(payload[..6], *b"\x04\x01\x01g\xc0\x07");
    assert_eq!(payload[payload.len() - FOOTER..][..2], VERSION.to_le_bytes());

    let dated = |ms: i64| [&b"\x16\x01\x01f\x01v"[..], &ms.to_le_bytes()].concat();
    let deadlines = |ms| match decoded(&dated(ms)) {
        Ok(Decoded::Hash(_, deadlines)) => Ok(deadlines[0]),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    assert_eq!(deadlines(-1), Ok(None));
    assert_eq!(deadlines(0), Ok(Some(1)));
    assert_eq!(deadlines(i64::MAX), Ok(Some(i64::MAX as u64)));
    assert_eq!(deadlines(-2), Err(Error::Format));
    assert_eq!(decoded(&dated(1)[..8]), Err(Error::Format));
    assert_eq!(decoded(b"\x16\x00"), Err(Error::Format));
}

#[test]
fn payloads_are_those_of_redis() {
    // What DUMP of redis-server 7.0 replies.
    let run = run_of([&b"a"[..], b"1"]);
    for (value, expected) in [
        (Value::Str(b"12"), &b"\x00\xc0\x0c\x0a\x00"[..]),
        (Value::Str(b"hello"), b"\x00\x05hello\x0a\x00"),
        (Value::Packed(Form::List, &run), b"\x12\x01\x02\x0c\x0c\0\0\0\x02\0\x81a\x02\x01\x01\xff\x0a\x00"),
        (Value::Packed(Form::Hash, &run), b"\x10\x0c\x0c\0\0\0\x02\0\x81a\x02\x01\x01\xff\x0a\x00"),
    ] {
        let payload = written(value);
        assert_eq!(&payload[..payload.len() - 8], expected, "{}", payload.escape_ascii());
    }
    let hello = b"\x00\x05hello\x0a\x00";
    assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    assert_eq!(decode(&written(Value::Str(b"hello")), LONGEST), Ok(Decoded::Str(b"hello".to_vec())));
    assert!(written(Value::Str(b"hello")).starts_with(hello));
}

#[test]
fn the_footer_is_checked_first() {
    let good = sealed(b"\x00\x01a");
    assert_eq!(decode(&good, LONGEST), Ok(Decoded::Str(b"a".to_vec())));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert_eq!(decode(&bad, LONGEST), Err(Error::Footer), "{at}");
        assert_eq!(decode(&good[..at], LONGEST), Err(Error::Footer), "{at}");
    }
    let refused = Err(Error::Footer);
    for (version, expected) in [
        (1, Ok(())),
        (NEWEST, Ok(())),
        (NEWEST + 1, refused),
        (VALKEY_9 - 1, refused),
        (VALKEY_9, Ok(())),
        (VALKEY_9 + 1, refused),
    ] {
        let mut payload = [&b"\x00\x01a"[..], &u16::to_le_bytes(version)].concat();
        let checksum = CHECKSUM.checksum(&payload);
        payload.extend_from_slice(&checksum.to_le_bytes());
        assert_eq!(decode(&payload, LONGEST).map(|_| ()), expected, "{version}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bodies: [&[u8]; 25] = [
        b"",
        b"\x06",
        b"\xff\x00",
        b"\x00\x02a",
        b"\x00\xc4",
        b"\x00\x82",
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\x80\xff\xff\xff\xff",
        b"\x00\xc3\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00a",
        b"\x01\x00",
        b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
        b"\x02\x02\x01a\x01a",
        b"\x02\x02\xc0\x05\x015",
        b"\x04\x02\x01f\x01v\x01f\x01w",
        b"\x04\x01\x01f",
        b"\x03\x01\x01a\xfd",
        b"\x03\x01\x01a\x01x",
        b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f",
        b"\x0b\x08\x02\0\0\0\0\0\0\0",
        b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x07\0\xff\xff",
        b"\x10\x07\x07\0\0\0\0\0\xff",
        b"\x10\x0a\x0a\0\0\0\x01\0\x81f\x02\xff",
        b"\x11\x0d\x0d\0\0\0\x02\0\x81f\x02\x81g\x02\xff",
        b"\x12\x01\x02\x07\x07\0\0\0\0\0\xff",
        b"\x12\x01\x03\x01a",
    ];
    for body in bodies {
        assert_eq!(decoded(body), Err(Error::Format), "{}", body.escape_ascii());
    }
    assert_eq!(decode(&sealed(b"\x00\x05hello"), 4), Err(Error::Format), "a string beyond the limit");
}
