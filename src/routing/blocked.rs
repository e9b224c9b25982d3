//! Clients whose command waits for data: until when, and how the wait ends.
//!
//! The loop of the client looks after that, wherever the command waits: parked here, at a peer, among the requests that
//! nobody serves, or as a [job](super::awaiting). A wait at a peer is ended by a frame: the peer takes the request out
//! and answers; if it has served it meanwhile, that reply counts. What comes back from a peer because that does not
//! serve the shard any more, or is gone, waits at the next owner, until the deadline that it had from the start.

use ringfort_protocol::{Args, Resp, encode_command};

use super::{ConnKey, Hole, Origin, Place, Request, Router, frame, frame::Written};
use crate::{
    clients::Unblock,
    commands::{CommandError, Reply, Run},
};

/// What a node sends to end the wait of a request that it has sent: followed by how it ends.
pub(super) const CANCEL: &[u8] = b"await.cancel";

/// A client whose command waits.
#[derive(Debug)]
pub(super) struct Blocked {
    hole: Hole,
    /// When it is to end, by the clock since the machine started.
    until: Option<u64>,
    /// How it is about to end.
    ending: Option<Ending>,
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

/// How a wait ends that brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its time is over.
    TimedOut,
    /// By CLIENT UNBLOCK … ERROR.
    Unblocked,
}

impl Ending {
    /// What the client reads.
    pub(super) fn reply(self, resp: Resp) -> Vec<u8> {
        let mut out = Reply::new(resp);
        match self {
            Self::TimedOut => out.null_array(),
            Self::Unblocked => {
                out.error(&CommandError::other("UNBLOCKED client unblocked via CLIENT UNBLOCK"));
            }
        }
        out.into_bytes()
    }
}

/// How it is with a request that may wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// It goes on, or it is none.
    GoesOn,
    /// It is to end.
    Over(Ending),
    /// The client has gone.
    Gone,
}

impl Wait {
    /// The reply that ends it.
    pub(super) fn reply(self, resp: Resp) -> Option<Vec<u8>> {
        match self {
            Self::GoesOn => None,
            Self::Over(ending) => Some(ending.reply(resp)),
            Self::Gone => Some(Ending::TimedOut.reply(resp)),
        }
    }
}

impl Router {
    /// Notes until when a client's command waits that has just come.
    pub(super) fn begin_to_wait(&mut self, origin: Origin, request: &Request<'_>, place: Place) {
        let (Run::Blocking(blocking), true) = (request.command.run, request.waits) else { return };
        let Origin::Client { conn, hole } = origin else { return };
        // A time that makes no sense is refused by the command.
        let millis = (blocking.timeout)(request.args).ok().flatten().unwrap_or(0);
        let until = (millis > 0).then(|| self.now.boot.saturating_add(millis.saturating_mul(1_000_000)));
        self.deadlines.extend(until.map(|until| (until, conn)));
        self.blocked.insert(conn, Blocked { hole, until, ending: None, several: None });
        // Of several nodes, it first tries all.
        if place != Place::Several {
            self.waiting.push(conn);
        }
    }

    /// A client was answered: if that is what its wait was about, it is over.
    pub(super) fn end_of_wait(&mut self, conn: ConnKey, hole: Hole) {
        if self.blocked.get(&conn).is_some_and(|blocked| blocked.hole == hole) {
            self.strike_off(conn);
        }
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
    }

    fn end_wait(&mut self, conn: ConnKey, ending: Ending) {
        let Some(blocked) = self.blocked.get_mut(&conn) else { return };
        if let Some(until) = blocked.until.take() {
            self.deadlines.remove(&(until, conn));
        }
        if blocked.ending.replace(ending).is_some() {
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
        } else if let Some(held) = self.take_held(origin) {
            self.complete(origin, ending.reply(held.resp), Written::new());
        }
    }

    fn cancel_flight(&mut self, flight: usize, ending: Ending) {
        let Some(sent) = self.flights.get(flight) else { return };
        let queue = &mut self.peers[usize::from(sent.peer)];
        if !queue.connected {
            return;
        }
        let mut command = Vec::new();
        let how: &[u8] = match ending {
            Ending::TimedOut => b"TIMEOUT",
            Ending::Unblocked => b"ERROR",
        };
        encode_command(&mut command, [CANCEL, how].into_iter());
        let frame = frame::PeerRequest {
            id: flight as u32,
            version: self.topology.version,
            db: 0,
            resp: sent.request.resp,
            silent: false,
            waits: false,
            command: &command,
        };
        frame::put_request(&mut queue.out, &frame);
    }

    /// A peer ends the wait of a request that it has sent.
    pub(super) fn cancel_for_peer(&mut self, origin: Origin, args: Args<'_>) {
        let ending = if args.get(1) == Some(b"ERROR") { Ending::Unblocked } else { Ending::TimedOut };
        self.cancel(origin, ending);
    }

    /// How it is with the wait that a request belongs to.
    pub(super) fn wait_of(&self, origin: Origin, request: &Request<'_>) -> Wait {
        let ending = match origin {
            Origin::Client { conn, .. }
                if request.waits && matches!(request.command.run, Run::Blocking(_)) =>
            {
                self.blocked.get(&conn).map(|blocked| blocked.ending)
            }
            Origin::Watch { job, .. } => self.awaits.get(job).map(|awaiting| awaiting.ending),
            Origin::Part { gather, .. } if request.waits => {
                self.gathers.get(gather).map(|gathering| gathering.ending)
            }
            _ => return Wait::GoesOn,
        };
        match ending {
            None => Wait::Gone,
            Some(None) => Wait::GoesOn,
            Some(Some(ending)) => Wait::Over(ending),
        }
    }

    /// A connection has ended: nothing is to be taken out for it any more.
    pub(super) fn forget_wait(&mut self, conn: ConnKey) {
        self.end_wait(conn, Ending::TimedOut);
        self.strike_off(conn);
    }

    /// The same for one by which a peer sends requests.
    pub fn forget_peer(&mut self, conn: ConnKey) {
        for origin in self.parked_of(conn) {
            self.unpark(origin);
        }
        self.forget(conn);
    }
}
