//! What commands about the connection and the server work with: no data, no lock.

use std::time::Duration;

use ringfort_protocol::Args;

use super::{Command, CommandError, Reply, Run};
use crate::{clients::Client, env::Now, node::Node, stopping::Stop};

/// What such a handler may see and change.
pub struct SessionCx<'a> {
    /// The node.
    pub node: &'a Node,
    /// The client that asks.
    pub client: &'a mut Client,
    /// The reply.
    pub out: &'a mut Reply,
    /// The time of this turn.
    pub now: Now,
    /// What the event loop is to do before the client is answered and read from again. The handler writes no reply
    /// then.
    pub later: Option<Later>,
    /// The reply tells of data: it is sent only if the node still has its lease then.
    pub rests_on_lease: bool,
}

/// What an event loop does for a session that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// Nothing, for so long: DEBUG SLEEP.
    Sleep(Duration),
    /// Writes the settings in force into the configuration file: CONFIG REWRITE.
    RewriteConfig,
    /// Asks the node to stop: SHUTDOWN. The answer is the end of the connection.
    Stop(Stop),
}

/// A handler of a command about the connection or the server.
pub type SessionHandler = fn(&mut SessionCx<'_>, Args<'_>) -> Result<(), CommandError>;

impl Command {
    /// The declaration of a command about the connection or the server. What is not given, it has from this one, in
    /// which is what its family shares.
    pub(super) const fn named(
        self,
        name: &'static str,
        since: &'static str,
        arity: i8,
        run: SessionHandler,
        summary: &'static str,
    ) -> Self {
        Self { name, since, arity, run: Run::Session(run), summary, ..self }
    }
}
