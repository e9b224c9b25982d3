//! The bus: connections between nodes, each for one purpose.
//!
//! Both sides prove that they know the cluster's secret before anything else is said, each by a keyed hash over random
//! bytes that the other one chose. What follows is not encrypted: the bus belongs on a network of its own.

mod handshake;

use std::{io, net::SocketAddr, time::Duration};

use ringfort_cluster::{Address, NodeId};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// What a connection between nodes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Requests of clients for the node that owns their keys.
    Requests,
    /// The logs of shards, and copies, to their replicas.
    Replication,
    /// Agreement and administration: one request, one answer, in turn.
    Council,
}

/// What a node needs to speak to others.
#[derive(Clone)]
pub struct Bus {
    /// This node.
    pub node: NodeId,
    secret: [u8; 32],
    /// No secret was given.
    open: bool,
}

impl Bus {
    /// For a node of a cluster with this secret; an empty one will do where all nodes are on one machine.
    pub fn new(node: NodeId, secret: &str) -> Self {
        let open = secret.is_empty();
        Self { node, secret: blake3::derive_key("ringfort bus 2026 cluster secret", secret.as_bytes()), open }
    }

    /// Whether anybody can speak on it, for no secret was given: then only this machine may.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The secret, for what else is to be proved by it.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Connects to a node and proves that both belong together.
    pub async fn connect(&self, to: &Address, purpose: Purpose) -> io::Result<TcpStream> {
        Ok(self.connect_to(&to.host, to.bus_port, purpose).await?.1)
    }

    /// The same by host and bus port; tells which node it is.
    pub async fn connect_to(
        &self,
        host: &str,
        port: u16,
        purpose: Purpose,
    ) -> io::Result<(NodeId, TcpStream)> {
        let mut stream = TcpStream::connect((host, port)).await?;
        prepare(&stream)?;
        let node = handshake::ask(&mut stream, self, purpose).await?;
        Ok((node, stream))
    }

    /// Takes a connection in, if it is for something that this node does at the moment: who it is from, and what for.
    /// One that is not taken in fails for the caller, too, before it sends anything.
    pub async fn accept(
        &self,
        stream: &mut TcpStream,
        takes: impl Fn(Purpose) -> bool,
    ) -> io::Result<(NodeId, Purpose)> {
        prepare(stream)?;
        handshake::answer(stream, self, takes).await
    }
}

/// How long a peer may leave what was sent to it unacknowledged, or say nothing on an idle connection, before the
/// connection is given up: a cut between two nodes must not hold up what is under way between them.
const SILENCE_LIMIT: Duration = Duration::from_secs(2);

/// Sets a connection between nodes up: small messages go at once, and a dead one is noticed.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let probe = Duration::from_secs(1);
    let probes = TcpKeepalive::new().with_time(probe).with_interval(probe).with_retries(2);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(SILENCE_LIMIT))
}

/// Whether the secret may be empty: only while nobody but this machine can reach the bus.
pub fn is_private(address: SocketAddr) -> bool {
    address.ip().is_loopback()
}
