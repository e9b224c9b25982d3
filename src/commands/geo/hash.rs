//! Positions as integers that keep neighbours together.
//!
//! Longitude and latitude are each cut in halves `step` times; whether a position lies in the upper half is a bit each
//! time, and the bits of both are woven into one another, latitude in the even ones. A [`Cell`] of 26 steps has 52 bits,
//! which a score holds exactly; all positions in a larger cell have scores in one range.

/// What can be told of longitude, in degrees.
pub(super) const LONGITUDE: Degrees = Degrees { least: -180.0, most: 180.0 };

/// What can be told of latitude: the square of the web's maps, so there are no poles.
pub(super) const LATITUDE: Degrees = Degrees { least: -85.051_128_78, most: 85.051_128_78 };

/// Latitude as the textual geohash counts it.
const FULL_LATITUDE: Degrees = Degrees { least: -90.0, most: 90.0 };

/// Steps of the cell that a score tells.
pub(super) const STEPS: u8 = 26;

/// A range of degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Degrees {
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Degrees {
    /// Whether it includes an angle.
    pub(super) fn has(self, degrees: f64) -> bool {
        self.least <= degrees && degrees <= self.most
    }

    fn size(self) -> f64 {
        self.most - self.least
    }

    /// Which of `2^step` equal parts an angle is in.
    fn part_of(self, degrees: f64, step: u8) -> u32 {
        ((degrees - self.least) / self.size() * parts(step)) as u32
    }

    /// The part of this number.
    fn part(self, number: u32, step: u8) -> Self {
        let border = |number: u32| self.least + (f64::from(number) / parts(step)) * self.size();
        Self { least: border(number), most: border(number.wrapping_add(1)) }
    }

    /// The middle of a part of this range.
    fn middle_of(self, part: Self) -> f64 {
        // Scores that no position has may tell of places beyond.
        ((part.least + part.most) / 2.0).min(self.most).max(self.least)
    }
}

fn parts(step: u8) -> f64 {
    (1u64 << step) as f64
}

/// A position in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Position {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

/// A cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    bits: u64,
    step: u8,
}

/// Where a cell lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) longitude: Degrees,
    pub(super) latitude: Degrees,
}

const EVEN: u64 = 0x5555_5555_5555_5555;
const ODD: u64 = !EVEN;

/// Leaves room between the bits of a number.
fn spread(number: u32) -> u64 {
    const MASKS: [(u32, u64); 5] = [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, EVEN),
    ];
    MASKS.iter().fold(number.into(), |bits, (shift, mask)| (bits | bits << shift) & mask)
}

/// Puts the even bits of a number together.
fn gather(bits: u64) -> u32 {
    const MASKS: [(u32, u64); 5] = [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0xffff_ffff),
    ];
    MASKS.iter().fold(bits & EVEN, |bits, (shift, mask)| (bits | bits >> shift) & mask) as u32
}

impl Cell {
    /// The cell of `step` steps, at least 1, that a position is in.
    pub(super) fn of(position: Position, step: u8) -> Self {
        Self::within(position, step, LATITUDE)
    }

    fn within(position: Position, step: u8, latitude: Degrees) -> Self {
        let (x, y) = (LONGITUDE.part_of(position.longitude, step), latitude.part_of(position.latitude, step));
        Self { bits: spread(y) | spread(x) << 1, step }
    }

    /// The cell that a score tells. Scores that are none tell something, too: what x86 makes of such a double.
    pub(super) fn of_score(score: f64) -> Self {
        const BORDER: f64 = 9_223_372_036_854_775_808.0;
        let signed = |score: f64| if (-BORDER..BORDER).contains(&score) { score as i64 } else { i64::MIN };
        let bits = if score < BORDER { signed(score) } else { signed(score - BORDER) ^ i64::MIN };
        Self { bits: bits.cast_unsigned(), step: STEPS }
    }

    /// The least score of its positions.
    pub(super) fn score(self) -> u64 {
        self.bits << (2 * (STEPS - self.step))
    }

