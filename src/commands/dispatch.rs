//! Runs a handler of data under the locks of its shards.

use ringfort_protocol::Args;

use super::{Cx, Done, Handler};

/// Runs the handler. Its reply, or its error, is in `cx.out`; what it changed is in the log.
pub fn run(handler: Handler, cx: &mut Cx<'_>, args: Args<'_>) -> Done {
    let mark = cx.out.mark();
    match handler(cx, args) {
        Ok(Done::Changed) => {
            cx.db.log_command(cx.key(0), args.iter());
            Done::Changed
        }
        Ok(done) => done,
        Err(error) => {
            cx.out.rewind(mark);
            cx.out.error(&error);
            Done::Unchanged
        }
    }
}
