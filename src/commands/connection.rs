//! The connection: greeting, authentication, the selected database.

use super::{Command, CommandError, Flags, Group, Run};

/// The family.
pub(super) const COMMANDS: &[Command] = &[PING, ECHO, SELECT, QUIT];

const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::FAST);

const PING: Command = Command {
    name: "ping",
    summary: "Answers PONG, or what it was given",
    group: Group::Connection,
    arity: -1,
    flags: Flags::FAST,
    run: Run::Session(|cx, args| {
        match args.len() {
            1 => cx.out.simple("PONG"),
            2 => cx.out.bulk(args.at(1)),
            _ => return Err(CommandError::Arity("ping".into())),
        }
        Ok(())
    }),
    ..Command::BASE
};

const ECHO: Command = Command {
    name: "echo",
    summary: "Answers what it was given",
    group: Group::Connection,
    arity: 2,
    flags: ALWAYS,
    run: Run::Session(|cx, args| {
        cx.out.bulk(args.at(1));
        Ok(())
    }),
    ..Command::BASE
};

const SELECT: Command = Command {
    name: "select",
    summary: "Changes the database of the connection",
    group: Group::Connection,
    arity: 2,
    flags: ALWAYS,
    run: Run::Session(|cx, args| {
        let number = super::parse::integer(args.at(1))?;
        if !(0..i64::from(crate::store::DATABASES)).contains(&number) {
            return Err(CommandError::DbOutOfRange);
        }
        cx.client.db = number as u8;
        cx.out.ok();
        Ok(())
    }),
    ..Command::BASE
};

const QUIT: Command = Command {
    name: "quit",
    summary: "Closes the connection once all replies are sent",
    group: Group::Connection,
    arity: -1,
    flags: ALWAYS.and(Flags::NOSCRIPT).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY),
    run: Run::Session(|cx, _| {
        cx.out.ok();
        cx.client.closing = true;
        Ok(())
    }),
    ..Command::BASE
};
