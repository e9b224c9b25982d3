//! The commands: one file per family, one declaration per command.
//!
//! A [`Command`] is a constant beside its handler, and its family's list names it. From the declaration come look-up,
//! arity errors, `COMMAND` in all its forms, ACL categories, which shards a request needs and how it is spread over
//! nodes, what is replicated, metric labels, and the command table in the docs.
//!
//! A handler of data runs with the shards of its keys locked. It reads and edits through [`Cx::db`], writes its reply
//! to [`Cx::out`] (taken back if it fails), and answers what it did ([`Done`]), from which the caller knows what to
//! put into the log. It never waits and knows neither nodes nor sockets. **Every effect in the log names exactly one
//! key**, and is deterministic: relative times become deadlines, random choices become what was chosen.

mod acl;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), allow(dead_code, reason = "what unit tests need besides"))]
#[allow(clippy::unwrap_used, reason = "made for tests")]
pub(crate) mod bench;
mod bitmaps;
mod client;
mod cluster;
mod command;
mod commandlog;
mod config;
pub mod connection;
mod debug;
pub mod digest;
pub mod dispatch;
pub mod error;
pub mod follow;
pub(crate) mod generic;
mod geo;
mod hashes;
mod help;
mod hyperloglog;
mod info;
pub mod keys;
mod latency;
mod lists;
mod lolwut;
mod memory;
pub mod monitor;
mod operate;
pub mod parse;
mod random;
pub mod rebuild;
pub mod reply;
mod scan;
pub(crate) mod scratch;
pub mod secrets;
mod server;
pub mod session;
mod sets;
pub mod shutdown;
mod snapshots;
mod streams;
mod strings;
mod wait;
mod zsets;

use std::{collections::HashMap, sync::OnceLock};

use ringfort_protocol::{Args, OwnedArgs};

pub use self::{
    error::CommandError,
    keys::{Begin, Find, KeyFlags, KeySpec},
    reply::Reply,
    streams::{CHECK, UNBALANCED},
};
pub use crate::config::Limits;
use crate::store::{Db, Key, Kind};

/// A command's declaration.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its number among all that clients can call, from 1 on. [`families`] gives it; in the declaration it is 0.
    pub number: u16,
    /// Its name in lower case; of a subcommand, without its container's.
    pub name: &'static str,
    /// What it does, in one sentence without a full stop.
    pub summary: &'static str,
    /// The family it belongs to.
    pub group: Group,
    /// The version of Redis (or of Valkey, where it is newer) that first had it.
    pub since: &'static str,
    /// Its cost, in O().
    pub complexity: &'static str,
    /// Number of arguments, its name (and its container's) included; negative: at least so many.
    pub arity: i8,
    /// What kind of command it is.
    pub flags: Flags,
    /// ACL categories beyond those that follow from group and flags.
    pub acl: Acl,
    /// Where its keys are among the arguments, and what it does to them.
    pub keys: &'static [KeySpec],
    /// What is done when its keys live on several nodes.
    pub spread: Spread,
    /// The commands that it contains, as `CONFIG` contains `GET`.
    pub subcommands: &'static [Command],
    /// What runs.
    pub run: Run,
}

impl Command {
    /// What a declaration does not say.
    pub const BASE: Self = Self {
        number: 0,
        name: "",
        summary: "",
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        arity: 1,
        flags: Flags::NONE,
        acl: Acl::NONE,
        keys: &[],
        spread: Spread::Together,
        subcommands: &[],
        run: Run::Container,
    };

    /// Whether so many arguments (the name included) are right.
    pub fn takes(&self, args: usize) -> bool {
        match usize::try_from(self.arity) {
            Ok(exactly) => args == exactly,
            Err(_) => args >= usize::from(self.arity.unsigned_abs()),
        }
    }

