//! Commands that wait for data. They wait for a millisecond, since nobody pushes while they do.

use super::{Command, Generator};

/// In seconds.
const TIMEOUT: &str = "0.001";

impl Generator {
    pub(super) fn waiting_for_list(&mut self) -> Command {
        match self.rng.usize(..4) {
            0 => Command::new(self.one(&["BLPOP", "BRPOP"])).args(self.keys('l')).arg(TIMEOUT),
            1 => {
                let keys = self.keys('l');
                let command = Command::new("BLMPOP").arg(TIMEOUT).number(keys.len()).args(keys);
                let command = command.arg(self.one(&["LEFT", "RIGHT"]));
                command.option(self.one(&["", "COUNT 2", "COUNT 200", "COUNT 0"]))
            }
            2 => {
                let (from, to) = (self.one(&["LEFT", "RIGHT"]), self.one(&["LEFT", "RIGHT"]));
                let command = Command::new("BLMOVE").arg(self.key('l')).arg(self.key('l'));
                command.arg(from).arg(to).arg(TIMEOUT)
            }
            _ => Command::new("BRPOPLPUSH").arg(self.key('l')).arg(self.key('l')).arg(TIMEOUT),
        }
    }

    pub(super) fn waiting_for_sorted_set(&mut self) -> Command {
        if self.chance(2) {
            return Command::new(self.one(&["BZPOPMIN", "BZPOPMAX"])).args(self.keys('z')).arg(TIMEOUT);
        }
        let keys = self.keys('z');
        let command = Command::new("BZMPOP").arg(TIMEOUT).number(keys.len()).args(keys);
        command.arg(self.one(&["MIN", "MAX"])).option(self.one(&["", "COUNT 2", "COUNT 0"]))
    }
}
