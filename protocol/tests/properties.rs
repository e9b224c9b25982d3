//! What holds for all input: pieces add up to the whole, garbage does no harm, and redis-protocol agrees.

#![allow(clippy::unwrap_used, reason = "in a test it is the assertion")]

use bytes::{Bytes, BytesMut};
use proptest::{
    collection::{hash_map, hash_set, vec},
    prelude::*,
};
use redis_protocol::{
    resp2,
    resp3::{
        self,
        types::{BytesFrame, VerbatimStringFormat},
    },
};
use ringfort_protocol::{
    Args, Limits, OwnedArgs, ParseError, Parsed, Parser, ReplyScanner, Resp, Span, elements, encode_command,
    glob, number, reply, reply_len, reply_reader,
};

type Command = Vec<Vec<u8>>;

fn owned(args: Args<'_>) -> Command {
    args.iter().map(<[u8]>::to_vec).collect()
}

fn encoded(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_command(&mut bytes, args.iter());
    bytes
}

fn commands() -> impl Strategy<Value = Command> {
    let arg = prop_oneof![vec(any::<u8>(), 0..12), vec(prop::sample::select(&b"\r\n$*1\0"[..]), 0..6)];
    vec(arg, 1..12)
}

/// Bytes that look like RESP, more or less.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => prop::sample::select(vec![
            "*1\r\n", "*2\r\n", "*3\r\n", "$1\r\n", "$3\r\n", "$0\r\n", "\r\n", "\n", "\r", "*", "$", "\0", "abc", "\"", "'", " ",
            "%1\r\n", "~2\r\n", "|1\r\n", ">1\r\n", ":5\r\n", "+OK\r\n", "_\r\n", "#t\r\n", "=5\r\n", "-1", "999999999999",
            "*-1\r\n", "$-1\r\n", ",1\r\n", "*0\r\n", "*99999\r\n", "$40\r\n", "\\x", "$?\r\n", "!3\r\n",
        ]).prop_map(|token| token.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..4),
    ];
    vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

const SMALL: Limits = Limits { bulk: 32, args: 20, inline: 24, frame: 100, authenticated: true };

/// All commands of `input`, which comes in pieces of `step` bytes, and the error that ended it, if one did.
fn parse_all(input: &[u8], step: usize, limits: &Limits) -> (Vec<Command>, Option<ParseError>) {
    let (mut parser, mut spans, mut commands) = (Parser::new(), Vec::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        let parsed = parser.parse(&input[start..end], &mut spans, limits);
        assert!(spans.len() <= limits.args && spans.len() * 6 <= end - start);
        let len = match parsed {
            Err(error) => return (commands, Some(error)),
            Ok(Parsed::Incomplete { wanted }) => {
                assert!(wanted > 0);
                assert!(end - start <= limits.frame + limits.inline + step);
                if end == input.len() {
                    return (commands, None);
                }
                end = input.len().min(end + step);
                continue;
            }
            Ok(Parsed::Command { len }) => {
                commands.push(owned(Args::new(&input[start..], &spans)));
                len
            }
            Ok(Parsed::Inline { len }) => {
                commands.push(owned(parser.inline_args().as_args()));
                len
            }
            Ok(Parsed::Nothing { len }) => len,
        };
        assert!(len > 0 && len <= end - start);
        start += len;
    }
}

fn frames() -> impl Strategy<Value = BytesFrame> {
    let data = || vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    let line = || "[a-z ]{0,12}".prop_map(Bytes::from);
    let leaf = prop_oneof![
        data().prop_map(|data| BytesFrame::BlobString { data, attributes: None }),
        data().prop_map(|data| BytesFrame::BlobError { data, attributes: None }),
        line().prop_map(|data| BytesFrame::SimpleString { data, attributes: None }),
        "[A-Z]{1,5} [a-z]{0,9}"
            .prop_map(|text| BytesFrame::SimpleError { data: text.into(), attributes: None }),
        any::<bool>().prop_map(|data| BytesFrame::Boolean { data, attributes: None }),
        Just(BytesFrame::Null),
        any::<i64>().prop_map(|data| BytesFrame::Number { data, attributes: None }),
        prop::num::f64::NORMAL.prop_map(|data| BytesFrame::Double { data, attributes: None }),
        "-?[1-9][0-9]{0,30}"
            .prop_map(|digits| BytesFrame::BigNumber { data: Bytes::from(digits), attributes: None }),
        data().prop_map(|data| BytesFrame::VerbatimString {
            data,
            format: VerbatimStringFormat::Text,
            attributes: None
        }),
    ];
    // What redis-protocol can hash.
    let key = move || {
        prop_oneof![
            data().prop_map(|data| BytesFrame::BlobString { data, attributes: None }),
            any::<i64>().prop_map(|data| BytesFrame::Number { data, attributes: None }),
        ]
    };
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let array = vec(inner.clone(), 0..6);
        prop_oneof![
            array.clone().prop_map(|data| BytesFrame::Array { data, attributes: None }),
            hash_set(key(), 0..6).prop_map(|data| BytesFrame::Set { data, attributes: None }),
            hash_map(key(), inner.clone(), 0..4).prop_map(|data| BytesFrame::Map { data, attributes: None }),
            (array, hash_map(key(), inner, 1..3))
                .prop_map(|(data, attributes)| BytesFrame::Array { data, attributes: Some(attributes) }),
        ]
    })
}

