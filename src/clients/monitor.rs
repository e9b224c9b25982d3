//! Clients that watch what others run: MONITOR.
//!
//! Each has a queue of lines. The event loop that runs a command puts its line into all queues, and wakes whose queue
//! was empty; the loop of who watches sends the lines when all that it was sent before is gone. As long as nobody
//! watches, an event loop only looks once a turn whether somebody does ([`super::Clients::are_watched`]).

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::Shared;
use crate::lock::lock;

/// Bytes of lines that may be in the queue of a client that watches. One that would have more is closed.
pub const MONITOR_LIMIT: usize = 32 << 20;

/// A client that watches.
#[derive(Debug)]
pub struct Monitor {
    client: Arc<Shared>,
    lines: Mutex<Vec<u8>>,
}

impl Monitor {
    /// Takes the lines that it is still to be sent.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *lock(&self.lines))
    }

    /// Has it sent a line soon, or closes it: it is too far behind, or there is no line that it could be sent.
    fn show(&self, line: Option<&[u8]>) {
        if self.client.is_killed() {
            return;
        }
        let mut lines = lock(&self.lines);
        let Some(line) = line.filter(|line| lines.len() + line.len() <= MONITOR_LIMIT) else {
            *lines = Vec::new();
            let client = self.client.peer;
            tracing::warn!(%client, "closed: it watches commands and does not read what it is shown");
            return self.client.kill();
        };
        let was_empty = lines.is_empty();
        lines.extend_from_slice(line);
        if was_empty {
            self.client.signal.raise();
        }
    }
}

/// All clients of a node that watch.
#[derive(Debug, Default)]
pub(super) struct Monitors(Mutex<Vec<Arc<Monitor>>>);

impl Monitors {
    /// Lets a client watch. `watched` tells afterwards whether any does.
    pub(super) fn add(&self, client: &Arc<Shared>, watched: &AtomicBool) -> Arc<Monitor> {
        let monitor = Arc::new(Monitor { client: Arc::clone(client), lines: Mutex::default() });
        let mut all = lock(&self.0);
        all.push(Arc::clone(&monitor));
        client.watches.store(true, Relaxed);
        watched.store(true, Relaxed);
        monitor
    }

    /// Lets a client watch no more.
    pub(super) fn remove(&self, client: &Shared, watched: &AtomicBool) {
        let mut all = lock(&self.0);
        all.retain(|monitor| monitor.client.id != client.id);
        client.watches.store(false, Relaxed);
        watched.store(!all.is_empty(), Relaxed);
    }

    pub(super) fn show(&self, line: Option<&[u8]>) {
        lock(&self.0).iter().for_each(|monitor| monitor.show(line));
    }
}

/// A command as who watches reads it: when it was run, in Unix microseconds, in which database, and who asked for it.
/// `None` if it is longer than a queue may be.
pub fn line<'a>(
    micros: u64,
    db: u8,
    peer: SocketAddr,
    args: impl Iterator<Item = &'a [u8]>,
) -> Option<Vec<u8>> {
    let mut line = format!("+{}.{:06} [{db} {peer}]", micros / 1_000_000, micros % 1_000_000).into_bytes();
    for arg in args {
        if line.len() + arg.len() > MONITOR_LIMIT {
            return None;
        }
        line.push(b' ');
        quote(arg, &mut line);
    }
    line.extend_from_slice(b"\r\n");
    Some(line)
}

/// Appends a text in quotes, in one line and in ASCII, as Redis writes it.
fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::{super::Clients, *};

    fn client(clients: &Clients) -> Arc<Shared> {
        clients.enter(([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into(), 3, 0, 9).unwrap()
    }

    #[test]
    fn a_line_is_that_of_redis_whatever_the_bytes() {
        let args: [&[u8]; 3] = [b"set", b"", b"\\ \" \n\r\t\x07\x08 \x00\x7f\xff ~"];
        let line = line(1_700_000_000_000_042, 3, "[::1]:6379".parse().unwrap(), args.into_iter()).unwrap();
        let expected = r#"+1700000000.000042 [3 [::1]:6379] "set" "" "\\ \" \n\r\t\a\b \x00\x7f\xff ~""#
            .to_owned()
            + "\r\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn all_who_watch_are_shown_a_line_until_they_leave() {
        let clients = Clients::default();
        let [one, two] = [client(&clients), client(&clients)];
        assert!(!clients.are_watched());
        let [first, second] = [clients.watch(&one), clients.watch(&two)];
        clients.show(Some(b"a"));
        clients.unwatch(&two);
        clients.show(Some(b"b"));
        assert_eq!((first.take(), second.take()), (b"ab".to_vec(), b"a".to_vec()));
        assert!(clients.are_watched() && one.watches.load(Relaxed) && !two.watches.load(Relaxed));
        clients.leave(one.id);
        assert!(!clients.are_watched());
    }

    #[test]
    fn who_is_too_far_behind_is_closed_and_others_are_not() {
        let clients = Clients::default();
        let [slow, fast] = [client(&clients), client(&clients)];
        let [behind, reads] = [clients.watch(&slow), clients.watch(&fast)];
        let line = vec![b'x'; MONITOR_LIMIT / 2];
        for _ in 0..2 {
            clients.show(Some(&line));
            reads.take();
        }
        assert!(!slow.is_killed());
        clients.show(Some(b"x"));
        assert!(slow.is_killed() && !fast.is_killed());
        clients.show(Some(b"y"));
        assert_eq!((behind.take(), reads.take()), (Vec::new(), b"xy".to_vec()));
    }

    #[test]
    fn a_line_that_nobody_could_be_sent_is_not_written() {
        let long = vec![b'x'; MONITOR_LIMIT];
        let peer = ([127, 0, 0, 1], 1).into();
        assert_eq!(line(0, 0, peer, [&b"set"[..], b"k", &long].into_iter()), None);
        let clients = Clients::default();
        let client = client(&clients);
        clients.watch(&client);
        clients.show(None);
        assert!(client.is_killed());
    }
}
