//! SHUTDOWN: stops the node that the client is connected to.
//!
//! Without options it ends as by SIGTERM: the shards are handed over first, so the cluster loses nothing. NOW leaves that
//! out, and the others take the shards over from their replicas.

use ringfort_protocol::Args;

use super::{
    Command, CommandError, Flags, Group, Run,
    parse::is,
    session::{Later, SessionCx},
};
use crate::stopping::Stop;

/// The family.
pub(super) const COMMANDS: &[Command] = &[SHUTDOWN];

const SHUTDOWN: Command = Command {
    name: "shutdown",
    summary: "Hands the shards of this node over to others, then stops it",
    group: Group::Server,
    complexity: "O(N) where N is the number of shards that are handed over",
    arity: -1,
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::NO_MULTI)
        .and(Flags::ALLOW_BUSY),
    run: Run::Session(shutdown),
    ..Command::BASE
};

/// What Redis answers when it cannot save what it was told to save, and those whose SHUTDOWN another one takes back.
pub const FAILED: CommandError = CommandError::other("ERR Errors trying to SHUTDOWN. Check logs.");

fn shutdown(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let [mut nosave, mut save, mut now, mut force, mut abort] = [false; 5];
    for option in args.iter().skip(1) {
        let names = [("NOSAVE", &mut nosave), ("SAVE", &mut save), ("NOW", &mut now), ("FORCE", &mut force)];
        let known = names.into_iter().chain([("ABORT", &mut abort)]).find(|(name, _)| is(option, name));
        *known.ok_or(CommandError::Syntax)?.1 = true;
    }
    if (nosave && save) || (abort && (nosave || save || now || force)) {
        return Err(CommandError::Syntax);
    }
    if abort {
        if !cx.node.stopping.take_back() {
            return Err(CommandError::other("ERR No shutdown in progress."));
        }
        cx.out.ok();
        return Ok(());
    }
    if save && !force {
        tracing::warn!("SHUTDOWN SAVE was refused: no snapshots are written; SHUTDOWN hands the data over");
        return Err(FAILED);
    }
    cx.later = Some(Later::Stop(if now { Stop::Now } else { Stop::Gracefully }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clients::Door,
        node::testing::{Asker, node},
    };

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        for command in ["SHUTDOWN x", "SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW", "SHUTDOWN NOSAVE ABORT"] {
            assert_eq!(asker.run(command), "-ERR syntax error ", "{command}");
            assert_eq!(asker.later, None, "{command}");
        }
    }

    #[test]
    fn the_node_stops_gracefully_unless_it_is_to_stop_now() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        for (command, stop) in [
            ("SHUTDOWN", Stop::Gracefully),
            ("shutdown nosave force", Stop::Gracefully),
            ("SHUTDOWN NOSAVE NOW", Stop::Now),
            ("SHUTDOWN SAVE FORCE", Stop::Gracefully),
        ] {
            assert_eq!(asker.run(command), "", "{command}");
            assert_eq!(asker.later, Some(Later::Stop(stop)), "{command}");
        }
        assert_eq!(asker.run("SHUTDOWN SAVE"), "-ERR Errors trying to SHUTDOWN. Check logs. ");
        assert_eq!(asker.later, None);
    }

    #[test]
    fn only_what_is_in_progress_can_be_taken_back() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("SHUTDOWN ABORT"), "-ERR No shutdown in progress. ");
        node.stopping.ask(Stop::Gracefully);
        assert_eq!(asker.run("SHUTDOWN ABORT"), "+OK ");
        assert!(node.stopping.is_running());
    }
}
