//! `HELP`, which every container has.

use super::{
    Command, Flags, Group, Run,
    session::{SessionCx, SessionHandler},
};

/// The declaration of a container's `HELP`.
pub(super) const fn help(group: Group, since: &'static str, run: SessionHandler) -> Command {
    Command {
        name: "help",
        summary: "Tells what the subcommands do",
        group,
        since,
        arity: 2,
        flags: Flags::LOADING.and(Flags::STALE),
        run: Run::Session(run),
        ..Command::BASE
    }
}

/// Answers the lines of a help text, each as a status: forms of the subcommands, and below each, indented, what it does.
pub(super) fn write(cx: &mut SessionCx<'_>, container: &str, lines: &[&str]) {
    cx.out.array(lines.len() + 3);
    cx.out.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.iter().for_each(|line| cx.out.simple(line));
    cx.out.simple("HELP");
    cx.out.simple("    Prints this help.");
}
