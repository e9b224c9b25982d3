//! The text format of Prometheus, version 0.0.4: `# HELP`, `# TYPE`, then a line for each sample.

use std::fmt::Write;

use super::{
    facts::Facts,
    metrics::{Metric, PREFIX, Read},
};

/// The format's media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All samples of these metrics. One that nothing is known of yet has its `# HELP` and `# TYPE` alone.
pub fn text(metrics: &[Metric], facts: &Facts) -> String {
    let mut out = String::new();
    for metric in metrics {
        let (name, kind) = (metric.name, metric.kind());
        let help = metric.help.replace('\\', r"\\").replace('\n', r"\n");
        line(&mut out, format_args!("# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}"));
        let mut samples = Samples { out: &mut out, name, labels: metric.labels() };
        match metric.read {
            Read::Count(counter) => {
                let counts = facts.node.as_ref().map(|facts| counter(&facts.node.stats).get() as f64);
                samples.maybe(counts);
            }
            Read::Process(_, read) => samples.maybe(read(facts)),
            Read::Node(_, read) => samples.maybe(facts.node.as_ref().map(read)),
            Read::Labelled(_, _, read) => read(facts, &mut samples),
        }
    }
    out
}

/// Takes the samples of one metric.
pub struct Samples<'a> {
    out: &'a mut String,
    name: &'a str,
    labels: &'a [&'a str],
}

impl Samples<'_> {
    fn maybe(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.put(&[], value);
        }
    }

    /// Adds a sample: a value for each label of the metric, in their order, and the number.
    pub fn put(&mut self, labels: &[&str], value: f64) {
        debug_assert_eq!(labels.len(), self.labels.len(), "{}", self.name);
        let mut pairs = String::new();
        for (label, text) in self.labels.iter().zip(labels) {
            let comma = if pairs.is_empty() { "" } else { "," };
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            // Writing to a string cannot fail.
            let _ = write!(pairs, "{comma}{label}=\"{text}\"");
        }
        let name = self.name;
        match pairs.as_str() {
            "" => line(self.out, format_args!("{PREFIX}{name} {value}")),
            pairs => line(self.out, format_args!("{PREFIX}{name}{{{pairs}}} {value}")),
        }
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

/// The reference of these metrics, in Markdown: `docs/metrics.md`.
pub fn reference(metrics: &[Metric]) -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         Made from the declarations in `src/ops/metrics.rs`. Each node serves these in the text format of Prometheus at\n\
         `http://HOST:ADMIN_PORT/metrics`. The admin port is 2000 above the client port unless `--admin-port` says\n\
         otherwise. Counters begin at zero when the node starts and at `CONFIG RESETSTAT`. Of a node that waits to join\n\
         its cluster only the metrics of its process are known.\n\n\
         | metric | type | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for metric in metrics {
        let labels: Vec<String> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (metric.name, metric.kind(), labels.join(", "));
        line(&mut out, format_args!("| `{PREFIX}{name}` | {kind} | {labels} | {} |", metric.help));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::metrics::Kind;

    const METRICS: [Metric; 3] = [
        Metric {
            name: "test_uptime_seconds",
            help: "With a \\ and a\nline break.",
            read: Read::Process(Kind::Gauge, |facts| Some(facts.uptime)),
        },
        Metric {
            name: "test_info",
            help: "Text.",
            read: Read::Labelled(Kind::Gauge, &["zone", "rack"], |_, samples| {
                samples.put(&["a\"b\\c\nd", ""], 1.0);
                samples.put(&["e", "f"], 12_345_678_901.0);
            }),
        },
        Metric { name: "test_hits_total", help: "Hits.", read: Read::Count(|stats| &stats.hits) },
    ];

    #[test]
    fn texts_are_escaped_and_unknown_metrics_have_no_sample() {
        let facts = Facts { uptime: 0.5, process: Default::default(), node: None };
        let expected = r#"# HELP ringfort_test_uptime_seconds With a \\ and a\nline break.
# TYPE ringfort_test_uptime_seconds gauge
ringfort_test_uptime_seconds 0.5
# HELP ringfort_test_info Text.
# TYPE ringfort_test_info gauge
ringfort_test_info{zone="a\"b\\c\nd",rack=""} 1
ringfort_test_info{zone="e",rack="f"} 12345678901
# HELP ringfort_test_hits_total Hits.
# TYPE ringfort_test_hits_total counter
"#;
        assert_eq!(text(&METRICS, &facts), expected);
    }

    #[test]
    fn the_reference_has_a_row_for_each_metric() {
        let reference = reference(&METRICS[1..]);
        let rows: Vec<&str> = reference.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(
            rows,
            [
                "| `ringfort_test_info` | gauge | `zone`, `rack` | Text. |",
                "| `ringfort_test_hits_total` | counter |  | Hits. |"
            ]
        );
    }
}
