//! Whether a newly trained model replaces the one in use.
//!
//! The rule, for the pipeline's deciding metric on held-out rows: the new value is better, and neither value lies
//! inside the other's 95 % interval. For two independent values of equal width that is a difference of 1.4 standard
//! errors of the difference; both are judged on the same rows, so in truth it is stricter. Equal or worse is not
//! promoted, and a first model must be better in the same way than one that knows nothing.
//!
//! Values on rows of other data say nothing about each other. Where the model in use was made of other data, it is asked
//! about the rows on which the new one was judged and that it has not seen ([`SameRows`]), and the new one is better if
//! the 95 % interval of the difference is above 0. One that is not surely worse, and learnt from twice as many rows or more, is promoted, too: it
//! has seen what the other has not, and who began with a sample comes to the whole.

use super::card::ModelCard;
use super::metrics::{Measured, Metric};
use super::same_rows::SameRows;
use serde::{Deserialize, Serialize};

/// How many times the rows of the model in use are so many more that they speak for a new one.
const MANY_MORE: usize = 2;

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the new model is to be used.
    pub promoted: bool,
    /// Why, for people.
    pub reason: String,
}

/// Decides between a new model and the one in use: by their cards if they were made of the same data, and else by what
/// the one in use comes to on the same rows.
pub fn promote(new: &ModelCard, old: Option<&ModelCard>, same_rows: Option<&SameRows>) -> Decision {
    match reason_against(new, old, same_rows) {
        Err(reason) => Decision { promoted: false, reason },
        Ok(reason) => Decision { promoted: true, reason },
    }
}

fn reason_against(new: &ModelCard, old: Option<&ModelCard>, same_rows: Option<&SameRows>) -> Result<String, String> {
    let found = deciding(new).ok_or_else(|| format!("{} is not defined for the new model", new.decides))?;
    let metric = found.metric;
    if !metric.is_better(found.value, found.trivial) || found.interval.contains(found.trivial) {
        return Err(format!(
            "{metric} {:.4} is not better than {:.4}, which a model reaches that knows nothing",
            found.value, found.trivial
        ));
    }
    let Some(old) = old else {
        return Ok(format!("the first model; {metric} {:.4}, without knowledge {:.4}", found.value, found.trivial));
    };
    comparable(new, old)?;
    if new.versions.data != old.versions.data {
        return on_same_rows(new, old, metric, same_rows);
    }
    let before = deciding(old).ok_or_else(|| format!("{metric} is not known of the model in use"))?;
    let values = format!("{metric} {:.4} new, {:.4} in use", found.value, before.value);
    if !metric.is_better(found.value, before.value) {
        return Err(format!("not better: {values}"));
    }
    if found.interval.contains(before.value) || before.interval.contains(found.value) {
        return Err(format!("better by less than the values are sure: {values}"));
    }
    Ok(format!("better: {values}"))
}

/// Between models of other data.
fn on_same_rows(
    new: &ModelCard,
    old: &ModelCard,
    metric: Metric,
    same_rows: Option<&SameRows>,
) -> Result<String, String> {
    let Some(SameRows { rows, unseen, new: found, in_use, advantage }) = same_rows else {
        return Err(format!(
            "the model in use was made of other data, and cannot be compared with it on the same rows: to put the new \
             version into use: wardline models use {} VERSION",
            new.name
        ));
    };
    let whether = if *unseen { "has seen none of them" } else { "may have seen some of them" };
    let values = format!(
        "{metric} {found:.4} new, {in_use:.4} in use, on the same {rows} rows (the one in use was made of other data, and \
         {whether})"
    );
    if advantage.low > 0.0 {
        return Ok(format!("better: {values}"));
    }
    if advantage.high >= 0.0 && new.rows_used >= MANY_MORE * old.rows_used {
        let (rows, before) = (new.rows_used, old.rows_used);
        return Ok(format!("not surely worse, and of {rows} rows instead of {before}: {values}"));
    }
    match metric.is_better(*found, *in_use) {
        true => Err(format!("better by less than is sure: {values}")),
        false => Err(format!("not better: {values}")),
    }
}

fn deciding(card: &ModelCard) -> Option<&Measured> {
    card.evaluation.metrics.iter().find(|measured| measured.metric == card.decides)
}

/// Values of two models say something about each other only if both learn the same.
fn comparable(new: &ModelCard, old: &ModelCard) -> Result<(), String> {
    if new.name != old.name {
        return Err(format!("{} is in use, which is another model", old.name));
    }
    if new.target != old.target {
        return Err("the model in use learnt another target: they cannot be compared".to_owned());
    }
    if new.decides != old.decides {
        return Err(format!("{} decided about the model in use: they cannot be compared", old.decides));
    }
    Ok(())
}
