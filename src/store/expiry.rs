//! Active expiry: removes keys, and fields of hashes, whose time is over and that nobody asks for.
//!
//! A command never sees such a key or field (see [`super::db`]); this only gives its memory back, within moments of the
//! deadline. Only a primary does it: each removal is logged as `DEL` or `HDEL`, and replicas follow that.
//!
//! The trick: every page of a table has a note, a lower bound of its deadlines, and the shard has one of all pages. A
//! round goes through the pages in small steps, looks into those that have something due, and makes their notes anew;
//! pages of live keys are passed over, so millions of deadlines that are still to come cost next to nothing. Between
//! two steps keys come and go; their deadlines are noted in the round under way, too. A hash counts with the soonest
//! deadline of its fields, and if one step does not remove all that are due, the next round finds it again.

use super::{
    entry::{Entry, Over, Soonest},
    key::Key,
    ordered::{Item, Sweep},
    shard::{Core, DATABASES, PLACE, Shard},
    value::Object,
};

/// When keys of a shard are next to expire, and where the round under way stands.
#[derive(Debug)]
pub(super) struct Rounds {
    /// No deadline of the shard is sooner than this.
    soonest: u64,
    /// What the round under way goes on with.
    at: Option<Spot>,
    /// No deadline in what that round has passed, or that was given since it began, is sooner than this.
    passed: u64,
}

/// A page of a shard.
#[derive(Clone, Copy, Debug, Default)]
struct Spot {
    db: u8,
    table: usize,
    page: u32,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { soonest: u64::MAX, at: None, passed: u64::MAX }
    }
}

impl Rounds {
    /// No deadline of the shard is sooner than this.
    pub(super) fn soonest(&self) -> u64 {
        self.soonest
    }

    /// A key, or a field of one, got this deadline.
    pub(super) fn note(&mut self, deadline: u64) {
        self.soonest = self.soonest.min(deadline);
        self.passed = self.passed.min(deadline);
    }

    /// Where to go on: at the beginning, if no round is under way.
    fn go_on(&mut self) -> Spot {
        self.at.unwrap_or_else(|| {
            self.passed = u64::MAX;
            Spot::default()
        })
    }

    /// Databases have changed places: what the round under way has passed says nothing of them.
    pub(super) fn begin_anew(&mut self) {
        self.soonest = 0;
        self.at = None;
    }

    fn finish(&mut self) {
        self.soonest = self.passed;
        self.at = None;
    }
}

impl Shard {
    /// Removes keys and fields whose time is over at `now`, in Unix milliseconds, and logs it.
    ///
    /// `budget` bounds the work: an entry that is looked at costs 1, and so does a page that is passed over; and no
    /// more fields than that are removed from hashes that stay. Returns whether there is more to do.
    pub fn expire(&mut self, now: u64, mut budget: usize) -> bool {
        let core = &mut self.core;
        if core.rounds.soonest > now {
            return false;
        }
        let mut at = core.rounds.go_on();
        let mut fields = budget;
        while at.db < DATABASES {
            let tables = self.databases[usize::from(at.db)].as_deref_mut().unwrap_or_default();
            while at.table < tables.len() {
                let slot = self.first_slot + at.table as u16;
                let mut sweep = Expired { core: &mut *core, now, db: at.db, slot, fields: &mut fields };
                let next = tables[at.table].sweep(at.page, &mut budget, &mut sweep);
                if let Some(page) = next {
                    core.rounds.at = Some(Spot { page, ..at });
                    return true;
                }
                at = Spot { table: at.table + 1, page: 0, ..at };
            }
            at = Spot { db: at.db + 1, ..Spot::default() };
        }
        core.rounds.finish();
        core.rounds.soonest <= now
    }
}

/// What is done with the pages and entries of one slot.
struct Expired<'a> {
    core: &'a mut Core,
    now: u64,
    db: u8,
    slot: u16,
    /// How many fields may still be removed from hashes that stay.
    fields: &'a mut usize,
}

impl Expired<'_> {
    /// Removes fields that are due from a hash that has others, as many as one effect names. Returns whether there were
    /// any.
    fn take_fields(&mut self, entry: &mut Entry) -> bool {
        let (core, db) = (&mut *self.core, self.db);
        let before = entry.heap_bytes();
        let Some(Object::Hash(hash)) = entry.object_mut() else { return false };
        let gone = hash.take_due(self.now, *self.fields);
        if gone.is_empty() {
            return false;
        }
        *self.fields -= gone.len();
        core.charge(db, before, entry.heap_bytes());
        core.count_expired(Over::Fields(gone.len()));
        let key = key_of(entry, self.slot);
        let effect: Vec<&[u8]> =
            [&b"HDEL"[..], key.bytes].into_iter().chain(gone.iter().map(Vec::as_slice)).collect();
        core.log_effect(db, Some(key), effect.iter().copied());
        true
    }
}

