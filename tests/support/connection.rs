//! One blocking connection to a server under test.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::reply::{Protocol, Reply};

/// How long a reply may take. Long, since it only bounds how late a hung server is noticed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that knows which protocol it has agreed on: `HELLO` and `RESET` change it as they are answered.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    pub(crate) protocol: Protocol,
}

impl Connection {
    /// Connects, and asks for `protocol` unless it is what every connection starts with.
    pub(crate) fn open(address: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut connection = Self { stream: BufReader::new(stream), protocol: Protocol::Resp2 };
        if protocol == Protocol::Resp3 {
            connection.call(&["HELLO", "3"])?;
        }
        Ok(connection)
    }

    /// Sends a command and reads its reply; an error reply is a reply.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.send(args)?;
        let reply = self.read()?;
        self.note_protocol(args, &reply);
        Ok(reply)
    }

    /// Waits for the next reply.
    pub(crate) fn read(&mut self) -> io::Result<Reply> {
        Reply::read(&mut self.stream)
    }

    /// Sends a command and does not wait for its reply.
    pub(crate) fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        let mut out = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args.iter().map(AsRef::as_ref) {
            out.extend(format!("${}\r\n", arg.len()).as_bytes());
            out.extend(arg);
            out.extend(b"\r\n");
        }
        self.stream.get_mut().write_all(&out)
    }

    fn note_protocol<A: AsRef<[u8]>>(&mut self, args: &[A], reply: &Reply) {
        let word = |at: usize| args.get(at).map(|arg| arg.as_ref().to_ascii_lowercase()).unwrap_or_default();
        match word(0).as_slice() {
            _ if matches!(reply, Reply::Error(_)) => {}
            b"hello" if word(1) == b"3" => self.protocol = Protocol::Resp3,
            b"hello" if word(1) == b"2" => self.protocol = Protocol::Resp2,
            b"reset" => self.protocol = Protocol::Resp2,
            _ => {}
        }
    }

    /// Waits until the server has closed the connection; `false` if it sends something instead.
    pub(crate) fn is_closed_by_server(&mut self) -> bool {
        match Reply::read(&mut self.stream) {
            Ok(_) => false,
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
            }
        }
    }
}
