//! Commands that take from the first of several keys that has something, and wait for it, where the keys live on several
//! nodes.
//!
//! The keys are tried one after the other, in their order, each where it lives, by the command itself with that key
//! alone, not waiting. When all are empty, each owner is asked to say when one of its keys can be had; when one says
//! so, the others are told to forget it, and all begins anew. So the first key that has something is taken first, as on
//! one node; but it is not atomic, and who waits in this way has no place in the order of those who wait for a key.

use ringfort_protocol::OwnedArgs;

use super::{
    Keys, Origin, Place, Request, Route, Router,
    blocked::{Ending, Several},
    frame::Written,
    spread::is_null,
    steps::Asked,
};
use crate::{
    clients::Door,
    commands::{CommandError, Find, Reply, Run, error::is_error, generic::awaited},
    store::Key,
};

/// A command whose keys are on several nodes.
#[derive(Debug)]
pub(super) struct Awaiting {
    asked: Asked,
    /// Where the keys that it waits for are among its arguments.
    keys: Vec<usize>,
    stage: Stage,
    /// How it is to end.
    pub(super) ending: Option<Ending>,
}

#[derive(Debug)]
enum Stage {
    /// Those from this one on are being tried, up to the next one to be tried.
    Try { first: usize, next: usize },
    /// Each part is to say when one of its keys can be had.
    Watch {
        parts: usize,
        open: usize,
        /// One has said something, or the wait is to end: the others were told to forget it.
        closing: bool,
        /// One has said that a key can be had.
        has_some: bool,
        /// What makes all end.
        error: Option<Vec<u8>>,
    },
}

impl Stage {
    /// No key was tried.
    const BEGIN: Self = Self::Try { first: 0, next: 0 };
}

impl Awaiting {
    /// How its parts are to end that have not ended yet, if they are to.
    pub(super) fn ending_of_parts(&self) -> Option<Ending> {
        let closing = matches!(self.stage, Stage::Watch { closing: true, .. });
        self.ending.or(closing.then_some(Ending::TimedOut))
    }
}

impl Router {
    /// Begins to try the keys of a command that waits.
    pub(super) fn await_any(&mut self, origin: Origin, request: Request<'_>) {
        let asked = self.take_on(origin, request);
        let keys = request.command.awaited(request.args).collect();
        let job = Awaiting { asked, keys, stage: Stage::BEGIN, ending: None };
        let job = self.awaits.insert(job);
        if let Some(blocked) = self.blocked_by(origin) {
            blocked.several = Some(Several::Job(job));
        }
        self.try_next(job);
    }

    /// Tries all keys, from the first one on.
    fn try_all(&mut self, job: usize) {
        self.awaits[job].stage = Stage::BEGIN;
        self.try_next(job);
    }

    /// Tries the next keys that have one owner, or begins to wait if there are none.
    fn try_next(&mut self, job: usize) {
        let Some(awaiting) = self.awaits.get(job) else { return };
        let Stage::Try { next: first, .. } = awaiting.stage else { return };
        let request = awaiting.asked.request.as_request();
        let route = |index: &usize| self.route(Key::new(request.args.at(*index), 0).slot);
        let left = &awaiting.keys[first..];
        let Some(owner) = left.first().map(route) else { return self.nothing_yet(job) };
        let alike = left.iter().take_while(|index| route(index) == owner).count();
        let args = narrowed(&request, &awaiting.keys, first, alike);
        let command = request.command;
        if !command.takes(args.as_args().len()) {
            // It counts words as keys that are to follow them.
            return self.finish(job, Err(CommandError::Syntax));
        }
        let (db, resp, silent) = (request.db, request.resp, request.silent);
        let (door, replica, waits, waited) = (Door::Client, false, false, request.waited);
        let request =
            Request { command, args: args.as_args(), db, resp, silent, door, replica, waits, waited };
        self.awaits[job].stage = Stage::Try { first, next: first + alike };
        let keys = self.keys(command, request.args);
        let place = self.place(&request, &keys);
        self.submit(Origin::Watch { job, part: 0 }, request, &keys, place);
        // If its time is over, it is not to wait for the shard.
        if self.awaits.get(job).is_some_and(|awaiting| awaiting.ending.is_some()) {
            self.cancel_parts(job, 0..1);
        }
    }

    /// The keys that are being tried have parted meanwhile.
    pub(super) fn try_anew(&mut self, job: usize) {
        if let Some(Awaiting { stage: Stage::Try { first, next }, .. }) = self.awaits.get_mut(job) {
            *next = *first;
        }
        self.try_next(job);
    }

    /// No key has anything: it waits, or that is the reply.
    fn nothing_yet(&mut self, job: usize) {
        let awaiting = &self.awaits[job];
        let request = awaiting.asked.request.as_request();
        if let Some(ending) = awaiting.ending {
            return self.end_awaiting(job, ending);
        }
        if request.may_wait() {
            return self.watch(job);
        }
        let mut nothing = Reply::new(request.resp);
        nothing.null_array();
        self.finish(job, Ok(nothing.into_bytes()));
    }

