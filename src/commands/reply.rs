//! The reply of a command while it is being written: bytes in the version of RESP that the client speaks, and large
//! values by reference.

use bytes::Bytes;
use ringfort_protocol::{Resp, reply};

use super::{CommandError, Limits};
use crate::store::packed::Item;

/// Values of at least this many bytes are not copied into a reply but shared with the store.
pub const SHARE_FROM: usize = 16 << 10;

/// A reply, or several in a row.
#[derive(Debug, Default)]
pub struct Reply {
    /// What was written.
    pub bytes: Vec<u8>,
    /// Large values and where in `bytes` each belongs, in ascending order.
    pub shared: Vec<(usize, Bytes)>,
    /// The version that the client speaks.
    pub resp: Resp,
}

/// How much a command may still write of values that it may write as often as its client likes: in all, as many bytes
/// as the longest string may have. Other replies are no longer than the data that they tell of, or their request.
#[derive(Debug)]
pub struct Allowance(usize);

impl Allowance {
    /// Bytes that stand around a value, at most.
    const AROUND: usize = 16;

    /// All of it.
    pub fn new(limits: &Limits) -> Self {
        Self(limits.proto_max_bulk_len)
    }

    /// Takes what a value of so many bytes needs.
    pub fn take(&mut self, bytes: usize) -> Result<(), CommandError> {
        self.0 = self.0.checked_sub(bytes + Self::AROUND).ok_or(TOO_MANY_BYTES)?;
        Ok(())
    }
}

const TOO_MANY_BYTES: CommandError = CommandError::other(
    "ERR the result would have more bytes than proto-max-bulk-len; ask for less at a time",
);

/// No reply is put together that has more bytes than this.
pub const FLAT_LIMIT: usize = 1 << 30;

/// What stands in the place of a reply that would have more.
pub const TOO_LONG: &[u8] = b"-ERR the reply is too long to be put together; ask for less at a time\r\n";

/// A point to which a reply can be taken back.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize, usize);

impl Reply {
    /// An empty reply to a client that speaks `resp`.
    pub fn new(resp: Resp) -> Self {
        Self { resp, ..Self::default() }
    }

    /// Where the reply ends now.
    pub fn mark(&self) -> Mark {
        Mark(self.bytes.len(), self.shared.len())
    }

