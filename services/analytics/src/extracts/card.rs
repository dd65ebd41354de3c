//! The card of a data set: what it has, for whom, and who could be told from it.

use super::asked::Asked;
use crate::days;
use model::Nanos;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A combination that fewer share is rare.
const FEW: usize = 11;
/// Most days of each band but the last.
const BANDS: [usize; 6] = [0, 1, 7, 30, 90, 365];

/// Counts of what goes into an extract.
#[derive(Debug, Default)]
pub(super) struct Card {
    subjects: BTreeMap<String, Subject>,
    n_read: u64,
    n_rows: u64,
    n_repeats: u64,
}

/// What is in it of a subject.
#[derive(Debug, Default)]
struct Subject {
    /// In how many rows there is something of each metric.
    metrics: BTreeMap<String, u64>,
    /// Days since 1970, of moved times.
    days: BTreeSet<i64>,
}

impl Card {
    /// One who takes part, of whom there may be nothing.
    pub(super) fn subject(&mut self, name: &str) {
        self.subjects.entry(name.to_owned()).or_default();
    }

    /// Rows with something of a metric of a subject's, of the day of a moved time.
    pub(super) fn add(&mut self, name: &str, metric: &str, at: Nanos, n_rows: u64) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        match subject.metrics.get_mut(metric) {
            Some(there) => *there += n_rows,
            None => drop(subject.metrics.insert(metric.to_owned(), n_rows)),
        }
        subject.days.insert(at.0.div_euclid(Nanos::DAY));
    }

    /// Rows that were written, and repeats that were left out.
    pub(super) fn count(&mut self, n_rows: u64, n_repeats: u64) {
        self.n_rows += n_rows;
        self.n_repeats += n_repeats;
    }

    /// Readings that were looked at, whether anything is written of them or not.
    pub(super) fn saw(&mut self, n_read: usize) {
        self.n_read += n_read as u64;
    }

    /// Readings that were looked at, and rows that were written.
    pub(super) fn n_in_and_out(&self) -> (u64, u64) {
        (self.n_read, self.n_rows)
    }

    /// The card as it is handed out; times are moved by so many nanoseconds at most.
    pub(super) fn told(&self, asked: &Asked, longest: i64, columns: Value) -> Value {
        let with: Vec<_> = self.subjects.values().filter(|subject| !subject.metrics.is_empty()).collect();
        let mut metrics: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (metric, n) in with.iter().flat_map(|subject| &subject.metrics) {
            let (n_subjects, n_rows) = metrics.entry(metric).or_default();
            *n_subjects += 1;
            *n_rows += n;
        }
        let metrics: Vec<_> = metrics
            .iter()
            .map(|(key, (n_subjects, n_rows))| json!({"metric": key, "n_subjects": n_subjects, "n_rows": n_rows}))
            .collect();
        let from = (asked.from > Nanos::YEAR_1900).then(|| days::named(asked.from));
        json!({
            "study": asked.study,
            "from": from,
            "to": asked.said_to.map(days::named),
            "times": format!(
                "each subject's are moved back by a secret number of whole days, 1 to {}; from and to, too, are of moved times",
                longest / Nanos::DAY
            ),
            "n_subjects": self.subjects.len(),
            "n_subjects_with_rows": with.len(),
            "n_rows": self.n_rows,
            "n_repeats_left_out": self.n_repeats,
            "metrics": metrics,
            "columns": columns,
            "rare_combinations": rare(&with),
        })
    }
}

/// How many could be told from the others by what somebody may know of them: which metrics are measured, and on how many days.
fn rare(subjects: &[&Subject]) -> Value {
    let mut classes: BTreeMap<(Vec<&str>, usize), usize> = BTreeMap::new();
    for subject in subjects {
        let metrics = subject.metrics.keys().map(String::as_str).collect();
        let band = BANDS.iter().position(|most| subject.days.len() <= *most).unwrap_or(BANDS.len());
        *classes.entry((metrics, band)).or_default() += 1;
    }
    let few: Vec<_> = classes.values().filter(|n| **n < FEW).collect();
    json!({
        "of": "which metrics a subject has, and on how many days: 1, to 7, to 30, to 90, to 365, more",
        "n_combinations": classes.len(),
        "k": classes.values().min(),
        "rare_is_fewer_than": FEW,
        "n_rare_combinations": few.len(),
        "n_subjects_with_rare_combinations": few.into_iter().sum::<usize>(),
    })
}
