//! Streams by their commands: what replicas get, and what a rebuilt one is like.

use ringfort_protocol::OwnedArgs;

use crate::commands::{bench::Bench, digest::digest, rebuild};

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
    let mut copy = Bench::new();
    for command in commands {
        let reply = copy.run_args(command.as_args());
        assert!(!reply.starts_with(b"-"), "{command:?}: {}", reply.escape_ascii());
    }
    copy
}

#[test]
fn a_rebuilt_stream_is_the_same_in_everything_that_can_be_seen() {
    let mut bench = Bench::new();
    for command in FULL {
        bench.now += 1_000;
        bench.run(command);
        let mut copy = rebuilt(&mut bench);
        copy.now = bench.now;
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
        copy.now = bench.now;
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
fn a_client_cannot_call_what_rebuilds() {
    assert!(crate::commands::find(b"stream.pending").is_none());
    assert!(crate::commands::find(b"stream.consumer").is_none());
}
