//! HyperLogLogs: sketches that tell about how many different elements they were shown, in at most 12 KiB.
//!
//! A sketch is an ordinary string, byte for byte the one that Redis makes, so it can be carried from one server to the
//! other by GET and SET. It has 2^14 registers; [`hash`] tells which of them an element raises, [`dense`] and
//! [`sparse`] how they are written, [`value`] what stands in front of them, [`estimate`] how many elements they tell
//! of.
//!
//! Anybody can write such strings, or nearly such: what makes no sense is an error, never a panic.

mod debug;
mod dense;
mod estimate;
mod hash;
mod sparse;
#[cfg(test)]
mod tests;
mod value;

use ringfort_protocol::Args;

use self::{
    estimate::Histogram,
    hash::REGISTERS,
    value::{CARDINALITY, KNOWN, STALE, Sketch},
};
use super::{Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run};
use crate::store::{Edit, Form, Key};

/// The family.
pub(super) const COMMANDS: &[Command] = &[PFADD, PFCOUNT, debug::PFDEBUG, PFMERGE, debug::PFSELFTEST];

/// Registers that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Corrupt;

impl From<Corrupt> for CommandError {
    fn from(_: Corrupt) -> Self {
        Self::other("INVALIDOBJ Corrupted HLL object detected")
    }
}

const PFADD: Command = Command {
    name: "pfadd",
    summary: "Shows elements to a HyperLogLog; creates it if there is none",
    group: Group::HyperLogLog,
    since: "2.8.9",
    complexity: "O(1) to add every element.",
    arity: -2,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))],
    run: Run::Data(|cx, args| {
        let elements = args.slice(2..);
        let mut edit = cx.db.edit(cx.keys[0]);
        let changed = match Sketch::of(edit.value())? {
            Some(Sketch::Dense(_)) => add_dense(&mut edit, elements),
            Some(Sketch::Sparse(old)) => {
                match with_elements(old, elements, cx.limits.hll_sparse_max_bytes)? {
                    None => false,
                    Some(new) => {
                        edit.put(Form::Str, &[&new], edit.deadline());
                        true
                    }
                }
            }
            None => {
                let mut new = value::empty();
                for element in elements.iter() {
                    let (index, rank) = hash::place(element);
                    raise(&mut new, index, rank, cx.limits.hll_sparse_max_bytes)?;
                }
                value::invalidate(&mut new);
                edit.put(Form::Str, &[&new], None);
                true
            }
        };
        cx.out.flag(changed);
        Ok(if changed { Done::Changed } else { Done::Unchanged })
    }),
    ..Command::BASE
};

/// Shows elements to the dense sketch that the key holds, in its place. Returns whether any register was raised.
fn add_dense(edit: &mut Edit<'_, '_>, elements: Args<'_>) -> bool {
    let mut changed = false;
    for element in elements.iter() {
        let (index, rank) = hash::place(element);
        let Some(bytes) = edit.value().and_then(|value| value.as_string()) else { return changed };
        if dense::get(bytes, index) >= rank {
            continue;
        }
        let (at, new) = dense::with(bytes, index, rank);
        let end = bytes.len().min(at + new.len());
        edit.splice(at..end, &[&new[..end - at]]);
        changed = true;
    }
    let known = edit.value().and_then(|value| value.as_string()).map(|bytes| bytes[KNOWN]);
    if let (true, Some(known)) = (changed, known) {
        edit.splice(KNOWN..KNOWN + 1, &[&[known | STALE]]);
    }
    changed
}

/// What becomes of a sparse sketch to which elements are shown; `None` if it stays as it is.
fn with_elements(old: &[u8], elements: Args<'_>, most: usize) -> Result<Option<Vec<u8>>, Corrupt> {
    let mut new: Option<Vec<u8>> = None;
    for element in elements.iter() {
        let (index, rank) = hash::place(element);
        match &mut new {
            None if sparse::get(old, index)? >= rank => {}
            None => {
                let mut copy = Vec::with_capacity(old.len() + sparse::GROWTH);
                copy.extend_from_slice(old);
                _ = raise(new.insert(copy), index, rank, most)?;
            }
            Some(new) => _ = raise(new, index, rank, most)?,
        }
    }
    if let Some(new) = &mut new {
        value::invalidate(new);
    }
    Ok(new)
}

