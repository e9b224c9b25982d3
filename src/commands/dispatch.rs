//! Runs a handler of data under the locks of its shards.

use ringfort_protocol::Args;

use super::{CommandError, Cx, Done, Handler};

/// Runs the handler. Its reply, or its error, is in `cx.out`; what it changed is in the log.
pub fn run(handler: Handler, cx: &mut Cx<'_>, args: Args<'_>) -> Done {
    let mark = cx.out.mark();
    attempt(handler, cx, args).unwrap_or_else(|error| {
        cx.out.rewind(mark);
        cx.out.error(&error);
        Done::Unchanged
    })
}

/// The same for who goes on in another way after an error, which is not in `cx.out` then.
pub fn attempt(handler: Handler, cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let done = handler(cx, args)?;
    if done == Done::Changed {
        cx.db.log_command(cx.key(0), args.iter());
    }
    Ok(done)
}
