//! Values of directives as text: numbers, sizes, words. The complaints are those of Redis, to the letter.

use std::ops::RangeInclusive;

use ringfort_protocol::number;

use crate::{
    log::{Format, Level},
    store::Policy,
};

/// What is wrong with a value.
pub(super) type Why = String;

/// A whole number within bounds.
pub(super) fn integer<T: TryFrom<i64>>(text: &str, bounds: RangeInclusive<i64>) -> Result<T, Why> {
    let value = number::parse_i64(text.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
    bounded(value, bounds)
}

/// A number of bytes within bounds; `k`, `mb` and the like are understood.
pub(super) fn size<T: TryFrom<i64>>(text: &str, bounds: RangeInclusive<i64>) -> Result<T, Why> {
    let bytes = bytes(text).ok_or("argument must be a memory value")?;
    bounded(bytes, bounds)
}

fn bounded<T: TryFrom<i64>>(value: i64, bounds: RangeInclusive<i64>) -> Result<T, Why> {
    let (least, most) = (*bounds.start(), *bounds.end());
    let complaint = || format!("argument must be between {least} and {most} inclusive");
    if !bounds.contains(&value) {
        return Err(complaint());
    }
    T::try_from(value).map_err(|_| complaint())
}

/// A size as Redis writes it: `100mb` is 100 × 2^20, `100m` is 100 × 10^6. `None` if it is none, or more than any
/// machine has.
pub fn bytes(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(unit)
}

/// `yes` or `no`.
pub(super) fn yes_or_no(text: &str) -> Result<bool, Why> {
    if text.eq_ignore_ascii_case("yes") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("no") {
        Ok(false)
    } else {
        Err("argument must be 'yes' or 'no'".into())
    }
}

/// The opposite of [`yes_or_no`].
pub(super) fn word(yes: bool) -> String {
    if yes { "yes" } else { "no" }.into()
}

/// One of some words, in any case of letters; returned as it is listed.
pub(super) fn choice(text: &str, words: &[&'static str]) -> Result<&'static str, Why> {
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
    found.copied().ok_or_else(|| format!("argument(s) must be one of the following: {}", words.join(", ")))
}

/// Percentiles with a space between.
pub(super) fn percentiles(text: &str) -> Result<Vec<f64>, Why> {
    let read = |word: &str| {
        let share = number::parse_f64(word.as_bytes());
        let share = share.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        let is_share = (0.0..=100.0).contains(&share);
        is_share.then_some(share).ok_or_else(|| {
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into()
        })
    };
    if text.is_empty() { Ok(Vec::new()) } else { text.split(' ').map(read).collect() }
}

/// A percentile as Redis writes it: at most six digits behind the point, and none that says nothing.
pub fn percentile(share: f64) -> String {
    let text = format!("{share:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// An eviction policy.
pub(super) fn policy(text: &str) -> Result<Policy, Why> {
    /// In the order in which Redis lists them when it complains.
    const NAMES: [&str; 8] = [
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "noeviction",
    ];
    let name = choice(text, &NAMES)?;
    Policy::from_name(name).ok_or_else(|| format!("'{name}' is no policy"))
}

/// A level of the log.
pub(super) fn level(text: &str) -> Result<Level, Why> {
    one_of(text, Level::ALL, Level::name)
}

/// A form of the log.
pub(super) fn format(text: &str) -> Result<Format, Why> {
    one_of(text, Format::ALL, Format::name)
}

/// Who may use a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Nobody.
    No,
    /// Every client.
    Yes,
    /// Clients of this machine.
    Local,
}

impl Allowed {
    /// All of them, in the order in which Redis lists them when it complains.
    const ALL: [Self; 3] = [Self::No, Self::Yes, Self::Local];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Local => "local",
        }
    }
}

/// Who may use a command.
pub(super) fn allowed(text: &str) -> Result<Allowed, Why> {
    one_of(text, Allowed::ALL, Allowed::name)
}

/// One of some values by its name, in any case of letters.
fn one_of<T: Copy, const N: usize>(text: &str, all: [T; N], name: fn(T) -> &'static str) -> Result<T, Why> {
    let chosen = choice(text, &all.map(name))?;
    let found = all.into_iter().find(|value| name(*value) == chosen);
    found.ok_or_else(|| format!("'{chosen}' has no value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_redis_reads_them() {
        assert_eq!(bytes("0"), Some(0));
        assert_eq!(bytes("100MB"), Some(100 << 20));
        assert_eq!(bytes("2k"), Some(2_000));
        assert_eq!(bytes("10B"), Some(10));
        for bad in ["", "mb", "-1", "1.5gb", "1tb", "99999999999gb", "1 gb"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_outside_their_bounds_are_told_the_bounds() {
        assert_eq!(integer::<u8>("7", 0..=255), Ok(7));
        assert_eq!(
            integer::<u32>("-1", 0..=2_147_483_647).unwrap_err(),
            "argument must be between 0 and 2147483647 inclusive"
        );
        assert_eq!(integer::<u8>("x", 0..=255).unwrap_err(), "argument couldn't be parsed into an integer");
        assert_eq!(size::<u64>("x", 0..=i64::MAX).unwrap_err(), "argument must be a memory value");
    }

    #[test]
    fn percentiles_are_written_as_they_were_read() {
        for text in ["", "50 99 99.9", "0 100 99.99999", "-0"] {
            let shares = percentiles(text).unwrap();
            assert_eq!(shares.into_iter().map(percentile).collect::<Vec<_>>().join(" "), text);
        }
        assert!(percentiles("50 101").unwrap_err().ends_with("should sit between [0.0,100.0]"));
        for bad in ["50  99", "half", "nan"] {
            assert!(percentiles(bad).unwrap_err().starts_with("Invalid"), "{bad}");
        }
    }

    #[test]
    fn every_policy_can_be_chosen() {
        for name in Policy::names() {
            assert_eq!(policy(name).map(Policy::name), Ok(name));
        }
        assert!(policy("other").unwrap_err().ends_with("allkeys-random, noeviction"));
    }
}
