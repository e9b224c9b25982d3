//! Requests that take several steps on several nodes, one after the other: the next depends on what came of the last.
//!
//! A step is a request like any other (it waits, is sent, and is sent again where that is safe) whose reply comes back
//! to its job. The client's connection waits for the job as a whole: later requests of it for the same shards are not
//! run before the job ends.

use std::collections::VecDeque;

use ringfort_protocol::OwnedArgs;

use super::{
    Origin, Owned, PeerIndex, Request, Router, assemble::Assembling, carry::Carrying, frame::Written,
    scan::Scanning,
};
use crate::{
    clients::Door,
    commands::{Command, CommandError, Reply, error::is_error},
};

/// Where a job is tracked to be sent: nothing else goes the same way, so what comes later waits.
const NO_PEER: PeerIndex = PeerIndex::MAX;

/// What is under way.
#[derive(Debug)]
pub(super) enum Job {
    Scan(Scanning),
    Carry(Carrying),
    Assemble(Box<Assembling>),
    /// One whose parts cannot be taken back: see [`Router::deliver`].
    Deliver(Asked),
    /// The same, once it is known that no part would be refused.
    Delivered(Asked),
}

impl Job {
    fn asked(&mut self) -> &mut Asked {
        match self {
            Self::Scan(scanning) => &mut scanning.asked,
            Self::Carry(carrying) => &mut carrying.asked,
            Self::Assemble(assembling) => &mut assembling.asked,
            Self::Deliver(asked) | Self::Delivered(asked) => asked,
        }
    }

    fn into_asked(self) -> Asked {
        match self {
            Self::Scan(scanning) => scanning.asked,
            Self::Carry(carrying) => carrying.asked,
            Self::Assemble(assembling) => assembling.asked,
            Self::Deliver(asked) | Self::Delivered(asked) => asked,
        }
    }
}

/// Steps that have ended, with their replies and how far they wrote.
#[derive(Debug, Default)]
pub(super) struct Ended {
    steps: VecDeque<(Origin, Vec<u8>, Written)>,
    /// Their jobs are going on: what ends meanwhile has its turn behind them.
    pub(super) busy: bool,
}

/// What all jobs have.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) origin: Origin,
    /// As the client sent it.
    pub(super) request: Owned,
    /// How far the steps wrote.
    pub(super) written: Written,
}

impl Router {
    /// Takes a request on whose steps follow.
    pub(super) fn take_on(&mut self, origin: Origin, request: Request<'_>) -> Asked {
        let keys = self.keys(request.command, request.args);
        self.track(origin, &keys, Some(NO_PEER));
        Asked { origin, request: request.to_owned(), written: Written::new() }
    }

    /// Sends the next step of a job to where it is to be run.
    pub(super) fn step(&mut self, mut job: Job, command: &'static Command, db: u8, args: &OwnedArgs) {
        let Owned { resp, silent, .. } = job.asked().request;
        let args = args.as_args();
        let (door, replica, waits, waited) = (Door::Client, false, false, false);
        let request = Request { command, args, db, resp, silent, door, replica, waits, waited };
        let origin = Origin::Step(self.jobs.insert(job));
        let keys = self.keys(command, args);
        let place = self.place(&request, &keys);
        self.submit(origin, request, &keys, place);
    }

    /// A step has ended, perhaps while it was being sent: its job goes on once that is over, so that jobs of many steps
    /// are no deep recursion.
    pub(super) fn end_in_turn(&mut self, origin: Origin, reply: Vec<u8>, written: Written) {
        self.ended.steps.push_back((origin, reply, written));
        self.let_jobs_go_on();
    }

    pub(super) fn let_jobs_go_on(&mut self) {
        if std::mem::replace(&mut self.ended.busy, true) {
            return;
        }
        while let Some((origin, reply, written)) = self.ended.steps.pop_front() {
            match origin {
                Origin::Step(job) => self.end_step(job, reply, written),
                Origin::Watch { job, part } => self.await_goes_on(job, part, reply, written),
                Origin::Client { .. } | Origin::Part { .. } | Origin::Peer { .. } => {}
            }
        }
        self.ended.busy = false;
    }

    /// A step has ended: its job goes on, or ends with the step's error.
    fn end_step(&mut self, job: usize, reply: Vec<u8>, written: Written) {
        let Some(mut job) = self.jobs.try_remove(job) else { return };
        job.asked().written.extend(written);
        match job {
            Job::Assemble(assembling) if is_error(&reply) => self.assemble_fails(assembling, reply),
            Job::Carry(carrying) if is_error(&reply) => self.carry_fails(carrying, reply),
            job if is_error(&reply) => self.end_job(job.into_asked(), reply),
            Job::Scan(scanning) => self.scan_goes_on(scanning, &reply),
            Job::Carry(carrying) => self.carry_goes_on(carrying, &reply),
            Job::Assemble(assembling) => self.assemble_goes_on(assembling, &reply),
            Job::Deliver(asked) => self.deliver_checked(asked, &reply),
            Job::Delivered(asked) => self.end_job(asked, reply),
        }
    }

    /// Answers the request of a job.
    pub(super) fn end_job(&mut self, asked: Asked, reply: Vec<u8>) {
        let request = asked.request.as_request();
        self.untrack(asked.origin, &request, true);
        self.answer(asked.origin, &request, reply, asked.written);
    }

    /// Answers the request of a job with an error.
    pub(super) fn fail_job(&mut self, asked: Asked, error: &CommandError) {
        let mut out = Reply::default();
        out.error(error);
        self.end_job(asked, out.into_bytes());
    }
}

/// What is said of a reply that no node of this kind gives.
pub(super) const NONSENSE: CommandError = CommandError::other(
    "ERR another node gave an answer that makes no sense; do all nodes run the same version?",
);

/// The bytes of a reply that is a string.
pub(super) fn body(reply: &[u8]) -> Option<&[u8]> {
    let start = reply.iter().position(|byte| *byte == b'\n')? + 1;
    reply.strip_suffix(b"\r\n")?.get(start..).filter(|_| reply.starts_with(b"$"))
}
