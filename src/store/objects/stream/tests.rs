//! A stream against a model, and the account of its memory.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIMIT: BlockLimit = BlockLimit { bytes: 4096, entries: 5 };

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

fn add(stream: &mut Stream, id: StreamId, text: &str) {
    stream.add(id, text.split(' ').map(str::as_bytes).collect::<Vec<_>>().into_iter(), LIMIT);
}

fn ids<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<StreamId> {
    entries.map(|entry| entry.id).collect()
}

fn filled(entries: u64) -> Stream {
    let mut stream = Stream::default();
    (1..=entries).for_each(|ms| add(&mut stream, id(ms, ms % 3), "name value"));
    stream
}

/// What a stream owns, counted anew.
fn counted(stream: &Stream) -> usize {
    let blocks: usize = stream.blocks.values().map(|block| block.heap_bytes() + BLOCK_PLACE).sum();
    let groups = stream.groups.iter().map(|(name, group)| group.heap_bytes() + name.len() + GROUP_PLACE);
    blocks + groups.sum::<usize>() + size_of::<Stream>()
}

#[derive(Clone, Debug)]
enum Step {
    Add(u64, u64),
    Delete(u64),
    Trim(Trim, bool, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u64, 0..3u64).prop_map(|(ms, seq)| Step::Add(ms, seq)),
        3 => (0..40u64).prop_map(Step::Delete),
        1 => (0..20u64, any::<bool>(), 1..30u64).prop_map(|(len, whole, most)| Step::Trim(Trim::Length(len), whole, most)),
        1 => (0..60u64, any::<bool>(), 1..30u64)
            .prop_map(|(ms, whole, most)| Step::Trim(Trim::Before(id(ms, 1)), whole, most)),
    ]
}

proptest! {
    #[test]
    fn a_stream_is_what_an_ordered_map_is(steps in prop::collection::vec(step(), 0..120), from in 0..60u64, to in 0..60u64) {
        let (mut stream, mut model) = (Stream::default(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Add(ms, seq) => {
                    let new = if ms == 0 { id(stream.last.ms, stream.last.seq + 1 + seq) } else { id(stream.last.ms + ms, seq) };
                    add(&mut stream, new, if seq == 0 { "a 1" } else { "a x b 2" });
                    model.insert(new, ());
                }
                Step::Delete(nth) => {
                    let doomed = model.keys().nth(nth as usize).copied().unwrap_or(id(nth, 7));
                    prop_assert_eq!(stream.delete(doomed), model.remove(&doomed).is_some());
                }
                Step::Trim(to, whole_blocks, most) => {
                    let most = if whole_blocks { most } else { u64::MAX };
                    let trims = stream.trims(to, whole_blocks, most);
                    let removed = stream.trim(to, whole_blocks, most);
                    prop_assert_eq!(trims, removed > 0);
                    let enough = match to {
                        Trim::Length(len) => (model.len() as u64).saturating_sub(len),
                        Trim::Before(id) => model.range(..id).count() as u64,
                    };
                    let is_enough = if whole_blocks { removed <= enough.min(most) } else { removed == enough };
                    prop_assert!(is_enough);
                    for _ in 0..removed {
                        model.pop_first();
                    }
                }
            }
            prop_assert_eq!(stream.len(), model.len() as u64);
            prop_assert_eq!(stream.first(), model.keys().next().copied().unwrap_or_default());
            prop_assert_eq!(stream.top(), model.keys().next_back().copied());
            prop_assert_eq!(stream.heap_bytes(), counted(&stream));
        }
        let (from, to) = (id(from.min(to), 1), id(to.max(from), 0));
        let expected: Vec<_> = model.keys().copied().filter(|id| (from..=to).contains(id)).collect();
        prop_assert_eq!(&ids(stream.range(from, to)), &expected);
        let mut back = ids(stream.range_back(from, to));
        back.reverse();
        prop_assert_eq!(&back, &expected);
        prop_assert!(model.keys().all(|id| stream.get(*id).is_some_and(|entry| entry.id == *id)));
    }
}

