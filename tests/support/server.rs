//! Servers under test: started on free ports with a directory of their own, stopped when dropped.
//!
//! A node needs four ports at fixed distances. All candidates lie below the range from which the system hands out
//! ports to outgoing connections, and each has a guard port that stays bound for the server's life: whoever holds
//! the guard owns the candidate, so tests in other processes cannot pick the same one meanwhile.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::connection::Connection;
use super::mover::{Mover, Rest};
use super::reply::{Protocol, Reply};

/// Client ports are picked from here; with the largest distance still below Linux' 32768 and up.
const CLIENT_PORTS: std::ops::Range<u16> = 10_000..11_000;
/// From the client port to the cluster door, the admin door and the bus.
pub(crate) const CLUSTER_DOOR: u16 = 1_000;
const ADMIN_DOOR: u16 = 2_000;
const BUS: u16 = 10_000;
/// From the client port to the guard, which no server uses.
const GUARD: u16 = 3_000;

/// How long a node of a cluster may be silent.
const LEASE_MS: &str = "5000";

const POLL: Duration = Duration::from_millis(10);
/// Polls until a condition counts as never coming true: about a minute.
const POLLS: usize = 6_000;
/// How often a server is started anew on other ports, should a stranger take one of its ports first.
const STARTS: usize = 5;

/// What the tests of this run talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One node of this project.
    Ringfort,
    /// Three nodes; clients talk to one, which owns a third of the keys.
    Cluster,
    /// The oracle.
    Redis,
}

/// One or more running servers, and where clients connect.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Keeps the shards moving. It ends before the processes do, so it comes first.
    mover: Option<Mover>,
    /// Empty where the server was running already.
    processes: Vec<Process>,
}

impl Server {
    /// What the environment asks for: `RINGFORT_TEST_ADDR=host:port` names a running server, else
    /// `RINGFORT_TEST_SERVER` says what to start: `ringfort` (the default), `cluster`, `moving` (a cluster whose shards
    /// move from node to node all the time) or `redis`.
    pub(crate) fn from_environment() -> Result<Self, String> {
        if let Ok(address) = std::env::var("RINGFORT_TEST_ADDR") {
            let address =
                address.parse().map_err(|_| format!("RINGFORT_TEST_ADDR is not host:port: {address}"))?;
            return Ok(Self { address, processes: Vec::new(), mover: None });
        }
        match std::env::var("RINGFORT_TEST_SERVER").as_deref() {
            Err(_) | Ok("ringfort") => Self::start(Kind::Ringfort),
            Ok("cluster") => Self::start(Kind::Cluster),
            Ok("moving") => {
                let cluster = Self::start(Kind::Cluster)?;
                let mover = Mover::start(&cluster.addresses())?;
                Ok(Self { mover: Some(mover), ..cluster })
            }
            Ok("redis") => Self::start(Kind::Redis),
            Ok(other) => {
                Err(format!("RINGFORT_TEST_SERVER is ringfort, cluster, moving or redis, not {other}"))
            }
        }
    }

    /// Starts servers and waits until they serve; a cluster, until every shard has a replica.
    pub(crate) fn start(kind: Kind) -> Result<Self, String> {
        let mut processes = Vec::new();
        for _ in 0..if kind == Kind::Cluster { 3 } else { 1 } {
            let peers: Vec<String> =
                processes.iter().map(|process: &Process| process.address.to_string()).collect();
            // Only the founder can set it. A machine that is busy with other tests shall not cause a failover.
            let options: &[&str] = match kind {
                Kind::Cluster if peers.is_empty() => &["--lease-ms", LEASE_MS],
                _ => &[],
            };
            processes.push(Process::start_with(kind, &peers, options)?);
        }
        let address = processes[0].address;
        if kind == Kind::Cluster {
            wait_until("every shard has a replica", || Ok(is_replicated(address)))?;
        }
        Ok(Self { address, processes, mover: None })
    }

    /// Starts one node of this project at a place and does not wait for it: it may have to wait for its peers.
    pub(crate) fn begin(place: Place, peers: &[SocketAddr]) -> Result<Self, String> {
        let peers: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
        let process = Process::spawn(Kind::Ringfort, place, &peers, &[])?;
        Ok(Self { address: process.address, processes: vec![process], mover: None })
    }

