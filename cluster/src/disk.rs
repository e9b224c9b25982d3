//! How bytes lie on disk so that a crash, a full disk and a flipped bit are told apart.
//!
//! Three tools, used by everything that a node must not forget. A *frame* is a body with its length and checksums; a
//! reader knows whether it is whole. A *preallocated* file has all its blocks from the start, so that what is written
//! into it later needs no space: a disk that others have filled cannot stop a vote or a refusal. [`Mirrored`] is a
//! value that is replaced in place, twice over: whatever is lost in a crash, one copy is whole.
//!
//! File systems that never overwrite in place (btrfs, ZFS) need a little space for each write nevertheless.

use std::{
    fs::{File, OpenOptions},
    io,
    marker::PhantomData,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{codec, fatal::Fatal};

/// Bytes that a frame adds to its body: length, checksum of the length, checksum of the body, 4 bytes each.
pub(crate) const FRAME_HEADER: usize = 12;

/// Wraps a body. The tag is not written but goes into the checksums: a frame with another tag is no frame.
pub(crate) fn frame(tag: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("records are limited to far less than 4 GiB");
    let mut bytes = Vec::with_capacity(FRAME_HEADER + body.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum(tag, &length.to_le_bytes()).to_le_bytes());
    bytes.extend_from_slice(&checksum(tag, body).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The body of the frame that `bytes` begin with, if there is a whole one.
pub(crate) fn framed(tag: u64, bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let length = word(0)?;
    // The length has a checksum of its own, so that looking for a frame in garbage is quick.
    if length == 0 || word(4)? != checksum(tag, &length.to_le_bytes()) {
        return None;
    }
    let body = bytes.get(FRAME_HEADER..)?.get(..length as usize)?;
    (word(8)? == checksum(tag, body)).then_some(body)
}

fn checksum(tag: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&tag.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Gives a file the blocks of a range, which then reads as zeros. The only operation that needs free space.
pub(crate) type Allocate = Arc<dyn Fn(&File, Range<u64>) -> io::Result<()> + Send + Sync>;

/// Allocates by writing zeros: a hole would cost a failure later, and an unwritten extent a journal entry each write.
pub(crate) fn write_zeros(file: &File, range: Range<u64>) -> io::Result<()> {
    const CHUNK: usize = 64 << 10;
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(CHUNK as u64);
        file.write_all_at(&[0; CHUNK][..length as usize], at)?;
        at += length;
    }
    file.sync_all()
}

/// Makes a preallocated file that begins with `head`. It appears under its name whole, or not at all.
pub(crate) fn create(path: &Path, size: u64, head: &[u8], allocate: &Allocate) -> Result<File, Fatal> {
    let unfinished = path.with_extension("new");
    let make = || {
        let file = options().create(true).truncate(true).open(&unfinished)?;
        allocate(&file, 0..size)?;
        file.write_all_at(head, 0)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))?;
        Ok(file)
    };
    make().map_err(|error| {
        // Half a file must not hold on to the space that was too little for it; that it is there is harmless.
        let _ = std::fs::remove_file(&unfinished);
        Fatal::disk(path, error)
    })
}

/// Opens a file for reading and writing, if it exists.
pub(crate) fn open_existing(path: &Path) -> Result<Option<File>, Fatal> {
    match options().open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fatal::disk(path, error)),
    }
}

/// Reads a whole file.
pub(crate) fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Makes names that were created in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // The cluster's secret is among what is kept.
    options.read(true).write(true).mode(0o600);
    options
}

/// A value that is replaced as a whole, in place, and found again after any crash.
///
/// The file holds two copies, each a frame of a sequence number and the value. A replacement writes and syncs one
/// copy and then the other. So after a crash at least one is whole, and the newer one counts; and when both are
/// whole they are equal, so that damage to one costs nothing.
pub(crate) struct Mirrored<T> {
    file: File,
    path: PathBuf,
    /// Bytes set aside for each copy.
    room: u64,
    sequence: u64,
    value: PhantomData<fn(T)>,
}

