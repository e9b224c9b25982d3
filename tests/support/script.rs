//! A reply script: commands with the replies that they must get, readable as the specification of one command.
//!
//! ```text
//! # GETDEL key: reads a string and removes its key in one step.
//!
//! > SET k hello
//! +OK
//! > GETDEL k
//! "hello"
//! ```
//!
//! It starts on an empty keyspace, on a fresh connection, once in RESP2 and once in RESP3. The first line says what
//! the command is. `notation` tells how replies are written; where the RESP2 form cannot be derived from the RESP3
//! form, it follows below a line `resp2:`.
//!
//! A command is quoted as in redis-cli: words, `"a\r\n\x00"`, `'raw'`. Two forms save typing: `{1..130: f# v#}` gives
//! the words f1 v1 f2 v2 up to f130 v130, `{ab*3}` gives ababab. `b> GET k` sends on a second connection, named b.
//!
//! Lines that begin with `@` are about the next command:
//!
//! - `@unordered`: the elements (of a map: the pairs) come in any order. `@unordered pairs`: names with their values
//!   in a flat list do. `in N` after it: those of element N of the reply, from 0, as in `SCAN`.
//! - `@only resp2`, `@only resp3`: is sent in that protocol alone.
//! - `@until`: is sent again until the reply is the expected one, for what takes time such as expiry.
//! - `@later`: its reply is not waited for. It is read, in its place, by a line `b<` (`<` for the first connection)
//!   with the reply below: what a command that waits is answered once others have run.
//! - `@closes`: the server closes the connection after the reply.
//! - `@differs REASON`: an intended difference from Redis, which is not asked.

use super::notation::{self, Reader};
use super::reply::{Protocol, Reply, Unordered};

/// A script, with all its lines, so that it can be written back with other replies.
pub(crate) struct Script {
    pub(crate) items: Vec<Item>,
}

pub(crate) enum Item {
    /// A comment or an empty line.
    Text(String),
    Step(Box<Step>),
}

/// One command and its expected reply.
pub(crate) struct Step {
    /// Where the command is in the file, counted from 1.
    pub(crate) line: usize,
    directive_lines: Vec<String>,
    pub(crate) command_line: String,
    /// Which of the script's connections sends it; the first has no name.
    pub(crate) connection: String,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) expected: Option<Expected>,
    pub(crate) unordered: Option<Unordered>,
    pub(crate) only: Option<Protocol>,
    pub(crate) until: bool,
    pub(crate) later: bool,
    /// It sends nothing: it reads the reply of an earlier one.
    pub(crate) reads: bool,
    pub(crate) closes: bool,
    pub(crate) differs: bool,
}

#[derive(Clone)]
pub(crate) struct Expected {
    pub(crate) reply: Reply,
    /// Where RESP2 is not what the rules derive from `reply`.
    pub(crate) resp2: Option<Reply>,
}

impl Expected {
    pub(crate) fn in_protocol(&self, protocol: Protocol) -> Reply {
        match (&self.resp2, protocol) {
            (Some(reply), Protocol::Resp2) => reply.in_protocol(protocol),
            _ => self.reply.in_protocol(protocol),
        }
    }
}

impl Script {
    /// Reads a script. Errors name the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with("# ") {
            return Err("line 1: a script begins with a comment that says what the command is".into());
        }
        let mut items = Vec::new();
        let mut directives: Vec<String> = Vec::new();
        let mut lines = text.lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            let at = |error: String| format!("line {}: {error}", index + 1);
            if line.starts_with('@') {
                directives.push(line.to_owned());
            } else if let Some(prompt) = Prompt::of(line) {
                let mut step = Step::new(index + 1, prompt, std::mem::take(&mut directives)).map_err(at)?;
                let mut reply = || {
                    let mut text = String::new();
                    while let Some((_, line)) = lines.next_if(|(_, line)| {
                        text.is_empty() && begins_reply(line) || notation::is_open(&text)
                    }) {
                        text.push_str(line);
                        text.push('\n');
                    }
                    if text.is_empty() { Ok(None) } else { notation::parse(&text).map(Some) }
                };
                if let Some(resp3) = reply().map_err(at)? {
                    let resp2 = if lines.next_if(|(_, line)| *line == "resp2:").is_some() {
                        let text: String = lines.next().map(|(_, line)| line.to_owned()).unwrap_or_default();
                        let mut text = text;
                        while notation::is_open(&text) {
                            let (_, line) =
                                lines.next().ok_or_else(|| at("the reply does not end".into()))?;
                            text.push('\n');
                            text.push_str(line);
                        }
                        Some(notation::parse(&text).map_err(at)?)
                    } else {
                        None
                    };
                    step.expected = Some(Expected { reply: resp3, resp2 });
                }
                items.push(Item::Step(Box::new(step)));
            } else if line.is_empty() || line.starts_with('#') {
                items.push(Item::Text(line.to_owned()));
            } else {
                return Err(at(format!("neither a comment, a command nor a reply: {line}")));
            }
        }
        if directives.is_empty() {
            Ok(Self { items })
        } else {
            Err("the last directive has no command".into())
        }
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.items.iter().filter_map(|item| match item {
            Item::Step(step) => Some(&**step),
            Item::Text(_) => None,
        })
    }

    /// Writes the script as it was read, with its replies in their usual form.
    pub(crate) fn write(&self) -> String {
        let mut out = String::new();
        let mut line = |text: &str| {
            out.push_str(text);
            out.push('\n');
        };
        for item in &self.items {
            match item {
                Item::Text(text) => line(text),
                Item::Step(step) => {
                    step.directive_lines.iter().for_each(|directive| line(directive));
                    line(&step.command_line);
                    if let Some(expected) = &step.expected {
                        line(&notation::write(&expected.reply));
                        if let Some(resp2) = &expected.resp2 {
                            line("resp2:");
                            line(&notation::write(resp2));
                        }
                    }
                }
            }
        }
        out
    }
}

