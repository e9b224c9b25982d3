//! Tests of the family: replies, effects, and both forms.

use crate::commands::{Limits, bench::Bench};
use ringfort_protocol::Resp;

/// Runs a test with sorted sets of either form, whatever their size.
fn in_both_forms(test: impl Fn(&mut Bench)) {
    let small = Limits::default();
    let large = Limits { zset_max_listpack_entries: 0, ..Limits::default() };
    for limits in [small, large] {
        let mut bench = Bench::new();
        bench.limits = limits;
        test(&mut bench);
    }
}

/// Checks replies, one command after the other.
fn assert_replies(bench: &mut Bench, expected: &[(&str, &str)]) {
    for (command, reply) in expected {
        assert_eq!(bench.run(command), *reply, "{command}");
    }
}

/// A replica that has applied what `bench` logged holds the same at `keys`.
fn assert_follows(bench: &mut Bench, replica: &mut Bench, keys: &[&str]) {
    replica.follow(bench);
    for key in keys {
        let all = format!("zrange {key} 0 -1 withscores");
        assert_eq!(replica.run(&all), bench.run(&all), "{key}");
    }
}

const SORTED_SET_COMMANDS: [&str; 26] = [
    "zadd s 1 a",
    "zincrby s 1 a",
    "zcard s",
    "zscore s a",
    "zmscore s a",
    "zrank s a",
    "zcount s 0 1",
    "zlexcount s - +",
    "zrange s 0 -1",
    "zrevrangebyscore s 1 0",
    "zrangestore k s 0 -1",
    "zrem s a",
    "zremrangebyrank s 0 0",
    "zremrangebyscore s 0 0",
    "zremrangebylex s - +",
    "zpopmin s",
    "zpopmax s 1",
    "zmpop 1 s min",
    "zrandmember s",
    "zrandmember s 1",
    "zunion 1 s",
    "zinter 1 s",
    "zdiffstore k 1 s",
    "zintercard 1 s",
    "zunionstore k 2 k s",
    "zscan s 0",
];

#[test]
fn a_string_is_the_wrong_type() {
    let mut bench = Bench::new();
    bench.run("append s x");
    bench.effects();
    for command in SORTED_SET_COMMANDS {
        let error = "-WRONGTYPE Operation against a key holding the wrong kind of value ";
        assert_eq!(bench.run(command), error, "{command}");
    }
    assert_eq!(bench.effects(), "");
}

#[test]
fn an_absent_key_is_an_empty_sorted_set() {
    let mut bench = Bench::new();
    let expected = [
        ("zcard k", ":0 "),
        ("zscore k a", "$-1 "),
        ("zmscore k a b", "*2 $-1 $-1 "),
        ("zrank k a", "$-1 "),
        ("zrevrank k a withscore", "*-1 "),
        ("zcount k -inf +inf", ":0 "),
        ("zlexcount k - +", ":0 "),
        ("zrange k 0 -1", "*0 "),
        ("zrangestore d k 0 -1", ":0 "),
        ("zrem k a", ":0 "),
        ("zremrangebyrank k 0 -1", ":0 "),
        ("zpopmin k", "*0 "),
        ("zpopmax k 3", "*0 "),
        ("zmpop 2 k l max", "*-1 "),
        ("zrandmember k", "$-1 "),
        ("zrandmember k -3", "*0 "),
        ("zunion 2 k l withscores", "*0 "),
        ("zinterstore d 2 k l", ":0 "),
        ("zintercard 1 k", ":0 "),
        ("zscan k 0", "*2 $1 0 *0 "),
        ("zadd k xx 1 a", ":0 "),
        ("zadd k xx incr 1 a", "$-1 "),
    ];
    assert_replies(&mut bench, &expected);
    assert_eq!(bench.effects(), "");
}

