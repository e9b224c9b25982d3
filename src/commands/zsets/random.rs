//! ZRANDMEMBER.

use ringfort_protocol::Args;

use super::{READ, SOURCE, found, zset_of};
use crate::commands::{
    Command, CommandError, Cx, Done, KeySpec, Run, parse,
    random::{Dice, MOST_REPEATS},
    reply::Allowance,
};

pub(super) const ZRANDMEMBER: Command = Command {
    name: "zrandmember",
    summary: "Returns random members of a sorted set",
    since: "6.2.0",
    complexity: "O(N*log(M)) where N is the number of members returned and M that of all",
    arity: -2,
    keys: &[KeySpec::at(1, SOURCE)],
    run: Run::Data(|cx, args| {
        if args.len() > 2 {
            return several(cx, args);
        }
        match zset_of(cx.db.read(cx.keys[0]))? {
            None => cx.out.null(),
            Some(view) => {
                let rank = Dice::new(cx.random).below(view.len());
                view.each(rank..rank + 1, false, |member, _| cx.out.bulk(member));
            }
        }
        Ok(Done::Read)
    }),
    ..READ
};

fn several(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let count = parse::within(args.at(2), -i64::MAX..=i64::MAX)?;
    let scores = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && parse::is(word, "withscores") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let too_many = scores && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2;
    if too_many || (count < 0 && wanted > MOST_REPEATS) {
        return Err(CommandError::other("ERR value is out of range"));
    }
    let Some(view) = zset_of(cx.db.read(cx.keys[0]))? else {
        cx.out.array(0);
        return Ok(Done::Read);
    };
    let mut dice = Dice::new(cx.random);
    if count >= 0 && wanted >= view.len() {
        found::head(cx.out, view.len(), scores);
        view.each(0..view.len(), true, |member, score| {
            found::element(cx.out, member, score, scores);
        });
        return Ok(Done::Read);
    }
    found::head(cx.out, wanted, scores);
    let mut write = |rank: usize| {
        let mut bytes = 0;
        view.each(rank..rank + 1, false, |member, score| {
            bytes = member.len();
            found::element(cx.out, member, score, scores);
        });
        bytes
    };
    if count < 0 {
        let mut allowance = Allowance::new(cx.limits);
        for _ in 0..wanted {
            allowance.take(write(dice.below(view.len())))?;
        }
    } else {
        dice.choose(wanted, view.len()).into_iter().for_each(|rank| _ = write(rank));
    }
    Ok(Done::Read)
}
