//! The Raft log on disk: two preallocated segments, of which one is live.
//!
//! What a member must not forget is an [`Image`]: vote, entries, the end of what was purged, a snapshot. The image is
//! the fold of the records that were written; the live segment holds them in order. When it is full, or entries were
//! purged, the image is written afresh into the other segment, which then becomes the live one; this is also what
//! bounds the log. Both segments have all their blocks from the start, and part of each is kept back for votes: so a
//! full disk stops neither a vote, nor an entry, nor a snapshot, and is met only if the image outgrows its segment.
//!
//! Each write is one frame ([`crate::disk`]), synced before the next is begun, however many records it carries. So
//! only the last frame can be torn: if nothing whole follows a broken frame, it was never answered for and is cut
//! off; if something does, the file is damaged and refused. A segment's frames carry its generation in their
//! checksums, so that what an earlier generation left behind is garbage, not history.
//!
//! ```text
//! segment: [generation, 64 B] [frame: Vec<Record>] [frame] .. [frame] [garbage or zeros .. | kept back for votes]
//! ```

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt, path::Path, path::PathBuf};

use openraft::entry::RaftEntry;
use serde::{Deserialize, Serialize};

use super::types::{Entry, LogId, SnapshotMeta, Vote};
use crate::{
    codec,
    disk::{self, Allocate},
    fatal::Fatal,
    topology::Topology,
};

/// Bytes at the start of a segment that hold its generation.
const HEAD: u64 = 64;

/// Bytes at the end of a segment that only votes may use: more than a thousand of them, and each compaction leaves one.
pub(super) const KEPT_FOR_VOTES: u64 = 64 << 10;

/// One thing that the log must not forget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// For whom this member has voted.
    Vote(Vote),
    /// An entry, at the index that it names.
    Entry(Entry),
    /// The entries from this index on are void.
    Truncate(u64),
    /// The entries up to this one, inclusive, are not needed any more.
    Purge(LogId),
    /// The entries up to this one are agreed on.
    Committed(LogId),
    /// The topology as of some entry.
    Snapshot(Box<Stored>),
}

/// A snapshot, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) meta: SnapshotMeta,
    pub(super) topology: Topology,
}

/// What the records amount to.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) vote: Option<Vote>,
    pub(super) entries: BTreeMap<u64, Entry>,
    pub(super) purged: Option<LogId>,
    pub(super) committed: Option<LogId>,
    pub(super) snapshot: Option<Box<Stored>>,
}

impl Image {
    /// Adds a record.
    pub(super) fn take(&mut self, record: Record) {
        match record {
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Entry(entry) => drop(self.entries.insert(entry.index(), entry)),
            Record::Truncate(from) => drop(self.entries.split_off(&from)),
            Record::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = self.purged.max(Some(upto));
            }
            Record::Committed(upto) => self.committed = Some(upto),
            Record::Snapshot(stored) => self.snapshot = Some(stored),
        }
    }

    /// The shortest list of records that amounts to the same.
    fn records(&self) -> impl Iterator<Item = Record> {
        let snapshot = self.snapshot.clone().map(Record::Snapshot);
        let entries = self.entries.values().cloned().map(Record::Entry);
        (self.vote.map(Record::Vote).into_iter())
            .chain(snapshot)
            .chain(self.purged.map(Record::Purge))
            .chain(self.committed.map(Record::Committed))
            .chain(entries)
    }
}

struct Segment {
    path: PathBuf,
    file: File,
    capacity: u64,
}

/// The open log. It belongs to one thread, which waits for the disk.
pub(super) struct LogFile {
    segments: [Segment; 2],
    live: usize,
    generation: u64,
    /// Where the next frame goes in the live segment.
    end: u64,
    image: Image,
    allocate: Allocate,
    /// The size that segments have at least, and grow in.
    unit: u64,
    /// After a failed write nobody knows what the disk holds: nothing more is written.
    failed: bool,
}

