//! A pipeline's frame: the rows of its query over the current versions of its data sets.

use crate::{
    models::{self, Column, Frame, MAX_CELLS, MAX_ROWS, Pipeline, Transform, Values},
    reporting::{DataVersions, RunError, Runner},
    reports::{self, Limits, Session},
};
use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
    error::ArrowError,
};
use std::collections::HashSet;

/// A frame, and what it was made of.
#[derive(Debug)]
pub struct Framed {
    /// Rows of the pipeline's query, at least one.
    pub frame: Frame,
    /// Ids of the versions that were read, by kind of data set.
    pub data_versions: DataVersions,
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was imported of data sets that the model reads.
    #[error("the model {model} reads data sets of which nothing is imported: {}", imports(.kinds))]
    NotImported {
        /// Name of the model.
        model: String,
        /// The kinds of data sets.
        kinds: Vec<String>,
    },
    /// The query gives no row.
    #[error("the data sets of the model {model} ({}) have no row for it: import more of them", .kinds.join(", "))]
    NoRows {
        /// Name of the model.
        model: String,
        /// The kinds of data sets.
        kinds: Vec<String>,
    },
    /// A row does not say what it is.
    #[error("row {row} of the model {model} has no {column}")]
    Nameless {
        /// Name of the model.
        model: String,
        /// Number of the row, from 1.
        row: usize,
        /// Its column for the id or the group.
        column: String,
    },
    /// The query cannot be run.
    #[error("its query: {0}")]
    Query(#[from] RunError),
    /// The query's columns are not what the pipeline says.
    #[error(transparent)]
    Model(#[from] models::Error),
}

impl From<reports::Error> for Error {
    fn from(error: reports::Error) -> Self {
        Self::Query(error.into())
    }
}

/// Commands that mend it.
fn imports(kinds: &[String]) -> String {
    let commands: Vec<_> = kinds.iter().map(|kind| format!("`wardline import {kind} FILE`")).collect();
    commands.join(", ")
}

/// Runs the pipeline's query, and takes its rows as they come, up to the bounds of a frame.
///
/// # Errors
/// A data set of which nothing was imported, a query that does not give what the pipeline says, too many rows or none.
pub async fn frame_of(runner: &Runner, pipeline: &Pipeline) -> Result<Framed, Error> {
    let snapshot = runner.snapshot(&pipeline.sources).await?;
    let (tables, data_versions) = (snapshot.tables(), snapshot.versions().clone());
    let missing: Vec<_> = pipeline.sources.iter().filter(|kind| !tables.contains_key(*kind)).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::NotImported { model: pipeline.name.clone(), kinds: missing });
    }
    let limits = Limits { n_rows: MAX_ROWS, ..runner.limits().clone() };
    let mut rows = Rows::new(pipeline);
    let session = Session::open(&pipeline.name, tables, &limits).await?;
    session.select(&pipeline.query, |batch| rows.add(batch)).await?;
    Ok(Framed { frame: rows.finish()?, data_versions })
}

/// The rows so far.
struct Rows<'p> {
    pipeline: &'p Pipeline,
    ids: Vec<String>,
    groups: Option<Vec<String>>,
    columns: Vec<Column>,
}

impl<'p> Rows<'p> {
    /// No row of the features, the target and the columns by which fairness is looked at, each once.
    fn new(pipeline: &'p Pipeline) -> Self {
        let feature = |feature: &models::Feature| match feature.transform {
            Transform::OneHot => Column::texts(&feature.name, Vec::new()),
            Transform::None | Transform::Log1p => Column::numbers(&feature.name, &feature.unit, Vec::new()),
        };
        let target = pipeline.target.iter().map(|target| Column::numbers(&target.name, &target.unit, Vec::new()));
        let fairness = pipeline.fairness.iter().map(|name| Column::texts(name, Vec::new()));
        let mut names = HashSet::new();
        let all = pipeline.features.iter().map(feature).chain(target).chain(fairness);
        let columns = all.filter(|column| names.insert(column.name.clone())).collect();
        Self { pipeline, ids: Vec::new(), groups: pipeline.group.is_some().then(Vec::new), columns }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let rows = self.ids.len() + batch.num_rows();
        let cells = rows.saturating_mul(self.columns.len());
        if cells > MAX_CELLS {
            return Err(models::Error::TooLarge { rows, cells }.into());
        }
        let before = self.ids.len();
        self.ids.extend(self.names(batch, &self.pipeline.id, before)?);
        if let (Some(column), Some(mut groups)) = (&self.pipeline.group, self.groups.take()) {
            groups.extend(self.names(batch, column, before)?);
            self.groups = Some(groups);
        }
        for column in &mut self.columns {
            let array = array(batch, &column.name)?;
            match &mut column.values {
                Values::Numbers(values) => values.extend(numbers(&column.name, array)?),
                Values::Texts(values) => values.extend(texts(&column.name, array)?),
            }
        }
        Ok(())
    }

    /// What every row must have.
    fn names(&self, batch: &RecordBatch, column: &str, before: usize) -> Result<Vec<String>, Error> {
        let names = as_text(array(batch, column)?)?;
        let all: Option<Vec<_>> = names.iter().cloned().collect();
        all.ok_or_else(|| {
            let row = before + 1 + names.iter().position(Option::is_none).unwrap_or_default();
            Error::Nameless { model: self.pipeline.name.clone(), row, column: column.to_owned() }
        })
    }

    fn finish(self) -> Result<Frame, Error> {
        if self.ids.is_empty() {
            let (model, kinds) = (self.pipeline.name.clone(), self.pipeline.sources.clone());
            return Err(Error::NoRows { model, kinds });
        }
        Ok(Frame::new(self.ids, self.groups, self.columns)?)
    }
}

fn array<'b>(batch: &'b RecordBatch, column: &str) -> Result<&'b ArrayRef, Error> {
    Ok(batch.column_by_name(column).ok_or_else(|| models::Error::NoColumn { column: column.to_owned() })?)
}

/// Whole numbers, decimals and truth values become what they are; a text never becomes a number.
fn numbers(name: &str, array: &ArrayRef) -> Result<Vec<Option<f64>>, Error> {
    let kind = array.data_type();
    if !(kind.is_numeric() || matches!(kind, DataType::Boolean | DataType::Null)) {
        return Err(models::Error::Kind { column: name.to_owned(), expected: "numbers", found: "text" }.into());
    }
    let numbers = cast(array, &DataType::Float64).map_err(unread)?;
    Ok(numbers.as_primitive::<Float64Type>().iter().collect())
}

fn texts(name: &str, array: &ArrayRef) -> Result<Vec<Option<String>>, Error> {
    let kind = array.data_type();
    if !matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null) {
        return Err(models::Error::Kind { column: name.to_owned(), expected: "text", found: "numbers" }.into());
    }
    as_text(array)
}

fn as_text(array: &ArrayRef) -> Result<Vec<Option<String>>, Error> {
    let texts = cast(array, &DataType::Utf8).map_err(unread)?;
    Ok(texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
}

fn unread(error: ArrowError) -> Error {
    reports::Error::Engine(Box::new(error.into())).into()
}
