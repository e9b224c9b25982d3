//! openraft's state machine: applies what was agreed on to the topology, and publishes it.
//!
//! The topology lives in memory; after a restart it is made anew from the snapshot and the entries behind it. It is
//! published before the asker hears of it, so whoever proposed a change on the leader finds it in the topology.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use futures_util::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};
use tokio::sync::watch;

use super::{
    Configuration,
    file::Stored,
    log::Log,
    types::{LogId, Membership, Snapshot, SnapshotMeta, Types},
};
use crate::{
    change::{Change, Outcome, Refused, Verdict},
    ids::Version,
    topology::Topology,
};

/// The newest topology that this node has applied, for all who read it.
#[derive(Clone)]
pub(super) struct Published {
    pub(super) topology: Arc<ArcSwap<Topology>>,
    pub(super) version: watch::Sender<Version>,
}

impl Published {
    /// Before anything is applied.
    pub(super) fn new() -> Self {
        Self {
            topology: Arc::new(ArcSwap::from_pointee(Topology::unfounded())),
            version: watch::Sender::new(Version(0)),
        }
    }

    fn publish(&self, topology: Topology) {
        let version = topology.version;
        self.topology.store(Arc::new(topology));
        self.version.send_replace(version);
    }
}

/// Topology and membership as of the last entry that was applied.
pub(super) struct Machine {
    log: Log,
    published: Published,
    applied: Option<LogId>,
    membership: Membership,
}

impl Machine {
    pub(super) fn new(log: Log, published: Published) -> Self {
        Self { log, published, applied: None, membership: Membership::default() }
    }

    fn apply_change(&self, change: &Change) -> Result<Outcome, Refused> {
        // Whoever has decided that somebody is dead was asked under a configuration; another one, which the log has
        // since, may have given that member a lease.
        if let Change::End { by: Verdict::Council { term, index }, .. } = change
            && Configuration::of(&self.membership).version > (*term, *index)
        {
            return Err(Refused::Stale);
        }
        let mut next = Topology::clone(&self.published.topology.load());
        let before = next.version;
        let result = next.apply(change);
        if next.version != before {
            self.published.publish(next);
        }
        result
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Topology;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, asker) = entry?;
            self.applied = Some(entry.log_id);
            let reply = match entry.payload {
                EntryPayload::Blank => None,
                EntryPayload::Membership(membership) => {
                    self.membership = Membership::new(Some(entry.log_id), membership);
                    None
                }
                EntryPayload::Normal(change) => Some(self.apply_change(&change)),
            };
            if let Some(asker) = asker {
                asker.send(reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Builder { log: self.log.clone(), meta, topology: self.published.topology.load_full() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, topology: Topology) -> io::Result<()> {
        let stored = Stored { meta: meta.clone(), topology };
        // At start-up it is the one that the log has given us.
        let kept = self.log.snapshot().is_some_and(|kept| kept.meta == *meta);
        if !kept {
            self.log.save_snapshot(Box::new(stored.clone())).await?;
        }
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.published.publish(stored.topology);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.log.snapshot().map(|stored| Snapshot { meta: stored.meta, snapshot: stored.topology }))
    }
}

/// Keeps the topology of one moment as the newest snapshot.
pub(super) struct Builder {
    log: Log,
    meta: SnapshotMeta,
    topology: Arc<Topology>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Topology;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let topology = Topology::clone(&self.topology);
        let stored = Stored { meta: self.meta.clone(), topology: topology.clone() };
        self.log.save_snapshot(Box::new(stored)).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: topology })
    }
}
