//! Which rows of a frame can be learnt from, and why the others cannot.

use super::frame::Frame;
use super::pipeline::{Pipeline, Transform};
use super::{Error, Rows, Task};
use serde::{Deserialize, Serialize};

/// Rows that were left out, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Which column lacks a value, or has one of no known level.
    pub reason: String,
    /// Number of rows for which this is the first reason.
    pub rows: usize,
}

/// What is left of a frame.
pub(super) struct Usable {
    /// The rows, in order.
    pub rows: Rows,
    /// The target of each of them; empty for segments.
    pub target: Vec<f64>,
    /// The others, by reason; each row counts once, for the first reason that applies.
    pub dropped: Vec<Dropped>,
}

/// Finds the rows that have a target and every required feature. A value where a transform is not defined, and a
/// classifier's target that is neither 0 nor 1, are no missing values: they are refused by row.
pub(super) fn usable(pipeline: &Pipeline, frame: &Frame) -> Result<Usable, Error> {
    let n = frame.rows();
    let mut reason: Vec<Option<usize>> = vec![None; n];
    let mut reasons = Vec::new();
    let mut drop_where = |text: String, missing: &mut dyn Iterator<Item = bool>| {
        missing.enumerate().filter(|(_, is)| *is).for_each(|(row, _)| {
            reason[row].get_or_insert(reasons.len());
        });
        reasons.push(text);
    };
    let target = match &pipeline.target {
        Some(target) => {
            let values = frame.numbers(&target.name, &target.unit)?;
            drop_where(format!("target {} is missing", target.name), &mut values.iter().map(Option::is_none));
            values
        }
        None => &[],
    };
    for feature in &pipeline.features {
        if feature.transform == Transform::OneHot {
            let values = frame.texts(&feature.name)?;
            drop_where(format!("{} is missing", feature.name), &mut values.iter().map(Option::is_none));
            let other = |text: &Option<String>| text.as_ref().is_some_and(|text| !feature.levels.contains(text));
            drop_where(format!("{} is of no known level", feature.name), &mut values.iter().map(other));
            continue;
        }
        let values = frame.numbers(&feature.name, &feature.unit)?;
        if feature.transform == Transform::Log1p {
            check_domain(&feature.name, values, frame.ids())?;
        }
        if feature.missing == super::Missing::DropRow {
            drop_where(format!("{} is missing", feature.name), &mut values.iter().map(Option::is_none));
        }
    }
    let rows: Rows = (0..n).filter(|row| reason[*row].is_none()).collect();
    let target: Vec<f64> = rows.iter().filter_map(|row| target.get(*row).copied().flatten()).collect();
    if pipeline.algorithm.task() == Task::Probability {
        check_binary(pipeline, &rows, &target, frame.ids())?;
    }
    let count = |index: usize| reason.iter().filter(|found| **found == Some(index)).count();
    let dropped = reasons.into_iter().enumerate().map(|(index, reason)| Dropped { reason, rows: count(index) });
    let dropped = dropped.filter(|dropped| dropped.rows > 0).collect();
    Ok(Usable { rows, target, dropped })
}

fn check_domain(name: &str, values: &[Option<f64>], ids: &[String]) -> Result<(), Error> {
    let wrong = values.iter().enumerate().find_map(|(row, value)| value.filter(|v| *v <= -1.0).map(|v| (row, v)));
    match wrong {
        Some((row, value)) => Err(Error::Transform { column: name.to_owned(), row: ids[row].clone(), value }),
        None => Ok(()),
    }
}

fn check_binary(pipeline: &Pipeline, rows: &[usize], target: &[f64], ids: &[String]) -> Result<(), Error> {
    let wrong = target.iter().position(|value| *value != 0.0 && *value != 1.0);
    match (wrong, &pipeline.target) {
        (Some(at), Some(name)) => {
            let (target_name, row) = (name.name.clone(), ids[rows[at]].clone());
            Err(Error::NotBinary { target: target_name, row, value: target[at] })
        }
        _ => Ok(()),
    }
}
