//! Commands on HyperLogLogs (keys `p`) and on positions (keys `g`).
//!
//! Positions are so many that no two members are equally far from anywhere: Redis orders those as it likes. What has
//! distances for scores is stored at other keys, for the same reason. Bytes of registers are never overwritten: on
//! those that make no sense Redis may do half of a command.

use super::{Command, Generator, KEYS_PER_TYPE};

impl Generator {
    pub(super) fn sketch(&mut self) -> Command {
        let key = self.key('p');
        match self.rng.usize(..16) {
            0..6 => Command::new("PFADD").arg(key).args(self.members()),
            6..8 => Command::new("PFCOUNT").arg(key),
            8 => Command::new("PFCOUNT").args(self.keys('p')),
            9 => Command::new("PFMERGE").arg(key).args(self.keys('p')),
            10 => Command::new("GET").arg(key),
            11 => Command::new("PFDEBUG").arg(self.one(&["ENCODING", "DECODE", "decode"])).arg(key),
            12 => Command::new("PFDEBUG").arg(self.one(&["TODENSE", "ENCODING", "OTHER"])).arg(key),
            13 => Command::new("SETRANGE").arg(key).number(8).arg(self.rng.u64(..).to_le_bytes()),
            14 => Command::new("SET").arg(key).arg(self.one(&["", "HYLL", "HYLL\x01", "12345", "other"])),
            _ => Command::new("DEL").arg(key),
        }
    }

    pub(super) fn geo(&mut self) -> Command {
        let key = self.key('g');
        match self.rng.usize(..20) {
            0..5 => {
                let mut command = Command::new("GEOADD").arg(key);
                command = command.option(self.one(&["", "", "", "NX", "XX", "CH", "NX CH", "NX XX"]));
                for member in self.members() {
                    command = self.at_a_place(command).arg(member);
                }
                command
            }
            5 => {
                let unit = self.unit();
                Command::new("GEODIST").arg(key).arg(self.member()).arg(self.member()).option(unit)
            }
            6 => Command::new("GEOHASH").arg(key).args(self.members()),
            7 => Command::new("GEOPOS").arg(key).args(self.members()),
            8 => Command::new(self.one(&["GEOHASH", "GEOPOS"])).arg(self.key('z')).args(self.members()),
            9 => Command::new("ZRANGE").arg(key).option("0 -1 WITHSCORES"),
            10 => Command::new("ZREM").arg(key).args(self.members()),
            11 => Command::new("DEL").arg(key),
            12..15 => self.radius(),
            15..18 => {
                let command = Command::new("GEOSEARCH").arg(self.searched());
                let command = self.area(command);
                self.found(command)
            }
            _ => {
                let distances = self.chance(2);
                let to = self.one(if distances { &["x2", "x3"] } else { &["g0", "x2", "x3"] });
                let command = Command::new("GEOSEARCHSTORE").arg(to).arg(self.searched());
                let command = self.area(command);
                self.chosen(command).option(if distances { "STOREDIST" } else { "" })
            }
        }
    }

    /// A key that is searched: of positions, seldom of something else.
    fn searched(&mut self) -> String {
        let prefix = if self.chance(30) { "s" } else { "g" };
        format!("{prefix}{}", self.rng.usize(..KEYS_PER_TYPE))
    }

    fn at_a_place(&mut self, command: Command) -> Command {
        let (longitude, latitude) = (self.rng.i64(-1_800_000..=1_800_000), self.rng.i64(-850_500..=850_500));
        let (longitude, latitude) = (longitude as f64 / 10_000.0, latitude as f64 / 10_000.0);
        // Many positions in one place, some anywhere.
        let shrink = if self.chance(3) { 1.0 } else { 100.0 };
        command.number(longitude / shrink).number(latitude / shrink)
    }

    fn unit(&mut self) -> &'static str {
        ["m", "km", "KM", "mi", "ft", "yards"][self.rng.usize(..6) % if self.chance(10) { 6 } else { 5 }]
    }

    fn size(&mut self) -> &'static str {
        ["0", "1", "20", "100", "350.5", "2000", "9000", "30000", "1e7", "-1"][self.rng.usize(..10)]
    }

    fn radius(&mut self) -> Command {
        let by_member = self.chance(3);
        let name = match by_member {
            true => self.one(&["GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO"]),
            false => self.one(&["GEORADIUS", "GEORADIUS_RO"]),
        };
        let mut command = Command::new(name).arg(self.searched());
        command = if by_member { command.arg(self.member()) } else { self.at_a_place(command) };
        command = command.arg(self.size()).arg(self.unit());
        match self.rng.usize(..6) {
            0 => self.chosen(command).option(self.one(&["STORE g1", "STORE x2"])),
            1 => {
                self.chosen(command).option(self.one(&["STOREDIST x2", "STOREDIST x3", "STORE x3 WITHDIST"]))
            }
            _ => self.found(command),
        }
    }

    fn area(&mut self, command: Command) -> Command {
        let command = match self.rng.usize(..3) {
            0 => command.arg("FROMMEMBER").arg(self.member()),
            _ => self.at_a_place(command.arg("FROMLONLAT")),
        };
        match self.rng.usize(..8) {
            0..4 => command.arg("BYRADIUS").arg(self.size()).arg(self.unit()),
            4..7 => command.arg("BYBOX").arg(self.size()).arg(self.size()).arg(self.unit()),
            _ => command.option(self.one(&["", "BYRADIUS 1", "FROMLONLAT 1 1", "BYBOX 1 1 m BYRADIUS 1 m"])),
        }
    }

    /// Which of what is found.
    fn chosen(&mut self, command: Command) -> Command {
        let command = command.option(self.one(&["", "", "ASC", "DESC"]));
        command.option(self.one(&[
            "",
            "",
            "COUNT 3",
            "COUNT 50",
            "COUNT 3 ANY",
            "COUNT 70 ANY",
            "ANY",
            "COUNT 0",
        ]))
    }

    /// And what is told of it.
    fn found(&mut self, command: Command) -> Command {
        let command = self.chosen(command).option(self.one(&["", "WITHDIST"]));
        command.option(self.one(&["", "WITHHASH"])).option(self.one(&["", "WITHCOORD"]))
    }
}