impl LogFile {
    /// Opens the log in a directory, or makes it: two segments of `unit` bytes.
    pub(super) fn open(directory: &Path, unit: u64, allocate: Allocate) -> Result<Self, Fatal> {
        let (a, a_bytes) = Segment::open(directory.join("raft-log.0"), unit, &allocate)?;
        let (b, b_bytes) = Segment::open(directory.join("raft-log.1"), unit, &allocate)?;
        let generations = [a.generation(&a_bytes)?, b.generation(&b_bytes)?];
        let live = match generations {
            [Head::Of(a), Head::Of(b)] => usize::from(b > a),
            [Head::Of(_), _] | [Head::Blank, Head::Blank] => 0,
            [_, Head::Of(_)] => 1,
            _ => return Err(a.damaged("the head of a segment is not whole, and no other one is in use")),
        };
        let mut log = Self {
            segments: [a, b],
            live,
            generation: 1,
            end: HEAD,
            image: Image::default(),
            allocate,
            unit,
            failed: false,
        };
        match generations[live] {
            Head::Of(generation) => {
                log.generation = generation;
                log.replay(&[a_bytes, b_bytes][live])?;
            }
            _ => log.live_segment().write_head(1)?,
        }
        // If a compaction was cut short before it retired the old segment.
        log.segments[1 - live].retire()?;
        Ok(log)
    }

    /// What was read.
    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    /// Whether more than half of the live segment is used: a snapshot, and a purge, would make room.
    pub(super) fn is_crowded(&self) -> bool {
        self.end > self.live_segment().capacity / 2
    }

    /// Writes records: all of them are on disk when this returns.
    pub(super) fn write(&mut self, records: Vec<Record>) -> Result<(), Fatal> {
        if self.failed {
            return Err(Fatal::Raft("an earlier write to the log has failed".into()));
        }
        let votes_only = records.iter().all(|record| matches!(record, Record::Vote(_)));
        let purges = records.iter().any(|record| matches!(record, Record::Purge(_)));
        let body = codec::encode(&records);
        if body.len() > codec::RECORD_LIMIT {
            return Err(Fatal::Raft(format!(
                "a record of {} bytes, which could not be read again",
                body.len()
            )));
        }
        let frame = disk::frame(self.generation, &body);
        records.into_iter().for_each(|record| self.image.take(record));
        let room = self.live_segment().capacity - if votes_only { 0 } else { KEPT_FOR_VOTES };
        let fits = self.end + frame.len() as u64 <= room;
        let written = if fits && !(purges && self.is_crowded()) {
            self.live_segment().write(self.end, &frame).map(|()| self.end += frame.len() as u64)
        } else {
            self.compact()
        };
        self.failed = written.is_err();
        written
    }

    /// Writes the image into the other segment, and makes that the live one.
    fn compact(&mut self) -> Result<(), Fatal> {
        let generation = self.generation + 1;
        let mut bytes = Vec::new();
        for record in self.image.records() {
            bytes.extend_from_slice(&disk::frame(generation, &codec::encode(&vec![record])));
        }
        let end = HEAD + bytes.len() as u64;
        let spare = 1 - self.live;
        if let Err(full) = self.grow(spare, end)
            && end + KEPT_FOR_VOTES > self.segments[spare].capacity
        {
            return Err(full);
        }
        self.segments[spare].write(HEAD, &bytes)?;
        self.segments[spare].write_head(generation)?;
        self.segments[self.live].retire()?;
        (self.live, self.generation, self.end) = (spare, generation, end);
        // So that the next compaction has as much room as this one, whatever happens to the disk until then. Without
        // it, that one may fail; this one did not.
        let _ = self.grow(1 - spare, end);
        Ok(())
    }

