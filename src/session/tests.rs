//! A session with a router and no socket.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    clients::Door,
    config::{Allowed, Settings},
    env::{Clock, clock::COARSE_TICK},
    latency::Event,
    node::{Node, testing},
    routing::{Parking, Written},
};

struct Bench {
    router: Router,
    session: Session,
}

impl Bench {
    fn new(node: &Arc<Node>) -> Self {
        let shared = node.clients.enter(([127, 0, 0, 1], 9).into(), ([127, 0, 0, 1], 1).into(), 3, 0, 9);
        let client = Client::new(shared.unwrap(), Door::Client, true);
        let mut router = Router::new(Arc::clone(node), Arc::new(Parking::new(1)), 0, 7);
        router.turn();
        Self { router, session: Session::new(client, 1) }
    }

    /// Gives it what a client sent. Returns what was not used and what is to be sent.
    fn receive<'i>(&mut self, input: &'i str) -> (&'i str, String) {
        let used = self.session.receive(input.as_bytes(), &mut self.router);
        let sent = self.session.output.take_ready().into_bytes();
        (&input[used..], String::from_utf8_lossy(&sent).replace("\r\n", " "))
    }

    /// What it is sent of what others have run.
    fn watch(&mut self) -> String {
        self.session.show_lines();
        let sent = self.session.output.take_ready().into_bytes();
        String::from_utf8_lossy(&sent).replace("\r\n", " ")
    }

    /// What a client of the node is sent that watches it and has just begun.
    fn watching(node: &Arc<Node>) -> Self {
        let mut bench = Self::new(node);
        assert_eq!(bench.receive("MONITOR\r\n").1, "+OK ");
        bench
    }
}

#[test]
fn a_pause_of_writes_lets_reads_pass_and_keeps_the_rest() {
    let node = Arc::new(testing::node());
    let mut bench = Bench::new(&node);
    node.clients.pause_until(node.clock.boot() + 1_000, Pause::Writes, node.clock.boot());
    bench.router.turn();
    let (rest, sent) = bench.receive("GET k\r\nSET k\r\nSET k v\r\nGET k\r\n");
    assert_eq!(rest, "SET k v\r\nGET k\r\n");
    assert_eq!(sent, "$-1 -ERR wrong number of arguments for 'set' command ");
    assert!(!bench.session.may_go_on());
    assert_eq!(bench.router.paused, [1]);
    assert_eq!(node.tallies.calls(), 1);
    node.clients.unpause();
    bench.router.turn();
    bench.session.resume();
    assert_eq!(bench.receive(rest), ("", "+OK $1 v ".to_owned()));
}

#[test]
fn a_pause_of_all_lets_only_its_end_pass() {
    let node = Arc::new(testing::node());
    let mut bench = Bench::new(&node);
    let (rest, sent) = bench.receive("CLIENT PAUSE 1000\r\n");
    assert_eq!((rest, sent.as_str()), ("", "+OK "));
    bench.router.turn();
    assert_eq!(bench.receive("PING\r\n").0, "PING\r\n");
    let mut other = Bench::new(&node);
    assert_eq!(other.receive("CLIENT UNPAUSE\r\n").1, "+OK ");
    assert_eq!(node.clients.pause(node.clock.boot()), Pause::Nothing);
}

#[test]
fn what_the_loop_does_for_a_session_blocks_it_until_the_answer() {
    let settings = Settings { enable_debug_command: Allowed::Yes, ..Settings::default() };
    let node = Arc::new(testing::node_with(settings));
    let mut bench = Bench::new(&node);
    let (rest, sent) = bench.receive("PING\r\nDEBUG SLEEP 1\r\nPING\r\n");
    assert_eq!((rest, sent.as_str()), ("PING\r\n", "+PONG "));
    let Some((Origin::Client { hole, .. }, later)) = bench.router.for_later.pop() else { panic!("asked") };
    assert_eq!(later, commands::session::Later::Sleep(Duration::from_secs(1)));
    assert!(!bench.session.may_go_on() && !bench.session.is_idle());
    let completion =
        Completion { conn: 1, hole, reply: b"+OK\r\n".to_vec(), written: Written::new(), asked: None };
    bench.session.complete(&completion, &bench.router);
    assert_eq!(bench.receive(rest), ("", "+OK +PONG ".to_owned()));
}

#[test]
fn commands_are_slow_from_the_threshold_on() {
    let node = Arc::new(testing::node());
    let mut bench = Bench::new(&node);
    bench.receive("SET a 1\r\n");
    let slow = node.commandlog.of(Kind::Slow);
    assert!(slow.is_empty());
    node.config.change(&[("slowlog-log-slower-than", "0"), ("slowlog-max-len", "2")]).unwrap();
    bench.router.turn();
    bench.receive("SET a 2\r\nGET a\r\nNOSUCH\r\nCLIENT ID\r\n");
    let entries = slow.newest(9);
    let names: Vec<_> = entries.iter().map(|entry| entry.args[0].escape_ascii().to_string()).collect();
    assert_eq!(names, ["CLIENT", "GET"]);
}

