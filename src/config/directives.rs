//! The table of directives: the one place that knows each by name.
//!
//! Most have a field of [`Settings`]. Others have one value only, since the matter is settled here (there are 16
//! databases, nothing is written to disk unasked): clients and tools ask for them, and `CONFIG SET` takes that value
//! and no other.

use std::sync::{Arc, OnceLock};

use ringfort_protocol::glob;

use super::{
    Settings,
    value::{Why, allowed, format, integer, level, percentile, percentiles, policy, size, word, yes_or_no},
};

/// A directive.
#[derive(Debug)]
pub struct Directive {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Older names of it, which `CONFIG GET` lists beside it.
    pub aliases: &'static [&'static str],
    /// When it can be set.
    pub when: When,
    /// Its value as text.
    pub print: fn(&Settings) -> String,
    /// Sets it. On an error nothing is changed.
    pub parse: fn(&mut Settings, &str) -> Result<(), Why>,
}

/// When a directive can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At any time.
    Running,
    /// At start only: command line, environment, file.
    Start,
    /// At start only, and it is never shown.
    Secret,
    /// It has one value only, which is immutable.
    Never,
}

impl Directive {
    /// Whether `CONFIG SET` may change it.
    pub fn can_change(&self) -> bool {
        self.when == When::Running
    }

    /// Whether its value is told.
    pub fn is_shown(&self) -> bool {
        self.when != When::Secret
    }

    /// Its name and its older names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// That of its names which is meant by `name`, in any case of letters.
    pub fn spelled(&self, name: &str) -> &'static str {
        self.names().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or(self.name)
    }

    /// What it is unless it is set.
    pub fn default(&self) -> String {
        static DEFAULTS: OnceLock<Settings> = OnceLock::new();
        (self.print)(DEFAULTS.get_or_init(Settings::default))
    }

    const fn at(self, when: When) -> Self {
        Self { when, ..self }
    }

    const fn known_as(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }
}

/// Finds a directive by its name or an older one, in any case of letters.
pub fn find(name: &str) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|directive| directive.names().any(|known| known.eq_ignore_ascii_case(name)))
}

/// The directives that are shown and match any of some patterns, each by the name that matches, without repetition.
pub fn matching<'p>(
    patterns: impl Iterator<Item = &'p [u8]> + Clone,
) -> Vec<(&'static str, &'static Directive)> {
    let shown = DIRECTIVES.iter().filter(|directive| directive.is_shown());
    let named = shown.flat_map(|directive| directive.names().map(move |name| (name, directive)));
    named
        .filter(|(name, _)| {
            patterns.clone().any(|pattern| glob::matches(pattern, name.as_bytes(), glob::Case::Insensitive))
        })
        .collect()
}

/// A directive whose value is a number, or a size, in a field.
macro_rules! number {
    ($name:literal, $read:ident, limits.$field:ident, $bounds:expr) => {
        Directive {
            name: $name,
            aliases: &[],
            when: When::Running,
            print: |settings| settings.limits.$field.to_string(),
            parse: |settings, text| {
                Arc::make_mut(&mut settings.limits).$field = $read(text, $bounds)?;
                Ok(())
            },
        }
    };
    ($name:literal, $read:ident, $field:ident, $bounds:expr) => {
        Directive {
            name: $name,
            aliases: &[],
            when: When::Running,
            print: |settings| settings.$field.to_string(),
            parse: |settings, text| {
                settings.$field = $read(text, $bounds)?;
                Ok(())
            },
        }
    };
}

/// A directive whose value is any text.
macro_rules! text {
    ($name:literal, $field:ident) => {
        Directive {
            name: $name,
            aliases: &[],
            when: When::Start,
            print: |settings| settings.$field.clone(),
            parse: |settings, text| {
                settings.$field = text.into();
                Ok(())
            },
        }
    };
}

/// A directive that has one value only.
macro_rules! fixed {
    ($name:literal, $value:literal) => {
        Directive {
            name: $name,
            aliases: &[],
            when: When::Running,
            print: |_| $value.into(),
            parse: |_, text| match text.eq_ignore_ascii_case($value) {
                true => Ok(()),
                false => Err(concat!("this server knows it as '", $value, "' only").into()),
            },
        }
    };
}

const INT: i64 = i32::MAX as i64;
const ANY: i64 = i64::MAX;

/// Redis' least size of a buffer that a client fills.
const LEAST_BUFFER: i64 = 1 << 20;

/// A command with its framing stays below 4 GiB: positions in it have 32 bits.
const MOST_FRAME: i64 = u32::MAX as i64;

