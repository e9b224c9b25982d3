//! Globs as KEYS, SCAN, PSUBSCRIBE, CONFIG and ACL understand them.
//!
//! `*` any bytes, `?` one byte, `[abc]`, `[^abc]`, `[a-z]` one of a class, `\` takes the next byte literally. It
//! says what Redis' `stringmatchlen` says, also where that is odd: an empty text is matched by the empty pattern
//! only, a class that is not closed ends with the pattern, the bytes of a range are compared as signed ones.
//!
//! Only the last `*` is ever tried again: whatever an earlier one could do, it can. So the time is at most the
//! product of the two lengths, there is no recursion, and no pattern can make a node stop.

/// Whether case of ASCII letters matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a` is not `A`.
    Sensitive,
    /// `a` is `A`.
    Insensitive,
}

/// Whether `pattern` describes all of `text`. Commands for which `*` alone means everything, the empty key included,
/// do not ask.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // After the last star: the pattern, and the text that it has not taken.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                if p == pattern.len() {
                    return true;
                }
                retry = Some((p, t));
                continue;
            }
            Some(_) => {
                let (matched, next) = one(pattern, p, text[t], case);
                if matched {
                    (p, t) = (next, t + 1);
                    continue;
                }
            }
            None => {}
        }
        let Some((after_star, taken)) = retry else {
            return false;
        };
        (p, t) = (after_star, taken + 1);
        retry = Some((p, t));
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Matches `byte` with the element of the pattern at `p`, which is no star: whether it does, and where the next
/// element begins.
fn one(pattern: &[u8], p: usize, byte: u8, case: Case) -> (bool, usize) {
    match pattern[p] {
        b'?' => (true, p + 1),
        b'[' => class(pattern, p + 1, byte, case),
        b'\\' if p + 1 < pattern.len() => (equal(pattern[p + 1], byte, case), p + 2),
        literal => (equal(literal, byte, case), p + 1),
    }
}

/// Matches `byte` with the class whose first byte is at `p`.
fn class(pattern: &[u8], mut p: usize, byte: u8, case: Case) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut matched = false;
    loop {
        match pattern[p..] {
            // Redis ignores the case argument here.
            [b'\\', escaped, ..] => {
                matched |= escaped == byte;
                p += 2;
            }
            [b']', ..] => {
                p += 1;
                break;
            }
            [] => break,
            [from, b'-', to, ..] => {
                matched |= in_range(from, to, byte, case);
                p += 3;
            }
            [member, ..] => {
                matched |= equal(member, byte, case);
                p += 1;
            }
        }
    }
    (matched != negated, p)
}

/// Whether `byte` lies between the two ends of a range, in whichever order they are given.
fn in_range(from: u8, to: u8, byte: u8, case: Case) -> bool {
    let (mut low, mut high) = (from as i8, to as i8);
    if low > high {
        (low, high) = (high, low);
    }
    let fold = |byte: i8| match case {
        Case::Sensitive => byte,
        Case::Insensitive => byte.cast_unsigned().to_ascii_lowercase() as i8,
    };
    (fold(low)..=fold(high)).contains(&fold(byte as i8))
}

fn equal(a: u8, b: u8, case: Case) -> bool {
    match case {
        Case::Sensitive => a == b,
        Case::Insensitive => a.eq_ignore_ascii_case(&b),
    }
}
