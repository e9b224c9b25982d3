//! The modules of `src/` name only what lies below them.
//!
//! [`LAYERS`] draws the house from the bottom up. A module may name any of a lower layer, and none of its own or of a
//! higher one; where it must tell a higher one something, it returns a value or takes a trait. What is compiled for unit
//! tests only may name anything. The crates `protocol` and `cluster` need no test: they cannot name what they do not
//! depend on.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// From the bottom up.
const LAYERS: &[&[&str]] = &[
    &["lock"],
    // The machine, and what every thread may write to: anybody may name these.
    &["env", "log", "loops", "signal", "stats", "stopping", "tasks"],
    // Keys and values. It knows no socket, no task and no clock.
    &["store"],
    &["clients", "commandlog", "dump", "latency", "stopwatch", "tally"],
    &["config"],
    &["bus", "memory"],
    // What all threads share.
    &["node"],
    // What a command does.
    &["commands"],
    // Where it is done, and how copies follow.
    &["replication", "routing"],
    &["session"],
    &["control"],
    &["net"],
    // What is seen from outside.
    &["ops"],
    // What starts all of it.
    &["server"],
    &["cli"],
];

/// Files that are compiled for unit tests and fuzzing only.
const FOR_TESTS: &[&str] = &["commands/bench.rs", "fuzzing.rs", "node/testing.rs"];

/// Where the tests in a file begin.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

fn height(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All Rust files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the directory can be read");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The modules that a text names by `crate::`, alone or in braces.
fn named(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.replace(char::is_whitespace, "");
    let mut found = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            None => found.insert(first_word(rest)),
            Some(list) => {
                let mut depth = 1;
                let mut begins = true;
                for (at, c) in list.char_indices() {
                    if begins && c != '}' {
                        found.insert(first_word(&list[at..]));
                    }
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                    begins = depth == 1 && c == ',';
                }
                true
            }
        };
    }
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn what_is_named_is_found_in_every_form_of_use() {
    let text = "use crate::{\n    a::{B, c::D}, // crate::no\n    e,\n    f::G,\n};\nfn x() -> crate::h::I { crate::j() }";
    assert_eq!(named(text), ["a", "e", "f", "h", "j"].map(String::from).into());
}

#[test]
fn nothing_names_what_lies_above_it() {
    let mut upward = Vec::new();
    for path in files(&source()) {
        let name = path.strip_prefix(source()).expect("a file in src").to_string_lossy().into_owned();
        let module = name.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if ["main", "lib"].contains(&module) || name.ends_with("/tests.rs") || FOR_TESTS.contains(&&*name) {
            continue;
        }
        let own = height(module).unwrap_or_else(|| panic!("src/{name}: give {module} a place in LAYERS"));
        let text = fs::read_to_string(&path).expect("the file can be read");
        let code = text.split(TESTS).next().unwrap_or_default();
        for other in named(code).iter().filter(|other| *other != module) {
            let of_other =
                height(other).unwrap_or_else(|| panic!("src/{name}: give {other} a place in LAYERS"));
            if of_other >= own {
                upward.push(format!("src/{name} names {other}"));
            }
        }
    }
    assert!(upward.is_empty(), "arrows that do not point down:\n{}", upward.join("\n"));
}
