//! A command as COMMAND INFO and COMMAND DOCS print it.

use super::{
    super::{Begin, Command, Find, Flags, KeySpec, Reply},
    Named,
    facts::{replaced, tips},
};

/// Writes the ten facts of COMMAND INFO.
pub(super) fn inform(out: &mut Reply, named: Named) {
    let command = named.command;
    let full = named.full_name();
    let (first, last, step) = fixed_keys(command.keys);
    out.array(10);
    out.bulk(full.as_bytes());
    out.int(command.arity.into());
    statuses(out, flags(command));
    out.int(first);
    out.int(last);
    out.int(step);
    statuses(out, command.categories().names());
    let tips = tips(&full);
    out.set(tips.len());
    tips.iter().for_each(|tip| out.bulk(tip.as_bytes()));
    out.set(command.keys.len());
    command.keys.iter().for_each(|spec| key_spec(out, spec));
    out.set(command.subcommands.len());
    named.subcommands().for_each(|sub| inform(out, sub));
}

fn statuses(out: &mut Reply, names: impl Iterator<Item = &'static str> + Clone) {
    out.set(names.clone().count());
    names.for_each(|name| out.simple(name));
}

/// The flags in Redis' order, in which `movablekeys` is the last: it follows from the key specifications.
fn flags(command: &Command) -> impl Iterator<Item = &'static str> + Clone {
    let fixed = |spec: &KeySpec| matches!((spec.begin, spec.find), (Begin::Index(_), Find::Range { .. }));
    let movable = command.flags.has(Flags::MOVABLEKEYS) || !command.keys.iter().all(fixed);
    let others = command.flags.names().filter(|name| *name != "movablekeys");
    others.chain(movable.then_some("movablekeys"))
}

/// The first key, the last one and the distance between them, for clients that know no key specifications. Keys at
/// places that are not fixed are left out; several specifications must join without a gap.
fn fixed_keys(specs: &[KeySpec]) -> (i64, i64, i64) {
    let fixed = |spec: &KeySpec| match (spec.begin, spec.find) {
        (Begin::Index(index), Find::Range { last, step }) => {
            let (first, last) = (i64::from(index), i64::from(last));
            Some((first, if last >= 0 { first + last } else { last }, i64::from(step)))
        }
        _ => None,
    };
    let mut all = specs.iter().filter_map(fixed);
    if let ([_], Some(only)) = (specs, all.clone().next()) {
        return only;
    }
    let Some((first, mut last, step)) = all.next() else { return (0, 0, 0) };
    if step != 1 {
        return (0, 0, 0);
    }
    for (next, next_last, step) in all {
        if step != 1 || next != last + 1 {
            return (0, 0, 0);
        }
        last = next_last;
    }
    (first, last, 1)
}

fn key_spec(out: &mut Reply, spec: &KeySpec) {
    out.map(3);
    out.bulk(b"flags");
    out.set(spec.flags.names().count());
    spec.flags.names().for_each(|flag| out.simple(flag));
    out.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(index) => {
            search(out, "index", 1);
            number(out, "index", index.into());
        }
        Begin::Keyword(word, from) => {
            search(out, "keyword", 2);
            out.bulk(b"keyword");
            out.bulk(word.as_bytes());
            number(out, "startfrom", from.into());
        }
        Begin::Option(..) | Begin::InData => search(out, "unknown", 0),
    }
    out.bulk(b"find_keys");
    if is_unknown(spec) {
        return search(out, "unknown", 0);
    }
    match spec.find {
        Find::Range { last, step } => {
            search(out, "range", 3);
            number(out, "lastkey", last.into());
            number(out, "keystep", step.into());
            number(out, "limit", 0);
        }
        Find::Half => {
            search(out, "range", 3);
            number(out, "lastkey", -1);
            number(out, "keystep", 1);
            number(out, "limit", 2);
        }
        Find::Count { step } => {
            search(out, "keynum", 3);
            number(out, "keynumidx", 0);
            number(out, "firstkey", 1);
            number(out, "keystep", step.into());
        }
    }
}

/// Whether a specification's keys cannot be found by what COMMAND INFO has words for.
fn is_unknown(spec: &KeySpec) -> bool {
    matches!(spec.begin, Begin::Option(..) | Begin::InData)
}

fn search(out: &mut Reply, kind: &str, facts: usize) {
    out.map(2);
    out.bulk(b"type");
    out.bulk(kind.as_bytes());
    out.bulk(b"spec");
    out.map(facts);
}

fn number(out: &mut Reply, name: &str, value: i64) {
    out.bulk(name.as_bytes());
    out.int(value);
}

/// Writes the map of COMMAND DOCS.
pub(super) fn document(out: &mut Reply, named: Named) {
    let command = named.command;
    let replaced = replaced(&named.full_name());
    let pairs = 4 + if replaced.is_some() { 3 } else { 0 } + usize::from(!command.subcommands.is_empty());
    let pair = |out: &mut Reply, name: &str, value: &str| {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    };
    out.map(pairs);
    pair(out, "summary", command.summary);
    pair(out, "since", command.since);
    pair(out, "group", command.group.name());
    pair(out, "complexity", command.complexity);
    if let Some((since, by)) = replaced {
        out.bulk(b"doc_flags");
        statuses(out, ["deprecated"].into_iter());
        pair(out, "deprecated_since", since);
        pair(out, "replaced_by", by);
    }
    if !command.subcommands.is_empty() {
        out.bulk(b"subcommands");
        out.map(command.subcommands.len());
        for sub in named.subcommands() {
            out.bulk(sub.full_name().as_bytes());
            document(out, sub);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::KeyFlags, *};

    #[test]
    fn fixed_keys_join_without_a_gap_or_are_not_told() {
        let at = |index| KeySpec::at(index, KeyFlags::RO);
        assert_eq!(fixed_keys(&[]), (0, 0, 0));
        assert_eq!(fixed_keys(&[at(1)]), (1, 1, 1));
        assert_eq!(fixed_keys(&[KeySpec::range(1, -1, 2, KeyFlags::OW)]), (1, -1, 2));
        assert_eq!(fixed_keys(&[at(1), at(2)]), (1, 2, 1));
        assert_eq!(fixed_keys(&[at(2), KeySpec::range(3, -1, 1, KeyFlags::RO)]), (2, -1, 1));
        assert_eq!(fixed_keys(&[at(1), at(3)]), (0, 0, 0));
        let counted = KeySpec::counted(2, KeyFlags::RO);
        assert_eq!(fixed_keys(&[at(1), counted]), (1, 1, 1));
        assert_eq!(fixed_keys(&[counted]), (0, 0, 0));
    }
}
