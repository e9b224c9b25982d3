//! The arithmetic of INCRBYFLOAT and HINCRBYFLOAT: an x87 `long double`, 64 bits of mantissa, in integers.
//!
//! Redis on x86-64 adds in this format and prints 17 decimals, which makes 3.0 + 1.005 come out as 4.005 where
//! doubles would not. Rust has no such type, so this module carries out the three operations that are needed,
//! reading, adding, writing, exactly as the hardware and the C library do: each result is the exact one rounded
//! once, ties to even. (Redis on other machines has another `long double`, so its last digits differ there.)
//!
//! Numbers of usual size are handled in a few machine words. Those far from 1 need large integers, which are
//! bounded by the format's range and by [`MAX_TEXT`].

use std::cmp::Ordering;

use crate::number::{Format, Literal, decimal_digits, round, shift_right_rounding};

/// Bytes of the longest text that is read as a number; Redis has the same limit.
pub const MAX_TEXT: usize = 5 * 1024 - 1;

const FORMAT: Format = Format { precision: 64, min_exponent: -16445, max_exponent: 16320 };
/// The 17th decimal, the last one that is printed, goes so often into 1.
const LAST_DECIMAL: u64 = 10u64.pow(17);
/// Powers of ten beyond which every number overflows, or underflows.
const DECIMAL_RANGE: std::ops::Range<i64> = -4952..4934;

/// A floating-point number of 64 bits precision, or an infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magnitude {
    Infinite,
    /// `mantissa * 2^exponent`, as [`round`] leaves them.
    Finite {
        mantissa: u64,
        exponent: i64,
    },
}

impl LongDouble {
    /// Reads a number by the rules of [`parse_f64`](crate::number::parse_f64), with the wider range of this format.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let (negative, literal) = Literal::scan(text)?;
        let (mantissa, exponent) = match literal {
            Literal::Infinite => {
                return Some(Self { negative, magnitude: Magnitude::Infinite });
            }
            Literal::Hexadecimal { mantissa, exponent, inexact } => {
                round(mantissa, exponent, inexact, &FORMAT)?
            }
            Literal::Decimal { whole, fraction, exponent, .. } => round_decimal(whole, fraction, exponent)?,
        };
        Some(Self { negative, magnitude: Magnitude::Finite { mantissa, exponent } })
    }

    /// The sum, or `None` if it is not finite: then the command is refused.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (mut large, mut small) = (self.finite()?, other.finite()?);
        if (small.exponent, small.mantissa) > (large.exponent, large.mantissa) {
            (large, small) = (small, large);
        }
        // The larger number gets 62 bits of room below it. What the smaller one loses beyond them only matters as
        // being there or not.
        const ROOM: i64 = 62;
        let wide = u128::from(large.mantissa) << ROOM;
        let distance = large.exponent - small.exponent;
        let shifted = u128::from(small.mantissa) << ROOM;
        let (narrow, lost) = match u32::try_from(distance) {
            Ok(distance) if distance < u128::BITS => {
                (shifted >> distance, shifted & ((1 << distance) - 1) != 0)
            }
            _ => (0, small.mantissa != 0),
        };
        let sum = if large.negative == small.negative {
            wide + narrow
        } else {
            // Something was lost: the exact difference lies a little below.
            wide - narrow - u128::from(lost)
        };
        let (mantissa, exponent) = round(sum, large.exponent - ROOM, lost, &FORMAT)?;
        let negative = if sum == 0 { large.negative && small.negative } else { large.negative };
        Some(Self { negative, magnitude: Magnitude::Finite { mantissa, exponent } })
    }

    /// Appends the number with up to 17 decimals, never with an exponent: C's `%.17Lf` without trailing zeros.
    pub fn format(self, out: &mut Vec<u8>) {
        let Some(Finite { negative, mantissa, exponent }) = self.finite() else {
            out.extend_from_slice(if self.negative { b"-inf" } else { b"inf" });
            return;
        };
        if exponent >= 0 {
            let mut whole = Big::from(mantissa);
            whole.shift_left(exponent as usize);
            sign(out, negative);
            out.extend_from_slice(&whole.into_decimal());
            return;
        }
        // 2^64 * 10^17 < 2^121, so the number in units of the last decimal fits, whatever is cut off below.
        let scaled = u128::from(mantissa) * u128::from(LAST_DECIMAL);
        let cut = u32::try_from(exponent.unsigned_abs()).unwrap_or(u32::MAX);
        let units = shift_right_rounding(scaled, cut);
        sign(out, negative && units != 0);
        // Below 2^63, as the exponent is negative.
        let whole = (units / u128::from(LAST_DECIMAL)) as u64;
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
        let decimals = decimal_digits((units % u128::from(LAST_DECIMAL)) as u64);
        if let Some(last) = decimals.iter().rposition(|&digit| digit != b'0') {
            out.push(b'.');
            out.extend_from_slice(&decimals[..=last]);
        }
    }

    fn finite(self) -> Option<Finite> {
        match self.magnitude {
            Magnitude::Infinite => None,
            Magnitude::Finite { mantissa, exponent } => {
                Some(Finite { negative: self.negative, mantissa, exponent })
            }
        }
    }
}

