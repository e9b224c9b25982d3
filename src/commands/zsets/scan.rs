//! ZSCAN.

use ringfort_protocol::{Args, number};

use super::{READ, SOURCE, zset_of};
use crate::{
    commands::{Command, CommandError, Cx, Done, KeySpec, Run, scan},
    store::{
        objects::zset::ZSetRef,
        packed::{self, Item},
    },
};

pub(super) const ZSCAN: Command = Command {
    name: "zscan",
    summary: "Goes through the members and scores of a sorted set in steps",
    since: "2.8.0",
    complexity: "O(1) for a step, O(N) for all of them",
    arity: -3,
    keys: &[KeySpec::at(1, SOURCE)],
    run: Run::Data(zscan),
    ..READ
};

fn zscan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let cursor = scan::cursor(args.at(2))?;
    let Some(zset) = zset_of(cx.db.read(cx.keys[0]))? else {
        scan::reply(cx.out, None, &[]);
        return Ok(Done::Read);
    };
    let options = scan::Options::parse(args.slice(3..))?;
    match (zset, cursor) {
        (ZSetRef::Small(bytes), _) => {
            let pairs = packed::pairs(bytes).filter(|(member, _)| options.wants(*member));
            let found: Vec<Item<'_>> = pairs.flat_map(|(member, score)| [member, score]).collect();
            scan::reply(cx.out, None, &found);
        }
        (ZSetRef::Large(_), None) => scan::reply(cx.out, None, &[]),
        (ZSetRef::Large(zset), Some(from)) => {
            let mut members = Vec::new();
            let next = zset.scan(from, options.count, |member, score| {
                if options.wants(Item::Bytes(member)) {
                    members.push((member, number::format_double(score)));
                }
            });
            let items = members.iter().flat_map(|(member, score)| [*member, score.as_bytes()]);
            let found: Vec<Item<'_>> = items.map(Item::Bytes).collect();
            scan::reply(cx.out, next, &found);
        }
    }
    Ok(Done::Read)
}