#[test]
fn a_range_that_runs_backwards_is_empty() {
    let stream = filled(20);
    assert!(ids(stream.range(id(9, 0), id(3, 0))).is_empty());
    assert!(ids(stream.range_back(id(9, 0), id(3, 0))).is_empty());
}

#[test]
fn blocks_are_filled_as_the_settings_say() {
    assert_eq!(filled(11).blocks().map(|(_, block)| block.live()).collect::<Vec<_>>(), [5, 5, 1]);
    let mut stream = Stream::default();
    let limit = BlockLimit { bytes: 100, entries: 0 };
    let text = "x".repeat(60);
    (1..=3).for_each(|ms| stream.add(id(ms, 0), [&b"f"[..], text.as_bytes()].into_iter(), limit));
    assert_eq!(stream.blocks().len(), 3);
}

#[test]
fn whole_blocks_alone_are_removed_if_asked_so() {
    let mut stream = filled(12);
    assert_eq!(stream.trim(Trim::Length(4), true, u64::MAX), 5);
    assert_eq!(stream.trim(Trim::Length(4), true, u64::MAX), 0);
    assert_eq!(stream.trim(Trim::Length(4), false, u64::MAX), 3);
    assert_eq!(ids(stream.range(StreamId::MIN, StreamId::MAX)), [id(9, 0), id(10, 1), id(11, 2), id(12, 0)]);
}

/// Entries 1 to 5, of which the last was deleted, and the others trimmed off.
fn emptied() -> Stream {
    let mut stream = filled(5);
    assert!(stream.delete(id(5, 2)));
    assert_eq!(stream.trim(Trim::Before(id(5, 0)), false, u64::MAX), 4);
    stream
}

#[test]
fn a_block_without_entries_hides_none_that_come_later() {
    let mut stream = emptied();
    assert_eq!(stream.blocks().len(), 0);
    assert_eq!(stream.heap_bytes(), counted(&stream));
    stream.last = id(1, 0);
    add(&mut stream, id(2, 0), "a 1");
    assert!(stream.get(id(2, 0)).is_some() && stream.delete(id(2, 0)));
}

#[test]
fn an_exact_trim_goes_on_behind_a_block_of_which_it_leaves_nothing() {
    let mut stream = filled(5);
    stream.delete(id(5, 2));
    stream.last = id(4, 1);
    // The first block is full, so this is another one; its id is lower than that of a deleted entry before it.
    add(&mut stream, id(4, 2), "a 1");
    assert_eq!(stream.blocks().len(), 2);
    assert_eq!(stream.trim(Trim::Before(id(5, 0)), false, u64::MAX), 5);
    assert_eq!((stream.len(), stream.blocks().len()), (0, 0));
}

#[test]
fn a_clone_has_the_account_of_its_own_memory() {
    let mut stream = Stream::default();
    (1..=13).for_each(|ms| add(&mut stream, id(ms, 0), "name value"));
    let spare = |stream: &Stream| stream.blocks().map(|(_, block)| block.heap_bytes()).sum::<usize>();
    let mut copy = stream.clone();
    assert!(spare(&copy) < spare(&stream), "else nothing is shown");
    assert_eq!(copy.heap_bytes(), counted(&copy));
    add(&mut copy, id(14, 0), "name value");
    assert_eq!(copy.trim(Trim::Length(0), false, u64::MAX), 14);
    assert_eq!(copy.heap_bytes(), counted(&copy));
    assert_eq!(copy.heap_bytes(), Stream::default().heap_bytes());
}

#[test]
fn how_far_a_group_is_behind_is_told_where_it_is_known() {
    let mut stream = filled(12);
    let lag = |stream: &Stream, last: StreamId, read| stream.lag(&Group::new(last, read));
    assert_eq!(lag(&stream, StreamId::MIN, None), Some(12));
    assert_eq!(lag(&stream, id(1, 1), None), Some(11));
    assert_eq!(lag(&stream, id(5, 2), None), None);
    assert_eq!(lag(&stream, id(5, 2), Some(5)), Some(7));
    assert_eq!(lag(&stream, id(12, 0), None), Some(0));
    assert_eq!(lag(&stream, id(13, 0), None), None);
    stream.delete(id(6, 0));
    assert_eq!(lag(&stream, id(5, 2), Some(5)), None);
    assert_eq!(lag(&stream, id(7, 1), Some(7)), Some(5));
    stream.trim(Trim::Length(0), false, u64::MAX);
    assert_eq!(lag(&stream, id(5, 2), None), Some(0));
}

