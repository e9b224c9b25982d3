//! The commands on fields with deadlines: at length against a model, a map of fields with their values and deadlines
//! whose clock is set by hand; and what the model leaves open.

use std::collections::BTreeMap;

use ringfort_protocol::OwnedArgs;

use crate::commands::{bench::Bench, digest::digest};

/// Small random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn field(&mut self) -> String {
        format!("f{}", self.below(8))
    }

    fn fields(&mut self) -> Vec<String> {
        (0..=self.below(3)).map(|_| self.field()).collect()
    }

    fn value(&mut self) -> String {
        if self.below(8) == 0 { "text".into() } else { self.below(100).to_string() }
    }
}

/// What the hash `h` holds.
struct Model {
    now: u64,
    fields: BTreeMap<String, (String, Option<u64>)>,
}

fn int(number: impl Into<i128>) -> String {
    format!(":{} ", number.into())
}

fn bulk(text: Option<&str>) -> String {
    text.map_or("$-1 ".into(), |text| format!("${} {text} ", text.len()))
}

fn array(elements: Vec<String>) -> String {
    format!("*{} {}", elements.len(), elements.concat())
}

fn list(fields: &[String]) -> String {
    format!("FIELDS {} {}", fields.len(), fields.join(" "))
}

impl Model {
    fn advance(&mut self, ms: u64) {
        self.now += ms;
        self.fields.retain(|_, entry| entry.1.is_none_or(|deadline| deadline > self.now));
    }

    fn value(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(|entry| entry.0.as_str())
    }

    fn set(&mut self, field: &str, value: &str, deadline: Option<u64>) -> bool {
        self.fields.insert(field.into(), (value.into(), deadline)).is_none()
    }

    /// Lets a field end at an instant, which may have passed: then it goes at once.
    fn end(&mut self, field: &str, at: u64) {
        if at <= self.now {
            self.fields.remove(field);
        } else if let Some(entry) = self.fields.get_mut(field) {
            entry.1 = Some(at);
        }
    }