    /// Where each node answers by HTTP.
    pub(crate) fn admin_doors(&self) -> Vec<SocketAddr> {
        let door = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + ADMIN_DOOR);
        self.processes.iter().map(|process| door(process.address)).collect()
    }

    /// What the first process has printed.
    pub(crate) fn log(&self) -> String {
        self.logs().swap_remove(0)
    }

    /// What each process has printed.
    pub(crate) fn logs(&self) -> Vec<String> {
        let log = |process: &Process| process.directory.path().join("log");
        let read = |process| std::fs::read_to_string(log(process)).unwrap_or_default();
        self.processes.iter().map(read).collect()
    }

    /// Whether no process runs any more.
    pub(crate) fn all_ended(&mut self) -> bool {
        self.processes.iter_mut().all(|process| matches!(process.child.try_wait(), Ok(Some(_))))
    }

    /// How the first process has ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.processes[0].child.try_wait().ok().flatten()
    }

    /// Sends a signal, by its name, to one of the processes.
    pub(crate) fn signal(&self, process: usize, signal: &str) {
        let pid = self.processes[process].child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{signal} {pid}");
    }

    /// Kills all nodes but the first.
    pub(crate) fn kill_others(&mut self) {
        self.processes.truncate(1);
    }

    /// Starts one node of this project with these options beside the usual ones.
    pub(crate) fn start_node(options: &[&str]) -> Result<Self, String> {
        let process = Process::start_with(Kind::Ringfort, &[], options)?;
        Ok(Self { address: process.address, processes: vec![process], mover: None })
    }

    /// Bytes of memory that the first process holds, as the system counts them.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.counted_bytes("VmRSS:")
    }

    /// The most that it has held.
    pub(crate) fn most_resident_bytes(&self) -> u64 {
        self.counted_bytes("VmHWM:")
    }

    fn counted_bytes(&self, what: &str) -> u64 {
        let pid = self.processes[0].child.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.expect("a process that runs tells its memory") << 10
    }

    /// Where clients connect to each of the servers that were started.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.processes.iter().map(|process| process.address).collect()
    }

    pub(crate) fn connect(&self, protocol: Protocol) -> std::io::Result<Connection> {
        Connection::open(self.address, protocol)
    }

    /// Whether the server is Redis, by what it says of itself.
    pub(crate) fn is_redis(&self) -> bool {
        let info =
            self.connect(Protocol::Resp2).and_then(|mut connection| connection.call(&["INFO", "server"]));
        matches!(info, Ok(Reply::Bulk(text)) if !String::from_utf8_lossy(&text).contains("ringfort_version"))
    }

    /// Fails if a server that this test started has ended, and says what it printed last.
    pub(crate) fn check_alive(&mut self) -> Result<(), String> {
        self.processes.iter_mut().try_for_each(Process::check_alive)?;
        self.mover.iter_mut().try_for_each(Mover::check)
    }

    /// Where shards move all the time: has them rest until what this returns is dropped, and waits until so many
    /// requests that wait for data have got to where their keys are.
    pub(crate) fn rest(&self, waiting: usize) -> Result<Option<Rest<'_>>, String> {
        let Some(mover) = &self.mover else { return Ok(None) };
        let rest = mover.rest();
        let mut doors = Vec::new();
        for address in self.addresses() {
            let door = Connection::open(address, Protocol::Resp2);
            doors.push(door.map_err(|error| error.to_string())?);
        }
        wait_until("those who wait have got to where their keys are", || {
            let mut figures = Vec::new();
            for door in &mut doors {
                let info = door.call(&["INFO", "ringfort"]).map_err(|error| error.to_string())?;
                let Reply::Bulk(text) = info else { return Err(format!("no INFO but {info:?}")) };
                let text = String::from_utf8_lossy(&text).into_owned();
                let figure = |name: &str| {
                    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                    line.and_then(|figure| figure.parse::<usize>().ok()).ok_or(format!("no {name} in INFO"))
                };
                figures.push((figure("topology_version")?, figure("requests_parked")?));
            }
            let agree = figures.windows(2).all(|pair| pair[0].0 == pair[1].0);
            Ok(agree && figures.iter().map(|(_, parked)| parked).sum::<usize>() >= waiting)
        })?;
        Ok(Some(rest))
    }

    /// How often a node has handed over all that it had, where shards move all the time.
    pub(crate) fn drained(&self) -> Option<usize> {
        self.mover.as_ref().map(Mover::drained)
    }
}

