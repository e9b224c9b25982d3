//! First contact: what a node that is not part of the council's log can ask of one that is.

use std::time::Duration;

use super::{
    network::{Answer, Envelope, NoAnswer, Rejection, Request, Transport, ask},
    propose::{PROPOSE_LIMIT, ProposeError},
};
use crate::{
    change::Refused,
    ids::{ClusterId, NodeId, Version},
    topology::{Address, NodeInfo, Topology},
};

/// A member that is asked to have somebody admitted may need all of [`PROPOSE_LIMIT`] for it.
const JOIN_LIMIT: Duration = PROPOSE_LIMIT.saturating_add(Duration::from_millis(500));

/// How long a member may take to tell its topology.
const TOPOLOGY_LIMIT: Duration = Duration::from_secs(2);

/// The cluster that has admitted a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its name.
    pub cluster: ClusterId,
    /// The version of the topology that knows the node.
    pub version: Version,
}

/// Why a node was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Somebody answers there, of another cluster.
    #[error(
        "{}:{} belongs to cluster {found}, and this node to {wanted}; give it addresses of its own cluster, or an \
         empty data directory",
        .address.host, .address.bus_port
    )]
    OtherCluster {
        /// Who was asked.
        address: Address,
        /// The cluster there.
        found: ClusterId,
        /// The cluster that this node belongs to.
        wanted: ClusterId,
    },
    /// The cluster does not want this incarnation.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// None of the addresses could help. Trying again later may do.
    #[error("no member could be reached, or none has a leader: {}", .0.join("; "))]
    Nobody(Vec<String>),
}

/// Asks the nodes at these addresses, one after the other, to have this one admitted: for a node that is new, and for
/// one that comes back and cannot reach the council by its own log.
///
/// `cluster` is the one that the node belongs to already, if any.
pub async fn join(
    transport: &dyn Transport,
    addresses: &[Address],
    cluster: Option<ClusterId>,
    info: &NodeInfo,
) -> Result<Joined, JoinError> {
    let mut tried = Vec::new();
    for address in addresses {
        let envelope = Envelope { cluster, request: Request::Join(info.clone()) };
        let why = match ask(transport, None, address, &envelope, JOIN_LIMIT).await {
            Ok(Answer::Joined(cluster, Ok(outcome))) => {
                let version = outcome.version;
                return Ok(Joined { cluster, version });
            }
            Ok(Answer::Joined(_, Err(ProposeError::Refused(refused)))) => return Err(refused.into()),
            Ok(Answer::Joined(_, Err(error))) => error.to_string(),
            Ok(_) => "an answer to another question".into(),
            Err(NoAnswer::Rejected(Rejection::OtherCluster(found))) if cluster.is_some() => {
                return Err(JoinError::OtherCluster {
                    address: address.clone(),
                    found,
                    wanted: cluster.unwrap_or(found),
                });
            }
            Err(error) => error.to_string(),
        };
        tried.push(format!("{}:{}: {why}", address.host, address.bus_port));
    }
    Err(JoinError::Nobody(tried))
}

/// Asks a node for its topology, if it is newer than a version: for those beyond the council's log, and for a look at a
/// cluster from outside. `None`: it is not newer.
pub async fn read_topology(
    transport: &dyn Transport,
    cluster: ClusterId,
    to: Option<NodeId>,
    address: &Address,
    newer_than: Version,
) -> std::io::Result<Option<Topology>> {
    let envelope = Envelope { cluster: Some(cluster), request: Request::Topology(newer_than) };
    match ask(transport, to, address, &envelope, TOPOLOGY_LIMIT).await {
        Ok(Answer::Topology(topology)) => Ok(topology.map(|topology| *topology)),
        Ok(_) => Err(std::io::Error::other("an answer to another question")),
        Err(NoAnswer::Lost(error)) => Err(error),
        Err(NoAnswer::Rejected(rejection)) => Err(std::io::Error::other(rejection)),
    }
}
