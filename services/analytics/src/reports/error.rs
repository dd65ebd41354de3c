//! Why a report gives no answer.

use datafusion::error::DataFusionError;

/// Why a report gives no answer, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no report of this name.
    #[error("there is no report `{}`: ask for one of {}", model::escaped(name), names.join(", "))]
    UnknownReport {
        /// What was asked for.
        name: String,
        /// What there is.
        names: Vec<String>,
    },
    /// Parameters are missing, unknown or out of range; each mistake says what to do.
    #[error("report `{report}`: {}", mistakes.join("; "))]
    Parameters {
        /// Name of the report.
        report: String,
        /// Each mistake, in one sentence.
        mistakes: Vec<String>,
    },
    /// A table that the report reads is not there.
    #[error("report `{report}` reads `{table}`, of which nothing is imported: {}", whence(table))]
    MissingTable {
        /// Name of the report, or of the model whose query it is.
        report: String,
        /// The table, which has the name of its kind of data set.
        table: String,
    },
    /// A table's files are not where they should be.
    #[error("the files of a table cannot be used: {0}")]
    Files(String),
    /// The result is not what the report declares, because a table is not what its kind says.
    #[error("report `{report}`: {what}: import its data sets again")]
    Schema {
        /// Name of the report, or of the model whose query it is.
        report: String,
        /// What is other than the header declares, or which column is missing.
        what: String,
    },
    /// There are more rows than the caller allows.
    #[error("the report has more than {limit} rows: narrow it with its parameters, or allow more rows")]
    TooManyRows {
        /// Rows that are allowed.
        limit: usize,
    },
    /// The query needs more memory than it may have, and cannot go on on disk.
    #[error("the report needs more than {limit_bytes} bytes of memory: narrow it with its parameters, or allow more")]
    Memory {
        /// Bytes that are allowed.
        limit_bytes: usize,
        /// What the engine says.
        #[source]
        source: Box<DataFusionError>,
    },
    /// The engine failed: a damaged file, a full disk, or a mistake in the report.
    #[error("the report failed")]
    Engine(#[source] Box<DataFusionError>),
    /// The output could not be written.
    #[error("the report's output could not be written")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where rows of a table come from.
fn whence(table: &str) -> &'static str {
    if crate::archive::reading::TABLES.contains(&table) {
        "operators set up the archive"
    } else {
        "import a data set of this kind"
    }
}

impl Error {
    /// An error of the engine, told apart by whether memory ran out.
    pub(super) fn of_engine(error: DataFusionError, limit_bytes: usize) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Self::Memory { limit_bytes, source: Box::new(error) },
            _ => Self::Engine(Box::new(error)),
        }
    }
}