#[test]
fn blocks_from_elsewhere_ascend() {
    let (stream, mut copy) = (filled(12), Stream::default());
    let blocks: Vec<_> = stream.blocks().map(|(first, block)| (first, block.clone())).collect();
    assert!(copy.add_block(blocks[0].0, blocks[0].1.clone()));
    assert!(copy.add_block(blocks[2].0, blocks[2].1.clone()));
    assert!(!copy.add_block(blocks[1].0, blocks[1].1.clone()));
    assert_eq!((copy.len(), copy.first()), (7, id(1, 1)));
    assert_eq!(copy.heap_bytes(), counted(&copy));
}

/// A block of these entries, of which the negative ones are deleted, under the id of the first.
fn block(times: &[i64]) -> (StreamId, Block) {
    let (first, fields) = (id(times[0].unsigned_abs(), 0), [&b"a"[..], b"1"]);
    let mut block = Block::new(fields.into_iter());
    times.iter().for_each(|ms| block.push(first, id(ms.unsigned_abs(), 0), fields.into_iter()));
    let deleted: Vec<_> = times.iter().zip(block.entries(first)).filter(|(ms, _)| **ms < 0).collect();
    let places: Vec<_> = deleted.into_iter().map(|(_, entry)| entry.place).collect();
    places.into_iter().for_each(|place| block.delete(place));
    (first, block)
}

#[test]
fn blocks_from_elsewhere_are_taken_if_commands_could_have_made_them() {
    let taken = |blocks: &[&[i64]]| {
        let mut stream = Stream::default();
        let mut blocks = blocks.iter().map(|times| block(times));
        blocks.all(|(first, block)| stream.add_block(first, block)).then(|| {
            assert_eq!(stream.heap_bytes(), counted(&stream));
            ids(stream.range(StreamId::MIN, StreamId::MAX)).iter().map(|id| id.ms).collect::<Vec<_>>()
        })
    };
    // Deleted entries may be above what XSETID let come behind them.
    assert_eq!(taken(&[&[5, -10], &[6, -20, 7]]), Some(vec![5, 6, 7]));
    assert_eq!(taken(&[&[-1, 5], &[6]]), Some(vec![5, 6]));
    // What has no entries says nothing.
    assert_eq!(taken(&[&[-5, -10], &[2], &[-9], &[3]]), Some(vec![2, 3]));
    assert_eq!(taken(&[&[5, 5]]), None);
    assert_eq!(taken(&[&[5, 6, -3]]), None);
    assert_eq!(taken(&[&[-5, 3]]), None);
    assert_eq!(taken(&[&[5, 9], &[7]]), None);
}

#[test]
fn blocks_without_entries_are_not_kept() {
    let mut stream = Stream::default();
    for ms in 1..=1_000 {
        let (first, block) = block(&[-ms, -ms - 1]);
        assert!(stream.add_block(first, block));
    }
    assert_eq!(stream.blocks().len(), 0);
}

#[test]
fn groups_are_accounted_for() {
    let mut stream = filled(3);
    assert!(stream.add_group(b"g", Group::new(StreamId::MIN, None)));
    assert!(!stream.add_group(b"g", Group::new(StreamId::MIN, None)));
    stream.change_group(b"g", |group| {
        let ann = group.find_or_create(b"ann", 1).0;
        group.assign(id(1, 1), ann, 1, 1);
    });
    assert_eq!(stream.heap_bytes(), counted(&stream));
    assert!(stream.remove_group(b"g") && !stream.remove_group(b"g"));
    assert_eq!(stream.heap_bytes(), counted(&stream));
}