#[test]
fn zadd_does_what_its_options_say() {
    in_both_forms(|bench| {
        let expected = [
            ("zadd k 1 a 2 b 3 c 2 b", ":3 "),
            ("zadd k 1 a", ":0 "),
            ("zadd k ch 5 a 2 b 9 d", ":2 "),
            ("zadd k nx ch 7 a 8 e", ":1 "),
            ("zadd k xx ch 6 a 8 f", ":1 "),
            ("zadd k gt ch 5 a 7 b", ":1 "),
            ("zadd k lt ch 5 a 8 b", ":1 "),
            ("zadd k gt 1 g", ":1 "),
            ("zadd k incr 1.5 a", "$3 6.5 "),
            ("zadd k nx incr 1 a", "$-1 "),
            ("zadd k lt incr 1 a", "$-1 "),
            (
                "zrange k 0 -1 withscores",
                "*12 $1 g $1 1 $1 c $1 3 $1 a $3 6.5 $1 b $1 7 $1 e $1 8 $1 d $1 9 ",
            ),
        ];
        assert_replies(bench, &expected);
    });
}

#[test]
fn zadd_refuses_before_it_changes_anything() {
    let mut bench = Bench::new();
    let expected = [
        ("zadd k 1 a 2", "-ERR syntax error "),
        ("zadd k nx ch", "-ERR syntax error "),
        ("zincrby k nx a", "-ERR syntax error "),
        ("zadd k nx xx 1 a", "-ERR XX and NX options at the same time are not compatible "),
        ("zadd k gt lt 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible "),
        ("zadd k gt nx 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible "),
        ("zadd k incr 1 a 2 b", "-ERR INCR option supports a single increment-element pair "),
        ("zadd k 1 a x b", "-ERR value is not a valid float "),
        ("zadd k nan a", "-ERR value is not a valid float "),
        ("zcard k", ":0 "),
        ("zadd k inf a", ":1 "),
        ("zincrby k -inf a", "-ERR resulting score is not a number (NaN) "),
        ("zscore k a", "$3 inf "),
    ];
    assert_replies(&mut bench, &expected);
    assert_eq!(bench.effects(), "zadd k inf a");
}

#[test]
fn zadd_logs_itself_and_increments_log_their_result() {
    in_both_forms(|bench| {
        let mut replica = Bench::new();
        replica.limits = bench.limits.clone();
        bench.run("ZADD k gt 0.1 a -inf b");
        bench.run("ZADD k nx 7 a");
        bench.run("ZINCRBY k 0.2 a");
        bench.run("ZINCRBY k 0 a");
        bench.run("ZADD k incr 3 c");
        assert_eq!(bench.effects(), "ZADD k gt 0.1 a -inf b; ZADD k 0.30000000000000004 a; ZADD k 3 c");
        bench.run("ZADD l 0.1 a");
        bench.run("ZINCRBY l 0.7 a");
        assert_follows(bench, &mut replica, &["l"]);
    });
}

#[test]
fn scores_are_kept_and_printed_as_redis_does() {
    let mut bench = Bench::new();
    let scores = [
        ("3.14", "3.1400000000000001"),
        ("1e17", "1e+17"),
        ("-0", "0"),
        ("0x10", "16"),
        ("1e300", "1.0000000000000001e+300"),
        ("-inf", "-inf"),
        ("5e-324", "4.9406564584124654e-324"),
    ];
    for (score, text) in scores {
        bench.run(&format!("zadd k {score} a"));
        assert_eq!(bench.run("zscore k a"), format!("${} {text} ", text.len()));
    }
    // Redis' large form would have -0 here; see `ZSet::insert`.
    bench.limits.zset_max_listpack_entries = 0;
    bench.run("zadd large -0 a");
    assert_eq!(bench.run("zscore large a"), "$1 0 ");
    assert_eq!(bench.run("zadd large incr -0 b"), "$2 -0 ");
    bench.resp = Resp::V3;
    assert_eq!(bench.run("zscore large a"), ",0 ");
    assert_eq!(bench.run("zmscore large a x"), "*2 ,0 _ ");
}

