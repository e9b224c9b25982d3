//! What is searched: a circle or a box on the sphere, and the cells of the grid that cover it.
//!
//! The arithmetic is Redis', operation by operation, so that the same positions are found in the same order and
//! distances are the same to the last bit.

use super::hash::{Area, Cell, Position, STEPS};

/// The mean radius of the earth in meters.
const EARTH: f64 = 6_372_797.560_856;

/// Half of the equator in meters, on the web's maps.
const HALF_EQUATOR: f64 = 20_037_726.37;

const RADIANS: f64 = std::f64::consts::PI / 180.0;

/// The distance of two positions along the surface, in meters.
pub(super) fn distance(from: Position, to: Position) -> f64 {
    let (from_latitude, to_latitude) = (from.latitude * RADIANS, to.latitude * RADIANS);
    let (from_longitude, to_longitude) = (from.longitude * RADIANS, to.longitude * RADIANS);
    let u = ((to_latitude - from_latitude) / 2.0).sin();
    let v = ((to_longitude - from_longitude) / 2.0).sin();
    2.0 * EARTH * (u * u + from_latitude.cos() * to_latitude.cos() * v * v).sqrt().asin()
}

/// The form of what is searched, in units of its query.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// All that is not further away.
    Circle { radius: f64 },
    /// A box whose sides run along meridians and parallels.
    Box { width: f64, height: f64 },
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) centre: Position,
    pub(super) form: Form,
    /// Meters of a unit.
    pub(super) unit: f64,
}

impl Shape {
    /// The distance of a position from the centre, in meters, if it lies within.
    pub(super) fn distance(&self, position: Position) -> Option<f64> {
        match self.form {
            Form::Circle { radius } => {
                let distance = distance(self.centre, position);
                (!is_beyond(distance, radius * self.unit)).then_some(distance)
            }
            Form::Box { width, height } => {
                let along = |longitude, latitude| distance(position, Position { longitude, latitude });
                let across = along(self.centre.longitude, position.latitude);
                let up = along(position.longitude, self.centre.latitude);
                let beyond =
                    is_beyond(across, width * self.unit / 2.0) || is_beyond(up, height * self.unit / 2.0);
                (!beyond).then(|| distance(self.centre, position))
            }
        }
    }

    /// The cells that cover it, in the order in which Redis searches them.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let bounds = self.bounds();
        let mut step = self.step();
        let mut centre = Cell::of(self.centre, step);
        let too_near = bounds.north > centre.neighbour(0, 1).area().latitude.most
            || bounds.south < centre.neighbour(0, -1).area().latitude.least
            || bounds.east > centre.neighbour(1, 0).area().longitude.most
            || bounds.west < centre.neighbour(-1, 0).area().longitude.least;
        if step > 1 && too_near {
            step -= 1;
            centre = Cell::of(self.centre, step);
        }
        const AROUND: [(i8, i8); 8] = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let Area { longitude, latitude } = centre.area();
        let is_needed = |(east, north): &(i8, i8)| {
            step < 2
                || !(*north < 0 && latitude.least < bounds.south
                    || *north > 0 && latitude.most > bounds.north
                    || *east < 0 && longitude.least < bounds.west
                    || *east > 0 && longitude.most > bounds.east)
        };
        let around = AROUND.into_iter().filter(is_needed).map(|(east, north)| centre.neighbour(east, north));
        let mut cells: Vec<Cell> = std::iter::once(centre).chain(around).collect();
        // Where the grid has two columns, the neighbour on one side is that on the other.
        cells.dedup();
        cells
    }

    /// Steps of a grid of whose cells nine cover it, most of the time.
    fn step(&self) -> u8 {
        let radius = match self.form {
            Form::Circle { radius } => radius,
            Form::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        let mut range = radius * self.unit;
        if range == 0.0 {
            return STEPS;
        }
        let mut step = -1;
        while range < HALF_EQUATOR {
            range *= 2.0;
            step += 1;
        }
        // Towards the poles cells are narrower.
        let latitude = self.centre.latitude.abs();
        step -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        step.clamp(1, STEPS.into()) as u8
    }

    fn bounds(&self) -> Bounds {
        let (width, height) = match self.form {
            Form::Circle { radius } => (radius, radius),
            Form::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let (width, height) = (self.unit * width, self.unit * height);
        let Position { longitude, latitude } = self.centre;
        let up = height / EARTH / RADIANS;
        let across = |latitude: f64| width / EARTH / (latitude * RADIANS).cos() / RADIANS;
        // The border that is nearer to a pole has more degrees.
        let across = across(if latitude < 0.0 { latitude - up } else { latitude + up });
        Bounds {
            west: longitude - across,
            east: longitude + across,
            south: latitude - up,
            north: latitude + up,
        }
    }
}

/// Whether a distance is greater than a bound. One that is no number, as opposite points of the sphere may have, is not.
fn is_beyond(distance: f64, bound: f64) -> bool {
    distance > bound
}

/// The box, in degrees, around what is searched.
struct Bounds {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::commands::geo::hash::LATITUDE;

    #[test]
    fn distances_are_those_of_redis() {
        let palermo = Position { longitude: 13.361_389_338_970_184, latitude: 38.115_556_395_496_3 };
        let catania = Position { longitude: 15.087_267_458_438_873, latitude: 37.502_668_423_331_62 };
        assert_eq!(format!("{:.4}", distance(palermo, catania)), "166274.1516");
        assert_eq!(distance(palermo, palermo), 0.0);
    }

    proptest! {
        #[test]
        fn cells_are_few_and_different(
            longitude in -180.0..=180.0,
            latitude in LATITUDE.least..=LATITUDE.most,
            radius in prop_oneof![Just(0.0), 0.0..100.0, 0.0..1e8, Just(f64::INFINITY)],
        ) {
            let centre = Position { longitude, latitude };
            for form in [Form::Circle { radius }, Form::Box { width: radius, height: radius / 3.0 }] {
                let cells = Shape { centre, form, unit: 1.0 }.cells();
                prop_assert!(cells.len() <= 9);
                let mut scores: Vec<_> = cells.iter().map(|cell| cell.score()).collect();
                scores.sort_unstable();
                scores.dedup();
                prop_assert_eq!(scores.len(), cells.len());
            }
        }

        #[test]
        fn cells_cover_small_circles(
            longitude in -170.0..170.0,
            latitude in -60.0..60.0,
            radius in 1.0..100_000.0,
            angle in 0.0..std::f64::consts::TAU,
        ) {
            let centre = Position { longitude, latitude };
            let shape = Shape { centre, form: Form::Circle { radius }, unit: 1.0 };
            let (north, east) = (angle.sin() * radius * 0.999, angle.cos() * radius * 0.999);
            let up = north / EARTH / RADIANS;
            let across = east / EARTH / (latitude * RADIANS).cos() / RADIANS;
            let position = Position { longitude: longitude + across, latitude: latitude + up };
            let score = Cell::of(position, STEPS).score();
            prop_assume!(shape.distance(position).is_some());
            prop_assert!(shape.cells().iter().any(|cell| (cell.score()..cell.end()).contains(&score)));
        }
    }
}
