//! Applies effects to a copy: the same commands, by the same handlers, without a client and without a clock.

use ringfort_protocol::{Args, Limits, Parsed, Parser};
use smallvec::SmallVec;

use crate::{
    commands::{self, Cx, Reply, Run, error::is_error},
    node::Node,
    store::{Access, DATABASES, Db, Key, Locked, Shard, log},
};

/// Applies records, as a log holds them. The copy's own log is the caller's affair. Returns whether all could be
/// applied; if not, the copy differs from its primary and is of no use.
pub fn records(node: &Node, shard: &mut Shard, bytes: &[u8]) -> bool {
    let settings = node.config.load();
    let access = Access { now: node.clock.wall_ms(), lfu: settings.policy.is_lfu(), ..Access::default() };
    // Effects are appended as they came, not as they are applied.
    let log = std::mem::take(&mut shard.core.log);
    let mut sound = true;
    // The primary has held the client to its limits; what it has applied is applied here.
    let mut limits = (*settings.limits).clone();
    limits.proto_max_bulk_len = u32::MAX as usize;
    let (mut parser, mut spans, mut out) = (Parser::new(), Vec::new(), Reply::default());
    for (db, record) in log::records(bytes) {
        let parsed = parser.parse(record, &mut spans, &Limits::BETWEEN_NODES);
        let (Ok(Parsed::Command { .. }), true) = (parsed, db < DATABASES) else {
            tracing::error!(shard = %shard.core.id, "a record of the log is no command; the copy is given up");
            sound = false;
            break;
        };
        let args = Args::new(record, &spans);
        out.bytes.clear();
        out.shared.clear();
        effect(node, shard, &limits, access, db, args, &mut out);
        if is_error(&out.bytes) {
            let reply = String::from_utf8_lossy(&out.bytes);
            tracing::error!(shard = %shard.core.id, ?args, %reply, "an effect was refused by the copy");
            sound = false;
            break;
        }
    }
    shard.core.log = log;
    sound
}

fn effect(
    node: &Node,
    shard: &mut Shard,
    limits: &commands::Limits,
    access: Access,
    db: u8,
    args: Args<'_>,
    out: &mut Reply,
) {
    let command = match commands::resolve_effect(args) {
        Ok(command) => command,
        Err(error) => return out.error(&error),
    };
    let (Run::Data(handler) | Run::EachShard(handler)) = command.run else { return };
    let keys: SmallVec<[Key<'_>; 2]> =
        command.names(args).map(|name| Key::new(name, node.store.hash_seed)).collect();
    let mut locked = [shard];
    let db = Db::new(Locked::new(&mut locked, node.store.slots_per_shard()), db, 0, access);
    let mut cx = Cx { db, keys: &keys, out, random: 0, limits, waited: false };
    commands::dispatch::run(handler, &mut cx, args);
}
