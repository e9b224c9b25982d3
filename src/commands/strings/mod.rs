//! Strings.

use super::{Command, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run};
use crate::{
    commands::CommandError,
    store::{Form, Value},
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[GET, APPEND];

const GET: Command = Command {
    name: "get",
    summary: "Returns the string value of a key",
    group: Group::String,
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(|cx, _| {
        write_string(cx)?;
        Ok(Done::Read)
    }),
    ..Command::BASE
};

/// Writes the string at the command's first key, or null.
fn write_string(cx: &mut Cx<'_>) -> Result<(), CommandError> {
    match cx.db.read(cx.key(0)) {
        None => cx.out.null(),
        Some(Value::Str(bytes)) => cx.out.bulk(bytes),
        Some(Value::Shared(bytes)) => cx.out.bulk_shared(bytes),
        Some(_) => return Err(CommandError::WrongType),
    }
    Ok(())
}

const APPEND: Command = Command {
    name: "append",
    summary: "Appends to the string of a key; creates it if there is none",
    group: Group::String,
    since: "2.0.0",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))],
    run: Run::Data(|cx, args| {
        let tail = args.at(2);
        let mut entry = cx.db.edit(cx.keys[0]);
        let old = match entry.value() {
            None => 0,
            Some(value) => value.as_string().ok_or(CommandError::WrongType)?.len(),
        };
        let len = old + tail.len();
        if len > cx.limits.proto_max_bulk_len {
            return Err(CommandError::StringTooLong);
        }
        if old == 0 {
            entry.put(Form::Str, &[tail], entry.deadline());
        } else {
            entry.splice(old..old, &[tail]);
        }
        cx.out.count(len);
        Ok(Done::Changed)
    }),
    ..Command::BASE
};
