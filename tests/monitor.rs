//! MONITOR over real connections, whose event loops are threads.

mod support;

use support::{
    connection::Connection,
    reply::{Protocol, Reply},
    server::{Kind, Server, wait_until},
};

fn connect(server: &Server, protocol: Protocol) -> Connection {
    server.connect(protocol).expect("the node answers")
}

fn call(connection: &mut Connection, command: &str) -> Reply {
    let words: Vec<&str> = command.split(' ').collect();
    connection.call(&words).expect("a reply")
}

/// The arguments in the next line that a client is shown which watches, with their quotes.
fn shown(watcher: &mut Connection) -> String {
    match watcher.read() {
        Ok(Reply::Simple(line)) => {
            let line = String::from_utf8(line).expect("a line in ASCII");
            line.split_once("] ").map(|(_, args)| args.to_owned()).unwrap_or(line)
        }
        other => panic!("no line: {other:?}"),
    }
}

#[test]
fn a_client_is_shown_what_clients_of_all_event_loops_run() {
    let server = Server::start(Kind::Ringfort).expect("the node starts");
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut watcher = connect(&server, protocol);
        // So many that no loop is left without one.
        let mut clients: Vec<Connection> = (0..32).map(|_| connect(&server, Protocol::Resp2)).collect();
        assert_eq!(call(&mut watcher, "MONITOR"), Reply::Simple(b"OK".to_vec()));
        for (number, client) in clients.iter_mut().enumerate() {
            call(client, &format!("SET key{number} v"));
            assert_eq!(shown(&mut watcher), format!(r#""SET" "key{number}" "v""#));
        }
        call(&mut clients[0], "AUTH default secret");
        assert_eq!(shown(&mut watcher), r#""AUTH" "(redacted)" "(redacted)""#);
        // Several at once, each of whose commands comes once.
        for client in &mut clients {
            (0..10).for_each(|n| client.send(&["ECHO", &n.to_string()]).expect("it is sent"));
        }
        let mut lines: Vec<String> = (0..320).map(|_| shown(&mut watcher)).collect();
        lines.sort_unstable();
        for (n, same) in lines.chunks(32).enumerate() {
            assert!(same.iter().all(|line| *line == format!(r#""ECHO" "{n}""#)), "{n}: {same:?}");
        }
        assert_eq!(call(&mut watcher, "RESET"), Reply::Simple(b"RESET".to_vec()));
    }
}

#[test]
fn each_node_shows_its_own_clients_wherever_their_commands_run() {
    let server = Server::start(Kind::Cluster).expect("the nodes start");
    let open = |address| Connection::open(address, Protocol::Resp2).expect("the node answers");
    let mut nodes: Vec<(Connection, Connection)> =
        server.addresses().into_iter().map(|address| (open(address), open(address))).collect();
    for (watcher, _) in &mut nodes {
        assert_eq!(call(watcher, "MONITOR"), Reply::Simple(b"OK".to_vec()));
    }
    // Keys of all nodes, together and one by one; what carries values between nodes is not shown.
    for (node, (watcher, client)) in nodes.iter_mut().enumerate() {
        for n in 0..20 {
            call(client, &format!("SET {node}:{n} v"));
            assert_eq!(shown(watcher), format!(r#""SET" "{node}:{n}" "v""#));
        }
        call(client, &format!("MGET {node}:1 {node}:2 {node}:3 {node}:4 {node}:5"));
        assert_eq!(
            shown(watcher),
            format!(r#""MGET" "{node}:1" "{node}:2" "{node}:3" "{node}:4" "{node}:5""#)
        );
        call(client, &format!("SUNIONSTORE to {node}:a {node}:b {node}:c"));
        assert_eq!(shown(watcher), format!(r#""SUNIONSTORE" "to" "{node}:a" "{node}:b" "{node}:c""#));
    }
    for (node, (watcher, _)) in nodes.iter_mut().enumerate() {
        assert_eq!(
            call(watcher, "PING"),
            Reply::Simple(b"PONG".to_vec()),
            "node {node} has shown nothing else"
        );
    }
}

#[test]
fn who_watches_and_does_not_read_is_closed() {
    let server = Server::start(Kind::Ringfort).expect("the node starts");
    let mut slow = connect(&server, Protocol::Resp2);
    call(&mut slow, "CLIENT SETNAME slow");
    call(&mut slow, "MONITOR");
    let mut client = connect(&server, Protocol::Resp2);
    let megabyte = vec![b'x'; 1 << 20];
    wait_until("the client that does not read is closed", || {
        client.call(&[&b"SET"[..], b"k", &megabyte]).map_err(|error| error.to_string())?;
        let list = client.call(&["CLIENT", "LIST"]).map_err(|error| error.to_string())?;
        Ok(matches!(list, Reply::Bulk(list) if !String::from_utf8_lossy(&list).contains("name=slow")))
    })
    .expect("it is closed");
    while slow.read().is_ok() {}
    assert!(server.log().contains("closed: it watches commands"), "{}", server.log());
    // Others are served as before.
    let mut other = connect(&server, Protocol::Resp2);
    assert_eq!(call(&mut other, "MONITOR"), Reply::Simple(b"OK".to_vec()));
    call(&mut client, "GET absent");
    assert_eq!(shown(&mut other), r#""GET" "absent""#);
}
