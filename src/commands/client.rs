//! CLIENT: what connections there are, what each says of itself, and how others are treated.

use std::sync::{Arc, atomic::Ordering};

use ringfort_protocol::{Args, number};

use super::{
    Command, CommandError, Flags, Group,
    connection::{USER, client_name, printable_word},
    help,
    parse::{integer, is},
    server::unknown_form,
    session::SessionCx,
};
use crate::clients::{Pause, Replies, Shared, Unblock};

/// The family.
pub(super) const COMMANDS: &[Command] = &[CLIENT];

const CLIENT: Command = Command {
    name: "client",
    summary: "Commands about connections",
    group: Group::Connection,
    since: "2.4.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: SUBCOMMANDS,
    ..Command::BASE
};

/// What the subcommands about the connection itself share.
const OWN: Command = Command {
    group: Group::Connection,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    ..Command::BASE
};

/// The same of those about others.
const OTHERS: Command = Command { flags: OWN.flags.and(Flags::ADMIN), ..OWN };

const PER_CLIENT: &str = "O(N) where N is the number of client connections";

const SUBCOMMANDS: &[Command] = &[
    OWN.named("id", "5.0.0", 2, id, "Tells the number of the connection"),
    OWN.named("info", "6.2.0", 2, info, "Describes the connection"),
    Command { complexity: PER_CLIENT, ..OTHERS.named("list", "2.4.0", -2, list, "Describes connections") },
    Command { complexity: PER_CLIENT, ..OTHERS.named("kill", "2.4.0", -3, kill, "Closes connections") },
    OWN.named("setname", "2.6.9", 3, set_name, "Names the connection"),
    OWN.named("getname", "2.6.9", 2, get_name, "Tells the name of the connection"),
    OWN.named("setinfo", "7.2.0", 4, set_info, "Tells the server name and version of the client's library"),
    OTHERS.named("no-evict", "7.0.0", 3, no_evict, "Exempts the connection from being closed for memory"),
    OWN.named("no-touch", "7.2.0", 3, no_touch, "Has reads of the connection leave no mark on keys"),
    OWN.named("capa", "8.0.0", -3, capa, "Tells the server what the client can do"),
    OWN.named(
        "import-source",
        "8.1.0",
        3,
        import_source,
        "Is refused, but for OFF: there is no mode for imports",
    ),
    OWN.named("reply", "3.2.0", 3, reply, "Switches replies on or off, or skips the next one"),
    OTHERS.named("pause", "2.9.50", -3, pause, "Holds up the commands of all clients for a time"),
    Command {
        complexity: "O(N) Where N is the number of paused clients",
        ..OTHERS.named("unpause", "6.2.0", 2, unpause, "Ends a pause")
    },
    Command {
        complexity: "O(log N) where N is the number of client connections",
        ..OTHERS.named("unblock", "5.0.0", -3, unblock, "Ends the wait of a blocked client")
    },
    OWN.named("tracking", "6.0.0", -3, tracking, "Switches invalidation messages on or off"),
    OWN.named("trackinginfo", "6.2.0", 2, tracking_info, "Tells whether invalidation messages are on"),
    OWN.named("getredir", "6.0.0", 2, get_redir, "Tells which connection gets invalidation messages"),
    OWN.named("caching", "6.0.0", 3, caching, "Says whether the next command's keys are tracked"),
    help::help(Group::Connection, "5.0.0", |cx, _| {
        help::write(cx, "CLIENT", HELP);
        Ok(())
    }),
];

