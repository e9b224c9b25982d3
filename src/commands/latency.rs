//! LATENCY: what held this node's event loops up, and how long commands take.

use std::fmt::Write;

use hdrhistogram::Histogram;
use ringfort_protocol::Args;

use super::{
    Command, CommandError, Flags, Group, QUOTED, Reply, at_most, help, parse, server::ADMIN,
    session::SessionCx,
};
use crate::{
    config::Settings,
    latency::{Event, Sample, Spikes},
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[LATENCY];

const LATENCY: Command = Command {
    name: "latency",
    summary: "Commands about what takes long",
    group: Group::Server,
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[
        SUB.named(
            "doctor",
            "2.8.13",
            2,
            doctor,
            "Tells in words what takes long, and what may be done about it",
        ),
        SUB.named("graph", "2.8.13", 3, graph, "Draws when an event took long, and how long"),
        Command {
            complexity: "O(N) where N is the number of commands with latency information being retrieved.",
            ..SUB.named("histogram", "7.0.0", -2, histogram, "Tells how often commands took how long")
        },
        SUB.named("history", "2.8.13", 3, history, "Tells when an event took long, and how long"),
        SUB.named("latest", "2.8.13", 2, latest, "Tells of each event how long it last took, and at most"),
        SUB.named("reset", "2.8.13", -2, reset, "Forgets that events took long"),
        help::help(Group::Server, "2.8.13", |cx, _| {
            help::write(cx, "LATENCY", HELP);
            Ok(())
        }),
    ],
    ..Command::BASE
};

/// What its subcommands share.
const SUB: Command = Command { group: Group::Server, flags: ADMIN.and(Flags::NOSCRIPT), ..Command::BASE };

const HELP: &[&str] = &[
    "DOCTOR",
    "    Tell in words what takes long, and what may be done about it.",
    "GRAPH <event>",
    "    Draw when <event> took long: command, fast-command, expire-cycle, eviction-cycle.",
    "HISTORY <event>",
    "    Tell each second, in Unix time, in which <event> took long, with the most milliseconds.",
    "LATEST",
    "    Tell of each event when it last took long, how many milliseconds then, and how many at most.",
    "RESET [<event> ...]",
    "    Forget what is known of each <event> (default: of all).",
    "HISTOGRAM [<command> ...]",
    "    Tell how often each <command> (default: all) has run since latency-tracking is on, and how often in",
    "    at most so many microseconds.",
];

/// The event of a name, to the letter, as in Redis.
fn event(name: &[u8]) -> Option<Event> {
    Event::NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, event)| *event)
}

