//! Commands that need the values of several nodes together: fetched, run on copies, and applied where the keys live.
//!
//! All values are fetched to the node that was asked, one after the other, and the command runs on these copies
//! ([`Scratch`]). What only reads is answered. What changed a key is changed at its owner, if the key still has the
//! value that was fetched; if not, all begins anew. A move between two keys changes the last key first, so that a node
//! which fails in between leaves an element at both rather than at none; where the other key has changed meanwhile, or
//! refuses its change, the first change is taken back. If whoever waits for it is to wait no more before anything was
//! changed, nothing is.
//!
//! Where a command reads keys that it finds by the values of its own ([`follow`](crate::commands::follow)), these are
//! made of the copies, and what they hold is fetched next, as often as it takes.

use std::collections::{BTreeSet, HashSet};

use ringfort_protocol::{OwnedArgs, elements};

use super::{
    Origin, Request, Router,
    blocked::Ending,
    carry::fetched,
    steps::{Asked, Job, NONSENSE, body},
};
use crate::{
    commands::{
        Command, CommandError, Flags, Run,
        follow::{LOOK, TOO_LARGE, Wanted},
        generic::carry::{APPLY, APPLY_IN_BOUNDS, CARRY_LIMIT, FETCH, fingerprint},
        scratch::{Change, Given, Scratch},
    },
    store::{Key, log},
};

/// How often a command is run anew because its keys change meanwhile, before it is given up.
const ATTEMPTS: u8 = 8;

/// Keys that are asked for at a time, of those that a command has found.
const LOOKS: usize = 1024;

/// Bytes of their names, likewise: far below what a request to another node may have.
const LOOK_BYTES: usize = 4 << 20;

/// A command whose values are on their way.
#[derive(Debug)]
pub(super) struct Assembling {
    pub(super) asked: Asked,
    /// Where its distinct keys are among its arguments.
    keys: Vec<usize>,
    /// Of the first of them, the records that rebuild their values, if they have any.
    values: Vec<Option<Vec<u8>>>,
    /// What it wants beyond them, as arguments of [`LOOK`], once that is known.
    wanted: Option<Vec<[Vec<u8>; 2]>>,
    /// Of the first of these, the records likewise.
    found: Vec<Option<Vec<u8>>>,
    found_bytes: usize,
    /// Once it has run: its reply, and what is still to be changed, the next one last.
    reply: Vec<u8>,
    changes: Vec<Change>,
    /// What has been changed.
    changed: Option<Change>,
    /// The error by which the other change was refused, while the first one is taken back.
    refused: Option<Vec<u8>>,
    stage: Stage,
    attempts: u8,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Fetch,
    /// For so many at a time.
    Look(usize),
    Change,
    TakeBack,
}

impl Assembling {
    /// Whether nothing was changed yet, so that it may be given up.
    pub(super) fn reads(&self) -> bool {
        matches!(self.stage, Stage::Fetch | Stage::Look(_))
    }
}

/// What a command wants beyond its keys, each once, as arguments of [`LOOK`].
#[derive(Debug, Default)]
struct Wants {
    all: BTreeSet<[Vec<u8>; 2]>,
    /// What they take, in bytes.
    bytes: usize,
}

impl Wants {
    fn add(&mut self, want: Wanted<'_>) {
        let args = want.args();
        let bytes = args.iter().map(Vec::len).sum::<usize>() + size_of_val(&args);
        if self.all.insert(args) {
            self.bytes += bytes;
        }
    }
}

impl Router {
    /// The step of a request that is being brought together, if nothing of it has been changed yet.
    pub(super) fn reading_step_of(&self, origin: Origin) -> Option<Origin> {
        let is_it =
            |job: &Job| matches!(job, Job::Assemble(job) if job.asked.origin == origin && job.reads());
        let (step, _) = self.jobs.iter().find(|(_, job)| is_it(job))?;
        Some(Origin::Step(step))
    }