/// Whether each shard has all its copies, and another beside its primary.
fn is_replicated(address: SocketAddr) -> bool {
    let shards = Connection::open(address, Protocol::Resp2).and_then(|mut c| c.call(&["CLUSTER", "SHARDS"]));
    let is_online = |node: &Reply| matches!(node, Reply::Array(fields) if fields.last() == Some(&Reply::Bulk(b"online".to_vec())));
    // A group is `slots`, its ranges, `nodes`, and its nodes, each of which ends with its health.
    let has_copies = |group: &Reply| {
        matches!(group, Reply::Array(parts) if matches!(parts.last(), Some(Reply::Array(nodes))
            if nodes.len() >= 2 && nodes.iter().all(is_online)))
    };
    matches!(shards, Ok(Reply::Array(groups)) if !groups.is_empty() && groups.iter().all(has_copies))
}

/// One server process with its directory and its ports.
struct Process {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
    _guard: TcpListener,
}

impl Process {
    fn start_with(kind: Kind, peers: &[String], options: &[&str]) -> Result<Self, String> {
        let mut reason = String::new();
        for _ in 0..STARTS {
            let mut process = Self::spawn(kind, Place::free()?, peers, options)?;
            let address = process.address;
            match wait_until("the server answers", || process.check_alive().map(|()| answers(address))) {
                Ok(()) => return Ok(process),
                // It may have found one of its ports taken; one that lives and does not answer will not on others.
                Err(error) if process.check_alive().is_err() => reason = error,
                Err(error) => return Err(error),
            }
        }
        Err(reason)
    }

    fn spawn(kind: Kind, place: Place, peers: &[String], options: &[&str]) -> Result<Self, String> {
        let directory = TempDir::new().map_err(|error| error.to_string())?;
        let mut command = command(kind, place.address.port(), directory.path(), peers);
        command.args(options);
        let log = std::fs::File::create(directory.path().join("log")).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let child = child.map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
        Ok(Self { child, address: place.address, directory, _guard: place.guard })
    }

    fn check_alive(&mut self) -> Result<(), String> {
        let Ok(Some(status)) = self.child.try_wait() else {
            return Ok(());
        };
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Err(format!("the server ended with {status}; its log ends:\n{}", tail.join("\n")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed, not asked: the directory goes with it, so there is nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(kind: Kind, port: u16, directory: &Path, peers: &[String]) -> Command {
    if kind == Kind::Redis {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.args(["--enable-debug-command", "yes", "--dir"]).arg(directory);
        return command;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort"));
    command.args(["server", "--port", &port.to_string(), "--data-dir"]).arg(directory.join("data"));
    // For the script of DEBUG.
    command.args(["--enable-debug-command", "yes"]);
    if !peers.is_empty() {
        command.args(["--join", &peers.join(",")]);
    }
    command
}

fn answers(address: SocketAddr) -> bool {
    let reply =
        Connection::open(address, Protocol::Resp2).and_then(|mut connection| connection.call(&["PING"]));
    matches!(reply, Ok(Reply::Simple(text)) if text == b"PONG")
}

/// A client port all of whose companions are free, and the guard that keeps it ours.
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    guard: TcpListener,
}

impl Place {
    pub(crate) fn free() -> Result<Self, String> {
        let tcp = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let udp = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        // Processes start at different candidates, so that they seldom meet.
        let candidates = CLIENT_PORTS.len();
        let first = usize::try_from(std::process::id()).unwrap_or_default().wrapping_mul(7) % candidates;
        for port in CLIENT_PORTS.cycle().skip(first).take(candidates) {
            let Ok(guard) = tcp(port + GUARD) else { continue };
            let all_free = [port, port + CLUSTER_DOOR, port + ADMIN_DOOR, port + BUS]
                .into_iter()
                .all(|p| tcp(p).is_ok());
            if all_free && udp(port + BUS).is_ok() {
                return Ok(Self { address: (Ipv4Addr::LOCALHOST, port).into(), guard });
            }
        }
        Err(format!("no free ports in {CLIENT_PORTS:?}"))
    }
}

/// Polls `condition` until it holds. Gives up with its error, or when it has not come true for a minute.
pub(crate) fn wait_until(
    what: &str,
    mut condition: impl FnMut() -> Result<bool, String>,
) -> Result<(), String> {
    for _ in 0..POLLS {
        if condition()? {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
    Err(format!("waited in vain until {what}"))
}
