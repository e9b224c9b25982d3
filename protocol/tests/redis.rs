//! What a redis-server 7.0.15 said to odd requests, numbers and globs, and that this crate says the same.
//!
//! The tables in `redis/` were recorded by the script beside them.

#![allow(clippy::unwrap_used, reason = "in a test it is the assertion")]

use std::path::Path;

use ringfort_protocol::{
    Limits, LongDouble, Parsed, Parser,
    glob::{self, Case},
    number, reply,
};

/// The rows of a table, as fields.
fn table(name: &str) -> Vec<Vec<Vec<u8>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redis").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split('\t').map(unescape).collect()).collect()
}

/// `\xHH` is a byte, `{c*n}` a run of `n` times `c`.
fn unescape(field: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some(byte) = rest.bytes().next() {
        if let Some(hex) = rest.strip_prefix("\\x") {
            bytes.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            rest = &hex[2..];
        } else if let Some(run) = rest.strip_prefix('{') {
            let (run, after) = run.split_once('}').unwrap();
            let (letter, count) = run.split_once('*').unwrap();
            bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), letter.as_bytes()[0]);
            rest = after;
        } else {
            bytes.push(byte);
            rest = &rest[1..];
        }
    }
    bytes
}

/// A server that knows PING and ECHO, and gets its input in pieces of `step` bytes.
fn serve(input: &[u8], step: usize, limits: &Limits) -> Vec<u8> {
    let mut parser = Parser::new();
    let mut spans = Vec::new();
    let mut out = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        let owned;
        let args = match parser.parse(&input[start..end], &mut spans, limits) {
            Ok(Parsed::Incomplete { wanted }) => {
                assert!(wanted > 0);
                if end == input.len() {
                    return out;
                }
                end = input.len().min(end + step);
                continue;
            }
            Ok(Parsed::Nothing { len }) => {
                start += len;
                continue;
            }
            Ok(Parsed::Command { len }) => {
                let args = ringfort_protocol::Args::new(&input[start..], &spans);
                start += len;
                args
            }
            Ok(Parsed::Inline { len }) => {
                start += len;
                owned = parser.inline_args();
                owned.as_args()
            }
            Err(error) => {
                reply::protocol_error(&mut out, &error);
                return out;
            }
        };
        match (&args[0], args.len()) {
            (b"ECHO", count) if count != 2 => {
                reply::error(&mut out, "ERR wrong number of arguments for 'echo' command");
            }
            (b"PING" | b"ECHO", _) if !limits.authenticated => {
                reply::error(&mut out, "NOAUTH Authentication required.");
            }
            (b"PING", 1) => reply::simple(&mut out, "PONG"),
            (b"ECHO", _) => reply::bulk(&mut out, &args[1]),
            other => panic!("{} is not in the table", other.0.escape_ascii()),
        }
    }
}

#[test]
fn requests_are_answered_as_redis_answers_them_however_they_are_cut() {
    for row in table("requests.tsv") {
        let [mode, input, expected] = &row[..] else { panic!("three fields") };
        let limits = if mode == b"authenticated" { Limits::default() } else { Limits::unauthenticated() };
        for step in [input.len(), 1, 2, 3, 7] {
            let answer = serve(input, step, &limits);
            assert_eq!(
                answer.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{:?} by {step}",
                String::from_utf8_lossy(&input[..input.len().min(80)])
            );
        }
    }
}

#[test]
fn scores_are_read_and_written_as_redis_does() {
    let mut refused = 0;
    for row in table("scores.tsv") {
        let answer = match number::parse_f64(&row[0]) {
            Some(value) => number::format_double(value).as_bytes().to_vec(),
            None => b"error".to_vec(),
        };
        refused += usize::from(answer == b"error");
        assert_eq!(
            String::from_utf8_lossy(&answer),
            String::from_utf8_lossy(&row[1]),
            "{}",
            row[0].escape_ascii()
        );
    }
    assert!(refused > 20);
}

#[test]
fn sums_of_long_doubles_are_those_of_redis() {
    for row in table("sums.tsv") {
        let sum = LongDouble::parse(&row[0]).and_then(|a| LongDouble::parse(&row[1])?.checked_add(a)).map_or(
            b"error".to_vec(),
            |sum| {
                let mut text = Vec::new();
                sum.format(&mut text);
                text
            },
        );
        assert_eq!(
            String::from_utf8_lossy(&sum),
            String::from_utf8_lossy(&row[2]),
            "{} + {}",
            row[0].escape_ascii(),
            row[1].escape_ascii()
        );
    }
}

#[test]
fn globs_match_what_redis_matches() {
    for row in table("globs.tsv") {
        let case = if row[0] == b"sensitive" { Case::Sensitive } else { Case::Insensitive };
        assert_eq!(
            glob::matches(&row[1], &row[2], case),
            row[3] == b"yes",
            "{case:?}: {} against {}",
            row[1].escape_ascii(),
            row[2].escape_ascii()
        );
    }
}
