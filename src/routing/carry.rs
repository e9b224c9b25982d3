//! RENAME, RENAMENX and COPY between two nodes: fetch, place, drop.
//!
//! The value is fetched from the owner of the source, placed at the owner of the destination, and then, for a rename,
//! removed from the source if that is still what was carried; if not, it is carried again. So no write to the source
//! is lost, but others see the steps. What the steps are is in [`crate::commands::generic::carry`].
//!
//! Where it cannot be carried again, what was placed is removed, and the source stays. Not so where a node has failed:
//! what was placed may be all that is left of the value then.

use ringfort_protocol::{OwnedArgs, elements};

use super::{
    Origin, Request, Router,
    steps::{Asked, Job, NONSENSE, body},
};
use crate::{
    commands::{
        CommandError, Reply,
        generic::{
            carry::{DROP, FETCH, PLACE, PLACE_IN_BOUNDS},
            rename::CopyOptions,
        },
    },
    store::Key,
};

/// How often a value is carried that changes meanwhile, before the rename is given up.
const ATTEMPTS: u8 = 8;

/// What is said then.
const GOES_ON_CHANGING: &[u8] = b"-ERR The key goes on changing while it is carried to another node\r\n";

/// What is said behind an error of what has become of the two keys.
const REMOVED: &str = "; the source is as it was, and the destination is removed";
const AT_BOTH: &str = "; a value that the source had is at both names";

/// A value on its way.
#[derive(Debug)]
pub(super) struct Carrying {
    pub(super) asked: Asked,
    verb: Verb,
    /// The database of the destination.
    db: u8,
    /// Whether what is at the destination may be replaced.
    replace: bool,
    stage: Stage,
    /// The print of what this rename has placed at the destination.
    placed: Option<Vec<u8>>,
    attempts: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Rename,
    RenameNx,
    Copy,
}

#[derive(Debug)]
enum Stage {
    Fetch,
    /// With the print of the value.
    Place(Vec<u8>),
    Drop,
    /// Removes what was placed, because of this error.
    TakeBack(Vec<u8>),
}