/// All events that took long, by name.
fn seen<'a>(cx: &SessionCx<'a>) -> impl Iterator<Item = (&'static str, Event, Spikes)> + use<'a> {
    let latency = &cx.node.latency;
    let all = Event::NAMES.into_iter().map(|(name, event)| (name, event, latency.spikes(event)));
    all.filter(|(.., spikes)| !spikes.samples.is_empty())
}

fn latest(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let seen: Vec<_> = seen(cx).collect();
    cx.out.array(seen.len());
    for (name, _, spikes) in seen {
        let Some(last) = spikes.samples.back() else { continue };
        cx.out.array(4);
        cx.out.bulk(name.as_bytes());
        [last.time, last.millis, spikes.worst].iter().for_each(|number| cx.out.int(*number as i64));
    }
    Ok(())
}

fn history(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let spikes = event(args.at(2)).map(|event| cx.node.latency.spikes(event)).unwrap_or_default();
    cx.out.array(spikes.samples.len());
    for Sample { time, millis } in spikes.samples {
        cx.out.array(2);
        cx.out.int(time as i64);
        cx.out.int(millis as i64);
    }
    Ok(())
}

fn reset(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let is_named = |name: &str| args.len() == 2 || args.iter().skip(2).any(|arg| parse::is(arg, name));
    let named = Event::NAMES.into_iter().filter(|(name, _)| is_named(name));
    cx.out.count(named.filter(|(_, event)| cx.node.latency.forget(*event)).count());
    Ok(())
}

/// The least upper bound of a histogram's first step, in nanoseconds; each further step is twice as wide.
const FIRST_STEP: u64 = 1_024;

fn histogram(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let histograms = cx.node.latency.histograms();
    let mut told = Vec::new();
    if args.len() == 2 {
        told.extend(histograms.iter());
    }
    for arg in args.iter().skip(2) {
        let command = arg.to_ascii_lowercase();
        // A command by itself, or all that a container has.
        let is_asked = |name: &str| match name.as_bytes().strip_prefix(&command[..]) {
            Some(rest) => rest.is_empty() || rest.starts_with(b"|"),
            None => false,
        };
        told.extend(histograms.iter().filter(|(name, _)| is_asked(name)));
    }
    cx.out.map(told.len());
    for (name, histogram) in told {
        cx.out.bulk(name.as_bytes());
        cx.out.map(2);
        cx.out.bulk(b"calls");
        cx.out.int(histogram.len() as i64);
        cx.out.bulk(b"histogram_usec");
        cx.out.map_of(|out| write_steps(out, histogram));
    }
    Ok(())
}

/// Writes, for each step that has any, how many calls took no longer. Returns how many pairs.
fn write_steps(out: &mut Reply, histogram: &Histogram<u64>) -> usize {
    let (mut pairs, mut before, mut step) = (0, 0, FIRST_STEP);
    while before < histogram.len() {
        let calls = histogram.count_between(0, step - 1);
        if calls > before {
            out.int(((step - 1) / 1_000) as i64);
            out.int(calls as i64);
            pairs += 1;
        }
        (before, step) = (calls, step * 2);
    }
    pairs
}

fn graph(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let found = seen(cx).find(|(name, ..)| name.as_bytes() == args.at(2));
    let Some((name, _, spikes)) = found else {
        let name = at_most(args.at(2), QUOTED);
        return Err(CommandError::quoting("ERR No samples available for event '", name, "'"));
    };
    cx.out.text(&drawn(name, &spikes, cx.now.wall / 1_000));
    Ok(())
}

/// How wide a graph is, how high, and what stands for a third, two thirds and all of a row.
const WIDTH: usize = 80;
const ROWS: u64 = 4;
const MARKS: [char; 3] = ['_', 'o', '#'];

/// The graph of an event: above the line the extremes, below it a column for each second, with its age underneath.
fn drawn(name: &str, spikes: &Spikes, now: u64) -> String {
    let millis = || spikes.samples.iter().map(|sample| sample.millis);
    let (high, low) = (millis().max().unwrap_or(0), millis().min().unwrap_or(0));
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", spikes.worst);
    text += &"-".repeat(WIDTH);
    text.push('\n');
    let samples: Vec<Sample> = spikes.samples.iter().copied().collect();
    for (index, part) in samples.chunks(WIDTH).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        draw_part(&mut text, part, low, high, now);
    }
    text
}

fn draw_part(text: &mut String, samples: &[Sample], low: u64, high: u64, now: u64) {
    let marks = MARKS.len() as u64;
    let steps = marks * ROWS;
    let step = |sample: &Sample| ((sample.millis - low) * steps / (high - low).max(1)).min(steps - 1);
    for row in (0..ROWS).rev() {
        text.extend(samples.iter().map(|sample| match step(sample).checked_sub(row * marks) {
            None => ' ',
            Some(above) => MARKS.get(above as usize).copied().unwrap_or('|'),
        }));
        text.push('\n');
    }
    // A line between, and the ages from top to bottom.
    let ages: Vec<Vec<char>> =
        samples.iter().map(|sample| age(now.saturating_sub(sample.time)).chars().collect()).collect();
    let longest = ages.iter().map(Vec::len).max().unwrap_or(0);
    for line in std::iter::once(None).chain((0..longest).map(Some)) {
        let letter = |age: &Vec<char>| line.and_then(|line| age.get(line).copied()).unwrap_or(' ');
        text.extend(ages.iter().map(letter));
        text.push('\n');
    }
}