    /// Takes back what was written since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.0);
        self.shared.truncate(mark.1);
    }

    /// Bytes that were written since `mark`, large values included.
    pub fn len_since(&self, mark: Mark) -> usize {
        let shared = self.shared.get(mark.1..).unwrap_or_default();
        let large: usize = shared.iter().map(|shared| shared.1.len()).sum();
        self.bytes.len().saturating_sub(mark.0) + large
    }

    /// The same bytes, without the large values.
    pub fn since(&self, mark: Mark) -> &[u8] {
        self.bytes.get(mark.0..).unwrap_or_default()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All bytes in a row; copies the large values. A reply that would have more than [`FLAT_LIMIT`] so is
    /// [`TOO_LONG`].
    pub fn into_bytes(self) -> Vec<u8> {
        if self.shared.is_empty() {
            return self.bytes;
        }
        let large: usize = self.shared.iter().map(|shared| shared.1.len()).sum();
        if self.bytes.len().saturating_add(large) > FLAT_LIMIT {
            return TOO_LONG.to_vec();
        }
        let mut all = Vec::with_capacity(self.bytes.len() + large);
        let mut done = 0;
        for (at, value) in &self.shared {
            all.extend_from_slice(&self.bytes[done..*at]);
            all.extend_from_slice(value);
            done = *at;
        }
        all.extend_from_slice(&self.bytes[done..]);
        all
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A status line.
    pub fn simple(&mut self, text: &str) {
        reply::simple(&mut self.bytes, text);
    }

    /// An error.
    pub fn error(&mut self, error: &CommandError) {
        reply::error(&mut self.bytes, error.text());
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        reply::int(&mut self.bytes, value);
    }

    /// A number of things.
    pub fn count(&mut self, count: usize) {
        reply::int(&mut self.bytes, count as i64);
    }

    /// A yes or no as `1` or `0`, as most commands of Redis say it in both versions.
    pub fn flag(&mut self, yes: bool) {
        self.bytes.extend_from_slice(if yes { b":1\r\n" } else { b":0\r\n" });
    }

    /// A string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        reply::bulk(&mut self.bytes, bytes);
    }

    /// An integer as a string.
    pub fn bulk_int(&mut self, value: i64) {
        reply::bulk_int(&mut self.bytes, value);
    }

    /// An element of a small collection, as a string.
    #[inline]
    pub fn item(&mut self, item: Item<'_>) {
        match item {
            Item::Int(value) => self.bulk_int(value),
            Item::Bytes(bytes) => self.bulk(bytes),
        }
    }

    /// A string that the store shares; short ones are copied.
    pub fn bulk_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_FROM {
            return self.bulk(bytes);
        }
        reply::bulk_head(&mut self.bytes, bytes.len());
        self.shared.push((self.bytes.len(), bytes.clone()));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Nothing where a string could be.
    pub fn null(&mut self) {
        reply::null(&mut self.bytes, self.resp);
    }

    /// Nothing where an array could be.
    pub fn null_array(&mut self) {
        reply::null_array(&mut self.bytes, self.resp);
    }

    /// The head of an array of `len` elements, which follow.
    pub fn array(&mut self, len: usize) {
        reply::array(&mut self.bytes, len);
    }

    /// An array whose length is known only when its elements are written: `elements` writes them and returns how many.
    pub fn array_of(&mut self, elements: impl FnOnce(&mut Self) -> usize) {
        let mark = self.mark();
        let (len, mut head) = (elements(self), Vec::new());
        reply::array(&mut head, len);
        self.put_at(mark, head);
    }

    /// The same for a map: `pairs` writes keys and values in turn, and returns how many pairs.
    pub fn map_of(&mut self, pairs: impl FnOnce(&mut Self) -> usize) {
        let mark = self.mark();
        let (len, mut head) = (pairs(self), Vec::new());
        reply::map(&mut head, self.resp, len);
        self.put_at(mark, head);
    }

    fn put_at(&mut self, mark: Mark, head: Vec<u8>) {
        self.shared[mark.1..].iter_mut().for_each(|(at, _)| *at += head.len());
        self.bytes.splice(mark.0..mark.0, head);
    }

    /// The head of a map; keys and values follow in turn.
    pub fn map(&mut self, pairs: usize) {
        reply::map(&mut self.bytes, self.resp, pairs);
    }

    /// The head of a set; its members follow.
    pub fn set(&mut self, len: usize) {
        reply::set(&mut self.bytes, self.resp, len);
    }

    /// A floating-point number.
    pub fn double(&mut self, value: f64) {
        reply::double(&mut self.bytes, self.resp, value);
    }

    /// A text for people, such as INFO's.
    pub fn text(&mut self, text: &str) {
        reply::verbatim(&mut self.bytes, self.resp, b"txt", text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_stand_where_they_were_written() {
        let mut reply = Reply::default();
        let value = Bytes::from(vec![b'x'; SHARE_FROM]);
        reply.array(2);
        reply.bulk_shared(&value);
        let mark = reply.mark();
        reply.bulk_shared(&value);
        reply.rewind(mark);
        reply.bulk(b"end");
        let expected = [b"*2\r\n$16384\r\n", &value[..], b"\r\n$3\r\nend\r\n"].concat();
        assert_eq!(reply.into_bytes(), expected);
    }

    #[test]
    fn values_that_are_repeated_are_not_copied_without_end() {
        let value = Bytes::from(vec![b'x'; 1 << 20]);
        let of = |count: usize| {
            let mut reply = Reply::default();
            reply.array(count);
            (0..count).for_each(|_| reply.bulk_shared(&value));
            reply.into_bytes()
        };
        assert!(of(2).starts_with(b"*2\r\n$1048576\r\nx"));
        assert!(of(1_024) == TOO_LONG);
    }

    #[test]
    fn an_array_may_be_counted_behind_its_elements() {
        let mut reply = Reply::default();
        let value = Bytes::from(vec![b'x'; SHARE_FROM]);
        reply.int(1);
        reply.array_of(|reply| {
            reply.bulk_shared(&value);
            reply.array_of(|_| 0);
            2
        });
        let expected = [b":1\r\n*2\r\n$16384\r\n", &value[..], b"\r\n*0\r\n"].concat();
        assert_eq!(reply.into_bytes(), expected);
    }
}
