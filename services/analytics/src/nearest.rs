//! The nearest point on the globe, by great circle.
//!
//! Points are kept as unit vectors in three dimensions: there the order of straight distances is the order of
//! great-circle distances, and neither the poles nor the antimeridian are special. Points that coincide are kept once,
//! so that a thousand sites at one address cost as much as one.

use rstar::{RTree, primitives::GeomWithData};
use std::collections::HashMap;

/// Mean radius of the Earth in kilometres (R1 of GRS 80, H. Moritz, J. Geodesy 74, 2000).
const EARTH_RADIUS_KM: f64 = 6_371.008_8;

/// A point on the globe in decimal degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    latitude: f64,
    longitude: f64,
}

/// Degrees that are not on the globe.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("latitude {latitude}, longitude {longitude} is no point: -90 to 90 and -180 to 180 degrees are")]
pub struct NoPoint {
    latitude: f64,
    longitude: f64,
}

/// What is nearest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Index of the nearest point; of several equally near ones the least.
    pub index: usize,
    /// Great-circle distance in kilometres.
    pub kilometres: f64,
}

impl Point {
    /// A point of north latitude (-90 to 90) and east longitude (-180 to 180), both in degrees.
    pub fn new(latitude: f64, longitude: f64) -> Result<Self, NoPoint> {
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return Err(NoPoint { latitude, longitude });
        }
        Ok(Self { latitude, longitude })
    }

    /// Great-circle distance in kilometres (haversine: exact for near points, too).
    pub fn kilometres_to(&self, other: &Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let across = ((to - from) / 2.0).sin().powi(2);
        let around = ((other.longitude - self.longitude).to_radians() / 2.0).sin().powi(2);
        2.0 * EARTH_RADIUS_KM * (across + from.cos() * to.cos() * around).clamp(0.0, 1.0).sqrt().asin()
    }

    /// The unit vector. Each pole is one point whatever its longitude, and so are 180 degrees west and east.
    fn vector(&self) -> [f64; 3] {
        if self.latitude.abs() == 90.0 {
            return [0.0, 0.0, self.latitude.signum()];
        }
        let longitude = if self.longitude == -180.0 { 180.0 } else { self.longitude };
        let (sin, cos) = self.latitude.to_radians().sin_cos();
        let (east, north) = longitude.to_radians().sin_cos();
        // Adding zero makes one zero of the two that there are.
        [cos * north + 0.0, cos * east + 0.0, sin + 0.0]
    }
}

/// Where points are: each place with the least two indices that are there.
type Place = GeomWithData<[f64; 3], (usize, Option<usize>)>;

/// For each of `from` the nearest of `to`, in the order of `from`; `None` only where `to` is empty.
pub fn nearest(from: &[Point], to: &[Point]) -> Vec<Option<Nearest>> {
    let places = places(to);
    let least = |point: &Point| {
        let found = places.nearest_neighbors(&point.vector());
        found.into_iter().map(|place| place.data.0).min()
    };
    from.iter().map(|point| least(point).map(|index| answer(point, to, index))).collect()
}

/// For each point the nearest other point of the same list; another one at the same place is 0 km away. `None` only for
/// a point that is alone.
pub fn nearest_other(points: &[Point]) -> Vec<Option<Nearest>> {
    let places = places(points);
    let least = |own: usize, point: &Point| {
        let vector = point.vector();
        let mut best: Option<(f64, usize)> = None;
        for (place, distance) in places.nearest_neighbor_iter_with_distance_2(vector) {
            if best.is_some_and(|(nearest, _)| distance > nearest) {
                break;
            }
            let (first, second) = place.data;
            if let Some(index) = if first == own { second } else { Some(first) } {
                let index = best.map_or(index, |(_, other)| other.min(index));
                best = Some((distance, index));
            }
        }
        best.map(|(_, index)| index)
    };
    points.iter().enumerate().map(|(own, point)| least(own, point).map(|index| answer(point, points, index))).collect()
}

fn answer(point: &Point, to: &[Point], index: usize) -> Nearest {
    Nearest { index, kilometres: point.kilometres_to(&to[index]) }
}

