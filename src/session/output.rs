//! What a connection is to be sent: bytes, and holes for replies that are not there yet.
//!
//! Replies leave in the order of their requests. One that comes from elsewhere, or later, leaves a hole; what follows
//! it is kept until the hole is filled.

use std::collections::VecDeque;

use ringfort_protocol::Resp;

use crate::{
    commands::{Command, Reply, reply::Mark},
    routing::Hole,
};

/// The output of a connection.
#[derive(Debug, Default)]
pub struct Output {
    /// What can be sent.
    ready: Reply,
    /// What cannot, since the first of it is a hole.
    waiting: VecDeque<Part>,
    /// The number of the first part in `waiting`.
    first: u64,
    holes: usize,
    /// Bytes of the replies in `waiting`, without the last part, which may still grow.
    kept: usize,
}

#[derive(Debug)]
enum Part {
    Hole { discard: bool, command: &'static Command },
    Reply(Reply),
}

impl Output {
    /// Where the next reply is written.
    pub fn tail(&mut self) -> &mut Reply {
        if self.waiting.is_empty() {
            return &mut self.ready;
        }
        if !matches!(self.waiting.back(), Some(Part::Reply(_))) {
            self.waiting.push_back(Part::Reply(Reply::new(self.ready.resp)));
        }
        match self.waiting.back_mut() {
            Some(Part::Reply(reply)) => reply,
            _ => &mut self.ready,
        }
    }

    /// Bytes that were written to [`Output::tail`] since `mark` was taken of it; none if a hole was left since.
    pub fn written_since(&self, mark: Mark) -> usize {
        match self.waiting.back() {
            None => self.ready.len_since(mark),
            Some(Part::Reply(reply)) => reply.len_since(mark),
            Some(Part::Hole { .. }) => 0,
        }
    }

    /// The same bytes, without large values.
    pub fn since(&self, mark: Mark) -> &[u8] {
        match self.waiting.back() {
            None => self.ready.since(mark),
            Some(Part::Reply(reply)) => reply.since(mark),
            Some(Part::Hole { .. }) => &[],
        }
    }

    /// Puts what is no reply between replies. It waits for none that is still to come.
    pub fn interject(&mut self, bytes: &[u8]) {
        self.ready.bytes.extend_from_slice(bytes);
    }

    /// Leaves a hole for the reply to a command; with `discard`, nothing will be sent in its place.
    pub fn leave_hole(&mut self, discard: bool, command: &'static Command) -> Hole {
        if let Some(Part::Reply(reply)) = self.waiting.back() {
            self.kept += reply.bytes.len();
        }
        self.waiting.push_back(Part::Hole { discard, command });
        self.holes += 1;
        Hole(self.first + self.waiting.len() as u64 - 1)
    }

    /// Fills a hole, if it is there still. What it held back moves up to be sent. Returns the command that it was for.
    pub fn fill(&mut self, hole: Hole, reply: &[u8]) -> Option<&'static Command> {
        let index = hole.0.checked_sub(self.first)?;
        let parts = self.waiting.len();
        let part = self.waiting.get_mut(index as usize)?;
        let Part::Hole { discard, command } = *part else { return None };
        self.holes -= 1;
        let reply = if discard { &[] } else { reply };
        if index == 0 {
            self.waiting.pop_front();
            self.first += 1;
            self.ready.bytes.extend_from_slice(reply);
            self.move_up();
        } else {
            let resp = self.ready.resp;
            if index as usize + 1 < parts {
                self.kept += reply.len();
            }
            *part = Part::Reply(Reply { bytes: reply.to_vec(), ..Reply::new(resp) });
        }
        Some(command)
    }

    fn move_up(&mut self) {
        while let Some(Part::Reply(_)) = self.waiting.front() {
            let Some(Part::Reply(reply)) = self.waiting.pop_front() else { return };
            self.first += 1;
            if !self.waiting.is_empty() {
                self.kept -= reply.bytes.len();
            }
            let base = self.ready.bytes.len();
            self.ready.bytes.extend_from_slice(&reply.bytes);
            self.ready.shared.extend(reply.shared.into_iter().map(|(at, value)| (base + at, value)));
        }
    }