    /// The names of its keys, in the order of its arguments.
    pub fn names<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let specs: &'static [KeySpec] = self.keys;
        specs.iter().flat_map(move |spec| spec.indices(args)).map(move |index| args.at(index))
    }

    /// Where the keys that it waits for are among its arguments: those whose data it returns.
    pub fn awaited<'a>(&self, args: Args<'a>) -> impl Iterator<Item = usize> + use<'a> {
        let returned = self.keys.iter().filter(|spec| spec.flags.has(KeyFlags::ACCESS));
        returned.flat_map(move |spec| spec.indices(args)).collect::<Vec<_>>().into_iter()
    }

    /// Whether it waits with these arguments where there is nothing for it yet. One that makes no sense does not.
    pub fn waits(&self, args: Args<'_>) -> bool {
        matches!(self.run, Run::Blocking(blocking) if matches!((blocking.timeout)(args), Ok(Some(_))))
    }

    /// All ACL categories that it is in.
    pub fn categories(&self) -> Acl {
        let flag = |flag: Flags, acl: Acl| if self.flags.has(flag) { acl } else { Acl::NONE };
        let speed = if self.flags.has(Flags::FAST) { Acl::FAST } else { Acl::SLOW };
        // A container is about nothing by itself; its subcommands are.
        let group = if matches!(self.run, Run::Container) { Acl::NONE } else { self.group.category() };
        self.acl
            .and(group)
            .and(speed)
            .and(flag(Flags::WRITE, Acl::WRITE))
            .and(flag(Flags::READONLY, Acl::READ))
            .and(flag(Flags::ADMIN, Acl::ADMIN.and(Acl::DANGEROUS)))
            .and(flag(Flags::PUBSUB, Acl::PUBSUB))
            .and(flag(Flags::BLOCKING, Acl::BLOCKING))
    }
}

/// A family of commands, as Redis' documentation groups them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Redis' own")]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    HyperLogLog,
    List,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

impl Group {
    /// The name that `COMMAND DOCS` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bitmap => "bitmap",
            Self::Cluster => "cluster",
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::Geo => "geo",
            Self::Hash => "hash",
            Self::HyperLogLog => "hyperloglog",
            Self::List => "list",
            Self::Server => "server",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }

    fn category(self) -> Acl {
        match self {
            Self::Bitmap => Acl::BITMAP,
            Self::Connection => Acl::CONNECTION,
            Self::Generic => Acl::NONE,
            Self::Cluster | Self::Server => Acl::NONE,
            Self::Geo => Acl::GEO,
            Self::Hash => Acl::HASH,
            Self::HyperLogLog => Acl::HYPERLOGLOG,
            Self::List => Acl::LIST,
            Self::Set => Acl::SET,
            Self::SortedSet => Acl::SORTED_SET,
            Self::Stream => Acl::STREAM,
            Self::String => Acl::STRING,
            Self::Transactions => Acl::TRANSACTION,
        }
    }
}

