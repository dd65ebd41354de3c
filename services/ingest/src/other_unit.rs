//! The other unit: whether a number looks as if its label named another unit than it is in.
//!
//! SpO2 of 0.97 labelled "%" is a fraction, 5.5 "mg/dL" of glucose are mmol/L, and both are in reach of what is plausible.
//! The catalogue knows where most values of a metric lie and in which other units the field writes them. A number that
//! is not typical in the unit it is labelled with, and would be in another, is suspect: kept and flagged. A bound is where a
//! sensor's range ends, not where values lie: "> 27.8 mg/dL" says nothing that a meter could, and would in mmol/L.

use crate::units::Units;
use model::{Bound, Comparator, Factor, Metric, metrics};
use std::ops::RangeInclusive;

/// How many times farther than typical values a sensor's range may reach: meters say LO below 10 mg/dL of glucose, where 36 is typical.
const BEYOND: f64 = 5.0;

/// For each metric, the units in which the field writes it.
pub(crate) struct OtherUnits {
    /// By number of the metric, from each unit to the canonical one, which is among them; none where no other can be told.
    factors: Box<[Box<[Factor]>]>,
}

impl OtherUnits {
    /// From the catalogue.
    pub(crate) fn new(units: &Units) -> Self {
        let size = metrics().last().map_or(0, |metric| usize::from(metric.id.0) + 1);
        let mut all: Box<[Box<[Factor]>]> = (0..size).map(|_| Box::default()).collect();
        for metric in metrics() {
            all[usize::from(metric.id.0)] = factors(units, metric);
        }
        Self { factors: all }
    }

    /// Whether a number as the device sent it, which is not typical in the unit that it is labelled with, would be in another.
    /// That unit itself need not be left out: the number would be typical in it.
    pub(crate) fn suspects(&self, metric: &Metric, number: f64) -> bool {
        self.of(metric).iter().any(|factor| metric.is_typical(factor.apply(number)))
    }

    /// Whether a bound, which is not typical as a number, can end no sensor's range in the unit that it is labelled with
    /// (`canonical`), and in another could, or would be typical.
    pub(crate) fn suspects_bound(&self, metric: &Metric, bound: Bound, canonical: f64) -> bool {
        let Some(ends) = ends(metric, bound.comparator).filter(|ends| !ends.contains(&canonical)) else { return false };
        let fits = |value: f64| ends.contains(&value) || metric.is_typical(value);
        self.of(metric).iter().any(|factor| fits(factor.apply(bound.number)))
    }

    fn of(&self, metric: &Metric) -> &[Factor] {
        self.factors.get(usize::from(metric.id.0)).map(|factors| &factors[..]).unwrap_or_default()
    }
}

fn factors(units: &Units, metric: &Metric) -> Box<[Factor]> {
    let mut others = metric.other_units.iter().chain(metric.distinct_beyond).peekable();
    if others.peek().is_none() {
        return Box::default();
    }
    // a unit of the catalogue that does not convert is found by a test
    let others = others.filter_map(|unit| units.factor(metric, unit).ok());
    [Factor::IDENTITY].into_iter().chain(others).collect()
}

/// Where sensors' ranges end on the side that a bound speaks of, in the canonical unit: the usual value can be measured.
fn ends(metric: &Metric, comparator: Comparator) -> Option<RangeInclusive<f64>> {
    let ((low, high), usual) = metric.typical.zip(metric.usual)?;
    let (least, most) = metric.plausible.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    Some(match comparator {
        Comparator::Less | Comparator::LessOrEqual => least.max(low / BEYOND)..=usual,
        Comparator::GreaterOrEqual | Comparator::Greater => usual..=most.min(high * BEYOND),
    })
}
