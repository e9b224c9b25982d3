//! Settings of a node: typed, named as Redis names them, changed as a whole.
//!
//! [`Settings`] is what the rest of the server reads. [`directives`] is the one table that ties each field to its name
//! in `CONFIG GET`, `CONFIG SET` and the [configuration file](mod@file): how it is read, printed, and whether it can be
//! changed while the node runs. Whoever adds a setting adds a field here and a line there.
//!
//! The settings in force are one immutable value. A change builds the next one, and only if all of it is sound does it
//! take the place of the old one, so nobody ever sees half a change.

pub mod directives;
pub mod file;
mod limits;
pub mod redis;
mod value;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use arc_swap::ArcSwap;

pub use self::{
    directives::{Directive, find, matching},
    limits::Limits,
    value::{Allowed, bytes, percentile},
};
use crate::{
    commandlog::Kind,
    env::files,
    lock::lock,
    log::{Format, Level},
    store::Policy,
};

/// The settings in force, replaced as a whole when one is changed.
#[derive(Debug, Default)]
pub struct Config {
    settings: ArcSwap<Settings>,
    /// Makes changes one after the other, so that none is lost.
    changing: Mutex<()>,
    /// The file that the node was started with.
    file: Option<PathBuf>,
}

/// Every setting of a node. Those that say "at start" are read once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The password of the default user; empty: none is needed.
    pub requirepass: String,
    /// Without a password, only clients of this machine are served.
    pub protected_mode: bool,
    /// Connections of clients that may be open.
    pub maxclients: usize,
    /// Seconds after which a silent client is closed; 0: never.
    pub timeout: u32,
    /// Seconds between the probes of a silent connection; 0: none.
    pub tcp_keepalive: u32,
    /// Who may use DEBUG, at start.
    pub enable_debug_command: Allowed,
    /// Bytes of memory that may be used; 0: no limit.
    pub maxmemory: u64,
    /// What happens at the limit.
    pub policy: Policy,
    /// Keys that are looked at to find one to give up.
    pub maxmemory_samples: u32,
    /// Redis' `lfu-log-factor`.
    pub lfu_log_factor: u8,
    /// Redis' `lfu-decay-time`, in minutes.
    pub lfu_decay_time: u8,
    /// Bytes that the logs of all shards may keep together: Redis' `repl-backlog-size`.
    pub log_budget: usize,
    /// Microseconds from which on a command is slow; negative: none is, 0: all are.
    pub commandlog_execution_slower_than: i64,
    /// Slow commands that are remembered.
    pub commandlog_slow_execution_max_len: usize,
    /// Bytes from which on a command is large; negative: none is, 0: all are.
    pub commandlog_request_larger_than: i64,
    /// Large commands that are remembered.
    pub commandlog_large_request_max_len: usize,
    /// Bytes from which on a reply is large; negative: none is, 0: all are.
    pub commandlog_reply_larger_than: i64,
    /// Commands with large replies that are remembered.
    pub commandlog_large_reply_max_len: usize,
    /// Milliseconds from which on LATENCY tells of what held an event loop up; 0: of nothing.
    pub latency_monitor_threshold: u64,
    /// Whether it is counted how long each command takes. It costs an exact look at the clock for each.
    pub latency_tracking: bool,
    /// Which percentiles of that INFO tells.
    pub latency_tracking_info_percentiles: Vec<f64>,
    /// What a client may send.
    pub protocol: ringfort_protocol::Limits,
    /// Thresholds and sizes of values.
    pub limits: Arc<Limits>,
    /// How much is logged.
    pub loglevel: Level,
    /// What is logged in each module, instead of what `loglevel` says; empty: nothing but that.
    pub log: String,
    /// How it is logged, at start.
    pub log_format: Format,
    /// The address to listen on, at start.
    pub bind: String,
    /// The port for any client, at start.
    pub port: u16,
    /// The port for cluster-aware clients, at start; 0: the client port and 1,000.
    pub cluster_port: u16,
    /// The port for metrics and health, at start; 0: the client port and 2,000.
    pub admin_port: u16,
    /// The port for other nodes, at start; 0: the client port and 10,000.
    pub bus_port: u16,
    /// The host by which others reach the node, at start; empty: the address to listen on.
    pub announce_host: String,
    /// The data directory, at start.
    pub data_dir: String,
    /// Event loops, at start; 0: one for each core but one.
    pub threads: usize,
    /// Nodes of the cluster to join with spaces between, at start.
    pub join: String,
    /// What all nodes of the cluster share, at start.
    pub cluster_secret: String,
    /// Failure domain, at start.
    pub zone: String,
    /// Capacity relative to other nodes, at start.
    pub weight: u32,
    /// Number of shards, at the founding of the cluster.
    pub shards: u16,
    /// Copies of each shard beside its primary, at the founding of the cluster.
    pub replicas: u8,
    /// How long a node may be silent before it is replaced, in milliseconds, at the founding of the cluster.
    pub lease_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let cluster = ringfort_cluster::Settings::default();
        Self {
            requirepass: String::new(),
            protected_mode: true,
            maxclients: 10_000,
            timeout: 0,
            tcp_keepalive: 300,
            enable_debug_command: Allowed::No,
            maxmemory: 0,
            policy: Policy::NoEviction,
            maxmemory_samples: 5,
            lfu_log_factor: 10,
            lfu_decay_time: 1,
            log_budget: 64 << 20,
            commandlog_execution_slower_than: 10_000,
            commandlog_slow_execution_max_len: 128,
            commandlog_request_larger_than: 1 << 20,
            commandlog_large_request_max_len: 128,
            commandlog_reply_larger_than: 1 << 20,
            commandlog_large_reply_max_len: 128,
            latency_monitor_threshold: 0,
            latency_tracking: false,
            latency_tracking_info_percentiles: vec![50.0, 99.0, 99.9],
            protocol: ringfort_protocol::Limits::default(),
            limits: Arc::default(),
            loglevel: Level::Notice,
            log: String::new(),
            log_format: Format::Text,
            bind: "127.0.0.1".into(),
            port: 6379,
            cluster_port: 0,
            admin_port: 0,
            bus_port: 0,
            announce_host: String::new(),
            data_dir: "ringfort-data".into(),
            threads: 0,
            join: String::new(),
            cluster_secret: String::new(),
            zone: String::new(),
            weight: 1,
            shards: cluster.shards,
            replicas: cluster.replicas,
            lease_ms: cluster.lease_ms,
        }
    }
}

