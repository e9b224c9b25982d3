//! A node's data directory: who the node is, and proof that it is the only process that says so.
//!
//! Whoever opens a [`Directory`] holds an exclusive lock on it until it is dropped, and with it the right to speak as
//! this node. Opening raises the incarnation and makes that durable before it returns, so no two processes ever speak
//! as the same incarnation. The identity is replaced in place (see `disk`): a full disk does not keep a node from
//! drawing a new incarnation. The Raft log and the refusals lie in the same directory; each knows its own files.

use std::{
    fmt,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};

use crate::{
    disk::Mirrored,
    fatal::Fatal,
    ids::{ClusterId, Incarnation, NodeId},
};

/// The identity's file has two copies of this many bytes.
const ROOM: u64 = 4096;

/// An open data directory. Keep it for as long as the process speaks as this node.
pub struct Directory {
    path: PathBuf,
    /// Locked; the system frees it when the process ends, however it ends.
    _lock: File,
    kept: Mutex<Kept>,
}

struct Kept {
    file: Mirrored<Identity>,
    identity: Identity,
}

#[derive(Clone, Serialize, Deserialize)]
struct Identity {
    node: NodeId,
    incarnation: Incarnation,
    cluster: Option<ClusterId>,
    secret: Option<Secret>,
    removed: bool,
}

/// The secret that all nodes of a cluster share.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Directory {
    /// Opens a data directory, makes it if there is none, and raises the incarnation.
    ///
    /// `fresh` is 160 random bits: the name that the node is given if it has none yet.
    pub fn open(path: &Path, fresh: NodeId) -> Result<Self, Fatal> {
        match std::fs::create_dir_all(path) {
            Err(_) if path.exists() && !path.is_dir() => {
                return Err(Fatal::NotADirectory { path: path.to_owned() });
            }
            made => made.map_err(|error| Fatal::disk(path, error))?,
        }
        let lock = lock(path)?;
        let first = || Identity {
            node: fresh,
            incarnation: Incarnation(0),
            cluster: None,
            secret: None,
            removed: false,
        };
        let (file, identity) = Mirrored::open(&path.join("node"), ROOM, first)?;
        if identity.removed {
            return Err(Fatal::Removed {
                path: path.to_owned(),
                cluster: identity.cluster.unwrap_or(ClusterId([0; 20])),
            });
        }
        let directory =
            Self { path: path.to_owned(), _lock: lock, kept: Mutex::new(Kept { file, identity }) };
        directory.raise_incarnation()?;
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node's name for life.
    pub fn node(&self) -> NodeId {
        self.kept().identity.node
    }

    /// The newest incarnation that was drawn.
    pub fn incarnation(&self) -> Incarnation {
        self.kept().identity.incarnation
    }

    /// The cluster that the node belongs to, once it has founded or joined one.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.kept().identity.cluster
    }

    /// The cluster's secret, if the node keeps one.
    pub fn secret(&self) -> Option<Secret> {
        self.kept().identity.secret.clone()
    }

    /// Draws the next incarnation: durable when this returns. At run time, for a living process whose incarnation was
    /// declared dead.
    pub fn raise_incarnation(&self) -> Result<Incarnation, Fatal> {
        self.change(|identity| identity.incarnation = identity.incarnation.next())?;
        Ok(self.incarnation())
    }

    /// Notes the cluster that the node founds or joins; before it does. A node changes its cluster never.
    pub fn enter_cluster(&self, cluster: ClusterId, secret: Option<Secret>) -> Result<(), Fatal> {
        match self.cluster() {
            Some(stored) if stored != cluster => {
                Err(Fatal::OtherCluster { path: self.path.clone(), stored, wanted: cluster })
            }
            _ => self.change(|identity| {
                identity.cluster = Some(cluster);
                identity.secret = secret;
            }),
        }
    }

    /// Notes that the cluster has removed this node: a later [`Directory::open`] says so instead of coming back.
    pub fn mark_removed(&self) -> Result<(), Fatal> {
        self.change(|identity| identity.removed = true)
    }

    fn change(&self, change: impl FnOnce(&mut Identity)) -> Result<(), Fatal> {
        let mut kept = self.kept();
        let mut identity = kept.identity.clone();
        change(&mut identity);
        kept.file.replace(&identity)?;
        kept.identity = identity;
        Ok(())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // The value is replaced after the disk has it, so a panic of another holder leaves nothing half done.
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn lock(path: &Path) -> Result<File, Fatal> {
    let file = path.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&file);
    let lock = lock.map_err(|error| Fatal::disk(&file, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Fatal::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Err(Fatal::disk(
            &file,
            io::Error::other("this file system has no locks; put the data directory on a local disk"),
        )),
        Err(TryLockError::Error(error)) => Err(Fatal::disk(&file, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: NodeId = NodeId([5; 20]);

    #[test]
    fn a_node_keeps_its_name_and_rises_in_incarnation_at_each_opening() {
        let place = tempfile::tempdir().unwrap();
        for opening in 1..=3 {
            let directory = Directory::open(place.path(), NodeId([opening; 20])).unwrap();
            assert_eq!(directory.node(), NodeId([1; 20]));
            assert_eq!(directory.incarnation(), Incarnation(opening.into()));
        }
        let directory = Directory::open(place.path(), FRESH).unwrap();
        assert_eq!(directory.raise_incarnation().unwrap(), Incarnation(5));
        drop(directory);
        let directory = Directory::open(place.path(), FRESH).unwrap();
        assert_eq!(directory.incarnation(), Incarnation(6));
    }

    #[test]
    fn a_second_process_is_told_that_the_directory_is_in_use() {
        let place = tempfile::tempdir().unwrap();
        let _held = Directory::open(place.path(), FRESH).unwrap();
        let refused = Directory::open(place.path(), FRESH).err().unwrap();
        assert!(matches!(refused, Fatal::Locked { .. }));
        assert!(refused.to_string().contains("in use by another process; stop that one"), "{refused}");
    }

    #[test]
    fn the_cluster_and_its_secret_are_kept_and_never_changed() {
        let place = tempfile::tempdir().unwrap();
        let (mine, other) = (ClusterId([1; 20]), ClusterId([2; 20]));
        let directory = Directory::open(place.path(), FRESH).unwrap();
        assert_eq!((directory.cluster(), directory.secret()), (None, None));
        directory.enter_cluster(mine, Some(Secret([9; 32]))).unwrap();
        drop(directory);
        let directory = Directory::open(place.path(), FRESH).unwrap();
        assert_eq!((directory.cluster(), directory.secret()), (Some(mine), Some(Secret([9; 32]))));
        assert!(matches!(
            directory.enter_cluster(other, None),
            Err(Fatal::OtherCluster { stored, wanted, .. }) if (stored, wanted) == (mine, other)
        ));
    }

    #[test]
    fn a_removed_node_is_told_so() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path(), FRESH).unwrap();
        directory.enter_cluster(ClusterId([3; 20]), None).unwrap();
        directory.mark_removed().unwrap();
        drop(directory);
        let refused = Directory::open(place.path(), FRESH).err().unwrap();
        assert!(matches!(refused, Fatal::Removed { cluster, .. } if cluster == ClusterId([3; 20])));
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_told_apart() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, b"x").unwrap();
        assert!(matches!(Directory::open(&file, FRESH), Err(Fatal::NotADirectory { .. })));
    }
}
