//! Commands that read keys whose names they make of what their own keys hold, as SORT does by its patterns.
//!
//! A handler runs under the locks of the keys that its arguments name, so what else it may read must be told before:
//! as slots, where the names that are to come leave no doubt of theirs, or as everything. On one node these shards are
//! locked with those of the command's keys. Over several nodes the names are made of a copy of the command's keys, what
//! they name is fetched by [`LOOK`], and the command runs on the copies.

use ringfort_protocol::Args;

use super::{
    Command, CommandError, Cx, Done, Flags, Gather, Handler, KeyFlags, KeySpec, Run, Spread,
    generic::carry::CARRY_LIMIT, rebuild,
};
use crate::store::{log::put_record, objects::hash::HashRef};

/// What such a command declares.
#[derive(Clone, Copy, Debug)]
pub struct Following {
    /// What runs, with the shards of its keys and of all that it may find locked.
    pub run: Handler,
    /// How far it may reach beyond its keys, as its arguments tell.
    pub reach: fn(Args<'_>) -> Reach,
    /// Passes all that it may read beyond its keys to a visitor, until that answers `false`.
    pub find: fn(&Cx<'_>, Args<'_>, &mut Visitor<'_>) -> Result<(), CommandError>,
}

/// Is given what a command wants.
pub type Visitor<'v> = dyn FnMut(Wanted<'_>) -> bool + 'v;

/// How far a command may reach beyond its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To keys of these slots.
    Slots(Vec<u16>),
    /// To any key.
    Everything,
}

/// What a command wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The field, if it wants one of a hash; else a string.
    pub field: Option<&'a [u8]>,
}

impl Wanted<'_> {
    /// The two arguments by which [`LOOK`] is told.
    pub(crate) fn args(&self) -> [Vec<u8>; 2] {
        let field = self.field.map_or_else(Vec::new, |field| [b"=", field].concat());
        [self.key.to_vec(), field]
    }
}

/// `follow.look key field [key field …]`: of each key, the records that give it the string that it holds, or the one
/// field (behind a `=`) of its hash; null where there is none.
pub(crate) static LOOK: Command = STEP;

/// What is said of values that have more than [`CARRY_LIMIT`] bytes together.
pub(crate) const TOO_LARGE: CommandError = CommandError::other(
    "ERR The values are too large to be brought together from several nodes; give their keys a common hash tag, as in \
     {tag}key",
);

const STEP: Command = Command {
    name: "follow.look",
    arity: -3,
    flags: Flags::READONLY,
    keys: &[KeySpec::range(1, -1, 2, KeyFlags::RO.and(KeyFlags::ACCESS))],
    spread: Spread::Keys(Gather::PerKey),
    run: Run::Data(|cx, args| look(cx, args, CARRY_LIMIT)),
    ..Command::BASE
};

/// Replies with values that have up to `most` bytes together: what is beyond is not even copied.
fn look(cx: &mut Cx<'_>, args: Args<'_>, mut most: usize) -> Result<Done, CommandError> {
    let mut take = |bytes: usize| -> Result<(), CommandError> {
        most = most.checked_sub(bytes).ok_or(TOO_LARGE)?;
        Ok(())
    };
    cx.out.array(cx.keys.len());
    for (index, key) in cx.keys.iter().enumerate() {
        let value = cx.db.inspect(*key).map(|entry| entry.value());
        let mut records = Vec::new();
        match args.at(2 + 2 * index) {
            b"" => {
                if let Some(value) = value
                    && let Some(text) = value.as_string()
                {
                    take(text.len())?;
                    rebuild::records(cx.db.number, key.bytes, value, None, &mut records);
                }
            }
            field => {
                let field = &field[1..];
                if let Some(value) =
                    value.and_then(|value| HashRef::of(value, cx.db.now)).and_then(|hash| hash.get(field))
                {
                    take(value.text_len())?;
                    let effect = [&b"HSET"[..], key.bytes, field, &value.to_vec()];
                    put_record(&mut records, cx.db.number, effect.into_iter());
                }
            }
        }
        if records.is_empty() {
            cx.out.null();
        } else {
            cx.out.bulk(&records);
        }
    }
    Ok(Done::Read)
}

#[cfg(test)]
mod tests {
    use ringfort_protocol::OwnedArgs;

    use super::*;
    use crate::commands::bench::Bench;

    static SHORT: Command = Command { run: Run::Data(|cx, args| look(cx, args, 10)), ..STEP };

    #[test]
    fn values_are_told_up_to_a_limit() {
        let mut bench = Bench::new();
        bench.run("set s 12345");
        bench.run("hset h f 123456");
        let mut look = |text: &str| {
            let args: OwnedArgs =
                ["follow.look"].into_iter().chain(text.split(' ')).map(str::as_bytes).collect();
            let reply = bench.run_command(&SHORT, args.as_args());
            String::from_utf8(reply).unwrap().replace("\r\n", " ")
        };
        for fits in ["s  s ", "h =f none =f", "s  h =none"] {
            assert!(look(fits).starts_with("*2 $"), "{fits}");
        }
        for exceeds in ["s  s  s ", "s  h =f", "h =f h =f"] {
            assert_eq!(look(exceeds), "-".to_owned() + &String::from_utf8_lossy(&TOO_LARGE.text()) + " ");
        }
    }
}