    /// A time in some unit, and the instant that it tells. `names` are those of the units, from EX on.
    fn time<'n>(&self, random: &mut Random, names: [&'n str; 4]) -> (&'n str, u64, u64) {
        let (seconds, ms) = (random.below(3), random.below(40));
        let instant = self.now + ms - 5;
        match random.below(6) {
            0 => (names[0], seconds, self.now + seconds * 1_000),
            1 => (names[2], self.now / 1_000 + seconds, (self.now / 1_000 + seconds) * 1_000),
            2 | 3 => (names[1], ms, self.now + ms),
            _ => (names[3], instant, instant),
        }
    }

    /// Plain commands on fields.
    fn plain(&mut self, random: &mut Random) -> (String, String) {
        let (field, value) = (random.field(), random.value());
        match random.below(12) {
            0 => {
                let pairs: Vec<_> =
                    random.fields().into_iter().map(|field| (field, random.value())).collect();
                let words: Vec<_> = pairs.iter().map(|(field, value)| format!("{field} {value}")).collect();
                let new = pairs.iter().filter(|(field, value)| self.set(field, value, None)).count();
                (format!("HSET h {}", words.join(" ")), int(new as u64))
            }
            1 | 2 => (format!("HSET h {field} {value}"), int(self.set(&field, &value, None))),
            3 => {
                let absent = self.value(&field).is_none();
                if absent {
                    self.set(&field, &value, None);
                }
                (format!("HSETNX h {field} {value}"), int(absent))
            }
            4 => {
                let fields = random.fields();
                let removed = fields.iter().filter(|field| self.fields.remove(*field).is_some()).count();
                (format!("HDEL h {}", fields.join(" ")), int(removed as u64))
            }
            5 => (format!("HGET h {field}"), bulk(self.value(&field))),
            6 => {
                let fields = random.fields();
                let values = fields.iter().map(|field| bulk(self.value(field))).collect();
                (format!("HMGET h {}", fields.join(" ")), array(values))
            }
            7 => ("HLEN h".into(), int(self.fields.len() as u64)),
            8 => (format!("HEXISTS h {field}"), int(self.value(&field).is_some())),
            9 => (format!("HSTRLEN h {field}"), int(self.value(&field).map_or(0, str::len) as u64)),
            10 => {
                let (old, deadline) = self.fields.get(&field).cloned().unwrap_or(("0".into(), None));
                let Ok(old) = old.parse::<i64>() else {
                    return (format!("HINCRBY h {field} 7"), "-ERR hash value is not an integer ".into());
                };
                self.set(&field, &(old + 7).to_string(), deadline);
                (format!("HINCRBY h {field} 7"), int(old + 7))
            }
            _ => {
                let (old, deadline) = self.fields.get(&field).cloned().unwrap_or(("0".into(), None));
                let Ok(old) = old.parse::<i64>() else {
                    return (format!("HINCRBYFLOAT h {field} -3"), "-ERR hash value is not a float ".into());
                };
                let new = (old - 3).to_string();
                self.set(&field, &new, deadline);
                (format!("HINCRBYFLOAT h {field} -3"), bulk(Some(&new)))
            }
        }
    }

    fn expire(&mut self, random: &mut Random) -> (String, String) {
        let (name, time, at) = self.time(random, ["HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT"]);
        let (fields, condition) = (random.fields(), random.one(&["", "", "", "NX ", "XX ", "GT ", "LT "]));
        let said = fields.iter().map(|field| {
            let Some((_, old)) = self.fields.get(field) else { return -2 };
            let holds = match condition {
                "NX " => old.is_none(),
                "XX " => old.is_some(),
                "GT " => old.is_some_and(|old| at > old),
                "LT " => old.is_none_or(|old| at < old),
                _ => true,
            };
            if !holds {
                return 0;
            }
            self.end(field, at);
            if at <= self.now { 2 } else { 1 }
        });
        let said = array(said.map(int).collect());
        (format!("{name} h {time} {condition}{}", list(&fields)), said)
    }

    fn tell(&mut self, random: &mut Random) -> (String, String) {
        let (name, fields) = (random.one(&["HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME"]), random.fields());
        let said = fields.iter().map(|field| match self.fields.get(field) {
            None => -2,
            Some((_, None)) => -1,
            Some((_, Some(at))) => (match name {
                "HTTL" => (at - self.now + 500) / 1_000,
                "HPTTL" => at - self.now,
                "HEXPIRETIME" => (at + 500) / 1_000,
                _ => *at,
            })
            .cast_signed(),
        });
        (format!("{name} h {}", list(&fields)), array(said.map(int).collect()))
    }

    fn persist(&mut self, random: &mut Random) -> (String, String) {
        let fields = random.fields();
        let said = fields.iter().map(|field| match self.fields.get_mut(field) {
            None => -2,
            Some((_, None)) => -1,
            Some((_, deadline)) => {
                *deadline = None;
                1
            }
        });
        let said = array(said.map(int).collect());
        (format!("HPERSIST h {}", list(&fields)), said)
    }

    fn read_and_change(&mut self, random: &mut Random) -> (String, String) {
        let fields = random.fields();
        let (name, at) = match random.below(4) {
            0 => ("HGETDEL h".to_owned(), Some(0)),
            1 => ("HGETEX h".to_owned(), None),
            2 => ("HGETEX h PERSIST".to_owned(), Some(u64::MAX)),
            _ => {
                let (unit, time, at) = self.time(random, ["EX", "PX", "EXAT", "PXAT"]);
                (format!("HGETEX h {unit} {time}"), Some(at))
            }
        };
        let values = fields.iter().map(|field| {
            let value = bulk(self.value(field));
            match at {
                Some(u64::MAX) => _ = self.fields.get_mut(field).map(|entry| entry.1 = None),
                Some(at) => self.end(field, at),
                None => {}
            }
            value
        });
        let values = array(values.collect());
        (format!("{name} {}", list(&fields)), values)
    }

    fn set_with(&mut self, random: &mut Random) -> (String, String) {
        let pairs: Vec<_> = random.fields().into_iter().map(|field| (field, random.value())).collect();
        let condition = random.one(&["", "", "", "NX ", "XX ", "FNX ", "FXX "]);
        let (option, at) = match random.below(4) {
            0 => (String::new(), None),
            1 => ("KEEPTTL ".to_owned(), Some(u64::MAX)),
            _ => {
                let (unit, time, at) = self.time(random, ["EX", "PX", "EXAT", "PXAT"]);
                (format!("{unit} {time} "), Some(at))
            }
        };
        let words: Vec<_> = pairs.iter().map(|(field, value)| format!("{field} {value}")).collect();
        let text = format!("HSETEX h {option}{condition}FIELDS {} {}", pairs.len(), words.join(" "));
        let holds = match condition {
            "NX " => self.fields.is_empty(),
            "XX " => !self.fields.is_empty(),
            "FNX " => pairs.iter().all(|(field, _)| self.value(field).is_none()),
            "FXX " => pairs.iter().all(|(field, _)| self.value(field).is_some()),
            _ => true,
        };
        let mut all_changed = holds;
        for (field, value) in pairs.iter().filter(|_| holds) {
            match at {
                Some(u64::MAX) => {
                    let old = self.fields.get(field).and_then(|entry| entry.1);
                    self.set(field, value, old);
                }
                Some(at) if at <= self.now => {
                    all_changed &= self.value(field).is_some();
                    self.fields.remove(field);
                }
                at => _ = self.set(field, value, at),
            }
        }
        (text, int(all_changed))
    }

    fn command(&mut self, random: &mut Random) -> (String, String) {
        match random.below(10) {
            0..4 => self.plain(random),
            4 | 5 => self.expire(random),
            6 => self.tell(random),
            7 => {
                if random.below(3) == 0 {
                    self.persist(random)
                } else {
                    self.tell(random)
                }
            }
            8 => self.read_and_change(random),
            _ => self.set_with(random),
        }
    }

    /// Compares what shows the whole hash.
    fn check(&self, bench: &mut Bench, random: &mut Random) {
        let words = |reply: &str| -> Vec<String> {
            let is_text = |word: &&str| !word.is_empty() && !word.starts_with(['$', '*']);
            let mut words: Vec<String> = reply.split(' ').filter(is_text).map(str::to_owned).collect();
            words.sort_unstable();
            words
        };
        let sorted = |texts: Vec<&String>| -> Vec<String> {
            let mut texts: Vec<String> = texts.into_iter().cloned().collect();
            texts.sort_unstable();
            texts
        };
        let (names, values) = (self.fields.keys(), self.fields.values().map(|entry| &entry.0));
        let both = sorted(names.clone().chain(values.clone()).collect());
        let zero = "0".to_owned();
        let scanned = sorted(names.clone().chain(values.clone()).chain([&zero]).collect());
        assert_eq!(words(&bench.run("HGETALL h")), both);
        assert_eq!(words(&bench.run("HKEYS h")), sorted(names.collect()));
        assert_eq!(words(&bench.run("HVALS h")), sorted(values.collect()));
        assert_eq!(words(&bench.run("HSCAN h 0 COUNT 100")), scanned);
        assert_eq!(words(&bench.run("HRANDFIELD h 100 WITHVALUES")), both);
        let drawn = words(&bench.run(&format!("HRANDFIELD h {}", 1 + random.below(3))));
        assert!(drawn.iter().all(|field| self.fields.contains_key(field)));
        let drawn = words(&bench.run("HRANDFIELD h -5"));
        assert_eq!(drawn.len(), if self.fields.is_empty() { 0 } else { 5 });
        assert!(drawn.iter().all(|field| self.fields.contains_key(field)));
        assert_eq!(bench.run("EXISTS h"), int(!self.fields.is_empty()));
        let kind = if self.fields.is_empty() { "none" } else { "hash" };
        assert_eq!(bench.run("TYPE h"), format!("+{kind} "));
    }
}