#[test]
fn members_are_found_by_rank_score_and_name() {
    in_both_forms(|bench| {
        bench.run("zadd k 1 a 2 b 2 10 2 9 inf z");
        let expected = [
            ("zrank k 9", ":2 "),
            ("zrank k b", ":3 "),
            ("zrevrank k b", ":1 "),
            ("zrank k 10 withscore", "*2 :1 $1 2 "),
            ("zrank k 10 withscores", "-ERR syntax error "),
            ("zrank k 10 withscore x", "-ERR wrong number of arguments for 'zrank' command "),
            ("zrank k absent withscore", "*-1 "),
            ("zcount k 2 +inf", ":4 "),
            ("zcount k (2 (inf", ":0 "),
            ("zcount k (1 2", ":3 "),
            ("zcount k '' ' 1.5'", ":1 "),
            ("zcount k 5 1", ":0 "),
            ("zcount k x 1", "-ERR min or max is not a float "),
            ("zcount k 1 (nan", "-ERR min or max is not a float "),
            ("zrange k 1 -2", "*3 $2 10 $1 9 $1 b "),
            ("zrange k 1 -2 rev", "*3 $1 b $1 9 $2 10 "),
            ("zrevrange k 0 0 withscores", "*2 $1 z $3 inf "),
            ("zrange k 9 2", "*0 "),
            ("zrange k (1 inf byscore limit 1 2", "*2 $1 9 $1 b "),
            ("zrange k inf (1 byscore rev limit 1 2 withscores", "*4 $1 b $1 2 $1 9 $1 2 "),
            ("zrangebyscore k -inf 2 limit -1 5", "*0 "),
            ("zrangebyscore k -inf 2 limit 2 -1", "*2 $1 9 $1 b "),
            ("zrevrangebyscore k 2 1 limit 3 9", "*1 $1 a "),
        ];
        assert_replies(bench, &expected);
    });
}

#[test]
fn members_of_one_score_are_found_by_name() {
    in_both_forms(|bench| {
        bench.run("zadd k 0 '' 0 a 0 aa 0 b 0 12");
        let expected = [
            ("zlexcount k - +", ":5 "),
            ("zlexcount k [ [a", ":3 "),
            ("zlexcount k ( (a", ":1 "),
            ("zlexcount k + -", ":0 "),
            ("zlexcount k a b", "-ERR min or max not valid string range item "),
            ("zrangebylex k (12 +", "*3 $1 a $2 aa $1 b "),
            ("zrangebylex k - + limit 1 2", "*2 $2 12 $1 a "),
            ("zrevrangebylex k [aa (12", "*2 $2 aa $1 a "),
            ("zrange k + [a bylex rev limit 0 1", "*1 $1 b "),
            ("zremrangebylex k [a (b", ":2 "),
            ("zrange k 0 -1", "*3 $0  $2 12 $1 b "),
        ];
        assert_replies(bench, &expected);
    });
}

#[test]
fn zrange_refuses_what_does_not_go_together() {
    let mut bench = Bench::new();
    let limit = "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX ";
    let expected = [
        ("zrange k 0 1 limit 0 1", limit),
        ("zrange k 0 1 limit 0 -1", "*0 "),
        (
            "zrange k - + bylex withscores",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX ",
        ),
        ("zrange k 0 1 limit 0", "-ERR syntax error "),
        ("zrange k 0 x", "-ERR value is not an integer or out of range "),
        ("zrange k 0 1 byscore limit x 1", "-ERR value is not an integer or out of range "),
        ("zrange k 0 x byscore", "-ERR min or max is not a float "),
        ("zrevrange k 0 1 rev", "-ERR syntax error "),
        ("zrangebyscore k 0 1 bylex", "-ERR syntax error "),
        ("zrangestore d k 0 1 withscores", "-ERR syntax error "),
    ];
    assert_replies(&mut bench, &expected);
}

#[test]
fn resp3_has_pairs_and_doubles() {
    in_both_forms(|bench| {
        bench.resp = Resp::V3;
        bench.run("zadd k 1 a 2.5 b 3 c 4 d");
        let expected = [
            ("zrange k 0 1 withscores", "*2 *2 $1 a ,1 *2 $1 b ,2.5 "),
            ("zrevrangebyscore k 2.5 2 withscores", "*1 *2 $1 b ,2.5 "),
            ("zunion 1 k withscores", "*4 *2 $1 a ,1 *2 $1 b ,2.5 *2 $1 c ,3 *2 $1 d ,4 "),
            ("zrandmember k -1 withscores", "*1 *2 $1 c ,3 "),
            ("zrank k b withscore", "*2 :1 ,2.5 "),
            ("zrank k x withscore", "_ "),
            ("zadd k incr 1 a", ",2 "),
            ("zpopmin k", "*2 $1 a ,2 "),
            ("zpopmax k 1", "*1 *2 $1 d ,4 "),
            ("zmpop 1 k min", "*2 $1 k *1 *2 $1 b ,2.5 "),
            ("zscan k 0", "*2 $1 0 *2 $1 c $1 3 "),
            ("zmpop 1 x min", "_ "),
        ];
        let random = expected.iter().position(|(command, _)| command.starts_with("zrandmember"));
        for (index, (command, reply)) in expected.into_iter().enumerate() {
            let got = bench.run(command);
            if Some(index) == random {
                assert!(got.starts_with("*1 *2 $1 ") && got.contains(" ,"), "{got}");
            } else {
                assert_eq!(got, reply, "{command}");
            }
        }
    });
}

