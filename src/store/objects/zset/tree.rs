//! A list of (score, member id) that finds, adds and takes out by rank: a B+-tree that counts.
//!
//! The tree knows nothing of the order of members. Only [`Tree::rank`] looks for a place, by a test that its caller
//! brings; everything else goes by rank, along the counts. So one primitive serves ranks, counts and bounds by score
//! and by member, and a change is two descents of which the second compares nothing.
//!
//! Every node has up to [`SLOTS`] slots with a score and an id each. A leaf's are the entries; a slot of an inner
//! node repeats the first entry beneath it and counts those that are there. A full node is split in halves, at either
//! end of the list so that the old one stays full; a node that lost most of its slots joins a neighbour if both fit.

use std::ops::Range;

/// Slots of a node.
const SLOTS: usize = 64;

/// A node with fewer slots in use than this joins a neighbour…
const FEW: usize = SLOTS / 4;

/// … if they have no more than this together, which leaves room for the next insertions.
const JOINED: usize = SLOTS * 3 / 4;

/// The list.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: Box<Node>,
    len: usize,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Node {
    len: usize,
    scores: [f64; SLOTS],
    ids: [u32; SLOTS],
    /// What an inner node has below.
    below: Option<Box<Below>>,
}

#[derive(Clone, Debug)]
struct Below {
    counts: [u32; SLOTS],
    #[expect(clippy::vec_box, reason = "nodes are large, and move when a neighbour is added")]
    nodes: Vec<Box<Node>>,
}

/// Where in the list a node is split.
#[derive(Clone, Copy, PartialEq)]
enum Edge {
    First,
    Inside,
    Last,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Box::new(Node::leaf()), len: 0, bytes: size_of::<Node>() }
    }
}

impl Tree {
    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory that it takes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries from the first on are `before`: true of those up to a point, and false from there on.
    pub(super) fn rank(&self, before: impl Fn(f64, u32) -> bool) -> usize {
        let mut node = &*self.root;
        let mut rank = 0;
        loop {
            let slots = node.partition(&before);
            let Some(below) = &node.below else {
                return rank + slots;
            };
            // The last child that begins with one before may hold others that are not.
            let Some(child) = slots.checked_sub(1) else {
                return rank;
            };
            rank += sum(&below.counts[..child]);
            node = &below.nodes[child];
        }
    }

    /// The entries in a row in memory that begin with the one at `rank`, and those before it: their scores, their
    /// ids, and where among them that rank is. Empty past the end.
    pub(super) fn run(&self, mut rank: usize) -> (&[f64], &[u32], usize) {
        if rank >= self.len {
            return (&[], &[], 0);
        }
        let mut node = &*self.root;
        while let Some(below) = &node.below {
            let child = below.find(&mut rank, node.len);
            node = &below.nodes[child];
        }
        (&node.scores[..node.len], &node.ids[..node.len], rank)
    }

    /// Adds an entry, which will have this rank.
    ///
    /// # Panics
    /// If `rank` is more than the number of entries.
    pub(super) fn insert(&mut self, rank: usize, score: f64, id: u32) {
        assert!(rank <= self.len, "a rank lies in its list");
        let edge = match rank {
            _ if rank == self.len => Edge::Last,
            0 => Edge::First,
            _ => Edge::Inside,
        };
        if let Some(right) = self.root.insert(rank, score, id, edge, &mut self.bytes) {
            let mut root = Box::new(Node::leaf());
            root.below = Some(Box::new(Below { counts: [0; SLOTS], nodes: Vec::with_capacity(SLOTS) }));
            self.bytes += root.bytes();
            let left = std::mem::replace(&mut self.root, root);
            self.root.add_child(0, left);
            self.root.add_child(1, right);
        }
        self.len += 1;
    }

    /// Takes out the entry at `rank`.
    ///
    /// # Panics
    /// If there is none.
    pub(super) fn remove(&mut self, rank: usize) -> (f64, u32) {
        assert!(rank < self.len, "only what is there is taken out");
        let entry = self.root.remove(rank, &mut self.bytes);
        self.len -= 1;
        while let Some(below) = &mut self.root.below
            && below.nodes.len() == 1
            && let Some(child) = below.nodes.pop()
        {
            self.bytes -= self.root.bytes();
            self.root = child;
        }
        entry
    }

