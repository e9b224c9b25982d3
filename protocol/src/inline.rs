//! Inline commands: a line of words as a person types it into `nc` or `telnet`.
//!
//! Words are split by white space and may be quoted. In double quotes `\n`, `\r`, `\t`, `\b`, `\a`, `\xHH` and a
//! backslash before any other byte are escapes; in single quotes only `\'` is. A closing quote must end the word.
//! After Redis `sdssplitargs`, whose oddities (vertical tab and form feed separate words only where a word would
//! begin, a quote may open in the middle of a word) are kept.

use crate::{OwnedArgs, ParseError};

/// Splits `line`, which has no line end and no NUL, into words.
pub(crate) fn split(line: &[u8]) -> Result<OwnedArgs, ParseError> {
    let mut words = OwnedArgs::default();
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|&&byte| is_space(byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(words);
        }
        let start = words.bytes_mut().len();
        rest = word(rest, words.bytes_mut())?;
        words.close(start);
    }
}

/// Appends the word that `rest` begins with to `out`; what follows it.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ParseError> {
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' => return closed(double_quoted(rest, out)?),
            b'\'' => return closed(single_quoted(rest, out)?),
            &byte => out.push(byte),
        }
    }
    Ok(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ParseError> {
    loop {
        match *rest {
            [b'"', ref tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, ref tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex(high) << 4 | hex(low));
                rest = tail;
            }
            [b'\\', byte, ref tail @ ..] => {
                out.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                rest = tail;
            }
            [byte, ref tail @ ..] => {
                out.push(byte);
                rest = tail;
            }
            [] => return Err(ParseError::UnbalancedQuotes),
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ParseError> {
    loop {
        let (byte, tail) = match *rest {
            [b'\\', b'\'', ref tail @ ..] => (b'\'', tail),
            [b'\'', ref tail @ ..] => return Ok(tail),
            [byte, ref tail @ ..] => (byte, tail),
            [] => return Err(ParseError::UnbalancedQuotes),
        };
        out.push(byte);
        rest = tail;
    }
}

/// What follows a closing quote, which must be white space or nothing.
fn closed(rest: &[u8]) -> Result<&[u8], ParseError> {
    match rest.first() {
        Some(&byte) if !is_space(byte) => Err(ParseError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

/// C's `isspace`, which unlike `is_ascii_whitespace` counts the vertical tab.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let words = split(line.as_bytes()).ok()?;
        Some(words.as_args().iter().map(|word| word.escape_ascii().to_string()).collect())
    }

    #[test]
    fn words_are_split_and_unquoted_as_redis_does() {
        for (line, expected) in [
            ("", &[][..]),
            (" \t\x0b\x0c ", &[]),
            ("set  k\tv", &["set", "k", "v"]),
            (r#"set k "a b""#, &["set", "k", "a b"]),
            (r#""\x41\x4Z\n\r\t\b\a\q\"\\""#, &[r#"Ax4Z\n\r\t\x08\x07q\"\\"#]),
            (r"'a\'b\n'", &[r"a\'b\\n"]),
            (r#"ab"cd" e"#, &["abcd", "e"]),
            ("\"\" ''", &["", ""]),
            ("a\x0bb", &[r"a\x0bb"]),
            ("\"a\"\x0bb", &["a", "b"]),
            (r"a\nb", &[r"a\\nb"]),
        ] {
            assert_eq!(
                words(line).as_deref(),
                Some(&expected.iter().map(|&w| w.to_owned()).collect::<Vec<_>>()[..]),
                "{line:?}"
            );
        }
    }

    #[test]
    fn quotes_must_close_at_the_end_of_a_word() {
        for line in
            ["\"", "'", "\"abc", "'abc", "\"a\"b", "'a'b", "\"a\"\"b\"", "\"abc\\", "\"abc\\\"", "x 'abc\\'"]
        {
            assert_eq!(words(line), None, "{line:?}");
        }
    }
}
