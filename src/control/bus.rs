//! The listening side of the bus: connections of other nodes, by their purpose.
//!
//! What is for the council is answered here; connections with requests go to event loops in turn, and those of
//! primaries to replication.

use std::{
    io,
    net::TcpStream as StdStream,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ringfort_cluster::{codec, council::Council};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::transport::{self, Ask, Told};
use crate::{
    bus::{Bus, Purpose, is_private},
    node::Node,
    replication::roles,
    tasks,
};

/// Time that a handshake may take.
const GREETING_LIMIT: Duration = Duration::from_secs(2);

/// What connections are given to.
#[derive(Clone)]
pub struct Served {
    /// The node, once it has its shards.
    pub node: Arc<OnceLock<Arc<Node>>>,
    /// How callers prove themselves.
    pub bus: Arc<Bus>,
    /// This node's part in the council.
    pub council: Arc<Council>,
    /// Where connections with requests go: one for each event loop.
    pub to_loops: Vec<mpsc::UnboundedSender<StdStream>>,
    /// Where connections of primaries go.
    pub to_replication: mpsc::UnboundedSender<StdStream>,
}

/// Takes connections in for as long as the node runs.
pub async fn serve(served: Served, listener: TcpListener) {
    for turn in 0usize.. {
        match listener.accept().await {
            Ok((_, from)) if served.bus.is_open() && !is_private(from) => {
                tracing::warn!(%from, "refused on the bus: without --cluster-secret only this machine may connect");
            }
            Ok((stream, from)) => {
                let served = served.clone();
                tasks::control("bus", async move {
                    if let Err(error) = served.take(stream, turn).await {
                        match error.kind() {
                            io::ErrorKind::PermissionDenied => {
                                tracing::warn!(%from, %error, "a connection of the bus was refused");
                            }
                            _ => tracing::debug!(%from, %error, "a connection of the bus ended early"),
                        }
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of the bus could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Served {
    async fn take(self, mut stream: TcpStream, turn: usize) -> io::Result<()> {
        let node = Arc::clone(&self.node);
        // Before it serves, and afterwards, nobody would answer.
        let serves = || node.get().is_some_and(|node| !node.lease.is_retired());
        let takes = |purpose| purpose != Purpose::Requests || serves();
        let greeted = tokio::time::timeout(GREETING_LIMIT, self.bus.accept(&mut stream, takes)).await;
        let (_, purpose) = greeted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // The receivers live as long as the node.
        match purpose {
            Purpose::Council => self.answer(stream).await,
            Purpose::Requests => drop(self.to_loops[turn % self.to_loops.len()].send(stream.into_std()?)),
            Purpose::Replication => drop(self.to_replication.send(stream.into_std()?)),
        }
        Ok(())
    }

    /// Answers what another control thread asks, until it goes.
    async fn answer(&self, mut stream: TcpStream) {
        while let Ok(body) = transport::receive(&mut stream).await {
            let told = match codec::decode(&body) {
                Ok(Ask::Council(request)) => Told::Council(self.council.answer(request).await),
                Ok(Ask::Seal(shards)) => {
                    let node = self.node.get();
                    let seal =
                        |(shard, epoch)| (shard, node.and_then(|node| roles::seal(node, shard, epoch)));
                    Told::Sealed(shards.into_iter().map(seal).collect())
                }
                Err(error) => return tracing::warn!(%error, "another node sent what cannot be read"),
            };
            if transport::send(&mut stream, &codec::encode(&told)).await.is_err() {
                return;
            }
        }
    }
}
