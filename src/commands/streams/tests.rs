//! Streams by their commands: what replicas get, and what a rebuilt one is like.

use proptest::prelude::*;
use ringfort_protocol::OwnedArgs;

use crate::{
    commands::{bench::Bench, digest::digest, rebuild},
    dump,
};

/// Runs commands on a primary, whose replica follows; they must agree after each.
struct Pair {
    primary: Bench,
    replica: Bench,
}

impl Pair {
    fn new() -> Self {
        Self { primary: Bench::new(), replica: Bench::new() }
    }

    fn run(&mut self, command: &str) -> String {
        let reply = self.primary.run(command);
        self.replica.follow(&mut self.primary);
        assert_eq!(digest(&self.primary.shard()), digest(&self.replica.shard()), "{command}");
        reply
    }

    fn run_all(&mut self, commands: &[&str]) {
        for command in commands {
            let reply = self.run(command);
            assert!(!reply.starts_with('-'), "{command}: {reply}");
        }
    }
}

/// Commands after which a stream has everything that one can have.
const FULL: [&str; 22] = [
    "xgroup create s g $ mkstream",
    "xadd s 1-1 a 1 b 2",
    "xadd s 1-2 a 1 b 3",
    "xadd s * c 4",
    "xadd s * c ''",
    "xgroup create s h 1-1 entriesread 1",
    "xgroup create s empty 0",
    "xreadgroup group g ann count 3 streams s >",
    "xreadgroup group h bob noack streams s >",
    "xgroup createconsumer s h cid",
    "xclaim s g bob 0 1-2 retrycount 9 time 1000",
    "xclaim s h dan 0 1-1 force",
    "xreadgroup group g ann streams s 0",
    "xdel s 1-2",
    "xadd s * d 5",
    "xadd s * d 6",
    "xreadgroup group g eve streams s >",
    "xtrim s maxlen 4",
    "xtrim s maxlen 2",
    "xautoclaim s h eve 0 0",
    "xgroup createconsumer s g frank",
    "xsetid s 9999999999999-0 entriesadded 77 maxdeletedid 1-2",
];

#[test]
fn counters_end_at_what_a_command_can_say() {
    let mut pair = Pair::new();
    pair.run("xadd s 1-1 a 1");
    pair.run("xgroup create s g 0 entriesread 9223372036854775807");
    pair.run("xreadgroup group g ann streams s >");
    pair.run("xclaim s g ann 0 1-1 retrycount 9223372036854775807");
    pair.run("xclaim s g ann 0 1-1");
    pair.run("xreadgroup group g ann streams s 0");
    assert!(pair.run("xpending s g - + 1").contains(":9223372036854775807"));
}

#[test]
fn a_deleted_entry_with_a_higher_id_hides_none_behind_it() {
    let mut pair = Pair::new();
    for command in ["xadd s 5-0 a 1", "xadd s 10-0 a 1", "xgroup create s g 5-0", "xdel s 10-0"] {
        pair.run(command);
    }
    pair.run("xsetid s 5-0");
    pair.run("xadd s 6-0 a 1");
    assert!(pair.run("xrange s 6 6").contains("6-0"));
    assert!(pair.run("xrevrange s 6 6").contains("6-0"));
    assert!(pair.run("xreadgroup group g ann streams s >").contains("6-0"));
    assert!(pair.run("xpending s g - + 1").contains("6-0"));
}

#[test]
fn a_replica_has_the_same_after_each_command() {
    let mut pair = Pair::new();
    pair.run_all(&FULL);
    pair.run_all(&[
        "xclaim s g ann 0 1-1 1-2",
        "xclaim s g ann 0 7-7 lastid 99999999999999-0",
        "xack s g 1-1",
        "xadd s maxlen ~ 1 99999999999999-1 a 1",
        "xadd s minid ~ 99999999999999-1 99999999999999-2 a 1",
        "xtrim s minid ~ 99999999999999-2",
        "xgroup setid s g $ entriesread 5",
        "xgroup delconsumer s g ann",
        "xgroup destroy s h",
        "xautoclaim s g ann 0 0 count 1 justid",
        "xadd n nomkstream 1-* a 1",
        "xreadgroup group g new streams s 0",
    ]);
}