impl Router {
    /// Begins to carry a value.
    pub(super) fn carry(&mut self, origin: Origin, request: Request<'_>, keys: &[Key<'_>]) {
        debug_assert_eq!(keys.len(), 2, "a value goes from one key to another");
        let (verb, options) = match request.command.name {
            "copy" => (Verb::Copy, CopyOptions::parse(request.args, request.db)),
            "renamenx" => (Verb::RenameNx, Ok(CopyOptions { db: request.db, replace: false })),
            _ => (Verb::Rename, Ok(CopyOptions { db: request.db, replace: true })),
        };
        match options {
            Err(error) => self.fail(origin, &error),
            Ok(CopyOptions { db, replace }) => {
                let asked = self.take_on(origin, request);
                let (stage, placed, attempts) = (Stage::Fetch, None, 0);
                self.fetch(Carrying { asked, verb, db, replace, stage, placed, attempts });
            }
        }
    }

    fn fetch(&mut self, mut carrying: Carrying) {
        carrying.stage = Stage::Fetch;
        let (db, args) = (carrying.asked.request.db, carrying.asked.request.args.as_args());
        let args: OwnedArgs = [FETCH.name.as_bytes(), args.at(1), args.at(2)].into_iter().collect();
        self.step(Job::Carry(carrying), &FETCH, db, &args);
    }

    pub(super) fn carry_goes_on(&mut self, mut carrying: Carrying, reply: &[u8]) {
        let args = carrying.asked.request.args.as_args();
        match (std::mem::replace(&mut carrying.stage, Stage::Fetch), reply) {
            (Stage::Fetch, b"$-1\r\n" | b"_\r\n") => self.source_is_absent(carrying),
            (Stage::Fetch, _) => {
                let Some([records, print]) = fetched(reply) else {
                    return self.fail_job(carrying.asked, &NONSENSE);
                };
                let how: &[u8] = if carrying.replace { b"REPLACE" } else { b"NX" };
                let place = if carrying.verb == Verb::Copy { &PLACE_IN_BOUNDS } else { &PLACE };
                let args: OwnedArgs = [place.name.as_bytes(), args.at(2), how, records].into_iter().collect();
                carrying.stage = Stage::Place(print.to_vec());
                let db = carrying.db;
                self.step(Job::Carry(carrying), place, db, &args);
            }
            (Stage::Place(_), b":0\r\n") => self.end_job(carrying.asked, b":0\r\n".to_vec()),
            (Stage::Place(_), _) if carrying.verb == Verb::Copy => {
                self.end_job(carrying.asked, b":1\r\n".to_vec());
            }
            (Stage::Place(print), _) => {
                let args: OwnedArgs =
                    [DROP.name.as_bytes(), args.at(1), args.at(2), &print].into_iter().collect();
                (carrying.stage, carrying.placed) = (Stage::Drop, Some(print));
                let db = carrying.asked.request.db;
                self.step(Job::Carry(carrying), &DROP, db, &args);
            }
            (Stage::Drop, b":1\r\n") => self.renamed(carrying),
            (Stage::Drop, _) => {
                carrying.attempts += 1;
                if carrying.attempts == ATTEMPTS {
                    return self.carry_fails(carrying, GOES_ON_CHANGING.to_vec());
                }
                // What is at the destination now was put there by this rename.
                carrying.replace = true;
                self.fetch(carrying);
            }
            (Stage::TakeBack(error), b":1\r\n") => {
                // RENAMENX has found nothing there.
                let told = if carrying.verb == Verb::Rename { REMOVED } else { "" };
                self.end_job(carrying.asked, with(error, told));
            }
            (Stage::TakeBack(error), _) => self.end_job(carrying.asked, with(error, AT_BOTH)),
        }
    }

    /// A step was refused: what this rename has placed is removed again.
    pub(super) fn carry_fails(&mut self, mut carrying: Carrying, error: Vec<u8>) {
        let is_unknown = error.starts_with(b"-UNKNOWN ");
        let node_has_failed = is_unknown || error.starts_with(b"-CLUSTERDOWN ");
        match (carrying.stage, carrying.placed.take()) {
            (Stage::TakeBack(first), _) => self.end_job(carrying.asked, with(first, AT_BOTH)),
            (_, None) => self.end_job(carrying.asked, error),
            // The source may be gone.
            (Stage::Drop, _) if is_unknown => self.end_job(carrying.asked, error),
            _ if node_has_failed => self.end_job(carrying.asked, with(error, AT_BOTH)),
            (_, Some(print)) => {
                let to = carrying.asked.request.args.as_args().at(2);
                let args: OwnedArgs = [DROP.name.as_bytes(), to, to, &print].into_iter().collect();
                carrying.stage = Stage::TakeBack(error);
                let db = carrying.db;
                self.step(Job::Carry(carrying), &DROP, db, &args);
            }
        }
    }

    fn source_is_absent(&mut self, carrying: Carrying) {
        match carrying.verb {
            // It was removed after it had been carried.
            _ if carrying.attempts > 0 => self.renamed(carrying),
            Verb::Copy => self.end_job(carrying.asked, b":0\r\n".to_vec()),
            Verb::Rename | Verb::RenameNx => self.fail_job(carrying.asked, &CommandError::NoSuchKey),
        }
    }

    fn renamed(&mut self, carrying: Carrying) {
        let mut out = Reply::default();
        match carrying.verb {
            Verb::Rename => out.ok(),
            Verb::RenameNx | Verb::Copy => out.flag(true),
        }
        self.end_job(carrying.asked, out.into_bytes());
    }
}

/// The records and the print of a value that was fetched.
pub(super) fn fetched(reply: &[u8]) -> Option<[&[u8]; 2]> {
    let mut parts = elements(reply)?;
    Some([body(parts.next()?)?, body(parts.next()?)?])
}

/// An error reply with more said behind it.
fn with(mut error: Vec<u8>, told: &str) -> Vec<u8> {
    error.truncate(error.trim_ascii_end().len());
    [&error[..], told.as_bytes(), b"\r\n"].concat()
}
