//! Numbers as Redis reads and writes them.
//!
//! Redis is strict about integers (one text per number, so that a string that looks like an integer can be kept as
//! one) and follows C about floating point: `strtod` on the way in, `printf` on the way out. What `strtod` takes is
//! told by `Literal`, which [`LongDouble`](crate::LongDouble) shares.

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
pub fn format_double(value: f64) -> DoubleText {
    let mut text = DoubleText::default();
    if value.is_nan() {
        text.push(b"nan");
        return text;
    }
    if value.is_sign_negative() {
        text.push(b"-");
    }
    let value = value.abs();
    if value.is_infinite() {
        text.push(b"inf");
    } else if value < EXACT_INTEGERS && value.trunc() == value {
        text.push(itoa::Buffer::new().format(value as u64).as_bytes());
    } else {
        let (digits, exponent) = digits17(value);
        text.lay_out(&digits, exponent);
    }
    text
}

/// Doubles below this (2^53) whose fraction is 0 are the integers that they seem to be.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;
/// Digits that tell every double from its neighbours.
const DIGITS: usize = 17;

/// The text of a double.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoubleText {
    // A sign, 17 digits, a point and `e-308` are the most.
    bytes: [u8; 24],
    len: usize,
}

impl DoubleText {
    /// The text, which is ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    /// Appends the number `d.ddd * 10^exponent`, the way of `%g`: with an exponent only if the number is below 0.0001
    /// or has more digits before its point than there are.
    fn lay_out(&mut self, digits: &[u8; DIGITS], exponent: i32) {
        let significant = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
        let digits = &digits[..significant];
        match exponent {
            -4..0 => {
                self.push(&b"0.000"[..1 + exponent.unsigned_abs() as usize]);
                self.push(digits);
            }
            0..17 => {
                let before_point = exponent as usize + 1;
                if significant <= before_point {
                    self.push(digits);
                    self.push(&[b'0'; DIGITS][significant..before_point]);
                } else {
                    self.push(&digits[..before_point]);
                    self.push(b".");
                    self.push(&digits[before_point..]);
                }
            }
            _ => {
                self.push(&digits[..1]);
                if significant > 1 {
                    self.push(b".");
                    self.push(&digits[1..]);
                }
                self.push(if exponent < 0 { b"e-" } else { b"e+" });
                let exponent = exponent.unsigned_abs();
                if exponent < 10 {
                    self.push(b"0");
                }
                self.push(itoa::Buffer::new().format(exponent).as_bytes());
            }
        }
    }
}

/// The first 17 decimal digits of a positive double, correctly rounded, and the power of ten of the first.
fn digits17(value: f64) -> ([u8; DIGITS], i32) {
    const LEAST: u64 = 10u64.pow(DIGITS as u32 - 1);
    const TEN_LEAST: u64 = 10 * LEAST;
    if (1e-4..EXACT_INTEGERS).contains(&value) {
        // Here the binary exponent is at most 0. A mantissa below 2^53 times at most 10^21 fits 123 bits, so this is
        // exact until it is rounded, once.
        let bits = value.to_bits();
        let binary_exponent = (bits >> 52) as i32 - 1075;
        let mantissa = u128::from(bits & ((1 << 52) - 1) | 1 << 52);
        let mut exponent = value.log10().floor() as i32;
        loop {
            let scaled = mantissa * 10u128.pow((DIGITS as i32 - 1 - exponent).unsigned_abs());
            let units = shift_right_rounding(scaled, binary_exponent.unsigned_abs()) as u64;
            // The logarithm may be off by a hair near a power of ten.
            match units {
                ..LEAST => exponent -= 1,
                LEAST..TEN_LEAST => return (decimal_digits(units), exponent),
                TEN_LEAST.. => exponent += 1,
            }
        }
    }
    let text = format!("{value:.16e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mut digits = [b'0'; DIGITS];
    for (place, digit) in digits.iter_mut().zip(mantissa.bytes().filter(|&byte| byte != b'.')) {
        *place = digit;
    }
    (digits, exponent.parse().unwrap_or(0))
}

/// `value / 2^bits`, rounded to the nearest integer, ties to even. `value` is below 2^126.
pub(crate) fn shift_right_rounding(value: u128, bits: u32) -> u128 {
    match bits {
        0 => value,
        1..=127 => {
            let (kept, rest, half) = (value >> bits, value & ((1 << bits) - 1), 1 << (bits - 1));
            kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
        }
        _ => 0,
    }
}

/// The last 17 decimal digits of `value`, with zeros in front.
pub(crate) fn decimal_digits(mut value: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (value % 10) as u8;
        value /= 10;
    }
    digits
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