    /// Gives a segment twice the room that an image of `end` bytes takes, if it has less.
    fn grow(&mut self, segment: usize, end: u64) -> Result<(), Fatal> {
        let segment = &mut self.segments[segment];
        let wanted = (2 * end + KEPT_FOR_VOTES).next_multiple_of(self.unit);
        if segment.capacity < wanted {
            (self.allocate)(&segment.file, segment.capacity..wanted).map_err(|error| {
                tracing::warn!(file = %segment.path.display(), %error, "the Raft log cannot grow; free some space");
                Fatal::disk(&segment.path, error)
            })?;
            segment.capacity = wanted;
        }
        Ok(())
    }

    fn replay(&mut self, bytes: &[u8]) -> Result<(), Fatal> {
        let segment = &self.segments[self.live];
        let mut at = HEAD as usize;
        while let Some(body) = disk::framed(self.generation, &bytes[at..]) {
            let records: Vec<Record> =
                codec::decode(body).map_err(|bad| Fatal::record(&segment.path, bad))?;
            records.into_iter().for_each(|record| self.image.take(record));
            at += disk::FRAME_HEADER + body.len();
        }
        self.end = at as u64;
        let is_frame = |start: &usize| disk::framed(self.generation, &bytes[*start..]).is_some();
        if let Some(next) = (at..bytes.len()).find(is_frame) {
            return Err(
                segment.damaged(&format!("a record at byte {at} is broken, and one at {next} is whole"))
            );
        }
        let torn = bytes[at..].iter().take(disk::FRAME_HEADER).any(|byte| *byte != 0);
        tracing::debug!(end = self.end, torn, entries = self.image.entries.len(), "the Raft log was read");
        Ok(())
    }

    fn live_segment(&self) -> &Segment {
        &self.segments[self.live]
    }
}

/// What the first bytes of a segment say.
#[derive(Clone, Copy)]
enum Head {
    /// In use, or about to be retired.
    Of(u64),
    /// Spare, or new.
    Blank,
    Damaged,
}

impl Segment {
    fn open(path: PathBuf, unit: u64, allocate: &Allocate) -> Result<(Self, Vec<u8>), Fatal> {
        let file = match disk::open_existing(&path)? {
            Some(file) => file,
            None => disk::create(&path, unit, &[], allocate)?,
        };
        let mut bytes = disk::read_all(&file).map_err(|error| Fatal::disk(&path, error))?;
        let capacity = bytes.len() as u64;
        let mut segment = Self { path, file, capacity };
        if capacity < HEAD {
            return Err(segment.damaged("it was cut short"));
        }
        if capacity < unit {
            // Somebody has cut it, or its disk has. What it holds is judged as ever; it needs its blocks back.
            let range = capacity..unit;
            allocate(&segment.file, range).map_err(|error| Fatal::disk(&segment.path, error))?;
            segment.capacity = unit;
            bytes.resize(usize::try_from(unit).unwrap_or(bytes.len()), 0);
        }
        Ok((segment, bytes))
    }

    fn generation(&self, bytes: &[u8]) -> Result<Head, Fatal> {
        match disk::framed(0, &bytes[..HEAD as usize]) {
            Some(body) => codec::decode(body).map(Head::Of).map_err(|bad| Fatal::record(&self.path, bad)),
            None if bytes[..HEAD as usize].iter().all(|byte| *byte == 0) => Ok(Head::Blank),
            None => Ok(Head::Damaged),
        }
    }

    fn write_head(&self, generation: u64) -> Result<(), Fatal> {
        self.write(0, &disk::frame(0, &codec::encode(&generation)))
    }