    /// Bytes of replies that wait behind a hole; what was written last may not be counted yet.
    pub fn kept_bytes(&self) -> usize {
        self.kept
    }

    /// Number of holes that are not filled.
    pub fn holes(&self) -> usize {
        self.holes
    }

    /// What can be sent now: the caller sends it and [takes it](Output::take_ready).
    pub fn ready(&self) -> &Reply {
        &self.ready
    }

    /// Hands over all that can be sent now.
    pub fn take_ready(&mut self) -> Reply {
        let resp = self.ready.resp;
        std::mem::replace(&mut self.ready, Reply::new(resp))
    }

    /// Gives a buffer back that was taken by [`Output::take_ready`], emptied, so that its memory is used again.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        if self.ready.bytes.is_empty() && buffer.capacity() <= Self::KEEP {
            buffer.clear();
            self.ready.bytes = buffer;
        }
    }

    /// An idle connection keeps a buffer of at most this many bytes.
    const KEEP: usize = 16 << 10;

    /// Takes back all that was not sent, and all holes: see the check before sending.
    pub fn withdraw(&mut self) {
        self.ready = Reply::new(self.ready.resp);
        self.first += self.waiting.len() as u64;
        self.waiting.clear();
        (self.holes, self.kept) = (0, 0);
    }

    /// Writes replies in this version from now on.
    pub fn speak(&mut self, resp: Resp) {
        self.tail().resp = resp;
        self.ready.resp = resp;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::find;

    fn sent(output: &mut Output) -> String {
        String::from_utf8(output.take_ready().into_bytes()).unwrap()
    }

    fn leave_hole(output: &mut Output) -> Hole {
        output.leave_hole(false, find(b"get").unwrap())
    }

    #[test]
    fn replies_leave_in_order_whatever_the_order_in_which_holes_are_filled() {
        let mut output = Output::default();
        output.tail().simple("a");
        let first = leave_hole(&mut output);
        output.tail().simple("c");
        let second = leave_hole(&mut output);
        output.tail().simple("e");
        assert_eq!(sent(&mut output), "+a\r\n");
        output.fill(second, b"+d\r\n");
        assert_eq!((sent(&mut output), output.holes()), (String::new(), 1));
        output.fill(first, b"+b\r\n");
        assert_eq!(sent(&mut output), "+b\r\n+c\r\n+d\r\n+e\r\n");
        output.tail().simple("f");
        assert_eq!((sent(&mut output), output.holes()), ("+f\r\n".into(), 0));
    }

    #[test]
    fn what_is_kept_is_counted_once_and_given_up_with_its_hole() {
        let mut output = Output::default();
        for _ in 0..3 {
            let [first, second] = [(); 2].map(|()| leave_hole(&mut output));
            output.fill(second, b"+second\r\n");
            output.tail().simple("more");
            let third = leave_hole(&mut output);
            assert_eq!(output.kept_bytes(), "+second\r\n+more\r\n".len());
            output.fill(third, b"+third\r\n");
            output.fill(first, b"+first\r\n");
            assert_eq!((output.holes(), output.kept_bytes()), (0, 0));
            assert_eq!(sent(&mut output), "+first\r\n+second\r\n+more\r\n+third\r\n");
        }
    }

    #[test]
    fn what_is_no_reply_does_not_wait_for_any() {
        let mut output = Output::default();
        output.tail().simple("a");
        let hole = leave_hole(&mut output);
        output.tail().simple("c");
        output.interject(b"+line\r\n");
        assert_eq!(sent(&mut output), "+a\r\n+line\r\n");
        output.fill(hole, b"+b\r\n");
        output.interject(b"+line\r\n");
        assert_eq!(sent(&mut output), "+b\r\n+c\r\n+line\r\n");
    }

    #[test]
    fn a_discarded_hole_sends_nothing_and_is_filled_once() {
        let mut output = Output::default();
        let hole = output.leave_hole(true, find(b"set").unwrap());
        output.tail().simple("b");
        assert_eq!(output.fill(hole, b"+a\r\n").map(|command| command.name), Some("set"));
        assert!(output.fill(hole, b"+again\r\n").is_none());
        assert_eq!(sent(&mut output), "+b\r\n");
    }
}
