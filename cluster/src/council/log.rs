//! openraft's log storage: entries are read from memory, and written by one thread that waits for the disk.
//!
//! [`LogFile`] decides how the log lies on disk; here is the way to it. Requests queue up for the writing thread, which
//! takes all that wait, writes them as one and answers each (group commit). They take effect in memory at once, but
//! for votes, and are answered when they are durable where Raft asks for that. That entries are agreed on is worth no
//! write of its own: it is written along with whatever comes next, and openraft is told not to lead on the strength of
//! it after a restart.

use std::{
    fmt::Debug,
    io,
    ops::RangeBounds,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use openraft::{
    OptionalSend,
    entry::RaftEntry,
    storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage},
};
use tokio::sync::oneshot;

use super::{
    ENTRIES_AT_ONCE, Spawn,
    file::{Image, LogFile, Record, Stored},
    types::{Entry, LogId, Types, Vote},
};
use crate::fatal::Fatal;

/// How many requests may wait for the writing thread; Raft itself keeps far fewer in flight.
const WAITING_LIMIT: usize = 1024;

/// The log, as openraft and the state machine share it.
#[derive(Clone)]
pub(super) struct Log {
    image: Arc<Mutex<Image>>,
    requests: SyncSender<Request>,
    crowded: Arc<AtomicBool>,
}

struct Request {
    records: Vec<Record>,
    then: Then,
}

/// Whom to tell when the records are durable.
enum Then {
    Nobody,
    Raft(IOFlushed<Types>),
    Asker(oneshot::Sender<io::Result<()>>),
    /// The last request: the thread ends and closes the file.
    End(oneshot::Sender<io::Result<()>>),
}

impl Log {
    /// Starts the writing thread.
    pub(super) fn start(file: LogFile, spawn: Spawn) -> Result<Self, Fatal> {
        let (requests, waiting) = sync_channel(WAITING_LIMIT);
        let log = Self {
            image: Arc::new(Mutex::new(file.image().clone())),
            requests,
            crowded: Arc::new(AtomicBool::new(file.is_crowded())),
        };
        let crowded = log.crowded.clone();
        let body = Box::new(move || write_all(file, &waiting, &crowded));
        spawn("raft-log", body).map_err(|error| Fatal::Raft(format!("no thread for the log: {error}")))?;
        Ok(log)
    }

    /// Whether a snapshot would be good for the log, because it has grown.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// The snapshot that is on disk.
    pub(super) fn snapshot(&self) -> Option<Box<Stored>> {
        self.image().snapshot.clone()
    }

    /// Keeps a snapshot in place of the one before.
    pub(super) async fn save_snapshot(&self, stored: Box<Stored>) -> io::Result<()> {
        self.write_durably(Record::Snapshot(stored.clone())).await?;
        self.image().take(Record::Snapshot(stored));
        Ok(())
    }

    /// Ends the writing thread. The file is closed when this returns.
    pub(super) async fn close(&self) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        self.request(Vec::new(), Then::End(tell))?;
        told.await.map_err(|_| ended())?
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        // Records are taken whole or not at all, so what a panic of another holder left is sound.
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes memory at once, and the disk in its turn.
    fn write(&self, record: Record) -> io::Result<()> {
        self.image().take(record.clone());
        self.request(vec![record], Then::Nobody)
    }

    async fn write_durably(&self, record: Record) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        self.request(vec![record], Then::Asker(tell))?;
        told.await.map_err(|_| ended())?
    }

    fn request(&self, records: Vec<Record>, then: Then) -> io::Result<()> {
        self.requests.send(Request { records, then }).map_err(|_| ended())
    }
}

fn ended() -> io::Error {
    io::Error::other("the thread that writes the log has ended")
}

/// The writing thread: takes what waits, writes it as one, answers.
fn write_all(mut file: LogFile, waiting: &Receiver<Request>, crowded: &AtomicBool) {
    let mut unwritten = Vec::new();
    while let Ok(first) = waiting.recv() {
        let mut answers = Vec::new();
        let mut urgent = false;
        for request in std::iter::once(first).chain(waiting.try_iter()) {
            urgent |= !matches!(request.then, Then::Nobody);
            unwritten.extend(request.records);
            answers.push(request.then);
            if unwritten.len() >= ENTRIES_AT_ONCE {
                break;
            }
        }
        // Nobody waits for these: they go along with the next that somebody waits for, within reason.
        if !urgent && unwritten.len() < ENTRIES_AT_ONCE {
            continue;
        }
        let written = match std::mem::take(&mut unwritten) {
            none if none.is_empty() => Ok(()),
            records => file.write(records),
        };
        crowded.store(file.is_crowded(), Ordering::Relaxed);
        if let Err(error) = &written {
            tracing::error!(%error, "the Raft log cannot be written; this node stops taking part");
        }
        let result = || match &written {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        let mut ends = None;
        for answer in answers {
            match answer {
                Then::Nobody => {}
                Then::Raft(flushed) => flushed.io_completed(result()),
                // The asker may have given up.
                Then::Asker(asker) => drop(asker.send(result())),
                Then::End(asker) => ends = Some(asker),
            }
        }
        if let Some(asker) = ends {
            let result = result();
            drop(file);
            return drop(asker.send(result));
        }
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.image().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.image().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let image = self.image();
        let last = image.entries.values().next_back().map(|entry| entry.log_id());
        Ok(LogState { last_purged_log_id: image.purged, last_log_id: last.or(image.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write_durably(Record::Vote(*vote)).await?;
        self.image().take(Record::Vote(*vote));
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        committed.map_or(Ok(()), |upto| self.write(Record::Committed(upto)))
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.image().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<_> = entries.into_iter().map(Record::Entry).collect();
        let mut image = self.image();
        records.iter().cloned().for_each(|record| image.take(record));
        drop(image);
        self.request(records, Then::Raft(flushed))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.write(Record::Truncate(last.map_or(0, |last| last.index + 1)))
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.write(Record::Purge(upto))
    }
}
