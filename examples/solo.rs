use std::sync::Arc;
use ringfort::*;
use ringfort_cluster::*;
fn main() {
    let port: u16 = std::env::args().nth(1).unwrap().parse().unwrap();
    let id = NodeId([1; 20]);
    let mut topology = Topology::unfounded();
    let first = NodeInfo { id, incarnation: Incarnation(1), zone: String::new(), weight: 1, address: Address { host: "127.0.0.1".into(), client_port: port, cluster_port: port + 1000, admin_port: port + 2000, bus_port: port + 10000 } };
    topology.apply(&Change::Found { cluster: ClusterId([2; 20]), settings: Settings::default(), first }).unwrap();
    let store = store::Store::new(256, 7);
    for i in 0..256 { store.lock(ShardId(i)).core.role = store::Role::Primary; }
    let clock = Arc::new(env::SystemClock);
    let node = Arc::new(node::Node { id, incarnation: 1.into(), started: 0, clock, store, topology: Arc::new(arc_swap::ArcSwap::from_pointee(topology)), lease: Default::default(), config: Default::default(), clients: Default::default(), stats: Default::default() });
    node.lease.set(u64::MAX);
    let (_tx, rx) = tokio::sync::watch::channel(Version(1));
    let (_stx, srx) = tokio::sync::watch::channel(false);
    let threads: u64 = std::env::args().nth(2).map_or(1, |t| t.parse().unwrap());
    let mut hs = vec![];
    for seed in 0..threads {
        let l = net::listen::listen(format!("127.0.0.1:{port}").parse().unwrap()).unwrap();
        let (ptx, peers) = tokio::sync::mpsc::unbounded_channel();
        std::mem::forget(ptx);
        let start = net::Start { node: node.clone(), listeners: vec![(clients::Door::Client, l)], bus: Arc::new(bus::Bus::new(id, "")), topology: rx.clone(), peers, replication: Default::default(), stop: srx.clone(), seed };
        hs.push(std::thread::spawn(move || net::run(start).unwrap()));
    }
    for h in hs { h.join().unwrap(); }
}
