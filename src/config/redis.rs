//! Directives of Redis and Valkey that mean nothing to this server, for those who bring their file along.
//!
//! Most tune a mechanism that is not here, so whatever they say changes nothing: they are passed over. Some promise
//! something (a file on disk, an encrypted port, another server to follow), and are passed over only while they promise
//! nothing: else whoever wrote them would rely on what is not there.
//!
//! The [table of directives](super::directives) comes first: what it knows and can set is never looked up here.

/// What becomes of a directive that this server cannot follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It changes nothing here.
    PassOver,
    /// It asks for something that is not here: why, and what to do instead.
    Refuse(&'static str),
    /// Redis does not have it either.
    Unknown,
}

/// Judges a directive by its name, in any case of letters, and its value.
pub fn judge(name: &str, value: &str) -> Verdict {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    if let Some((_, promises_nothing, advice)) = PROMISES.iter().find(|promise| is(promise.0)) {
        return if promises_nothing(value) { Verdict::PassOver } else { Verdict::Refuse(advice) };
    }
    if TUNING.iter().any(|known| is(known)) { Verdict::PassOver } else { Verdict::Unknown }
}

/// Name, which values promise nothing, and what to say of the others.
type Promise = (&'static str, fn(&str) -> bool, &'static str);

const FOLLOW: &str = "nodes follow no single server: give the addresses of the cluster's nodes by join, and each shard \
    gets its replicas";
const ANNOUNCE: &str =
    "nodes are reached by the ports that they listen on: set port, cluster-port and bus-port";
const TLS: &str = "there is no TLS: put the node behind a proxy or a tunnel that has it";
const ACL: &str = "there are no users but the default one: protect it by requirepass";
const COPIES: &str = "a write does not wait for replicas by itself: let clients use WAIT";

const PROMISES: &[Promise] = &[
    ("aclfile", is_empty, ACL),
    ("appendonly", is_no, "nothing is written to disk: write appendonly no, and let replicas keep the data"),
    ("bind-source-addr", is_empty, "connections to other nodes leave by the address that the system chooses"),
    ("cluster-announce-bus-port", is_zero, ANNOUNCE),
    ("cluster-announce-port", is_zero, ANNOUNCE),
    ("cluster-announce-tls-port", is_zero, ANNOUNCE),
    ("cluster-enabled", is_yes, "a node is always part of a cluster, be it of one: leave the line out"),
    (
        "daemonize",
        is_no,
        "the node stays in the foreground: write daemonize no, and leave the rest to systemd or a shell",
    ),
    ("databases", is_sixteen_or_less, "there are 16 databases"),
    ("import-mode", is_no, "there is no mode for imports"),
    ("include", is_empty, "one file is all that is read: put the lines into it"),
    ("loadmodule", is_empty, "there are no modules"),
    ("min-replicas-to-write", is_zero, COPIES),
    ("min-slaves-to-write", is_zero, COPIES),
    ("notify-keyspace-events", is_empty, "no events about keys are published"),
    ("rdma-port", is_zero, "there is no RDMA"),
    ("rename-command", is_empty, "commands keep their names"),
    ("replica-announce-ip", is_empty, "set announce-host"),
    ("replica-announce-port", is_zero, ANNOUNCE),
    ("replicaof", is_nobody, FOLLOW),
    ("save", is_empty, "no snapshots are written: write save \"\", and let replicas keep the data"),
    ("slave-announce-ip", is_empty, "set announce-host"),
    ("slave-announce-port", is_zero, ANNOUNCE),
    ("slaveof", is_nobody, FOLLOW),
    ("tls-cluster", is_no, TLS),
    ("tls-port", is_zero, TLS),
    ("tls-replication", is_no, TLS),
    ("unixsocket", is_empty, "clients come by TCP only"),
    ("user", is_empty, ACL),
];

fn is_empty(value: &str) -> bool {
    value.is_empty()
}

fn is_zero(value: &str) -> bool {
    value == "0"
}

fn is_no(value: &str) -> bool {
    value.eq_ignore_ascii_case("no")
}

fn is_yes(value: &str) -> bool {
    value.eq_ignore_ascii_case("yes")
}

fn is_nobody(value: &str) -> bool {
    value.is_empty() || value.eq_ignore_ascii_case("no one")
}

/// Whoever uses fewer databases than there are does not notice the others.
fn is_sixteen_or_less(value: &str) -> bool {
    value.parse().is_ok_and(|count: u32| (1..=16).contains(&count))
}

