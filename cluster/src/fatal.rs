//! What stops a node: its data directory cannot be used, or its Raft log cannot be written.
//!
//! Every message says what is wrong and what to do about it; nothing here is worth a retry by the program.

use std::{io, path::Path, path::PathBuf};

use crate::ids::ClusterId;

/// Why a node cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The path exists, and is something else.
    #[error("{} is not a directory; name one, or a path that does not exist yet", .path.display())]
    NotADirectory {
        /// What was to be the data directory.
        path: PathBuf,
    },
    /// Another process has the directory open.
    #[error(
        "{} is in use by another process; stop that one, or give this node a directory of its own",
        .path.display()
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// A newer build has written the file.
    #[error(
        "{} is written in format {format}, which this build does not know; start a build that is at least as new",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u8,
    },
    /// What the file says cannot be trusted.
    #[error(
        "{} is damaged ({why}); if the cluster has other nodes, remove this node from it, empty the directory and \
         join again, otherwise restore the directory from a copy",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// No space is left for a file that is made or has to grow.
    #[error("no space left for {}; free some on that file system and start again", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The node had been removed from its cluster.
    #[error(
        "this node was removed from cluster {cluster}; empty {} to join again as a new node",
        .path.display()
    )]
    Removed {
        /// The data directory.
        path: PathBuf,
        /// The cluster that it belonged to.
        cluster: ClusterId,
    },
    /// The directory belongs to a node of another cluster.
    #[error(
        "{} belongs to cluster {stored}, not to {wanted}; use another directory, or the addresses of that cluster",
        .path.display()
    )]
    OtherCluster {
        /// The data directory.
        path: PathBuf,
        /// The cluster that it belongs to.
        stored: ClusterId,
        /// The cluster that it was to enter.
        wanted: ClusterId,
    },
    /// The node is of no cluster yet.
    #[error("{} belongs to no cluster yet; found one, or join one", .path.display())]
    NoCluster {
        /// The data directory.
        path: PathBuf,
    },
    /// The system refused an operation on the file.
    #[error("{}: {source}", .path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Raft cannot go on, most often because its log could not be written.
    #[error("agreement has stopped on this node: {0}")]
    Raft(String),
}

impl Fatal {
    /// What an operation on a file has met.
    pub(crate) fn disk(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Disk { path, source },
        }
    }

    /// What a record that does not decode says of its file.
    pub(crate) fn record(path: &Path, bad: crate::codec::BadRecord) -> Self {
        let path = path.to_owned();
        match bad {
            crate::codec::BadRecord::Format(format) => Self::Newer { path, format },
            other => Self::Damaged { path, why: other.to_string() },
        }
    }
}
