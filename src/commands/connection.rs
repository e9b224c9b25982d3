//! The connection: greeting, authentication, the selected database.

use ringfort_protocol::{Args, Resp, number};

use super::{
    Command, CommandError, Flags, Group, Run,
    parse::{integer, is},
    session::SessionCx,
};
use crate::clients::{Door, Replies};

/// The family.
pub(super) const COMMANDS: &[Command] = &[PING, ECHO, SELECT, QUIT, HELLO, AUTH, RESET];

/// The version of Redis whose commands, options and replies clients may count on.
pub const REDIS_VERSION: &str = "7.2.4";

/// The one user that there is.
pub(super) const USER: &str = "default";

const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::FAST);

/// Allowed before authentication.
const OPEN: Flags = ALWAYS.and(Flags::NOSCRIPT).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);

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
        let number = integer(args.at(1))?;
        if !(0..i64::from(crate::store::DATABASES)).contains(&number) {
            return Err(CommandError::DbOutOfRange);
        }
        cx.client.select(number as u8);
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
    flags: OPEN,
    run: Run::Session(|cx, _| {
        cx.out.ok();
        cx.client.closing = true;
        Ok(())
    }),
    ..Command::BASE
};

const HELLO: Command = Command {
    name: "hello",
    summary: "Tells what the server is, and chooses the version of the protocol",
    group: Group::Connection,
    since: "6.0.0",
    arity: -1,
    flags: OPEN,
    run: Run::Session(hello),
    ..Command::BASE
};

const AUTH: Command = Command {
    name: "auth",
    summary: "Authenticates the connection",
    group: Group::Connection,
    complexity: "O(N) where N is the number of passwords of the user",
    arity: -2,
    flags: OPEN,
    run: Run::Session(auth),
    ..Command::BASE
};

const RESET: Command = Command {
    name: "reset",
    summary: "Makes the connection as new",
    group: Group::Connection,
    since: "6.2.0",
    arity: 1,
    flags: OPEN,
    run: Run::Session(reset),
    ..Command::BASE
};