/// Lets a register of either form hold at least `rank`. Returns whether that is new.
fn raise(value: &mut Vec<u8>, index: usize, rank: u8, most: usize) -> Result<bool, Corrupt> {
    if !value::is_dense(value) {
        return sparse::raise(value, index, rank, most);
    }
    let rises = dense::get(value, index) < rank;
    if rises {
        dense::set(value, index, rank);
    }
    Ok(rises)
}

/// Although it only reads, it keeps the result in the sketch, where the next one finds it: as in Redis, of whose
/// strings this is part. A copy of another node's shard keeps nothing; it gets what its primary keeps.
const PFCOUNT: Command = Command {
    name: "pfcount",
    summary: "Tells about how many different elements HyperLogLogs were shown together",
    complexity: "O(1) with a very small average constant time when called with a single key. O(N) with N being the \
                 number of keys, and much bigger constant times, when called with multiple keys.",
    flags: Flags::READONLY,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RW.and(KeyFlags::ACCESS))],
    run: Run::Data(|cx, _| match cx.keys {
        [key] => count(cx, *key),
        keys => {
            let mut registers = [0; REGISTERS];
            for &key in keys {
                if let Some(sketch) = Sketch::of(cx.db.read(key))? {
                    sketch.merge_into(&mut registers)?;
                }
            }
            cx.out.int(Histogram::of_all(&registers).cardinality());
            Ok(Done::Read)
        }
    }),
    ..PFADD
};

fn count(cx: &mut Cx<'_>, key: Key<'_>) -> Result<Done, CommandError> {
    let Some(sketch) = Sketch::of(cx.db.read(key))? else {
        cx.out.int(0);
        return Ok(Done::Read);
    };
    if let Some(known) = sketch.known_cardinality() {
        cx.out.int(known);
        return Ok(Done::Read);
    }
    let cardinality = sketch.cardinality()?;
    cx.out.int(cardinality);
    if cx.db.is_copy() {
        return Ok(Done::Read);
    }
    let bytes = cardinality.to_le_bytes();
    let mut edit = cx.db.edit(key);
    edit.splice(CARDINALITY, &[&bytes]);
    edit.log(&[b"SETRANGE", key.bytes, itoa::Buffer::new().format(CARDINALITY.start).as_bytes(), &bytes]);
    Ok(Done::Logged)
}

const PFMERGE: Command = Command {
    name: "pfmerge",
    summary: "Merges HyperLogLogs into the first of them",
    complexity: "O(N) to merge N HyperLogLogs, but with high constant times.",
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[
        KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::INSERT)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
    ],
    run: Run::Data(|cx, _| {
        let (mut registers, mut dense) = ([0; REGISTERS], false);
        for &key in cx.keys {
            if let Some(sketch) = Sketch::of(cx.db.read(key))? {
                dense |= matches!(sketch, Sketch::Dense(_));
                sketch.merge_into(&mut registers)?;
            }
        }
        let mut edit = cx.db.edit(cx.keys[0]);
        let mut merged = match Sketch::of(edit.value())? {
            None => value::empty(),
            Some(sketch) => sketch.bytes().to_vec(),
        };
        if dense && !value::is_dense(&merged) {
            merged = sparse::to_dense(&merged)?;
        }
        for (index, rank) in registers.into_iter().enumerate().filter(|(_, rank)| *rank > 0) {
            raise(&mut merged, index, rank, cx.limits.hll_sparse_max_bytes)?;
        }
        value::invalidate(&mut merged);
        edit.put(Form::Str, &[&merged], edit.deadline());
        edit.log(&[b"SET", edit.key().bytes, &merged, b"KEEPTTL"]);
        cx.out.ok();
        Ok(Done::Logged)
    }),
    ..PFADD
};