/// Lets the hash go through a way that rebuilds it, and come back.
fn round_trip(bench: &mut Bench, random: &mut Random) {
    match random.below(3) {
        0 => {
            bench.run("RENAME h away");
            bench.run("RENAME away h");
        }
        1 => {
            bench.run("COPY h copy");
            bench.run("RENAME copy h");
        }
        _ => {
            let reply = bench.run_args(["DUMP", "h"].iter().collect::<OwnedArgs>().as_args());
            if reply != b"$-1\r\n" {
                let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                let payload = &reply[start..reply.len() - 2];
                let restore: [&[u8]; 5] = [b"RESTORE", b"h", b"0", payload, b"REPLACE"];
                assert_eq!(bench.run_args(restore.iter().collect::<OwnedArgs>().as_args()), b"+OK\r\n");
            }
        }
    }
}

#[test]
fn hrandfield_takes_any_count() {
    let mut bench = Bench::new();
    bench.run("hset h a 1 b 2 c 3 d 4");
    for count in [5, u64::MAX / 3 + 1, i64::MAX as u64 / 2] {
        assert!(bench.run(&format!("hrandfield h {count}")).starts_with("*4 "), "{count}");
    }
}

#[test]
fn replies_are_those_of_a_model_and_replicas_follow() {
    for seed in 0..30 {
        let (mut random, mut bench, mut replica) = (Random(seed), Bench::new(), Bench::new());
        for bench in [&mut bench, &mut replica] {
            bench.limits.hash_max_listpack_entries = 4;
        }
        let mut model = Model { now: bench.now, fields: BTreeMap::new() };
        for step in 0..1_500 {
            let ms = random.one(&[0, 0, 0, 1, 2, 8, 40]);
            model.advance(ms);
            (bench.now, replica.now) = (model.now, model.now);
            let (command, expected) = model.command(&mut random);
            assert_eq!(bench.run(&command), expected, "seed {seed}, step {step}: {command}");
            match random.below(40) {
                0..4 => model.check(&mut bench, &mut random),
                4 => while bench.shard().expire(model.now, 3) {},
                5 => round_trip(&mut bench, &mut random),
                6 => {
                    replica.follow(&mut bench);
                    assert_eq!(digest(&bench.shard()), digest(&replica.shard()), "seed {seed}, step {step}");
                    model.check(&mut replica, &mut random);
                    assert_eq!(replica.effects(), "", "what only looks changes nothing");
                }
                _ => {}
            }
        }
        model.advance(10_000);
        while bench.shard().expire(model.now, 3) {}
        bench.now = model.now;
        assert_eq!(bench.run("HLEN h"), int(model.fields.len() as u64));
        replica.follow(&mut bench);
        assert_eq!(digest(&bench.shard()), digest(&replica.shard()));
    }
}

