//! What an operator asks of the cluster: `ringfort cluster …` and the command `RINGFORT`.

use std::{sync::Arc, time::Duration};

use ringfort_cluster::{Change, NodeId, NodeState, Refused};
use ringfort_protocol::Args;

use super::{Control, status};
use crate::commands::CommandError;

/// How long a node that is to be removed may take to leave the council: some elections and changes of it.
const COUNCIL_LIMIT: Duration = Duration::from_secs(10);

/// Something that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// How the cluster is: JSON.
    Status,
    /// A node is to hand over all that it has (or no longer), so that it can go.
    Drain {
        /// Its id, the beginning of it, or `host:port` of its client port.
        node: String,
        /// Whether it is to be drained from now on.
        draining: bool,
    },
    /// A node is to be forgotten.
    Remove {
        /// As for draining.
        node: String,
    },
    /// The placement is to be looked at again now.
    Rebalance,
}

impl Admin {
    /// What `RINGFORT …` asks for.
    pub fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let text = |index: usize| {
            let text = args.get(index).map(|arg| String::from_utf8_lossy(arg).into_owned());
            text.ok_or_else(|| CommandError::Arity("ringfort".into()))
        };
        match text(1)?.to_ascii_lowercase().as_str() {
            "status" => Ok(Self::Status),
            "drain" => Ok(Self::Drain { node: text(2)?, draining: true }),
            "undrain" => Ok(Self::Drain { node: text(2)?, draining: false }),
            "remove" => Ok(Self::Remove { node: text(2)? }),
            "rebalance" => Ok(Self::Rebalance),
            _ => Err(CommandError::other(
                "ERR RINGFORT takes STATUS, DRAIN node, UNDRAIN node, REMOVE node or REBALANCE",
            )),
        }
    }
}

impl Control {
    /// Does what was asked. Returns a text to show, or what is wrong.
    pub(super) async fn administer(self: &Arc<Self>, what: Admin) -> Result<String, String> {
        match what {
            Admin::Status => Ok(status::json(&self.node, &self.council)),
            Admin::Drain { node, draining } => {
                let node = self.find(&node)?;
                self.ask(Change::Drain { node, draining }).await
            }
            Admin::Remove { node } => {
                let node = self.find(&node)?;
                self.take_from_council(node).await?;
                self.ask(Change::Remove(node)).await
            }
            Admin::Rebalance => {
                self.conduct.notify_one();
                Ok("OK".into())
            }
        }
    }

    async fn ask(&self, change: Change) -> Result<String, String> {
        self.council.propose(change).await.map(|_| "OK".into()).map_err(|error| error.to_string())
    }

    /// Waits until a living node neither votes in the council nor leads it: it stops when it hears that it was removed,
    /// and what it led would be left without an answer.
    async fn take_from_council(&self, node: NodeId) -> Result<(), String> {
        let topology = self.council.topology().load_full();
        let Some(known) = topology.nodes.get(&node).filter(|known| known.state == NodeState::Alive) else {
            return Ok(());
        };
        if topology.shards.iter().any(|shard| shard.is_held_by(&node)) {
            return Err(Refused::HoldsShards.to_string());
        }
        if !known.draining {
            self.ask(Change::Drain { node, draining: true }).await?;
        }
        let mut status = self.council.status();
        let left = status.wait_for(|status| !status.configuration.has(&node) && status.leader != Some(node));
        match tokio::time::timeout(COUNCIL_LIMIT, left).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err("the node that was asked is stopping".into()),
            Err(_) => Err(
                "the node has not left the council yet: are most of its members up, and does another node \
                           live that can take its place? try again then"
                    .into(),
            ),
        }
    }

    /// The one node that is meant by an id, the beginning of one, or an address.
    fn find(&self, text: &str) -> Result<NodeId, String> {
        let topology = self.node.topology.load();
        let is = |info: &&ringfort_cluster::NodeInfo| {
            let address = format!("{}:{}", info.address.host, info.address.client_port);
            address == text || (!text.is_empty() && info.id.to_string().starts_with(text))
        };
        let found: Vec<NodeId> =
            topology.nodes.values().map(|node| &node.info).filter(is).map(|info| info.id).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(format!("no node is called {text}; `ringfort cluster status` names them")),
            many => Err(format!("{} nodes begin with {text}; give more digits", many.len())),
        }
    }
}
