//! Requests between the control threads of nodes: one request, one answer, over pooled connections of the bus.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use ringfort_cluster::{
    Address, Epoch, NodeId, Offset, ShardId, codec,
    council::{MESSAGE_LIMIT, Transport},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    bus::{Bus, Purpose},
    lock::lock,
};

/// Idle connections that are kept to one node.
const IDLE_LIMIT: usize = 4;

/// What one control thread asks of another.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Something for the council.
    Council(Vec<u8>),
    /// The asking leader looks for new primaries: take nothing more of these epochs of these shards, and say what you
    /// have of them.
    Seal(Vec<(ShardId, Epoch)>),
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub enum Told {
    /// The council's.
    Council(Vec<u8>),
    /// For each shard that was asked for, how far the complete copy reaches; `None` where there is none.
    Sealed(Vec<(ShardId, Option<(Epoch, Offset)>)>),
}

/// The way to other nodes.
#[derive(Clone)]
pub struct Calls {
    bus: Arc<Bus>,
    idle: Arc<Mutex<Idle>>,
}

/// Connections that are not in use, by host and port, with the node at the other end.
type Idle = HashMap<(String, u16), Vec<(NodeId, TcpStream)>>;

impl Calls {
    /// Calls over this bus.
    pub fn new(bus: Arc<Bus>) -> Self {
        Self { bus, idle: Arc::default() }
    }

    /// Asks a node, and waits for its answer no longer than `limit`. Fails with `NotConnected` where it was surely not
    /// asked.
    pub async fn ask(
        &self,
        to: Option<NodeId>,
        address: &Address,
        ask: &Ask,
        limit: Duration,
    ) -> io::Result<Told> {
        match tokio::time::timeout(limit, self.try_ask(to, address, ask)).await {
            Ok(told) => told,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn try_ask(&self, to: Option<NodeId>, address: &Address, ask: &Ask) -> io::Result<Told> {
        let place = (address.host.clone(), address.bus_port);
        let pooled = self.idle().get_mut(&place).and_then(Vec::pop);
        let (node, mut stream) = match pooled {
            Some(pooled) => pooled,
            None => (self.bus.connect_to(&address.host, address.bus_port, Purpose::Council).await)
                .map_err(|error| io::Error::new(io::ErrorKind::NotConnected, error))?,
        };
        if to.is_some_and(|to| to != node) {
            let text = format!("node {node} answers there, and {} was meant", address.host);
            return Err(io::Error::new(io::ErrorKind::NotConnected, text));
        }
        send(&mut stream, &codec::encode(ask)).await?;
        let told = codec::decode(&receive(&mut stream).await?).map_err(io::Error::other)?;
        let mut idle = self.idle();
        let idle = idle.entry(place).or_default();
        if idle.len() < IDLE_LIMIT {
            idle.push((node, stream));
        }
        Ok(told)
    }

    /// Forgets the connections to a node: it may have been restarted.
    pub fn forget(&self, address: &Address) {
        self.idle().remove(&(address.host.clone(), address.bus_port));
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        lock(&self.idle)
    }
}

impl Transport for Calls {
    fn call(
        &self,
        to: Option<NodeId>,
        address: &Address,
        request: Vec<u8>,
        limit: Duration,
    ) -> BoxFuture<'static, io::Result<Vec<u8>>> {
        let (this, address) = (self.clone(), address.clone());
        async move {
            match this.ask(to, &address, &Ask::Council(request), limit).await? {
                Told::Council(answer) => Ok(answer),
                Told::Sealed(_) => Err(io::Error::other("an answer to another question")),
            }
        }
        .boxed()
    }
}

/// Sends one message.
pub async fn send(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(body);
    stream.write_all(&bytes).await
}

/// Takes one message.
pub async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let len = stream.read_u32_le().await? as usize;
    if len > MESSAGE_LIMIT + 1024 {
        return Err(io::Error::other("a message from another node is too long to be one"));
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
