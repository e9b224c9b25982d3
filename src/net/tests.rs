//! The tasks of connections and links, on sockets of this machine.

use std::{
    io::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use ringfort_protocol::{Resp, encode_command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::yield_now,
};

use super::*;
use crate::{env::Clock, node::testing, routing::frame};

/// A clock that goes on whenever it is read.
#[derive(Debug, Default)]
struct Reads(AtomicU64);

impl Clock for Reads {
    fn boot(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

/// Runs a test on an event loop that sends what is owed.
fn with_loop(test: impl AsyncFnOnce(Rc<EventLoop>, Arc<Reads>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    runtime.unwrap().block_on(async {
        let clock = Arc::new(Reads::default());
        let node = Node { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..testing::node() };
        let bus = Arc::new(Bus::new(node.id, ""));
        let router = Router::new(Arc::new(node), Arc::new(Parking::new(1)), 0, 7);
        let (control, _commands) = mpsc::unbounded_channel();
        let this = Rc::new(EventLoop::new(router, bus, Arc::default(), control));
        tasks::local("flush", Rc::clone(&this).flush_forever());
        test(this, clock).await;
    });
}

/// The two ends of a connection, the node's last.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (there, listener.accept().await.unwrap().0)
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_command(&mut bytes, words.iter());
    bytes
}

/// Lets all tasks run until something holds.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        yield_now().await;
    }
}

async fn let_all_run(times: usize) {
    for _ in 0..times {
        yield_now().await;
    }
}

#[test]
fn a_client_that_takes_no_replies_leaves_the_loop_at_rest() {
    with_loop(async |this, clock| {
        let (mut client, stream) = connected().await;
        this.greet(Door::Client, stream, client.local_addr().unwrap());
        let shared = this.node.clients.list().remove(0);
        let (commands, unsent) = (|| this.node.tallies.calls(), || shared.output.load(Ordering::Relaxed));
        client.write_all(&command(&["SET", "k", &"v".repeat(100_000)])).await.unwrap();
        until(|| commands() == 1).await;
        // As many replies as both sockets take, and one more.
        while unsent() == 0 {
            let before = commands();
            client.write_all(&command(&["GET", "k"])).await.unwrap();
            until(|| commands() > before).await;
            let_all_run(100).await;
        }
        let ping = command(&["PING"]);
        client.write_all(&ping[..ping.len() / 2]).await.unwrap();
        until(|| shared.input.load(Ordering::Relaxed) > 0).await;
        let before = clock.0.load(Ordering::Relaxed);
        let_all_run(1_000).await;
        let read = clock.0.load(Ordering::Relaxed) - before;
        assert!(unsent() > 0 && read < 100, "{} bytes unsent, and the clock was read {read} times", unsent());
        // It goes on where it was.
        let gets = commands() as usize - 1;
        client.write_all(&ping[ping.len() / 2..]).await.unwrap();
        let mut replies = vec![0; "+OK\r\n".len() + gets * (100_000 + "$100000\r\n\r\n".len())];
        client.read_exact(&mut replies).await.unwrap();
        let mut last = [0; 7];
        client.read_exact(&mut last).await.unwrap();
        assert_eq!(&last, b"+PONG\r\n");
    });
}

#[test]
fn nothing_is_run_for_a_node_once_it_is_known_to_be_dead() {
    with_loop(async |this, _| {
        let command = command(&["SET", "k", "v"]);
        let (db, resp, silent, waits, waited, last_look) = (0, Resp::V2, false, None, false, false);
        let request = frame::PeerRequest {
            id: 1,
            version: Version(1),
            db,
            resp,
            silent,
            waits,
            waited,
            last_look,
            command: &command,
        };
        let mut sent = Vec::new();
        frame::put_request(&mut sent, &request);
        // Which of several things that have happened a task sees first is left to chance.
        for _ in 0..32 {
            let [mut there, mut other_there] = [connected().await, connected().await]
                .map(|(there, here)| (there.into_std().unwrap(), here.into_std().unwrap()));
            let (key, other_here) =
                (this.new_key(), TcpStream::from_std(other_there.1.try_clone().unwrap()).unwrap());
            let connection = PeerConnection::new(there.1.try_clone().unwrap(), key).unwrap();
            this.peers.borrow_mut().insert(key, Rc::clone(&connection));
            tasks::local("peer", link::serve(Rc::clone(&this), Rc::clone(&connection)));
            let_all_run(10).await;
            // The request is there, and so is what tells that its node is dead, before the loop looks at its sockets.
            for (there, here) in [&mut there, &mut other_there] {
                there.write_all(&sent).unwrap();
                while here.peek(&mut [0; 1]).is_err() {}
            }
            other_here.readable().await.unwrap();
            connection.close();
            until(|| this.peers.borrow().is_empty()).await;
        }
        assert_eq!(this.node.stats.served_for_peers.get(), 0);
    });
}
