//! A client of one node, for the command line: a command, a reply.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::BytesMut;
use redis_protocol::resp2::{decode::decode, types::OwnedFrame};
use ringfort_protocol::encode_command;

/// How long the node may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Client {
    stream: TcpStream,
    address: String,
}

impl Client {
    pub(super) fn connect(address: &str, password: Option<&str>) -> Result<Self, String> {
        let failed =
            |error| format!("cannot reach {address}: {error}; is a node running there? name one by --node");
        let stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
        let mut client = Self { stream, address: address.to_owned() };
        if let Some(password) = password {
            client.call(&["AUTH", password])?;
        }
        Ok(client)
    }

    /// Sends a command and returns its reply as text.
    pub(super) fn call(&mut self, command: &[&str]) -> Result<String, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.address);
        let mut request = Vec::new();
        encode_command(&mut request, command.iter());
        self.stream.write_all(&request).map_err(failed)?;
        let mut input = BytesMut::new();
        loop {
            match decode(&input).map_err(|error| format!("{}: not a Redis reply: {error}", self.address))? {
                Some((OwnedFrame::Error(text), _)) => return Err(text),
                Some((OwnedFrame::BulkString(bytes), _)) => {
                    return Ok(String::from_utf8_lossy(&bytes).into_owned());
                }
                Some((OwnedFrame::SimpleString(bytes), _)) => {
                    return Ok(String::from_utf8_lossy(&bytes).into_owned());
                }
                Some((other, _)) => return Err(format!("{}: an unexpected reply: {other:?}", self.address)),
                None => {}
            }
            let mut buffer = [0; 16 << 10];
            match self.stream.read(&mut buffer).map_err(failed)? {
                0 => return Err(format!("{} closed the connection", self.address)),
                len => input.extend_from_slice(&buffer[..len]),
            }
        }
    }
}
