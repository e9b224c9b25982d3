//! `ringfort server`: options from the command line, the environment and a Redis-style file, in this order of weight.
//!
//! Each option is a directive of the [table](crate::config::directives), under the same name and with the same values
//! wherever it is given, so the table alone knows what a value means and what is wrong with it.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use crate::{
    config::{
        Refused, Settings,
        file::{self, Line},
    },
    env::files,
    log,
    server::{self, Options},
};

const NETWORK: &str = "Network";
const CLUSTER: &str = "Cluster";
const FOUNDING: &str = "Founding a cluster (ignored when joining one)";
const NODE: &str = "Node";

/// Declares the options, each by the name of its directive, and how to list those that were given.
macro_rules! options {
    ($($(#[doc = $doc:literal])* [$heading:expr] $directive:literal $field:ident $variable:literal $($attribute:ident)?;)*) => {
        /// Options of a node.
        #[derive(Debug, Default, clap::Args)]
        pub(super) struct Args {
            /// File with directives, a line each, as in redis.conf; options weigh more than what it says
            #[arg(long, value_name = "FILE", env = "RINGFORT_CONFIG", help_heading = NODE)]
            config: Option<PathBuf>,
            $(
                $(#[doc = $doc])*
                #[arg(long = $directive, env = $variable, hide_env_values = is_secret($directive),
                    help_heading = $heading $(, $attribute)?)]
                $field: Option<String>,
            )*
        }

        impl Args {
            /// What was given: name, variable of the environment, value.
            fn given(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
                let all = [$(($directive, $variable, self.$field.as_deref())),*];
                all.into_iter().filter_map(|(name, variable, value)| Some((name, variable, value?)))
            }
        }
    };
}

options! {
    /// Port for any Redis client [default: 6379]
    [NETWORK] "port" port "RINGFORT_PORT" short;
    /// Port for cluster-aware clients [default: port + 1000]
    [NETWORK] "cluster-port" cluster_port "RINGFORT_CLUSTER_PORT";
    /// Port for metrics and health by HTTP [default: port + 2000]
    [NETWORK] "admin-port" admin_port "RINGFORT_ADMIN_PORT";
    /// Port for other nodes [default: port + 10000]
    [NETWORK] "bus-port" bus_port "RINGFORT_BUS_PORT";
    /// Address to listen on [default: 127.0.0.1]
    [NETWORK] "bind" bind "RINGFORT_BIND";
    /// Host by which clients and other nodes reach this one [default: the address it listens on]
    [NETWORK] "announce-host" announce_host "RINGFORT_ANNOUNCE_HOST";
    /// Password that clients must give
    [NETWORK] "requirepass" requirepass "RINGFORT_REQUIREPASS";
    /// Who may use DEBUG: no, yes, or local for clients of this machine [default: no]
    [NETWORK] "enable-debug-command" enable_debug_command "RINGFORT_ENABLE_DEBUG_COMMAND";

    /// Nodes of the cluster to join: HOST:PORT, several with commas between
    [CLUSTER] "join" join "RINGFORT_JOIN";
    /// Secret that all nodes share; needed where other machines can reach the bus
    [CLUSTER] "cluster-secret" cluster_secret "RINGFORT_CLUSTER_SECRET";
    /// Failure domain: copies of a shard are kept in different ones
    [CLUSTER] "zone" zone "RINGFORT_ZONE";
    /// Capacity relative to other nodes; 0 holds no data and only votes [default: 1]
    [CLUSTER] "weight" weight "RINGFORT_WEIGHT";

    /// Number of shards: a power of two, for the life of the cluster [default: 256]
    [FOUNDING] "shards" shards "RINGFORT_SHARDS";
    /// Copies of each shard beside its primary [default: 1]
    [FOUNDING] "replicas" replicas "RINGFORT_REPLICAS";
    /// How long a node may be silent before others take its shards over, in milliseconds [default: 200]
    [FOUNDING] "lease-ms" lease_ms "RINGFORT_LEASE_MS";

    /// Data directory [default: ringfort-data]
    [NODE] "data-dir" data_dir "RINGFORT_DATA_DIR";
    /// Event loops [default: one for each core but one, which is left to the cluster's own work]
    [NODE] "threads" threads "RINGFORT_THREADS";
    /// Memory for data, as in 512mb or 4gb; 0 sets no limit [default: 0]
    [NODE] "maxmemory" maxmemory "RINGFORT_MAXMEMORY";
    /// What is given up when memory is short, as in allkeys-lru or volatile-ttl [default: noeviction]
    [NODE] "maxmemory-policy" maxmemory_policy "RINGFORT_MAXMEMORY_POLICY";
    /// How much is logged: debug, verbose, notice or warning [default: notice]
    [NODE] "loglevel" loglevel "RINGFORT_LOGLEVEL";
    /// The same per module: error, warn, info, debug, trace, or as in info,ringfort::net=debug
    [NODE] "log" log "RINGFORT_LOG";
    /// How it is logged: text or json [default: text]
    [NODE] "log-format" log_format "RINGFORT_LOG_FORMAT";
}

/// Whether `--help` must not show what the environment says.
fn is_secret(directive: &str) -> bool {
    matches!(directive, "requirepass" | "cluster-secret")
}

/// Starts a node and runs it until it is told to stop.
pub(super) fn run(args: &Args) -> Result<(), String> {
    let mut settings = Settings::default();
    let passed_over = match &args.config {
        Some(path) => read(path, &mut settings)?,
        None => Vec::new(),
    };
    set(args, &mut settings)?;
    let filter = if settings.log.is_empty() { settings.loglevel.filter() } else { &settings.log };
    log::init(filter, settings.log_format).map_err(|error| error.to_string())?;
    if let Some(path) = &args.config
        && !passed_over.is_empty()
    {
        let lines: Vec<_> =
            passed_over.iter().map(|Line { line, name, .. }| format!("{name} ({line})")).collect();
        let (file, lines) = (path.display(), lines.join(", "));
        tracing::warn!(%file, lines, "directives of Redis that mean nothing here were passed over");
    }
    let file =
        args.config.as_deref().map(std::path::absolute).transpose().map_err(|error| error.to_string())?;
    server::run(options(settings, file)?).map_err(|error| error.to_string())
}

/// Sets what a file says. Returns what means nothing here.
fn read(path: &Path, settings: &mut Settings) -> Result<Vec<Line>, String> {
    let path_name = path.display();
    let text =
        files::read(path).map_err(|error| format!("cannot read the configuration {path_name}: {error}"))?;
    file::apply(&text, settings).map_err(|error| format!("{path_name}, {error}"))
}

/// Sets what the command line and the environment say.
fn set(args: &Args, settings: &mut Settings) -> Result<(), String> {
    for (name, variable, value) in args.given() {
        settings.set_at_start(name, value).map_err(|refused| {
            let why = match refused {
                Refused::Bad { why, .. } => why,
                Refused::Unknown(_) => "there is no such directive".into(),
            };
            format!("--{name} {value} (or {variable}): {why}")
        })?;
    }
    Ok(())
}

/// What the node is started with, by its settings and the file that they are from.
fn options(settings: Settings, config_file: Option<PathBuf>) -> Result<Options, String> {
    let above = |given: u16, by: u16, directive: &str| match given {
        0 => settings.port.checked_add(by).ok_or_else(|| {
            format!("port {} leaves no room for the port {by} above it; set --{directive}", settings.port)
        }),
        port => Ok(port),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if settings.threads == 0 { cores - 1 } else { settings.threads };
    Ok(Options {
        bind: bind(&settings.bind)?,
        announce_host: Some(settings.announce_host.clone()).filter(|host| !host.is_empty()),
        port: settings.port,
        cluster_port: above(settings.cluster_port, 1_000, "cluster-port")?,
        admin_port: above(settings.admin_port, 2_000, "admin-port")?,
        bus_port: above(settings.bus_port, 10_000, "bus-port")?,
        data_dir: settings.data_dir.clone().into(),
        join: settings.join.split([' ', ',']).filter(|host| !host.is_empty()).map(str::to_owned).collect(),
        cluster_secret: settings.cluster_secret.clone(),
        threads: threads.max(1),
        zone: settings.zone.clone(),
        weight: settings.weight,
        cluster: ringfort_cluster::Settings {
            shards: settings.shards,
            replicas: settings.replicas,
            lease_ms: settings.lease_ms,
            ..Default::default()
        },
        config_file,
        settings,
    })
}

/// The address to listen on. As in `redis.conf`, `*` stands for all, and an address behind `-` may be missing: it is left
/// out, since one address is all that a node listens on.
fn bind(text: &str) -> Result<IpAddr, String> {
    let wanted: Vec<&str> =
        text.split(' ').filter(|address| !address.is_empty() && !address.starts_with('-')).collect();
    match wanted.as_slice() {
        ["*"] => Ok(Ipv4Addr::UNSPECIFIED.into()),
        [one] => {
            one.parse().map_err(|_| format!("bind {text}: '{one}' is no address, such as 127.0.0.1 or ::1"))
        }
        _ => Err(format!("bind {text}: give one address; 0.0.0.0 or :: listens on all")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::*;
    use crate::config::find;

    fn settings(text: &str, args: &Args) -> Settings {
        let mut settings = Settings::default();
        file::apply(text, &mut settings).unwrap();
        set(args, &mut settings).unwrap();
        settings
    }

    #[test]
    fn each_option_is_a_directive_and_tells_its_default() {
        let command = Args::augment_args(Command::new("server"));
        for option in command.get_arguments().filter(|option| option.get_id() != "config") {
            let name = option.get_long().unwrap();
            let directive = find(name).unwrap_or_else(|| panic!("{name} is no directive"));
            let help = option.get_help().unwrap().to_string();
            if let Some((_, told)) = help.split_once("[default: ")
                && !told.contains(' ')
            {
                assert_eq!(told.trim_end_matches(']'), directive.default(), "{name}");
            }
        }
    }

    #[test]
    fn help_shows_no_secret_of_the_environment() {
        let command = Args::augment_args(Command::new("server"));
        let hidden: Vec<_> =
            command.get_arguments().filter(|option| option.is_hide_env_values_set()).collect();
        let names: Vec<_> = hidden.iter().filter_map(|option| option.get_long()).collect();
        assert_eq!(names, ["requirepass", "cluster-secret"]);
    }

    #[test]
    fn what_was_given_weighs_more_than_the_file() {
        let args = Args { port: Some("7001".into()), loglevel: Some("debug".into()), ..Args::default() };
        let settings = settings("port 7000\nzone b\nlog info\nmaxmemory 1gb\n", &args);
        assert_eq!((settings.port, settings.zone.as_str(), settings.maxmemory), (7001, "b", 1 << 30));
        assert_eq!((settings.loglevel, settings.log.as_str()), (log::Level::Debug, ""));
    }

    #[test]
    fn a_bad_option_is_told_with_its_names() {
        let args = Args { shards: Some("100".into()), ..Args::default() };
        assert_eq!(
            set(&args, &mut Settings::default()).unwrap_err(),
            "--shards 100 (or RINGFORT_SHARDS): argument must be a power of two"
        );
    }

    #[test]
    fn ports_that_are_not_set_lie_above_the_client_port() {
        let started =
            options(settings("port 7000\nbus-port 8\njoin a:1,b:2 c:3", &Args::default()), None).unwrap();
        assert_eq!((started.cluster_port, started.admin_port, started.bus_port), (8000, 9000, 8));
        assert_eq!(started.join, ["a:1", "b:2", "c:3"]);
        let error = options(settings("port 60000", &Args::default()), None).unwrap_err();
        assert_eq!(error, "port 60000 leaves no room for the port 10000 above it; set --bus-port");
    }

    #[test]
    fn addresses_are_written_as_in_redis() {
        assert_eq!(bind("127.0.0.1 -::1"), Ok(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(bind("* -::*"), Ok(IpAddr::from([0, 0, 0, 0])));
        assert!(bind("127.0.0.1 10.0.0.1").unwrap_err().contains("give one address"));
        assert!(bind("localhost").unwrap_err().contains("'localhost' is no address"));
    }
}
