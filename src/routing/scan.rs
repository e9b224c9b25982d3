//! SCAN over the whole cluster: through the shards of this node, and from node to node by the cursor.
//!
//! A node goes through its own consecutive shards until COUNT keys were visited or a shard comes that it does not
//! serve. Where that is the end of neither the count nor the keyspace, the node that was asked lets the owner of the
//! next shard go on. Each part goes past at least one shard or uses up the count, so there are no more parts than
//! shards.
//!
//! On the cluster port, where clients scan node by node, a scan skips the shards of others.

use ringfort_cluster::ShardId;
use ringfort_protocol::{Elements, OwnedArgs, elements};

use super::{
    Executed, Origin, Place, Request, Route, Router,
    frame::Written,
    steps::{Asked, Job, NONSENSE, body},
};
use crate::{
    clients::Door,
    commands::{
        Reply,
        generic::scan::{Found, PART, Scan, cursor, point},
    },
    store::{Point, Role},
};

/// A scan whose parts are done one after the other.
#[derive(Debug)]
pub(super) struct Scanning {
    pub(super) asked: Asked,
    /// Where the part that is under way began.
    from: Point,
    found: Found,
}

impl Router {
    /// Where a scan, or a part of one, is to go.
    pub(super) fn place_scan(&self, request: &Request<'_>) -> Place {
        let whole = request.command.name != PART.name;
        if request.door == Door::Cluster || self.routes.iter().all(|route| *route == Route::Here) {
            return Place::Here;
        }
        match point(request.args.at(1)) {
            Err(_) => Place::Here,
            Ok(_) if whole => Place::Several,
            Ok(at) => Place::from(self.route(at.slot)),
        }
    }

    /// Scans from the cursor on through the shards that this node serves.
    pub(super) fn execute_scan(&mut self, request: &Request<'_>, out: &mut Reply) -> Executed {
        let scan = match Scan::parse(request.args) {
            Ok(scan) => scan,
            Err(error) => {
                out.error(&error);
                return Executed::Done(Written::new());
            }
        };
        let mut found = Found::new(scan.count());
        let mut next = scan.from;
        let first = self.node.store.shard_of(next.slot);
        for id in (first.0..self.node.store.shards()).map(ShardId) {
            let shard = self.node.store.lock(id);
            if shard.core.role == Role::Primary {
                next = scan.visit(&shard, request.db, self.now.wall, next, &mut found);
            } else if request.door == Door::Cluster {
                next = Point { slot: shard.slots().end, hash: 0 };
            } else if id == first {
                return Executed::NotServing;
            } else {
                break;
            }
            if found.left == 0 {
                break;
            }
        }
        if request.command.name == PART.name {
            found.reply_part(next, out);
        } else {
            found.reply(next, out);
        }
        Executed::Done(Written::new())
    }

    /// Begins a scan that may need several nodes.
    pub(super) fn scan(&mut self, origin: Origin, request: Request<'_>) {
        match Scan::parse(request.args) {
            Err(error) => self.fail(origin, &error),
            Ok(scan) => {
                let (from, found) = (scan.from, Found::new(scan.count()));
                let asked = self.take_on(origin, request);
                self.scan_on(Scanning { asked, from, found });
            }
        }
    }

    fn scan_on(&mut self, scanning: Scanning) {
        let asked = scanning.asked.request.args.as_args();
        let (mut cursor_text, mut count_text) = (itoa::Buffer::new(), itoa::Buffer::new());
        let options = asked.slice(2..);
        let head = [PART.name.as_bytes(), cursor_text.format(cursor(scanning.from)).as_bytes()];
        // The last COUNT counts.
        let tail = [b"COUNT", count_text.format(scanning.found.left).as_bytes()];
        let args: OwnedArgs = head.into_iter().chain(options.iter()).chain(tail).collect();
        let db = scanning.asked.request.db;
        self.step(Job::Scan(scanning), &PART, db, &args);
    }

    pub(super) fn scan_goes_on(&mut self, mut scanning: Scanning, reply: &[u8]) {
        let Some(part) = read_part(reply) else { return self.fail_job(scanning.asked, &NONSENSE) };
        let found = &mut scanning.found;
        for key in part.keys {
            found.keys += 1;
            found.bytes.extend_from_slice(key);
        }
        found.left = found.left.saturating_sub(part.visited);
        found.visited += part.visited;
        let over = cursor(part.next) == 0 || found.left == 0;
        if !over && part.next <= scanning.from {
            return self.fail_job(scanning.asked, &NONSENSE);
        }
        // What there is now is of more use than what there may be when somebody serves the next shard.
        if over || (found.visited > 0 && self.route(part.next.slot) == Route::Nobody) {
            let mut out = Reply::new(scanning.asked.request.resp);
            found.reply(part.next, &mut out);
            return self.end_job(scanning.asked, out.into_bytes());
        }
        scanning.from = part.next;
        self.scan_on(scanning);
    }
}

/// The reply to a part.
struct Part<'a> {
    next: Point,
    keys: Elements<'a>,
    visited: usize,
}

fn read_part(reply: &[u8]) -> Option<Part<'_>> {
    let mut parts = elements(reply)?;
    let next = point(body(parts.next()?)?).ok()?;
    let keys = elements(parts.next()?)?;
    let visited = parts.next()?.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    let visited = std::str::from_utf8(visited).ok()?.parse().ok()?;
    Some(Part { next, keys, visited })
}
