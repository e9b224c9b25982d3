//! What commands about the connection and the server work with: no data, no lock.

use ringfort_protocol::Args;

use super::{CommandError, Reply};
use crate::{clients::Client, env::Now, node::Node};

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
}

/// A handler of a command about the connection or the server.
pub type SessionHandler = fn(&mut SessionCx<'_>, Args<'_>) -> Result<(), CommandError>;