const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Say whether the keys of the next command are tracked.",
    "CAPA <capability> [<capability> ...]",
    "    Say what the client can do: REDIRECT is kept, others are passed over.",
    "GETNAME",
    "    Tell the name of this connection.",
    "GETREDIR",
    "    Tell the id of the connection that gets the invalidation messages of this one.",
    "ID",
    "    Tell the id of this connection.",
    "IMPORT-SOURCE (ON|OFF)",
    "    OFF is the only way: there is no mode for imports.",
    "INFO",
    "    Describe this connection.",
    "KILL <ip:port>",
    "    Close the connection that comes from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close connections for which all options hold:",
    "    * ADDR <ip:port>, LADDR <ip:port>",
    "      It comes from, or came to, this address.",
    "    * ID <client-id>",
    "      It has this id.",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      It is of this type.",
    "    * USER <username>",
    "      It is authenticated as this user.",
    "    * SKIPME (YES|NO)",
    "      Spare this connection (default: yes).",
    "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <client-id> [<client-id> ...]]",
    "    Describe connections, one a line.",
    "NO-EVICT (ON|OFF)",
    "    Exempt this connection from being closed for memory.",
    "NO-TOUCH (ON|OFF)",
    "    Have reads of this connection leave no mark on keys.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Hold up all commands, or those that write, for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Switch replies to this connection on or off, or skip the next one.",
    "SETINFO (LIB-NAME|LIB-VER) <text>",
    "    Tell name or version of the client's library.",
    "SETNAME <name>",
    "    Name this connection.",
    "TRACKING (ON|OFF) ...",
    "    Switch invalidation messages on or off.",
    "TRACKINGINFO",
    "    Tell whether invalidation messages are on.",
    "UNBLOCK <client-id> [TIMEOUT|ERROR]",
    "    End the wait of a blocked client.",
    "UNPAUSE",
    "    End a pause.",
];

fn id(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.int(cx.client.shared.id as i64);
    Ok(())
}

fn info(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.text(&line(&cx.client.shared, cx.now.boot));
    Ok(())
}

/// A connection as a line of CLIENT LIST.
fn line(client: &Shared, now: u64) -> String {
    let texts = client.texts().clone();
    let seconds = |since: u64| now.saturating_sub(since) / 1_000_000_000;
    let input = client.input.load(Ordering::Relaxed);
    let output = client.output.load(Ordering::Relaxed);
    let marks = [
        ('O', client.watches.load(Ordering::Relaxed)),
        ('b', client.is_blocked()),
        ('e', client.no_evict.load(Ordering::Relaxed)),
    ];
    let flags: String = marks.iter().filter(|mark| mark.1).map(|mark| mark.0).collect();
    let flags = if flags.is_empty() { "N" } else { &flags };
    let capa = if client.takes_redirects.load(Ordering::Relaxed) { "r" } else { "" };
    format!(
        "id={id} addr={peer} laddr={local} fd={fd} name={name} age={age} idle={idle} flags={flags} capa={capa} db={db} \
         sub=0 psub=0 ssub=0 multi=-1 qbuf={input} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 \
         omem={output} tot-mem={total} events=r cmd={command} user={USER} redir=-1 resp={resp} lib-name={lib_name} \
         lib-ver={lib_ver}\n",
        id = client.id,
        peer = client.peer,
        local = client.local,
        fd = client.fd,
        name = texts.name,
        age = seconds(client.since),
        idle = seconds(client.active.load(Ordering::Relaxed)),
        db = client.db.load(Ordering::Relaxed),
        total = input + output,
        command = if texts.command.is_empty() { "NULL" } else { texts.command },
        resp = client.resp.load(Ordering::Relaxed),
        lib_name = texts.lib_name,
        lib_ver = texts.lib_ver,
    )
}

fn list(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = || cx.node.clients.list();
    let chosen: Vec<Arc<Shared>> = match args.get(2) {
        None => all(),
        Some(filter) if args.len() == 4 && is(filter, "TYPE") => {
            if is_normal(args.at(3))? {
                all()
            } else {
                Vec::new()
            }
        }
        Some(filter) if args.len() > 3 && is(filter, "ID") => {
            let all = all();
            let mut chosen = Vec::new();
            for arg in args.iter().skip(3) {
                let id = number::parse_i64(arg).ok_or(CommandError::other("ERR Invalid client ID"))?;
                let found = u64::try_from(id).ok().and_then(|id| {
                    let index = all.binary_search_by_key(&id, |client| client.id).ok()?;
                    Some(Arc::clone(&all[index]))
                });
                chosen.extend(found);
            }
            chosen
        }
        Some(_) => return Err(CommandError::Syntax),
    };
    let lines: String = chosen.iter().map(|client| line(client, cx.now.boot)).collect();
    cx.out.text(&lines);
    Ok(())
}