impl From<i64> for LongDouble {
    fn from(value: i64) -> Self {
        let (mantissa, exponent) = round(value.unsigned_abs().into(), 0, false, &FORMAT)
            .expect("64 bits fit the mantissa, and the exponent is near 0");
        Self { negative: value < 0, magnitude: Magnitude::Finite { mantissa, exponent } }
    }
}

/// Exact: every double is a long double. NaN, which Redis has no use for, becomes infinite.
impl From<f64> for LongDouble {
    fn from(value: f64) -> Self {
        let bits = value.to_bits();
        let (biased, fraction) = ((bits >> 52 & 0x7ff).cast_signed(), bits & ((1 << 52) - 1));
        let magnitude = match biased {
            0x7ff => Magnitude::Infinite,
            _ => {
                let mantissa = if biased == 0 { fraction } else { fraction | 1 << 52 };
                let (mantissa, exponent) = round(mantissa.into(), biased.max(1) - 1075, false, &FORMAT)
                    .expect("the range of doubles lies within that of long doubles");
                Magnitude::Finite { mantissa, exponent }
            }
        };
        Self { negative: value.is_sign_negative(), magnitude }
    }
}

#[derive(Clone, Copy)]
struct Finite {
    negative: bool,
    mantissa: u64,
    exponent: i64,
}

fn sign(out: &mut Vec<u8>, negative: bool) {
    if negative {
        out.push(b'-');
    }
}

/// Rounds the number whose digits are `whole` and `fraction`, times `10^exponent`.
fn round_decimal(whole: &[u8], fraction: &[u8], exponent: i64) -> Option<(u64, i64)> {
    let leading = whole.iter().chain(fraction).take_while(|&&digit| digit == b'0').count();
    let digits = || whole.iter().chain(fraction).skip(leading);
    let count = whole.len() + fraction.len() - leading;
    if count == 0 {
        return round(0, 0, false, &FORMAT);
    }
    // The number lies in 10^(magnitude - 1)..10^magnitude.
    let magnitude = exponent + count as i64;
    if !DECIMAL_RANGE.contains(&magnitude) {
        return None;
    }
    if count <= 19
        && let Some(rounded) = round_short_decimal(digits(), exponent)
    {
        return rounded;
    }
    let mut numerator = Big::default();
    let (mut part, mut factor) = (0, 1);
    for &digit in digits() {
        (part, factor) = (part * 10 + u64::from(digit - b'0'), factor * 10);
        if factor == LAST_DECIMAL {
            numerator.multiply_add(factor, part);
            (part, factor) = (0, 1);
        }
    }
    numerator.multiply_add(factor, part);
    if exponent >= 0 {
        numerator.multiply_by_power_of_ten(exponent.unsigned_abs());
        let (top, dropped, inexact) = numerator.top();
        return round(top, dropped, inexact, &FORMAT);
    }
    let mut denominator = Big::from(1);
    denominator.multiply_by_power_of_ten(exponent.unsigned_abs());
    let (quotient, binary_exponent, inexact) = divide(numerator, denominator);
    round(quotient, binary_exponent, inexact, &FORMAT)
}

/// The same for up to 19 digits of which up to 18 are decimals, as people and programs write numbers; else `None`.
fn round_short_decimal<'a>(
    digits: impl Iterator<Item = &'a u8>,
    exponent: i64,
) -> Option<Option<(u64, i64)>> {
    let number = digits.fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    match exponent {
        0..=18 => Some(round(u128::from(number) * u128::from(10u64.pow(exponent as u32)), 0, false, &FORMAT)),
        -18..0 => {
            // The divisor is below 2^60, so that the quotient has at least 68 bits.
            let shift = 64 + number.leading_zeros();
            let (dividend, divisor) = (u128::from(number) << shift, u128::from(10u64.pow(-exponent as u32)));
            Some(round(dividend / divisor, -i64::from(shift), dividend % divisor != 0, &FORMAT))
        }
        _ => None,
    }
}

/// `numerator / denominator` as `(quotient, exponent, inexact)`: a quotient of 68 or 69 bits times `2^exponent`, and
/// whether there is more. Schoolbook division bit by bit: few bits are wanted.
fn divide(mut numerator: Big, mut denominator: Big) -> (u128, i64, bool) {
    const BITS: i64 = 69;
    let (above, below) = (numerator.bits(), denominator.bits());
    numerator.shift_left(below.saturating_sub(above));
    denominator.shift_left(above.saturating_sub(below));
    let mut quotient = 0u128;
    for _ in 0..BITS {
        quotient <<= 1;
        if numerator.compare(&denominator) != Ordering::Less {
            numerator.subtract(&denominator);
            quotient |= 1;
        }
        numerator.shift_left(1);
    }
    (quotient, above as i64 - below as i64 - (BITS - 1), numerator.bits() != 0)
}

/// A natural number of any size, the least significant limb first, without leading zero limbs.
#[derive(Default)]
struct Big(Vec<u64>);

