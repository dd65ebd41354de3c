//! The other unit: whether a number looks as if its label named another unit than it is in.
//!
//! SpO2 of 0.97 labelled "%" is a fraction, 5.5 "mg/dL" of glucose are mmol/L, and both are in reach of what is plausible.
//! The catalogue knows where most values of a metric lie and in which other units the field writes them. A number that
//! is not typical in the unit it is labelled with, and would be in another, is suspect: kept and flagged.

use crate::units::Units;
use model::{Metric, metrics};

/// Ranges of numbers, ends included.
type Ranges = Box<[(f64, f64)]>;

/// For each metric, where its typical values lie in each of its units.
pub(crate) struct OtherUnits {
    /// By number of the metric; none where no other unit can be told.
    typical: Box<[Ranges]>,
}

impl OtherUnits {
    /// From the catalogue.
    pub(crate) fn new(units: &Units) -> Self {
        let size = metrics().last().map_or(0, |metric| usize::from(metric.id.0) + 1);
        let mut typical: Box<[Ranges]> = (0..size).map(|_| Ranges::default()).collect();
        for metric in metrics() {
            typical[usize::from(metric.id.0)] = ranges(units, metric);
        }
        Self { typical }
    }

    /// Whether a number as the device sent it, which is not typical in the unit that it is labelled with, would be in another.
    /// That unit itself need not be left out: the number would be typical in it.
    pub(crate) fn suspects(&self, metric: &Metric, number: f64) -> bool {
        let ranges = self.typical.get(usize::from(metric.id.0));
        ranges.is_some_and(|ranges| ranges.iter().any(|(low, high)| (*low..=*high).contains(&number)))
    }
}

fn ranges(units: &Units, metric: &Metric) -> Ranges {
    let Some((low, high)) = metric.typical.filter(|_| !metric.other_units.is_empty()) else {
        return Ranges::default();
    };
    // a unit of the catalogue that does not convert is found by a test
    let factors = metric.other_units.iter().filter_map(|unit| units.factor(metric, unit).ok());
    let in_unit = |factor: model::Factor| {
        let back = |value: f64| (value - factor.offset) / factor.scale;
        (back(low), back(high))
    };
    [(low, high)].into_iter().chain(factors.map(in_unit)).collect()
}
