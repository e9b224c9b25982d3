//! Positions: sorted sets whose scores tell where their members are.
//!
//! [`hash`] makes a score of a position, [`area`] has the geometry of what is searched, [`query`] reads what is asked
//! for, [`search`] finds it.

mod area;
mod hash;
mod query;
mod read;
mod search;
#[cfg(test)]
mod tests;

use ringfort_protocol::{Args, LongDouble, OwnedArgs, Resp};

use self::hash::{Cell, LATITUDE, LONGITUDE, Position, STEPS};
use super::{
    Command, CommandError, Done, Flags, Group, KeyFlags, KeySpec, Reply, Run,
    parse::{self, is},
    zsets,
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    GEOADD,
    read::GEODIST,
    read::GEOHASH,
    read::GEOPOS,
    search::GEORADIUS,
    search::GEORADIUS_RO,
    search::GEORADIUSBYMEMBER,
    search::GEORADIUSBYMEMBER_RO,
    search::GEOSEARCH,
    search::GEOSEARCHSTORE,
];

/// What reading commands have in common.
const READ: Command = Command {
    group: Group::Geo,
    since: "3.2.0",
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, SOURCE)],
    ..Command::BASE
};

/// A key whose positions are read.
const SOURCE: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);

/// A key that a result is stored at.
const DESTINATION: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);

const GEOADD: Command = Command {
    name: "geoadd",
    summary: "Adds members with their positions to a sorted set, or moves them",
    complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
    arity: -5,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        // What ZADD would be told; that is what replicas are told, too.
        let add = as_zadd(args)?;
        let done = zsets::add(cx, add.as_args(), false)?;
        if done != Done::Changed {
            return Ok(done);
        }
        cx.db.log_command(cx.key(0), add.as_args().iter());
        Ok(Done::Logged)
    }),
    ..READ
};

fn as_zadd(args: Args<'_>) -> Result<OwnedArgs, CommandError> {
    let is_option = |arg: &&[u8]| is(arg, "nx") || is(arg, "xx") || is(arg, "ch");
    let options = args.slice(2..).iter().take_while(is_option);
    let has = |option| options.clone().any(|arg| is(arg, option));
    let positions = args.slice(2 + options.clone().count()..);
    if !positions.len().is_multiple_of(3) || has("nx") && has("xx") {
        return Err(CommandError::Syntax);
    }
    let mut add = OwnedArgs::default();
    [b"ZADD", args.at(1)].into_iter().chain(options.clone()).for_each(|arg| add.push(arg));
    for index in (0..positions.len()).step_by(3) {
        let position = position(positions.at(index), positions.at(index + 1))?;
        let score = Cell::of(position, STEPS).score();
        add.push(itoa::Buffer::new().format(score).as_bytes());
        add.push(positions.at(index + 2));
    }
    Ok(add)
}

/// Reads a position.
fn position(longitude: &[u8], latitude: &[u8]) -> Result<Position, CommandError> {
    let (longitude, latitude) = (parse::float(longitude)?, parse::float(latitude)?);
    if LONGITUDE.has(longitude) && LATITUDE.has(latitude) {
        return Ok(Position { longitude, latitude });
    }
    Err(CommandError::made(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

/// The meters of a unit.
fn unit(name: &[u8]) -> Result<f64, CommandError> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let unit = UNITS.iter().find(|unit| is(name, unit.0));
    unit.map(|unit| unit.1)
        .ok_or(CommandError::other("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

/// Replies with a distance.
fn reply_distance(out: &mut Reply, distance: f64) {
    let text = match distance {
        // Where the sine of an angle was above 1.
        _ if distance.is_nan() => if distance.is_sign_negative() { "-nan" } else { "nan" }.to_owned(),
        _ => format!("{distance:.4}"),
    };
    out.bulk(text.as_bytes());
}

/// Replies with a position.
fn reply_position(out: &mut Reply, position: Position) {
    out.array(2);
    for degrees in [position.longitude, position.latitude] {
        let mut text = Vec::new();
        LongDouble::from(degrees).format(&mut text);
        match out.resp {
            Resp::V2 => out.bulk(&text),
            Resp::V3 => {
                out.bytes.push(b',');
                out.bytes.extend_from_slice(&text);
                out.bytes.extend_from_slice(b"\r\n");
            }
        }
    }
}
