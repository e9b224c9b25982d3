//! The arguments of one command: as a view into the bytes it came in, or owned.
//!
//! [`Args`] is what handlers get: a buffer and the places of the arguments in it, so that parsing copies nothing.
//! [`OwnedArgs`] holds the same for commands that must outlive their buffer: queued by MULTI, parked while they
//! block, or typed inline, where quoting means that the arguments are not in the input as such.

use std::{ops::Index, slice::SliceIndex};

/// Where one argument lies in its buffer: bytes `start..end`. Buffers are smaller than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position of the first byte.
    pub start: u32,
    /// Position after the last byte.
    pub end: u32,
}

impl Span {
    fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.start as usize..self.end as usize]
    }
}

/// The arguments of a command, the name first. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Views the parts `spans` of `buf`. Spans that do not lie within `buf` panic when they are read; those that
    /// [`Parser::parse`](crate::Parser::parse) found in `buf` do.
    pub fn new(buf: &'a [u8], spans: &'a [Span]) -> Self {
        Self { buf, spans }
    }

    /// Number of arguments, the command's name included.
    pub fn len(self) -> usize {
        self.spans.len()
    }

    /// Whether there is no argument.
    pub fn is_empty(self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`, if there are so many.
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| span.of(self.buf))
    }

    /// The argument at `index`; panics if there is none. Unlike `args[index]` what it returns lives as long as the
    /// buffer, not as long as this view.
    #[inline]
    pub fn at(self, index: usize) -> &'a [u8] {
        self.spans[index].of(self.buf)
    }

    /// The arguments in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone {
        self.spans.iter().map(move |span| span.of(self.buf))
    }

    /// The arguments in a range; none if there are not so many.
    pub fn slice(self, range: impl SliceIndex<[Span], Output = [Span]>) -> Self {
        Self { buf: self.buf, spans: self.spans.get(range).unwrap_or_default() }
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.at(index)
    }
}

impl std::fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

/// Arguments that own their bytes, in one piece of memory.
#[derive(Clone, Debug, Default)]
pub struct OwnedArgs {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    /// The arguments as handlers read them.
    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }

    /// Appends one argument. Panics above 4 GiB in all, which is more than any command may have.
    pub fn push(&mut self, arg: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(arg);
        self.close(start);
    }

    /// Bytes of memory that this holds.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }

    /// The bytes behind all arguments; a caller that appends here ends its argument by [`Self::close`].
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes the bytes from `start` on an argument.
    pub(crate) fn close(&mut self, start: usize) {
        let at = |pos: usize| u32::try_from(pos).expect("Limits::frame keeps commands below 4 GiB");
        self.spans.push(Span { start: at(start), end: at(self.bytes.len()) });
    }
}

impl From<Args<'_>> for OwnedArgs {
    fn from(args: Args<'_>) -> Self {
        let bytes = args.iter().map(<[u8]>::len).sum();
        let mut owned = Self { bytes: Vec::with_capacity(bytes), spans: Vec::with_capacity(args.len()) };
        args.iter().for_each(|arg| owned.push(arg));
        owned
    }
}

impl<A: AsRef<[u8]>> FromIterator<A> for OwnedArgs {
    fn from_iter<I: IntoIterator<Item = A>>(args: I) -> Self {
        let mut owned = Self::default();
        args.into_iter().for_each(|arg| owned.push(arg.as_ref()));
        owned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_args_equal_the_view_they_were_made_from() {
        let spans = [Span { start: 4, end: 7 }, Span { start: 0, end: 0 }, Span { start: 0, end: 2 }];
        let args = Args::new(b"abc-xyz", &spans);
        let owned = OwnedArgs::from(args);
        assert!(owned.as_args().iter().eq(args.iter()));
        assert!(args.iter().eq([&b"xyz"[..], b"", b"ab"]));
        assert_eq!(&owned.as_args()[2], b"ab");
    }

    #[test]
    fn slice_past_the_end_is_empty() {
        let owned: OwnedArgs = ["SET", "k", "v"].into_iter().collect();
        let args = owned.as_args();
        assert!(args.slice(1..).iter().eq([b"k", b"v"]));
        assert_eq!(args.slice(1..).slice(1..).at(0), b"v");
        assert!(args.slice(3..).is_empty() && args.slice(9..).is_empty());
        assert_eq!(args.get(3), None);
    }
}
