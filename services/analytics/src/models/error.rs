//! Why a model cannot be made, loaded or asked.

use std::fmt;

/// Everything that can go wrong with frames, pipelines, models and artefacts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A frame is larger than its bounds.
    #[error("{rows} rows with {cells} cells are more than a frame may have")]
    TooLarge {
        /// Number of rows given; at most [`super::MAX_ROWS`] are possible.
        rows: usize,
        /// Number of cells given; at most [`super::MAX_CELLS`] are possible.
        cells: usize,
    },
    /// Features have so many levels that the matrix becomes too wide.
    #[error("{columns} columns of features and levels are too many")]
    TooWide {
        /// Number of columns that the matrix would have; at most 512 are possible.
        columns: usize,
    },
    /// A column has another length than the ids.
    #[error("column {column} has {rows} rows, the frame has {expected}")]
    Lengths {
        /// Name of the column.
        column: String,
        /// Number of its rows.
        rows: usize,
        /// The frame's rows.
        expected: usize,
    },
    /// A row has another number of values than there are columns.
    #[error("row {row} has {values} values, the frame has {expected} columns")]
    RowLength {
        /// Id of the row.
        row: String,
        /// Number of its values.
        values: usize,
        /// The frame's columns.
        expected: usize,
    },
    /// Two columns have one name.
    #[error("there are two columns {column}")]
    NamedTwice {
        /// Name that both have.
        column: String,
    },
    /// A value is NaN or infinite.
    #[error("column {column}, row {row}: not a finite number; what is missing must be given as missing")]
    NotFinite {
        /// Name of the column.
        column: String,
        /// Id of the row.
        row: String,
    },
    /// A column that the pipeline names is not in the frame.
    #[error("the frame has no column {column}")]
    NoColumn {
        /// Name of the column that is missing.
        column: String,
    },
    /// A column has text where numbers are needed, or the other way round.
    #[error("column {column} must be {expected}, and is {found}")]
    Kind {
        /// Name of the column.
        column: String,
        /// What the pipeline says.
        expected: &'static str,
        /// What the frame has.
        found: &'static str,
    },
    /// A column is in another unit than the pipeline says.
    #[error("column {column} is in {found}, the pipeline says {expected}")]
    Unit {
        /// Name of the column.
        column: String,
        /// The frame's unit.
        found: String,
        /// The pipeline's unit.
        expected: String,
    },
    /// A value cannot be transformed as the pipeline says.
    #[error("column {column}, row {row}: log1p of {value} is not defined, it must be more than -1")]
    Transform {
        /// Name of the column.
        column: String,
        /// Id of the row.
        row: String,
        /// Value before the transform, in the column's unit.
        value: f64,
    },
    /// A target of a classifier is neither 0 nor 1.
    #[error("the target {target} is {value} in row {row}; a classifier learns 0 and 1")]
    NotBinary {
        /// The target's column.
        target: String,
        /// Id of the row.
        row: String,
        /// Value of the target, which is neither 0 nor 1.
        value: f64,
    },
    /// Too little is left to fit and to hold out.
    #[error("{what}: {found} are too few, {needed} are needed")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// What is there.
        found: usize,
        /// What is needed.
        needed: usize,
    },
    /// A feature follows from the others: its coefficient means nothing.
    #[error("feature {feature} follows from the others (collinear): leave one of them out")]
    Collinear {
        /// Name of the feature, with `=` and the level if it is the column of a level.
        feature: String,
    },
    /// The caller said stop.
    #[error("stopped while {0}")]
    Stopped(String),
    /// A pipeline file is not well formed.
    #[error("pipeline {name}")]
    PipelineFile {
        /// Name of the pipeline.
        name: String,
        /// What the parser says.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A pipeline contradicts itself.
    #[error("pipeline {name}: {problem}")]
    Pipeline {
        /// Name of the pipeline.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no pipeline of this name.
    #[error("there is no model {}", model::escaped(.0))]
    NoPipeline(String),
    /// The library that fits refused.
    #[error("fitting failed: {0}")]
    Fit(String),
    /// The bytes of an artefact are not what was written.
    #[error("artefact: {0}")]
    Damaged(&'static str),
    /// An artefact is larger than [`super::MAX_ARTEFACT_BYTES`].
    #[error("artefact: {bytes} bytes are more than a model may have")]
    ArtefactSize {
        /// Size found, in bytes.
        bytes: u64,
    },
    /// An artefact was written in another format.
    #[error("artefact: format {found}, this build reads format {expected}: train the model again")]
    Format {
        /// Version in the artefact.
        found: u16,
        /// Version that is read.
        expected: u16,
    },
    /// An artefact was trained for another schema than the pipeline has now.
    #[error("artefact: trained for another schema ({difference}): train the model again")]
    Schema {
        /// The first difference.
        difference: String,
    },
    /// The parts of an artefact could not be written or read.
    #[error("artefact: cannot be written")]
    Encode(#[source] postcard::Error),
    /// The artefact's payload could not be compressed.
    #[error("artefact: cannot be compressed")]
    Compress(#[source] std::io::Error),
    /// Inputs of a prediction are wrong; all of them are named.
    #[error("{}", ListedInputs(.0))]
    Inputs(Vec<WrongInput>),
}

/// One input of a prediction that cannot be taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WrongInput {
    /// A feature is not given and has no value to stand in.
    #[error("{0} is missing")]
    Missing(String),
    /// The model has no such feature.
    #[error("{} is unknown to this model", model::escaped(.0))]
    Unknown(String),
    /// NaN or infinite.
    #[error("{0} is not a finite number")]
    NotFinite(String),
    /// Text where a number belongs, or the other way round.
    #[error("{feature} must be a {expected}")]
    Kind {
        /// Name of the feature.
        feature: String,
        /// `number` or `text`.
        expected: &'static str,
    },
    /// A text that is none of the feature's levels.
    #[error("{feature} has no level {}", model::escaped(level))]
    Level {
        /// Name of the feature.
        feature: String,
        /// The text that was given.
        level: String,
    },
    /// The transform is not defined there.
    #[error("{0} must be more than -1")]
    Domain(String),
}

struct ListedInputs<'a>(&'a [WrongInput]);

impl fmt::Display for ListedInputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, input) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { "; " };
            write!(f, "{before}{input}")?;
        }
        Ok(())
    }
}