    /// Takes the head away, so that damage to the live segment can never bring this older one back.
    fn retire(&self) -> Result<(), Fatal> {
        self.write(0, &[0; HEAD as usize])
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Fatal> {
        let write = || {
            if at + bytes.len() as u64 > self.capacity {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.file.write_all_at(bytes, at)?;
            self.file.sync_data()
        };
        write().map_err(|error| Fatal::disk(&self.path, error))
    }

    fn damaged(&self, why: &str) -> Fatal {
        Fatal::Damaged { path: self.path.clone(), why: why.into() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use openraft::{EntryPayload, vote::RaftLeaderId};

    use super::*;
    use crate::{
        change::{Change, tests::info},
        ids::NodeId,
    };

    const UNIT: u64 = 256 << 10;

    pub(in crate::council) fn log_id(index: u64) -> LogId {
        let leader = openraft::impls::leader_id_std::LeaderId { term: 1u64, voted_for: 7u64 };
        LogId { leader_id: leader.to_committed(), index }
    }

    fn entry(index: u64) -> Record {
        let payload = EntryPayload::Normal(Change::Remove(NodeId([index as u8; 20])));
        Record::Entry(Entry::new(log_id(index), payload))
    }

    fn large_entry(index: u64) -> Record {
        let mut info = info(1, 1);
        info.zone = "z".repeat(4096);
        Record::Entry(Entry::new(log_id(index), EntryPayload::Normal(Change::Admit(info))))
    }

    fn vote(term: u64) -> Record {
        Record::Vote(Vote::new(term, 7))
    }

    /// A disk with this many bytes free.
    fn disk_with(free: u64) -> (Arc<AtomicU64>, Allocate) {
        let free = Arc::new(AtomicU64::new(free));
        let left = free.clone();
        let allocate = move |file: &File, range: std::ops::Range<u64>| {
            let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(range.end - range.start)
            });
            taken.map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
            disk::write_zeros(file, range)
        };
        (free, Arc::new(allocate))
    }

    fn open(place: &tempfile::TempDir) -> Result<LogFile, Fatal> {
        LogFile::open(place.path(), UNIT, Arc::new(disk::write_zeros))
    }

    fn indices(log: &LogFile) -> Vec<u64> {
        log.image().entries.keys().copied().collect()
    }

    /// Changes a byte of the live segment.
    fn damage(log: &LogFile, at: u64) {
        let mut byte = [0];
        log.live_segment().file.read_exact_at(&mut byte, at).unwrap();
        log.live_segment().file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    #[test]
    fn what_was_written_is_found_again() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(&place).unwrap();
        log.write(vec![vote(3), entry(0), entry(1)]).unwrap();
        log.write(vec![entry(2), Record::Committed(log_id(1))]).unwrap();
        log.write(vec![Record::Truncate(2), Record::Purge(log_id(0))]).unwrap();
        let log = open(&place).unwrap();
        assert_eq!(indices(&log), [1]);
        assert_eq!(log.image().vote, Some(Vote::new(3, 7)));
        assert_eq!(log.image().committed, Some(log_id(1)));
        assert_eq!(log.image().purged, Some(log_id(0)));
    }

    #[test]
    fn a_file_that_was_cut_behind_its_records_gets_its_blocks_back() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(&place).unwrap();
        log.write(vec![entry(0)]).unwrap();
        log.live_segment().file.set_len(log.end).unwrap();
        let mut log = open(&place).unwrap();
        log.write(vec![entry(1)]).unwrap();
        assert_eq!(indices(&open(&place).unwrap()), [0, 1]);
        assert_eq!(log.live_segment().file.metadata().unwrap().len(), UNIT);
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_written_over() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(&place).unwrap();
        log.write(vec![entry(0)]).unwrap();
        let end = log.end;
        log.write(vec![entry(1), entry(2)]).unwrap();
        damage(&log, end + 20);
        let mut log = open(&place).unwrap();
        assert_eq!((indices(&log), log.end), (vec![0], end));
        log.write(vec![entry(1)]).unwrap();
        assert_eq!(indices(&open(&place).unwrap()), [0, 1]);
    }

    #[test]
    fn damage_with_whole_records_behind_it_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(&place).unwrap();
        log.write(vec![entry(0)]).unwrap();
        log.write(vec![entry(1)]).unwrap();
        damage(&log, HEAD + 2);
        let refused = open(&place).err().unwrap();
        assert!(matches!(&refused, Fatal::Damaged { why, .. } if why.contains("broken")), "{refused}");
    }