/// All of them.
pub static DIRECTIVES: &[Directive] = &[
    // Connections.
    text!("requirepass", requirepass).at(When::Running),
    Directive {
        name: "protected-mode",
        aliases: &[],
        when: When::Running,
        print: |settings| word(settings.protected_mode),
        parse: |settings, text| {
            settings.protected_mode = yes_or_no(text)?;
            Ok(())
        },
    },
    number!("maxclients", integer, maxclients, 1..=u32::MAX.into()),
    number!("timeout", integer, timeout, 0..=INT),
    number!("tcp-keepalive", integer, tcp_keepalive, 0..=INT),
    fixed!("tcp-backlog", "511").at(When::Never),
    Directive {
        name: "enable-debug-command",
        aliases: &[],
        when: When::Start,
        print: |settings| settings.enable_debug_command.name().into(),
        parse: |settings, text| {
            settings.enable_debug_command = allowed(text)?;
            Ok(())
        },
    },
    Directive {
        name: "client-query-buffer-limit",
        aliases: &[],
        when: When::Running,
        print: |settings| settings.protocol.frame.to_string(),
        parse: |settings, text| {
            settings.protocol.frame = size(text, LEAST_BUFFER..=MOST_FRAME)?;
            Ok(())
        },
    },
    Directive {
        name: "proto-max-bulk-len",
        aliases: &[],
        when: When::Running,
        print: |settings| settings.limits.proto_max_bulk_len.to_string(),
        parse: |settings, text| {
            let bytes = size(text, LEAST_BUFFER..=MOST_FRAME)?;
            settings.protocol.bulk = bytes;
            Arc::make_mut(&mut settings.limits).proto_max_bulk_len = bytes;
            Ok(())
        },
    },
    // Memory.
    number!("maxmemory", size, maxmemory, 0..=ANY),
    Directive {
        name: "maxmemory-policy",
        aliases: &[],
        when: When::Running,
        print: |settings| settings.policy.name().into(),
        parse: |settings, text| {
            settings.policy = policy(text)?;
            Arc::make_mut(&mut settings.limits).lfu = settings.policy.is_lfu();
            Ok(())
        },
    },
    number!("maxmemory-samples", integer, maxmemory_samples, 1..=INT),
    number!("lfu-log-factor", integer, lfu_log_factor, 0..=255),
    number!("lfu-decay-time", integer, lfu_decay_time, 0..=255),
    // Expired keys are found without looking at others: there is no effort to choose.
    fixed!("active-expire-effort", "1"),
    fixed!("maxmemory-clients", "0"),
    fixed!("lazyfree-lazy-eviction", "yes"),
    fixed!("lazyfree-lazy-expire", "yes"),
    fixed!("lazyfree-lazy-server-del", "yes"),
    fixed!("lazyfree-lazy-user-del", "yes"),
    fixed!("lazyfree-lazy-user-flush", "yes"),
    fixed!("activedefrag", "no"),
    // Forms of values.
    number!("list-max-listpack-size", integer, limits.list_max_listpack_size, i32::MIN.into()..=INT)
        .known_as(&["list-max-ziplist-size"]),
    number!("hash-max-listpack-entries", integer, limits.hash_max_listpack_entries, 0..=ANY)
        .known_as(&["hash-max-ziplist-entries"]),
    number!("hash-max-listpack-value", size, limits.hash_max_listpack_value, 0..=ANY)
        .known_as(&["hash-max-ziplist-value"]),
    number!("set-max-intset-entries", integer, limits.set_max_intset_entries, 0..=ANY),
    number!("set-max-listpack-entries", integer, limits.set_max_listpack_entries, 0..=ANY),
    number!("set-max-listpack-value", size, limits.set_max_listpack_value, 0..=ANY),
    number!("zset-max-listpack-entries", integer, limits.zset_max_listpack_entries, 0..=ANY)
        .known_as(&["zset-max-ziplist-entries"]),
    number!("zset-max-listpack-value", size, limits.zset_max_listpack_value, 0..=ANY)
        .known_as(&["zset-max-ziplist-value"]),
    number!("hll-sparse-max-bytes", size, limits.hll_sparse_max_bytes, 0..=ANY),
    number!("stream-node-max-bytes", size, limits.stream_node_max_bytes, 0..=ANY),
    number!("stream-node-max-entries", integer, limits.stream_node_max_entries, 0..=ANY),
    fixed!("list-compress-depth", "0"),
    // Replication and the cluster.
    number!("repl-backlog-size", size, log_budget, 1..=ANY),
    fixed!("replica-read-only", "yes").known_as(&["slave-read-only"]),
    fixed!("replica-serve-stale-data", "no").known_as(&["slave-serve-stale-data"]),
    text!("cluster-announce-host", announce_host).known_as(&[
        "announce-host",
        "cluster-announce-ip",
        "cluster-announce-hostname",
    ]),
    text!("cluster-secret", cluster_secret).at(When::Secret),
    text!("join", join),
    text!("zone", zone).known_as(&["availability-zone"]),
    number!("weight", integer, weight, 0..=INT).at(When::Start),
    Directive {
        name: "shards",
        aliases: &[],
        when: When::Start,
        print: |settings| settings.shards.to_string(),
        parse: |settings, text| {
            let shards: u16 = integer(text, 1..=ringfort_cluster::SLOTS.into())?;
            if !shards.is_power_of_two() {
                return Err("argument must be a power of two".into());
            }
            settings.shards = shards;
            Ok(())
        },
    },
    number!("replicas", integer, replicas, 0..=255).at(When::Start),
    number!("lease-ms", integer, lease_ms, 50..=60_000).at(When::Start),
    // The process.
    text!("bind", bind),
    number!("port", integer, port, 1..=65_535).at(When::Start),
    number!("cluster-port", integer, cluster_port, 0..=65_535).at(When::Start),
    number!("admin-port", integer, admin_port, 0..=65_535).at(When::Start),
    number!("bus-port", integer, bus_port, 0..=65_535).at(When::Start),
    text!("data-dir", data_dir).known_as(&["dir"]),
    number!("threads", integer, threads, 0..=1_024).at(When::Start).known_as(&["io-threads"]),
    Directive {
        name: "loglevel",
        aliases: &[],
        when: When::Running,
        print: |settings| settings.loglevel.name().into(),
        parse: |settings, text| {
            settings.loglevel = level(text)?;
            // The later of the two counts.
            settings.log.clear();
            Ok(())
        },
    },
    text!("log", log),
    Directive {
        name: "log-format",
        aliases: &[],
        when: When::Start,
        print: |settings| settings.log_format.name().into(),
        parse: |settings, text| {
            settings.log_format = format(text)?;
            Ok(())
        },
    },
    number!("commandlog-execution-slower-than", integer, commandlog_execution_slower_than, -1..=ANY)
        .known_as(&["slowlog-log-slower-than"]),
    number!("commandlog-slow-execution-max-len", integer, commandlog_slow_execution_max_len, 0..=MOST_LOGGED)
        .known_as(&["slowlog-max-len"]),
    number!("commandlog-request-larger-than", integer, commandlog_request_larger_than, -1..=ANY),
    number!("commandlog-large-request-max-len", integer, commandlog_large_request_max_len, 0..=MOST_LOGGED),
    number!("commandlog-reply-larger-than", integer, commandlog_reply_larger_than, -1..=ANY),
    number!("commandlog-large-reply-max-len", integer, commandlog_large_reply_max_len, 0..=MOST_LOGGED),
    number!("latency-monitor-threshold", integer, latency_monitor_threshold, 0..=ANY),
    Directive {
        name: "latency-tracking",
        aliases: &[],
        when: When::Running,
        print: |settings| word(settings.latency_tracking),
        parse: |settings, text| {
            settings.latency_tracking = yes_or_no(text)?;
            Ok(())
        },
    },
    Directive {
        name: "latency-tracking-info-percentiles",
        aliases: &[],
        when: When::Running,
        print: |settings| {
            let shares = &settings.latency_tracking_info_percentiles;
            shares.iter().map(|share| percentile(*share)).collect::<Vec<_>>().join(" ")
        },
        parse: |settings, text| {
            settings.latency_tracking_info_percentiles = percentiles(text)?;
            Ok(())
        },
    },
    fixed!("databases", "16").at(When::Never),
    fixed!("hz", "10"),
    fixed!("daemonize", "no").at(When::Never),
    // Nothing is written to disk unasked.
    fixed!("save", ""),
    fixed!("appendonly", "no"),
    fixed!("appendfsync", "everysec"),
    fixed!("stop-writes-on-bgsave-error", "yes"),
    // Not built: no events are published.
    fixed!("notify-keyspace-events", ""),
];