/// So many seconds in the largest unit of which there is one.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn doctor(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let settings = cx.node.config.load();
    let seen: Vec<_> = seen(cx).collect();
    let text = if !seen.is_empty() {
        report(&seen, &settings, cx.now.wall / 1_000)
    } else if settings.latency_monitor_threshold == 0 {
        "What takes long is not watched for: CONFIG SET latency-monitor-threshold <milliseconds> has it watched.\n"
            .to_owned()
    } else {
        "Nothing took long.\n".to_owned()
    };
    cx.out.text(&text);
    Ok(())
}

fn report(seen: &[(&'static str, Event, Spikes)], settings: &Settings, now: u64) -> String {
    let mut text = String::from("These took long on this node:\n\n");
    for (number, (name, _, Spikes { samples, worst })) in (1..).zip(seen) {
        let count = samples.len() as u64;
        let mean = samples.iter().map(|sample| sample.millis).sum::<u64>() / count;
        let off = samples.iter().map(|sample| sample.millis.abs_diff(mean)).sum::<u64>() / count;
        let since = samples.iter().map(|sample| now.saturating_sub(sample.time)).max().unwrap_or(0).max(1);
        let every = since as f64 / count as f64;
        let _ = writeln!(
            text,
            "{number}. {name}: {count} latency spikes (average {mean}ms, mean deviation {off}ms, period {every:.2} sec). \
             Worst all time event {worst}ms."
        );
    }
    text.push_str("\nWhat may be done:\n\n");
    for (_, event, _) in seen {
        let _ = match event {
            Event::Command => write!(text, "{}", on_commands(settings)),
            Event::FastCommand => writeln!(
                text,
                "- A fast command waits for nothing but the CPU, or for a shard that a slow command has locked: see \
                 whether the machine is busy or swaps, and COMMANDLOG GET 10 slow."
            ),
            Event::ExpireCycle => {
                writeln!(text, "- Many keys, or large ones, end at the same time: spread their deadlines.")
            }
            Event::EvictionCycle => writeln!(
                text,
                "- Memory is at its limit and many keys, or large ones, are given up at once: raise maxmemory, or \
                 add a node."
            ),
        };
    }
    text
}

/// What is said of slow commands: whether the log shows them as it is set up.
fn on_commands(settings: &Settings) -> String {
    let wanted = settings.latency_monitor_threshold.saturating_mul(1_000);
    let from = settings.commandlog_execution_slower_than;
    let shows = u64::try_from(from).is_ok_and(|from| from <= wanted)
        && settings.commandlog_slow_execution_max_len > 0;
    let set_up = if shows || wanted == 0 {
        String::new()
    } else {
        format!(", which shows them after CONFIG SET commandlog-execution-slower-than {wanted}")
    };
    format!("- Some commands are slow: see COMMANDLOG GET 10 slow{set_up}.\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clients::Door,
        node::testing::{Asker, node},
    };

    /// The time at which all clients of a test ask.
    const NOW: u64 = 1_700_000_000;

    #[test]
    fn events_are_told_in_all_forms_and_forgotten_by_name() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("LATENCY LATEST"), "*0 ");
        for (event, millis, ago) in
            [(Event::Command, 20, 9), (Event::Command, 5, 1), (Event::ExpireCycle, 3, 2)]
        {
            node.latency.note(event, millis, NOW - ago);
        }
        assert_eq!(
            asker.run("LATENCY LATEST"),
            "*2 *4 $7 command :1699999999 :5 :20 *4 $12 expire-cycle :1699999998 :3 :3 "
        );
        assert_eq!(asker.run("LATENCY HISTORY command"), "*2 *2 :1699999991 :20 *2 :1699999999 :5 ");
        assert_eq!(asker.run("LATENCY HISTORY COMMAND"), "*0 ");
        assert_eq!(asker.run("LATENCY RESET COMMAND nosuch command"), ":1 ");
        assert_eq!(asker.run("LATENCY RESET"), ":1 ");
        assert_eq!(asker.run("LATENCY GRAPH command"), "-ERR No samples available for event 'command' ");
    }

    /// As redis-server draws these.
    #[test]
    fn a_graph_has_a_column_for_each_second_and_its_age_below() {
        let sample = |(millis, ago)| Sample { time: NOW - ago, millis };
        let samples = [(3, 7_300), (20, 150), (15, 10), (3, 0)].map(sample);
        let spikes = Spikes { samples: samples.into(), worst: 21 };
        let lines = [
            "command - high 20 ms, low 3 ms (all time high 21 ms)",
            &"-".repeat(80),
            " #  ",
            " |# ",
            " || ",
            "_||_",
            "    ",
            "2210",
            "hm0s",
            "  s ",
        ];
        assert_eq!(drawn("command", &spikes, NOW), lines.join("\n") + "\n");
        let flat = Spikes { samples: vec![sample((3, 1)); WIDTH + 1].into(), worst: 3 };
        let text = drawn("command", &flat, NOW);
        assert!(text.contains(&"_".repeat(WIDTH)) && text.ends_with("\n\n \n \n \n_\n \n1\ns\n"), "{text}");
    }

    #[test]
    fn histograms_count_in_steps_that_double() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("LATENCY HISTOGRAM"), "*0 ");
        let counted = [
            ("get", 500),
            ("get", 3_007),
            ("get", 3_900),
            ("get", 40_000),
            ("config|get", 1),
            ("config|set", 1),
        ];
        node.latency.count(counted.into_iter());
        let get = "$3 get *4 $5 calls :4 $14 histogram_usec *6 :1 :1 :4 :3 :65 :4 ";
        let set = "$10 config|set *4 $5 calls :1 $14 histogram_usec *2 :1 :1 ";
        assert_eq!(asker.run("LATENCY HISTOGRAM GET nosuch"), format!("*2 {get}"));
        assert_eq!(asker.run("LATENCY HISTOGRAM config|set"), format!("*2 {set}"));
        let all = asker.run("LATENCY HISTOGRAM get config");
        assert!(all.starts_with(&format!("*6 {get}$10 config|get ")) && all.ends_with(set), "{all}");
        asker.run("HELLO 3");
        assert!(
            asker
                .run("LATENCY HISTOGRAM")
                .starts_with("%3 $10 config|get %2 $5 calls :1 $14 histogram_usec %1 ")
        );
    }

    #[test]
    fn the_doctor_says_what_took_long_and_what_may_be_done() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert!(asker.run("LATENCY DOCTOR").contains("CONFIG SET latency-monitor-threshold <milliseconds>"));
        node.config.change(&[("latency-monitor-threshold", "2")]).unwrap();
        assert_eq!(asker.run("LATENCY DOCTOR"), "$19 Nothing took long.\n ");
        for (millis, ago) in [(3, 2), (20, 1), (15, 0)] {
            node.latency.note(Event::Command, millis, NOW - ago);
        }
        node.latency.note(Event::EvictionCycle, 7, NOW);
        let text = asker.run("LATENCY DOCTOR");
        let told = "1. command: 3 latency spikes (average 12ms, mean deviation 6ms, period 0.67 sec). \
                    Worst all time event 20ms.\n2. eviction-cycle: 1 latency spikes (average 7ms,";
        assert!(text.contains(told) && text.contains("raise maxmemory"), "{text}");
        assert!(text.contains("after CONFIG SET commandlog-execution-slower-than 2000.\n"), "{text}");
        node.config.change(&[("slowlog-log-slower-than", "0")]).unwrap();
        assert!(asker.run("LATENCY DOCTOR").contains("see COMMANDLOG GET 10 slow.\n"));
    }
}
