//! How a reply is written in a reply script and in a failure.
//!
//! | written | reply | in RESP2 |
//! | --- | --- | --- |
//! | `+OK` | simple string | the same |
//! | `-ERR no such key` | error | the same |
//! | `12` | integer | the same |
//! | `"a\x00b"` | bulk string | the same |
//! | `nil`, `nil[]` | null | `$-1`, `*-1` |
//! | `["a" 1 nil]` | array | the same |
//! | `~["a" "b"]` | set | array |
//! | `{"a": 1 "b": 2}` | map | flat array |
//! | `>["a"]` | push | array |
//! | `,1.5` | double, by its text | bulk string |
//! | `true`, `false` | boolean | 1, 0 |
//! | `(123` | big number | bulk string |
//! | `=txt:"a"` | verbatim string | bulk string |
//! | `<int>`, `<int 1..9>`, `<bulk>`, `<bulk "a*">`, `<simple "a*">`, `<verbatim>`, `<any>` | any such reply, bounds included | |
//!
//! At the top level a simple string or an error runs to the end of its line; inside others, or where spaces at its
//! ends matter, it is quoted: `+"two words"`. A reply may go over several lines while a bracket is open.

use std::fmt::Write;

use super::reply::Reply;

/// Replies wider than this are written one element a line.
const WIDTH: usize = 120;

/// What a placeholder allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pattern {
    Anything,
    Integer(i64, i64),
    /// A simple string that the glob matches; only `*` is special.
    Simple(Vec<u8>),
    /// A bulk string that the glob matches; only `*` is special.
    Bulk(Vec<u8>),
    /// The same for the text of a verbatim string, which is a bulk string in RESP2.
    Verbatim(Vec<u8>),
}

impl Pattern {
    pub(crate) fn allows(&self, reply: &Reply) -> bool {
        match (self, reply) {
            (Self::Anything, _) => true,
            (Self::Integer(low, high), Reply::Integer(n)) => (low..=high).contains(&n),
            (Self::Simple(glob), Reply::Simple(text)) | (Self::Bulk(glob), Reply::Bulk(text)) => {
                glob_matches(glob, text)
            }
            (Self::Verbatim(glob), Reply::Verbatim(text)) => {
                text.strip_prefix(b"txt:").is_some_and(|text| glob_matches(glob, text))
            }
            _ => false,
        }
    }
}

fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    match glob.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| glob_matches(rest, &text[skipped..])),
        Some((byte, rest)) => text.first() == Some(byte) && glob_matches(rest, &text[1..]),
    }
}

/// Writes a reply, without a line break at its end.
pub(crate) fn write(reply: &Reply) -> String {
    let mut out = String::new();
    match reply {
        Reply::Simple(text) if runs_to_end_of_line(text) => {
            out.push('+');
            out.push_str(&String::from_utf8_lossy(text));
        }
        Reply::Error(text) if runs_to_end_of_line(text) => {
            out.push('-');
            out.push_str(&String::from_utf8_lossy(text));
        }
        _ => write_nested(&mut out, reply, 0),
    }
    out
}

fn runs_to_end_of_line(text: &[u8]) -> bool {
    text.iter().all(|byte| (b' '..=b'~').contains(byte))
        && text.first().is_some_and(|&first| first != b' ' && first != b'"')
        && text.last() != Some(&b' ')
}

