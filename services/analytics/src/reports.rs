//! Reports: SQL over the data sets' tables, one file a report, with typed parameters and a declared result.
//!
//! A report is a file in `reports/`: a header (title, tables, parameters, columns with units, order) and one SELECT. What the
//! header says is checked: parameters before the query runs, the result's schema when it is planned, the rest by the tests. The
//! result does not depend on how many threads worked on it: the order is total, and sums of fractions are rounded.
//!
//! A report runs in memory that is bounded ([`Limits`]), sorts and groups on disk beyond it, and hands out its rows in batches
//! ([`Answer`]): whoever drops the answer cancels it. Money is DECIMAL from the file to the output.

mod answer;
mod cell;
mod engine;
mod error;
mod files;
mod great_circle;
mod header;
pub mod insights;
mod list;
mod memory;
mod nearest;
pub mod output;
mod parameters;
mod row;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

pub use self::{
    answer::Answer,
    cell::Cell,
    engine::{Limits, Session},
    error::Error,
    files::TableFiles,
    header::{Column, Order, Report, Type},
    parameters::{Domain, Parameter, Parameters, Value},
    row::Row,
};
pub(crate) use self::{
    answer::{declared, plain},
    engine::{CATALOG, beside, context, only_reading, plan},
};

static REPORTS: LazyLock<Reports> =
    LazyLock::new(|| Reports::read(list::FILES).expect("the compiled-in reports are read by a test"));

/// All reports, by name.
#[derive(Debug)]
pub struct Reports(BTreeMap<String, Report>);

impl Reports {
    /// Every report, by name.
    pub fn all() -> impl Iterator<Item = &'static Report> {
        REPORTS.0.values()
    }

    /// The report of this name or alias.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownReport`] with the names that there are.
    pub fn find(name: &str) -> Result<&'static Report, Error> {
        let named = REPORTS.0.get(name).or_else(|| Self::all().find(|report| report.aliases.iter().any(|a| a == name)));
        named.ok_or_else(|| Error::UnknownReport { name: name.into(), names: REPORTS.0.keys().cloned().collect() })
    }

    /// Reads the files, and adds to each report what the reports that it uses need.
    fn read(files: &[(&'static str, &'static str)]) -> Result<Self, String> {
        let read = |&(name, text): &(&'static str, &'static str)| {
            let report = Report::read(name, text).map_err(|mistake| format!("{name}: {mistake}"))?;
            Ok((report.name.clone(), report))
        };
        let mut reports = files.iter().map(read).collect::<Result<BTreeMap<_, _>, String>>()?;
        let alone = reports.clone();
        for report in reports.values_mut() {
            let mut waiting = report.uses.clone();
            while let Some(name) = waiting.pop() {
                let used =
                    alone.get(&name).ok_or_else(|| format!("{}: uses {name}, which is no report", report.name))?;
                report.tables.extend(used.tables.iter().cloned());
                report.sources.extend(used.sources.iter().cloned());
                waiting.extend(used.uses.iter().cloned());
            }
        }
        Ok(Self(reports))
    }
}

impl Report {
    /// Checks what was given against the parameters, and puts defaults where nothing was. All mistakes are said at once.
    ///
    /// # Errors
    ///
    /// [`Error::Parameters`]: each mistake names the parameter, what it may be and what to do.
    pub fn check(&self, given: &BTreeMap<String, String>) -> Result<Parameters, Error> {
        parameters::check(&self.parameters, given)
            .map_err(|mistakes| Error::Parameters { report: self.name.clone(), mistakes })
    }

    /// Plans the report over the tables and starts it. Rows come from the [`Answer`].
    ///
    /// `tables` may hold more than the report reads; what it does not read is not opened.
    ///
    /// # Errors
    ///
    /// [`Error::MissingTable`] where a data set is not imported, [`Error::Memory`] where the memory does not suffice,
    /// [`Error::Schema`] where a table is not what its kind says, [`Error::Engine`] for anything else.
    pub async fn run(
        &'static self,
        tables: &BTreeMap<String, TableFiles>,
        parameters: Parameters,
        limits: &Limits,
    ) -> Result<Answer, Error> {
        engine::run(self, tables, parameters, limits).await
    }

    /// Those of its tables in which numbers of made samples are.
    fn made<'t>(&'t self, tables: &'t BTreeMap<String, TableFiles>) -> impl Iterator<Item = &'t String> {
        self.tables.iter().filter(|table| tables.get(*table).is_some_and(TableFiles::is_made))
    }

    /// The reports whose results this one reads as tables, those first that others need.
    fn used(&self) -> Vec<&'static Report> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in &self.uses {
            let report = &REPORTS.0[name];
            for used in report.used().into_iter().chain([report]) {
                if seen.insert(&used.name) {
                    order.push(used);
                }
            }
        }
        order
    }
}