#[test]
fn commands_stand_out_by_their_bytes_and_by_those_of_their_replies() {
    let node = Arc::new(testing::node());
    let mut bench = Bench::new(&node);
    let limits = [("commandlog-request-larger-than", "100"), ("commandlog-reply-larger-than", "40000")];
    node.config.change(&limits).unwrap();
    bench.router.turn();
    let large = "x".repeat(20_000);
    bench.receive(&format!("SET a {large}\r\nGET a\r\nMGET a a\r\nGET {}\r\n", "n".repeat(200)));
    let entries = |kind| {
        let entries = node.commandlog.of(kind).newest(9).into_iter().rev();
        let shown = entries.map(|entry| (entry.value, entry.args[0].escape_ascii().to_string()));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(entries(Kind::LargeRequest), [(20_008, "SET".to_owned()), (206, "GET".to_owned())]);
    assert_eq!(entries(Kind::LargeReply), [(2 * (20_000 + 10) + 4, "MGET".to_owned())]);
    assert!(entries(Kind::Slow).is_empty());
    // One that comes from elsewhere is looked at when it is there.
    let hole = bench.session.output.leave_hole(false, commands::find(b"keys").unwrap());
    let asked = Some(vec![b"KEYS".to_vec()]);
    let completion = Completion { conn: 1, hole, reply: vec![b'x'; 50_000], written: Written::new(), asked };
    bench.session.complete(&completion, &bench.router);
    assert_eq!(entries(Kind::LargeReply)[1], (50_000, "KEYS".to_owned()));
}

#[test]
fn commands_are_tracked_and_watched_as_the_settings_say() {
    let node = Arc::new(testing::node());
    let mut bench = Bench::new(&node);
    bench.receive("GET a\r\nCONFIG GET hz\r\n");
    assert!(node.latency.histograms().is_empty());
    node.config.change(&[("latency-tracking", "yes")]).unwrap();
    bench.router.turn();
    bench.receive("GET a\r\nget b\r\nNOSUCH\r\nCONFIG GET hz\r\n");
    bench.router.publish();
    let calls = |name| node.latency.histograms().get(name).map(|histogram| histogram.len());
    assert_eq!((calls("get"), calls("config|get"), node.latency.histograms().len()), (Some(2), Some(1), 2));
    // Off again: what was counted stays, and nothing is added.
    node.config.change(&[("latency-tracking", "no"), ("latency-monitor-threshold", "5")]).unwrap();
    bench.router.turn();
    bench.receive("GET a\r\n");
    bench.router.publish();
    assert_eq!(calls("get"), Some(2));
    // The clock of this node stands still, so the times are made up.
    for (name, millis) in [("get", 4), ("get", 6), ("keys", 7)] {
        bench.router.note_time(commands::find(name.as_bytes()).unwrap(), millis * 1_000_000);
    }
    let worst = |event| node.latency.spikes(event).worst;
    assert_eq!((worst(Event::FastCommand), worst(Event::Command)), (6, 7));
}

#[test]
fn a_client_is_listed_with_what_it_ran_last() {
    let node = Arc::new(testing::node());
    let mut bench = Bench::new(&node);
    assert!(bench.receive("GET k\r\nCLIENT INFO\r\n").1.contains(" cmd=client|info "));
    bench.receive("CLIENT ID\r\nGET k\r\n");
    assert_eq!(bench.session.client.shared.texts().command, "get");
}

#[test]
fn replies_are_silenced_as_asked() {
    let node = Arc::new(testing::node());
    let mut bench = Bench::new(&node);
    let sent = bench.receive("CLIENT REPLY OFF\r\nPING\r\nGET k\r\nCLIENT REPLY ON\r\nPING\r\n").1;
    assert_eq!(sent, "+OK +PONG ");
    assert_eq!(bench.receive("CLIENT REPLY SKIP\r\nGET k\r\nPING\r\n").1, "+PONG ");
}

#[test]
fn what_needs_all_earlier_replies_comes_after_them() {
    let is_late = |command: &&Command| {
        matches!(command.run, Run::Wait)
            || command.name == "monitor"
            || matches!(command.run, Run::EachShard(_)) && command.flags.has(Flags::WRITE)
    };
    let mut names: Vec<&[u8]> =
        commands::families().flatten().filter(is_late).map(|command| command.name.as_bytes()).collect();
    names.sort_unstable();
    let mut known = AFTER_ALL;
    known.sort_unstable();
    assert_eq!(names, known);
}

#[test]
fn what_was_run_in_a_turn_is_confirmed_while_the_lease_lasts() {
    let clock = Arc::new(testing::Hands::default());
    let node = Arc::new(Node { clock: clock.clone(), ..testing::node() });
    let mut router = Bench::new(&node).router;
    let at = |nanos: u64| clock.boot.store(nanos, Ordering::Relaxed);
    let end = |router: &mut Router, until: u64, ends: u64| {
        at(5 * COARSE_TICK);
        node.lease.set(until);
        router.keep_turn();
        at(ends);
        router.end_turn()
    };
    let began = 5 * COARSE_TICK;
    // Short turns of a lease that lasts for long, and of one that is nearly over.
    assert!(end(&mut router, began + 2 * COARSE_TICK, began + 10));
    assert!(end(&mut router, began + 20, began + 10));
    assert!(!end(&mut router, began + 20, began + 20));
    // A long turn.
    assert!(end(&mut router, began + 4 * COARSE_TICK, began + 3 * COARSE_TICK));
    assert!(!end(&mut router, began + 2 * COARSE_TICK, began + 3 * COARSE_TICK));
}

#[test]
fn connections_of_one_turn_see_one_time_until_the_coarse_clock_moves() {
    let clock = Arc::new(testing::Hands::default());
    let node = Arc::new(Node { clock: clock.clone(), ..testing::node() });
    let mut router = Bench::new(&node).router;
    let mut time_at = |nanos: u64| {
        clock.boot.store(nanos, Ordering::Relaxed);
        router.keep_turn();
        router.now.boot
    };
    assert_eq!(time_at(COARSE_TICK + 1), COARSE_TICK + 1);
    assert_eq!(time_at(COARSE_TICK + 2), COARSE_TICK + 1);
    assert_eq!(time_at(2 * COARSE_TICK), 2 * COARSE_TICK);
    assert_eq!(time_at(2 * COARSE_TICK + 3), 2 * COARSE_TICK);
    router.end_turn();
    clock.boot.store(2 * COARSE_TICK + 4, Ordering::Relaxed);
    router.keep_turn();
    assert_eq!(router.now.boot, 2 * COARSE_TICK + 4);
}

/// The line of a command, as this test's clock and clients have it.
fn line(db: u8, args: &str) -> String {
    let args: Vec<String> = args.split(' ').map(|arg| format!("\"{arg}\"")).collect();
    format!("+1700000000.000000 [{db} 127.0.0.1:9] {} ", args.join(" "))
}

#[test]
fn who_watches_reads_what_it_runs_itself_between_its_replies() {
    let node = Arc::new(testing::node());
    let mut bench = Bench::new(&node);
    let sent = bench.receive("PING\r\nMONITOR\r\nPING\r\nMONITOR\r\nSELECT 3\r\nGET k\r\n").1;
    let denied = "-ERR Replica can't interact with the keyspace ";
    assert_eq!(sent, format!("+PONG +OK +PONG {}+OK {}{denied}", line(0, "PING"), line(3, "SELECT 3")));
    assert!(bench.receive("CLIENT INFO\r\n").1.contains(" flags=O "));
    assert!(!bench.session.is_idle(), "it waits for what others do");
    assert_eq!(bench.receive("RESET\r\nPING\r\n").1, "+RESET +PONG ");
    assert!(!node.clients.are_watched());
    assert_eq!(bench.receive("GET k\r\n").1, "$-1 ");
}

#[test]
fn others_are_shown_what_was_run_as_it_came_and_no_password() {
    let node = Arc::new(testing::node());
    let (mut watcher, mut other) = (Bench::watching(&node), Bench::new(&node));
    other.router.turn();
    other.receive(
        "set k v\r\nGET k x\r\nNOSUCH\r\nCONFIG GET hz\r\nSLOWLOG LEN\r\nLPUSH k x\r\nAUTH me secret\r\n",
    );
    let shown = [line(0, "set k v"), line(0, "LPUSH k x"), line(0, "AUTH (redacted) (redacted)")];
    assert_eq!(watcher.watch(), shown.concat());
    node.config.change(&[("requirepass", "secret")]).unwrap();
    other.session.client.authenticated = false;
    other.receive("GET k\r\nHELLO 3 AUTH default secret\r\n");
    assert_eq!(watcher.watch(), line(0, "HELLO 3 AUTH (redacted) (redacted)"));
    other.receive("GET k\r\n");
    let sent = watcher.receive("PING\r\n").1;
    assert_eq!(
        sent,
        format!("{}+PONG {}", line(0, "GET k"), line(0, "PING")),
        "in the order in which it was run"
    );
}

#[test]
fn nothing_is_shown_that_was_refused_for_where_its_keys_are_or_for_want_of_memory() {
    let node = Arc::new(testing::node());
    let mut other = Bench::new(&node);
    other.receive("SET k v\r\n");
    let mut watcher = Bench::watching(&node);
    other.session.client.door = Door::Cluster;
    other.router.turn();
    assert!(other.receive("MGET a b\r\n").1.starts_with("-CROSSSLOT "));
    node.config.change(&[("maxmemory", "1")]).unwrap();
    other.router.turn();
    assert!(other.receive("SET k v\r\n").1.starts_with("-OOM "));
    other.receive("GET k\r\n");
    assert_eq!(watcher.watch(), line(0, "GET k"));
}

#[test]
fn who_takes_no_replies_is_shown_nothing() {
    let node = Arc::new(testing::node());
    let (mut watcher, mut other) = (Bench::watching(&node), Bench::new(&node));
    other.router.turn();
    watcher.receive("CLIENT REPLY OFF\r\n");
    other.receive("GET k\r\n");
    assert_eq!(watcher.receive("PING\r\n").1 + &watcher.watch(), "");
    let on = line(0, "CLIENT REPLY ON");
    assert_eq!(watcher.receive("CLIENT REPLY ON\r\n").1, format!("+OK {on}"));
    // The line of what is not answered comes with the next.
    let sent = watcher.receive("CLIENT REPLY SKIP\r\nPING\r\nPING x\r\n").1;
    let lines = [line(0, "CLIENT REPLY SKIP"), line(0, "PING"), line(0, "PING x")];
    assert_eq!(sent, format!("{}$1 x {}{}", lines[0], lines[1], lines[2]));
    watcher.receive("QUIT\r\n");
    other.receive("GET k\r\n");
    assert_eq!(watcher.watch(), "", "what follows the last reply is not sent");
}

#[test]
fn commands_are_counted_with_what_came_of_them() {
    let node = Arc::new(testing::node());
    let mut bench = Bench::new(&node);
    testing::put(&node, "k");
    bench.receive(
        "GET k\r\nGET k\r\nGET\r\nLPUSH k x\r\nNOSUCH\r\nCLIENT ID\r\nCLIENT REPLY x\r\nCLIENT NOSUCH\r\n",
    );
    bench.session.client.door = Door::Cluster;
    bench.receive("MGET a b\r\n");
    let counted = |name: &str| {
        let number = commands::names().iter().position(|known| known == name).unwrap();
        let sum = node.tallies.sums()[number];
        (sum.calls, sum.refused, sum.failed)
    };
    assert_eq!((counted("get"), counted("lpush"), counted("mget")), ((2, 1, 0), (1, 0, 1), (0, 1, 0)));
    assert_eq!(
        (counted("client|id"), counted("client|reply"), counted("client")),
        ((1, 0, 0), (1, 0, 1), (0, 0, 0))
    );
    assert_eq!((node.tallies.calls(), node.stats.errors.get()), (5, 6));
    let errors: Vec<_> = node.tallies.errors().into_iter().collect();
    let expected = [("CROSSSLOT", 1), ("ERR", 4), ("WRONGTYPE", 1)];
    assert_eq!(errors, expected.map(|(code, count)| (code.to_owned(), count)));
    // One that comes from elsewhere is known when it is there; so is what was refused there.
    for (reply, outcome) in
        [("-ERR no\r\n", (1, 0, 1)), ("-OOM no\r\n", (1, 1, 1)), ("$1\r\nv\r\n", (2, 1, 1))]
    {
        let command = commands::find(b"set").unwrap();
        let hole = bench.session.output.leave_hole(false, command);
        bench.router.tally.call(command.number, 0);
        let reply = reply.as_bytes().to_vec();
        let completion = Completion { conn: 1, hole, reply, written: Written::new(), asked: None };
        bench.session.complete(&completion, &bench.router);
        assert_eq!(counted("set"), outcome);
    }
    bench.receive("*x\r\n");
    assert_eq!(node.tallies.errors()["ERR"], 6);
}

#[test]
fn the_lease_is_held_against_the_exact_clock_though_the_coarse_one_stands_still() {
    /// The coarse hand moves when the system gets to it, and not at all while the machine is suspended.
    #[derive(Debug, Default)]
    struct Standing(AtomicU64);

    impl Clock for Standing {
        fn boot(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn coarse(&self) -> u64 {
            COARSE_TICK
        }

        fn wall_ms(&self) -> u64 {
            0
        }
    }

    let clock = Arc::new(Standing::default());
    let node = Arc::new(Node { clock: clock.clone(), ..testing::node() });
    let mut router = Bench::new(&node).router;
    node.lease.set(3 * COARSE_TICK);
    router.keep_turn();
    clock.0.store(3 * COARSE_TICK, Ordering::Relaxed);
    assert!(!router.end_turn());
}
