//! LCS: the longest common subsequence of two strings.
//!
//! The textbook's table: `len(i, j)` is the length for the first `i` bytes of one and the first `j` of the other. It
//! takes four bytes a cell, and may not take more than the largest string may.

use ringfort_protocol::Args;

use crate::{
    commands::{
        Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run,
        parse::{integer, is},
    },
    store::Value,
};

pub(super) const LCS: Command = Command {
    name: "lcs",
    summary: "Finds the longest common subsequence of two strings",
    group: Group::String,
    since: "7.0.0",
    complexity: "O(N*M) where N and M are the lengths of s1 and s2, respectively",
    arity: -3,
    flags: Flags::READONLY,
    keys: &[KeySpec::range(1, 1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(lcs),
    ..Command::BASE
};

#[derive(Default)]
struct Options {
    /// Reply with the ranges that match.
    ranges: bool,
    /// Reply with the length.
    len: bool,
    /// Tell the length of each range.
    match_len: bool,
    /// Leave out shorter ranges.
    min_match_len: u64,
}

impl Options {
    fn parse(options: Args<'_>) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if is(option, "IDX") {
                parsed.ranges = true;
            } else if is(option, "LEN") {
                parsed.len = true;
            } else if is(option, "WITHMATCHLEN") {
                parsed.match_len = true;
            } else if is(option, "MINMATCHLEN") {
                let least = integer(options.next().ok_or(CommandError::Syntax)?)?;
                parsed.min_match_len = u64::try_from(least).unwrap_or(0);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if parsed.ranges && parsed.len {
            return Err(CommandError::other(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(parsed)
    }
}

fn lcs(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let string = |value: Option<Value<'_>>| value.is_none_or(|value| value.as_string().is_some());
    let [a, b] = [0, 1].map(|n| cx.db.read(cx.keys[n]));
    if !string(a) || !string(b) {
        return Err(CommandError::other("ERR The specified keys must contain string values"));
    }
    let options = Options::parse(args.slice(3..))?;
    let [a, b] = [a, b].map(|value| value.and_then(|value| value.as_string()).unwrap_or_default());
    let table = Table::new(a, b, cx.limits.proto_max_bulk_len)?;
    let len = i64::from(table.at(a.len(), b.len()));
    if options.len {
        cx.out.int(len);
    } else if options.ranges {
        let mut matches = table.matches(a, b);
        matches.retain(|range| range.len as u64 >= options.min_match_len);
        cx.out.map(2);
        cx.out.bulk(b"matches");
        cx.out.array(matches.len());
        for Match { a, b, len } in matches {
            cx.out.array(if options.match_len { 3 } else { 2 });
            for start in [a, b] {
                cx.out.array(2);
                cx.out.count(start);
                cx.out.count(start + len - 1);
            }
            if options.match_len {
                cx.out.count(len);
            }
        }
        cx.out.bulk(b"len");
        cx.out.int(len);
    } else {
        let mut common = Vec::with_capacity(len as usize);
        for Match { a: start, len, .. } in table.matches(a, b).into_iter().rev() {
            common.extend_from_slice(&a[start..start + len]);
        }
        cx.out.bulk(&common);
    }
    Ok(Done::Read)
}

/// The same bytes at `a..a + len` of one string and `b..b + len` of the other.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

struct Table {
    cells: Vec<u32>,
    width: usize,
}

impl Table {
    fn new(a: &[u8], b: &[u8], most: usize) -> Result<Self, CommandError> {
        let width = b.len() + 1;
        let size = (a.len() + 1).checked_mul(width);
        let size = size.filter(|size| *size <= most / size_of::<u32>());
        let size = size.ok_or(CommandError::other(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ))?;
        let mut cells = vec![0; size];
        for (i, x) in a.iter().enumerate() {
            let (above, row) = cells[i * width..(i + 2) * width].split_at_mut(width);
            for (j, y) in b.iter().enumerate() {
                row[j + 1] = if x == y { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Ok(Self { cells, width })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// The ranges of which the common subsequence is made, the last one first.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                match matches.last_mut() {
                    Some(last) if (last.a, last.b) == (i, j) => {
                        *last = Match { a: i - 1, b: j - 1, len: last.len + 1 };
                    }
                    _ => matches.push(Match { a: i - 1, b: j - 1, len: 1 }),
                }
                (i, j) = (i - 1, j - 1);
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::put_list;
    use crate::commands::bench::Bench;
    use ringfort_protocol::Resp;

    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.run("mset a ohmytext b mynewtext");
        bench
    }

    #[test]
    fn the_subsequence_its_length_and_its_ranges() {
        let mut bench = bench();
        assert_eq!(bench.run("lcs a b"), "$6 mytext ");
        assert_eq!(bench.run("lcs a b len"), ":6 ");
        let ranges = "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6 ";
        assert_eq!(bench.run("lcs a b idx"), ranges);
        let long = "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6 ";
        assert_eq!(bench.run("lcs a b IDX minmatchlen 4 withmatchlen"), long);
        bench.resp = Resp::V3;
        assert_eq!(bench.run("lcs a b idx minmatchlen 5"), "%2 $7 matches *0 $3 len :6 ");
        assert_eq!(bench.run("lcs a b idx minmatchlen -1"), ranges.replacen("*4", "%2", 1));
    }

    #[test]
    fn an_absent_key_is_an_empty_string() {
        let mut bench = bench();
        assert_eq!(bench.run("lcs a no"), "$0  ");
        assert_eq!(bench.run("lcs no a len"), ":0 ");
        assert_eq!(bench.run("lcs no no idx"), "*4 $7 matches *0 $3 len :0 ");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut bench = bench();
        for options in ["foo", "minmatchlen", "idx 1"] {
            assert_eq!(bench.run(&format!("lcs a b {options}")), "-ERR syntax error ");
        }
        let both = "-ERR If you want both the length and indexes, please just use IDX. ";
        assert_eq!(bench.run("lcs a b len idx"), both);
        put_list(&mut bench, "l");
        let strings = "-ERR The specified keys must contain string values ";
        assert_eq!(bench.run("lcs l a foo"), strings);
        assert_eq!(bench.run("lcs a l"), strings);
        bench.limits.proto_max_bulk_len = 9 * 10 * 4 - 1;
        let memory = "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len ";
        assert_eq!(bench.run("lcs a b"), memory);
        bench.limits.proto_max_bulk_len += 1;
        assert_eq!(bench.run("lcs a b"), "$6 mytext ");
    }
}
