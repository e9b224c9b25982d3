//! Applies effects to a copy: the same commands, by the same handlers, without a client and without a clock.

use ringfort_protocol::{Args, Parsed, Parser};
use smallvec::SmallVec;

use crate::{
    commands::{self, Cx, Reply, Run},
    node::Node,
    store::{Access, Db, Key, Locked, Shard, log},
};

/// Applies records, as a log holds them. The copy's own log is the caller's affair.
pub fn records(node: &Node, shard: &mut Shard, bytes: &[u8]) {
    let settings = node.config.load();
    let access = Access { now: node.clock.wall_ms(), lfu: settings.policy.is_lfu(), ..Access::default() };
    // Effects are appended as they came, not as they are applied.
    let log = std::mem::take(&mut shard.core.log);
    let (mut parser, mut spans, mut out) = (Parser::new(), Vec::new(), Reply::default());
    for (db, record) in log::records(bytes) {
        let parsed = parser.parse(record, &mut spans, &Default::default());
        let Ok(Parsed::Command { .. }) = parsed else {
            tracing::error!(shard = %shard.core.id, "a record of the log is no command; it was skipped");
            parser = Parser::new();
            continue;
        };
        let args = Args::new(record, &spans);
        out.bytes.clear();
        out.shared.clear();
        effect(node, shard, &settings.limits, access, db, args, &mut out);
        if out.bytes.starts_with(b"-") {
            let reply = String::from_utf8_lossy(&out.bytes);
            tracing::error!(shard = %shard.core.id, ?args, %reply, "an effect was refused by the copy");
        }
    }
    shard.core.log = log;
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
    let command = match commands::resolve(args) {
        Ok(command) => command,
        Err(error) => return out.error(&error),
    };
    let (Run::Data(handler) | Run::EachShard(handler)) = command.run else { return };
    let indices = command.keys.iter().flat_map(|spec| spec.indices(args));
    let keys: SmallVec<[Key<'_>; 2]> =
        indices.map(|index| Key::new(args.at(index), node.store.hash_seed)).collect();
    let mut locked = [shard];
    let db = Db::new(Locked::new(&mut locked, node.store.slots_per_shard()), db, 0, access);
    let mut cx = Cx { db, keys: &keys, out, random: 0, limits };
    commands::dispatch::run(handler, &mut cx, args);
}
