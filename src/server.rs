//! Start and stop of a node: who is started in what order, and what each is given.
//!
//! The order of the start: take the ports, open the data directory (a new incarnation, durable), join if the node is
//! new, open the council, found the cluster if there is none, serve the bus, ask to be taken back if the node is known,
//! wait for the topology, then start event loops and beats. The order of the stop: hand the shards over, run nothing
//! more and confirm what was run, tell the cluster, answer what clients and peers are owed, leave the council, end.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use ringfort_cluster::{
    Address, ClusterId, Member, NodeId, NodeInfo, Settings, Topology, Version,
    council::{Council, CouncilSettings, JoinError, LOG_BYTES, join},
    directory::Directory,
    fatal::Fatal,
    lease::{BootTime, agent::Agent, wire::Wire},
    refusals::Refusals,
};
use tokio::sync::{Notify, mpsc, watch};

use crate::{
    bus::Bus,
    clients::Door,
    config::{self, Config},
    control::{self, beats::Beats, transport::Calls},
    env::{Clock, SystemClock, random},
    log,
    memory::Memory,
    net::{self, Phase, listen},
    node::Node,
    ops::{self, Ops, Watched},
    replication,
    routing::Parking,
    stopping::Stop,
    store::Store,
    tasks,
};

/// The longest lease that may have been in force before a node started: what it keeps quiet for, beside the setting.
const QUIET: Duration = Duration::from_millis(200);

/// How long event loops may take to confirm what they ran, beyond which one of them hangs.
const RETIRE_LIMIT: Duration = Duration::from_millis(500);

/// Pause of a joining node before it tries the addresses that it was given again.
const JOIN_PAUSE: Duration = Duration::from_millis(100);

/// How often a joining node says why it could not join, as long as that is the same.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub bind: IpAddr,
    /// The host by which others reach it; the bind address unless set.
    pub announce_host: Option<String>,
    /// The port for any client.
    pub port: u16,
    /// The port for cluster-aware clients.
    pub cluster_port: u16,
    /// The port for metrics and health.
    pub admin_port: u16,
    /// The port for other nodes.
    pub bus_port: u16,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// `host:port` of nodes of the cluster to join: client ports or bus ports.
    pub join: Vec<String>,
    /// What all nodes of the cluster share; may be empty where all of them are on this machine.
    pub cluster_secret: String,
    /// Event loops.
    pub threads: usize,
    /// Failure domain.
    pub zone: String,
    /// Capacity relative to other nodes.
    pub weight: u32,
    /// Settings of the cluster, used when it is founded.
    pub cluster: Settings,
    /// Settings of the node.
    pub settings: config::Settings,
    /// The file that they were read from.
    pub config_file: Option<PathBuf>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or not allowed.
    #[error(
        "cannot listen on {address} for {what}: {source}; is another server running there? choose another --{option}"
    )]
    Port {
        /// Where.
        address: SocketAddr,
        /// What for.
        what: &'static str,
        /// The option that sets it.
        option: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The data directory, or the log in it.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The cluster does not take the node.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// It would tell others an address that leads nowhere.
    #[error(
        "{0} means every address of this machine, and so leads nobody here: say by --announce-host HOST how clients and \
         other nodes reach this one, or listen on this machine only with --bind 127.0.0.1"
    )]
    Announce(String),
    /// An address to join that is none.
    #[error("'{0}' is no address: --join takes HOST:PORT, or several with commas between")]
    Address(String),
    /// Other machines could reach the node, and nothing protects the bus.
    #[error(
        "refusing to let other machines reach the bus without a secret: give all nodes the same --cluster-secret, or \
         listen on this machine only with --bind 127.0.0.1"
    )]
    Unprotected,
    /// The founding was not agreed on.
    #[error("the cluster could not be founded: {0}")]
    Found(String),
    /// The system refused something else.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs a node until it is told to stop.
