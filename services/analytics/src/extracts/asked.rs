//! What an extract is asked for: which study, who of it, when, and which metrics.

use super::What;
use crate::{
    days,
    jobs::kinds::{Parameter, Parameters, Range, Unfit, given},
};
use auth::Pseudonyms;
use model::{Metric, Nanos};
use std::collections::BTreeSet;

/// The parameter that names the study.
pub(super) const STUDY: &str = "study";
/// Most metrics of which features are made.
const FEATURE_METRICS: usize = 32;
const HOUR: i64 = 3_600 * Nanos::SECOND;

/// What is asked for, as data.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Id of the study.
    pub study: String,
    /// Those of the catalogue, by their keys; empty: all.
    pub metrics: Vec<&'static Metric>,
    /// First instant, of moved times.
    pub from: Nanos,
    /// First instant that is not asked for any more, of moved times.
    pub to: Nanos,
    /// The same, if it was said.
    pub said_to: Option<Nanos>,
    /// Of what is not over before it nothing is shown yet, of moved times.
    pub shown_until: Nanos,
    /// Names of subjects; none: all.
    pub subjects: Option<BTreeSet<String>>,
    /// Of features: nanoseconds from one prediction to the next, and how far each looks back.
    pub every_and_window: (i64, i64),
}

/// What jobs of these kinds take.
pub(super) fn parameters(what: What) -> Vec<Parameter> {
    let (all, metrics) = match what {
        What::Readings => (Some("-"), "keys of metrics such as 8867-4, with commas between; - for all"),
        What::Features => (None, "keys of 1 to 32 metrics such as 8867-4, with commas between"),
    };
    let mut parameters = vec![
        Parameter::new(STUDY, Range::Text(128), None, "whose subjects: id of the study"),
        Parameter::new("metrics", Range::Text(4_096), all, metrics),
        Parameter::new("from", Range::Text(10), Some("-"), "first day, of the study's times: YYYY-MM-DD; - for all"),
        Parameter::new("to", Range::Text(10), Some("-"), "day after the last one, of the study's times; - for all"),
        Parameter::new("subjects", Range::Text(65_536), Some("-"), "ids of subjects, with commas between; - for all"),
    ];
    if what == What::Features {
        let hours = |name, default, about| Parameter::new(name, Range::Integer(1, 8_760), Some(default), about);
        parameters.push(hours(
            "every_hours",
            "6",
            "from one instant of prediction to the next, counted from 1970-01-01T00:00Z",
        ));
        parameters.push(hours("window_hours", "24", "how far each looks back"));
    }
    parameters
}

impl Asked {
    /// As parameters say it.
    pub(super) fn of(what: What, parameters: &Parameters) -> Result<Self, Unfit> {
        let metrics = match given(parameters, "metrics") {
            Some(keys) => each(keys, "metrics", "a metric of the catalogue, such as 8867-4", model::by_code)?,
            None => Vec::new(),
        };
        let mut metrics: Vec<_> = metrics.into_iter().collect();
        metrics.sort_unstable_by_key(|metric| metric.key);
        metrics.dedup_by_key(|metric| metric.key);
        if what == What::Features && !(1..=FEATURE_METRICS).contains(&metrics.len()) {
            return Err(unfit("metrics", format!("must be 1 to {FEATURE_METRICS} metrics")));
        }
        let subject = |text: &str| Pseudonyms::is_name(text).then(|| text.to_owned());
        let subjects = given(parameters, "subjects");
        let subjects = subjects.map(|names| each(names, "subjects", "a subject's id: 32 of 0-9 and a-f", subject));
        let (from, to) = (day(parameters, "from")?, day(parameters, "to")?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(unfit("to", "must be after `from`".to_owned()));
        }
        let hours = |name| parameters.get(name).and_then(|hours| hours.parse().ok()).unwrap_or(1) * HOUR;
        Ok(Self {
            study: parameters.get(STUDY).cloned().unwrap_or_default(),
            metrics,
            from: from.unwrap_or(Nanos::YEAR_1900),
            to: to.unwrap_or(Nanos::MAX),
            said_to: to,
            shown_until: Nanos::MAX,
            subjects: subjects.transpose()?.map(|names| names.into_iter().collect()),
            every_and_window: (hours("every_hours"), hours("window_hours")),
        })
    }

    /// The same up to the day of an instant: nothing of that day is shown yet.
    ///
    /// # Errors
    /// It begins later.
    pub(super) fn shown(self, until: Nanos) -> Result<Self, Unfit> {
        let shown_until = days::start(until);
        if self.from >= shown_until {
            return Err(unfit(
                "from",
                format!("must be before {}: nothing is shown of later days yet", days::named(shown_until)),
            ));
        }
        Ok(Self { to: self.to.min(shown_until), shown_until, ..self })
    }
}

/// The items of a list with commas, each of which must be something.
fn each<T>(list: &str, name: &str, must: &str, of: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Unfit> {
    let one =
        |(n, text): (usize, &str)| of(text.trim()).ok_or_else(|| unfit(name, format!("item {} must be {must}", n + 1)));
    list.split(',').enumerate().map(one).collect()
}

fn day(parameters: &Parameters, name: &str) -> Result<Option<Nanos>, Unfit> {
    let date = |text: &str| days::begins(text).filter(|day| *day >= Nanos::YEAR_1900);
    let must = || unfit(name, "must be a day from 1900-01-01 to 2261-12-31, as YYYY-MM-DD".to_owned());
    given(parameters, name).map(|text| date(text).ok_or_else(must)).transpose()
}

fn unfit(name: &str, text: String) -> Unfit {
    Unfit { field: format!("parameters.{name}"), text }
}