/// Whether a type of clients is the one that all clients here are of.
fn is_normal(name: &[u8]) -> Result<bool, CommandError> {
    const OTHER: [&str; 4] = ["slave", "replica", "pubsub", "master"];
    if is(name, "normal") {
        return Ok(true);
    }
    if OTHER.iter().any(|other| is(name, other)) {
        return Ok(false);
    }
    Err(CommandError::quoting("ERR Unknown client type '", name, "'"))
}

/// Which connections CLIENT KILL closes.
struct Doomed<'a> {
    id: Option<u64>,
    peer: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    normal: bool,
    spare_me: bool,
}

impl<'a> Doomed<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut doomed = Self { id: None, peer: None, local: None, normal: true, spare_me: true };
        if args.len() == 3 {
            return Ok(Self { peer: args.get(2), spare_me: false, ..doomed });
        }
        let mut at = 2;
        while let Some(option) = args.get(at) {
            let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
            if is(option, "ID") {
                let id = number::parse_i64(value).filter(|id| *id > 0);
                doomed.id =
                    Some(id.ok_or(CommandError::other("ERR client-id should be greater than 0"))? as u64);
            } else if is(option, "TYPE") {
                doomed.normal = is_normal(value)?;
            } else if is(option, "ADDR") {
                doomed.peer = Some(value);
            } else if is(option, "LADDR") {
                doomed.local = Some(value);
            } else if is(option, "USER") {
                if value != USER.as_bytes() {
                    return Err(CommandError::quoting("ERR No such user '", value, "'"));
                }
            } else if is(option, "SKIPME") {
                doomed.spare_me = yes_or_no(value, "YES", "NO")?;
            } else {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(doomed)
    }

    fn includes(&self, client: &Shared) -> bool {
        let is_at = |wanted: Option<&[u8]>, address: std::net::SocketAddr| {
            wanted.is_none_or(|wanted| wanted == address.to_string().as_bytes())
        };
        self.normal
            && self.id.is_none_or(|id| id == client.id)
            && is_at(self.peer, client.peer)
            && is_at(self.local, client.local)
    }
}

fn kill(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let doomed = Doomed::parse(args)?;
    let me = cx.client.shared.id;
    let mut killed = 0;
    for client in cx.node.clients.list() {
        let is_me = client.id == me;
        if !doomed.includes(&client) || (is_me && doomed.spare_me) {
            continue;
        }
        killed += 1;
        if is_me {
            cx.client.closing = true;
        } else {
            client.kill();
        }
    }
    match args.len() {
        3 if killed == 0 => return Err(CommandError::other("ERR No such client")),
        3 => cx.out.ok(),
        _ => cx.out.int(killed),
    }
    Ok(())
}

