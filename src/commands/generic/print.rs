//! What tells whether a value is still the one that was carried, although some of its fields have ended meanwhile.
//!
//! A hash loses fields whose time is over by itself, and a value that is carried is changed by nothing else. So a print
//! has one number for what lasts, and one for each field that has a deadline, and of two prints only what is not over
//! is compared. The numbers are added up: the order of fields does not matter.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::carry::fingerprint;
use crate::store::{Peek, objects::hash::HashRef, packed::Item};

/// The print of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Print {
    lasting: u64,
    /// The deadline of each field that has one, in Unix milliseconds, and its number.
    dated: Vec<(u64, u64)>,
}

impl Print {
    /// The print of a key's value, which these records rebuild.
    pub(crate) fn of(entry: &Peek<'_>, records: &[u8]) -> Self {
        let Some(hash) = HashRef::of(entry.value(), 0) else {
            return Self { lasting: fingerprint(records), dated: Vec::new() };
        };
        let lasting = entry.deadline().map_or(0, |deadline| xxh3_64(&deadline.to_le_bytes()));
        let mut print = Self { lasting, dated: Vec::new() };
        hash.each_dated(|field, value, deadline| {
            let number = number(field, value);
            match deadline {
                None => print.lasting = print.lasting.wrapping_add(number),
                Some(deadline) => print.dated.push((deadline, number)),
            }
        });
        print
    }

    /// What is left of it at `now`, as one number.
    pub(crate) fn at(&self, now: u64) -> u64 {
        let left = self.dated.iter().filter(|(deadline, _)| *deadline > now);
        left.fold(self.lasting, |sum, (deadline, number)| {
            sum.wrapping_add(xxh3_64_with_seed(&number.to_le_bytes(), *deadline))
        })
    }

    /// It as bytes, by which one node passes it on to another.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let dated = self.dated.iter().flat_map(|(deadline, number)| [*deadline, *number]);
        std::iter::once(self.lasting).chain(dated).flat_map(u64::to_le_bytes).collect()
    }

    /// Reads it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (lasting, rest) = bytes.split_first_chunk()?;
        let (dated, []) = rest.as_chunks::<16>() else { return None };
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let dated = dated.iter().map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect();
        Some(Self { lasting: u64::from_le_bytes(*lasting), dated })
    }
}

fn number(field: Item<'_>, value: Item<'_>) -> u64 {
    let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
    xxh3_64_with_seed(value.as_bytes(&mut other), xxh3_64(field.as_bytes(&mut one)))
}

#[cfg(test)]
mod tests {
    use ringfort_protocol::{OwnedArgs, elements};

    use super::{
        super::carry::{DROP, FETCH},
        *,
    };
    use crate::commands::{Command, bench::Bench};

    fn run(bench: &mut Bench, command: &'static Command, args: &[&[u8]]) -> Vec<u8> {
        let name = std::iter::once(command.name.as_bytes());
        let args: OwnedArgs = name.chain(args.iter().copied()).collect();
        bench.run_command(command, args.as_args())
    }

    /// The print of the value at `h`, as it is passed on.
    fn fetched(bench: &mut Bench) -> Vec<u8> {
        let reply = run(bench, &FETCH, &[b"h", b"to"]);
        let print = elements(&reply).unwrap().nth(1).unwrap();
        let start = print.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        print[start..print.len() - 2].to_vec()
    }

    /// A hash two of whose fields last, and two end after 5 and 10 milliseconds.
    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.run("hset h a 1 b 2 c 3 d 4");
        bench.run("hpexpire h 5 fields 1 a");
        bench.run("hpexpire h 10 fields 1 b");
        bench
    }

    #[test]
    fn a_hash_that_has_lost_fields_by_time_alone_is_still_what_was_carried() {
        for removed in [false, true] {
            for after in [0, 5, 10] {
                let mut bench = bench();
                let print = fetched(&mut bench);
                bench.now += after;
                while removed && bench.shard().expire(bench.now, 10_000) {}
                assert_eq!(run(&mut bench, &DROP, &[b"h", b"to", &print]), b":1\r\n", "{after} {removed}");
                assert_eq!(bench.run("exists h"), ":0 ");
            }
        }
    }

    #[test]
    fn every_other_change_is_seen() {
        for change in [
            "hset h c 5",
            "hset h e 5",
            "hset h b 2",
            "hdel h d",
            "hdel h b",
            "hpexpire h 20 fields 1 b",
            "hpexpire h 20 fields 1 c",
            "hpersist h fields 1 b",
            "hsetex h keepttl fields 1 b 3",
            "pexpire h 100",
            "set h c",
        ] {
            let mut bench = bench();
            let print = fetched(&mut bench);
            bench.run(change);
            bench.now += 5;
            assert_eq!(run(&mut bench, &DROP, &[b"h", b"to", &print]), b":0\r\n", "{change}");
            assert_eq!(bench.run("exists h"), ":1 ");
        }
    }

    #[test]
    fn a_print_is_passed_on_as_it_is() {
        let print = Print { lasting: 1 << 60 | 7, dated: vec![(1_700_000_000_000, u64::MAX), (2, 1)] };
        let bytes = print.encode();
        assert_eq!(Print::decode(&bytes), Some(print));
        assert_eq!((Print::decode(&bytes[..7]), Print::decode(&bytes[..9])), (None, None));
    }
}
