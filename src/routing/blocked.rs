//! Clients whose command waits for data: until when, and how the wait ends.
//!
//! The loop of the client looks after that, wherever the command waits: parked here, at a peer, among the requests that
//! nobody serves, or as a [job](super::awaiting). A wait at a peer is ended by a frame: the peer takes the request out
//! and answers; if it has served it meanwhile, that reply counts. What comes back from a peer because that does not
//! serve the shard any more, or is gone, waits at the next owner, until the deadline that it had from the start.

use ringfort_protocol::{Args, Resp, encode_command};

use super::{
    ConnKey, Hole, Origin, PeerCompletion, Request, Router, awaiting::Awaiting, frame, frame::Written,
    steps::Job,
};
use crate::{
    clients::Unblock,
    commands::{CommandError, Reply, Run},
};

/// What a node sends to end the wait of a request that it has sent: followed by how it ends.
pub(super) const CANCEL: &[u8] = b"await.cancel";

/// A client whose command waits.
#[derive(Debug)]
pub(super) struct Blocked {
    pub(super) hole: Hole,
    /// When it is to end, by the clock since the machine started.
    until: Option<u64>,
    /// How it is about to end.
    pub(super) ending: Option<Ending>,
    /// What waits for it, if its keys are on several nodes.
    pub(super) several: Option<Several>,
}

/// What waits for keys of several nodes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Several {
    /// A [job](super::awaiting), one node after the other.
    Job(usize),
    /// The [parts](super::spread) of a request that is split.
    Parts(usize),
}

/// How a wait ends, other than by a change of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its time is over.
    TimedOut,
    /// By CLIENT UNBLOCK … ERROR.
    Unblocked,
    /// The node of the client stops.
    Stopped,
    /// The client has gone.
    Gone,
    /// Another part of the request has something. Who waits for data need not any more; what waits for its shard is
    /// still looked at, if that is possible soon.
    Served,
}

impl Ending {
    /// What the client reads.
    pub(super) fn reply(self, resp: Resp) -> Vec<u8> {
        let mut out = Reply::new(resp);
        let mut fail = |text| out.error(&CommandError::other(text));
        match self {
            Self::TimedOut | Self::Gone | Self::Served => out.null_array(),
            Self::Unblocked => fail("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
            Self::Stopped => fail("UNBLOCKED The node stops, and nothing was taken out"),
        }
        out.into_bytes()
    }

    /// Its name among nodes.
    fn word(self) -> &'static [u8] {
        match self {
            Self::TimedOut | Self::Gone => b"TIMEOUT",
            Self::Unblocked => b"ERROR",
            Self::Stopped => b"STOP",
            Self::Served => b"SERVED",
        }
    }

    /// What has no name here ends as if its time were over.
    fn from_word(word: Option<&[u8]>) -> Self {
        let known = [Self::Unblocked, Self::Stopped, Self::Served]
            .into_iter()
            .find(|ending| Some(ending.word()) == word);
        known.unwrap_or(Self::TimedOut)
    }
}

impl Router {
    /// Notes until when a client's command waits that has just come.
    pub(super) fn note_deadline(&mut self, origin: Origin, request: &Request<'_>) {
        let (Run::Blocking(blocking), true) = (request.command.run, request.waits) else { return };
        let Origin::Client { conn, hole } = origin else { return };
        // A time that makes no sense is refused by the command.
        let millis = (blocking.timeout)(request.args).ok().flatten().unwrap_or(0);
        let until = (millis > 0).then(|| self.now.boot.saturating_add(millis.saturating_mul(1_000_000)));
        self.deadlines.extend(until.map(|until| (until, conn)));
        self.blocked.insert(conn, Blocked { hole, until, ending: None, several: None });
    }

    /// A request has begun to wait, for data or for its shard: whoever asked is told.
    /// `lasting`: its arguments from now on, if these are others.
    pub(super) fn tell_that_it_waits(&mut self, origin: Origin, for_data: bool, lasting: Option<Args<'_>>) {
        match origin {
            Origin::Client { conn, .. } => self.waiting.push(conn),
            Origin::Peer { conn, id } => {
                let (mut frame, mut command) = (Vec::new(), Vec::new());
                lasting.inspect(|args| encode_command(&mut command, args.iter()));
                let answer = frame::Answer::Waits { for_data, command: &command };
                frame::put_reply(&mut frame, &frame::PeerReply { id, answer });
                self.peer_completions.push(PeerCompletion { conn, frame });
            }
            // Its job tells when all of it waits.
            Origin::Part { .. } | Origin::Step(_) | Origin::Watch { .. } => {}
        }
    }

    /// A client was answered: if that is what its wait was about, it is over.
    pub(super) fn end_of_wait(&mut self, conn: ConnKey, hole: Hole) {
        if self.blocked.get(&conn).is_some_and(|blocked| blocked.hole == hole) {
            self.strike_off(conn);
        }
    }

    /// The client whose wait this request is: not one of those before it.
    pub(super) fn blocked_by(&mut self, origin: Origin) -> Option<&mut Blocked> {
        let Origin::Client { conn, hole } = origin else { return None };
        self.blocked.get_mut(&conn).filter(|blocked| blocked.hole == hole)
    }