fn encoded_frame(frame: &BytesFrame) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    resp3::encode::complete::extend_encode(&mut bytes, frame, false).unwrap();
    bytes.to_vec()
}

proptest! {
    #[test]
    fn command_cut_anywhere_gives_the_same_arguments(args in commands()) {
        let bytes = encoded(&args);
        for cut in 0..bytes.len() {
            let (mut parser, mut spans) = (Parser::new(), Vec::new());
            let first = parser.parse(&bytes[..cut], &mut spans, &Limits::default()).unwrap();
            let Parsed::Incomplete { wanted } = first else { panic!("complete after {cut}: {first:?}") };
            prop_assert!(wanted > 0 && cut + wanted <= bytes.len(), "{wanted} wanted after {cut}");
            let second = parser.parse(&bytes, &mut spans, &Limits::default()).unwrap();
            prop_assert_eq!(second, Parsed::Command { len: bytes.len() });
            prop_assert_eq!(&owned(Args::new(&bytes, &spans)), &args);
        }
    }

    #[test]
    fn pipeline_gives_all_its_commands_in_any_pieces(pipeline in vec(commands(), 0..6), step in 1usize..40) {
        let bytes = pipeline.iter().map(|args| encoded(args)).collect::<Vec<_>>().concat();
        prop_assert_eq!(parse_all(&bytes, step, &Limits::default()), (pipeline, None));
    }

    #[test]
    fn command_is_what_redis_protocol_reads(args in commands()) {
        let bytes = encoded(&args);
        let (frame, len) = resp2::decode::decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(len, bytes.len());
        let expected = args.iter().cloned().map(resp2::types::OwnedFrame::BulkString).collect();
        prop_assert_eq!(frame, resp2::types::OwnedFrame::Array(expected));
    }

    #[test]
    fn garbage_is_understood_the_same_in_any_pieces_and_within_limits(input in garbage(), step in 1usize..9) {
        for limits in [SMALL, Limits::default(), Limits::unauthenticated()] {
            let whole = parse_all(&input, input.len().max(1), &limits);
            prop_assert_eq!(parse_all(&input, 1, &limits), whole.clone());
            prop_assert_eq!(parse_all(&input, step, &limits), whole);
        }
    }

    #[test]
    fn owned_args_are_the_args(args in commands()) {
        let copy: OwnedArgs = args.iter().collect();
        prop_assert_eq!(owned(copy.as_args()), args.clone());
        prop_assert_eq!(owned(OwnedArgs::from(copy.as_args().slice(1..)).as_args()), args[1..].to_vec());
    }

    #[test]
    fn reply_ends_where_redis_protocol_says(frame in frames(), rest: Vec<u8>) {
        let mut bytes = encoded_frame(&frame);
        let len = bytes.len();
        let mut scanner = ReplyScanner::new();
        for end in 0..len {
            prop_assert_eq!(reply_len(&bytes[..end]), Ok(None));
            prop_assert_eq!(scanner.scan(&bytes[..end]), Ok(None));
        }
        let (_, decoded) = resp3::decode::complete::decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(decoded, len);
        bytes.extend(rest);
        prop_assert_eq!(scanner.scan(&bytes), Ok(Some(len)));
        prop_assert_eq!(reply_len(&bytes), Ok(Some(len)));
    }

    #[test]
    fn elements_of_a_reply_are_its_parts(parts in vec(frames(), 0..6)) {
        let parts: Vec<_> = parts.iter().map(encoded_frame).collect();
        let mut bytes = Vec::new();
        reply::array(&mut bytes, parts.len());
        bytes.extend(parts.concat());
        prop_assert_eq!(elements(&bytes).unwrap().collect::<Vec<_>>(), parts);
    }

    #[test]
    fn garbage_replies_do_no_harm_in_any_pieces(input in garbage(), step in 1usize..9) {
        let whole = reply_len(&input);
        let mut scanner = ReplyScanner::new();
        let mut pieces = Ok(None);
        for end in (0..input.len()).step_by(step).chain([input.len()]) {
            pieces = scanner.scan(&input[..end]);
            if pieces != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(pieces, whole);
        if let Some(elements) = elements(&input) {
            let bytes: usize = elements.map(<[u8]>::len).sum();
            prop_assert!(bytes <= input.len());
        }
    }

    #[test]
    fn glob_of_any_bytes_ends(pattern: Vec<u8>, text: Vec<u8>) {
        glob::matches(&pattern, &text, glob::Case::Insensitive);
        let literal: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
        prop_assert!(glob::matches(&literal, &text, glob::Case::Sensitive));
    }

    #[test]
    fn integers_are_read_back_and_have_one_text(value: i64, text in "[-+ ]?[0-9]{0,20}") {
        prop_assert_eq!(number::parse_i64(value.to_string().as_bytes()), Some(value));
        let expected = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
        prop_assert_eq!(number::parse_i64(text.as_bytes()), expected);
    }

    #[test]
    fn doubles_are_read_back(value in prop::num::f64::ANY) {
        let text = number::format_double(value);
        let read = number::parse_f64(text.as_bytes());
        prop_assert_eq!(read.map(f64::to_bits), (!value.is_nan()).then_some(value.to_bits()));
    }
}

#[test]
fn glob_of_many_stars_gives_up_soon() {
    let pattern = b"a*".repeat(1000);
    let text = vec![b'a'; 10_000];
    assert!(glob::matches(&pattern, &text, glob::Case::Sensitive));
    assert!(!glob::matches(&[&pattern[..], b"b"].concat(), &text, glob::Case::Sensitive));
}

#[test]
fn hundred_thousand_arguments_byte_by_byte_are_read_once() {
    let args: Command = (0..100_000).map(|i| i.to_string().into_bytes()).collect();
    assert_eq!(parse_all(&encoded(&args), 1, &Limits::default()), (vec![args], None));
}

#[test]
fn announced_arguments_take_no_memory_before_they_come() {
    let mut spans: Vec<Span> = Vec::new();
    let parsed = Parser::new().parse(b"*1048576\r\n$536870912\r\n", &mut spans, &Limits::default());
    assert_eq!(parsed, Ok(Parsed::Incomplete { wanted: (512 << 20) + 2 + 1_048_575 * 6 }));
    assert_eq!(spans.capacity(), 0);
}

#[test]
fn limits_are_reached_but_not_passed() {
    let parse = |input: &[u8], limits: &Limits| parse_all(input, input.len(), limits).1;
    assert_eq!(parse(b"*1048577\r\n", &Limits::default()), Some(ParseError::InvalidMultibulkLength));
    assert_eq!(parse(b"*1048576\r\n", &Limits::default()), None);
    assert_eq!(
        parse(b"*2000000\r\n", &Limits::unauthenticated()),
        Some(ParseError::UnauthenticatedMultibulkLength)
    );
    let hundred =
        [&b"*3\r\n$32\r\n"[..], &[b'x'; 34], b"$32\r\n", &[b'x'; 34], b"$11\r\n", &[b'x'; 13]].concat();
    assert_eq!(hundred.len(), 100);
    assert_eq!(parse_all(&hundred, 1, &SMALL).0.len(), 1);
    let more = [&hundred[..hundred.len() - 18], b"$12\r\n"].concat();
    assert_eq!(parse(&more, &SMALL), Some(ParseError::TooBigRequest));
    assert_eq!(parse(&[b'x'; 24], &SMALL), None);
    assert_eq!(parse(&[b'x'; 25], &SMALL), Some(ParseError::TooBigInline));
    assert_eq!(parse(&[&[b'x'; 24][..], b"\n"].concat(), &SMALL), None);
    assert_eq!(parse(&[&[b'x'; 25][..], b"\n"].concat(), &SMALL), Some(ParseError::TooBigInline));
}

#[test]
fn nesting_of_replies_is_limited_without_recursion() {
    let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
    assert_eq!(reply_len(&nested(reply_reader::MAX_DEPTH)), Ok(Some(4 * reply_reader::MAX_DEPTH + 4)));
    assert_eq!(reply_len(&nested(reply_reader::MAX_DEPTH + 1)), Err(ParseError::TooDeepReply));
    assert_eq!(reply_len(&nested(1_000_000)), Err(ParseError::TooDeepReply));
}

#[test]
fn broken_replies_are_refused() {
    for (reply, error) in [
        (&b"?1\r\n"[..], ParseError::UnknownReplyType(b'?')),
        (b"$?\r\n", ParseError::InvalidReplyLength),
        (b"$-2\r\n", ParseError::InvalidReplyLength),
        (b"%-1\r\n", ParseError::InvalidReplyLength),
        (b"*9223372036854775808\r\n", ParseError::InvalidReplyLength),
        (b"$4294967296\r\n", ParseError::InvalidReplyLength),
        (b"$1\r\nabc\r\n", ParseError::MissingLineEnd),
        (b"+OK\n", ParseError::MissingLineEnd),
    ] {
        assert_eq!(reply_len(reply), Err(error), "{}", reply.escape_ascii());
    }
    let line = vec![b'+'; reply_reader::MAX_LINE + 1];
    assert_eq!(reply_len(&line), Err(ParseError::TooLongReplyLine));
}

#[test]
fn elements_are_those_of_aggregates_only() {
    for reply in [&b"$-1\r\n"[..], b"*-1\r\n", b"_\r\n", b"-ERR x\r\n", b":1\r\n", b"$3\r\nabc\r\n", b""] {
        assert!(elements(reply).is_none(), "{}", reply.escape_ascii());
    }
    let map = b"%1\r\n$1\r\nk\r\n*2\r\n:1\r\n:2\r\n";
    assert!(elements(map).unwrap().eq([&b"$1\r\nk\r\n"[..], b"*2\r\n:1\r\n:2\r\n"]));
    assert_eq!(elements(b"*0\r\n").unwrap().count(), 0);
    let cut_off = elements(b"*3\r\n:1\r\n:2\r\n$5\r\nab").unwrap();
    assert!(cut_off.eq([b":1\r\n", b":2\r\n"]));
}

#[test]
fn replies_are_written_as_each_version_wants_them() {
    type Write = fn(&mut Vec<u8>, Resp);
    let table: &[(Write, &str, &str)] = &[
        (|out, _| reply::simple(out, "OK"), "+OK\r\n", "+OK\r\n"),
        (|out, _| reply::simple(out, "a\r\nb\r\n"), "+a  b\r\n", "+a  b\r\n"),
        (|out, _| reply::error(out, "ERR a\nb\r+OK\r\n"), "-ERR a b +OK\r\n", "-ERR a b +OK\r\n"),
        (|out, _| reply::error(out, b"ERR '\r\n'"), "-ERR '  '\r\n", "-ERR '  '\r\n"),
        (|out, _| reply::int(out, i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
        (|out, _| reply::bulk_int(out, -12), "$3\r\n-12\r\n", "$3\r\n-12\r\n"),
        (|out, _| reply::bulk(out, b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
        (|out, _| reply::bulk(out, b""), "$0\r\n\r\n", "$0\r\n\r\n"),
        (|out, _| reply::bulk_head(out, 10), "$10\r\n", "$10\r\n"),
        (
            |out, _| reply::error(out, "ERR beginning with: "),
            "-ERR beginning with: \r\n",
            "-ERR beginning with: \r\n",
        ),
        (reply::null, "$-1\r\n", "_\r\n"),
        (reply::null_array, "*-1\r\n", "_\r\n"),
        (|out, _| reply::array(out, 9), "*9\r\n", "*9\r\n"),
        (|out, _| reply::array(out, 12345), "*12345\r\n", "*12345\r\n"),
        (|out, resp| reply::map(out, resp, 5), "*10\r\n", "%5\r\n"),
        (|out, resp| reply::set(out, resp, 2), "*2\r\n", "~2\r\n"),
        (|out, resp| reply::push(out, resp, 3), "*3\r\n", ">3\r\n"),
        (|out, resp| reply::double(out, resp, 0.5), "$3\r\n0.5\r\n", ",0.5\r\n"),
        (|out, resp| reply::double(out, resp, f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n"),
        (|out, resp| reply::double(out, resp, f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
        (|out, resp| reply::double(out, resp, f64::NAN), "$3\r\nnan\r\n", ",nan\r\n"),
        (|out, resp| reply::bool(out, resp, true), ":1\r\n", "#t\r\n"),
        (|out, resp| reply::bool(out, resp, false), ":0\r\n", "#f\r\n"),
        (|out, resp| reply::big_number(out, resp, "-123"), "$4\r\n-123\r\n", "(-123\r\n"),
        (|out, resp| reply::verbatim(out, resp, b"txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
    ];
    for (write, old, new) in table {
        for (resp, expected) in [(Resp::V2, old), (Resp::V3, new)] {
            let mut out = Vec::new();
            write(&mut out, resp);
            assert_eq!(String::from_utf8_lossy(&out), **expected);
        }
    }
}