#[test]
fn an_approximate_trim_is_exact_for_a_replica() {
    let mut pair = Pair::new();
    (1..=250).for_each(|ms| _ = pair.primary.run(&format!("xadd s {ms}-0 a 1")));
    pair.primary.effects();
    assert_eq!(pair.primary.run("xtrim s maxlen ~ 120"), ":100 ");
    assert_eq!(pair.primary.effects(), "XTRIM s MAXLEN = 150");
    assert_eq!(pair.primary.run("xadd s minid ~ 201 251-* a 1"), "$5 251-0 ");
    assert_eq!(pair.primary.effects(), "XADD s MAXLEN = 51 251-0 a 1");
    assert_eq!(pair.primary.run("xtrim s maxlen ~ 10 limit 5"), ":0 ");
    assert_eq!(pair.primary.effects(), "");
}

#[test]
fn what_a_group_reads_is_told_as_what_came_of_it() {
    let mut bench = Bench::new();
    ["xadd s 1-1 a 1", "xadd s 1-2 a 2", "xgroup create s g 0"]
        .iter()
        .for_each(|command| _ = bench.run(command));
    bench.effects();
    bench.run("xreadgroup group g ann streams s >");
    let now = bench.now;
    let claimed = format!("XCLAIM s g ann 0 1-1 1-2 TIME {now} RETRYCOUNT 1 FORCE JUSTID LASTID 1-2");
    assert_eq!(bench.effects(), format!("{claimed}; XGROUP SETID s g 1-2 ENTRIESREAD 2"));
    bench.run("xreadgroup group g ann streams s >");
    assert_eq!(bench.effects(), "");
    bench.run("xdel s 1-1");
    bench.effects();
    bench.run("xautoclaim s g bob 0 0");
    let claimed = format!("XCLAIM s g bob 0 1-2 TIME {now} RETRYCOUNT 2 FORCE JUSTID LASTID 1-2");
    assert_eq!(bench.effects(), format!("XACK s g 1-1; {claimed}"));
}

/// Everything that can be seen of a stream.
fn seen(bench: &mut Bench) -> Vec<String> {
    let mut seen = vec![
        bench.run("xinfo stream s full count 0"),
        bench.run("xinfo groups s"),
        bench.run("xrange s - +"),
    ];
    for group in ["g", "h", "empty"] {
        seen.push(bench.run(&format!("xinfo consumers s {group}")));
        seen.push(bench.run(&format!("xpending s {group} - + 100")));
    }
    seen
}

fn rebuilt(bench: &mut Bench) -> Bench {
    let mut commands = Vec::new();
    bench.with("s", |entry| {
        let mut emit = |command: &[&[u8]]| commands.push(OwnedArgs::from_iter(command));
        rebuild::rebuild(b"s", entry.value().unwrap(), &mut emit);
    });
    // A replica has no clock.
    let mut copy = Bench::new();
    copy.now = 0;
    for command in commands {
        let reply = copy.run_args(command.as_args());
        assert!(!reply.starts_with(b"-"), "{command:?}: {}", reply.escape_ascii());
    }
    copy.now = bench.now;
    copy
}

#[test]
fn a_rebuilt_stream_is_the_same_in_everything_that_can_be_seen() {
    let mut bench = Bench::new();
    for command in FULL {
        bench.now += 1_000;
        bench.run(command);
        let mut copy = rebuilt(&mut bench);
        assert_eq!(seen(&mut copy), seen(&mut bench), "{command}");
        assert_eq!(digest(&copy.shard()), digest(&bench.shard()), "{command}");
    }
    for emptying in [
        "xtrim s maxlen 0",
        "xsetid s 1-1",
        "xadd s 1-2 a 1",
        "xdel s 1-2",
        "xgroup destroy s g",
        "xgroup destroy s h",
        "xgroup destroy s empty",
    ] {
        bench.run(emptying);
        let mut copy = rebuilt(&mut bench);
        assert_eq!(seen(&mut copy), seen(&mut bench), "{emptying}");
    }
}

#[test]
fn many_pending_entries_are_rebuilt_in_pieces() {
    let mut bench = Bench::new();
    bench.run("xgroup create s g $ mkstream");
    (0..200).for_each(|_| _ = bench.run("xadd s * a 1"));
    bench.run("xreadgroup group g ann streams s >");
    let mut copy = rebuilt(&mut bench);
    assert_eq!(seen(&mut copy), seen(&mut bench));
    let mut replica = Bench::new();
    replica.follow(&mut bench);
    assert_eq!(digest(&replica.shard()), digest(&bench.shard()));
}

