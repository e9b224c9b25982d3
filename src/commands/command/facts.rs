//! What COMMAND tells of some commands and nothing here depends on: hints for cluster-aware proxies, and which command
//! has taken another's place. Names and words are Redis' own.

/// The same request may get another reply though no data has changed.
const RANDOM: &str = "nondeterministic_output";

/// The elements of the reply come in any order.
const ANY_ORDER: &str = "nondeterministic_output_order";

/// Sorted by name.
const TIPS: &[(&str, &[&str])] = &[
    ("client|info", &[RANDOM]),
    ("client|list", &[RANDOM]),
    ("clusterscan", &[RANDOM, "request_policy:special", "response_policy:special"]),
    ("cluster|getkeysinslot", &[RANDOM]),
    ("cluster|info", &[RANDOM]),
    ("cluster|links", &[RANDOM]),
    ("cluster|nodes", &[RANDOM]),
    ("cluster|replicas", &[RANDOM]),
    ("cluster|shards", &[RANDOM]),
    ("cluster|slaves", &[RANDOM]),
    ("cluster|slots", &[RANDOM]),
    ("command", &[ANY_ORDER]),
    ("commandlog|get", &["request_policy:all_nodes", RANDOM]),
    ("commandlog|len", &["request_policy:all_nodes", "response_policy:agg_sum", RANDOM]),
    ("commandlog|reset", &["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ("command|docs", &[ANY_ORDER]),
    ("command|info", &[ANY_ORDER]),
    ("command|list", &[ANY_ORDER]),
    ("config|set", &["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ("dbsize", &["request_policy:all_shards", "response_policy:agg_sum"]),
    ("del", &["request_policy:multi_shard", "response_policy:agg_sum"]),
    ("dump", &[RANDOM]),
    ("exists", &["request_policy:multi_shard", "response_policy:agg_sum"]),
    ("flushall", &["request_policy:all_shards", "response_policy:all_succeeded"]),
    ("flushdb", &["request_policy:all_shards", "response_policy:all_succeeded"]),
    ("hgetall", &[ANY_ORDER]),
    ("hkeys", &[ANY_ORDER]),
    ("hrandfield", &[RANDOM]),
    ("hscan", &[RANDOM]),
    ("hvals", &[ANY_ORDER]),
    ("info", &[RANDOM, "request_policy:all_shards", "response_policy:special"]),
    ("keys", &["request_policy:all_shards", ANY_ORDER]),
    ("lastsave", &[RANDOM]),
    ("latency|doctor", &[RANDOM, "request_policy:all_nodes", "response_policy:special"]),
    ("latency|graph", &[RANDOM, "request_policy:all_nodes", "response_policy:special"]),
    ("latency|histogram", &[RANDOM, "request_policy:all_nodes", "response_policy:special"]),
    ("latency|history", &[RANDOM, "request_policy:all_nodes", "response_policy:special"]),
    ("latency|latest", &[RANDOM, "request_policy:all_nodes", "response_policy:special"]),
    ("latency|reset", &["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ("memory|doctor", &[RANDOM, "request_policy:all_shards", "response_policy:special"]),
    ("memory|malloc-stats", &[RANDOM, "request_policy:all_shards", "response_policy:special"]),
    ("memory|purge", &["request_policy:all_shards", "response_policy:all_succeeded"]),
    ("memory|stats", &[RANDOM, "request_policy:all_shards", "response_policy:special"]),
    ("mget", &["request_policy:multi_shard"]),
    ("mset", &["request_policy:multi_shard", "response_policy:all_succeeded"]),
    ("msetnx", &["request_policy:multi_shard", "response_policy:agg_min"]),
    ("object|encoding", &[RANDOM]),
    ("object|freq", &[RANDOM]),
    ("object|idletime", &[RANDOM]),
    ("object|refcount", &[RANDOM]),
    ("ping", &["request_policy:all_shards", "response_policy:all_succeeded"]),
    ("pttl", &[RANDOM]),
    ("randomkey", &["request_policy:all_shards", RANDOM]),
    ("scan", &[RANDOM, "request_policy:special"]),
    ("sdiff", &[ANY_ORDER]),
    ("sinter", &[ANY_ORDER]),
    ("slowlog|get", &["request_policy:all_nodes", RANDOM]),
    ("slowlog|len", &["request_policy:all_nodes", "response_policy:agg_sum", RANDOM]),
    ("slowlog|reset", &["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ("smembers", &[ANY_ORDER]),
    ("spop", &[RANDOM]),
    ("srandmember", &[RANDOM]),
    ("sscan", &[RANDOM]),
    ("sunion", &[ANY_ORDER]),
    ("time", &[RANDOM]),
    ("touch", &["request_policy:multi_shard", "response_policy:agg_sum"]),
    ("ttl", &[RANDOM]),
    ("unlink", &["request_policy:multi_shard", "response_policy:agg_sum"]),
    ("wait", &["request_policy:all_shards", "response_policy:agg_min"]),
    ("zrandmember", &[RANDOM]),
    ("zscan", &[RANDOM]),
];

/// Sorted by name: since when, and by what.
const REPLACED: &[(&str, &str, &str)] = &[
    ("brpoplpush", "6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    ("cluster|slaves", "5.0.0", "`CLUSTER REPLICAS`"),
    ("cluster|slots", "7.0.0", "`CLUSTER SHARDS`"),
    ("getset", "6.2.0", "`SET` with the `!GET` argument"),
    ("hmset", "4.0.0", "`HSET` with multiple field-value pairs"),
    ("rpoplpush", "6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    ("slaveof", "5.0.0", "`REPLICAOF`"),
    ("substr", "2.0.0", "`GETRANGE`"),
    ("zrangebylex", "6.2.0", "`ZRANGE` with the `BYLEX` argument"),
    ("zrangebyscore", "6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
    ("zrevrange", "6.2.0", "`ZRANGE` with the `REV` argument"),
    ("zrevrangebylex", "6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    ("zrevrangebyscore", "6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
];

/// Hints on a command, by its full name.
pub(super) fn tips(name: &str) -> &'static [&'static str] {
    TIPS.binary_search_by_key(&name, |entry| entry.0).map_or(&[], |index| TIPS[index].1)
}

/// Since when a command is out of use, and what has taken its place.
pub(super) fn replaced(name: &str) -> Option<(&'static str, &'static str)> {
    let index = REPLACED.binary_search_by_key(&name, |entry| entry.0).ok()?;
    Some((REPLACED[index].1, REPLACED[index].2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(TIPS.is_sorted_by_key(|entry| entry.0) && REPLACED.is_sorted_by_key(|entry| entry.0));
        assert_eq!(tips("mget"), ["request_policy:multi_shard"]);
        assert_eq!(replaced("getset").map(|by| by.0), Some("6.2.0"));
        assert_eq!((tips("get"), replaced("get")), (&[][..], None));
    }
}