#[test]
fn removals_log_themselves_and_the_last_member_takes_the_key_along() {
    in_both_forms(|bench| {
        let mut replica = Bench::new();
        replica.limits = bench.limits.clone();
        bench.run("zadd k 1 a 2 b 3 c 4 d 5 e 6 f 7 g");
        let expected = [
            ("zrem k a x a", ":1 "),
            ("zrem k x", ":0 "),
            ("zremrangebyrank k -1 9", ":1 "),
            ("zremrangebyrank k 9 9", ":0 "),
            ("zremrangebyscore k (2 3", ":1 "),
            ("zpopmax k", "*2 $1 f $1 6 "),
            ("zpopmin k 0", "*0 "),
            ("zpopmin k -1", "-ERR value is out of range, must be positive "),
            ("zpopmin k 1 1", "-ERR syntax error "),
        ];
        assert_replies(bench, &expected);
        assert_follows(bench, &mut replica, &["k"]);
        bench.run("zpopmin k 2");
        assert_follows(bench, &mut replica, &["k"]);
        assert_eq!(bench.run("zpopmin k 9"), "*2 $1 e $1 5 ");
        assert_eq!(bench.effects(), "zpopmin k 9");
        assert_eq!(bench.run("append k string"), ":6 ");
    });
}

#[test]
fn zmpop_takes_from_the_first_key_that_has_members() {
    in_both_forms(|bench| {
        bench.run("zadd k 1 a 2 b 3 c");
        bench.effects();
        let expected = [
            ("zmpop 2 none k max count 2", "*2 $1 k *2 *2 $1 c $1 3 *2 $1 b $1 2 "),
            ("zmpop 1 k MIN COUNT 5", "*2 $1 k *1 *2 $1 a $1 1 "),
            ("zmpop 0 k min", "-ERR numkeys should be greater than 0 "),
            ("zmpop 2 k min", "-ERR syntax error "),
            ("zmpop 9223372036854775807 k min", "-ERR syntax error "),
            ("zmpop 1 k min count 0", "-ERR count should be greater than 0 "),
            ("zmpop 1 k min count 1 count 1", "-ERR syntax error "),
        ];
        assert_replies(bench, &expected);
        assert_eq!(bench.effects(), "ZPOPMAX k 2; ZPOPMIN k 1");
    });
}

#[test]
fn unions_and_intersections_weigh_and_aggregate() {
    in_both_forms(|bench| {
        bench.run("zadd a 1 x 2 y 3 z");
        bench.run("zadd b 10 y 20 z 30 w");
        let expected = [
            ("zunion 2 a b withscores", "*8 $1 x $1 1 $1 y $2 12 $1 z $2 23 $1 w $2 30 "),
            ("zinter 2 a b weights 2 0.5 withscores", "*4 $1 y $1 9 $1 z $2 16 "),
            ("zinter 2 a b aggregate max withscores", "*4 $1 y $2 10 $1 z $2 20 "),
            ("zunion 3 a b none aggregate min", "*4 $1 x $1 y $1 z $1 w "),
            ("zdiff 3 a b none withscores", "*2 $1 x $1 1 "),
            ("zdiff 2 none a", "*0 "),
            ("zinter 2 a none", "*0 "),
            ("zintercard 2 a b", ":2 "),
            ("zintercard 2 a b limit 1", ":1 "),
            ("zinter 2 a a withscores", "*6 $1 x $1 2 $1 y $1 4 $1 z $1 6 "),
            ("zunion 0 a", "-ERR at least 1 input key is needed for 'zunion' command "),
            ("zunionstore d 0 a", "-ERR at least 1 input key is needed for 'zunionstore' command "),
            ("zunion x a", "-ERR value is not an integer or out of range "),
            ("zunion 2 a", "-ERR syntax error "),
            ("zunion 1 a weights x", "-ERR weight value is not a float "),
            ("zunion 1 a weights", "-ERR syntax error "),
            ("zdiff 1 a weights 1", "-ERR syntax error "),
            ("zunion 1 a aggregate avg", "-ERR syntax error "),
            ("zunionstore d 1 a withscores", "-ERR syntax error "),
            ("zintercard 1 a limit -1", "-ERR LIMIT can't be negative "),
        ];
        assert_replies(bench, &expected);
    });
}

