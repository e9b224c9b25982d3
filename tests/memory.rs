//! A node with little memory: it stays within its limit, gives up what is used least, and removes what has expired.

mod support;

use support::{
    connection::Connection,
    reply::{Protocol, Reply},
    server::{Server, wait_until},
};

/// The limit of the nodes here, in bytes.
const LIMIT: u64 = 30 << 20;

/// Bytes of memory that the process may hold beyond the limit, which counts data only: the code itself, threads, what a
/// node takes before it has data, and what the allocator keeps.
const OVERHEAD: u64 = 60 << 20;

/// A value of this size makes keys cost about a thousandth of a MiB.
const VALUE: [u8; 1_000] = [b'v'; 1_000];

fn start(policy: &str) -> (Server, Connection) {
    let limit = LIMIT.to_string();
    let options = ["--maxmemory", &limit, "--maxmemory-policy", policy];
    let server = Server::start_node(&options).expect("the node starts");
    let connection = server.connect(Protocol::Resp2).expect("the node answers");
    (server, connection)
}

fn set(connection: &mut Connection, key: &str, options: &[&str]) -> Reply {
    let mut args: Vec<&[u8]> = vec![b"SET", key.as_bytes(), &VALUE];
    args.extend(options.iter().map(|option| option.as_bytes()));
    connection.call(&args).expect("a reply")
}

fn is_there(connection: &mut Connection, key: &str) -> bool {
    matches!(connection.call(&["GETRANGE", key, "0", "0"]), Ok(Reply::Bulk(bytes)) if bytes == b"v")
}

/// How many of the keys `prefix` followed by a number of `range` are there.
fn count(connection: &mut Connection, prefix: &str, range: std::ops::Range<usize>) -> usize {
    range.filter(|i| is_there(connection, &format!("{prefix}{i}"))).count()
}

#[test]
fn under_allkeys_lru_memory_stays_in_bounds_and_hot_keys_stay() {
    let (server, mut connection) = start("allkeys-lru");
    // Four times what fits.
    for i in 0..120_000 {
        assert_eq!(set(&mut connection, &format!("cold{i}"), &[]), Reply::Simple(b"OK".to_vec()));
        if i < 100 {
            set(&mut connection, &format!("hot{i}"), &[]);
        }
        if i % 10 == 0 {
            is_there(&mut connection, &format!("hot{}", i / 10 % 100));
        }
        if i % 10_000 == 0 {
            let resident = server.resident_bytes();
            assert!(resident < LIMIT + OVERHEAD, "{resident} after {i}");
        }
    }
    assert_eq!(count(&mut connection, "hot", 0..100), 100);
    let left = count(&mut connection, "cold", 0..120_000);
    assert!((15_000..30_000).contains(&left), "{left} keys of 1 KB in 30 MiB");
    // What came last is what stays.
    assert!(count(&mut connection, "cold", 110_000..120_000) > 9_500);
}

#[test]
fn under_noeviction_writes_are_refused_and_reads_go_on() {
    let (_server, mut connection) = start("noeviction");
    let mut written = 0;
    let refusal = loop {
        match set(&mut connection, &format!("k{written}"), &[]) {
            Reply::Error(text) => break text,
            _ => written += 1,
        }
        assert!(written < 60_000);
    };
    assert_eq!(refusal, b"OOM command not allowed when used memory > 'maxmemory'.");
    assert!(written > 15_000, "{written}");
    assert_eq!(count(&mut connection, "k", 0..written), written);
}

#[test]
fn under_a_volatile_policy_keys_without_a_deadline_stay() {
    let (_server, mut connection) = start("volatile-ttl");
    for i in 0..10_000 {
        set(&mut connection, &format!("kept{i}"), &[]);
    }
    for i in 0..40_000 {
        let reply = set(&mut connection, &format!("dated{i}"), &["EX", &(10_000 + i).to_string()]);
        assert_eq!(reply, Reply::Simple(b"OK".to_vec()));
    }
    assert_eq!(count(&mut connection, "kept", 0..10_000), 10_000);
    // Those with the soonest deadlines went.
    assert!(count(&mut connection, "dated", 0..10_000) < 500);
    assert!(count(&mut connection, "dated", 39_000..40_000) > 900);
}

#[test]
fn keys_that_expire_give_their_memory_back_unasked() {
    let (_server, mut connection) = start("noeviction");
    // Nobody asks for these again; were they kept, the limit would be passed three times over.
    let mut refused = 0;
    for i in 0..90_000 {
        let name = format!("k{i}");
        if let Reply::Error(_) = set(&mut connection, &name, &["PX", "100"]) {
            refused += 1;
            wait_until("there is room again", || {
                Ok(!matches!(set(&mut connection, &name, &["PX", "100"]), Reply::Error(_)))
            })
            .expect("expired keys make room");
        }
    }
    assert!(refused < 10_000, "{refused}");
}

#[test]
fn sort_does_not_copy_what_it_sorts_by() {
    let (server, mut connection) = start("noeviction");
    let long = vec![b'x'; 1 << 20];
    let set: [&[u8]; 3] = [b"SET", b"w1", &long];
    assert_eq!(connection.call(&set).expect("a reply"), Reply::Simple(b"OK".to_vec()));
    let elements: Vec<&str> = ["RPUSH", "list"].into_iter().chain(std::iter::repeat_n("1", 200)).collect();
    assert_eq!(connection.call(&elements).expect("a reply"), Reply::Integer(200));
    let before = server.most_resident_bytes();
    let sorted = connection.call(&["SORT", "list", "BY", "w*", "ALPHA", "LIMIT", "0", "1"]);
    assert_eq!(sorted.expect("a reply"), Reply::Array(vec![Reply::Bulk(b"1".to_vec())]));
    let grown = server.most_resident_bytes() - before;
    assert!(grown < 50 << 20, "{grown} bytes for 200 times the same MiB");
}