    /// The least score beyond.
    pub(super) fn end(self) -> u64 {
        Self { bits: self.bits + 1, ..self }.score()
    }

    /// Where it lies.
    pub(super) fn area(self) -> Area {
        Area {
            longitude: LONGITUDE.part(gather(self.bits >> 1), self.step),
            latitude: LATITUDE.part(gather(self.bits), self.step),
        }
    }

    /// Its middle.
    pub(super) fn middle(self) -> Position {
        let area = self.area();
        Position {
            longitude: LONGITUDE.middle_of(area.longitude),
            latitude: LATITUDE.middle_of(area.latitude),
        }
    }

    /// The cell so many columns to the east and rows to the north, -1 to 1 each; the grid goes round.
    pub(super) fn neighbour(self, east: i8, north: i8) -> Self {
        let all = u64::MAX >> (64 - 2 * u32::from(self.step));
        // With the other coordinate's bits set, a carry passes over them; with them clear, a borrow does.
        let moved = |own: u64, by: i8| match by {
            1 => (self.bits & own | all & !own).wrapping_add(1) & own & all,
            -1 => (self.bits & own).wrapping_sub(1) & own & all,
            _ => self.bits & own,
        };
        Self { bits: moved(ODD, east) | moved(EVEN, north), step: self.step }
    }

    /// The text of the standard geohash of its middle, of eleven characters.
    pub(super) fn text(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Self::within(self.middle(), STEPS, FULL_LATITUDE).bits;
        // 52 bits make ten characters; the eleventh is there as it always was.
        let mut text = [b'0'; 11];
        for (place, shift) in text.iter_mut().zip((2..=47).rev().step_by(5)) {
            *place = LETTERS[(bits >> shift & 31) as usize];
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = Position> {
        (-180.0..=180.0, LATITUDE.least..=LATITUDE.most)
            .prop_map(|(longitude, latitude)| Position { longitude, latitude })
    }

    proptest! {
        #[test]
        fn a_position_is_in_its_cell(position in position(), step in 1..=STEPS) {
            let cell = Cell::of(position, step);
            let area = cell.area();
            prop_assert!(area.longitude.has(position.longitude) || position.longitude == 180.0);
            prop_assert!(area.latitude.has(position.latitude) || position.latitude == LATITUDE.most);
            let score = Cell::of(position, STEPS).score();
            prop_assert!((cell.score()..cell.end()).contains(&score));
            prop_assert_eq!(Cell::of_score(score as f64), Cell::of(position, STEPS));
        }

        #[test]
        fn neighbours_lie_side_by_side(x in 0..1u32 << 26, y in 0..1u32 << 26, step in 2..=STEPS) {
            let side = 1u32 << step;
            let cell = |x: u32, y: u32| Cell { bits: spread(y % side) | spread(x % side) << 1, step };
            for (east, north) in [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)] {
                let expected =
                    cell((x % side).wrapping_add_signed(east.into()), (y % side).wrapping_add_signed(north.into()));
                prop_assert_eq!(cell(x, y).neighbour(east, north), expected);
            }
        }

        #[test]
        fn any_score_is_somewhere(score in any::<f64>()) {
            let middle = Cell::of_score(score).middle();
            prop_assert!(LONGITUDE.has(middle.longitude) && LATITUDE.has(middle.latitude));
            let _ = Cell::of_score(score).text();
        }
    }

    #[test]
    fn scores_and_texts_are_those_of_redis() {
        let palermo = Cell::of(Position { longitude: 13.361_389, latitude: 38.115_556 }, STEPS);
        assert_eq!(palermo.score(), 3_479_099_956_230_698);
        assert_eq!(&palermo.text(), b"sqc8b49rny0");
        let corner = Cell::of(Position { longitude: 180.0, latitude: LATITUDE.most }, STEPS);
        assert_eq!(corner.score(), 3 << 52);
    }
}