/// `> COMMAND` or `name> COMMAND`; `<` or `name<`, which has no command.
struct Prompt<'a> {
    connection: &'a str,
    command: Option<&'a str>,
}

impl<'a> Prompt<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (connection, command) = match line.split_once("> ") {
            Some((connection, command)) => (connection, Some(command)),
            None => (line.strip_suffix('<')?, None),
        };
        connection.chars().all(|c| c.is_ascii_lowercase()).then_some(Self { connection, command })
    }
}

fn begins_reply(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(['#', '@']) && Prompt::of(line).is_none() && line != "resp2:"
}

impl Step {
    fn new(
        line: usize,
        Prompt { connection, command }: Prompt<'_>,
        directive_lines: Vec<String>,
    ) -> Result<Self, String> {
        let mut step = Self {
            line,
            command_line: match command {
                Some(command) => format!("{connection}> {command}"),
                None => format!("{connection}<"),
            },
            connection: connection.to_owned(),
            args: words(command.unwrap_or_default())?,
            directive_lines: Vec::new(),
            expected: None,
            unordered: None,
            only: None,
            until: false,
            later: false,
            reads: command.is_none(),
            closes: false,
            differs: false,
        };
        for directive in &directive_lines {
            let mut words = directive.split_whitespace();
            match (words.next().unwrap_or_default(), words.next()) {
                ("@unordered", what) => {
                    let rest: Vec<&str> = what.into_iter().chain(words).collect();
                    let (pairs, rest) = match rest.as_slice() {
                        ["pairs", rest @ ..] => (true, rest),
                        rest => (false, rest),
                    };
                    let element = match rest {
                        [] => None,
                        ["in", number] => {
                            Some(number.parse().map_err(|_| format!("not a number: {number}"))?)
                        }
                        _ => return Err(format!("unknown: {directive}")),
                    };
                    step.unordered = Some(Unordered { pairs, element });
                }
                ("@only", Some("resp2")) => step.only = Some(Protocol::Resp2),
                ("@only", Some("resp3")) => step.only = Some(Protocol::Resp3),
                ("@until", None) => step.until = true,
                ("@later", None) => step.later = true,
                ("@closes", None) => step.closes = true,
                ("@differs", Some(_)) => step.differs = true,
                _ => {
                    return Err(format!("unknown directive, or one without what it needs: {directive}"));
                }
            }
        }
        step.directive_lines = directive_lines;
        Ok(step)
    }
}

/// Splits a command as redis-cli does, and expands the forms in braces.
fn words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut reader = Reader { rest: line.trim() };
    while !reader.rest.is_empty() {
        if reader.rest.starts_with('"') {
            words.push(reader.quoted()?);
        } else if let Some(rest) = reader.rest.strip_prefix('\'') {
            let (word, rest) = rest.split_once('\'').ok_or("a quoted word does not end")?;
            words.push(word.as_bytes().to_vec());
            reader.rest = rest;
        } else if let Some((expanded, rest)) = braces(reader.rest) {
            words.extend(expanded);
            reader.rest = rest;
        } else {
            let end = reader.rest.find(' ').unwrap_or(reader.rest.len());
            let (word, rest) = reader.rest.split_at(end);
            words.push(word.as_bytes().to_vec());
            reader.rest = rest;
        }
        if !reader.rest.is_empty() && !reader.rest.starts_with(' ') {
            return Err(format!("a word must end before {:?}", reader.rest));
        }
        reader.rest = reader.rest.trim_start();
    }
    Ok(words)
}

/// `{1..3: f# v#}` and `{ab*3}`; anything else in braces, such as a hash tag, is an ordinary word.
fn braces(text: &str) -> Option<(Vec<Vec<u8>>, &str)> {
    let (inside, rest) = text.strip_prefix('{')?.split_once('}')?;
    if let Some((range, template)) = inside.split_once(": ") {
        let (first, last) = range.split_once("..")?;
        let (first, last): (i64, i64) = (first.parse().ok()?, last.parse().ok()?);
        let one = |n: i64| {
            template
                .split(' ')
                .map(move |word| word.replace('#', &n.to_string()).into_bytes())
                .collect::<Vec<_>>()
        };
        return Some(((first..=last).flat_map(one).collect(), rest));
    }
    let (word, count) = inside.rsplit_once('*')?;
    Some((vec![word.repeat(count.parse().ok()?).into_bytes()], rest))
}
