//! Plain HTTP to the admin port, one request a connection, so that bad requests can be written as easily as good ones.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take. Long, since it only bounds how late a hung server is noticed.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }
}

/// Sends `GET path`, or whatever other method.
pub(crate) fn ask(door: SocketAddr, method: &str, path: &str) -> io::Result<Answer> {
    let sent = format!("{method} {path} HTTP/1.1\r\nHost: {door}\r\n\r\n");
    let bytes = send(door, sent.as_bytes())?;
    parse(&bytes).ok_or_else(|| io::Error::other(format!("no HTTP: {}", String::from_utf8_lossy(&bytes))))
}

/// Sends these bytes and reads until the server closes the connection.
pub(crate) fn send(door: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    read_all(open(door, bytes)?)
}

/// Connects and sends these bytes.
pub(crate) fn open(door: SocketAddr, bytes: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&door, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    Ok(stream)
}

/// Reads until the server closes the connection. A reset is a way to close it.
pub(crate) fn read_all(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(bytes),
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let header =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.into()));
    let headers = lines.map(header).collect::<Option<_>>()?;
    Some(Answer { status, headers, body: body.into() })
}
