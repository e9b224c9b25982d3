//! WAIT: until replicas have what a connection has written.
//!
//! A connection knows how far its writes reached in the log of each shard. The shards that this node serves are looked
//! at here, each time acknowledgements come in; for those of a peer the peer is asked, which waits in the same way.
//! The answer is the least number of replicas over all shards. A write of an older epoch counts only if it lies before
//! the point where the next epoch began: else it is lost, and no replica will ever have it.

use ringfort_cluster::{Epoch, Offset, ShardId};
use ringfort_protocol::{Args, OwnedArgs};

use super::{
    ConnKey, Flight, Origin, Owned, PeerIndex, Route, Router, Written, blocked::Ending, spread::Gathering,
};
use crate::{
    clients::Door,
    commands::{self, CommandError, Gather, Run},
    store::Role,
};

/// Connections of one loop that may wait.
const WAITS_LIMIT: usize = 100_000;

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) origin: Origin,
    /// How far each shard is to be acknowledged.
    goals: Written,
    /// By how many replicas.
    replicas: u64,
    /// Until when, by the clock since the machine started; `None`: for as long as it takes.
    until: Option<u64>,
}

/// What WAIT is given.
#[derive(Clone, Copy, Debug)]
pub struct WaitFor {
    /// How many replicas are to have the writes.
    pub replicas: u64,
    /// For how many milliseconds to wait; 0: for as long as it takes.
    pub timeout_ms: u64,
}

impl WaitFor {
    /// Reads the arguments of WAIT.
    pub fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let replicas = commands::parse::integer(args.at(1))?;
        let timeout = commands::parse::integer(args.at(2))
            .map_err(|_| CommandError::other("ERR timeout is not an integer or out of range"))?;
        let replicas = u64::try_from(replicas)
            .map_err(|_| CommandError::other("ERR value is out of range, must be positive"))?;
        let timeout_ms =
            u64::try_from(timeout).map_err(|_| CommandError::other("ERR timeout is negative"))?;
        Ok(Self { replicas, timeout_ms })
    }
}

impl Router {
    /// Waits until replicas have what was written so far.
    pub fn wait(&mut self, origin: Origin, what: WaitFor, written: &Written) {
        if written.is_empty() {
            let count = self.topology.shards.iter().map(|shard| shard.in_sync.len().saturating_sub(1)).min();
            return self.complete_count(origin, count.unwrap_or(0) as u64);
        }
        if self.waits.len() >= WAITS_LIMIT {
            return self.fail(origin, &CommandError::other("ERR too many clients wait for replicas"));
        }
        let mut targets: Vec<(Route, Written)> = Vec::new();
        for goal in written {
            let route = self.routes[usize::from(goal.0.0)];
            match targets.iter_mut().find(|target| target.0 == route) {
                Some(target) => target.1.push(*goal),
                None => targets.push((route, Written::from_slice(&[*goal]))),
            }
        }
        let gather = self.gathers.insert(Gathering::new(origin, Gather::Min, targets.len()));
        for (part, (route, goals)) in targets.into_iter().enumerate() {
            let origin = Origin::Part { gather, part };
            match route {
                Route::Peer(peer) if self.peers[usize::from(peer)].connected => {
                    self.ask_to_wait(origin, what, &goals, peer);
                }
                _ => self.wait_here(origin, what, goals),
            }
        }
        self.tell_that_it_waits(origin, false, None);
    }

    /// Waits for shards that this node serves.
    fn wait_here(&mut self, origin: Origin, what: WaitFor, goals: Written) {
        let until = (what.timeout_ms > 0).then(|| self.now.boot + what.timeout_ms.saturating_mul(1_000_000));
        self.waits.push(Wait { origin, goals, replicas: what.replicas, until });
        self.check_waits();
    }

    /// Ends what a connection waits for: its client is told how many replicas there are by now, if it is still there.
    pub(super) fn end_waits_for_replicas(&mut self, conn: ConnKey) {
        let is_its = |origin| self.connection_of(origin) == Some(conn);
        let here: Vec<Origin> =
            self.waits.iter().map(|wait| wait.origin).filter(|origin| is_its(*origin)).collect();
        let waits_there =
            |flight: &Flight| matches!(flight.request.command.run, Run::Wait) && is_its(flight.origin);
        let there: Vec<usize> =
            self.flights.iter().filter(|(_, flight)| waits_there(flight)).map(|(id, _)| id).collect();
        here.into_iter().for_each(|origin| self.end_wait_for_replicas(origin));
        there.into_iter().for_each(|flight| self.cancel_flight(flight, Ending::TimedOut));
    }