#[test]
fn a_copied_or_renamed_stream_is_the_same() {
    let mut pair = Pair::new();
    pair.run_all(&FULL);
    let before = seen(&mut pair.primary);
    pair.run_all(&["copy s t", "rename t s"]);
    assert_eq!(seen(&mut pair.primary), before);
}

#[test]
fn what_changes_nothing_leaves_the_key_alone() {
    let mut bench = Bench::new();
    for command in
        ["xadd s 1-1 a 1", "xadd s 1-2 a 2", "xgroup create s g 0", "xgroup createconsumer s g ann"]
    {
        bench.run(command);
    }
    bench.effects();
    let before = bench.shard().core.changes;
    for command in [
        "xdel s 9-9",
        "xdel none 9-9",
        "xack s g 1-1",
        "xack s none 1-1",
        "xtrim s maxlen 2",
        "xtrim s maxlen ~ 1",
        "xtrim s minid 1-1",
        "xtrim s minid ~ 1-2",
        "xgroup create s g 0",
        "xgroup createconsumer s g ann",
        "xgroup delconsumer s g bob",
        "xgroup destroy s none",
        "xautoclaim s g ann 0 0",
        "xclaim s g ann 0 1-1",
    ] {
        bench.run(command);
        let changes = bench.shard().core.changes;
        assert_eq!((changes, bench.effects()), (before, String::new()), "{command}");
    }
    bench.run("xtrim s minid 1-2");
    assert_eq!(bench.shard().core.changes, before + 1);
}

#[test]
fn a_copy_is_accounted_for_by_what_it_takes() {
    let mut bench = Bench::new();
    (0..30).for_each(|ms| _ = bench.run(&format!("xadd s {ms}-1 name value-{ms}")));
    let before = bench.shard().core.used;
    bench.run("copy s t");
    let payload = payload(&mut bench);
    restore(&mut bench, "u", &payload);
    // What is restored has no more room than it needs, either.
    assert_eq!(bench.run("memory usage t"), bench.run("memory usage u"));
    assert_ne!(bench.run("memory usage t"), bench.run("memory usage s"), "else nothing is shown");
    bench.run("xadd t 100-1 name value");
    bench.run("xtrim t maxlen 3");
    bench.run("del t u");
    assert_eq!(bench.shard().core.used, before);
}

/// The payload of `s`.
fn payload(bench: &mut Bench) -> Vec<u8> {
    bench.with("s", |entry| dump::encode(entry.value().unwrap(), 0).unwrap())
}

/// Returns whether the payload was taken.
fn restore(bench: &mut Bench, key: &str, payload: &[u8]) -> bool {
    let args = [&b"RESTORE"[..], key.as_bytes(), b"0", payload];
    let reply = bench.run_args(args.iter().collect::<OwnedArgs>().as_args());
    assert!(reply == b"+OK\r\n" || reply == b"-ERR Bad data format\r\n", "{}", reply.escape_ascii());
    reply.starts_with(b"+")
}

#[test]
fn when_consumers_were_given_something_goes_with_every_copy_but_a_dump() {
    let mut pair = Pair::new();
    for command in
        ["xgroup create s g $ mkstream", "xgroup createconsumer s g ann", "xgroup createconsumer s g bob"]
    {
        pair.run(command);
    }
    // The same payload in the form that Redis 7.2 writes, where one consumer was active, and the other never.
    let mut body = payload(&mut pair.primary);
    body.truncate(body.len() - 10);
    body[0] = 21;
    let seen = pair.primary.now.to_le_bytes();
    let places: Vec<_> = (0..body.len()).filter(|at| body[*at..].starts_with(&seen)).collect();
    for (at, active) in places.iter().zip([1_699_999_990_000_i64, -1]).rev() {
        body.splice(at + 8..at + 8, active.to_le_bytes());
    }
    dump::seal(&mut body, 11);
    pair.run("del s");
    assert!(restore(&mut pair.primary, "s", &body));
    pair.replica.follow(&mut pair.primary);
    let consumers = "xinfo consumers s g";
    let told = pair.primary.run(consumers);
    assert!(told.contains("inactive :10000") && told.contains("inactive :-1"), "{told}");
    assert_eq!(pair.replica.run(consumers), told);
    assert_eq!(rebuilt(&mut pair.primary).run(consumers), told);
    pair.run("copy s t");
    pair.run("rename t s");
    assert_eq!((pair.primary.run(consumers), pair.replica.run(consumers)), (told.clone(), told));
}