#[test]
fn members_of_sets_have_score_one() {
    in_both_forms(|bench| {
        bench.run("zadd a 1 x 2 y 3 7");
        for set in ["sadd s x w 7", "sadd ints 7 8"] {
            bench.run(set);
        }
        let expected = [
            ("zunion 2 s a weights 10 1 withscores", "*8 $1 y $1 2 $1 w $2 10 $1 x $2 11 $1 7 $2 13 "),
            ("zinter 3 a s ints withscores", "*2 $1 7 $1 5 "),
            ("zdiff 2 a ints", "*2 $1 x $1 y "),
            ("zdiff 2 s a withscores", "*2 $1 w $1 1 "),
            ("zintercard 2 s ints", ":1 "),
            ("zunionstore d 1 ints", ":2 "),
            ("zrange d 0 -1 withscores", "*4 $1 7 $1 1 $1 8 $1 1 "),
            ("zrange s 0 -1", "-WRONGTYPE Operation against a key holding the wrong kind of value "),
        ];
        assert_replies(bench, &expected);
    });
}

#[test]
fn infinities_that_cancel_each_other_are_zero() {
    let mut bench = Bench::new();
    bench.run("zadd a inf x");
    bench.run("zadd b -inf x");
    assert_eq!(bench.run("zunion 2 a b withscores"), "*2 $1 x $1 0 ");
    assert_eq!(bench.run("zinter 2 a b withscores"), "*2 $1 x $1 0 ");
    assert_eq!(bench.run("zunion 1 a weights 0 withscores"), "*2 $1 x $1 0 ");
}

#[test]
fn stored_results_are_logged_as_the_members_that_they_have() {
    in_both_forms(|bench| {
        let mut replica = Bench::new();
        replica.limits = bench.limits.clone();
        bench.run("zadd a 1 x 2 y 3.5 z");
        bench.run("zadd b 1 y");
        bench.effects();
        assert_eq!(bench.run("zunionstore u 2 a b"), ":3 ");
        assert_eq!(bench.effects(), "ZADD u 1 x 3 y 3.5 z");
        assert_eq!(bench.run("zrangestore r a 0 1 rev"), ":2 ");
        assert_eq!(bench.effects(), "ZADD r 2 y 3.5 z");
        assert_eq!(bench.run("zdiffstore a 2 a b"), ":2 ");
        assert_eq!(bench.effects(), "DEL a; ZADD a 1 x 3.5 z");
        assert_eq!(bench.run("zinterstore a 2 a none"), ":0 ");
        assert_eq!(bench.effects(), "DEL a");
        assert_eq!(bench.run("zcard a"), ":0 ");
        for number in 0..300 {
            bench.run(&format!("zadd many {number} m{number}"));
        }
        bench.run("zadd many -0 zero 0.1 tenth");
        bench.run("zrangestore all many 0 -1");
        bench.run("zinterstore both 2 many all");
        assert_follows(bench, &mut replica, &["many", "all", "both"]);
    });
}