fn write_nested(out: &mut String, reply: &Reply, indent: usize) {
    let (open, close, parts): (&str, &str, Vec<String>) = match reply {
        Reply::Simple(text) => return write_word(out, '+', text),
        Reply::Error(text) => return write_word(out, '-', text),
        Reply::Integer(n) => return out.push_str(&n.to_string()),
        Reply::Bulk(text) => return write_quoted(out, text),
        Reply::Null => return out.push_str("nil"),
        Reply::NullBulk => return out.push_str("nil$"),
        Reply::NullArray => return out.push_str("nil[]"),
        Reply::Double(text) => return out.push_str(&format!(",{text}")),
        Reply::Boolean(value) => return out.push_str(&value.to_string()),
        Reply::BigNumber(text) => return out.push_str(&format!("({text}")),
        Reply::Verbatim(text) => {
            let (format, text) = text.split_at(text.len().min(4));
            out.push('=');
            out.push_str(&String::from_utf8_lossy(format));
            return write_quoted(out, text);
        }
        Reply::Any(Pattern::Anything) => return out.push_str("<any>"),
        Reply::Any(Pattern::Integer(i64::MIN, i64::MAX)) => return out.push_str("<int>"),
        Reply::Any(Pattern::Integer(low, high)) => return out.push_str(&format!("<int {low}..{high}>")),
        Reply::Any(Pattern::Simple(glob)) => return write_glob(out, "simple", glob),
        Reply::Any(Pattern::Bulk(glob)) => return write_glob(out, "bulk", glob),
        Reply::Any(Pattern::Verbatim(glob)) => return write_glob(out, "verbatim", glob),
        Reply::Array(parts) => ("[", "]", nested(parts, indent)),
        Reply::Set(parts) => ("~[", "]", nested(parts, indent)),
        Reply::Push(parts) => (">[", "]", nested(parts, indent)),
        Reply::Map(pairs) => {
            let pair = |(name, value): &(Reply, Reply)| {
                let mut out = String::new();
                write_nested(&mut out, name, indent + 2);
                out.push_str(": ");
                write_nested(&mut out, value, indent + 2);
                out
            };
            ("{", "}", pairs.iter().map(pair).collect())
        }
    };
    let width: usize = parts.iter().map(|part| part.len() + 1).sum();
    out.push_str(open);
    if indent + width <= WIDTH && !parts.iter().any(|part| part.contains('\n')) {
        out.push_str(&parts.join(" "));
    } else {
        for part in parts {
            let _ = write!(out, "\n{:width$}{part}", "", width = indent + 2);
        }
        let _ = write!(out, "\n{:indent$}", "");
    }
    out.push_str(close);
}

fn nested(parts: &[Reply], indent: usize) -> Vec<String> {
    let one = |part: &Reply| {
        let mut out = String::new();
        write_nested(&mut out, part, indent + 2);
        out
    };
    parts.iter().map(one).collect()
}

fn write_glob(out: &mut String, kind: &str, glob: &[u8]) {
    let _ = write!(out, "<{kind}");
    if glob != b"*" {
        out.push(' ');
        write_quoted(out, glob);
    }
    out.push('>');
}

fn write_word(out: &mut String, sign: char, text: &[u8]) {
    out.push(sign);
    if !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-@".contains(byte)) {
        out.push_str(&String::from_utf8_lossy(text));
    } else {
        write_quoted(out, text);
    }
}

/// Writes bytes in double quotes, with the escapes of redis-cli.
pub(crate) fn write_quoted(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for &byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
}

/// Reads text as replies are written. What is left over must be empty or blank.
pub(crate) fn parse(text: &str) -> Result<Reply, String> {
    let line_end = |text: &str| text.trim_end_matches('\n').as_bytes().to_vec();
    match text.split_at_checked(1) {
        Some(("+", rest)) if !rest.starts_with('"') => return Ok(Reply::Simple(line_end(rest))),
        Some(("-", rest)) if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            return Ok(Reply::Error(line_end(rest)));
        }
        _ => {}
    }
    let mut reader = Reader { rest: text };
    let reply = reader.reply()?;
    reader.skip_space();
    if reader.rest.is_empty() {
        Ok(reply)
    } else {
        Err(format!("unexpected after the reply: {}", reader.rest))
    }
}