#[test]
fn effects_are_absolute_and_name_what_changed() {
    let mut bench = Bench::new();
    for (command, effects) in [
        ("hset h a 1 b 2 c 3", "hset h a 1 b 2 c 3"),
        ("hexpire h 10 fields 2 a x", "HPEXPIREAT h 1700000010000 FIELDS 1 a"),
        ("hpexpire h 10 nx fields 3 a b b", "HPEXPIREAT h 1700000000010 FIELDS 1 b"),
        ("hpexpire h 5 gt fields 2 a b", ""),
        ("hpersist h fields 3 a b c", "HPERSIST h FIELDS 2 a b"),
        ("hpersist h fields 1 a", ""),
        ("hgetex h fields 1 a", ""),
        ("hgetex h px 7 fields 2 a x", "HPEXPIREAT h 1700000000007 FIELDS 1 a"),
        ("hincrby h a 1", "hincrby h a 1"),
        ("hincrbyfloat h a 1", "HSETEX h KEEPTTL FIELDS 1 a 3"),
        ("hincrbyfloat h b 1", "HSET h b 3"),
        ("hgetex h persist fields 2 a b", "HPERSIST h FIELDS 1 a"),
        ("hsetex h ex 1 fnx fields 1 d 4", "HSETEX h PXAT 1700000001000 FIELDS 1 d 4"),
        ("hsetex h ex 1 fnx fields 1 d 4", ""),
        ("hsetex h keepttl fields 1 d 5", "HSETEX h KEEPTTL FIELDS 1 d 5"),
        ("hsetex h fxx fields 1 d 6", "HSET h d 6"),
        ("hsetex h exat 1 fields 2 d 6 x 7", "HDEL h d"),
        ("hgetex h pxat 1 fields 2 c c", "HDEL h c"),
        ("hgetdel h fields 2 x b", "HDEL h b"),
        ("hexpire h 0 fields 2 a a", "HDEL h a"),
        ("hsetex h px 0 fields 1 a 1", ""),
        ("exists h", ""),
    ] {
        bench.run(command);
        assert_eq!(bench.effects(), effects, "{command}");
    }
    assert_eq!(bench.run("exists h"), ":0 ");
    assert_eq!(bench.shard().core.expired_fields, 3);
}