pub fn run(options: Options) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> Result<(), StartError> {
    let host = announced(&options);
    if host.parse().is_ok_and(|address: IpAddr| address.is_unspecified()) {
        return Err(StartError::Announce(host));
    }
    let listeners = Listeners::open(&options)?;
    if options.cluster_secret.is_empty() && !options.bind.is_loopback() {
        return Err(StartError::Unprotected);
    }
    let directory = Arc::new(Directory::open(&options.data_dir, NodeId(random::bytes()))?);
    let refusals = Arc::new(Refusals::open(&directory)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let started = clock.boot();
    let ops = Arc::new(Ops::new(Arc::clone(&clock), started));
    tasks::control(
        "admin",
        ops::http::serve(Arc::clone(&ops), tokio::net::TcpListener::from_std(listeners.admin)?),
    );
    let info = info(&options, &directory);
    let bus = Arc::new(Bus::new(info.id, &options.cluster_secret));
    let calls = Calls::new(Arc::clone(&bus));
    let addresses = addresses(&options.join)?;
    let comes_back = directory.cluster();
    let council = enter(&options, &addresses, &directory, &info, &calls, &*clock).await?;

    let (to_loops, peers): (Vec<_>, Vec<_>) = (0..options.threads).map(|_| mpsc::unbounded_channel()).unzip();
    let (to_replication, primaries) = mpsc::unbounded_channel();
    // The council needs this node's answers before the node has a topology, and so before it has shards.
    let shards = Arc::new(OnceLock::new());
    let served = control::bus::Served {
        node: Arc::clone(&shards),
        bus: Arc::clone(&bus),
        council: Arc::clone(&council),
        to_loops,
        to_replication,
    };
    tasks::control("bus", control::bus::serve(served, tokio::net::TcpListener::from_std(listeners.bus)?));
    // Only now, since all nodes of the cluster may be coming back, and need each other's answers.
    if comes_back.is_some() {
        match join(&calls, &addresses, comes_back, &info).await {
            // It finds the cluster by its own log, too.
            Ok(_) | Err(JoinError::Nobody(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let topology = wait_for_topology(&council, info.id).await;

    let store = Store::new(topology.settings.shards, topology.settings.hash_seed);
    let settings = settings(&options, &topology.settings);
    let node = Arc::new(Node {
        id: info.id,
        incarnation: info.incarnation.0.into(),
        clock,
        started,
        memory: Memory::new(),
        store,
        topology: Arc::new(ArcSwap::from_pointee(Topology::unfounded())),
        lease: Default::default(),
        config: Config::new(settings).with_file(options.config_file.clone()),
        clients: Default::default(),
        stats: Default::default(),
        tallies: Default::default(),
        commandlog: Default::default(),
        latency: Default::default(),
        expires_by_itself: true.into(),
        stopping: Default::default(),
        sinks: Default::default(),
        parked: Default::default(),
        acks: Default::default(),
        acked: Default::default(),
    });
    // The event loops lay their routes by a topology that they must have from the start.
    node.topology.store(Arc::clone(&topology));
    replication::roles::adopt(&node, &topology);

    let beats = Arc::new(Beats::new(&listeners.beats, options.threads)?);
    let (to_control, from_beats) = mpsc::unbounded_channel();
    start_beats(&node, &beats, &topology, &bus, &refusals, listeners.beats, to_control)?;

    ops.watch(Watched { node: Arc::clone(&node), council: Arc::clone(&council), beats: Arc::clone(&beats) });

    let (tell, told) = watch::channel(Version(0));
    let (ask, from_replication) = mpsc::unbounded_channel();
    let (to_commands, commands) = mpsc::unbounded_channel();
    // It cannot have been set before.
    let _ = shards.set(Arc::clone(&node));
    let control = control::start(control::Start {
        node: Arc::clone(&node),
        directory: Arc::clone(&directory),
        refusals,
        info,
        calls,
        council: Arc::clone(&council),
        beats: Arc::clone(&beats),
        from_beats,
        tell,
        from_replication,
        commands,
    });
    let admitted = Arc::clone(&control);
    tasks::control("admission", async move { admitted.be_admitted().await });

    let (phase, phases) = watch::channel(Phase::Serving);
    let (retired, mut all_retired) = mpsc::unbounded_channel();
    let parking = Arc::new(Parking::new(options.threads));
    let (running, mut all_ended) = mpsc::channel::<()>(1);
    let grown = Arc::new(Notify::new());
    let mut primaries = Some(primaries);
    for (index, (peers, listeners)) in peers.into_iter().zip(listeners.clients).enumerate() {
        let beside = primaries.take().map(|primaries| replication::Start {
            node: Arc::clone(&node),
            bus: Arc::clone(&bus),
            topology: told.clone(),
            grown: Arc::clone(&grown),
            primaries,
            ask: ask.clone(),
        });
        let start = net::Start {
            node: Arc::clone(&node),
            listeners,
            bus: Arc::clone(&bus),
            topology: told.clone(),
            peers,
            replication: Arc::clone(&grown),
            control: to_commands.clone(),
            beats: Arc::clone(&beats),
            index,
            loops: options.threads,
            beside,
            phase: phases.clone(),
            retired: retired.clone(),
            parking: Arc::clone(&parking),
            seed: u64::from_le_bytes(random::bytes()),
        };
        let running = running.clone();
        tasks::thread(&format!("loop-{index}"), move || {
            // Dropped when the loop has ended.
            let _running = running;
            net::run(start)
        })?;
    }
    drop(running);
    tracing::info!(port = options.port, cluster = %topology.cluster, node = %node.id, "ready");
    tasks::control("signals", ask_at_signals(Arc::clone(&node))?);
    tokio::select! {
        () = control.serve_until_stopped() => {
            node.lease.retire();
            phase.send_replace(Phase::Retired);
            let every_loop = async {
                for _ in 0..options.threads {
                    // A sender is left: this function's own.
                    let _ = all_retired.recv().await;
                }
            };
            if tokio::time::timeout(RETIRE_LIMIT, every_loop).await.is_err() {
                tracing::warn!("an event loop hangs");
            }
            control.leave().await;
        }
        () = control.removed() => {}
    }
    phase.send_replace(Phase::Ending);
    // None when every loop has ended; one that hangs is left behind.
    let _ = tokio::time::timeout(net::WIND_DOWN_LIMIT * 2, all_ended.recv()).await;
    log::silence_council();
    if let Err(error) = council.shutdown().await {
        tracing::warn!(%error, "the council was not left in order");
    }
    Ok(())
}

/// Asks the node to stop whenever the process gets SIGTERM or SIGINT.
fn ask_at_signals(node: Arc<Node>) -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            node.stopping.ask(Stop::Gracefully);
        }
    })
}

/// The sockets of a node, all taken before anything else is done.
struct Listeners {
    clients: Vec<Vec<(Door, TcpListener)>>,
    admin: TcpListener,
    bus: TcpListener,
    beats: UdpSocket,
}

impl Listeners {
    fn open(options: &Options) -> Result<Self, StartError> {
        let at = |port| SocketAddr::new(options.bind, port);
        let failed =
            |port, what, option| move |source| StartError::Port { address: at(port), what, option, source };
        let doors = [
            (Door::Client, options.port, "clients", "port"),
            (Door::Cluster, options.cluster_port, "cluster-aware clients", "cluster-port"),
        ];
        for (_, port, what, option) in doors {
            listen::check_free(at(port)).map_err(failed(port, what, option))?;
        }
        let mut clients = Vec::new();
        for _ in 0..options.threads {
            let mut of_loop = Vec::new();
            for (door, port, what, option) in doors {
                of_loop.push((door, listen::listen(at(port)).map_err(failed(port, what, option))?));
            }
            clients.push(of_loop);
        }
        let port = options.admin_port;
        listen::check_free(at(port)).map_err(failed(port, "metrics and health", "admin-port"))?;
        let admin = listen::listen(at(port)).map_err(failed(port, "metrics and health", "admin-port"))?;
        let port = options.bus_port;
        listen::check_free(at(port)).map_err(failed(port, "other nodes", "bus-port"))?;
        let bus = listen::listen(at(port)).map_err(failed(port, "other nodes", "bus-port"))?;
        let beats = UdpSocket::bind(at(port)).map_err(failed(port, "beats of other nodes", "bus-port"))?;
        Ok(Self { clients, admin, bus, beats })
    }
}

/// The settings in force: those that were given, and what became of them where nothing was, or where the cluster has
/// settled the matter.
fn settings(options: &Options, cluster: &Settings) -> config::Settings {
    let mut settings = config::Settings {
        bind: options.bind.to_string(),
        cluster_port: options.cluster_port,
        admin_port: options.admin_port,
        bus_port: options.bus_port,
        threads: options.threads,
        shards: cluster.shards,
        replicas: cluster.replicas,
        lease_ms: cluster.lease_ms,
        ..options.settings.clone()
    };
    Arc::make_mut(&mut settings.limits).hash_seed = cluster.hash_seed;
    settings
}

/// The host by which others reach the node.
fn announced(options: &Options) -> String {
    options.announce_host.clone().unwrap_or_else(|| options.bind.to_string())
}

fn info(options: &Options, directory: &Directory) -> NodeInfo {
    NodeInfo {
        id: directory.node(),
        incarnation: directory.incarnation(),
        address: Address {
            host: announced(options),
            client_port: options.port,
            cluster_port: options.cluster_port,
            admin_port: options.admin_port,
            bus_port: options.bus_port,
        },
        zone: options.zone.clone(),
        weight: options.weight,
    }
}

/// Opens the council: of the cluster that the directory belongs to, of the one to join, or of a new one.
async fn enter(
    options: &Options,
    addresses: &[Address],
    directory: &Directory,
    info: &NodeInfo,
    calls: &Calls,
    clock: &dyn Clock,
) -> Result<Arc<Council>, StartError> {
    let is_new = directory.cluster().is_none();
    let founds = is_new && addresses.is_empty();
    if founds {
        directory.enter_cluster(ClusterId(random::bytes()), None)?;
    } else if is_new {
        let mut said = Said::default();
        let joined = loop {
            match join(calls, addresses, None, info).await {
                Ok(joined) => break joined.cluster,
                Err(JoinError::Nobody(tried)) => {
                    let why = tried.join("; ");
                    if said.is_due(&why, clock.boot()) {
                        tracing::warn!("no node of the cluster could help yet: {why}");
                    }
                    tokio::time::sleep(JOIN_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        directory.enter_cluster(joined, None)?;
    }
    let spawn = |name: &'static str, body: Box<dyn FnOnce() + Send>| {
        tasks::thread(name, move || {
            body();
            Ok(())
        })
    };
    let settings = CouncilSettings { log_bytes: LOG_BYTES, spawn };
    let council = Arc::new(Council::open(directory, Arc::new(calls.clone()), settings).await?);
    if founds {
        let settings = Settings { hash_seed: u64::from_le_bytes(random::bytes()), ..options.cluster.clone() };
        council.found(settings, info.clone()).await.map_err(|error| StartError::Found(error.to_string()))?;
    }
    Ok(council)
}

/// What was said last of something that is tried again and again, and when.
#[derive(Default)]
struct Said(Option<(String, u64)>);

impl Said {
    /// Whether this is to be said: it is news, or was said long ago.
    fn is_due(&mut self, text: &str, now: u64) -> bool {
        let again = |at: u64| Duration::from_nanos(now.saturating_sub(at)) >= SAY_AGAIN;
        if self.0.as_ref().is_some_and(|(said, at)| said == text && !again(*at)) {
            return false;
        }
        self.0 = Some((text.to_owned(), now));
        true
    }
}

/// Each address may be a client port, whose bus is 10,000 above unless set otherwise, or a bus port.
fn addresses(join: &[String]) -> Result<Vec<Address>, StartError> {
    let mut addresses = Vec::new();
    for text in join {
        let bad = || StartError::Address(text.clone());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        for bus_port in [port.checked_add(10_000), Some(port)].into_iter().flatten() {
            addresses.push(Address {
                host: host.into(),
                client_port: port,
                cluster_port: 0,
                admin_port: 0,
                bus_port,
            });
        }
    }
    Ok(addresses)
}

/// Waits until the cluster knows this node.
async fn wait_for_topology(council: &Council, me: NodeId) -> Arc<Topology> {
    let mut changes = council.changes();
    loop {
        let topology = council.topology().load_full();
        if topology.nodes.contains_key(&me) || changes.changed().await.is_err() {
            return topology;
        }
    }
}

fn start_beats(
    node: &Arc<Node>,
    beats: &Arc<Beats>,
    topology: &Arc<Topology>,
    bus: &Bus,
    refusals: &Refusals,
    socket: UdpSocket,
    out: mpsc::UnboundedSender<control::beats::Out>,
) -> io::Result<()> {
    let quiet = QUIET.max(topology.settings.lease());
    let me = Member { node: node.id, ..node.member() };
    let wire = Wire::new(topology.cluster, bus.secret());
    let agent = Agent::new(BootTime(node.clock.boot()), me, wire, quiet, refusals.all());
    let (node, beats) = (Arc::clone(node), Arc::clone(beats));
    tasks::thread("beats", move || {
        let priority = control::beats::raise_priority();
        tracing::info!(priority, "beats have a thread of their own");
        control::beats::run(&node, &beats, agent, &socket, &out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_said_when_it_begins_when_it_changes_and_now_and_then() {
        let mut said = Said::default();
        let seconds = [(0, "down"), (1, "down"), (2, "no leader"), (3, "down"), (12, "down"), (13, "down")];
        let due = seconds.map(|(second, why)| said.is_due(why, second * 1_000_000_000));
        assert_eq!(due, [true, false, true, true, false, true]);
    }
}