/// Directives whose mechanism is not here.
const TUNING: &[&str] = &[
    "acl-pubsub-default",
    "acllog-max-len",
    "active-defrag-cycle-max",
    "active-defrag-cycle-min",
    "active-defrag-cycle-us",
    "active-defrag-ignore-bytes",
    "active-defrag-max-scan-fields",
    "active-defrag-threshold-lower",
    "active-defrag-threshold-upper",
    "active-expire-effort",
    "activedefrag",
    "activerehashing",
    "always-show-logo",
    "aof-load-truncated",
    "aof-rewrite-cpulist",
    "aof-rewrite-incremental-fsync",
    "aof-timestamp-enabled",
    "aof-use-rdb-preamble",
    "aof_rewrite_cpulist",
    "appenddirname",
    "appendfilename",
    "appendfsync",
    "auto-aof-rewrite-min-size",
    "auto-aof-rewrite-percentage",
    "bgsave-cpulist",
    "bgsave_cpulist",
    "bio-cpulist",
    "bio_cpulist",
    "busy-reply-threshold",
    "client-output-buffer-limit",
    "cluster-allow-pubsubshard-when-down",
    "cluster-allow-reads-when-down",
    "cluster-allow-replica-migration",
    "cluster-announce-client-ipv4",
    "cluster-announce-client-ipv6",
    "cluster-announce-human-nodename",
    "cluster-blacklist-ttl",
    "cluster-config-file",
    "cluster-link-sendbuf-limit",
    "cluster-migration-barrier",
    "cluster-node-timeout",
    "cluster-preferred-endpoint-type",
    "cluster-replica-no-failover",
    "cluster-replica-validity-factor",
    "cluster-require-full-coverage",
    "cluster-slave-no-failover",
    "cluster-slave-validity-factor",
    "cluster-slot-stats-enabled",
    "crash-log-enabled",
    "crash-memcheck-enabled",
    "dbfilename",
    "disable-thp",
    "dual-channel-replication-enabled",
    "dynamic-hz",
    "enable-module-command",
    "enable-protected-configs",
    "extended-redis-compatibility",
    "hide-user-data-from-log",
    "hz",
    "ignore-warnings",
    "io-threads-do-reads",
    "jemalloc-bg-thread",
    "lazyfree-lazy-eviction",
    "lazyfree-lazy-expire",
    "lazyfree-lazy-server-del",
    "lazyfree-lazy-user-del",
    "lazyfree-lazy-user-flush",
    "list-compress-depth",
    "locale-collate",
    "log-timestamp-format",
    "logfile",
    "lua-time-limit",
    "masterauth",
    "masteruser",
    "max-new-connections-per-cycle",
    "max-new-tls-connections-per-cycle",
    "maxmemory-clients",
    "maxmemory-eviction-tenacity",
    "min-replicas-max-lag",
    "min-slaves-max-lag",
    "no-appendfsync-on-rewrite",
    "oom-score-adj",
    "oom-score-adj-values",
    "pidfile",
    "prefetch-batch-max-size",
    "primaryauth",
    "primaryuser",
    "proc-title-template",
    "propagation-error-behavior",
    "rdb-del-sync-files",
    "rdb-save-incremental-fsync",
    "rdbchecksum",
    "rdbcompression",
    "rdma-bind",
    "rdma-completion-vector",
    "rdma-rx-size",
    "repl-backlog-ttl",
    "repl-disable-tcp-nodelay",
    "repl-diskless-load",
    "repl-diskless-sync",
    "repl-diskless-sync-delay",
    "repl-diskless-sync-max-replicas",
    "repl-ping-replica-period",
    "repl-ping-slave-period",
    "repl-timeout",
    "replica-announced",
    "replica-ignore-disk-write-errors",
    "replica-ignore-maxmemory",
    "replica-lazy-flush",
    "replica-priority",
    "replica-read-only",
    "replica-serve-stale-data",
    "sanitize-dump-payload",
    "server-cpulist",
    "server_cpulist",
    "set-proc-title",
    "shutdown-on-sigint",
    "shutdown-on-sigterm",
    "shutdown-timeout",
    "slave-ignore-maxmemory",
    "slave-lazy-flush",
    "slave-priority",
    "slave-read-only",
    "slave-serve-stale-data",
    "socket-mark-id",
    "stop-writes-on-bgsave-error",
    "supervised",
    "syslog-enabled",
    "syslog-facility",
    "syslog-ident",
    "tcp-backlog",
    "tls-auth-clients",
    "tls-ca-cert-dir",
    "tls-ca-cert-file",
    "tls-cert-file",
    "tls-ciphers",
    "tls-ciphersuites",
    "tls-client-cert-file",
    "tls-client-key-file",
    "tls-client-key-file-pass",
    "tls-dh-params-file",
    "tls-key-file",
    "tls-key-file-pass",
    "tls-prefer-server-ciphers",
    "tls-protocols",
    "tls-session-cache-size",
    "tls-session-cache-timeout",
    "tls-session-caching",
    "tracking-table-max-keys",
    "unixsocketgroup",
    "unixsocketperm",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, find};

    #[test]
    fn what_changes_nothing_is_passed_over_and_what_promises_something_is_not() {
        for (name, value) in [("hz", "50"), ("SAVE", ""), ("appendonly", "NO"), ("databases", "4")] {
            assert_eq!(judge(name, value), Verdict::PassOver, "{name} {value}");
        }
        for (name, value) in
            [("appendonly", "yes"), ("save", "60 1"), ("tls-port", "6380"), ("databases", "17")]
        {
            assert!(matches!(judge(name, value), Verdict::Refuse(_)), "{name} {value}");
        }
        assert_eq!(judge("maxmemmory", "1gb"), Verdict::Unknown);
    }

    #[test]
    fn names_are_listed_once() {
        let mut names: Vec<_> =
            PROMISES.iter().map(|promise| promise.0).chain(TUNING.iter().copied()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    /// Else a value that is wrong would be passed over instead of being told.
    #[test]
    fn nothing_that_can_be_set_is_passed_over() {
        for name in TUNING {
            let Some(directive) = find(name) else { continue };
            let taken = |value: &&&str| (directive.parse)(&mut Settings::default(), value).is_ok();
            let values = ["0", "1", "7", "10", "100", "yes", "no", "1mb", "a"];
            assert!(
                values.iter().filter(taken).count() <= 1,
                "{name} has a meaning here: take it out of the list"
            );
        }
    }
}