/// Which of two words an argument is.
fn yes_or_no(arg: &[u8], yes: &str, no: &str) -> Result<bool, CommandError> {
    match arg {
        arg if is(arg, yes) => Ok(true),
        arg if is(arg, no) => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

fn set_name(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let name = client_name(args.at(2))?;
    cx.client.shared.texts().name = name;
    cx.out.ok();
    Ok(())
}

fn get_name(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let texts = cx.client.shared.texts();
    if texts.name.is_empty() {
        cx.out.null();
    } else {
        cx.out.bulk(texts.name.as_bytes());
    }
    Ok(())
}

fn set_info(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let option = args.at(2);
    let (is_name, is_version) = (is(option, "LIB-NAME"), is(option, "LIB-VER"));
    if !is_name && !is_version {
        return Err(CommandError::quoting("ERR Unrecognized option '", option, "'"));
    }
    let text = printable_word(args.at(3)).ok_or_else(|| {
        CommandError::quoting("ERR ", option, " cannot contain spaces, newlines or special characters.")
    })?;
    let mut texts = cx.client.shared.texts();
    if is_name {
        texts.lib_name = text;
    } else {
        texts.lib_ver = text;
    }
    cx.out.ok();
    Ok(())
}

fn no_evict(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let on = yes_or_no(args.at(2), "ON", "OFF")?;
    cx.client.shared.no_evict.store(on, Ordering::Relaxed);
    cx.out.ok();
    Ok(())
}

fn no_touch(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    cx.client.no_touch = yes_or_no(args.at(2), "ON", "OFF")?;
    cx.out.ok();
    Ok(())
}

fn capa(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.iter().skip(2).any(|capability| is(capability, "REDIRECT")) {
        cx.client.shared.takes_redirects.store(true, Ordering::Relaxed);
    }
    cx.out.ok();
    Ok(())
}

fn import_source(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if !is(args.at(2), "OFF") {
        return Err(CommandError::other("ERR Server is not in import mode"));
    }
    cx.out.ok();
    Ok(())
}

fn reply(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let mode = args.at(2);
    if is(mode, "ON") {
        cx.client.replies = Replies::On;
        cx.out.ok();
    } else if is(mode, "OFF") {
        cx.client.replies = Replies::Off;
    } else if is(mode, "SKIP") {
        if cx.client.replies != Replies::Off {
            cx.client.replies = Replies::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

fn pause(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let what = match args.get(3) {
        Some(mode) if args.len() == 4 => match yes_or_no(mode, "WRITE", "ALL") {
            Ok(true) => Pause::Writes,
            Ok(false) => Pause::All,
            Err(_) => return Err(CommandError::other("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        },
        _ => Pause::All,
    };
    let millis = number::parse_i64(args.at(2))
        .ok_or(CommandError::other("ERR timeout is not an integer or out of range"))?;
    let millis = u64::try_from(millis).map_err(|_| CommandError::other("ERR timeout is negative"))?;
    let until = cx.now.boot.saturating_add(millis.saturating_mul(1_000_000));
    cx.node.clients.pause_until(until, what, cx.now.boot);
    cx.out.ok();
    Ok(())
}

fn unpause(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.node.clients.unpause();
    cx.out.ok();
    Ok(())
}

fn unblock(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len() > 4 {
        return Err(unknown_form(args.at(1), "CLIENT"));
    }
    let how = match args.get(3).map(|how| yes_or_no(how, "TIMEOUT", "ERROR")) {
        None | Some(Ok(true)) => Unblock::Timeout,
        Some(Ok(false)) => Unblock::Error,
        Some(Err(_)) => {
            return Err(CommandError::other("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let id = u64::try_from(integer(args.at(2))?).ok();
    let client = id.and_then(|id| cx.node.clients.get(id));
    cx.out.flag(client.is_some_and(|client| client.unblock(how)));
    Ok(())
}

fn tracking(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if yes_or_no(args.at(2), "ON", "OFF")? {
        return Err(CommandError::other("ERR this server sends no invalidation messages"));
    }
    cx.out.ok();
    Ok(())
}

fn tracking_info(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.map(3);
    cx.out.bulk(b"flags");
    cx.out.set(1);
    cx.out.bulk(b"off");
    cx.out.bulk(b"redirect");
    cx.out.int(-1);
    cx.out.bulk(b"prefixes");
    cx.out.array(0);
    Ok(())
}

fn get_redir(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.int(-1);
    Ok(())
}

fn caching(_: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let text = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
                enabled";
    Err(CommandError::other(text))
}

#[cfg(test)]
mod tests {
    use crate::{
        clients::{Door, Pause},
        node::testing::{Asker, node},
    };

    #[test]
    fn a_connection_describes_itself() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        asker.run("CLIENT SETNAME worker");
        asker.run("CLIENT SETINFO LIB-NAME lib");
        asker.run("SELECT 3");
        asker.run("HELLO 3");
        let line = asker.run("CLIENT INFO");
        for part in
            ["=", "txt:id=", "name=worker ", "flags=N capa= db=3 sub=0 ", "cmd=client|info user=default"]
        {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(line.trim_end().ends_with("resp=3 lib-name=lib lib-ver="), "{line}");
    }

    #[test]
    fn what_a_client_can_do_is_kept_and_shown() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("CLIENT CAPA other"), "+OK ");
        assert!(asker.run("CLIENT INFO").contains(" capa= db=0 "));
        assert_eq!(asker.run("CLIENT CAPA other Redirect"), "+OK ");
        assert_eq!(asker.run("CLIENT CAPA other"), "+OK ");
        assert!(asker.run("CLIENT LIST").contains(" flags=N capa=r db=0 "));
        assert_eq!(asker.run("RESET"), "+RESET ");
        assert!(asker.run("CLIENT INFO").contains(" capa=r db=0 "), "the client's library is still the same");
    }

    #[test]
    fn lists_are_filtered_by_id_and_type() {
        let node = node();
        let mut one = Asker::new(&node, Door::Client);
        let two = Asker::new(&node, Door::Client);
        let id = two.client.shared.id;
        assert_eq!(one.run("CLIENT LIST").matches(" addr=").count(), 2);
        assert!(one.run(&format!("CLIENT LIST ID {id} 999 -1")).contains(&format!("id={id} ")));
        assert_eq!(one.run("CLIENT LIST TYPE replica"), "$0  ");
        assert_eq!(one.run("CLIENT LIST ID x"), "-ERR Invalid client ID ");
        assert_eq!(one.run("CLIENT LIST ID"), "-ERR syntax error ");
        assert_eq!(one.run("CLIENT LIST TYPE other"), "-ERR Unknown client type 'other' ");
    }

    #[test]
    fn others_are_killed_and_oneself_only_if_asked_for() {
        let node = node();
        let mut one = Asker::new(&node, Door::Client);
        let two = Asker::new(&node, Door::Client);
        assert_eq!(one.run("CLIENT KILL TYPE pubsub"), ":0 ");
        assert_eq!(one.run("CLIENT KILL ID 0 ID 1"), "-ERR client-id should be greater than 0 ");
        assert_eq!(one.run("CLIENT KILL 1.2.3.4:5"), "-ERR No such client ");
        assert_eq!(one.run("CLIENT KILL USER nobody ID 1"), "-ERR No such user 'nobody' ");
        assert_eq!(one.run("CLIENT KILL SKIPME maybe"), "-ERR syntax error ");
        assert!(!two.client.shared.is_killed());
        assert_eq!(one.run("CLIENT KILL TYPE normal"), ":1 ");
        assert!(two.client.shared.is_killed() && !one.client.closing);
        let me = one.client.shared.peer;
        assert_eq!(one.run(&format!("CLIENT KILL {me}")), "+OK ");
        assert!(one.client.closing);
    }

    #[test]
    fn a_pause_holds_up_what_it_says() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("CLIENT PAUSE 10 WRITE"), "+OK ");
        assert_eq!(node.clients.pause(asker.now.boot), Pause::Writes);
        assert_eq!(node.clients.pause(asker.now.boot + 10_000_000), Pause::Nothing);
        assert_eq!(asker.run("CLIENT UNPAUSE"), "+OK ");
        assert_eq!(node.clients.pause(asker.now.boot), Pause::Nothing);
        assert_eq!(asker.run("CLIENT PAUSE x"), "-ERR timeout is not an integer or out of range ");
        assert_eq!(asker.run("CLIENT PAUSE -1"), "-ERR timeout is negative ");
        assert_eq!(asker.run("CLIENT PAUSE 1 OTHER"), "-ERR CLIENT PAUSE mode must be WRITE or ALL ");
    }

    #[test]
    fn what_is_not_offered_says_so_and_the_connection_stays() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(
            asker.run("CLIENT MAINT_NOTIFICATIONS ON"),
            "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP. "
        );
        assert_eq!(asker.run("CLIENT TRACKING OFF"), "+OK ");
        assert!(asker.run("CLIENT TRACKING ON").starts_with("-ERR "));
        assert!(asker.run("CLIENT HELP").starts_with("*"));
        assert!(!asker.client.closing);
    }
}