#[test]
fn a_field_that_is_over_is_removed_before_a_command_changes_it() {
    for (command, reply, effects) in [
        ("hset h a 2", ":1 ", "HDEL h a; hset h a 2"),
        ("hsetnx h a 2", ":1 ", "HDEL h a; hsetnx h a 2"),
        ("hincrby h a 2", ":2 ", "HDEL h a; hincrby h a 2"),
        ("hincrbyfloat h a 2", "$1 2 ", "HDEL h a; HSET h a 2"),
        ("hdel h a", ":0 ", "HDEL h a"),
        ("hdel h b", ":1 ", "hdel h b"),
        ("hexpire h 10 fields 1 a", "*1 :-2 ", "HDEL h a"),
        ("hpersist h fields 1 a", "*1 :-2 ", "HDEL h a"),
        ("hgetdel h fields 1 a", "*1 $-1 ", "HDEL h a"),
        ("hgetex h persist fields 1 a", "*1 $-1 ", "HDEL h a"),
        ("hsetex h fxx fields 1 a 2", ":0 ", "HDEL h a"),
        ("hsetex h keepttl fnx fields 1 a 2", ":1 ", "HDEL h a; HSETEX h KEEPTTL FIELDS 1 a 2"),
        ("hget h a", "$-1 ", ""),
        ("httl h fields 1 a", "*1 :-2 ", ""),
    ] {
        let mut bench = Bench::new();
        bench.run("hset h a 1 b 1");
        bench.run("hpexpire h 10 fields 1 a");
        bench.effects();
        bench.now += 10;
        assert_eq!(bench.run(command), reply, "{command}");
        assert_eq!(bench.effects(), effects, "{command}");
        let removed = u32::from(effects.starts_with("HDEL"));
        assert_eq!(bench.shard().core.expired_fields, removed, "{command}");
    }
}

#[test]
fn a_hash_whose_fields_are_all_over_is_no_key() {
    let mut bench = Bench::new();
    bench.run("hset h a 1 b 2");
    bench.run("hpexpire h 10 fields 1 a");
    bench.run("hpexpire h 20 fields 1 b");
    bench.effects();
    bench.now += 19;
    assert_eq!(bench.run("exists h"), ":1 ");
    bench.now += 1;
    for (command, reply) in [
        ("exists h", ":0 "),
        ("type h", "+none "),
        ("hgetall h", "*0 "),
        ("hrandfield h", "$-1 "),
        ("keys *", "*0 "),
        ("randomkey", "$-1 "),
        ("ttl h", ":-2 "),
        ("dump h", "$-1 "),
        ("copy h g", ":0 "),
    ] {
        assert_eq!(bench.run(command), reply, "{command}");
    }
    assert_eq!(bench.effects(), "");
    assert_eq!(bench.run("rpush h x"), ":1 ");
    assert_eq!(bench.effects(), "DEL h; rpush h x");
    let shard = bench.shard();
    assert_eq!((shard.core.expired, shard.core.expired_fields), (0, 2));
}

#[test]
fn a_hash_grows_large_with_its_first_deadline_alone() {
    let mut bench = Bench::new();
    bench.run("hset h a 1 b 2");
    for command in [
        "hexpire h 10 xx fields 1 a",
        "hexpire h 10 gt fields 1 a",
        "hexpire h 10 fields 1 x",
        "hexpire h 0 fields 1 b",
        "hpersist h fields 1 a",
        "hgetex h persist fields 1 a",
        "hsetex h keepttl fields 1 a 3",
    ] {
        bench.run(command);
        assert_eq!(bench.encoding("h"), "listpack", "{command}");
    }
    bench.run("hexpire h 10 fields 1 a");
    assert_eq!(bench.encoding("h"), "hashtable");
    bench.run("hsetex n px 1 fields 1 a 1");
    assert_eq!(bench.encoding("n"), "hashtable");
}

