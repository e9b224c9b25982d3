//! What commands about the connection and the server work with: no data, no lock.

use ringfort_protocol::Args;

use super::{CommandError, Reply};
use crate::{clients::Client, env::Now, node::Node, session::Later};

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
    /// What the event loop is to do before the client is answered and read from again. The handler writes no reply then.
    pub later: Option<Later>,
}

/// A handler of a command about the connection or the server.
pub type SessionHandler = fn(&mut SessionCx<'_>, Args<'_>) -> Result<(), CommandError>;
