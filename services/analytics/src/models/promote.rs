//! Whether a newly trained model replaces the one in use.
//!
//! The rule, for the pipeline's deciding metric on held-out rows: the new value is better, and neither value lies
//! inside the other's 95 % interval. For two independent values of equal width that is a difference of 1.4 standard
//! errors of the difference; both are judged on nearly the same rows, so in truth it is stricter. Equal or worse is
//! never promoted, and a first model must be better in the same way than one that knows nothing.

use super::card::ModelCard;
use super::metrics::Measured;
use serde::{Deserialize, Serialize};

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the new model is to be used.
    pub promoted: bool,
    /// Why, for people.
    pub reason: String,
}

/// Decides between a new model and the one in use, by their cards.
pub fn promote(new: &ModelCard, old: Option<&ModelCard>) -> Decision {
    match reason_against(new, old) {
        Err(reason) => Decision { promoted: false, reason },
        Ok(reason) => Decision { promoted: true, reason },
    }
}

fn reason_against(new: &ModelCard, old: Option<&ModelCard>) -> Result<String, String> {
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
