//! Tests of the data sets: definitions, the traps of real files, the real files themselves, hostile files, invariants.

mod definitions;
mod hostile;
mod properties;
mod quality;
mod real;
mod traps;

use std::path::PathBuf;

use datafusion::arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::DataType,
};

use super::{Error, ImportReport, Input, Options, kind, quality::References};

/// What came out of an import.
struct Got {
    report: ImportReport,
    batches: Vec<RecordBatch>,
}

impl Got {
    /// A column's values as texts.
    fn column(&self, name: &str) -> Vec<Option<String>> {
        let of_batch = |batch: &RecordBatch| {
            let texts = cast(batch.column_by_name(name).expect(name), &DataType::Utf8).unwrap();
            texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        self.batches.iter().flat_map(of_batch).collect()
    }

    /// A column's first value.
    fn first(&self, name: &str) -> Option<String> {
        self.column(name).first().expect("a row").clone()
    }

    /// Values of a column that are there.
    fn n(&self, name: &str) -> usize {
        self.batches.iter().map(|batch| batch.num_rows() - batch.column_by_name(name).expect(name).null_count()).sum()
    }

    /// Sum of a column.
    fn sum(&self, name: &str) -> f64 {
        self.column(name).iter().flatten().map(|text| text.parse::<f64>().unwrap()).sum()
    }

    /// How many rows have this value.
    fn count(&self, name: &str, value: &str) -> usize {
        self.column(name).iter().flatten().filter(|text| *text == value).count()
    }
}

/// Imports, and holds what every import must keep.
fn import(name: &str, inputs: Vec<Input>, options: Options) -> Result<Got, Error> {
    let mut batches = Vec::new();
    let (report, _) = super::import(kind(name).unwrap(), inputs, options, &References::default(), |batch| {
        assert_eq!(batch.schema(), kind(name).unwrap().schema());
        batches.push(batch.clone());
        Ok(())
    })?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(report.n_read, report.n_accepted + report.n_refused);
    assert_eq!(report.n_accepted, rows as u64);
    assert_eq!(report.n_refused, report.refused.iter().map(|refused| refused.n).sum::<u64>());
    assert_eq!(report.n_read, report.files.iter().map(|file| file.n_read).sum::<u64>());
    Ok(Got { report, batches })
}

/// Imports a text under a file name.
fn text(kind: &str, name: &str, content: impl Into<Vec<u8>>) -> Result<Got, Error> {
    import(kind, vec![Input::reader(name, std::io::Cursor::new(content.into()))], Options::default())
}

/// A sample of the repository.
fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

/// A real file beside the workspace, or the sample that was cut from it. The second says whether it is the real one.
fn real(path: &str, instead: &str) -> (PathBuf, bool) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(path);
    if path.exists() { (path, true) } else { (sample(instead), false) }
}

/// Imports a file, by the layout where its name does not say which.
fn file(kind: &str, path: &std::path::Path, layout: Option<&str>) -> Got {
    let options = Options { layout: layout.map(str::to_owned), ..Options::default() };
    import(kind, vec![Input::file(path)], options).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
