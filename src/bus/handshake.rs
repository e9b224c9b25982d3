//! How two nodes find out that they belong together.
//!
//! The caller sends its name and 16 random bytes; the other side answers with its own and a proof over all of it; the
//! caller then proves itself. A proof is a keyed hash over its side's name and all that was said so far, so none can
//! be played back or reflected.

use std::io;

use ringfort_cluster::NodeId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Bus, Purpose};
use crate::env::random;

/// Names the protocol and its version: what speaks another one is told so.
const MAGIC: &[u8; 8] = b"RINGFRT1";

/// The caller's first words: magic, purpose, its node, random bytes.
const GREETING: usize = 8 + 1 + 20 + 16;

/// The answer: random bytes, its node, a proof.
const ANSWER: usize = 16 + 20 + 32;

impl Purpose {
    fn code(self) -> u8 {
        match self {
            Self::Requests => 1,
            Self::Replication => 2,
            Self::Council => 3,
        }
    }

    fn from_code(code: u8) -> io::Result<Self> {
        match code {
            1 => Ok(Self::Requests),
            2 => Ok(Self::Replication),
            3 => Ok(Self::Council),
            _ => Err(io::Error::other("the other side asks for something that this build does not know")),
        }
    }
}

pub(super) async fn ask(stream: &mut TcpStream, bus: &Bus, purpose: Purpose) -> io::Result<NodeId> {
    let mut said = Vec::with_capacity(GREETING + 16);
    said.extend_from_slice(MAGIC);
    said.push(purpose.code());
    said.extend_from_slice(&bus.node.0);
    said.extend_from_slice(&random::bytes::<16>());
    stream.write_all(&said).await?;
    let mut answer = [0; ANSWER];
    stream.read_exact(&mut answer).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the other node closed the connection: is it a bus port of Ringfort, of the same version?",
        ),
        _ => error,
    })?;
    let (named, theirs) = answer.split_at(16 + 20);
    said.extend_from_slice(named);
    if proof(bus, b"answer", &said) != *theirs {
        // No proof, but a word that lets the other side tell this from a caller that went away.
        stream.write_all(&[0; 32]).await?;
        return Err(wrong_secret());
    }
    stream.write_all(proof(bus, b"caller", &said).as_bytes()).await?;
    // The last word: the other side has accepted the proof.
    match stream.read_u8().await {
        Ok(1) => {
            let mut node = NodeId([0; 20]);
            node.0.copy_from_slice(&named[16..]);
            Ok(node)
        }
        Ok(_) => Err(wrong_secret()),
        // It does not serve this purpose at the moment.
        Err(error) => Err(error),
    }
}

pub(super) async fn answer(
    stream: &mut TcpStream,
    bus: &Bus,
    takes: impl Fn(Purpose) -> bool,
) -> io::Result<(NodeId, Purpose)> {
    let mut said = vec![0; GREETING];
    stream.read_exact(&mut said).await?;
    if said[..8] != *MAGIC {
        return Err(io::Error::other("the caller does not speak the bus protocol of this version"));
    }
    let purpose = Purpose::from_code(said[8])?;
    let mut node = NodeId([0; 20]);
    node.0.copy_from_slice(&said[9..29]);
    let named = [&random::bytes::<16>()[..], &bus.node.0].concat();
    said.extend_from_slice(&named);
    stream.write_all(&[&named[..], proof(bus, b"answer", &said).as_bytes()].concat()).await?;
    let mut theirs = [0; 32];
    stream.read_exact(&mut theirs).await?;
    if proof(bus, b"caller", &said) != theirs {
        return Err(wrong_secret());
    }
    if !takes(purpose) {
        return Err(io::Error::new(io::ErrorKind::NotConnected, "this node does not serve that now"));
    }
    stream.write_u8(1).await?;
    Ok((node, purpose))
}

/// Comparing a [`blake3::Hash`] takes the same time whatever the bytes.
fn proof(bus: &Bus, side: &[u8], said: &[u8]) -> blake3::Hash {
    blake3::keyed_hash(&bus.secret, &[side, said].concat())
}

fn wrong_secret() -> io::Error {
    let text = "the nodes do not share a cluster secret; give all of them the same --cluster-secret";
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A node with one secret calls one with the other, which takes in what is for the council.
    async fn meet(
        one: &str,
        other: &str,
        purpose: Purpose,
    ) -> (io::Result<NodeId>, io::Result<(NodeId, Purpose)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let caller = Bus::new(NodeId([1; 20]), one);
        let other = Bus::new(NodeId([2; 20]), other);
        let call = async {
            let mut stream = TcpStream::connect(address).await?;
            ask(&mut stream, &caller, purpose).await
        };
        let take = async {
            let (mut stream, _) = listener.accept().await?;
            answer(&mut stream, &other, |purpose| purpose == Purpose::Council).await
        };
        tokio::join!(call, take)
    }

    #[tokio::test]
    async fn nodes_of_one_secret_meet() {
        let (asked, answered) = meet("s", "s", Purpose::Council).await;
        assert_eq!(asked.unwrap(), NodeId([2; 20]));
        assert_eq!(answered.unwrap(), (NodeId([1; 20]), Purpose::Council));
    }

    #[tokio::test]
    async fn a_wrong_secret_is_refused_on_both_sides() {
        let (asked, answered) = meet("s", "t", Purpose::Council).await;
        assert!(asked.unwrap_err().to_string().contains("cluster secret"));
        assert!(answered.unwrap_err().to_string().contains("cluster secret"));
    }

    #[tokio::test]
    async fn what_is_not_taken_in_fails_on_both_sides_before_anything_is_sent() {
        let (asked, answered) = meet("s", "s", Purpose::Requests).await;
        assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(answered.unwrap_err().kind(), io::ErrorKind::NotConnected);
    }
}