    #[test]
    fn a_damaged_head_is_refused_and_never_hides_the_log() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(&place).unwrap();
        for index in 0..64 {
            log.write(vec![large_entry(index), Record::Truncate(index)]).unwrap();
        }
        assert!(log.generation > 1, "both segments have been live");
        damage(&log, 3);
        assert!(matches!(open(&place), Err(Fatal::Damaged { .. })));
    }

    #[test]
    fn a_log_of_a_newer_build_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let log = open(&place).unwrap();
        let newer = disk::frame(log.generation, &[codec::FORMAT + 1, 1, 2, 3]);
        log.live_segment().write(log.end, &newer).unwrap();
        assert!(matches!(open(&place), Err(Fatal::Newer { format, .. }) if format == codec::FORMAT + 1));
    }

    #[test]
    fn purging_bounds_the_file_and_a_full_disk_stops_neither_entries_nor_votes() {
        let place = tempfile::tempdir().unwrap();
        let (_, allocate) = disk_with(2 * UNIT);
        let mut log = LogFile::open(place.path(), UNIT, allocate).unwrap();
        for index in 0..300 {
            log.write(vec![large_entry(index)]).unwrap();
            log.write(vec![vote(index)]).unwrap();
            if log.is_crowded() && index >= 4 {
                log.write(vec![Record::Purge(log_id(index - 4))]).unwrap();
            }
        }
        assert_eq!(log.segments.each_ref().map(|segment| segment.capacity), [UNIT; 2]);
        let log = open(&place).unwrap();
        assert_eq!(log.image().vote, Some(Vote::new(299, 7)));
        assert_eq!(indices(&log).last(), Some(&299));
    }

    #[test]
    fn votes_find_room_where_entries_find_none() {
        let place = tempfile::tempdir().unwrap();
        let (_, allocate) = disk_with(2 * UNIT);
        let mut log = LogFile::open(place.path(), UNIT, allocate).unwrap();
        while log.end + 5_000 + KEPT_FOR_VOTES < UNIT {
            log.write(vec![large_entry(log.image().entries.len() as u64)]).unwrap();
        }
        for term in 0..3500 {
            log.write(vec![vote(term)]).unwrap();
        }
        assert_eq!(open(&place).unwrap().image().vote, Some(Vote::new(3499, 7)));
    }

    #[test]
    fn an_image_that_outgrows_its_segment_takes_more_or_says_that_the_disk_is_full() {
        let place = tempfile::tempdir().unwrap();
        let (free, allocate) = disk_with(2 * UNIT + 16 * UNIT);
        let mut log = LogFile::open(place.path(), UNIT, allocate).unwrap();
        let mut index = 0;
        let refused = loop {
            match log.write(vec![large_entry(index)]) {
                Ok(()) => index += 1,
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, Fatal::Full { .. }), "{refused}");
        assert!(free.load(Ordering::Relaxed) < 16 * UNIT, "it has grown before");
        assert!(log.end + KEPT_FOR_VOTES <= log.live_segment().capacity, "votes keep their room");
        assert!(
            matches!(log.write(vec![vote(1)]), Err(Fatal::Raft(_))),
            "nothing is written after a failure"
        );
        assert_eq!(indices(&open(&place).unwrap()), (0..index).collect::<Vec<_>>());
    }

    #[test]
    fn a_compaction_that_was_cut_short_loses_nothing() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(&place).unwrap();
        log.write(vec![entry(0)]).unwrap();
        let (old, generation) = (log.live, log.generation);
        // Before the new segment has its head: the old one counts.
        let half = disk::frame(generation + 1, &codec::encode(&vec![entry(5)]));
        log.segments[1 - old].write(HEAD, &half).unwrap();
        assert_eq!(indices(&open(&place).unwrap()), [0]);
        // After that, and before the old one is retired: the new one counts.
        log.segments[1 - old].write_head(generation + 1).unwrap();
        assert_eq!(indices(&open(&place).unwrap()), [5]);
        assert_eq!(indices(&open(&place).unwrap()), [5], "and the old one is retired by then");
    }
}
