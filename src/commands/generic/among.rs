//! How a node is asked to run a command on some of its shards: its part of a request that goes to all shards there are.
//!
//! Clients cannot call this. The shards are named, so that each is run on exactly once, however they move meanwhile: a
//! part whose shards have parted is split again.

use ringfort_cluster::ShardId;
use ringfort_protocol::{Args, OwnedArgs};

use crate::commands::{self, Command, CommandError, Flags, Handler, Run};

/// `among.read shards command [argument …]`: for commands that read.
pub(crate) static READ: Command = Command { name: "among.read", ..AMONG };

/// The same for commands that write.
pub(crate) static WRITE: Command = Command { name: "among.write", flags: Flags::WRITE, ..AMONG };

const AMONG: Command = Command { arity: -3, flags: Flags::READONLY, run: Run::Among, ..Command::BASE };

/// Where the command begins.
const COMMAND: usize = 2;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Among<'a> {
    /// In ascending order.
    pub(crate) shards: Vec<ShardId>,
    /// The command, which runs once for each shard.
    pub(crate) command: &'static Command,
    pub(crate) handler: Handler,
    pub(crate) args: Args<'a>,
}

impl<'a> Among<'a> {
    /// Reads a request, of a node with so many shards.
    pub(crate) fn parse(args: Args<'a>, shards: u16) -> Result<Self, CommandError> {
        let nonsense =
            CommandError::other("ERR these are no shards and no command that runs on each of them");
        let (numbers, rest) = args.at(1).as_chunks();
        let named: Vec<ShardId> = numbers.iter().map(|number| ShardId(u16::from_le_bytes(*number))).collect();
        let in_order = named.is_sorted_by(|a, b| a < b) && named.last().is_some_and(|last| last.0 < shards);
        let args = args.slice(COMMAND..);
        let command = commands::resolve(args)?;
        match command.run {
            Run::EachShard(handler) if in_order && rest.is_empty() => {
                Ok(Self { shards: named, command, handler, args })
            }
            _ => Err(nonsense),
        }
    }

    /// The command and the arguments that ask for it, with shards in ascending order.
    pub(crate) fn ask(
        command: &Command,
        shards: impl Iterator<Item = ShardId>,
        args: Args<'_>,
    ) -> (&'static Command, OwnedArgs) {
        let asks = if command.flags.has(Flags::WRITE) { &WRITE } else { &READ };
        let shards: Vec<u8> = shards.flat_map(|shard| shard.0.to_le_bytes()).collect();
        (asks, [asks.name.as_bytes(), &shards].into_iter().chain(args.iter()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_again() {
        let args: OwnedArgs = [&b"FLUSHALL"[..], b"ASYNC"].into_iter().collect();
        let command = commands::find(b"flushall").unwrap();
        let shards = [ShardId(0), ShardId(2), ShardId(255)];
        let (asks, asked) = Among::ask(command, shards.into_iter(), args.as_args());
        assert_eq!(asks.name, "among.write");
        let read = Among::parse(asked.as_args(), 256).unwrap();
        assert_eq!((read.shards, read.command.name), (shards.to_vec(), "flushall"));
        assert_eq!(read.args.iter().collect::<Vec<_>>(), [&b"FLUSHALL"[..], b"ASYNC"]);
        // The last shard is beyond those that there are.
        assert!(Among::parse(asked.as_args(), 255).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for (shards, command) in [
            (&b"\0"[..], "dbsize"),
            (b"", "dbsize"),
            (b"\x01\0\0\0", "dbsize"),
            (b"\0\0\0\0", "dbsize"),
            (b"\0\0", "ping"),
        ] {
            let args: OwnedArgs = [&b"among.read"[..], shards, command.as_bytes()].into_iter().collect();
            assert!(Among::parse(args.as_args(), 256).is_err(), "{shards:?} {command}");
        }
    }
}