    pub(super) fn end_wait_for_replicas(&mut self, origin: Origin) {
        if let Some(at) = self.waits.iter().position(|wait| wait.origin == origin) {
            let wait = self.waits.swap_remove(at);
            self.complete_count(origin, self.count(&wait));
        }
    }

    /// How many replicas have all that somebody waits for.
    fn count(&self, wait: &Wait) -> u64 {
        wait.goals.iter().map(|goal| self.acknowledged(*goal)).min().unwrap_or(0)
    }

    /// Whether somebody waits for replicas.
    pub fn waits_for_replicas(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Looks at all who wait: answers those whose replicas have come up, or whose time is over. A node that is about to
    /// stop answers all: nobody acknowledges anything to it any more.
    pub fn check_waits(&mut self) {
        let is_last = self.node.lease.is_retired();
        for wait in std::mem::take(&mut self.waits) {
            let count = self.count(&wait);
            let is_over = is_last || wait.until.is_some_and(|until| self.now.boot >= until);
            if count >= wait.replicas || is_over {
                self.complete_count(wait.origin, count);
            } else {
                self.waits.push(wait);
            }
        }
    }

    /// How many replicas have a shard's log up to a write.
    fn acknowledged(&self, (id, epoch, offset): (ShardId, Epoch, Offset)) -> u64 {
        let began = &self.topology.shard(id).began;
        let next = began.iter().find(|began| began.0 > epoch);
        let shard = self.node.store.lock(id);
        let core = &shard.core;
        let lost = core.epoch != epoch && next.is_none_or(|next| offset > next.1);
        if lost || !matches!(core.role, Role::Primary | Role::Sealed) {
            return 0;
        }
        core.acked.iter().filter(|acked| acked.1 >= offset).count() as u64
    }

    fn ask_to_wait(&mut self, origin: Origin, what: WaitFor, goals: &Written, peer: PeerIndex) {
        let Some(command) = commands::find(b"wait") else { return };
        let mut words = vec!["WAIT".to_owned(), what.replicas.to_string(), what.timeout_ms.to_string()];
        for (shard, epoch, offset) in goals {
            words.extend([shard.to_string(), epoch.to_string(), offset.to_string()]);
        }
        let args: OwnedArgs = words.iter().collect();
        let (db, silent, replica, resp) = (0, false, false, Default::default());
        let (waits, waited) = (false, false);
        let request = Owned { command, args, db, resp, silent, door: Door::Client, replica, waits, waited };
        let stay = self.new_stay(&request.as_request());
        let queue = &mut self.peers[usize::from(peer)];
        let at = queue.end();
        let id = self.flights.vacant_key();
        queue.put(id as u32, self.topology.version, &request.as_request(), stay, self.now.boot);
        self.flights.insert(Flight { origin, request, peer, at, waits: false, stay });
    }

    /// A peer asks to wait for shards of this node.
    pub(super) fn wait_for_peer(&mut self, origin: Origin, args: Args<'_>) {
        let number = |arg: &[u8]| std::str::from_utf8(arg).ok()?.parse::<u64>().ok();
        let goals: Option<Vec<u64>> = args.iter().skip(3).map(number).collect();
        let (Ok(what), Some(goals)) = (WaitFor::parse(args), goals) else {
            return self
                .fail(origin, &CommandError::other("ERR a peer asks to wait for nothing that can be read"));
        };
        let goal = |goal: &[u64]| {
            let shard = u16::try_from(goal[0]).ok().filter(|shard| *shard < self.node.store.shards())?;
            Some((ShardId(shard), Epoch(goal[1]), Offset(goal[2])))
        };
        let goals: Written = goals.chunks_exact(3).filter_map(goal).collect();
        self.wait_here(origin, what, goals);
    }

    pub(super) fn complete_count(&mut self, origin: Origin, count: u64) {
        self.complete(origin, format!(":{count}\r\n").into_bytes(), Written::new());
    }
}
