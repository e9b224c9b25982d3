//! Commands on streams (keys `m`), with groups `g` and `h` and consumers `ann`, `bob` and `cid`.
//!
//! Ids are small numbers, so that commands meet each other's entries; what the server chooses by its clock is left out.
//! Times since something happened are asked for where none is old enough to matter.

use super::{Command, Compare, Generator};

impl Generator {
    pub(super) fn stream(&mut self) -> Command {
        let key = self.key('m');
        match self.rng.usize(..40) {
            0..10 => self.xadd(key),
            10 => Command::new("XLEN").arg(key),
            11..13 => {
                let (start, end) = (self.id_bound(), self.id_bound());
                let (name, start, end) = if self.chance(2) {
                    ("XREVRANGE", self.one(&["+", "+", "5"]).to_owned(), start)
                } else {
                    ("XRANGE", start, end)
                };
                Command::new(name)
                    .arg(key)
                    .arg(start)
                    .arg(end)
                    .option(self.one(&["", "", "COUNT 3", "COUNT 0"]))
            }
            13..15 => {
                let ids = self.ids();
                Command::new("XDEL").arg(key).args(ids)
            }
            15 => {
                let command = Command::new("XTRIM").arg(key);
                self.trimming(command)
            }
            16 if self.chance(2) => {
                let command = Command::new("XSETID").arg(key).arg(self.id());
                command.option(self.one(&[
                    "",
                    "ENTRIESADDED 900",
                    "ENTRIESADDED 900 MAXDELETEDID 3-0",
                    "MAXDELETEDID 1-0",
                ]))
            }
            16 => Command::new("DEL").arg(key),
            17..19 => {
                let keys = self.keys('m');
                let ids: Vec<String> = keys.iter().map(|_| self.id()).collect();
                let command =
                    Command::new("XREAD").option(self.one(&["", "COUNT 2", "COUNT 100"])).arg("STREAMS");
                command.args(keys).args(ids)
            }
            19..22 => self.xgroup(key),
            22..27 => {
                let command = Command::new("XREADGROUP").arg("GROUP").arg(self.group()).arg(self.consumer());
                let command =
                    command.option(self.one(&["", "", "COUNT 1", "COUNT 5", "NOACK"])).arg("STREAMS");
                if self.chance(6) {
                    let (other, id) = (self.key('m'), self.id());
                    return command.arg(key).arg(other).arg(">").arg(id);
                }
                let id = if self.chance(3) { self.id() } else { ">".into() };
                command.arg(key).arg(id)
            }
            27 | 28 => {
                let (group, ids) = (self.group(), self.ids());
                Command::new("XACK").arg(key).arg(group).args(ids)
            }
            29 => Command::new("XPENDING").arg(key).arg(self.group()),
            30 => {
                let command = Command::new("XPENDING").arg(key).arg(self.group());
                let command = command.option(self.one(&["", "", "IDLE 1000000000"]));
                let (start, end) = (self.id_bound(), self.id_bound());
                let command = command.arg(start).arg(end).number(self.rng.i64(-1..20));
                command.option(self.one(&["", "ann", "bob", "none"])).timed()
            }
            31..33 => {
                let command = Command::new("XCLAIM").arg(key).arg(self.group()).arg(self.consumer());
                let command = command.arg(self.one(&["0", "0", "1000000000"])).args(self.ids());
                let command = command.option(self.one(&["", "", "FORCE", "JUSTID", "FORCE JUSTID"]));
                let command =
                    command.option(self.one(&["", "", "IDLE 2000000000", "TIME 12345", "RETRYCOUNT 4"]));
                command.option(self.one(&["", "", "", "LASTID 4-0"]))
            }
            33 | 34 => {
                let command = Command::new("XAUTOCLAIM").arg(key).arg(self.group()).arg(self.consumer());
                let command = command.arg(self.one(&["0", "0", "1000000000"])).arg(self.id_bound());
                command.option(self.one(&["", "COUNT 1", "COUNT 2 JUSTID", "JUSTID"]))
            }
            35 => Command::new("XINFO GROUPS").arg(key),
            36 => Command::new("XINFO CONSUMERS").arg(key).arg(self.group()).timed(),
            37 => {
                let option = self.one(&["", "", "FULL", "FULL COUNT 0", "FULL COUNT 3"]);
                Command::new("XINFO STREAM").arg(key).option(option).timed()
            }
            38 => Command::new(self.one(&["COPY", "RENAME"])).arg(key).arg(self.key('m')),
            _ => Command::new(self.one(&["TYPE", "OBJECT ENCODING"])).arg(key),
        }
    }

