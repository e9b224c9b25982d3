//! What a connection has written: what WAIT waits for.

use ringfort_cluster::{Epoch, Offset, ShardId};

use crate::routing::Written;

/// Epochs of one shard of which a connection remembers how far it wrote, until it asks by WAIT.
const EPOCHS_LIMIT: usize = 4;

/// Writes that are remembered as they come, before they are sorted in.
const RECENT_LIMIT: usize = 128;

/// How far the writes of a connection reached in the logs of their shards, in each epoch.
#[derive(Debug, Default)]
pub struct Writes {
    /// In order of shards and epochs.
    sorted: Written,
    /// What came since. A place in `sorted` for each write at once would cost more than the rest of a write: with a
    /// thousand connections, none of it is in the processor's cache.
    recent: Vec<(ShardId, Epoch, Offset)>,
}

impl Writes {
    /// Notes what a command has written.
    pub fn note(&mut self, written: &Written) {
        for write in written {
            match self.recent.last_mut() {
                Some(last) if (last.0, last.1) == (write.0, write.1) => last.2 = last.2.max(write.2),
                _ => {
                    self.recent.push(*write);
                    if self.recent.len() >= RECENT_LIMIT {
                        self.sort_in();
                    }
                }
            }
        }
    }

    /// All that is remembered, in order of shards and epochs.
    pub fn all(&mut self) -> &Written {
        self.sort_in();
        &self.sorted
    }

    /// Forgets what was written in epochs before the newest of each shard: the client is being told what became of it.
    pub fn forget_older_epochs(&mut self) {
        self.sort_in();
        let newest = self.sorted.chunk_by(|a, b| a.0 == b.0).filter_map(<[_]>::last).copied().collect();
        self.sorted = newest;
    }

    fn sort_in(&mut self) {
        let mut recent = std::mem::take(&mut self.recent);
        for (shard, epoch, offset) in recent.drain(..) {
            let place = self.sorted.binary_search_by_key(&(shard, epoch), |known| (known.0, known.1));
            match place {
                Ok(index) => self.sorted[index].2 = self.sorted[index].2.max(offset),
                Err(index) => {
                    self.sorted.insert(index, (shard, epoch, offset));
                    self.bound_epochs(shard);
                }
            }
        }
        // Its memory is used again.
        self.recent = recent;
    }

    /// Of the oldest epochs of a shard whose writes nobody asked for in time, remembers only that they count as lost.
    fn bound_epochs(&mut self, shard: ShardId) {
        let first = self.sorted.partition_point(|known| known.0 < shard);
        let end = self.sorted.partition_point(|known| known.0 <= shard);
        if end - first > EPOCHS_LIMIT {
            self.sorted.remove(first);
            self.sorted[first].2 = Offset(u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(shard: u16, epoch: u64, offset: u64) -> (ShardId, Epoch, Offset) {
        (ShardId(shard), Epoch(epoch), Offset(offset))
    }

    fn write(writes: &mut Writes, shard: u16, epoch: u64, offset: u64) {
        writes.note(&Written::from_slice(&[position(shard, epoch, offset)]));
    }

    #[test]
    fn what_was_written_in_an_older_epoch_is_remembered_until_it_was_asked_for() {
        let mut writes = Writes::default();
        for (shard, epoch, offset) in [(1, 2, 90), (1, 1, 100), (1, 2, 80), (0, 1, 7)] {
            write(&mut writes, shard, epoch, offset);
        }
        assert_eq!(writes.all().as_slice(), [position(0, 1, 7), position(1, 1, 100), position(1, 2, 90)]);
        writes.forget_older_epochs();
        assert_eq!(writes.all().as_slice(), [position(0, 1, 7), position(1, 2, 90)]);
        for epoch in 3..=6 {
            write(&mut writes, 1, epoch, 200);
        }
        assert_eq!(writes.all()[1], position(1, 3, u64::MAX), "what was forgotten counts as lost");
        assert_eq!(writes.all().len(), 1 + EPOCHS_LIMIT);
    }

    #[test]
    fn however_much_is_written_each_shard_is_remembered_once() {
        let mut writes = Writes::default();
        for offset in 1..=10 * RECENT_LIMIT as u64 {
            write(&mut writes, (offset % 3) as u16, 1, offset);
            assert!(writes.recent.len() < RECENT_LIMIT && writes.sorted.len() <= 3);
        }
        let last = 10 * RECENT_LIMIT as u64;
        let mut newest = [last - 2, last - 1, last].map(|offset| position((offset % 3) as u16, 1, offset));
        newest.sort_unstable();
        assert_eq!(writes.all().as_slice(), newest);
        // One shard alone takes one place.
        write(&mut writes, 1, 1, last + 1);
        write(&mut writes, 1, 1, last + 2);
        assert_eq!(writes.recent, [position(1, 1, last + 2)]);
    }
}