impl Sweep<Entry> for Expired<'_> {
    fn wants(&mut self, note: Soonest) -> bool {
        let wanted = note.0 <= self.now;
        if !wanted {
            self.core.rounds.passed = self.core.rounds.passed.min(note.0);
        }
        wanted
    }

    fn dooms(&mut self, entry: &mut Entry, note: &mut Soonest) -> bool {
        if entry.is_over(self.now) {
            return true;
        }
        while entry.soonest() <= self.now && self.take_fields(entry) {}
        note.include(entry.soonest());
        self.core.rounds.passed = self.core.rounds.passed.min(entry.soonest());
        false
    }

    fn takes(&mut self, entry: Entry) {
        let (core, db) = (&mut *self.core, self.db);
        core.charge(db, entry.heap_bytes() + PLACE, 0);
        core.keys -= 1;
        if entry.deadline().is_some() {
            core.deadlines[usize::from(db)] -= 1;
        }
        core.count_expired(entry.over(self.now));
        core.log_removal(db, self.slot, &entry);
        core.drop_later(entry);
    }
}

impl Core {
    /// Logs that an entry, which a command did not ask to be removed, is gone, and notes it for those who wait.
    pub(super) fn log_removal(&mut self, db: u8, slot: u16, entry: &Entry) {
        let key = key_of(entry, slot);
        self.note_change(db, key);
        self.log_effect(db, Some(key), [b"DEL", key.bytes].into_iter());
    }

    /// Counts what was removed because it is over.
    pub(super) fn count_expired(&mut self, over: Over) {
        match over {
            Over::No => {}
            Over::Key => self.expired += 1,
            Over::Fields(fields) => self.expired_fields += fields as u32,
        }
    }
}

fn key_of(entry: &Entry, slot: u16) -> Key<'_> {
    Key { bytes: entry.key(), hash: entry.hash(), slot }
}

#[cfg(test)]
mod tests {
    use super::Shard;
    use crate::commands::bench::Bench;

    /// Runs steps of `budget` until nothing is left to do, and returns how many it took.
    fn expire(bench: &Bench, now: u64, budget: usize) -> usize {
        (1..).find(|_| !bench.shard().expire(now, budget)).unwrap()
    }

    #[test]
    fn exactly_the_keys_that_are_due_go_and_the_log_says_so() {
        let mut bench = Bench::new();
        let now = bench.now;
        for (key, after) in [("a", 10), ("b", 11), ("c", 5_000)] {
            bench.run(&format!("set {key} v px {after}"));
        }
        bench.run("set d v");
        bench.effects();
        expire(&bench, now + 9, 100);
        assert_eq!((bench.effects(), bench.shard().core.expired), (String::new(), 0));
        expire(&bench, now + 10, 100);
        assert_eq!((bench.effects().as_str(), bench.shard().core.expired), ("DEL a", 1));
        expire(&bench, now + 4_999, 100);
        assert_eq!(bench.effects(), "DEL b");
        assert_eq!(bench.shard().core.deadlines[0], 1);
        expire(&bench, now + 5_000, 100);
        assert_eq!(bench.effects(), "DEL c");
        let shard = bench.shard();
        assert_eq!((shard.len(0), shard.core.keys), (1, 1));
    }

