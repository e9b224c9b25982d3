//! The keys of a shard as a whole: in the order in which scans visit them, and one by chance.

use super::{entry::Entry, shard::Shard, value::Value};

/// A place in the order of a scan: by slot, and within it by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The slot.
    pub slot: u16,
    /// The hash of the key.
    pub hash: u32,
}

/// How often a random key is drawn before the live ones are looked for in order.
const DRAWS: usize = 32;

impl Shard {
    /// Visits the keys of a database from a point on, until at least `count` were visited and all that share the
    /// last one's hash; those whose time was over at `now` are counted and not shown. Returns how many were visited,
    /// and the point at which to go on, which is that of a key; `None` at the shard's end.
    pub fn scan(
        &self,
        db: u8,
        from: Point,
        count: usize,
        now: u64,
        mut visit: impl FnMut(&[u8], Value<'_>),
    ) -> (usize, Option<Point>) {
        let slots = self.slots();
        let mut visited = 0;
        for slot in from.slot.max(slots.start)..slots.end {
            let at = if slot == from.slot { from } else { Point { slot, hash: 0 } };
            let (seen, next) = self.scan_slot(db, at, count.saturating_sub(visited), now, &mut visit);
            visited += seen;
            if next.is_some() {
                return (visited, next);
            }
        }
        (visited, None)
    }

    /// The same within the one slot of a point, which must be of this shard.
    pub fn scan_slot(
        &self,
        db: u8,
        from: Point,
        count: usize,
        now: u64,
        mut visit: impl FnMut(&[u8], Value<'_>),
    ) -> (usize, Option<Point>) {
        let Some(table) = self.table(db, from.slot) else { return (0, None) };
        let mut visited = 0;
        let next = table.scan(from.hash, count, |entry| {
            visited += 1;
            if !entry.is_over(now) {
                visit(entry.key(), entry.value());
            }
        });
        (visited, next.map(|hash| Point { slot: from.slot, hash }))
    }

    /// A key of a database, each with the same chance, whose time was not over at `now`: `random` gives 64 bits at
    /// each call.
    pub fn random_key(&self, db: u8, now: u64, mut random: impl FnMut() -> u64) -> Option<&[u8]> {
        let drawn = (0..DRAWS).map_while(|_| self.draw(db, &mut random)).find(|entry| !entry.is_over(now));
        let first_live = || {
            let tables = self.slots().filter_map(|slot| self.table(db, slot));
            tables.flat_map(|table| table.iter()).find(|entry| !entry.is_over(now))
        };
        Some(drawn.or_else(first_live)?.key())
    }

    fn draw(&self, db: u8, mut random: impl FnMut() -> u64) -> Option<&Entry> {
        let mut index = random().checked_rem(self.len(db) as u64)? as usize;
        let slot = self.slots().find(|slot| {
            let len = self.slot_len(db, *slot);
            let found = index < len;
            index = index.wrapping_sub(if found { 0 } else { len });
            found
        })?;
        let table = self.table(db, slot)?;
        Some(table.get(table.sample(random)?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ringfort_cluster::ShardId;

    use super::*;
    use crate::store::{Access, Db, Form, Key, Locked};

    fn shard_with(keys: impl IntoIterator<Item = String>, deadline: impl Fn(&str) -> Option<u64>) -> Shard {
        let mut shard = Shard::new(ShardId(0), 16384);
        let mut locked = [&mut shard];
        let mut db = Db::new(Locked::new(&mut locked, 16384), 0, 1, Access::default());
        for key in keys {
            db.edit(Key::new(key.as_bytes(), 0)).put(Form::Str, &[b"v"], deadline(&key));
        }
        shard
    }

    const START: Point = Point { slot: 0, hash: 0 };

    #[test]
    fn a_scan_visits_every_live_key_once_whatever_its_steps() {
        let keys = || (0..500).map(|i| format!("{}:{i}", if i < 250 { "{tag}" } else { "" }));
        let shard = shard_with(keys(), |key| key.ends_with('7').then_some(5));
        for count in [1, 3, 100, usize::MAX] {
            let (mut seen, mut visited, mut from) = (Vec::new(), 0, Some(START));
            while let Some(at) = from {
                let (step, next) = shard.scan(0, at, count, 5, |key, _| {
                    seen.push(String::from_utf8(key.into()).unwrap());
                });
                assert!(next.is_none_or(|next| next > at));
                assert!(step >= count || next.is_none());
                visited += step;
                from = next;
            }
            seen.sort();
            let mut expected: Vec<_> = keys().filter(|key| !key.ends_with('7')).collect();
            expected.sort();
            assert_eq!((seen, visited), (expected, 500));
        }
        assert_eq!(shard.scan(1, START, 10, 0, |_, _| panic!("another database")), (0, None));
    }

    #[test]
    fn a_scan_of_one_slot_visits_no_other() {
        let shard =
            shard_with((0..50).map(|i| if i < 20 { format!("{{a}}{i}") } else { i.to_string() }), |_| None);
        let slot = ringfort_protocol::slot(b"a");
        for (count, calls) in [(100, 1), (20, 1), (15, 2), (1, 20)] {
            let (mut visited, mut from, mut called) = (0, Some(Point { slot, hash: 0 }), 0);
            while let Some(at) = from {
                let (step, next) =
                    shard.scan_slot(0, at, count, 0, |key, _| assert!(key.starts_with(b"{a}")));
                (visited, from, called) = (visited + step, next, called + 1);
            }
            assert_eq!((visited, called), (20, calls));
        }
        assert_eq!(shard.scan_slot(0, START, 10, 0, |_, _| panic!("it is empty")), (0, None));
    }

    #[test]
    fn random_keys_are_chosen_evenly_and_live() {
        // Eight keys share a slot, two have one of their own.
        let tagged = (0..8).map(|i| format!("{{t}}{i}"));
        let keys: Vec<String> = tagged.chain(["a".into(), "b".into(), "over".into()]).collect();
        let shard = shard_with(keys, |key| (key == "over").then_some(5));
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            xxhash_rust::xxh3::xxh3_64(&state.to_le_bytes())
        };
        let mut drawn = BTreeMap::<&[u8], u32>::new();
        for _ in 0..10_000 {
            *drawn.entry(shard.random_key(0, 5, &mut random).unwrap()).or_default() += 1;
        }
        assert_eq!(drawn.len(), 10);
        assert!(drawn.values().all(|times| (850..1150).contains(times)), "{drawn:?}");
        assert_eq!(shard.random_key(1, 5, &mut random), None);
    }

    #[test]
    fn a_live_key_is_found_among_many_whose_time_is_over() {
        let keys = (0..5_000).map(|i| i.to_string());
        let shard = shard_with(keys, |key| (key != "4321").then_some(5));
        assert_eq!(shard.random_key(0, 5, || 12_345), Some(&b"4321"[..]));
        let over = shard_with((0..50).map(|i| i.to_string()), |_| Some(5));
        assert_eq!(over.random_key(0, 5, || 12_345), None);
    }
}
