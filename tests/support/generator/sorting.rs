//! SORT, with lists (`n`) and sets (`y`) of numbers, and weights (`w`) for its patterns. Sorted sets are left to the reply scripts: to be
//! sorted, Redis turns a small one into a skiplist for good.

use super::{Command, Generator};

impl Generator {
    pub(super) fn sort(&mut self) -> Command {
        let numbers = format!("n{}", self.rng.usize(..4));
        match self.rng.usize(..12) {
            0 | 1 => {
                let count = self.rng.usize(1..20);
                let texts: Vec<String> = (0..count).map(|_| self.number_text()).collect();
                let key = self.one(&[&numbers, "y0", "y1"]);
                Command::new(if key == numbers { "RPUSH" } else { "SADD" }).arg(key).args(texts)
            }
            2 => Command::new("LTRIM").arg(numbers).number(self.rng.i64(-40..1)).number(-1),
            3 => {
                let member = self.member();
                Command::new("SET").arg([b"w", member.as_slice()].concat()).number(self.rng.i64(-9..9))
            }
            _ => self.sorted(numbers),
        }
    }

    fn number_text(&mut self) -> String {
        match self.rng.usize(..4) {
            0 => self.decimal(),
            1 => self.one(&["0", "-0", "1.0", "01", "1e0", "+1", "inf", "0x10", " 3", ""]).into(),
            _ => self.rng.i64(-20..200).to_string(),
        }
    }

    fn sorted(&mut self, numbers: String) -> Command {
        // Where the elements lie in no order, that of equal ones is free.
        let in_order = self.rng.bool();
        let key = if !in_order { self.one(&["y0", "y1"]).into() } else { numbers };
        let stores = self.chance(4);
        let texts = in_order && self.rng.bool();
        let by = self.one(match (in_order, stores) {
            (true, _) => &["", "", "BY w*", "BY s*", "BY h*->a", "BY nosort", "BY w* BY nosort", "BY"],
            (false, true) => &["", "BY w*", "BY nosort"],
            (false, false) => &["", "BY w*", "BY s*"],
        });
        let mut command = Command::new(if stores || self.rng.bool() { "SORT" } else { "SORT_RO" }).arg(key);
        command = command.option(by).option(if texts { "ALPHA" } else { "" });
        command = command.option(self.one(&["", "", "DESC", "ASC", "asc desc"]));
        if self.chance(3) {
            command =
                command.option(self.one(&["GET w*", "GET # GET w*", "GET h*->a GET #", "GET s* GET none"]));
        }
        // A part of what is equal by a pattern is free, too.
        if !(texts && by.contains('*')) {
            command = self.limit(command);
        }
        if stores { command.arg("STORE").arg(self.one(&["x0", "x1", "n0"])) } else { command }
    }
}
