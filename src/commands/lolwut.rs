//! LOLWUT: a small picture, and the version.

use std::fmt::Write;

use super::{Command, Flags, Group, Run, parse::integer};

/// The family.
pub(super) const COMMANDS: &[Command] = &[LOLWUT];

const LOLWUT: Command = Command {
    name: "lolwut",
    summary: "Draws the ring, with a tower for each node, and tells the version",
    group: Group::Server,
    since: "5.0.0",
    arity: -1,
    flags: Flags::READONLY.and(Flags::FAST),
    run: Run::Session(|cx, args| {
        if args.get(1).is_some_and(|word| super::parse::is(word, "version")) && args.len() > 2 {
            integer(args.at(2))?;
        }
        let mut text = picture(cx.node.topology.load().nodes.len());
        let _ = writeln!(text, "Ringfort ver. {}", env!("CARGO_PKG_VERSION"));
        cx.out.text(&text);
        Ok(())
    }),
    ..Command::BASE
};

/// Half the width of the ring, half its height, and how many towers can be told apart in it.
const WIDTH: f64 = 22.0;
const HEIGHT: f64 = 6.0;
const MOST: usize = 24;

/// A ring of walls with towers at equal distances.
fn picture(towers: usize) -> String {
    let (columns, rows) = (2 * WIDTH as usize + 1, 2 * HEIGHT as usize + 1);
    let mut cells = vec![vec![b' '; columns]; rows];
    let mut draw = |turns: f64, mark: u8| {
        let (sine, cosine) = (turns * std::f64::consts::TAU).sin_cos();
        let (column, row) = ((WIDTH + WIDTH * sine).round(), (HEIGHT - HEIGHT * cosine).round());
        cells[row as usize][column as usize] = mark;
    };
    (0..256).for_each(|step| draw(f64::from(step) / 256.0, b'.'));
    let towers = towers.clamp(1, MOST);
    (0..towers).for_each(|tower| draw(tower as f64 / towers as f64, b'#'));
    cells.iter().fold(String::new(), |text, row| text + String::from_utf8_lossy(row).trim_end() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_tower_for_each_node() {
        for (nodes, towers) in [(0, 1), (1, 1), (3, 3), (24, 24), (1_000, MOST)] {
            let picture = picture(nodes);
            assert_eq!(picture.matches('#').count(), towers, "{picture}");
            assert!(picture.lines().all(|line| line.len() <= 2 * WIDTH as usize + 1));
        }
    }
}
