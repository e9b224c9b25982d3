//! Tests of the family: replies, effects, and both forms of sorted sets.

use ringfort_protocol::Resp;

use crate::commands::{Limits, bench::Bench, digest::digest};

/// Runs a test with sorted sets of either form.
fn in_both_forms(test: impl Fn(&mut Bench)) {
    for entries in [128, 0] {
        let mut bench = Bench::new();
        bench.limits = Limits { zset_max_listpack_entries: entries, ..Limits::default() };
        bench.run(
            "geoadd g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 2.349014 48.864716 Paris 0 0 x",
        );
        test(&mut bench);
    }
}

fn assert_replies(bench: &mut Bench, expected: &[(&str, &str)]) {
    for (command, reply) in expected {
        assert_eq!(bench.run(command), *reply, "{command}");
    }
}

#[test]
fn positions_are_scores_and_come_back() {
    in_both_forms(|bench| {
        let expected = [
            ("zscore g Palermo", "$16 3479099956230698 "),
            ("geoadd g nx 0 0 Palermo 1 1 y", ":1 "),
            ("geoadd g ch 1 1 x", ":1 "),
            ("geoadd g ch 1 1 x", ":0 "),
            ("geoadd g xx 1 1 z", ":0 "),
            ("geohash g Palermo none Catania", "*3 $11 sqc8b49rny0 $-1 $11 sqdtr74hyu0 "),
            ("geopos g Palermo none", "*2 *2 $20 13.36138933897018433 $20 38.11555639549629859 *-1 "),
            ("geodist g Palermo Catania", "$11 166274.1516 "),
            ("geodist g Palermo Catania MI", "$8 103.3182 "),
            ("geodist g Palermo none", "$-1 "),
        ];
        assert_replies(bench, &expected);
        bench.resp = Resp::V3;
        assert_eq!(
            bench.run("geopos g Palermo none"),
            "*2 *2 ,13.36138933897018433 ,38.11555639549629859 _ "
        );
    });
}

#[test]
fn members_are_found_within_circles_and_boxes() {
    in_both_forms(|bench| {
        let expected = [
            ("georadius g 15 37 200 km", "*2 $7 Palermo $7 Catania "),
            ("georadius_ro g 15 37 200 km count 1", "*1 $7 Catania "),
            ("georadius g 15 37 9000 km count 2 any", "*2 $1 x $7 Palermo "),
            ("georadius g 15 37 9000 km count 2 desc", "*2 $1 x $5 Paris "),
            ("georadiusbymember g Palermo 200 km asc", "*2 $7 Palermo $7 Catania "),
            ("georadiusbymember_ro g Paris 1 m withhash", "*1 *2 $5 Paris :3663832805879806 "),
            (
                "geosearch g fromlonlat 15 37 byradius 200 km asc withdist withhash withcoord count 1",
                "*1 *4 $7 Catania $7 56.4413 :3479447370796909 *2 $20 15.08726745843887329 $20 37.50266842333162032 ",
            ),
            (
                "geosearch g frommember Palermo bybox 400 400 km desc withdist",
                "*2 *2 $7 Catania $8 166.2742 *2 $7 Palermo $6 0.0000 ",
            ),
            ("geosearch g fromlonlat 100 0 byradius 1 ft", "*0 "),
            ("geosearch none frommember a byradius 1 m", "*0 "),
            ("georadiusbymember none a x y", "*0 "),
        ];
        assert_replies(bench, &expected);
    });
}

#[test]
fn results_are_stored_with_positions_or_distances() {
    in_both_forms(|bench| {
        let mut replica = Bench::new();
        replica.limits = bench.limits.clone();
        let expected = [
            ("georadius g 15 37 200 km store d", ":2 "),
            (
                "zrange d 0 -1 withscores",
                "*4 $7 Palermo $16 3479099956230698 $7 Catania $16 3479447370796909 ",
            ),
            ("georadiusbymember g Palermo 200 km store a storedist e", ":2 "),
            ("exists a", ":0 "),
            ("zrange e 0 -1 withscores", "*4 $7 Palermo $1 0 $7 Catania $18 166.27415156960032 "),
            ("geosearchstore d g fromlonlat 15 37 bybox 1 1 m", ":0 "),
            ("exists d", ":0 "),
            ("append s string", ":6 "),
            ("georadius g 0 0 1 km store s", ":1 "),
            ("geosearchstore s none frommember a byradius 1 m", ":0 "),
            ("geosearchstore g g frommember Paris byradius 1 km storedist", ":1 "),
            ("zrange g 0 -1 withscores", "*2 $5 Paris $1 0 "),
            ("georadius g 1 1 1 m store a store b", ":0 "),
        ];
        for (command, reply) in expected {
            if command.ends_with("store b") {
                // Only keys that a key specification finds are locked.
                assert_eq!(bench.run(command), "-ERR syntax error ");
            } else {
                assert_eq!(bench.run(command), reply, "{command}");
            }
        }
        replica.follow(bench);
        assert_eq!(digest(&bench.shard()), digest(&replica.shard()));
    });
}