    #[test]
    fn a_replica_that_follows_loses_the_same_keys() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        for i in 0..500 {
            primary.run(&format!("set k{i} v px {}", 1 + i % 100));
        }
        replica.follow(&mut primary);
        expire(&primary, primary.now + 50, 64);
        replica.follow(&mut primary);
        assert_eq!((primary.shard().len(0), replica.shard().len(0)), (250, 250));
        assert_eq!(primary.shard().core.used, replica.shard().core.used);
    }

    #[test]
    fn steps_however_small_and_writes_between_them_lose_no_deadline() {
        let mut bench = Bench::new();
        let (start, mut written) = (bench.now, 0u64);
        // One slot, so that its pages are split while a round is under way.
        let mut write = |bench: &mut Bench, count: u64| {
            for i in written..written + count {
                bench.run(&format!("set {{t}}{i} v pxat {}", start + 1 + i * 7_919 % 1_000));
            }
            written += count;
        };
        write(&mut bench, 2_000);
        for time in 0..=1_000 {
            bench.now = start + time;
            if time % 10 == 0 {
                write(&mut bench, 40);
            }
            bench.shard().expire(start + time, 200);
        }
        expire(&bench, start + 1_001, 200);
        let shard = bench.shard();
        assert_eq!((shard.len(0), shard.core.deadlines[0], shard.core.used), (0, 0, 0));
        assert_eq!(shard.core.rounds.soonest, u64::MAX);
    }

    #[test]
    fn databases_that_change_places_between_two_steps_lose_no_deadline() {
        let mut bench = Bench::new();
        bench.run("set early v px 10");
        bench.db = 1;
        bench.run("set late v px 20");
        let now = bench.now + 10;
        // All of database 0 is passed in the step in which the other one is still to come.
        assert!(bench.shard().expire(now, 16_384));
        assert_eq!(bench.effects().split("; ").last(), Some("DEL early"));
        bench.shard().swap(0, 1);
        expire(&bench, now, 1_000);
        expire(&bench, now + 10, 1_000);
        assert_eq!(bench.effects(), "DEL late");
    }

    #[test]
    fn fields_that_are_due_go_in_bounded_steps_and_the_log_says_so() {
        let mut bench = Bench::new();
        let now = bench.now;
        bench.run("hset h a 1 b 2 c 3 d 4");
        bench.run(&format!("hpexpireat h {} fields 2 a b", now + 10));
        bench.run(&format!("hpexpireat h {} fields 1 c", now + 20));
        bench.run("hset whole a 1 b 2");
        bench.run(&format!("hpexpireat whole {} fields 2 a b", now + 10));
        bench.effects();
        expire(&bench, now + 9, 100);
        assert_eq!(bench.effects(), "");
        expire(&bench, now + 10, 100);
        let mut gone: Vec<String> = bench.effects().split("; ").map(str::to_owned).collect();
        gone.sort_unstable();
        assert_eq!(gone, ["DEL whole", "HDEL h b a"]);
        let counts = |shard: &Shard| (shard.core.expired, shard.core.expired_fields);
        assert_eq!(counts(&bench.shard()), (0, 4));
        expire(&bench, now + 19, 100);
        assert_eq!(bench.effects(), "");
        expire(&bench, now + 20, 100);
        assert_eq!(bench.effects(), "HDEL h c");
        assert_eq!(bench.run("hgetall h"), "*2 $1 d $1 4 ");
        assert_eq!(bench.shard().core.rounds.soonest, u64::MAX);
    }

    #[test]
    fn no_step_removes_more_fields_than_its_budget() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        let now = primary.now;
        primary.run("hset {t}h stays 1");
        for i in 0..1_000 {
            primary.run(&format!("hsetex {{t}}h pxat {} fields 1 f{i} v", now + 1 + i % 3));
        }
        replica.follow(&mut primary);
        let mut steps = 0;
        while primary.shard().expire(now + 3, 300) {
            steps += 1;
            let removed = primary.shard().core.expired_fields;
            assert!(removed <= 300 * steps, "{removed} fields in {steps} steps");
        }
        replica.follow(&mut primary);
        for bench in [&mut primary, &mut replica] {
            assert_eq!(bench.run("hkeys {t}h"), "*1 $5 stays ");
        }
        assert_eq!(primary.shard().core.expired_fields, 1_000);
        assert_eq!(primary.shard().core.used, replica.shard().core.used);
        assert_eq!(primary.shard().core.rounds.soonest, u64::MAX);
    }

    #[test]
    fn no_effect_names_more_fields_than_a_log_should_take_at_once() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        let now = primary.now;
        primary.run("hset h stays 1");
        for letter in ["a", "b", "c", "d", "e"] {
            primary.run(&format!("hsetex h pxat {} fields 1 {} v", now + 1, letter.repeat(30_000)));
        }
        replica.follow(&mut primary);
        expire(&primary, now + 1, 20_000);
        replica.follow(&mut primary);
        assert_eq!(replica.run("hkeys h"), "*1 $5 stays ");
        for letter in ["a", "b", "c", "d", "e"] {
            primary.run(&format!("hsetex h pxat {} fields 1 {} v", now + 2, letter.repeat(30_000)));
        }
        primary.effects();
        expire(&primary, now + 2, 20_000);
        let effects = primary.effects();
        let fields: Vec<usize> = effects.split("; ").map(|effect| effect.split(' ').count() - 2).collect();
        assert_eq!(fields, [3, 2]);
        assert_eq!(primary.shard().core.expired_fields, 10);
    }

    #[test]
    fn the_deadlines_of_fields_move_with_their_hash() {
        let mut bench = Bench::new();
        let now = bench.now;
        bench.run("hset h a 1 b 2");
        bench.run(&format!("hpexpireat h {} fields 1 a", now + 10));
        bench.run("copy h copy");
        bench.run("rename h other");
        bench.run("move other 1");
        bench.effects();
        expire(&bench, now + 10, 100);
        let mut gone: Vec<String> = bench.effects().split("; ").map(str::to_owned).collect();
        gone.sort_unstable();
        assert_eq!(gone, ["HDEL copy a", "HDEL other a"]);
    }

    #[test]
    fn live_deadlines_are_passed_over() {
        let mut bench = Bench::new();
        for i in 0..20_000 {
            bench.run(&format!("set {{t}}{i} v pxat {}", bench.now + 100_000));
        }
        bench.run(&format!("set {{t}}soon v pxat {}", bench.now + 1));
        let now = bench.now + 1;
        // One page of the slot is looked into; the others and the empty tables of the other slots cost 1 each.
        assert!(!bench.shard().expire(now, 16_384 + 1_000));
        assert_eq!(bench.shard().len(0), 20_000);
        assert!(!bench.shard().expire(now + 99_998, 0), "nothing is due, and nothing is looked at");
    }

    #[test]
    fn a_key_that_is_found_dead_by_a_write_counts() {
        let mut bench = Bench::new();
        bench.run("set k v px 5");
        bench.now += 5;
        bench.run("append k w");
        assert_eq!(bench.shard().core.expired, 1);
    }
}