/// Whether brackets are still open at the end of `text`, so that the reply goes on in the next line.
pub(crate) fn is_open(text: &str) -> bool {
    if text.starts_with(['+', '-']) {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_i32, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    depth > 0
}

/// Reads the notation from left to right.
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, what: &str) -> bool {
        self.rest.strip_prefix(what).map(|rest| self.rest = rest).is_some()
    }

    /// The longest prefix of characters that belong to a bare word.
    fn word(&mut self) -> &'a str {
        let end =
            self.rest.find(|c: char| c.is_whitespace() || "[]{}\":>".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn reply(&mut self) -> Result<Reply, String> {
        self.skip_space();
        if self.rest.starts_with('"') {
            return Ok(Reply::Bulk(self.quoted()?));
        }
        for (open, make) in
            [("[", Reply::Array as fn(Vec<Reply>) -> Reply), ("~[", Reply::Set), (">[", Reply::Push)]
        {
            if self.eat(open) {
                return Ok(make(self.until_bracket()?));
            }
        }
        if self.eat("{") {
            return self.map();
        }
        if self.eat("<") {
            return self.pattern();
        }
        if self.eat("nil[]") {
            return Ok(Reply::NullArray);
        }
        if self.eat("+") {
            return Ok(Reply::Simple(self.word_or_quoted()?));
        }
        if self.rest.starts_with("-\"")
            || self.rest.starts_with("-") && !self.rest[1..].starts_with(char::is_numeric)
        {
            self.eat("-");
            return Ok(Reply::Error(self.word_or_quoted()?));
        }
        if self.eat("=") {
            let format = self.word();
            let mut text = format!("{format}:").into_bytes();
            if !self.eat(":") {
                return Err("a verbatim string is written =txt:\"...\"".into());
            }
            text.extend(self.quoted()?);
            return Ok(Reply::Verbatim(text));
        }
        let word = self.word();
        match word {
            "nil" => Ok(Reply::Null),
            "true" => Ok(Reply::Boolean(true)),
            "false" => Ok(Reply::Boolean(false)),
            _ => match (word.strip_prefix(','), word.strip_prefix('('), word.parse()) {
                (Some(text), _, _) => Ok(Reply::Double(text.to_owned())),
                (_, Some(text), _) => Ok(Reply::BigNumber(text.to_owned())),
                (_, _, Ok(n)) => Ok(Reply::Integer(n)),
                _ => Err(format!("not a reply: {word:?} before {:?}", self.rest)),
            },
        }
    }

    fn until_bracket(&mut self) -> Result<Vec<Reply>, String> {
        let mut parts = Vec::new();
        loop {
            self.skip_space();
            if self.eat("]") {
                return Ok(parts);
            }
            parts.push(self.reply()?);
        }
    }

    fn map(&mut self) -> Result<Reply, String> {
        let mut pairs = Vec::new();
        loop {
            self.skip_space();
            if self.eat("}") {
                return Ok(Reply::Map(pairs));
            }
            let name = self.reply()?;
            if !self.eat(":") {
                return Err(format!("a map wants `name: value`, found {:?}", self.rest));
            }
            pairs.push((name, self.reply()?));
        }
    }

    fn pattern(&mut self) -> Result<Reply, String> {
        let (inside, rest) = self.rest.split_once('>').ok_or("a placeholder ends with >")?;
        let (kind, argument) = inside.split_once(' ').unwrap_or((inside, ""));
        let pattern = match (kind, argument) {
            ("any", "") => Pattern::Anything,
            ("int", "") => Pattern::Integer(i64::MIN, i64::MAX),
            ("int", range) => {
                let bounds = range
                    .split_once("..")
                    .and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
                let (low, high) = bounds.ok_or_else(|| format!("not a range: {range}"))?;
                Pattern::Integer(low, high)
            }
            ("simple", "") => Pattern::Simple(b"*".to_vec()),
            ("simple", glob) => Pattern::Simple(Reader { rest: glob }.quoted()?),
            ("bulk", "") => Pattern::Bulk(b"*".to_vec()),
            ("bulk", glob) => Pattern::Bulk(Reader { rest: glob }.quoted()?),
            ("verbatim", "") => Pattern::Verbatim(b"*".to_vec()),
            ("verbatim", glob) => Pattern::Verbatim(Reader { rest: glob }.quoted()?),
            _ => return Err(format!("unknown placeholder: {inside}")),
        };
        self.rest = rest;
        Ok(Reply::Any(pattern))
    }

    fn word_or_quoted(&mut self) -> Result<Vec<u8>, String> {
        if self.rest.starts_with('"') { self.quoted() } else { Ok(self.word().as_bytes().to_vec()) }
    }

    /// Reads a string in double quotes with the escapes of redis-cli.
    pub(crate) fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(bytes);
                }
                '\\' => match chars.next() {
                    Some((at, 'x')) => {
                        let digits = self.rest.get(at + 1..at + 3).ok_or("\\x wants two digits")?;
                        bytes.push(
                            u8::from_str_radix(digits, 16)
                                .map_err(|_| format!("not hexadecimal: {digits}"))?,
                        );
                        chars.nth(1);
                    }
                    Some((_, 'n')) => bytes.push(b'\n'),
                    Some((_, 'r')) => bytes.push(b'\r'),
                    Some((_, 't')) => bytes.push(b'\t'),
                    Some((_, other)) => bytes.extend(other.to_string().as_bytes()),
                    None => break,
                },
                c => bytes.extend(c.to_string().as_bytes()),
            }
        }
        Err(format!("a quoted string does not end: {}", self.rest))
    }
}