    /// Begins to fetch the values that a command needs.
    pub(super) fn assemble(&mut self, origin: Origin, request: Request<'_>, keys: &[Key<'_>]) {
        let args = request.args;
        let indices = request.command.keys.iter().flat_map(|spec| spec.indices(args));
        let mut distinct: Vec<usize> = Vec::with_capacity(keys.len());
        let mut seen = HashSet::with_capacity(keys.len());
        distinct.extend(indices.filter(|index| seen.insert(args.at(*index))));
        let asked = self.take_on(origin, request);
        self.fetch_next(Box::new(Assembling {
            asked,
            keys: distinct,
            values: Vec::new(),
            wanted: None,
            found: Vec::new(),
            found_bytes: 0,
            reply: Vec::new(),
            changes: Vec::new(),
            changed: None,
            refused: None,
            stage: Stage::Fetch,
            attempts: 0,
        }));
    }

    fn fetch_next(&mut self, mut job: Box<Assembling>) {
        job.stage = Stage::Fetch;
        let Some(index) = job.keys.get(job.values.len()) else { return self.look_next(job) };
        let key = job.asked.request.args.as_args().at(*index);
        let args: OwnedArgs = [FETCH.name.as_bytes(), key, key].into_iter().collect();
        self.read(job, &FETCH, &args);
    }

    /// Takes a step that changes nothing.
    fn read(&mut self, job: Box<Assembling>, step: &'static Command, args: &OwnedArgs) {
        let (origin, db) = (job.asked.origin, job.asked.request.db);
        let ending = self.ending_of(origin, &job.asked.request.as_request());
        self.step(Job::Assemble(job), step, db, args);
        // Who waits no more is not to wait for the shard.
        if let Some(ending) = ending {
            self.cancel(origin, ending);
        }
    }

    /// Fetches more of what the command has found, or runs it.
    fn look_next(&mut self, mut job: Box<Assembling>) {
        let wanted = match job.wanted.take() {
            Some(wanted) => wanted,
            None => match self.wanted(&mut job) {
                Err(error) => return self.fail_job(job.asked, &error),
                Ok(wanted) => wanted,
            },
        };
        let (mut args, mut count, mut bytes) = (OwnedArgs::default(), 0, 0);
        args.push(LOOK.name.as_bytes());
        for look in wanted[job.found.len()..].iter().take(LOOKS) {
            bytes += look.iter().map(Vec::len).sum::<usize>();
            if count > 0 && bytes > LOOK_BYTES {
                break;
            }
            look.iter().for_each(|arg| args.push(arg));
            count += 1;
        }
        job.wanted = Some(wanted);
        if count == 0 {
            return self.run_on_copies(job);
        }
        job.stage = Stage::Look(count);
        self.read(job, &LOOK, &args);
    }

    /// What a command wants to read beyond its keys, each once.
    fn wanted(&mut self, job: &mut Assembling) -> Result<Vec<[Vec<u8>; 2]>, CommandError> {
        let Run::Following(following) = job.asked.request.command.run else { return Ok(Vec::new()) };
        let own: Vec<Vec<u8>> = {
            let args = job.asked.request.args.as_args();
            job.keys.iter().map(|index| args.at(*index).to_vec()).collect()
        };
        let mut wants = Wants::default();
        self.on_copies(job, |scratch, given| {
            scratch.find(given, &following, &mut |want| {
                if own.iter().all(|key| key != want.key) {
                    wants.add(want);
                }
                wants.bytes <= CARRY_LIMIT
            })
        })?;
        if wants.bytes > CARRY_LIMIT { Err(TOO_LARGE) } else { Ok(wants.all.into_iter().collect()) }
    }

    /// Does something with the command and all that was fetched for it.
    fn on_copies<R>(&mut self, job: &mut Assembling, work: impl FnOnce(&mut Scratch, &Given<'_>) -> R) -> R {
        let mut scratch = self.scratch.take().unwrap_or_default();
        let request = job.asked.request.as_request();
        let seed = self.node.store.hash_seed;
        let own = job.keys.iter().map(|index| request.args.at(*index));
        let own = own.zip(std::mem::take(&mut job.values));
        let names = job.wanted.iter().flatten().map(|[key, _]| key.as_slice());
        let found = names.zip(std::mem::take(&mut job.found));
        let values: Vec<_> = own.chain(found).map(|(name, value)| (Key::new(name, seed), value)).collect();
        let result = work(
            &mut scratch,
            &Given {
                command: request.command,
                args: request.args,
                db: request.db,
                resp: request.resp,
                waited: request.waited,
                values: &values,
                access: self.access(&request),
                limits: &self.settings.limits,
                hash_seed: seed,
                random: self.dice.roll(),
            },
        );
        self.scratch = Some(scratch);
        let mut values = values.into_iter().map(|(_, value)| value);
        job.values = values.by_ref().take(job.keys.len()).collect();
        job.found = values.collect();
        result
    }

    fn run_on_copies(&mut self, mut job: Box<Assembling>) {
        let request = job.asked.request.as_request();
        match self.ending_of(job.asked.origin, &request) {
            // All is there, so it is tried, however short the time.
            None | Some(Ending::TimedOut) => {}
            Some(ending) => {
                let reply = ending.reply(request.resp);
                return self.end_job(job.asked, reply);
            }
        }
        let bytes: usize = job.values.iter().flatten().map(Vec::len).sum();
        if bytes + job.found_bytes > CARRY_LIMIT {
            return self.fail_job(job.asked, &TOO_LARGE);
        }
        match self.on_copies(&mut job, Scratch::run) {
            Err(error) => self.fail_job(job.asked, &error),
            Ok(outcome) => {
                (job.reply, job.changes) = (outcome.reply, outcome.changes);
                job.changes.sort_by_key(|change| change.key);
                self.change_next(job);
            }
        }
    }

    fn change_next(&mut self, mut job: Box<Assembling>) {
        let Some(change) = job.changes.last() else { return self.end_job(job.asked, job.reply) };
        let before = job.values[change.key].as_deref().map(fingerprint);
        let request = &job.asked.request;
        let may_be_refused =
            job.changed.is_none() && !request.waited && request.command.flags.has(Flags::DENYOOM);
        let step = if may_be_refused { &APPLY_IN_BOUNDS } else { &APPLY };
        let args = apply(step, &job, change.key, before, &change.effects);
        job.stage = Stage::Change;
        let db = job.asked.request.db;
        self.step(Job::Assemble(job), step, db, &args);
    }

    pub(super) fn assemble_goes_on(&mut self, mut job: Box<Assembling>, reply: &[u8]) {
        match (job.stage, reply) {
            (Stage::Fetch, b"$-1\r\n" | b"_\r\n") => {
                job.values.push(None);
                self.fetch_next(job);
            }
            (Stage::Fetch, _) => {
                let Some([records, _]) = fetched(reply) else { return self.fail_job(job.asked, &NONSENSE) };
                job.values.push(Some(records.to_vec()));
                self.fetch_next(job);
            }
            (Stage::Look(count), _) => {
                let before = job.found.len();
                job.found
                    .extend(elements(reply).into_iter().flatten().map(|one| body(one).map(<[u8]>::to_vec)));
                if job.found.len() != before + count {
                    return self.fail_job(job.asked, &NONSENSE);
                }
                job.found_bytes += job.found[before..].iter().flatten().map(Vec::len).sum::<usize>();
                if job.found_bytes > CARRY_LIMIT {
                    return self.fail_job(job.asked, &TOO_LARGE);
                }
                self.look_next(job);
            }
            (Stage::Change, b":1\r\n") => {
                job.changed = job.changes.pop();
                self.change_next(job);
            }
            (Stage::Change, _) => self.take_back(job),
            (Stage::TakeBack, b":1\r\n") => match job.refused.take() {
                Some(error) => self.end_job(job.asked, error),
                None => self.begin_anew(job),
            },
            (Stage::TakeBack, _) => {
                let text = "ERR The keys were changed by others at the same time; the last key of the command has \
                            been changed by it, and the others have not. Give them a common hash tag, as in {tag}key";
                self.fail_job(job.asked, &CommandError::other(text));
            }
        }
    }

    /// A step has failed: none of those before it stays.
    pub(super) fn assemble_fails(&mut self, mut job: Box<Assembling>, error: Vec<u8>) {
        let request = job.asked.request.as_request();
        if let (true, Some(ending)) = (job.reads(), self.ending_of(job.asked.origin, &request)) {
            let reply = ending.reply(request.resp);
            return self.end_job(job.asked, reply);
        }
        // A change of which nobody knows whether it was made may have been: then what is at both keys is at one.
        let is_undone = !error.starts_with(b"-UNKNOWN ");
        if matches!(job.stage, Stage::Change) && job.changed.is_some() && is_undone {
            job.refused = Some(error);
            return self.take_back(job);
        }
        self.end_job(job.asked, error);
    }

    /// A key has changed since it was fetched: what was changed by now is made as it was.
    fn take_back(&mut self, mut job: Box<Assembling>) {
        let Some(changed) = job.changed.take() else { return self.begin_anew(job) };
        let name = job.asked.request.args.as_args().at(job.keys[changed.key]);
        let db = job.asked.request.db;
        let mut effects = Vec::new();
        log::put_record(&mut effects, db, [&b"DEL"[..], name].into_iter());
        effects.extend(job.values[changed.key].iter().flatten());
        let args = apply(&APPLY, &job, changed.key, changed.after, &effects);
        job.stage = Stage::TakeBack;
        self.step(Job::Assemble(job), &APPLY, db, &args);
    }

    fn begin_anew(&mut self, mut job: Box<Assembling>) {
        job.attempts += 1;
        if job.attempts == ATTEMPTS {
            let text = "ERR The keys go on changing while their values are brought together from several nodes; try \
                        again, or give them a common hash tag, as in {tag}key";
            return self.fail_job(job.asked, &CommandError::other(text));
        }
        job.values.clear();
        job.found.clear();
        (job.found_bytes, job.wanted) = (0, None);
        self.fetch_next(job);
    }
}

/// The step that changes a key which has this fingerprint.
fn apply(step: &Command, job: &Assembling, key: usize, before: Option<u64>, effects: &[u8]) -> OwnedArgs {
    let mut number = itoa::Buffer::new();
    let before = before.map_or("", |before| number.format(before)).as_bytes();
    let name = job.asked.request.args.as_args().at(job.keys[key]);
    [step.name.as_bytes(), name, before, effects].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wanted_counts_and_once() {
        let field = [b'f'; 1_000];
        let mut wants = Wants::default();
        let mut bytes = |key: &[u8], field: Option<&[u8]>| {
            wants.add(Wanted { key, field });
            wants.bytes
        };
        let first = bytes(b"key", Some(&field));
        assert!(first > 1_003, "{first}");
        assert_eq!(bytes(b"key", Some(&field)), first);
        let both = bytes(b"key", None);
        assert_eq!(both, 2 * first - 1_001);
    }
}