/// Numbers at which counters and ids end, and some in between.
fn number(most: u64) -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..6_u64, 1 => Just(most), 1 => Just(most - 1), 1 => Just(most / 2)]
}

fn entry_id() -> impl Strategy<Value = String> {
    (number(u64::MAX), number(u64::MAX)).prop_map(|(ms, seq)| format!("{ms}-{seq}"))
}

/// A command on `s`, which may be refused. Of its words, `G` is a group, `C` a consumer, `I` an id and `N` a number.
fn command() -> impl Strategy<Value = String> {
    let form = prop::sample::select(vec![
        "xadd s I a 1",
        "xadd s I a 'a text' b ''",
        "xadd s 0-* a 1",
        "xadd s 3-* a 1 n -7",
        "xdel s I",
        "xdel s 3-1 I",
        "xtrim s maxlen N",
        "xtrim s minid I",
        "xsetid s I",
        "xsetid s I entriesadded N maxdeletedid I",
        "xgroup create s G I entriesread N mkstream",
        "xgroup create s G 0",
        "xgroup setid s G I",
        "xreadgroup group G C count 2 streams s >",
        "xreadgroup group G C streams s 0",
        "xclaim s G C 0 I time N retrycount N force",
        "xack s G I",
        "xgroup delconsumer s G C",
    ]);
    let words = (prop_oneof!["g", "h"], prop_oneof!["ann", "bob"]);
    let numbers = (entry_id(), entry_id(), number(i64::MAX as u64), number(i64::MAX as u64));
    (form, words, numbers).prop_map(|(form, (group, consumer), (first, second, one, other))| {
        let words = [("G", group), ("C", consumer), ("I", first), ("N", one.to_string())];
        let words = words.into_iter().chain([("I", second), ("N", other.to_string())]);
        words.fold(form.to_owned(), |command, (letter, word)| command.replacen(letter, &word, 1))
    })
}

/// What stands in place of a byte of a payload: another byte, or a number of 64 bits.
fn damage() -> impl Strategy<Value = Vec<u8>> {
    let wide = prop_oneof![Just(u64::MAX), Just(i64::MAX as u64), Just(1 << 63), any::<u64>()];
    prop_oneof![
        2 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => (0..8_u8).prop_map(|byte| vec![byte]),
        3 => wide.prop_map(|number| [&[0x81][..], &number.to_be_bytes()].concat()),
    ]
}

/// Takes a payload that may be damaged: what is not refused is a stream like any other, which replicas can have, too.
fn check(payload: &[u8]) {
    let mut bench = Bench::new();
    if !restore(&mut bench, "s", payload) {
        return;
    }
    seen(&mut bench);
    let mut copies = [rebuilt(&mut bench), Bench::new()];
    let [rebuilt, again] = &mut copies;
    assert!(restore(again, "s", &self::payload(&mut bench)));
    assert_eq!(rebuilt.run("xrange s - +"), bench.run("xrange s - +"));
    bench.take_log();
    // It goes on being what the copies are.
    for command in ["exists s", "xadd s * a 1", "xreadgroup group g ann streams s >", "xtrim s maxlen 2"] {
        bench.run(command);
        let effects = bench.take_log();
        for copy in &mut copies {
            copy.apply(&effects);
            assert_eq!(digest(&copy.shard()), digest(&bench.shard()), "{command}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_stream_and_what_is_left_of_its_payload_can_be_copied(
        commands in prop::collection::vec(command(), 1..40),
        damages in prop::collection::vec(
            prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..3),
            16,
        ),
    ) {
        let mut pair = Pair::new();
        for command in ["xadd s 0-1 a 1", "xgroup create s g 0", "xreadgroup group g ann count 1 streams s >"] {
            pair.run(command);
        }
        for command in &commands {
            pair.run(command);
        }
        let mut body = payload(&mut pair.primary);
        check(&body);
        body.truncate(body.len() - 10);
        for damage in damages {
            let mut body = body.clone();
            for (at, with) in damage {
                let at = 1 + at.index(body.len() - 1);
                body.splice(at..=at, with);
            }
            dump::seal(&mut body, 10);
            check(&body);
        }
    }
}

#[test]
fn a_client_cannot_call_what_rebuilds() {
    assert!(crate::commands::find(b"stream.pending").is_none());
    assert!(crate::commands::find(b"stream.consumer").is_none());
}
