//! The admin port of real nodes: what it answers, when a node is ready, and what bad clients can do to it.

mod support;

use std::net::{SocketAddr, TcpStream};

use ringfort::ops::{
    http::CONNECTIONS,
    metrics::{METRICS, PREFIX},
};
use support::{
    exposition::Scrape,
    http::{Answer, ask, open, read_all, send},
    reply::{Protocol, Reply},
    server::{Kind, Place, Server, wait_until},
};

fn get(door: SocketAddr, path: &str) -> Answer {
    ask(door, "GET", path).expect("an answer")
}

fn scrape(door: SocketAddr) -> Scrape {
    let answer = get(door, "/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Scrape::read(&answer.body).expect("the text format")
}

fn wait_until_ready(server: &Server) {
    for door in server.admin_doors() {
        wait_until("the node is ready", || Ok(get(door, "/readyz").status == 200)).expect("it becomes ready");
    }
}

fn one_node() -> (Server, SocketAddr) {
    let server = Server::start(Kind::Ringfort).expect("the node starts");
    wait_until_ready(&server);
    let door = server.admin_doors()[0];
    (server, door)
}

#[test]
fn a_node_that_serves_is_healthy_and_ready_and_tells_its_status() {
    let (_server, door) = one_node();
    let health = get(door, "/healthz");
    assert_eq!(health.status, 200);
    assert!(health.body.ends_with("event loops turn\n"), "{}", health.body);
    assert_eq!(get(door, "/readyz").body, "the node serves 256 shards, and reaches the others\n");
    let status = get(door, "/status");
    assert_eq!((status.status, status.header("content-type")), (200, Some("application/json")));
    let status: serde_json::Value = serde_json::from_str(&status.body).expect("JSON");
    assert_eq!(
        (status["shards"].as_u64(), status["nodes"][0]["primary_of"].as_u64()),
        (Some(256), Some(256))
    );
}

#[test]
fn paths_and_methods_that_are_not_served_are_refused_with_what_is() {
    let (_server, door) = one_node();
    let unknown = get(door, "/metricz");
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("/metrics"), "{}", unknown.body);
    let post = ask(door, "POST", "/metrics").expect("an answer");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(ask(door, "GET", "/log?filter=debug").expect("an answer").status, 405);
    let head = ask(door, "HEAD", "/metrics").expect("an answer");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn every_metric_is_there_once_in_the_text_format() {
    let (_server, door) = one_node();
    let scrape = scrape(door);
    let mut declared: Vec<String> = METRICS.iter().map(|metric| format!("{PREFIX}{}", metric.name)).collect();
    declared.sort();
    assert_eq!(scrape.0.keys().cloned().collect::<Vec<_>>(), declared);
    for (name, family) in &scrape.0 {
        // Nobody follows a node that is alone.
        assert_eq!(family.samples.is_empty(), name == "ringfort_replication_lag_bytes", "{name}");
        assert!(family.samples.iter().all(|sample| sample.1.is_finite() && sample.1 >= 0.0), "{name}");
    }
}

#[test]
fn metrics_tell_what_clients_did_and_what_the_node_holds() {
    let (server, door) = one_node();
    let before = scrape(door);
    let mut client = server.connect(Protocol::Resp2).expect("the node answers");
    for command in
        [&["SET", "a", "1"][..], &["GET", "a"], &["GET", "b"], &["SELECT", "3"], &["SET", "c", "2"]]
    {
        client.call(command).expect("a reply");
    }
    client.call(&["NOSUCHCOMMAND"]).expect("a reply");
    wait_until("the loop tells what it has read", || {
        let name = "ringfort_clients_received_bytes_total";
        Ok(scrape(door).sum(name) > before.sum(name))
    })
    .expect("it does");
    let after = scrape(door);
    let grown = |name: &str| after.sum(name) - before.sum(name);
    assert_eq!(grown("ringfort_server_commands_total"), 5.0, "one was none");
    assert_eq!(grown("ringfort_server_errors_total"), 1.0);
    assert_eq!(grown("ringfort_clients_accepted_total"), 1.0);
    assert!(grown("ringfort_clients_received_bytes_total") > 0.0);
    assert!(grown("ringfort_memory_data_bytes") > 0.0);
    assert_eq!(after.get("ringfort_clients_connections", &[]), Some(1.0));
    let keys = |db, role| after.get("ringfort_keyspace_keys", &[db, role]);
    assert_eq!(
        (keys("0", "primary"), keys("3", "primary"), keys("1", "primary")),
        (Some(1.0), Some(1.0), None)
    );
    assert_eq!(after.get("ringfort_node_shards", &["primary"]), Some(256.0));
    assert_eq!(after.get("ringfort_topology_nodes", &["alive"]), Some(1.0));
    assert_eq!(after.get("ringfort_council_is_leader", &[]), Some(1.0));
    assert_eq!(after.get("ringfort_council_voters", &[]), Some(1.0));
    assert!(after.sum("ringfort_lease_remaining_seconds") > 0.0);
    assert!(after.sum("ringfort_process_memory_resident_bytes") < after.sum("ringfort_machine_memory_bytes"));
    wait_until("the loops' turns and the process' time grow", || {
        let now = scrape(door);
        let grows = |name: &str| now.sum(name) > before.sum(name);
        Ok([
            "ringfort_loop_turns_total",
            "ringfort_loop_busy_seconds_total",
            "ringfort_process_cpu_seconds_total",
        ]
        .into_iter()
        .all(grows))
    })
    .expect("they grow");
}

#[test]
fn a_node_that_waits_to_join_is_healthy_and_not_ready_until_it_has_joined() {
    let founder = Place::free().expect("a place");
    let joiner = Server::begin(Place::free().expect("a place"), &[founder.address]).expect("it starts");
    let door = joiner.admin_doors()[0];
    wait_until("the admin port answers", || Ok(ask(door, "GET", "/healthz").is_ok())).expect("it answers");
    assert_eq!(get(door, "/healthz").status, 200);
    let readiness = get(door, "/readyz");
    assert_eq!(readiness.status, 503);
    assert!(readiness.body.contains("joins"), "{}", readiness.body);
    assert_eq!(get(door, "/status").status, 503);
    let waiting = scrape(door);
    assert!(waiting.sum("ringfort_process_uptime_seconds") > 0.0);
    assert!(waiting.0["ringfort_topology_version"].samples.is_empty());

    let founder = Server::begin(founder, &[]).expect("it starts");
    wait_until("the founder answers", || Ok(ask(founder.admin_doors()[0], "GET", "/healthz").is_ok()))
        .expect("it answers");
    wait_until_ready(&founder);
    wait_until_ready(&joiner);
    assert_eq!(scrape(door).get("ringfort_topology_nodes", &["alive"]), Some(2.0));
}

#[test]
fn replication_is_seen_and_a_node_that_loses_the_others_is_not_ready() {
    let mut cluster = Server::start(Kind::Cluster).expect("three nodes start");
    wait_until_ready(&cluster);
    let doors = cluster.admin_doors();
    let mut client = cluster.connect(Protocol::Resp2).expect("a node answers");
    for i in 0..300 {
        assert_eq!(
            client.call(&["SET", &format!("key{i}"), "value"]).expect("a reply"),
            Reply::Simple(b"OK".to_vec())
        );
    }
    // Until all copies have caught up, keys are on their way.
    wait_until("each key is served once and copied once", || {
        let scrapes: Vec<Scrape> = doors.iter().map(|door| scrape(*door)).collect();
        let keys = |role| {
            scrapes.iter().filter_map(|one| one.get("ringfort_keyspace_keys", &["0", role])).sum::<f64>()
        };
        let shards =
            |role| scrapes.iter().filter_map(|one| one.get("ringfort_node_shards", &[role])).sum::<f64>();
        let lag: f64 = scrapes.iter().map(|one| one.sum("ringfort_replication_lag_bytes")).sum();
        Ok((keys("primary"), keys("replica"), lag) == (300.0, 300.0, 0.0)
            && (shards("primary"), shards("replica")) == (256.0, 256.0))
    })
    .expect("it comes to rest");
    let first = scrape(doors[0]);
    assert_eq!(first.0["ringfort_replication_lag_bytes"].samples.len(), 2, "one for each peer that follows");
    assert!(first.sum("ringfort_routing_forwarded_requests_total") > 0.0);
    let leaders =
        doors.iter().filter_map(|door| scrape(*door).get("ringfort_council_is_leader", &[])).sum::<f64>();
    assert_eq!(leaders, 1.0);

    cluster.kill_others();
    wait_until("the node is not ready", || Ok(get(doors[0], "/readyz").status == 503)).expect("it notices");
    let readiness = get(doors[0], "/readyz");
    assert!(readiness.body.contains("lease"), "{}", readiness.body);
    assert_eq!(get(doors[0], "/healthz").status, 200);
    assert_eq!(scrape(doors[0]).get("ringfort_lease_remaining_seconds", &[]), Some(0.0));
}

#[test]
fn the_log_is_changed_while_the_node_runs() {
    let (server, door) = one_node();
    let put = |path: &str| ask(door, "PUT", path).expect("an answer");
    assert!(!server.log().contains("DEBUG"));
    let changed = put("/log?filter=info%2Cringfort%3A%3Aops=debug");
    assert_eq!(
        (changed.status, changed.body.as_str()),
        (200, "the log's filter is info,ringfort::ops=debug\n")
    );
    // What is wrong with it is told at debug.
    send(door, b"no HTTP at all\r\n\r\n").expect("it closes");
    wait_until("the log tells more", || Ok(server.log().contains("DEBUG"))).expect("it does");
    for bad in ["/log", "/log?level=debug", "/log?filter=ringfort%3Dloudly"] {
        assert_eq!(put(bad).status, 400, "{bad}");
    }
}

#[test]
fn bad_requests_are_refused_and_do_no_harm() {
    let (mut server, door) = one_node();
    let refused = |bytes: &[u8]| {
        // What is still under way when the server closes may cost the client the answer.
        let answer = send(door, bytes).unwrap_or_default();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        answer
    };
    assert!(refused(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").starts_with(b"HTTP/1.1 400"));
    assert!(refused(b"GET / HTTP/1.1\r\nno colon\r\n\r\n").starts_with(b"HTTP/1.1 400"));
    refused(&[0xff; 100_000]);
    refused(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).as_bytes());
    refused(format!("GET / HTTP/1.1\r\nlong: {}\r\n\r\n", "a".repeat(100_000)).as_bytes());
    refused(format!("GET / HTTP/1.1\r\n{}\r\n", "many: 1\r\n".repeat(500)).as_bytes());
    // A body that is announced and never sent is not waited for.
    assert!(
        refused(b"POST /metrics HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n").starts_with(b"HTTP/1.1 405")
    );
    assert_eq!(get(door, "/healthz").status, 200);
    server.check_alive().expect("the node lives");
}

#[test]
fn slow_clients_are_closed_and_only_delay_others_of_the_admin_port() {
    let (server, door) = one_node();
    let slow: Vec<TcpStream> = (0..CONNECTIONS + 10)
        .map(|_| open(door, b"GET /metrics HTTP/1.1\r\nHost:").expect("the port takes connections"))
        .collect();
    let mut client = server.connect(Protocol::Resp2).expect("the node answers");
    assert_eq!(client.call(&["SET", "a", "1"]).expect("a reply"), Reply::Simple(b"OK".to_vec()));
    assert_eq!(get(door, "/readyz").status, 200);
    for stream in slow {
        assert_eq!(read_all(stream).expect("it is closed"), b"");
    }
}