#[test]
fn a_sorted_set_becomes_large_where_redis_makes_it_so() {
    let mut bench = Bench::new();
    bench.limits.zset_max_listpack_entries = 3;
    bench.limits.zset_max_listpack_value = 5;
    let encoding = |bench: &mut Bench| bench.encoding("k");
    bench.run("zadd k 3 c 2 b 1 a");
    assert_eq!(encoding(&mut bench), "listpack");
    bench.run("zadd k 9 a");
    assert_eq!(encoding(&mut bench), "listpack");
    bench.run("zadd k 4 d");
    assert_eq!(encoding(&mut bench), "skiplist");
    assert_eq!(bench.run("zrange k 0 -1"), "*4 $1 b $1 c $1 d $1 a ");
    bench.run("zremrangebyrank k 0 2");
    assert_eq!(encoding(&mut bench), "skiplist");
    bench.run("zrangestore k k 0 -1");
    assert_eq!(encoding(&mut bench), "listpack");
    bench.run("zadd k 1 longer");
    assert_eq!(encoding(&mut bench), "skiplist");
    assert_eq!(bench.run("zrange k 0 -1 withscores"), "*4 $6 longer $1 1 $1 a $1 9 ");
}

#[test]
fn adding_keeps_the_deadline_and_storing_drops_it() {
    in_both_forms(|bench| {
        bench.run("zadd k 1 a");
        let deadline = bench.now + 1_000;
        bench.with("k", |edit| edit.set_deadline(Some(deadline)));
        bench.run("zadd k 2 b 3 c");
        bench.run("zincrby k 1 a");
        bench.run("zrem k b");
        assert_eq!(bench.with("k", |edit| edit.deadline()), Some(deadline));
        bench.run("zrangestore k k 0 -1");
        assert_eq!(bench.with("k", |edit| edit.deadline()), None);
    });
}

#[test]
fn random_members_are_distinct_unless_the_count_is_negative() {
    in_both_forms(|bench| {
        for number in 0..100 {
            bench.run(&format!("zadd k {number} {number:02}"));
        }
        let members = |reply: String| -> Vec<String> {
            reply
                .split_whitespace()
                .filter(|word| word.len() == 2 && !word.starts_with('$'))
                .map(str::to_owned)
                .collect()
        };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let mut some = members(bench.run("zrandmember k 20"));
            assert_eq!(some.len(), 20);
            some.dedup();
            assert_eq!(some.len(), 20);
            seen.extend(some);
            seen.extend(members(bench.run("zrandmember k")));
        }
        assert_eq!(seen.len(), 100);
        let repeated = bench.run("zrandmember k -500");
        assert!(repeated.starts_with("*500 "));
        let all = bench.run("zrandmember k 500 withscores");
        assert!(all.starts_with("*200 $2 99 $2 99 "), "{all}");
        assert_eq!(bench.run("zrandmember k 0"), "*0 ");
        bench.limits.proto_max_bulk_len = 500 * 16;
        let error = "-ERR the result would have more bytes than proto-max-bulk-len; ask for less at a time ";
        assert_eq!(bench.run("zrandmember k -500"), error);
        assert!(bench.run("zrandmember k -300").starts_with("*300 "));
        assert_eq!(bench.run("zrandmember k -9000000000000000000"), "-ERR value is out of range ");
        assert_eq!(bench.run("zrandmember k 1 x"), "-ERR syntax error ");
        assert_eq!(bench.run("zrandmember k x"), "-ERR value is not an integer or out of range ");
    });
}

#[test]
fn a_scan_of_a_large_sorted_set_goes_on_from_its_cursor() {
    let mut bench = Bench::new();
    for number in 0..500 {
        bench.run(&format!("zadd k {number}.5 member:{number}"));
    }
    let (mut cursor, mut seen, mut calls) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let reply = bench.run(&format!("zscan k {cursor} count 50 match member:*"));
        let words: Vec<&str> = reply.split_whitespace().collect();
        cursor = words[2].to_owned();
        seen.extend(words[4..].chunks(4).map(|pair| (pair[1].to_owned(), pair[3].to_owned())));
        calls += 1;
        if cursor == "0" {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 500);
    assert!(seen.contains(&("member:7".to_owned(), "7.5".to_owned())) && calls > 5);
    assert_eq!(bench.run("zscan k 0 match none count 1000"), "*2 $1 0 *0 ");
    assert_eq!(bench.run("zscan k x"), "-ERR invalid cursor ");
    assert_eq!(bench.run("zscan k 0 count 0"), "-ERR syntax error ");
    assert_eq!(bench.run("zscan k 0 match"), "-ERR syntax error ");
}
