//! Distance on the sphere, and the SQL function `great_circle_km(latitude, longitude, latitude, longitude)`.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, Float64Array},
        datatypes::{DataType, Float64Type},
    },
    error::DataFusionError,
    logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf},
};

/// Mean radius of the Earth, km (IUGG: R1 of GRS 80). The sphere is at most 0.6 % off the ellipsoid.
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// Length of the great circle between two places, km; latitudes and longitudes in degrees. The haversine formula, which keeps
/// its digits where the places are close.
#[must_use]
pub(super) fn great_circle_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    let half_sine = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
    let h = half_sine(from.0, to.0) + from.0.to_radians().cos() * to.0.to_radians().cos() * half_sine(from.1, to.1);
    2.0 * EARTH_RADIUS_KM * h.sqrt().min(1.0).asin()
}

/// The function of SQL: four doubles, degrees; a null among them gives null.
pub(super) fn function() -> ScalarUDF {
    let evaluate = |arguments: &[ColumnarValue]| -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let [lat1, lon1, lat2, lon2] = [0, 1, 2, 3].map(|i| arrays[i].as_primitive::<Float64Type>());
        let distances = lat1
            .iter()
            .zip(lon1)
            .zip(lat2.iter().zip(lon2))
            .map(|((lat1, lon1), (lat2, lon2))| Some(great_circle_km((lat1?, lon1?), (lat2?, lon2?))));
        Ok(ColumnarValue::Array(Arc::new(distances.collect::<Float64Array>()) as ArrayRef))
    };
    create_udf(
        "great_circle_km",
        vec![DataType::Float64; 4],
        DataType::Float64,
        Volatility::Immutable,
        Arc::new(evaluate),
    )
}