macro_rules! bits {
    ($(#[$doc:meta])* $name:ident { $($(#[$bit_doc:meta])* $bit:ident = $value:expr, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(u32);

        impl $name {
            /// None of them.
            pub const NONE: Self = Self(0);
            $($(#[$bit_doc])* pub const $bit: Self = Self(1 << $value);)*

            const NAMES: &[(Self, &str)] = &[$((Self::$bit, $text)),*];

            /// These and those.
            pub const fn and(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// Whether all of `other` are among these.
            pub const fn has(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Their names, in the order in which Redis prints them.
            pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
                Self::NAMES.iter().filter(move |named| self.has(named.0)).map(|named| named.1)
            }
        }
    };
}

bits! {
    /// What kind of command it is, as `COMMAND INFO` tells.
    Flags {
        /// It may change data.
        WRITE = 0, "write";
        /// It reads data and changes none.
        READONLY = 1, "readonly";
        /// It may need memory: refused when there is none left.
        DENYOOM = 2, "denyoom";
        /// It administers the server.
        ADMIN = 4, "admin";
        /// It is about messages.
        PUBSUB = 5, "pubsub";
        /// Scripts may not use it.
        NOSCRIPT = 6, "noscript";
        /// It may wait for data.
        BLOCKING = 8, "blocking";
        /// It is allowed while data is loaded.
        LOADING = 9, "loading";
        /// It is allowed on a replica that has lost its primary.
        STALE = 10, "stale";
        /// It is not shown by MONITOR.
        SKIP_MONITOR = 11, "skip_monitor";
        /// It is not put into the slow log.
        SKIP_SLOWLOG = 12, "skip_slowlog";
        /// It is run as if ASKING had come before it.
        ASKING = 13, "asking";
        /// It needs a small and bounded time.
        FAST = 14, "fast";
        /// It is allowed before authentication.
        NO_AUTH = 15, "no_auth";
        /// It has effects on replicas although it writes no data.
        MAY_REPLICATE = 16, "may_replicate";
        /// Its keys are not at fixed places; derived from the key specifications by `COMMAND`.
        MOVABLEKEYS = 20, "movablekeys";
        /// It is allowed while a script is being stopped.
        ALLOW_BUSY = 21, "allow_busy";
        /// It is not allowed within a transaction.
        NO_MULTI = 22, "no_multi";
        /// It may be used without any key although it has key specifications.
        NO_MANDATORY_KEYS = 23, "no_mandatory_keys";
        /// It is not allowed while data is loaded in the background.
        NO_ASYNC_LOADING = 24, "no_async_loading";
    }
}

bits! {
    /// ACL categories.
    Acl {
        /// Works on keys of any type.
        KEYSPACE = 0, "@keyspace";
        /// Reads data.
        READ = 1, "@read";
        /// Changes data.
        WRITE = 2, "@write";
        /// Works on sets.
        SET = 3, "@set";
        /// Works on sorted sets.
        SORTED_SET = 4, "@sortedset";
        /// Works on lists.
        LIST = 5, "@list";
        /// Works on hashes.
        HASH = 6, "@hash";
        /// Works on strings.
        STRING = 7, "@string";
        /// Works on strings as bits.
        BITMAP = 8, "@bitmap";
        /// Works on HyperLogLogs.
        HYPERLOGLOG = 9, "@hyperloglog";
        /// Works on positions.
        GEO = 10, "@geo";
        /// Works on streams.
        STREAM = 11, "@stream";
        /// Is about messages.
        PUBSUB = 13, "@pubsub";
        /// Administers the server.
        ADMIN = 14, "@admin";
        /// Needs a small and bounded time.
        FAST = 15, "@fast";
        /// Any that is not fast.
        SLOW = 16, "@slow";
        /// May wait for data.
        BLOCKING = 17, "@blocking";
        /// Can do harm.
        DANGEROUS = 18, "@dangerous";
        /// Is about the connection.
        CONNECTION = 19, "@connection";
        /// Is about transactions.
        TRANSACTION = 20, "@transaction";
    }
}

/// What is done with a command whose keys live on several nodes. Keys of several shards on one node are no matter:
/// their shards are locked together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// The values of its keys are fetched to the node that was asked, it is run on these copies, and what it changed
    /// is changed where the keys live, if they are still what was fetched: not atomic.
    Together,
    /// Each key is tried where it lives, one after the other, until one has something.
    InTurn,
    /// It is refused with an error that says why.
    Refused,
    /// Each node runs the command with the keys that it has, and the replies are put together.
    Keys(Gather),
    /// Every node runs it on all that it has, and the replies are put together.
    Everywhere(Gather),
    /// The value of the first key is moved or copied to the second one, from node to node: not atomic.
    Carry,
    /// One scan goes from node to node by its cursor.
    Cursor,
}

/// How the replies of several nodes, or of several shards, become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// An array with one element for each key, in the order of the request.
    PerKey,
    /// The sum of integers.
    Sum,
    /// The least of integers.
    Min,
    /// `OK` if all said so.
    AllOk,
    /// One array of all their elements.
    Concat,
    /// Any reply that is not null.
    AnyOne,
    /// Of each stream that has something, its name and that, in the order of the request; null where none has. Each
    /// stream is asked for alone.
    Streams,
    /// The same where reading takes something away: nothing is read unless all parts say that they would not be
    /// refused, and if one is refused in spite of that, or its node fails, the others' replies are the reply.
    Deliveries,
    /// `OK` if all streams said so, each of which is asked for alone; null where one was not asked.
    Checks,
}

impl Gather {
    /// Whether keys are streams, each of which goes with an id.
    pub fn is_of_streams(self) -> bool {
        matches!(self, Self::Streams | Self::Deliveries | Self::Checks)
    }
}

/// What a command runs.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// It has subcommands only.
    Container,
    /// With the shards of its keys locked.
    Data(Handler),
    /// The same, and it reads keys whose names it makes of what its own keys hold.
    Following(follow::Following),
    /// The same, and it waits where there is nothing for it yet.
    Blocking(Blocking),
    /// Once for each shard, all of which are locked.
    EachShard(Handler),
    /// What its arguments say, for the shards that they name.
    Among,
    /// With the connection and the node, without any lock.
    Session(session::SessionHandler),
    /// By the control thread, which answers later.
    Control,
    /// By the router: an answer when replicas have what the connection wrote.
    Wait,
}

/// What a command runs that may wait for data.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    /// Tries, and answers [`Done::Waits`] where there is nothing. Once it has waited, it is run for a key that others
    /// have changed, with that one alone in place of all that it [waits for](Command::awaited); or, where its shard has
    /// gone meanwhile, with all of them but those that hold a value of another type.
    pub handler: Handler,
    /// What a key must hold for that; `None`: it is to hear of each change.
    pub kind: Option<Kind>,
    /// For how many milliseconds it waits; 0: for as long as it takes. `None`: it does not wait.
    pub timeout: fn(Args<'_>) -> Result<Option<u64>, CommandError>,
    /// The arguments that stand for what is meant now, if those that came would mean something else later.
    pub lasting: fn(&Cx<'_>, Args<'_>) -> Option<OwnedArgs>,
}

impl Run {
    /// Of a command that takes from keys with values of one type, and means the same whenever it is run.
    pub const fn waiting_for(
        kind: Kind,
        handler: Handler,
        timeout: fn(Args<'_>) -> Result<Option<u64>, CommandError>,
    ) -> Self {
        let lasting = |_: &Cx<'_>, _: Args<'_>| None;
        Self::Blocking(Blocking { handler, kind: Some(kind), timeout, lasting })
    }

    /// What it runs with the shards of its keys locked.
    pub fn handler(&self) -> Option<Handler> {
        match self {
            Self::Data(handler)
            | Self::Blocking(Blocking { handler, .. })
            | Self::Following(follow::Following { run: handler, .. }) => Some(*handler),
            _ => None,
        }
    }
}

/// A handler of data.
pub type Handler = fn(&mut Cx<'_>, Args<'_>) -> Result<Done, CommandError>;

/// What a handler of data works with. Everything in it ends with the lock.
pub struct Cx<'a> {
    /// The locked data.
    pub db: Db<'a>,
    /// The keys of the command, in the order of its arguments.
    pub keys: &'a [Key<'a>],
    /// The reply.
    pub out: &'a mut Reply,
    /// 64 random bits, fresh for each command.
    pub random: u64,
    /// Settings that commands need.
    pub limits: &'a Limits,
    /// It has begun to wait for data before.
    pub waited: bool,
}