    /// Gives the entry at `rank` another id.
    ///
    /// # Panics
    /// If there is none.
    pub(super) fn rename(&mut self, mut rank: usize, id: u32) {
        let mut node = &mut *self.root;
        // A slot repeats the first entry beneath it, so the way down to that is renamed too.
        loop {
            let Some(below) = &mut node.below else {
                node.ids[rank] = id;
                return;
            };
            let child = below.find(&mut rank, node.len);
            if rank == 0 {
                node.ids[child] = id;
            }
            node = &mut below.nodes[child];
        }
    }
}

impl Node {
    fn leaf() -> Self {
        Self { len: 0, scores: [0.0; SLOTS], ids: [0; SLOTS], below: None }
    }

    /// Bytes of memory that the node takes, without its children.
    fn bytes(&self) -> usize {
        let below = size_of::<Below>() + SLOTS * size_of::<Box<Self>>();
        size_of::<Self>() + if self.below.is_some() { below } else { 0 }
    }

    /// Number of entries at and below the node.
    fn total(&self) -> usize {
        match &self.below {
            None => self.len,
            Some(below) => sum(&below.counts[..self.len]),
        }
    }

    fn partition(&self, before: impl Fn(f64, u32) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = (low + high) / 2;
            if before(self.scores[middle], self.ids[middle]) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Opens slot `at`.
    fn open(&mut self, at: usize, score: f64, id: u32) {
        self.scores.copy_within(at..self.len, at + 1);
        self.ids.copy_within(at..self.len, at + 1);
        (self.scores[at], self.ids[at]) = (score, id);
        self.len += 1;
    }

    /// Closes slot `at`.
    fn close(&mut self, at: usize) -> (f64, u32) {
        let entry = (self.scores[at], self.ids[at]);
        self.scores.copy_within(at + 1..self.len, at);
        self.ids.copy_within(at + 1..self.len, at);
        self.len -= 1;
        entry
    }

    fn add_child(&mut self, at: usize, child: Box<Self>) {
        let len = self.len;
        self.open(at, child.scores[0], child.ids[0]);
        if let Some(below) = &mut self.below {
            below.counts.copy_within(at..len, at + 1);
            below.counts[at] = child.total() as u32;
            below.nodes.insert(at, child);
        }
    }

    fn take_child(&mut self, at: usize) -> Option<Box<Self>> {
        self.close(at);
        let len = self.len;
        let below = self.below.as_mut()?;
        below.counts.copy_within(at + 1..=len, at);
        Some(below.nodes.remove(at))
    }

    /// Returns what the node was split into beside itself.
    fn insert(
        &mut self,
        rank: usize,
        score: f64,
        id: u32,
        edge: Edge,
        bytes: &mut usize,
    ) -> Option<Box<Self>> {
        let len = self.len;
        let Some(below) = &mut self.below else {
            return self.insert_slot(rank, edge, bytes, |node, at| node.open(at, score, id));
        };
        let mut rank = rank;
        let child = match edge {
            Edge::Last => {
                rank -= sum(&below.counts[..len - 1]);
                len - 1
            }
            Edge::First | Edge::Inside => below.find(&mut rank, len),
        };
        let node = &mut below.nodes[child];
        let right = node.insert(rank, score, id, edge, bytes);
        below.counts[child] = if right.is_some() { node.total() as u32 } else { below.counts[child] + 1 };
        (self.scores[child], self.ids[child]) = (node.scores[0], node.ids[0]);
        let right = right?;
        self.insert_slot(child + 1, edge, bytes, |node, at| node.add_child(at, right))
    }

    /// Opens slot `at` by `open`, after a split if the node is full. Returns what was split off.
    fn insert_slot(
        &mut self,
        at: usize,
        edge: Edge,
        bytes: &mut usize,
        open: impl FnOnce(&mut Self, usize),
    ) -> Option<Box<Self>> {
        if self.len < SLOTS {
            open(self, at);
            return None;
        }
        let middle = match edge {
            Edge::First => 1,
            Edge::Inside => SLOTS / 2,
            Edge::Last => SLOTS - 1,
        };
        let mut right = self.split_off(middle);
        *bytes += right.bytes();
        if at <= middle {
            open(self, at);
        } else {
            open(&mut right, at - middle);
        }
        Some(right)
    }

    fn split_off(&mut self, middle: usize) -> Box<Self> {
        let mut right = Box::new(Self::leaf());
        right.len = self.len - middle;
        right.scores[..right.len].copy_from_slice(&self.scores[middle..self.len]);
        right.ids[..right.len].copy_from_slice(&self.ids[middle..self.len]);
        if let Some(below) = &mut self.below {
            let mut counts = [0; SLOTS];
            counts[..right.len].copy_from_slice(&below.counts[middle..self.len]);
            let mut nodes = Vec::with_capacity(SLOTS);
            nodes.extend(below.nodes.drain(middle..));
            right.below = Some(Box::new(Below { counts, nodes }));
        }
        self.len = middle;
        right
    }

    fn remove(&mut self, mut rank: usize, bytes: &mut usize) -> (f64, u32) {
        let len = self.len;
        let Some(below) = &mut self.below else {
            return self.close(rank);
        };
        let child = below.find(&mut rank, len);
        let node = &mut below.nodes[child];
        let entry = node.remove(rank, bytes);
        below.counts[child] -= 1;
        let left = node.len;
        if left == 0 {
            let gone = self.take_child(child);
            *bytes -= gone.map_or(0, |node| node.bytes());
        } else {
            (self.scores[child], self.ids[child]) = (node.scores[0], node.ids[0]);
            if left < FEW && len > 1 {
                self.join(child.min(len - 2), bytes);
            }
        }
        entry
    }

    /// Makes one of the children `at` and `at + 1` if they fit well into it.
    fn join(&mut self, at: usize, bytes: &mut usize) {
        let fits = |below: &Below| below.nodes[at].len + below.nodes[at + 1].len <= JOINED;
        if !self.below.as_deref().is_some_and(fits) {
            return;
        }
        let Some(right) = self.take_child(at + 1) else {
            return;
        };
        *bytes -= right.bytes();
        if let Some(below) = &mut self.below {
            below.counts[at] += right.total() as u32;
            below.nodes[at].append(*right);
        }
    }

    fn append(&mut self, right: Self) {
        let (from, to) = (self.len, self.len + right.len);
        self.scores[from..to].copy_from_slice(&right.scores[..right.len]);
        self.ids[from..to].copy_from_slice(&right.ids[..right.len]);
        if let (Some(below), Some(more)) = (&mut self.below, right.below) {
            below.counts[from..to].copy_from_slice(&more.counts[..right.len]);
            below.nodes.extend(more.nodes);
        }
        self.len = to;
    }
}

impl Below {
    /// The child that holds the entry at `rank`, which becomes its rank there.
    fn find(&self, rank: &mut usize, len: usize) -> usize {
        let mut child = 0;
        while child + 1 < len && *rank >= self.counts[child] as usize {
            *rank -= self.counts[child] as usize;
            child += 1;
        }
        child
    }
}

fn sum(counts: &[u32]) -> usize {
    counts.iter().sum::<u32>() as usize
}

/// The entries of a range of ranks, from either end.
pub(super) struct Entries<'a> {
    tree: &'a Tree,
    ranks: Range<usize>,
    /// The run that holds the first rank, and where that is in it.
    front: (&'a [f64], &'a [u32], usize),
    /// The run that holds the last rank, and how many of its entries are left.
    back: (&'a [f64], &'a [u32], usize),
}

