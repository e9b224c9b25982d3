//! A shard's own log of writes: what replicas follow.
//!
//! Every write appends its effect under the shard's lock, as one record: its length (four bytes, little endian,
//! without themselves), the database (one byte), and the command in RESP. A position in the log is an offset in bytes
//! since the shard began; the log keeps the newest part, within its limit, so that a replica that was away for a
//! moment goes on where it stopped. A shard that nobody follows keeps its offset only.

use std::collections::VecDeque;

use ringfort_cluster::Offset;

/// Bytes in front of a record's command.
pub const RECORD_HEAD: usize = 5;

/// A log that takes more than so many times what it may keep, and does keep, gives memory back.
const HOARD: usize = 4;

/// The log.
#[derive(Debug, Default)]
pub struct Log {
    bytes: VecDeque<u8>,
    end: u64,
    /// Bytes to keep; 0: none, offsets only.
    limit: usize,
}

impl Log {
    /// Where the next record will begin.
    pub fn end(&self) -> Offset {
        Offset(self.end)
    }

    /// The oldest offset that can still be read.
    pub fn start(&self) -> Offset {
        Offset(self.end - self.bytes.len() as u64)
    }

    /// Bytes that it keeps.
    pub fn kept(&self) -> usize {
        self.bytes.len()
    }

    /// Changes how many bytes it keeps, if it keeps any.
    pub fn limit(&mut self, bytes: usize) {
        if self.limit > 0 {
            self.limit = bytes.max(1);
            self.trim();
            // What one large record or an earlier limit made it take.
            if self.bytes.capacity() / HOARD > self.limit.max(self.bytes.len()) {
                self.bytes.shrink_to(self.limit);
            }
        }
    }

    /// Keeps up to `limit` bytes from now on; 0 keeps none.
    pub fn keep(&mut self, limit: usize) {
        self.limit = limit;
        if limit == 0 {
            self.bytes = VecDeque::new();
        }
        self.trim();
    }

    /// Whether records are kept.
    pub fn is_kept(&self) -> bool {
        self.limit > 0
    }

    /// Forgets everything and goes on at `offset`: the shard now has another history.
    pub fn restart(&mut self, offset: Offset) {
        self.bytes = VecDeque::new();
        self.end = offset.0;
    }

    /// Appends the effect that is made of `args`, in database `db`.
    pub fn append<'a>(&mut self, db: u8, args: impl ExactSizeIterator<Item = &'a [u8]> + Clone) {
        let len = 1 + command_len(args.clone());
        self.end += (len + 4) as u64;
        if self.limit > 0 {
            put_record(&mut self.bytes, db, args);
            self.trim();
        }
    }

    /// Appends records that another node's log holds, as they are.
    pub fn append_records(&mut self, records: &[u8]) {
        self.end += records.len() as u64;
        if self.limit > 0 {
            self.bytes.extend(records);
            self.trim();
        }
    }

    /// The records from `from` on, at most about `most` bytes of them but whole ones; `None` if they are not kept.
    pub fn read(&self, from: Offset, most: usize) -> Option<Vec<u8>> {
        if from < self.start() || from > self.end() {
            return None;
        }
        let mut at = (from.0 - self.start().0) as usize;
        let begin = at;
        while at < self.bytes.len() && at - begin < most {
            let head: [u8; 4] = std::array::from_fn(|i| self.bytes[at + i]);
            at += 4 + u32::from_le_bytes(head) as usize;
        }
        let mut records = Vec::with_capacity(at - begin);
        let (first, second) = self.bytes.as_slices();
        let (begin, end) = (begin, at);
        records.extend_from_slice(&first[begin.min(first.len())..end.min(first.len())]);
        let beyond = |at: usize| at.saturating_sub(first.len());
        records.extend_from_slice(&second[beyond(begin)..beyond(end)]);
        Some(records)
    }

    /// Drops the oldest records until the rest is within the limit. The newest stays even if it alone is larger, so
    /// that a replica which keeps up is not sent a whole copy for each large value.
    fn trim(&mut self) {
        while self.bytes.len() > self.limit {
            let head: [u8; 4] = std::array::from_fn(|i| self.bytes[i]);
            let record = 4 + u32::from_le_bytes(head) as usize;
            if record >= self.bytes.len() {
                return;
            }
            self.bytes.drain(..record);
        }
    }
}

/// Appends the record of an effect that is encoded already, as [`records`] returns it.
pub fn put_encoded(out: &mut Vec<u8>, db: u8, command: &[u8]) {
    out.extend((1 + command.len() as u32).to_le_bytes());
    out.push(db);
    out.extend(command);
}