    fn xadd(&mut self, key: String) -> Command {
        let mut command = Command::new("XADD").arg(key).option(self.one(&["", "", "", "", "NOMKSTREAM"]));
        if self.chance(8) {
            command = self.trimming(command);
        }
        // Mostly a time that goes up as the episode does, so that entries are taken.
        let id = match self.rng.usize(..6) {
            0 => self.id(),
            1 => format!("{}-{}", self.time, self.rng.u64(..3)),
            _ => {
                self.time += self.rng.u64(..2);
                format!("{}-*", self.time)
            }
        };
        command = command.arg(id);
        match self.rng.usize(..5) {
            0 => {
                for member in self.members() {
                    command = command.arg(member).arg(self.value());
                }
                command
            }
            // Few of these fill a block.
            1 | 2 => command.arg("name").arg("block ".repeat(self.rng.usize(100..400))),
            _ => command.arg("name").arg(self.value()).arg("other").arg(self.value()),
        }
    }

    fn trimming(&mut self, command: Command) -> Command {
        let command = if self.chance(3) {
            let command = command.arg("MINID").option(self.one(&["", "=", "~"]));
            command.arg(self.id())
        } else {
            let command = command.arg("MAXLEN").option(self.one(&["", "=", "~", "~"]));
            command.number(self.rng.usize(..20))
        };
        command.option(self.one(&["", "", "", "LIMIT 0", "LIMIT 4", "LIMIT 200"]))
    }

    fn xgroup(&mut self, key: String) -> Command {
        let (group, consumer) = (self.group(), self.consumer());
        match self.rng.usize(..8) {
            0..4 => {
                let command = Command::new("XGROUP CREATE").arg(key).arg(group);
                let id = if self.chance(3) { "$".into() } else { self.id() };
                command.arg(id).option(self.one(&[
                    "",
                    "MKSTREAM",
                    "MKSTREAM",
                    "ENTRIESREAD 3",
                    "ENTRIESREAD -1",
                ]))
            }
            4 => {
                let id = if self.chance(3) { "$".into() } else { self.id() };
                let command = Command::new("XGROUP SETID").arg(key).arg(group).arg(id);
                command.option(self.one(&["", "", "ENTRIESREAD 5"]))
            }
            5 if self.chance(4) => Command::new("XGROUP DESTROY").arg(key).arg(group),
            6 => Command::new("XGROUP DELCONSUMER").arg(key).arg(group).arg(consumer),
            _ => Command::new("XGROUP CREATECONSUMER").arg(key).arg(group).arg(consumer),
        }
    }

    fn group(&mut self) -> String {
        self.one(&["g", "g", "g", "h", "none"]).into()
    }

    fn consumer(&mut self) -> String {
        self.one(&["ann", "ann", "bob", "cid"]).into()
    }

    fn id(&mut self) -> String {
        let ms = (self.time + 1).saturating_sub(self.rng.u64(..25));
        match self.rng.usize(..6) {
            0 => ms.to_string(),
            1 => self.one(&["0", "0-0", "18446744073709551615-18446744073709551615", "x", "007-01"]).into(),
            _ => format!("{ms}-{}", self.rng.u64(..3)),
        }
    }

    fn id_bound(&mut self) -> String {
        match self.rng.usize(..6) {
            0 => "-".into(),
            1 | 2 => "+".into(),
            3 => format!("({}", self.id()),
            _ => self.id(),
        }
    }

    fn ids(&mut self) -> Vec<String> {
        (0..self.rng.usize(1..5)).map(|_| self.id()).collect()
    }
}

impl Command {
    fn timed(mut self) -> Self {
        self.compare = Compare::Timed;
        self
    }
}