impl<'a> Cx<'a> {
    /// The command's `n`th key, from 0.
    pub fn key(&self, n: usize) -> Key<'a> {
        self.keys[n]
    }
}

/// What a handler did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It read.
    Read,
    /// It would have changed something but did not.
    Unchanged,
    /// It changed its one key in a way that the command, as it came, says exactly: that is logged.
    Changed,
    /// It changed something and has logged the effects itself.
    Logged,
    /// There is nothing for it yet: it changed nothing, and has replied what it does where it may not wait.
    Waits,
}

/// Commands by name.
pub type Table = HashMap<&'static str, &'static Command, rustc_hash::FxBuildHasher>;

/// Every command that this server knows, by lower-case name.
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| families().flatten().map(|command| (command.name, command)).collect())
}

/// The families, in the order of the docs.
pub fn families() -> impl Iterator<Item = &'static [Command]> {
    static NUMBERED: OnceLock<Vec<Vec<Command>>> = OnceLock::new();
    NUMBERED.get_or_init(numbered).iter().map(Vec::as_slice)
}

/// All declarations, with their numbers.
fn numbered() -> Vec<Vec<Command>> {
    let mut last = 0;
    let mut number = |command: &Command| {
        last += 1;
        Command { number: last, ..*command }
    };
    let mut with_subcommands = |command: &Command| {
        let subcommands: Vec<_> = command.subcommands.iter().map(&mut number).collect();
        Command { subcommands: subcommands.leak(), ..number(command) }
    };
    declared().map(|family| family.iter().map(&mut with_subcommands).collect()).collect()
}

/// The families, as they are declared.
fn declared() -> impl Iterator<Item = &'static [Command]> {
    [
        generic::COMMANDS,
        strings::COMMANDS,
        bitmaps::COMMANDS,
        hyperloglog::COMMANDS,
        lists::COMMANDS,
        hashes::COMMANDS,
        sets::COMMANDS,
        zsets::COMMANDS,
        geo::COMMANDS,
        streams::COMMANDS,
        connection::COMMANDS,
        client::COMMANDS,
        config::COMMANDS,
        command::COMMANDS,
        info::COMMANDS,
        server::COMMANDS,
        commandlog::COMMANDS,
        latency::COMMANDS,
        memory::COMMANDS,
        monitor::COMMANDS,
        debug::COMMANDS,
        acl::COMMANDS,
        snapshots::COMMANDS,
        lolwut::COMMANDS,
        shutdown::COMMANDS,
        cluster::COMMANDS,
        operate::COMMANDS,
        wait::COMMANDS,
    ]
    .into_iter()
}

