//! Reads the text format of Prometheus strictly: what its grammar does not allow is an error, with its line.

use std::collections::{BTreeMap, HashSet};

/// A sample's labels, in their order.
type Labels = Vec<(String, String)>;

/// One metric with its samples.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) samples: Vec<(Labels, f64)>,
}

/// All metrics of a scrape, by name.
pub(crate) struct Scrape(pub(crate) BTreeMap<String, Family>);

impl Scrape {
    /// Reads a scrape. Each metric must come once, as `# HELP`, `# TYPE`, and its samples.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if !text.ends_with('\n') {
            return Err("the last line does not end".into());
        }
        let mut scrape = Self(BTreeMap::new());
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let wrong = |what: &str| format!("{what}: {line}");
            let help = line.strip_prefix("# HELP ").ok_or_else(|| wrong("no # HELP"))?;
            let (name, help) = help.split_once(' ').ok_or_else(|| wrong("no text"))?;
            if !is_name(name) || help.is_empty() {
                return Err(wrong("a bad name or an empty text"));
            }
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
            let kind =
                kind.filter(|kind| ["counter", "gauge"].contains(kind)).ok_or_else(|| wrong("no # TYPE"))?;
            let mut family = Family { kind: kind.into(), samples: Vec::new() };
            let mut seen = HashSet::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let (labels, value) =
                    sample(name, line).ok_or_else(|| format!("no sample of {name}: {line}"))?;
                if !seen.insert(labels.clone()) {
                    return Err(format!("the same labels twice: {line}"));
                }
                family.samples.push((labels, value));
            }
            if scrape.0.insert(name.into(), family).is_some() {
                return Err(wrong("the same name twice"));
            }
        }
        Ok(scrape)
    }

    /// The value of a sample, by its name and the values of its labels.
    pub(crate) fn get(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let matches = |sample: &&(Labels, f64)| {
            sample.0.iter().map(|label| label.1.as_str()).eq(labels.iter().copied())
        };
        self.0.get(name)?.samples.iter().find(matches).map(|sample| sample.1)
    }

    /// The sum of all samples of a metric; 0 if it has none.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.0.get(name).map_or(0.0, |family| family.samples.iter().map(|sample| sample.1).sum())
    }
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(is_letter)
        && text.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

/// `name value` or `name{label="text",...} value`
fn sample(name: &str, line: &str) -> Option<(Labels, f64)> {
    let rest = line.strip_prefix(name)?;
    let (labels, value) = match rest.strip_prefix('{') {
        None => (Labels::new(), rest),
        Some(rest) => labels(rest)?,
    };
    let value: f64 = value.strip_prefix(' ')?.parse().ok()?;
    Some((labels, value))
}

/// `label="text",...}` Returns the labels and what follows.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        let (label, text) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = text.char_indices();
        let end = loop {
            match chars.next()? {
                (end, '"') => break end,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    escaped @ ('"' | '\\') => escaped,
                    _ => return None,
                }),
                (_, plain) => value.push(plain),
            }
        };
        if !is_name(label) || labels.iter().any(|(known, _)| known == label) {
            return None;
        }
        labels.push((label.into(), value));
        rest = &text[end + 1..];
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        rest = rest.strip_prefix(',')?;
    }
}