    /// Asks each owner to say when one of its keys can be had.
    fn watch(&mut self, job: usize) {
        let awaiting = &self.awaits[job];
        let request = awaiting.asked.request.as_request();
        let step = match request.command.run {
            Run::Blocking(blocking) => blocking.kind.and_then(awaited::step_for),
            _ => None,
        };
        let Some(step) = step else {
            let text = "CROSSSLOT Keys on different nodes cannot be waited for by this command; give them a common \
                        hash tag, as in {tag}key";
            return self.finish(job, Err(CommandError::other(text)));
        };
        let mut groups: Vec<(Route, Vec<&[u8]>)> = Vec::new();
        for index in &awaiting.keys {
            let name = request.args.at(*index);
            let route = self.route(Key::new(name, 0).slot);
            match groups.iter_mut().find(|group| group.0 == route) {
                Some(group) => group.1.push(name),
                None => groups.push((route, vec![name])),
            }
        }
        let name = |names: Vec<&[u8]>| std::iter::once(step.name.as_bytes()).chain(names).collect();
        let groups: Vec<(Route, OwnedArgs)> =
            groups.into_iter().map(|(route, names)| (route, name(names))).collect();
        let (db, resp, silent) = (request.db, request.resp, request.silent);
        let awaiting = &mut self.awaits[job];
        awaiting.asked.request.waited = true;
        let origin = awaiting.asked.origin;
        let (parts, open) = (groups.len(), groups.len());
        awaiting.stage = Stage::Watch { parts, open, closing: false, has_some: false, error: None };
        self.tell_that_it_waits(origin, true, None);
        // None may end the wait of the others before these are sent.
        let was_busy = std::mem::replace(&mut self.ended.busy, true);
        for (part, (route, args)) in groups.iter().enumerate() {
            let (door, replica, waits, waited) = (Door::Client, false, true, false);
            let args = args.as_args();
            let request = Request { command: step, args, db, resp, silent, door, replica, waits, waited };
            let keys: Keys<'_> = self.keys(step, args);
            self.submit(Origin::Watch { job, part }, request, &keys, Place::from(*route));
        }
        self.ended.busy = was_busy;
        self.let_jobs_go_on();
    }

    /// A key was tried, or an owner says that one can be had, or has forgotten it.
    pub(super) fn await_goes_on(&mut self, job: usize, part: usize, reply: Vec<u8>, written: Written) {
        let Some(awaiting) = self.awaits.get_mut(job) else { return };
        awaiting.asked.written.extend(written);
        let ending = awaiting.ending;
        match &mut awaiting.stage {
            // Each key is tried, however short the time.
            Stage::Try { .. } if is_null(&reply) => match ending {
                None | Some(Ending::TimedOut) => self.try_next(job),
                Some(ending) => self.end_awaiting(job, ending),
            },
            Stage::Try { .. } => self.finish(job, Ok(reply)),
            Stage::Watch { parts, open, closing, has_some, error } => {
                *open -= 1;
                if is_error(&reply) {
                    *error = Some(reply);
                } else {
                    *has_some |= !is_null(&reply);
                }
                if *open > 0 {
                    let (parts, was_closing) = (*parts, std::mem::replace(closing, true));
                    if !was_closing {
                        self.cancel_parts(job, (0..parts).filter(|other| *other != part));
                    }
                    return;
                }
                match (ending, error.take()) {
                    (Some(Ending::TimedOut), None) if *has_some => self.try_all(job),
                    (Some(ending), _) => self.end_awaiting(job, ending),
                    (None, Some(error)) => self.finish(job, Ok(error)),
                    (None, None) => self.try_all(job),
                }
            }
        }
    }

    /// The client's wait is to end: the job ends once nothing of it is under way.
    pub(super) fn end_job_wait(&mut self, job: usize, ending: Ending) {
        let Some(awaiting) = self.awaits.get_mut(job) else { return };
        awaiting.ending = Some(ending);
        match &mut awaiting.stage {
            Stage::Try { .. } => self.cancel_parts(job, 0..1),
            Stage::Watch { closing: true, .. } => {}
            Stage::Watch { parts, closing, .. } => {
                *closing = true;
                let parts = *parts;
                self.cancel_parts(job, 0..parts);
            }
        }
    }

    fn cancel_parts(&mut self, job: usize, parts: impl Iterator<Item = usize>) {
        parts.for_each(|part| self.cancel(Origin::Watch { job, part }, Ending::TimedOut));
    }

    fn end_awaiting(&mut self, job: usize, ending: Ending) {
        let resp = self.awaits[job].asked.request.resp;
        self.finish(job, Ok(ending.reply(resp)));
    }

    fn finish(&mut self, job: usize, reply: Result<Vec<u8>, CommandError>) {
        let Some(awaiting) = self.awaits.try_remove(job) else { return };
        match reply {
            Ok(reply) => self.end_job(awaiting.asked, reply),
            Err(error) => self.fail_job(awaiting.asked, &error),
        }
    }
}

/// The arguments of a command with some of the keys that it waits for: so many from the one at `first` on.
fn narrowed(request: &Request<'_>, keys: &[usize], first: usize, count: usize) -> OwnedArgs {
    let args = request.args;
    let (begin, end) = (keys[0], keys[keys.len() - 1] + 1);
    let is_counted = request.command.keys.iter().any(|spec| matches!(spec.find, Find::Count { .. }));
    let mut number = itoa::Buffer::new();
    let number = number.format(count).as_bytes();
    let before =
        (0..begin).map(|index| if is_counted && index + 1 == begin { number } else { args.at(index) });
    let chosen = keys[first..first + count].iter().map(|index| args.at(*index));
    before.chain(chosen).chain((end..args.len()).map(|index| args.at(index))).collect()
}
