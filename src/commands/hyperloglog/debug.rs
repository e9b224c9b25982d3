//! PFDEBUG and PFSELFTEST: a look at the registers.

use std::fmt::Write;

use ringfort_protocol::Args;

use super::{
    PFADD, dense,
    estimate::Histogram,
    hash::{self, REGISTERS},
    sparse, value,
    value::Sketch,
};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run, parse::is},
    store::{Edit, Form},
};

pub(super) const PFDEBUG: Command = Command {
    name: "pfdebug",
    summary: "Shows how a HyperLogLog is kept",
    complexity: "N/A",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::ADMIN),
    keys: &[KeySpec::at(2, KeyFlags::RW.and(KeyFlags::ACCESS))],
    run: Run::Data(debug),
    ..PFADD
};

fn debug(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let mut edit = cx.db.edit(cx.keys[0]);
    let sketch =
        Sketch::of(edit.value())?.ok_or(CommandError::other("ERR The specified key does not exist"))?;
    match args.at(1) {
        name if is(name, "getreg") => {
            let mut registers = [0; REGISTERS];
            sketch.merge_into(&mut registers)?;
            cx.out.array(REGISTERS);
            registers.iter().for_each(|rank| cx.out.int((*rank).into()));
            to_dense(&mut edit)
        }
        name if is(name, "decode") => {
            let Sketch::Sparse(bytes) = sketch else {
                return Err(CommandError::other("ERR HLL encoding is not sparse"));
            };
            cx.out.bulk(described(bytes).as_bytes());
            Ok(Done::Read)
        }
        name if is(name, "encoding") => {
            cx.out.simple(if matches!(sketch, Sketch::Dense(_)) { "dense" } else { "sparse" });
            Ok(Done::Read)
        }
        name if is(name, "todense") => {
            let done = to_dense(&mut edit)?;
            cx.out.flag(done == Done::Logged);
            Ok(done)
        }
        name => {
            let name = String::from_utf8_lossy(name);
            Err(CommandError::made(format!("ERR Unknown PFDEBUG subcommand '{name}'")))
        }
    }
}

/// Makes a sparse sketch a dense one.
fn to_dense(edit: &mut Edit<'_, '_>) -> Result<Done, CommandError> {
    let Some(Sketch::Sparse(bytes)) = Sketch::of(edit.value())? else {
        return Ok(Done::Unchanged);
    };
    let dense = sparse::to_dense(bytes)?;
    edit.put(Form::Str, &[&dense], edit.deadline());
    edit.log(&[b"PFDEBUG", b"TODENSE", edit.key().bytes]);
    Ok(Done::Logged)
}

/// The runs of a sparse sketch as text: `z` and `Z` for zeros in one and in two bytes, `v` for others.
fn described(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in sparse::runs(bytes) {
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = match (run.rank, run.size) {
            (0, 1) => write!(text, "{space}z:{}", run.len),
            (0, _) => write!(text, "{space}Z:{}", run.len),
            (rank, _) => write!(text, "{space}v:{rank},{}", run.len),
        };
    }
    text
}

/// Redis shows ten million random elements to its sketches, for seconds; here it is a number that holds nobody up.
const ELEMENTS: u32 = 20_000;

/// A sketch is sparse at least up to so many elements.
const SPARSE: u32 = 100;

pub(super) const PFSELFTEST: Command = Command {
    name: "pfselftest",
    summary: "Tests whether both forms of a HyperLogLog tell the same, and about the truth",
    complexity: "N/A",
    arity: 1,
    flags: Flags::ADMIN,
    keys: &[],
    run: Run::Session(|cx, _| {
        self_test()?;
        cx.out.ok();
        Ok(())
    }),
    ..PFADD
};

/// Shows the same elements to a dense and to a sparse sketch, and compares what they tell at 1, 10, 100….
fn self_test() -> Result<(), CommandError> {
    let mut all = sparse::to_dense(&value::empty())?;
    let mut few = value::empty();
    let mut check_at = 1;
    for element in 1..=ELEMENTS {
        let (index, rank) = hash::place(&element.to_le_bytes());
        super::raise(&mut all, index, rank, 0)?;
        super::raise(&mut few, index, rank, 3_000)?;
        if element != check_at {
            continue;
        }
        check_at *= 10;
        if element <= SPARSE && value::is_dense(&few) {
            return Err(CommandError::other("ERR TESTFAILED sparse encoding not used"));
        }
        let told = Histogram::of(dense::iter(&all)).cardinality();
        let mut registers = [0; REGISTERS];
        let sketch = if value::is_dense(&few) { Sketch::Dense(&few) } else { Sketch::Sparse(&few) };
        sketch.merge_into(&mut registers)?;
        if sketch.cardinality()? != told || !registers.into_iter().eq(dense::iter(&all)) {
            return Err(CommandError::other("ERR TESTFAILED dense/sparse disagree"));
        }
        // Six times the standard error.
        let most = (f64::from(element) * 6.0 * 1.04 / (REGISTERS as f64).sqrt()).ceil();
        let error = told.abs_diff(element.into());
        if error as f64 > most {
            let text = format!("ERR TESTFAILED Too big error. card:{element} abserr:{error}");
            return Err(CommandError::made(text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_self_test_passes() {
        assert_eq!(super::self_test(), Ok(()));
    }
}
