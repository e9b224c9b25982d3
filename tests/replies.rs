//! Runs the reply scripts in `tests/replies/`, one test a script, each in RESP2 and in RESP3.
//!
//! `support/script.rs` tells how a script is written, `support/server.rs` which variables of the environment choose the
//! server: one node by default, three, three whose shards move all the time, redis-server, or one that runs already.
//! With `RINGFORT_BLESS=1` the scripts are not checked but written anew from what the server replies; that server must
//! be Redis, and what it wrote must be read before it is committed.

mod support;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Trial};
use support::connection::Connection;
use support::notation;
use support::reply::{Protocol, Reply};
use support::script::{Expected, Item, Script, Step};
use support::server::{Server, wait_until};

const PROTOCOLS: [Protocol; 2] = [Protocol::Resp3, Protocol::Resp2];

/// Scripts that hold on one node only, and why.
const ONE_NODE: [(&str, &str); 7] = [
    ("hyperloglog::pfadd", "CONFIG SET reaches the node that is asked"),
    ("key::object", "CONFIG SET reaches the node that is asked"),
    ("server::cluster_slots", "it tells of a node that is alone"),
    ("server::info", "INFO tells of the node that is asked"),
    ("server::latency", "LATENCY tells of the node that is asked"),
    ("server::slowlog", "SLOWLOG tells of the node that is asked"),
    ("string::msetnx", "MSETNX over several nodes is refused"),
];

/// The server of this process, started by the first test that needs it; the lock lets scripts run one at a time.
type Shared = Arc<Mutex<Option<Server>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // All scripts of a process share one keyspace.
    arguments.test_threads = Some(1);
    let bless = std::env::var("RINGFORT_BLESS").is_ok_and(|value| value == "1");
    let server = Shared::default();
    let kind = std::env::var("RINGFORT_TEST_SERVER");
    let is_one_node = !matches!(kind.as_deref(), Ok("cluster" | "moving"));
    let holds = |name: &str| is_one_node || ONE_NODE.iter().all(|(except, _)| name != *except);
    let trials = scripts().into_iter().filter(|(name, _)| holds(name)).map(|(name, path)| {
        let server = Arc::clone(&server);
        Trial::test(name, move || Ok(with_server(&server, |server| check_or_bless(server, &path, bless))?))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let server = server.lock().unwrap_or_else(PoisonError::into_inner);
    match server.as_ref().and_then(Server::drained) {
        Some(0) => {
            eprintln!("no node has handed its shards over meanwhile: this run shows nothing");
            ExitCode::FAILURE
        }
        drained => {
            drained.inspect(|drained| {
                eprintln!("{drained} times a node has handed over all its shards meanwhile")
            });
            conclusion.exit_code()
        }
    }
}

/// All scripts as (`family::command`, path), in order.
fn scripts() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replies");
    let entries =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut scripts: Vec<_> = entries(&root)
        .flat_map(|family| entries(&family))
        .filter(|path| path.extension().is_some_and(|extension| extension == "reply"))
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap_or(&path).with_extension("");
            (name.to_string_lossy().replace('/', "::"), path)
        })
        .collect();
    scripts.sort();
    scripts
}

fn with_server(shared: &Shared, run: impl FnOnce(&mut Server) -> Result<(), String>) -> Result<(), String> {
    let mut slot = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let server = match &mut *slot {
        Some(server) => server,
        empty => empty.insert(Server::from_environment()?),
    };
    let result = run(server);
    let alive = server.check_alive();
    if alive.is_err() {
        *slot = None;
    }
    match (result, alive) {
        (result, Ok(())) => result,
        (Ok(()), Err(why)) => Err(why),
        (Err(error), Err(why)) => Err(format!("{error}\n{why}")),
    }
}