fn hello(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let version = args.get(1).map(protocol_version).transpose()?;
    let (mut credentials, mut name) = (None, None);
    let mut at = 2;
    while let Some(option) = args.get(at) {
        match (args.get(at + 1), args.get(at + 2)) {
            (Some(user), Some(password)) if is(option, "AUTH") => {
                credentials = Some((user, password));
                at += 3;
            }
            (Some(text), _) if is(option, "SETNAME") => {
                name = Some(client_name(text)?);
                at += 2;
            }
            _ => return Err(CommandError::quoting("ERR Syntax error in HELLO option '", option, "'")),
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(cx, user, password)?;
    }
    if !cx.client.authenticated {
        let text = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
                    <user> <pass> option can be used to authenticate the client and select the RESP protocol version \
                    at the same time";
        return Err(CommandError::other(text));
    }
    if let Some(name) = name {
        cx.client.shared.texts().name = name;
    }
    if let Some(version) = version {
        cx.client.speak(version);
        cx.out.resp = version;
    }
    let mode = match cx.client.door {
        Door::Client => "standalone",
        Door::Cluster => "cluster",
    };
    let proto = if cx.client.resp3 { 3 } else { 2 };
    let out = &mut *cx.out;
    let pair = |out: &mut super::Reply, name: &str, value: &str| {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    };
    out.map(7);
    pair(out, "server", "redis");
    pair(out, "version", REDIS_VERSION);
    out.bulk(b"proto");
    out.int(proto);
    out.bulk(b"id");
    out.int(cx.client.shared.id as i64);
    pair(out, "mode", mode);
    pair(out, "role", "master");
    out.bulk(b"modules");
    out.array(0);
    Ok(())
}

fn protocol_version(arg: &[u8]) -> Result<Resp, CommandError> {
    match number::parse_i64(arg) {
        Some(2) => Ok(Resp::V2),
        Some(3) => Ok(Resp::V3),
        Some(_) => Err(CommandError::other("NOPROTO unsupported protocol version")),
        None => Err(CommandError::other("ERR Protocol version is not an integer or out of range")),
    }
}

fn auth(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    match args.len() {
        2 => {
            if cx.node.config.load().requirepass.is_empty() {
                let text = "ERR AUTH <password> called without any password configured for the default user. Are you \
                            sure your configuration is correct?";
                return Err(CommandError::other(text));
            }
            authenticate(cx, USER.as_bytes(), args.at(1))?;
        }
        3 => authenticate(cx, args.at(1), args.at(2))?,
        _ => return Err(CommandError::Syntax),
    }
    cx.out.ok();
    Ok(())
}

fn authenticate(cx: &mut SessionCx<'_>, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let settings = cx.node.config.load();
    let expected = settings.requirepass.as_bytes();
    // Hashes are compared in constant time: how long it takes tells nothing of the password.
    let right = expected.is_empty() || blake3::hash(password) == blake3::hash(expected);
    if user != USER.as_bytes() || !right {
        let text = "WRONGPASS invalid username-password pair or user is disabled.";
        return Err(CommandError::other(text));
    }
    cx.client.authenticated = true;
    Ok(())
}

/// A name that a client may give itself.
pub(super) fn client_name(text: &[u8]) -> Result<String, CommandError> {
    printable_word(text)
        .ok_or(CommandError::other("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// A text without spaces and special characters, so that it can stand in a line of CLIENT LIST.
pub(super) fn printable_word(text: &[u8]) -> Option<String> {
    let fits = text.iter().all(|byte| (b'!'..=b'~').contains(byte));
    fits.then(|| String::from_utf8_lossy(text).into_owned())
}

fn reset(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let client = &mut *cx.client;
    client.select(0);
    client.speak(Resp::V2);
    client.replies = Replies::On;
    client.no_touch = false;
    client.readonly = false;
    if client.monitor.take().is_some() {
        cx.node.clients.unwatch(&client.shared);
    }
    client.authenticated = cx.node.config.load().requirepass.is_empty();
    client.shared.texts().name.clear();
    cx.out.resp = Resp::V2;
    cx.out.simple("RESET");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{
        clients::{Door, Replies},
        node::testing::{Asker, node},
    };

    #[test]
    fn hello_answers_in_the_version_that_it_chooses() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        let reply = asker.run("HELLO 3 SETNAME me");
        assert!(
            reply.starts_with("%7 $6 server $5 redis $7 version $5 7.2.4 $5 proto :3 $2 id :"),
            "{reply}"
        );
        assert!(reply.ends_with("$4 mode $10 standalone $4 role $6 master $7 modules *0 "), "{reply}");
        assert_eq!(asker.run("HELLO 4"), "-NOPROTO unsupported protocol version ");
        assert!(asker.run("HELLO").starts_with("%7"));
        assert!(asker.run("HELLO 2").starts_with("*14"));
        let mut other = Asker::new(&node, Door::Cluster);
        assert!(other.run("HELLO").contains("$4 mode $7 cluster"));
    }

    #[test]
    fn a_password_is_asked_for_and_checked() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert!(asker.run("AUTH x").starts_with("-ERR AUTH <password> called without any password"));
        assert_eq!(asker.run("AUTH default x"), "+OK ");
        node.config.change(&[("requirepass", "secret")]).unwrap();
        let mut asker = Asker::new(&node, Door::Client);
        assert!(!asker.client.authenticated);
        assert!(asker.run("HELLO 3").starts_with("-NOAUTH HELLO must be called"));
        assert!(!asker.client.resp3);
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled. ";
        assert_eq!(asker.run("AUTH wrong"), wrong);
        assert_eq!(asker.run("AUTH nobody secret"), wrong);
        assert_eq!(asker.run("AUTH a b c"), "-ERR syntax error ");
        assert!(asker.run("HELLO 3 AUTH default secret").starts_with("%7"));
        assert!(asker.client.authenticated);
        assert_eq!(asker.run("RESET"), "+RESET ");
        assert!(!asker.client.authenticated && !asker.client.resp3);
    }

    #[test]
    fn reset_makes_a_connection_as_new() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        asker.run("SELECT 3");
        asker.run("CLIENT SETNAME me");
        asker.run("CLIENT REPLY OFF");
        asker.run("CLIENT NO-TOUCH ON");
        assert_eq!(asker.run("RESET"), "+RESET ");
        let client = &asker.client;
        assert_eq!((client.db, client.replies, client.no_touch), (0, Replies::On, false));
        assert_eq!(asker.run("CLIENT GETNAME"), "$-1 ");
    }
}