#[test]
fn additions_are_logged_as_scores() {
    let mut bench = Bench::new();
    bench.run("geoadd g NX CH 13.361389 38.115556 Palermo");
    bench.run("geoadd g NX 0 0 Palermo");
    assert_eq!(bench.effects(), "ZADD g NX CH 3479099956230698 Palermo");
}

#[test]
fn the_first_mistake_is_told() {
    let mut bench = Bench::new();
    bench.run("geoadd g 0 0 a");
    bench.run("append s x");
    bench.effects();
    let pair = |text: &str| format!("-ERR invalid longitude,latitude pair {text} ");
    let expected = [
        ("geoadd g nx xx 1 1 a", "-ERR syntax error "),
        ("geoadd g 1 1 a 1", "-ERR syntax error "),
        ("geoadd g ch ch ch", "-ERR syntax error "),
        ("geoadd s x 1 a", "-ERR value is not a valid float "),
        ("geoadd g 200 100 a", &pair("200.000000,100.000000")),
        ("geoadd g 1 1 a inf 1 b", &pair("inf,1.000000")),
        ("geodist s a b xx", "-ERR unsupported unit provided. please use M, KM, FT, MI "),
        ("geodist g a b m m", "-ERR syntax error "),
        ("geodist none a b", "$-1 "),
        ("georadius g 1 1 x m", "-ERR need numeric radius "),
        ("georadius g 1 1 -1 xx", "-ERR radius cannot be negative "),
        ("georadius g 1 1 1 xx", "-ERR unsupported unit provided. please use M, KM, FT, MI "),
        ("georadius g 1 1 1 m count 0", "-ERR COUNT must be > 0 "),
        ("georadius g 1 1 1 m count x", "-ERR value is not an integer or out of range "),
        ("georadius g 1 1 1 m count", "-ERR syntax error "),
        ("georadius g 1 1 1 m any", "-ERR the ANY argument requires COUNT argument "),
        ("georadius g 1 1 1 m store", "-ERR syntax error "),
        ("georadius_ro g 1 1 1 m store d", "-ERR syntax error "),
        (
            "georadius g 1 1 1 m store d withdist",
            "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options ",
        ),
        ("georadiusbymember g none x m", "-ERR could not decode requested zset member "),
        ("geosearch g frommember none byradius 1 m", "-ERR could not decode requested zset member "),
        (
            "GeoSearch g byradius 1 m asc desc",
            "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GeoSearch ",
        ),
        (
            "geosearch g frommember a asc desc any",
            "-ERR exactly one of BYRADIUS and BYBOX can be specified for geosearch ",
        ),
        ("geosearch g frommember a fromlonlat 1 1 byradius 1 m", "-ERR syntax error "),
        ("geosearch g frommember a byradius 1 m bybox 1 1 m", "-ERR syntax error "),
        ("geosearch g frommember a bybox 1 x m", "-ERR need numeric height "),
        ("geosearch g frommember a bybox x 1 m", "-ERR need numeric width "),
        ("geosearch g frommember a bybox 1 -1 m", "-ERR height or width cannot be negative "),
        ("geosearch g frommember a byradius 1 m storedist", "-ERR syntax error "),
        (
            "geosearchstore d g frommember a byradius 1 m withhash",
            "-ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options ",
        ),
    ];
    assert_replies(&mut bench, &expected);
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value ";
    for command in [
        "geoadd s 1 1 a",
        "geodist s a b",
        "geohash s a",
        "geopos s a",
        "georadius s x 1 1 m",
        "georadiusbymember s a 1 m",
        "geosearch s x x x x x",
        "geosearchstore d s x x x x x",
    ] {
        assert_eq!(bench.run(command), wrong, "{command}");
    }
    assert_eq!(bench.effects(), "");
}

#[test]
fn scores_that_are_no_positions_are_somewhere() {
    in_both_forms(|bench| {
        bench.run("zadd g inf a -inf b -1 c 1e19 d 1e30 e 0.5 f 4503599627370496 h");
        for member in ["a", "b", "c", "d", "e", "f", "h"] {
            assert!(bench.run(&format!("geopos g {member}")).starts_with("*1 *2 $"));
            assert!(bench.run(&format!("geohash g {member}")).starts_with("*1 $11 "));
            assert!(bench.run(&format!("geosearch g frommember {member} byradius inf m")).starts_with('*'));
            assert!(bench.run(&format!("geosearch g frommember {member} bybox inf 1 m")).starts_with('*'));
        }
    });
}