fn check_or_bless(server: &Server, path: &Path, bless: bool) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let script = Script::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let is_redis = server.is_redis();
    if bless {
        if !is_redis {
            return Err("only Redis may say what the replies are: RINGFORT_TEST_SERVER=redis".into());
        }
        let blessed = blessed(server, script)?.write();
        return fs::write(path, blessed).map_err(|error| error.to_string());
    }
    if script.write() != text {
        return Err(format!("{}: `make bless` would write it in another form", path.display()));
    }
    let mut failures = Vec::new();
    for protocol in PROTOCOLS {
        for (step, actual) in run(server, &script, protocol)? {
            let Some(expected) = &step.expected else {
                return Err(format!("{}:{}: no reply is written here", path.display(), step.line));
            };
            // The step may have been answered in another protocol than the script began with, after HELLO.
            let (wanted, got) =
                (sorted(step, expected.in_protocol(actual.protocol)), sorted(step, actual.reply));
            let is_asked = !(step.differs && is_redis);
            if is_asked && !wanted.allows(&got) {
                failures.push(format!(
                    "{}:{} in {protocol:?}\n{}\n  expected: {}\n  received: {}\n",
                    path.display(),
                    step.line,
                    step.command_line,
                    notation::write(&wanted),
                    notation::write(&got),
                ));
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(format!("\n{}", failures.join("\n"))) }
}

/// A reply as it came, and the protocol of its connection after it.
struct Answer {
    reply: Reply,
    protocol: Protocol,
}

/// Sends all commands of a script, on an empty keyspace, and returns the replies.
fn run<'a>(
    server: &Server,
    script: &'a Script,
    protocol: Protocol,
) -> Result<Vec<(&'a Step, Answer)>, String> {
    let failed = |error: std::io::Error| error.to_string();
    let flushed = server.connect(Protocol::Resp2).and_then(|mut connection| connection.call(&["FLUSHALL"]));
    if flushed.as_ref().map_err(ToString::to_string)? != &Reply::Simple(b"OK".to_vec()) {
        return Err(format!("FLUSHALL before the script: {flushed:?}"));
    }
    let mut connections: HashMap<&str, Connection> = HashMap::new();
    // Connections whose command waits, and whether what follows it has been run.
    let (mut waiting, mut is_told) = (HashSet::new(), true);
    let mut answers = Vec::new();
    for step in script.steps().filter(|step| step.only.is_none_or(|only| only == protocol)) {
        let connection = match connections.entry(&step.connection) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(new) => new.insert(server.connect(protocol).map_err(failed)?),
        };
        let at = |error: String| format!("line {}: {}: {error}", step.line, step.command_line);
        if step.later {
            connection.send(&step.args).map_err(failed).map_err(at)?;
            waiting.insert(step.connection.as_str());
            is_told = false;
            continue;
        }
        if step.reads {
            waiting.remove(step.connection.as_str());
        }
        // Which of several is served is told by an order that holds once all of them are where the key is.
        let tells_order = !is_told && !step.reads && !step.until;
        is_told |= tells_order;
        let rest =
            if tells_order && waiting.len() > 1 { server.rest(waiting.len()).map_err(at)? } else { None };
        let reply = if step.reads { connection.read() } else { connection.call(&step.args) };
        let mut reply = reply.map_err(failed).map_err(at)?;
        drop(rest);
        // What Redis does not do is not waited for.
        let waits = step.until && !(step.differs && server.is_redis());
        if let (true, Some(expected)) = (waits, &step.expected) {
            wait_until("the reply is the expected one", || {
                let reached = expected.in_protocol(connection.protocol).allows(&reply);
                if !reached {
                    reply = connection.call(&step.args).map_err(failed)?;
                }
                Ok(reached)
            })
            .map_err(at)?;
        }
        answers.push((step, Answer { reply, protocol: connection.protocol }));
        if step.closes {
            if !connection.is_closed_by_server() {
                return Err(at("the connection is still open".into()));
            }
            connections.remove(step.connection.as_str());
        }
    }
    Ok(answers)
}

fn sorted(step: &Step, mut reply: Reply) -> Reply {
    if let Some(unordered) = step.unordered {
        // A map arrives flat in RESP2: its pairs stay together.
        let is_flat_map = matches!(&step.expected, Some(Expected { reply: Reply::Map(_), .. }));
        let flat = matches!(reply, Reply::Array(_));
        let pairs = unordered.pairs || is_flat_map && flat && unordered.element.is_none();
        reply.sort(support::reply::Unordered { pairs, ..unordered });
    }
    reply
}

/// The script with the server's replies. A reply that was written with placeholders, or by hand, and still holds, stays.
fn blessed(server: &Server, script: Script) -> Result<Script, String> {
    let mut replies: HashMap<usize, HashMap<usize, Reply>> = HashMap::new();
    let mut holds: HashMap<usize, bool> = HashMap::new();
    for protocol in PROTOCOLS {
        for (step, answer) in run(server, &script, protocol)? {
            let matches = step.expected.as_ref().is_some_and(|expected| {
                sorted(step, expected.in_protocol(answer.protocol))
                    .allows(&sorted(step, answer.reply.clone()))
            });
            *holds.entry(step.line).or_insert(true) &= matches;
            // Which form it is depends on what the connection has agreed on meanwhile, not on how it began.
            let index = usize::from(answer.protocol == Protocol::Resp2);
            replies.entry(step.line).or_default().insert(index, answer.reply);
        }
    }
    let items = script.items.into_iter().map(|item| match item {
        Item::Step(mut step) => {
            let mut got = replies.remove(&step.line).unwrap_or_default();
            let keep = step.differs || holds.get(&step.line).copied().unwrap_or(true);
            if !keep || step.expected.is_none() {
                step.expected = expected_from(&step, got.remove(&0), got.remove(&1));
            }
            Item::Step(step)
        }
        text => text,
    });
    Ok(Script { items: items.collect() })
}

fn expected_from(step: &Step, resp3: Option<Reply>, resp2: Option<Reply>) -> Option<Expected> {
    let neutral = |reply: Reply| {
        if reply == Reply::NullBulk { Reply::Null } else { reply }
    };
    let sort = |reply: Reply, pairs: bool| {
        let mut reply = reply;
        if let Some(unordered) = step.unordered {
            let pairs = unordered.pairs || pairs && matches!(reply, Reply::Array(_));
            reply.sort(support::reply::Unordered { pairs, ..unordered });
        }
        reply
    };
    let is_map = matches!(resp3, Some(Reply::Map(_)));
    match (resp3.map(|reply| sort(reply, false)), resp2.map(|reply| sort(reply, is_map))) {
        (Some(resp3), Some(resp2)) => Some(match Reply::merged(&resp3, &resp2) {
            Some(reply) => Expected { reply, resp2: None },
            None => Expected { reply: resp3, resp2: Some(neutral(resp2)) },
        }),
        (Some(reply), None) | (None, Some(reply)) => Some(Expected { reply: neutral(reply), resp2: None }),
        (None, None) => None,
    }
}