/// Commands that each log can remember: with at most 32 arguments of 128 bytes each, 400 MiB.
const MOST_LOGGED: i64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_lower_case() {
        let mut names: Vec<_> = DIRECTIVES.iter().flat_map(Directive::names).collect();
        assert!(names.iter().all(|name| name.to_ascii_lowercase() == **name));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_directive_takes_what_it_prints() {
        let mut settings = Settings::default();
        for directive in DIRECTIVES {
            let text = (directive.print)(&settings);
            assert_eq!((directive.parse)(&mut settings, &text), Ok(()), "{} {text}", directive.name);
            assert_eq!((directive.print)(&settings), text, "{}", directive.name);
        }
    }

    #[test]
    fn patterns_match_in_any_case_and_show_no_secret() {
        let names = |patterns: &[&str]| -> Vec<_> {
            let patterns = patterns.iter().map(|pattern| pattern.as_bytes());
            matching(patterns).into_iter().map(|named| named.0).collect()
        };
        assert_eq!(names(&["MAXMEMORY"]), ["maxmemory"]);
        assert_eq!(
            names(&["hash-max-*", "hash-max-ziplist-value"]),
            [
                "hash-max-listpack-entries",
                "hash-max-ziplist-entries",
                "hash-max-listpack-value",
                "hash-max-ziplist-value"
            ]
        );
        assert!(names(&["nosuch", "x["]).is_empty());
        assert!(!names(&["*"]).contains(&"cluster-secret"));
    }

    #[test]
    fn what_is_settled_takes_its_one_value_only() {
        let mut settings = Settings::default();
        let save = find("SAVE").unwrap();
        assert_eq!((save.parse)(&mut settings, ""), Ok(()));
        assert_eq!((save.parse)(&mut settings, "3600 1").unwrap_err(), "this server knows it as '' only");
    }
}