/// Why settings were not changed. `Display` is what `CONFIG SET` answers behind `ERR `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such directive.
    #[error("Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// A directive cannot have this value, or not now.
    #[error("CONFIG SET failed (possibly related to argument '{name}') - {why}")]
    Bad {
        /// The directive.
        name: String,
        /// What is wrong.
        why: String,
    },
}

impl Refused {
    fn bad(name: &str, why: &str) -> Self {
        Self::Bad { name: name.into(), why: why.into() }
    }
}

impl Config {
    /// Begins with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings: ArcSwap::from_pointee(settings), ..Self::default() }
    }

    /// Remembers the file that the settings were read from: `CONFIG REWRITE` writes there.
    #[must_use]
    pub fn with_file(self, file: Option<PathBuf>) -> Self {
        Self { file, ..self }
    }

    /// The file that the node was started with.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The settings in force.
    pub fn load(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Puts changed settings in force.
    pub fn store(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Writes the settings in force into the file that the node was started with. Waits for the disk.
    pub fn rewrite(&self) -> io::Result<()> {
        let file = self.file().ok_or(io::ErrorKind::NotFound)?;
        let text = match files::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        files::replace(file, &file::rewritten(&text, &self.load()))
    }

    /// Changes several directives while the node runs: all of them, or none.
    pub fn change(&self, pairs: &[(&str, &str)]) -> Result<(), Refused> {
        let _one_at_a_time = lock(&self.changing);
        let changed = self.load().changed(pairs)?;
        self.store(changed);
        Ok(())
    }
}

impl Settings {
    /// Whether a command of this measure, in the unit of `kind`, belongs into the command log.
    #[inline]
    pub fn stands_out(&self, kind: Kind, value: u64) -> bool {
        let from = match kind {
            Kind::Slow => self.commandlog_execution_slower_than,
            Kind::LargeRequest => self.commandlog_request_larger_than,
            Kind::LargeReply => self.commandlog_reply_larger_than,
        };
        u64::try_from(from).is_ok_and(|from| value >= from)
    }

    /// How many commands the log of this kind keeps.
    pub fn commandlog_max_len(&self, kind: Kind) -> usize {
        match kind {
            Kind::Slow => self.commandlog_slow_execution_max_len,
            Kind::LargeRequest => self.commandlog_large_request_max_len,
            Kind::LargeReply => self.commandlog_large_reply_max_len,
        }
    }

    /// From how many nanoseconds on somebody wants to know how long a command took; `None`: nobody does.
    pub fn timed_from(&self) -> Option<u64> {
        if self.latency_tracking {
            return Some(0);
        }
        let slow = u64::try_from(self.commandlog_execution_slower_than).ok();
        let slow = slow.map(|micros| micros.saturating_mul(1_000));
        let spike = Some(self.latency_monitor_threshold).filter(|millis| *millis > 0);
        let spike = spike.map(|millis| millis.saturating_mul(1_000_000));
        slow.into_iter().chain(spike).min()
    }

    /// Sets a directive at start, when even those can be set that are fixed later.
    pub fn set_at_start(&mut self, name: &str, text: &str) -> Result<(), Refused> {
        let directive = find(name).ok_or_else(|| Refused::Unknown(name.into()))?;
        (directive.parse)(self, text).map_err(|why| Refused::bad(directive.spelled(name), &why))
    }

    /// These settings with some directives changed. The order of the checks is that of Redis: names first, then values.
    fn changed(&self, pairs: &[(&str, &str)]) -> Result<Self, Refused> {
        let mut found: Vec<&Directive> = Vec::with_capacity(pairs.len());
        let mut refused = None;
        for (name, _) in pairs {
            let Some(directive) = find(name) else {
                let unknown = Refused::Unknown((*name).into());
                // An unknown name is told even behind a known one that is wrong, and the first of several.
                match refused {
                    Some(Refused::Unknown(_)) => {}
                    _ => refused = Some(unknown),
                }
                continue;
            };
            if refused.is_some() {
                continue;
            }
            if !directive.can_change() {
                refused = Some(Refused::bad(name, "can't set immutable config"));
            } else if found.iter().any(|known| known.name == directive.name) {
                refused = Some(Refused::bad(name, "duplicate parameter"));
            }
            found.push(directive);
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        let mut next = self.clone();
        for (directive, (name, text)) in found.iter().zip(pairs) {
            (directive.parse)(&mut next, text).map_err(|why| Refused::bad(directive.spelled(name), &why))?;
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &Config, pairs: &[(&str, &str)]) -> String {
        config.change(pairs).unwrap_err().to_string()
    }

    #[test]
    fn several_directives_change_together_or_not_at_all() {
        let config = Config::default();
        config.change(&[("maxmemory", "100mb"), ("TIMEOUT", "7")]).unwrap();
        assert_eq!((config.load().maxmemory, config.load().timeout), (100 << 20, 7));
        let error = refused(&config, &[("maxmemory", "1gb"), ("timeout", "x")]);
        let failed = "CONFIG SET failed (possibly related to argument";
        assert_eq!(error, format!("{failed} 'timeout') - argument couldn't be parsed into an integer"));
        assert_eq!(config.load().maxmemory, 100 << 20);
        // By the name that was used, as it is written in the table.
        let error = refused(&config, &[("SLOWLOG-max-len", "x")]);
        assert_eq!(
            error,
            format!("{failed} 'slowlog-max-len') - argument couldn't be parsed into an integer")
        );
    }

    #[test]
    fn names_are_checked_before_values() {
        let config = Config::default();
        let failed = "CONFIG SET failed (possibly related to argument";
        assert_eq!(
            refused(&config, &[("timeout", "x"), ("nosuch", "1"), ("other", "1")]),
            "Unknown option or number of arguments for CONFIG SET - 'nosuch'"
        );
        assert_eq!(
            refused(&config, &[("DATABASES", "8")]),
            format!("{failed} 'DATABASES') - can't set immutable config")
        );
        assert_eq!(
            refused(&config, &[("enable-debug-command", "yes")]),
            format!("{failed} 'enable-debug-command') - can't set immutable config")
        );
        assert_eq!(
            refused(&config, &[("maxmemory", "1"), ("maxmemory", "2")]),
            format!("{failed} 'maxmemory') - duplicate parameter")
        );
    }

    #[test]
    fn commands_are_timed_from_the_least_that_somebody_wants_to_know() {
        let config = Config::default();
        let timed_from = |pairs| {
            config.change(pairs).unwrap();
            config.load().timed_from()
        };
        assert_eq!(timed_from(&[]), Some(10_000_000));
        assert_eq!(timed_from(&[("latency-monitor-threshold", "20")]), Some(10_000_000));
        assert_eq!(timed_from(&[("latency-monitor-threshold", "2")]), Some(2_000_000));
        assert_eq!(timed_from(&[("slowlog-log-slower-than", "-1")]), Some(2_000_000));
        assert_eq!(timed_from(&[("latency-monitor-threshold", "0")]), None);
        assert_eq!(timed_from(&[("latency-tracking", "yes")]), Some(0));
    }

    #[test]
    fn what_stands_out_is_at_or_beyond_its_limit_and_nothing_beyond_a_negative_one() {
        let settings = Settings { commandlog_reply_larger_than: -1, ..Settings::default() };
        let stands_out = |value| Kind::NAMES.map(|(_, kind)| settings.stands_out(kind, value));
        assert_eq!(stands_out(9_999), [false; 3]);
        assert_eq!(stands_out(10_000), [true, false, false]);
        assert_eq!(stands_out(1 << 20), [true, true, false]);
        assert_eq!(stands_out(u64::MAX), [true, true, false]);
    }

    #[test]
    fn at_start_everything_with_a_meaning_can_be_set() {
        let mut settings = Settings::default();
        settings.set_at_start("port", "7000").unwrap();
        settings.set_at_start("cluster-announce-ip", "10.0.0.7").unwrap();
        assert_eq!((settings.port, settings.announce_host.as_str()), (7000, "10.0.0.7"));
        assert!(settings.set_at_start("databases", "8").is_err());
        assert_eq!(settings.set_at_start("prot", "1"), Err(Refused::Unknown("prot".into())));
    }
}