impl Tree {
    /// The entries whose ranks are in `ranks`, which are cut to those that there are.
    pub(super) fn entries(&self, ranks: Range<usize>) -> Entries<'_> {
        Entries {
            tree: self,
            ranks: ranks.start..ranks.end.min(self.len),
            front: (&[], &[], 0),
            back: (&[], &[], 0),
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = (f64, u32);

    fn next(&mut self) -> Option<Self::Item> {
        let rank = self.ranks.next()?;
        if self.front.2 == self.front.0.len() {
            self.front = self.tree.run(rank);
        }
        let (scores, ids, at) = self.front;
        self.front.2 += 1;
        Some((scores[at], ids[at]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranks.size_hint()
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let rank = self.ranks.next_back()?;
        if self.back.2 == 0 {
            self.back = self.tree.run(rank);
            self.back.2 += 1;
        }
        self.back.2 -= 1;
        let (scores, ids, at) = self.back;
        Some((scores[at], ids[at]))
    }
}

impl ExactSizeIterator for Entries<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(state: &mut u64) -> usize {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (xxhash_rust::xxh3::xxh3_64(&state.to_le_bytes()) >> 33) as usize
    }

    /// Checks what every node promises, and that the account is right.
    fn check(tree: &Tree) {
        fn walk(node: &Node) -> (usize, usize) {
            let mut bytes = node.bytes();
            let Some(below) = &node.below else {
                return (node.len, bytes);
            };
            assert!((1..=SLOTS).contains(&node.len) && below.nodes.len() == node.len);
            for (at, child) in below.nodes.iter().enumerate() {
                let (entries, more) = walk(child);
                assert_eq!(entries, below.counts[at] as usize);
                assert_eq!((node.scores[at], node.ids[at]), (child.scores[0], child.ids[0]));
                bytes += more;
            }
            (sum(&below.counts[..node.len]), bytes)
        }
        assert_eq!(walk(&tree.root), (tree.len, tree.bytes));
    }

    #[test]
    fn it_is_the_list_that_a_vector_is_after_any_sequence() {
        let (mut tree, mut list, mut seed) = (Tree::default(), Vec::new(), 1);
        for step in 0..60_000u32 {
            // It grows to thousands of entries, shrinks to few, and grows again.
            let grows = (step / 10_000) % 2 == 0;
            if list.is_empty() || random(&mut seed) % 10 < if grows { 8 } else { 2 } {
                let rank = match random(&mut seed) % 4 {
                    0 => 0,
                    1 => list.len(),
                    _ => random(&mut seed) % (list.len() + 1),
                };
                tree.insert(rank, f64::from(step), step);
                list.insert(rank, (f64::from(step), step));
            } else if random(&mut seed).is_multiple_of(8) {
                let rank = random(&mut seed) % list.len();
                tree.rename(rank, step);
                list[rank].1 = step;
            } else {
                let rank = random(&mut seed) % list.len();
                assert_eq!(tree.remove(rank), list.remove(rank));
            }
            if step % 1_000 == 0 {
                check(&tree);
                assert!(tree.entries(0..usize::MAX).eq(list.iter().copied()));
                assert!(tree.entries(0..usize::MAX).rev().eq(list.iter().rev().copied()));
            }
        }
        while !list.is_empty() {
            let rank = random(&mut seed) % list.len();
            assert_eq!(tree.remove(rank), list.remove(rank));
        }
        check(&tree);
        assert_eq!(tree.bytes, size_of::<Node>());
    }

    #[test]
    fn ranks_and_parts_of_the_list_are_found() {
        let mut tree = Tree::default();
        for number in (0..20_000u32).rev() {
            tree.insert(0, f64::from(number), number);
        }
        check(&tree);
        for bound in [0, 1, 63, 64, 65, 4_096, 9_999, 19_999, 20_000] {
            assert_eq!(tree.rank(|score, _| score < f64::from(bound)), bound as usize);
        }
        for ranks in [0..0, 0..1, 63..65, 64..64, 5_000..5_300, 19_998..30_000] {
            let expected: Vec<u32> = (ranks.start as u32..ranks.end.min(20_000) as u32).collect();
            let ids = |(_, id)| id;
            assert!(tree.entries(ranks.clone()).map(ids).eq(expected.iter().copied()));
            assert!(tree.entries(ranks).map(ids).rev().eq(expected.iter().rev().copied()));
        }
    }

    #[test]
    fn ordered_insertion_fills_the_nodes() {
        let (mut up, mut down) = (Tree::default(), Tree::default());
        for number in 0..50_000u32 {
            up.insert(number as usize, f64::from(number), number);
            down.insert(0, f64::from(number), number);
        }
        for tree in [up, down] {
            assert!(tree.heap_bytes() < 50_000 * 13, "{}", tree.heap_bytes());
        }
    }
}
