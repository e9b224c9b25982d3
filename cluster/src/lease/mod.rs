//! Leases: who may serve, and who is surely dead.
//!
//! Two nodes must never accept writes for one shard at the same time, though clocks drift, datagrams are lost, and a
//! process may be stopped at any instruction and go on a minute later. The story in short:
//!
//! 1. **The beat.** Every node sends a beat to every council member every 50 ms, with its incarnation.
//! 2. **The promise.** A member that answers a beat promises to help nobody declare that incarnation dead, for one
//!    lease from the beat's *arrival* ([`promiser`]).
//! 3. **The lease.** A node may serve while a majority of the council has answered beats that it *sent* less than a
//!    lease ago, less 2 % for the drift of both clocks ([`holder`]). A beat is sent before it arrives, so each
//!    member's promise outlives that member's part of the lease.
//! 4. **The consent.** The leader first probes the members: would they refuse the incarnation? A member whose promise is
//!    over consents. That binds nobody; only when a majority consents at about the same time does the leader go on.
//! 5. **The refusal.** When its promise is over, a member that the leader asks may refuse the incarnation. It writes
//!    the refusal to disk before it says so, and never answers that incarnation again, not after a restart either.
//! 6. **The death.** The leader declares an incarnation dead when a majority has refused it ([`detector`]). Two
//!    majorities share a member; this member's promise was over and is never renewed, so the dead incarnation holds
//!    no lease, whoever leads, then or ever. Its process, if it lives, draws a new incarnation.
//!
//! What else has to hold, each rule with the thing that goes wrong without it (the simulation in `sim` shows every
//! one of them go wrong):
//!
//! - A member that has just started owes promises that it forgot: it refuses nobody for one lease.
//! - A refused connection proves nothing. Only a beat of a newer incarnation of the same node does, since that process
//!   holds the lock of the data directory: it ends the promise to the older one at once.
//! - Members tell the whole council whom they have refused, else an incarnation that was refused by some members
//!   before their leader died has neither a lease nor a successor.
//! - Beats that wait in a member's socket count: a member empties its socket before it judges a promise.
//! - When the council changes, answers carry the member's configuration. A node counts by the newest that it has heard
//!   of, by both halves while joint, and for one lease after the leader has adopted a configuration it needs the old
//!   majority too; no majority will do if it has missed a configuration. A death that one council decided is known
//!   before the next council counts: a member promises nothing while it has not applied what its log has before the
//!   configuration before its newest.
//! - A refusal by a minority takes a node's lease from it with the next member that fails. So refusals wait for consents:
//!   else a leader that is cut off, which hears nobody, would refuse all others, and keep that when it comes back.
//! - A node that hears none of the answers has no lease, though its beats keep every promise alive. Its beats say which
//!   answers it has heard; one that hears none is answered rarely, so that promises run out.
//!
//! Everything here is a state machine without input and output. It is fed datagrams and the time, and returns
//! datagrams, deadlines and verdicts; [`agent`] joins the parts for one node, and its header has the loop of the thread
//! that drives it. [`wire`] is how the datagrams look, [`elector`] how a dead leader is replaced at once.
//!
//! Two readings of the clock matter and must not be mixed up. A datagram *arrives* at a time read **after** it was
//! received: a promise may be too long, never too short. A turn *began* at a time read **before** the socket was first
//! read: promises are judged and beats are stamped by it, so that a process that is stopped within its turn judges by
//! what it has read, and counts its lease from too early, never too late.

use std::{fmt, ops, time::Duration};

pub mod agent;
pub mod detector;
pub mod elector;
pub mod holder;
pub mod promiser;
#[cfg(test)]
mod sim;
pub mod voters;
pub mod wire;

/// How often every node beats to every council member.
pub const BEAT: Duration = Duration::from_millis(50);

/// By how much one clock may run faster than another: one part in this many, 2 %.
pub const DRIFT_PART: u32 = 50;

/// The longest lease that a beat may ask for; a member promises no longer than this.
pub const MAX_LEASE: Duration = Duration::from_secs(10);

/// An instant by this machine's CLOCK_BOOTTIME, in nanoseconds: it never goes back and runs on while the machine
/// sleeps. Instants of different machines, or from before a reboot, cannot be compared.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub u64);

impl BootTime {
    /// Before everything: a lease until then is no lease.
    pub const NEVER: Self = Self(0);

    /// After everything: a deadline that does not come.
    pub const FOREVER: Self = Self(u64::MAX);

    /// How long it is since `earlier`; nothing if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl ops::Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Debug for BootTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}ms", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// What is left of a lease when the clocks that measure it may drift apart.
pub fn less_drift(lease: Duration) -> Duration {
    lease.saturating_sub(lease / DRIFT_PART + Duration::from_nanos(1))
}
