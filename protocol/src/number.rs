//! Numbers as Redis reads and writes them.
//!
//! Redis is strict about integers (one text per number, so that a string that looks like an integer can be kept as
//! one) and follows C about floating point: `strtod` on the way in, `printf` on the way out. What `strtod` takes is
//! told by [`Literal`], which [`LongDouble`](crate::LongDouble) shares.

/// Reads an integer: decimal digits with a `-` before a negative one; no `+`, no space, no leading zero, no `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        // 19 digits do not overflow an u64.
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// Reads a double as ZADD reads a score: decimal or hexadecimal, `inf` or `infinity` in any case, signs allowed.
/// Not spaces, nothing, NaN, what overflows to infinity, or what is not 0 and underflows to it.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, literal) = Literal::scan(text)?;
    let value = match literal {
        Literal::Infinite => f64::INFINITY,
        Literal::Hexadecimal { mantissa, exponent, inexact } => {
            let (mantissa, exponent) = round(mantissa, exponent, inexact, &DOUBLE)?;
            compose_f64(mantissa, exponent)
        }
        Literal::Decimal { unsigned, zero, .. } => {
            let value: f64 = std::str::from_utf8(unsigned).ok()?.parse().ok()?;
            if value.is_infinite() || (value == 0.0 && !zero) {
                return None;
            }
            value
        }
    };
    Some(if negative { -value } else { value })
}

/// Writes a double as Redis 7.0 replies with one: C's `%.17g`, which always reads back as the same double. So 3.14
/// becomes `3.1400000000000001`.
pub fn format_double(value: f64) -> String {
    const DIGITS: i32 = 17;
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    // Whole numbers are the common case, and are exact below 2^53.
    let whole = value as i64;
    if whole as f64 == value && whole.unsigned_abs() < 1 << 53 && (whole != 0 || value.is_sign_positive()) {
        return itoa::Buffer::new().format(whole).to_owned();
    }
    // One digit, a point, sixteen digits, `e`, the exponent: already rounded as C rounds.
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    let digits = digits.trim_end_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    if !(-4..DIGITS).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{exponent_sign}{:02}", exponent.abs());
    }
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    let before_point = exponent as usize + 1;
    if digits.len() <= before_point {
        return format!("{sign}{digits:0<before_point$}");
    }
    let (before, after) = digits.split_at(before_point);
    format!("{sign}{before}.{after}")
}

/// A number as text, without its sign, taken apart.
pub(crate) enum Literal<'a> {
    Infinite,
    /// `mantissa * 2^exponent`, plus a little if `inexact`, in which case the mantissa has more than 120 bits.
    Hexadecimal {
        mantissa: u128,
        exponent: i64,
        inexact: bool,
    },
    /// `digits * 10^exponent`, where the digits are those of `whole` and `fraction` in a row. `unsigned` is all of
    /// the text, `zero` whether all digits are.
    Decimal {
        whole: &'a [u8],
        fraction: &'a [u8],
        exponent: i64,
        unsigned: &'a [u8],
        zero: bool,
    },
}

impl<'a> Literal<'a> {
    /// Reads all of `text`; `true` if it is negative. `None` if C's `strtod` would not take all of it, and for NaN.
    pub(crate) fn scan(text: &'a [u8]) -> Option<(bool, Self)> {
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let literal = match unsigned {
            [b'0', b'x' | b'X', rest @ ..] => Self::scan_hexadecimal(rest)?,
            _ if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") => {
                Self::Infinite
            }
            _ => Self::scan_decimal(unsigned)?,
        };
        Some((negative, literal))
    }

    fn scan_decimal(unsigned: &'a [u8]) -> Option<Self> {
        let (whole, rest) = split_while(unsigned, u8::is_ascii_digit);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => split_while(rest, u8::is_ascii_digit),
            _ => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = scan_exponent(rest, b'e')? - fraction.len() as i64;
        let zero = whole.iter().chain(fraction).all(|&digit| digit == b'0');
        Some(Self::Decimal { whole, fraction, exponent, unsigned, zero })
    }

    fn scan_hexadecimal(rest: &'a [u8]) -> Option<Self> {
        let (whole, rest) = split_while(rest, u8::is_ascii_hexdigit);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => split_while(rest, u8::is_ascii_hexdigit),
            _ => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut exponent = scan_exponent(rest, b'p')? - 4 * fraction.len() as i64;
        let (mut mantissa, mut inexact) = (0u128, false);
        for &digit in whole.iter().chain(fraction) {
            let digit = char::from(digit).to_digit(16)?;
            if mantissa >> 120 == 0 {
                mantissa = mantissa << 4 | u128::from(digit);
            } else {
                exponent += 4;
                inexact |= digit != 0;
            }
        }
        Some(Self::Hexadecimal { mantissa, exponent, inexact })
    }
}

/// Reads `e`, an optional sign and digits, or nothing, which is 0. Stops counting where it no longer matters.
fn scan_exponent(text: &[u8], letter: u8) -> Option<i64> {
    const ENOUGH: i64 = 1 << 40;
    let digits = match text {
        [] => return Some(0),
        [first, rest @ ..] if first.eq_ignore_ascii_case(&letter) => rest,
        _ => return None,
    };
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(ENOUGH));
    Some(if negative { -value } else { value })
}

fn split_while(text: &[u8], test: fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !test(byte)).unwrap_or(text.len()))
}

/// A binary floating-point format whose values are `mantissa * 2^exponent`.
pub(crate) struct Format {
    /// Bits of the mantissa.
    pub(crate) precision: u32,
    /// Least exponent, that of the subnormal numbers.
    pub(crate) min_exponent: i64,
    /// Greatest exponent.
    pub(crate) max_exponent: i64,
}

const DOUBLE: Format = Format { precision: 53, min_exponent: -1074, max_exponent: 971 };

/// Rounds `mantissa * 2^exponent`, plus a little if `inexact`, to the nearest value of `format`, ties to even. The
/// mantissa of the result fills its precision unless the number is too small for that. `None` if the number
/// overflows, or underflows to 0; zero itself stays.
pub(crate) fn round(mantissa: u128, exponent: i64, inexact: bool, format: &Format) -> Option<(u64, i64)> {
    if mantissa == 0 {
        return Some((0, format.min_exponent));
    }
    let bits = i64::from(u128::BITS - mantissa.leading_zeros());
    let shift = (bits - i64::from(format.precision)).max(format.min_exponent - exponent);
    let exponent = exponent + shift;
    if exponent > format.max_exponent || shift > 127 {
        return None;
    }
    if shift <= 0 {
        return Some(((mantissa << -shift) as u64, exponent));
    }
    let kept = mantissa >> shift;
    let rest = mantissa & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    let up = rest > half || (rest == half && (inexact || kept & 1 == 1));
    let kept = kept + u128::from(up);
    if kept >> format.precision != 0 {
        return (exponent < format.max_exponent).then_some(((kept >> 1) as u64, exponent + 1));
    }
    (kept != 0).then_some((kept as u64, exponent))
}

/// The double that is `mantissa * 2^exponent`, as [`round`] gives them.
fn compose_f64(mantissa: u64, exponent: i64) -> f64 {
    const HIDDEN_BIT: u64 = 1 << 52;
    if mantissa < HIDDEN_BIT {
        return f64::from_bits(mantissa);
    }
    let biased = (exponent - DOUBLE.min_exponent + 1).cast_unsigned();
    f64::from_bits(biased << 52 | (mantissa & (HIDDEN_BIT - 1)))
}
