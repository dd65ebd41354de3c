//! Insights: plain sentences about the data, each with the report that it comes from and the numbers behind it.
//!
//! A sentence says nothing that is not among its numbers. A comparison says how many things it stands on, and an interval where
//! the report has one. Nothing is said of cause. A report that cannot run, or whose rows do not suffice, is left out and named.

mod sentences;

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::record_batch::RecordBatch;
use serde::Serialize;

use super::{Error, Limits, Report, Reports, Row, TableFiles};

/// What was found, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Insights {
    /// The sentences, in the order of the questions.
    pub found: Vec<Insight>,
    /// Questions without an answer.
    pub left_out: Vec<LeftOut>,
}

/// A sentence and what it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Insight {
    /// One or two sentences of plain English.
    pub sentence: String,
    /// The report that was run.
    pub report: String,
    /// With what it was asked.
    pub parameters: BTreeMap<String, String>,
    /// The numbers behind the sentence, in its order.
    pub numbers: Vec<Number>,
}

/// A number of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Number {
    /// Which row it is of, such as a state.
    pub of: String,
    /// Name of the report's column.
    pub column: String,
    /// The number, as the report writes it.
    pub value: String,
    /// Its UCUM unit.
    pub unit: String,
}

/// A question without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The report that was asked.
    pub report: String,
    /// Why, in one sentence.
    pub why: String,
}

/// Kinds of data sets that the questions are about.
#[must_use]
pub fn tables() -> BTreeSet<String> {
    let reports = sentences::QUESTIONS.iter().filter_map(|question| Reports::find(question.report).ok());
    reports.flat_map(|report| report.tables.iter().cloned()).collect()
}

/// Asks all questions, one after the other.
///
/// # Errors
///
/// Those of [`Report::run`], but for a missing table: its question is left out, and said.
pub async fn insights(tables: &BTreeMap<String, TableFiles>, limits: &Limits) -> Result<Insights, Error> {
    let mut insights = Insights::default();
    for question in sentences::QUESTIONS {
        let report = Reports::find(question.report)?;
        let given: BTreeMap<String, String> =
            question.parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let answer = match report.run(tables, report.check(&given)?, limits).await {
            Ok(answer) => answer,
            Err(error @ Error::MissingTable { .. }) => {
                insights.left_out.push(LeftOut { report: report.name.clone(), why: error.to_string() });
                continue;
            }
            Err(error) => return Err(error),
        };
        let parameters = answer.parameters().iter().map(|(name, value)| (name.into(), value.to_string())).collect();
        let rows = Rows { report, batches: answer.collect().await? };
        match (question.say)(&rows) {
            Some((mut sentence, numbers)) => {
                sentence += &made(question, report, tables);
                insights.found.push(Insight { sentence, report: report.name.clone(), parameters, numbers });
            }
            None => insights.left_out.push(LeftOut {
                report: report.name.clone(),
                why: "its rows do not suffice for the comparison".into(),
            }),
        }
    }
    Ok(insights)
}

/// What is added to a sentence whose numbers are those of made samples.
fn made(question: &Question, report: &Report, tables: &BTreeMap<String, TableFiles>) -> String {
    let is_of_it = |table: &&String| question.of.is_empty() || question.of.contains(&table.as_str());
    let made: Vec<&str> = report.made(tables).filter(is_of_it).map(String::as_str).collect();
    if made.is_empty() { String::new() } else { format!(" (made sample data: {})", made.join(", ")) }
}

/// A sentence and the numbers behind it.
type Said = (String, Vec<Number>);

/// A question: a report, what it is asked, and what is said of its rows; nothing where they do not suffice.
struct Question {
    report: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    /// The report's tables that the sentence is about; none: all of them.
    of: &'static [&'static str],
    say: fn(&Rows) -> Option<Said>,
}

/// The rows of a report.
struct Rows {
    report: &'static Report,
    batches: Vec<RecordBatch>,
}

impl Rows {
    fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.batches.iter().flat_map(|batch| Row::all(self.report, batch))
    }

    /// The first row whose column has this text.
    fn with(&self, column: &str, text: &str) -> Option<Row<'_>> {
        self.iter().find(|row| row.text(column) == text)
    }

    /// The rows with the least and with the greatest number in the column, and how many have one; where two or more have.
    fn ends(&self, column: &str) -> Option<(Row<'_>, Row<'_>, usize)> {
        let mut known: Vec<(f64, Row<'_>)> = self.iter().filter_map(|row| Some((row.number(column)?, row))).collect();
        known.sort_by(|a, b| a.0.total_cmp(&b.0));
        match known.as_slice() {
            [(_, least), .., (_, greatest)] => Some((*least, *greatest, known.len())),
            _ => None,
        }
    }
}

impl Row<'_> {
    /// The numbers of these columns, with the name of the row.
    fn numbers(&self, of: &str, columns: &[&str]) -> Vec<Number> {
        let declared = self.report.columns.iter().filter(|declared| columns.contains(&declared.name.as_str()));
        let number = |declared: &super::Column| Number {
            of: of.into(),
            column: declared.name.clone(),
            value: self.text(&declared.name),
            unit: declared.unit.clone(),
        };
        declared.map(number).collect()
    }
}