impl From<u64> for Big {
    fn from(value: u64) -> Self {
        let mut big = Self(vec![value]);
        big.trim();
        big
    }
}

impl Big {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 64 - top.leading_zeros() as usize)
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for limb in &mut self.0 {
            let product = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            *limb = product as u64;
            carry = (product >> 64) as u64;
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    fn multiply_by_power_of_ten(&mut self, mut power: u64) {
        while power > 0 {
            let step = power.min(19);
            self.multiply_add(10u64.pow(step as u32), 0);
            power -= step;
        }
    }

    fn shift_left(&mut self, bits: usize) {
        if bits == 0 || self.0.is_empty() {
            return;
        }
        let within = bits % 64;
        if within != 0 {
            self.multiply_add(1 << within, 0);
        }
        if bits >= 64 {
            self.0.splice(0..0, std::iter::repeat_n(0, bits / 64));
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Subtracts `other`, which is not larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let (difference, first) = limb.overflowing_sub(other.0.get(at).copied().unwrap_or(0));
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
        self.trim();
    }

    /// The highest 128 bits, how many bits lie below them, and whether one of those is set.
    fn top(&self) -> (u128, i64, bool) {
        let dropped = self.bits().saturating_sub(128);
        let (limbs, within) = (dropped / 64, dropped % 64);
        let limb = |at: usize| self.0.get(at).copied().unwrap_or(0);
        let low = u128::from(limb(limbs)) | u128::from(limb(limbs + 1)) << 64;
        let top =
            if within == 0 { low } else { low >> within | u128::from(limb(limbs + 2)) << (128 - within) };
        let inexact =
            self.0.iter().take(limbs).any(|&limb| limb != 0) || limb(limbs) & ((1 << within) - 1) != 0;
        (top, dropped as i64, inexact)
    }

    fn into_decimal(mut self) -> Vec<u8> {
        const CHUNK: u64 = 10u64.pow(19);
        let mut digits = Vec::with_capacity(self.bits() / 3 + 1);
        while !self.0.is_empty() {
            let mut rest = 0u64;
            for limb in self.0.iter_mut().rev() {
                let value = u128::from(rest) << 64 | u128::from(*limb);
                *limb = (value / u128::from(CHUNK)) as u64;
                rest = (value % u128::from(CHUNK)) as u64;
            }
            self.trim();
            for _ in 0..19 {
                digits.push(b'0' + (rest % 10) as u8);
                rest /= 10;
            }
        }
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            digits.push(b'0');
        }
        digits.reverse();
        digits
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(number: LongDouble) -> String {
        let mut out = Vec::new();
        number.format(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn sums_are_what_people_expect() {
        let sum = |a: &[u8], b: &[u8]| Some(text(LongDouble::parse(a)?.checked_add(LongDouble::parse(b)?)?));
        assert_eq!(sum(b"3.0", b"1.005").as_deref(), Some("4.005"));
        assert_eq!(sum(b"10.50", b"0.1").as_deref(), Some("10.6"));
        assert_eq!(sum(b"5.0e3", b"2.0e2").as_deref(), Some("5200"));
        assert_eq!(sum(b"1", b"-1").as_deref(), Some("0"));
    }

    #[test]
    fn infinities_can_be_written_but_not_added() {
        let infinite = LongDouble::parse(b"-inf").unwrap();
        assert_eq!(text(infinite), "-inf");
        assert_eq!(infinite.checked_add(1i64.into()), None);
        assert_eq!(text(f64::INFINITY.into()), "inf");
        let greatest = LongDouble::parse(b"0x1.fffffffffffffffep16383").unwrap();
        assert_eq!(greatest.checked_add(greatest), None);
        assert_eq!(text(greatest).len(), 4933);
    }

    #[test]
    fn text_has_a_greatest_length() {
        let longest =
            [b'1'; 1].iter().chain(&[b'0'; MAX_TEXT - 6]).chain(b"e-999").copied().collect::<Vec<_>>();
        assert_eq!(longest.len(), MAX_TEXT);
        assert!(LongDouble::parse(&longest).is_some());
        assert_eq!(LongDouble::parse(&[b"0", &longest[..]].concat()), None);
    }

    proptest! {
        #[test]
        fn integers_are_exact(value: i64) {
            prop_assert_eq!(text(value.into()), value.to_string());
            prop_assert_eq!(LongDouble::parse(value.to_string().as_bytes()), Some(value.into()));
        }

        #[test]
        fn doubles_are_exact(value in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO) {
            // Rust writes all digits of a double, and those of a subnormal number fit `MAX_TEXT`.
            prop_assert_eq!(LongDouble::parse(format!("{value:.1074}").as_bytes()), Some(value.into()));
        }

        #[test]
        fn short_numbers_are_read_as_long_ones_are(number in 1..10u64.pow(19), exponent in -18i64..=18) {
            let digits = number.to_string();
            let short = round_short_decimal(digits.as_bytes().iter(), exponent);
            let zeros = "0".repeat(40);
            let long = round_decimal(format!("{digits}{zeros}").as_bytes(), b"", exponent - 40);
            prop_assert_eq!(short, Some(long));
        }
    }
}
