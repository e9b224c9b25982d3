//! Runs a command on copies of its keys' values, away from the shards: for commands that need values of several nodes
//! together.
//!
//! Since every effect names exactly one key, what a command did to its copies can be told key by key, and applied
//! where each key lives ([`super::generic::carry::APPLY`]).

use ringfort_cluster::{Offset, SLOTS, ShardId};
use ringfort_protocol::{Args, Resp};

use super::{
    Command, CommandError, Cx, Limits, Reply, dispatch,
    follow::{Following, Visitor},
    generic::{
        awaited::left_to_try,
        carry::{self, fingerprint},
    },
};
use crate::store::{Access, Db, Key, Locked, Shard, log};

/// A shard of all slots that is empty between two commands.
pub(crate) struct Scratch(Shard);

/// What a command is run with.
pub(crate) struct Given<'a> {
    /// The command.
    pub command: &'static Command,
    /// Its arguments, the name included.
    pub args: Args<'a>,
    /// The client's database.
    pub db: u8,
    /// The version of RESP that the client speaks.
    pub resp: Resp,
    /// It has begun to wait for data before.
    pub waited: bool,
    /// Its distinct keys, and of each the records that rebuild its value under its own name; `None`: it has none.
    pub values: &'a [(Key<'a>, Option<Vec<u8>>)],
    /// The time and how keys are marked.
    pub access: Access,
    /// Sizes and thresholds.
    pub limits: &'a Limits,
    /// What keys are hashed with.
    pub hash_seed: u64,
    /// 64 random bits.
    pub random: u64,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its reply, or its error.
    pub reply: Vec<u8>,
    /// The keys that it changed, in the order in which it named them.
    pub changes: Vec<Change>,
}

/// What a command did to one of its keys.
#[derive(Debug)]
pub(crate) struct Change {
    /// Which of its distinct keys.
    pub key: usize,
    /// The effects, as records.
    pub effects: Vec<u8>,
    /// The [fingerprint] of the value afterwards; `None`: there is none.
    pub after: Option<u64>,
}

impl Default for Scratch {
    fn default() -> Self {
        let mut shard = Shard::new(ShardId(0), SLOTS);
        shard.core.log.keep(usize::MAX);
        Self(shard)
    }
}

impl Scratch {
    /// Runs a command of data.
    pub(crate) fn run(&mut self, given: &Given<'_>) -> Result<Outcome, CommandError> {
        let outcome = self.run_and_leave(given);
        self.clear(given);
        outcome
    }

    /// Passes to `visit` what a command wants to read beyond its keys.
    pub(crate) fn find(
        &mut self,
        given: &Given<'_>,
        following: &Following,
        visit: &mut Visitor<'_>,
    ) -> Result<(), CommandError> {
        let found = self.replay(given).and_then(|()| {
            let keys = keys(given);
            self.with(given, &keys, &mut Reply::default(), |cx| (following.find)(cx, given.args, visit))
        });
        self.clear(given);
        found
    }

    fn clear(&mut self, given: &Given<'_>) {
        let mut locked = [&mut self.0];
        let mut db = Db::new(Locked::new(&mut locked, SLOTS), given.db, 0, given.access);
        for (key, _) in given.values {
            db.edit(*key).remove();
        }
        self.0.core.drop_now();
        self.0.core.log.restart(Offset(0));
    }

    /// Gives its keys the values that they are to have.
    fn replay(&mut self, given: &Given<'_>) -> Result<(), CommandError> {
        for (key, records) in given.values {
            if let Some(records) = records {
                let keys = &[*key];
                self.with(given, keys, &mut Reply::default(), |cx| carry::replay(cx, *key, records))?;
            }
        }
        Ok(())
    }

    fn run_and_leave(&mut self, given: &Given<'_>) -> Result<Outcome, CommandError> {
        let Some(handler) = given.command.run.handler() else {
            return Err(CommandError::other("ERR the command does not work on keys"));
        };
        self.replay(given)?;
        let begin = self.0.core.log.end();
        let mut reply = Reply::new(given.resp);
        self.with(given, &keys(given), &mut reply, |cx| {
            if given.waited && left_to_try(&cx.db, given.command, given.args, cx.keys).is_empty() {
                cx.out.null_array();
            } else {
                dispatch::run(handler, cx, given.args);
            }
        });
        let log = self.0.core.log.read(begin, usize::MAX).unwrap_or_default();
        Ok(Outcome { reply: reply.into_bytes(), changes: self.changes(given, &log)? })
    }

    /// Sorts effects by the keys that they name.
    fn changes(&mut self, given: &Given<'_>, log: &[u8]) -> Result<Vec<Change>, CommandError> {
        let mut changes: Vec<Change> = Vec::new();
        for (db, record) in log::records(log) {
            let name = carry::key_of(record)?;
            let key = given.values.iter().position(|(key, _)| key.bytes == name).ok_or_else(carry::broken)?;
            let index = changes.iter().position(|change| change.key == key).unwrap_or_else(|| {
                changes.push(Change { key, effects: Vec::new(), after: None });
                changes.len() - 1
            });
            log::put_encoded(&mut changes[index].effects, db, record);
        }
        for change in &mut changes {
            let keys = &[given.values[change.key].0];
            let after =
                self.with(given, keys, &mut Reply::default(), |cx| carry::records(cx, keys[0].bytes))?;
            change.after = after.as_deref().map(fingerprint);
        }
        Ok(changes)
    }

    fn with<R>(
        &mut self,
        given: &Given<'_>,
        keys: &[Key<'_>],
        out: &mut Reply,
        work: impl FnOnce(&mut Cx<'_>) -> R,
    ) -> R {
        let mut locked = [&mut self.0];
        let db = Db::new(Locked::new(&mut locked, SLOTS), given.db, given.access.now, given.access);
        work(&mut Cx { db, keys, out, random: given.random, limits: given.limits, waited: given.waited })
    }
}

/// The keys of a command, in the order of its arguments.
fn keys<'a>(given: &Given<'a>) -> Vec<Key<'a>> {
    given.command.names(given.args).map(|name| Key::new(name, given.hash_seed)).collect()
}