fn places(points: &[Point]) -> RTree<Place> {
    let mut places: HashMap<[u64; 3], Place> = HashMap::with_capacity(points.len());
    for (index, point) in points.iter().enumerate() {
        let vector = point.vector();
        let place = places.entry(vector.map(f64::to_bits)).or_insert_with(|| GeomWithData::new(vector, (index, None)));
        if place.data.0 != index && place.data.1.is_none() {
            place.data.1 = Some(index);
        }
    }
    RTree::bulk_load(places.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(latitude: f64, longitude: f64) -> Point {
        Point::new(latitude, longitude).expect("a point")
    }

    /// Paris to New York, 5,837 km by any calculator with this radius.
    #[test]
    fn a_known_distance() {
        let kilometres = at(48.8566, 2.3522).kilometres_to(&at(40.7128, -74.0060));
        assert!((kilometres - 5_837.25).abs() < 0.5, "{kilometres}");
        let quarter = at(0.0, 0.0).kilometres_to(&at(90.0, 0.0));
        assert!((quarter - EARTH_RADIUS_KM * std::f64::consts::FRAC_PI_2).abs() < 1e-9);
    }

    #[test]
    fn degrees_that_are_not_on_the_globe_are_refused() {
        for (latitude, longitude) in [(90.1, 0.0), (0.0, 180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert!(Point::new(latitude, longitude).is_err());
        }
    }

    #[test]
    fn a_thousand_points_at_one_place() {
        let mut points = vec![at(40.0, -75.0); 1_000];
        points.push(at(41.0, -75.0));
        let others = nearest_other(&points);
        assert_eq!(others[0].map(|found| (found.index, found.kilometres)), Some((1, 0.0)));
        assert_eq!(others[999].map(|found| (found.index, found.kilometres)), Some((0, 0.0)));
        assert_eq!(others[1_000].map(|found| found.index), Some(0));
        let found = nearest(&[at(40.2, -75.0)], &points)[0].expect("a point");
        assert_eq!(found.index, 0);
        assert!((found.kilometres - 22.239).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn across_the_antimeridian_and_at_the_poles() {
        let to = [at(0.0, 170.0), at(0.0, -179.0)];
        assert_eq!(nearest(&[at(0.0, 179.0)], &to)[0].map(|found| found.index), Some(1));
        let pole = [at(90.0, 12.0), at(90.0, -120.0), at(-90.0, 0.0)];
        let others = nearest_other(&pole);
        assert_eq!(others[0].map(|found| found.index), Some(1));
        assert!(others[0].expect("the same pole").kilometres < 1e-9);
        let seam = [at(10.0, 180.0), at(10.0, -180.0)];
        assert!(nearest_other(&seam)[0].expect("the same place").kilometres < 1e-9);
        let near = nearest(&[at(89.0, 0.0)], &[at(80.0, 0.0), at(89.0, 180.0)]);
        assert_eq!(near[0].map(|found| found.index), Some(1), "over the pole is nearer than along the meridian");
    }

    #[test]
    fn nothing_has_no_nearest() {
        assert_eq!(nearest(&[at(0.0, 0.0)], &[]), [None]);
        assert_eq!(nearest_other(&[at(0.0, 0.0)]), [None]);
        assert_eq!(nearest(&[], &[at(0.0, 0.0)]), []);
    }

    proptest! {
        #[test]
        fn as_near_as_the_nearest_of_all(
            from in prop::collection::vec((-90.0..=90.0_f64, -180.0..=180.0_f64), 1..12),
            to in prop::collection::vec((-90.0..=90.0_f64, -180.0..=180.0_f64), 1..80),
        ) {
            let from: Vec<_> = from.into_iter().map(|(a, b)| at(a, b)).collect();
            let to: Vec<_> = to.into_iter().map(|(a, b)| at(a, b)).collect();
            for (point, found) in from.iter().zip(nearest(&from, &to)) {
                let least = to.iter().map(|other| point.kilometres_to(other)).fold(f64::INFINITY, f64::min);
                prop_assert!((found.expect("a point").kilometres - least).abs() < 1e-6);
            }
        }
    }
}
