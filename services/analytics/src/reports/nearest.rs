//! The SQL window function `nearest_km(latitude, longitude, target) OVER ()`: distance to the nearest other row that is a target.
//!
//! The places are points on the unit sphere in an R*-tree: the order of chords is the order of great circles, so that poles and
//! the date line need no special case. The distance itself is that of [`great_circle_km`].

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Float64Array},
        datatypes::{DataType, Field, FieldRef, Float64Type},
    },
    error::DataFusionError,
    logical_expr::{
        PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
        function::{PartitionEvaluatorArgs, WindowUDFFieldArgs},
    },
};
use rstar::{RTree, primitives::GeomWithData};

use super::great_circle::great_circle_km;

/// The function of SQL: two doubles, degrees, and whether the row is a target. Null where the row has no place, or where there is
/// no other target.
pub(super) fn function() -> WindowUDF {
    let arguments = vec![DataType::Float64, DataType::Float64, DataType::Boolean];
    WindowUDF::from(Nearest { signature: Signature::exact(arguments, Volatility::Immutable) })
}

/// Distance from each place to the nearest other place among the targets, km. `O(n log n)`.
pub(super) fn nearest_km(places: &[Option<(f64, f64)>], is_target: impl Fn(usize) -> bool) -> Vec<Option<f64>> {
    let targets = places.iter().enumerate().filter(|(row, _)| is_target(*row));
    let points = targets.filter_map(|(row, place)| Some(GeomWithData::new(on_unit_sphere((*place)?), row)));
    let tree = RTree::bulk_load(points.collect());
    let nearest = |(row, place): (usize, &Option<(f64, f64)>)| {
        let place = (*place)?;
        let mut others = tree.nearest_neighbor_iter(on_unit_sphere(place)).filter(|other| other.data != row);
        Some(great_circle_km(place, places[others.next()?.data]?))
    };
    places.iter().enumerate().map(nearest).collect()
}

fn on_unit_sphere((latitude, longitude): (f64, f64)) -> [f64; 3] {
    let (latitude, longitude) = (latitude.to_radians(), longitude.to_radians());
    [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Nearest {
    signature: Signature,
}

impl WindowUDFImpl for Nearest {
    fn name(&self) -> &'static str {
        "nearest_km"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>, DataFusionError> {
        Ok(Box::new(Evaluator))
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> Result<FieldRef, DataFusionError> {
        Ok(Arc::new(Field::new(arguments.name(), DataType::Float64, true)))
    }
}

#[derive(Debug)]
struct Evaluator;

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], _n_rows: usize) -> Result<ArrayRef, DataFusionError> {
        let (latitudes, longitudes) =
            (values[0].as_primitive::<Float64Type>(), values[1].as_primitive::<Float64Type>());
        let targets = values[2].as_boolean();
        let place = |(latitude, longitude): (Option<f64>, Option<f64>)| {
            Some((latitude?, longitude?)).filter(|(latitude, longitude)| latitude.is_finite() && longitude.is_finite())
        };
        let places: Vec<_> = latitudes.iter().zip(longitudes).map(place).collect();
        let distances = nearest_km(&places, |row| targets.is_valid(row) && targets.value(row));
        Ok(Arc::new(Float64Array::from(distances)))
    }
}