impl<T: Serialize + DeserializeOwned> Mirrored<T> {
    /// Opens the file, or makes it with a first value. `room` is the size of each copy in bytes.
    pub(crate) fn open(path: &Path, room: u64, first: impl FnOnce() -> T) -> Result<(Self, T), Fatal> {
        let opened =
            |file, sequence| Self { file, path: path.to_owned(), room, sequence, value: PhantomData };
        let Some(file) = open_existing(path)? else {
            let value = first();
            let copy = frame(0, &codec::encode(&(1u64, &value)));
            let file = create(path, 2 * room, &copy, &(Arc::new(write_zeros) as Allocate))?;
            let mut mirrored = opened(file, 1);
            mirrored.replace(&value)?;
            return Ok((mirrored, value));
        };
        let bytes = read_all(&file).map_err(|error| Fatal::disk(path, error))?;
        let mut newest: Option<(u64, T)> = None;
        for start in [0, room as usize] {
            let Some(body) = bytes.get(start..).and_then(|bytes| framed(0, bytes)) else {
                continue;
            };
            let copy: (u64, T) = codec::decode(body).map_err(|bad| Fatal::record(path, bad))?;
            if newest.as_ref().is_none_or(|newest| copy.0 > newest.0) {
                newest = Some(copy);
            }
        }
        let (sequence, value) = newest.ok_or_else(|| Fatal::Damaged {
            path: path.to_owned(),
            why: "neither of its two copies is whole".into(),
        })?;
        Ok((opened(file, sequence), value))
    }

    /// Replaces the value. It is durable when this returns; on an error the old one may come back.
    pub(crate) fn replace(&mut self, value: &T) -> Result<(), Fatal> {
        self.sequence += 1;
        let copy = frame(0, &codec::encode(&(self.sequence, value)));
        let write = || {
            if copy.len() as u64 > self.room {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            // The copy at the end first: a file that was just made has none there.
            for start in [self.room, 0] {
                self.file.write_all_at(&copy, start)?;
                self.file.sync_data()?;
            }
            Ok(())
        };
        write().map_err(|error| Fatal::disk(&self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: u64 = 256;

    fn open(path: &Path) -> Result<(Mirrored<u32>, u32), Fatal> {
        Mirrored::open(path, ROOM, || 1)
    }

    fn damage(path: &Path, at: u64) {
        let file = options().open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    #[test]
    fn a_frame_is_whole_or_none() {
        let whole = frame(7, b"body");
        assert_eq!(framed(7, &whole), Some(&b"body"[..]));
        assert_eq!(framed(8, &whole), None, "another tag");
        assert_eq!(framed(7, &whole[..whole.len() - 1]), None, "cut");
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            assert_eq!(framed(7, &bytes), None, "a bit of byte {at}");
        }
    }

    #[test]
    fn a_mirrored_value_survives_the_loss_of_either_copy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("value");
        for lost in [0, ROOM] {
            open(&path).unwrap().0.replace(&(42 + lost as u32)).unwrap();
            damage(&path, lost + FRAME_HEADER as u64);
            assert_eq!(open(&path).unwrap().1, 42 + lost as u32);
        }
    }

    #[test]
    fn a_replacement_that_was_cut_short_leaves_the_old_value_or_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("value");
        open(&path).unwrap().0.replace(&2).unwrap();
        let file = options().open(&path).unwrap();
        // As after a crash between the two copies: the one at the end is newer.
        file.write_all_at(&frame(0, &codec::encode(&(9u64, 3u32))), ROOM).unwrap();
        assert_eq!(open(&path).unwrap().1, 3);
        // As after a crash in the midst of it: that copy is torn.
        damage(&path, ROOM + FRAME_HEADER as u64 + 1);
        assert_eq!(open(&path).unwrap().1, 2);
    }

    #[test]
    fn a_file_with_both_copies_damaged_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("value");
        drop(open(&path).unwrap());
        damage(&path, 2);
        damage(&path, ROOM + 2);
        assert!(matches!(open(&path), Err(Fatal::Damaged { .. })));
    }

    #[test]
    fn a_file_of_a_newer_build_is_refused_by_its_format() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("value");
        let newer = frame(0, &[codec::FORMAT + 1, 0, 0]);
        create(&path, 2 * ROOM, &newer, &(Arc::new(write_zeros) as Allocate)).unwrap();
        assert!(matches!(open(&path), Err(Fatal::Newer { format, .. }) if format == codec::FORMAT + 1));
    }
}