    fn strike_off(&mut self, conn: ConnKey) {
        if let Some(until) = self.blocked.remove(&conn).and_then(|blocked| blocked.until) {
            self.deadlines.remove(&(until, conn));
        }
    }

    /// When the next wait is to end, by the clock since the machine started.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|deadline| deadline.0)
    }

    /// Ends the waits whose time is over.
    pub fn end_overdue(&mut self) {
        while let Some((_, conn)) =
            self.deadlines.first().copied().filter(|(until, _)| *until <= self.now.boot)
        {
            self.end_wait(conn, Ending::TimedOut);
        }
    }

    /// CLIENT UNBLOCK.
    pub fn unblock(&mut self, conn: ConnKey, how: Unblock) {
        let ending = match how {
            Unblock::Timeout => Ending::TimedOut,
            Unblock::Error => Ending::Unblocked,
        };
        self.end_wait(conn, ending);
        self.end_waits_for_replicas(conn);
    }

    /// Ends all waits of clients: the node stops. Those at peers end when these have answered.
    pub fn end_all_waits(&mut self) {
        let waiting: Vec<ConnKey> = self.blocked.keys().copied().collect();
        waiting.into_iter().for_each(|conn| self.end_wait(conn, Ending::Stopped));
    }

    fn end_wait(&mut self, conn: ConnKey, ending: Ending) {
        let Some(blocked) = self.blocked.get_mut(&conn) else { return };
        if let Some(until) = blocked.until.take() {
            self.deadlines.remove(&(until, conn));
        }
        // One whose time is over may still be trying.
        if blocked.ending.replace(ending).is_some() && ending != Ending::Gone {
            return;
        }
        let origin = Origin::Client { conn, hole: blocked.hole };
        match blocked.several {
            Some(Several::Job(job)) => self.end_job_wait(job, ending),
            Some(Several::Parts(gather)) => self.end_wait_of_parts(gather, ending),
            None => self.cancel(origin, ending),
        }
    }

    /// Ends the wait of a request wherever it is. It is answered now, or by the peer that it was sent to.
    pub(super) fn cancel(&mut self, origin: Origin, ending: Ending) {
        if let Some(waiter) = self.unpark(origin) {
            self.complete(origin, ending.reply(waiter.request().resp), Written::new());
        } else if self.is_parked(origin) {
            // Another loop has served it.
        } else if let Some(flight) = self.sent.get(&origin) {
            self.cancel_flight(*flight, ending);
        } else if ending == Ending::Served && self.wait_no_more(origin) {
            // It is answered when its shard is served, or is not for too long.
        } else if let Some(held) = self.take_held(origin) {
            self.complete(origin, ending.reply(held.resp), Written::new());
        } else if let Some((flight, _)) = self.flights.iter().find(|(_, flight)| flight.origin == origin) {
            // It does not wait for data, but perhaps for its shard.
            self.cancel_flight(flight, ending);
        } else if let Some(step) = self.reading_step_of(origin) {
            // By an error, since other replies tell what was read.
            self.cancel(step, Ending::Unblocked);
        } else {
            self.end_wait_for_replicas(origin);
        }
    }

    pub(super) fn cancel_flight(&mut self, flight: usize, ending: Ending) {
        let Some(sent) = self.flights.get(flight) else { return };
        let queue = &mut self.peers[usize::from(sent.peer)];
        if !queue.connected {
            return;
        }
        queue.put_words(flight as u32, self.topology.version, sent.request.resp, [CANCEL, ending.word()]);
    }

    /// A peer ends the wait of a request that it has sent.
    pub(super) fn cancel_for_peer(&mut self, origin: Origin, args: Args<'_>) {
        self.cancel(origin, Ending::from_word(args.get(1)));
    }

    /// How the wait that a request belongs to is to end, if it is.
    pub(super) fn ending_of(&self, origin: Origin, request: &Request<'_>) -> Option<Ending> {
        let gone = Some(Ending::Gone);
        match origin {
            Origin::Client { conn, .. } if request.may_wait() => {
                self.blocked.get(&conn).map_or(gone, |blocked| blocked.ending)
            }
            Origin::Watch { job, .. } => self.awaits.get(job).map_or(gone, Awaiting::ending_of_parts),
            Origin::Part { gather, .. } => match self.gathers.get(gather) {
                Some(gathering) => gathering.ending,
                None => gone.filter(|_| request.may_wait()),
            },
            Origin::Step(step) => match self.jobs.get(step) {
                // By an error, since other replies tell what was read.
                Some(Job::Assemble(job)) if job.reads() => {
                    self.ending_of(job.asked.origin, &job.asked.request.as_request())?;
                    Some(Ending::Unblocked)
                }
                _ => None,
            },
            Origin::Client { .. } | Origin::Peer { .. } => None,
        }
    }

    /// A connection has ended: nothing is to be taken out for it any more.
    pub(super) fn forget_wait(&mut self, conn: ConnKey) {
        self.end_wait(conn, Ending::Gone);
        self.strike_off(conn);
    }

    /// The same for one by which a peer sends requests.
    pub fn forget_peer(&mut self, conn: ConnKey) {
        self.callers.remove(&conn);
        for origin in self.parked_of(conn) {
            self.unpark(origin);
        }
        self.forget(conn);
    }
}