#[test]
fn errors_come_in_order() {
    let mut bench = Bench::new();
    bench.run("set s v");
    bench.run("hset h a 1");
    bench.effects();
    let syntax = "-ERR syntax error ";
    let number = "-ERR value is not an integer or out of range ";
    let miscounted = "-ERR numfields should be greater than 0 and match the provided number of fields ";
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value ";
    for (command, error) in [
        ("hexpire s x foo fields x a", "-ERR Unsupported option foo "),
        (
            "hexpire s x nx gt fields x a",
            "-ERR NX and XX, GT or LT options at the same time are not compatible ",
        ),
        ("hexpire s x gt lt fields x a", "-ERR GT and LT options at the same time are not compatible "),
        ("hexpire s x fields x a", number),
        ("hexpire s x fields 2 a", miscounted),
        ("hexpire s x fields 0 a", miscounted),
        ("hexpire s x fields -1 a", miscounted),
        ("hexpire s x foo 1 a", miscounted),
        ("hexpire s x nx a fields", miscounted),
        ("hexpire s x fields 1 a", number),
        ("hexpire s -1 fields 1 a", "-ERR invalid expire time in 'hexpire' command "),
        ("hpexpire s 9223372036854775807 fields 1 a", "-ERR invalid expire time in 'hpexpire' command "),
        ("hexpireat s 9223372036854776 fields 1 a", "-ERR invalid expire time in 'hexpireat' command "),
        ("hexpire s 1 fields 1 a", wrong),
        ("hexpire no 1 fields 2 a b", "*2 :-2 :-2 "),
        ("hexpire h 1 fields 1", "-ERR wrong number of arguments for 'hexpire' command "),
        ("httl s foo 1 a", syntax),
        ("httl s fields x a", number),
        ("httl s fields 2 a", syntax),
        ("httl s fields 1 a", wrong),
        ("httl no fields 1 a", "*1 :-2 "),
        ("hpersist s foo 1 a", syntax),
        ("hpersist s fields x a", number),
        ("hpersist s fields 2 a", miscounted),
        ("hpersist s fields 1 a", wrong),
        ("hpersist no fields 1 a", "*1 :-2 "),
        ("hgetdel s foo 1 a", syntax),
        ("hgetdel s fields 0 a", miscounted),
        ("hgetdel s fields 1 a", wrong),
        ("hgetdel no fields 2 a b", "*2 $-1 $-1 "),
        ("hgetex s foo fields x a", syntax),
        ("hgetex s ex 1 px 1 fields 1 a", syntax),
        ("hgetex s persist ex 1 fields 1 a", syntax),
        ("hgetex s keepttl fields 1 a", syntax),
        ("hgetex s ex fields 1 a", syntax),
        ("hgetex s ex x fields x a", number),
        ("hgetex s ex x fields 2 a", miscounted),
        ("hgetex s ex x fields 1 a", wrong),
        ("hgetex h ex x fields 1 a", number),
        ("hgetex h px -1 fields 1 a", "-ERR invalid expire time in 'hgetex' command "),
        ("hgetex no ex 1 fields 1 a", "*1 $-1 "),
        ("hsetex s foo fields x a 1", syntax),
        ("hsetex s persist fields 1 a 1", syntax),
        ("hsetex s keepttl ex 1 fields 1 a 1", syntax),
        ("hsetex s nx xx fields 1 a 1", syntax),
        ("hsetex s fnx fxx fields 1 a 1", syntax),
        ("hsetex s ex x fields x a 1", number),
        ("hsetex s ex x fields 1 a", miscounted),
        ("hsetex s ex x fields 9223372036854775807 a 1", miscounted),
        ("hsetex s ex x fields 1 a 1", wrong),
        ("hsetex h ex x nx fields 1 no 1", ":0 "),
        ("hsetex h ex x fxx fields 1 no 1", number),
        ("hsetex h ex -1 fxx fields 1 no 1", "-ERR invalid expire time in 'hsetex' command "),
        ("hsetex h fields 1 a", "-ERR wrong number of arguments for 'hsetex' command "),
    ] {
        assert_eq!(bench.run(command), error, "{command}");
    }
    assert_eq!(bench.effects(), "");
}