/// The full names of all commands, by their numbers. The first is of none.
pub fn names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names = vec![(0, String::new())];
        for command in families().flatten() {
            names.push((command.number, command.name.to_owned()));
            let full = |sub: &Command| (sub.number, format!("{}|{}", command.name, sub.name));
            names.extend(command.subcommands.iter().map(full));
        }
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    })
}

/// The name of a command, with its container's: `config|get`.
pub fn full_name(command: &'static Command) -> &'static str {
    match command.number {
        // Clients cannot call it.
        0 => command.name,
        number => &names()[usize::from(number)],
    }
}

/// Longest name of a command, in bytes.
const LONGEST_NAME: usize = 32;

/// Errors repeat so many bytes of a name that is not known.
const QUOTED: usize = 128;

/// Finds a command by its name, in any case of letters.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; LONGEST_NAME];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    table().get(std::str::from_utf8(lower).ok()?).copied()
}

/// The same, sooner if it is `recent`, a command that this function has returned before.
pub fn find_again(name: &[u8], recent: Option<&'static Command>) -> Option<&'static Command> {
    recent.filter(|recent| recent.name.as_bytes().eq_ignore_ascii_case(name)).or_else(|| find(name))
}

/// Finds the command, or the subcommand, that these arguments name, and checks their number.
pub fn resolve(args: Args<'_>) -> Result<&'static Command, CommandError> {
    resolve_named(find(args.at(0)), args)
}

/// The same if the command is known that the first argument names; `None` if there is none.
pub fn resolve_named(
    command: Option<&'static Command>,
    args: Args<'_>,
) -> Result<&'static Command, CommandError> {
    let command = with_subcommand(command, args)?;
    if !command.takes(args.len()) {
        return Err(CommandError::Arity(full_name(command).into()));
    }
    Ok(command)
}

/// Finds the command, or the subcommand, that these arguments name, however many they are.
pub fn named(args: Args<'_>) -> Result<&'static Command, CommandError> {
    with_subcommand(find(args.at(0)), args)
}

fn with_subcommand(
    command: Option<&'static Command>,
    args: Args<'_>,
) -> Result<&'static Command, CommandError> {
    let Some(command) = command else { return Err(unknown(args)) };
    if command.subcommands.is_empty() || args.len() == 1 {
        return Ok(command);
    }
    let name = args.at(1);
    let is = |sub: &&Command| sub.name.as_bytes().eq_ignore_ascii_case(name);
    command.subcommands.iter().find(is).ok_or_else(|| {
        let after = format!("'. Try {} HELP.", command.name.to_uppercase());
        CommandError::quoting("ERR unknown subcommand '", at_most(name, QUOTED), &after)
    })
}

/// The same for what another node sends: it may name commands that clients cannot call.
pub fn resolve_for_peer(args: Args<'_>) -> Result<&'static Command, CommandError> {
    let internal = generic::INTERNAL.iter().find(|command| command.name.as_bytes() == args.at(0));
    match internal {
        Some(command) if command.takes(args.len()) => Ok(command),
        _ => resolve(args),
    }
}

/// The same for an effect, which may name commands that clients cannot call.
pub fn resolve_effect(args: Args<'_>) -> Result<&'static Command, CommandError> {
    let internal = streams::restore::EFFECTS.iter().find(|command| command.name.as_bytes() == args.at(0));
    match internal {
        Some(command) if command.takes(args.len()) => Ok(command),
        _ => resolve(args),
    }
}

fn unknown(args: Args<'_>) -> CommandError {
    let name = error::quoted(at_most(args.at(0), QUOTED));
    let mut text = [b"ERR unknown command '", name, b"', with args beginning with: "].concat();
    let mut left = QUOTED;
    for arg in args.iter().skip(1) {
        let arg = error::quoted(at_most(arg, left));
        text.extend_from_slice(&[b"'", arg, b"' "].concat());
        left = left.saturating_sub(arg.len() + 3);
        if left == 0 {
            break;
        }
    }
    CommandError::Quoting(text)
}

fn at_most(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[..bytes.len().min(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_number_and_its_full_name_by_that() {
        let mut numbers = Vec::new();
        for command in families().flatten() {
            numbers.push(command.number);
            assert_eq!(full_name(command), command.name);
            for sub in command.subcommands {
                numbers.push(sub.number);
                assert_eq!(full_name(sub), format!("{}|{}", command.name, sub.name));
            }
        }
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(1..names().len() as u16), "{numbers:?}");
        assert_eq!(full_name(generic::INTERNAL[0]), generic::INTERNAL[0].name);
    }
}