/// Appends the record of the effect that is made of `args`, in database `db`.
pub fn put_record<'a>(
    out: &mut impl for<'b> Extend<&'b u8>,
    db: u8,
    args: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) {
    let len = 1 + command_len(args.clone()) as u32;
    let mut number = itoa::Buffer::new();
    let mut put = |bytes: &[u8]| out.extend(bytes);
    put(&len.to_le_bytes());
    put(&[db, b'*']);
    put(number.format(args.len()).as_bytes());
    put(b"\r\n");
    for arg in args {
        put(b"$");
        put(number.format(arg.len()).as_bytes());
        put(b"\r\n");
        put(arg);
        put(b"\r\n");
    }
}

/// Length of a command in RESP.
fn command_len<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> usize {
    let digits = |n: usize| n.checked_ilog10().unwrap_or(0) as usize + 1;
    let head = 3 + digits(args.len());
    head + args.map(|arg| 5 + digits(arg.len()) + arg.len()).sum::<usize>()
}

/// Splits records, as [`Log::read`] gives them, into (database, command).
pub fn records(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*head) as usize;
        if len == 0 || len > rest.len() {
            return None;
        }
        let (record, rest) = rest.split_at(len);
        bytes = rest;
        Some((record[0], &record[1..]))
    })
}

/// Splits records into pieces of about `most` bytes, each of whole records.
pub fn batches(mut bytes: &[u8], most: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut end = 0;
        while end < bytes.len() && (end == 0 || end < most) {
            let head = bytes.get(end..end + 4)?;
            end += 4 + u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        }
        let (batch, rest) = bytes.split_at_checked(end)?;
        bytes = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(log: &mut Log, args: &[&[u8]]) {
        log.append(3, args.iter().copied());
    }

    #[test]
    fn records_come_back_as_commands() {
        let mut log = Log::default();
        log.keep(1 << 20);
        append(&mut log, &[b"SET", b"k", b"0123456789"]);
        append(&mut log, &[b"DEL", b""]);
        let bytes = log.read(Offset(0), usize::MAX).unwrap();
        assert_eq!(bytes.len() as u64, log.end().0);
        let found: Vec<_> = records(&bytes).collect();
        let set = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n";
        assert_eq!(found, [(3, &set[..]), (3, &b"*2\r\n$3\r\nDEL\r\n$0\r\n\r\n"[..])]);
    }

    #[test]
    fn offsets_grow_alike_whether_records_are_kept_or_not() {
        let (mut kept, mut none) = (Log::default(), Log::default());
        kept.keep(1 << 20);
        for len in [0, 9, 10, 99, 100, 12_345] {
            append(&mut kept, &[b"SET", b"k", &vec![b'x'; len]]);
            append(&mut none, &[b"SET", b"k", &vec![b'x'; len]]);
            assert_eq!(kept.end(), none.end());
            assert_eq!(kept.read(Offset(0), usize::MAX).unwrap().len() as u64, kept.end().0);
        }
        assert_eq!(none.start(), none.end());
    }

    #[test]
    fn the_oldest_records_go_first_and_whole() {
        let mut log = Log::default();
        log.keep(100);
        for i in 0..50u8 {
            append(&mut log, &[b"SET", &[b'a' + i % 26], b"value"]);
        }
        let bytes = log.read(log.start(), usize::MAX).unwrap();
        assert!(bytes.len() <= 100 && records(&bytes).count() == 2);
        assert_eq!(log.read(Offset(log.start().0 - 1), 1), None);
        assert_eq!(log.read(log.end(), 10), Some(Vec::new()));
        assert_eq!(records(&log.read(log.start(), 1).unwrap()).count(), 1);
    }

    #[test]
    fn batches_are_of_whole_records() {
        let mut bytes = Vec::new();
        for value in [&b"a"[..], &[b'x'; 100], b"c", b"d"] {
            put_record(&mut bytes, 0, [&b"SET"[..], b"k", value].into_iter());
        }
        let batches: Vec<_> = batches(&bytes, 60).collect();
        assert_eq!(batches.iter().map(|batch| records(batch).count()).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(batches.concat(), bytes);
    }

    #[test]
    fn damaged_records_end_the_iteration() {
        assert_eq!(records(&[5, 0, 0, 0, 1]).count(), 0);
        assert_eq!(records(&[0, 0, 0, 0]).count(), 0);
    }
}
