//! Tables for tests: Parquet files made from lines of text, with the types that the kinds of data sets declare.

use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, StringArray, new_null_array},
    compute::{SortOptions, cast, concat_batches},
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::RecordBatch,
    row::{RowConverter, SortField},
};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use crate::{
    archive,
    reports::{Answer, Cell, Error, Limits, Order, Report, Reports, TableFiles},
    residences,
};

/// A kind of data set as its file declares it: name and type of each column, and its key.
pub(super) struct Kind {
    pub(super) columns: Vec<(String, DataType)>,
    pub(super) key: Vec<String>,
    pub(super) publisher: String,
}

impl Kind {
    pub(super) fn of(table: &str) -> Self {
        if table == archive::reading::TABLE {
            return Self::of_archive(&archive::columns::SCHEMA, &["device_id", "stream_id", "sequence", "place"]);
        }
        if table == archive::audit_counts::TABLE {
            return Self::of_archive(&archive::audit_counts::SCHEMA, &["hour", "action", "purpose", "refused"]);
        }
        if table == residences::TABLE {
            return Self::of_archive(&residences::SCHEMA, &["patient_id"]);
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("datasets/{table}.toml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let kind: toml::Table = toml::from_str(&text).unwrap();
        let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
        let columns = kind["columns"].as_array().unwrap().iter();
        Self {
            columns: columns.map(|column| (text(&column["name"]), arrow(column["type"].as_str().unwrap()))).collect(),
            key: kind["key"].as_array().unwrap().iter().map(text).collect(),
            publisher: text(&kind["publisher"]),
        }
    }

    /// A table of this installation, without what no text can say.
    fn of_archive(schema: &SchemaRef, key: &[&str]) -> Self {
        let fields = schema.fields().iter().filter(|field| !field.data_type().is_nested());
        let columns = fields.map(|field| (field.name().clone(), field.data_type().clone())).collect();
        let key = key.iter().map(|name| (*name).to_owned()).collect();
        Self { columns, key, publisher: "this installation".to_owned() }
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns.iter().map(|(name, kind)| Field::new(name, kind.clone(), true)).collect::<Vec<_>>(),
        ))
    }

    /// Rows of which some columns are given as texts; an empty text is a null.
    fn batch(&self, headings: &[&str], lines: &[Vec<String>]) -> RecordBatch {
        for heading in headings {
            assert!(self.columns.iter().any(|(name, _)| name == heading), "{heading} is no column");
        }
        let column = |(name, kind): &(String, DataType)| -> ArrayRef {
            let Some(place) = headings.iter().position(|heading| heading == name) else {
                return new_null_array(kind, lines.len());
            };
            let texts = lines.iter().map(|line| Some(line[place].as_str()).filter(|text| !text.is_empty()));
            let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
            let array = cast(&texts, kind).unwrap();
            assert_eq!(array.null_count(), texts.null_count(), "a cell of {name} is no {kind}");
            array
        };
        RecordBatch::try_new(self.schema(), self.columns.iter().map(column).collect()).unwrap()
    }
}

fn arrow(kind: &str) -> DataType {
    match kind {
        "text" => DataType::Utf8,
        "integer" => DataType::Int64,
        "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "decimal(18,2)" => DataType::Decimal128(18, 2),
        other => panic!("type {other}"),
    }
}

/// Tables in a folder of their own, which goes with them.
pub(super) struct Tables {
    pub(super) folder: TempDir,
    pub(super) files: BTreeMap<String, TableFiles>,
}

impl Tables {
    pub(super) fn none() -> Self {
        Self { folder: TempDir::new().unwrap(), files: BTreeMap::new() }
    }

    /// Tables of one file each. A text's first line has headings; cells are divided by bars.
    pub(super) fn of(tables: &[(&str, &str)]) -> Self {
        let mut made = Self::none();
        for (table, text) in tables {
            let mut lines = text.trim().lines().map(|line| line.trim().split('|').map(str::trim).collect::<Vec<_>>());
            let headings = lines.next().unwrap();
            let lines: Vec<Vec<String>> = lines.map(|line| line.into_iter().map(Into::into).collect()).collect();
            assert!(lines.iter().all(|line| line.len() == headings.len()), "a line of {table} has other cells");
            made.add(table, &headings, &lines, 1);
        }
        made
    }

    /// Adds a table in so many files.
    pub(super) fn add(&mut self, table: &str, headings: &[&str], lines: &[Vec<String>], n_files: usize) {
        let folder = self.folder.path().join(table);
        std::fs::create_dir(&folder).unwrap();
        let kind = Kind::of(table);
        let size = lines.len().div_ceil(n_files).max(1);
        for (i, part) in (0..n_files).zip(lines.chunks(size).chain(std::iter::repeat(&[][..]))) {
            let file = File::create(folder.join(format!("{i:03}.parquet"))).unwrap();
            let mut writer = ArrowWriter::try_new(file, kind.schema(), None).unwrap();
            writer.write(&kind.batch(headings, part)).unwrap();
            writer.close().unwrap();
        }
        self.files.insert(table.into(), TableFiles::local([&folder]).unwrap());
    }

    /// Runs a report.
    pub(super) async fn run(&self, report: &str, given: &[(&str, &str)], limits: &Limits) -> Result<Answer, Error> {
        let report = Reports::find(report)?;
        let given = given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        report.run(&self.files, report.check(&given)?, limits).await
    }

    /// Runs a report; each row is a line, its cells divided by bars.
    pub(super) async fn lines(&self, report: &str, given: &[(&str, &str)]) -> Vec<String> {
        lines(self.run(report, given, &limits()).await.unwrap()).await
    }
}

/// Limits that no test of a result reaches.
pub(super) fn limits() -> Limits {
    Limits { n_partitions: 2, ..Limits::default() }
}

/// An answer's rows as lines, their cells divided by bars. They must be in the order that the report's header says.
pub(super) async fn lines(answer: Answer) -> Vec<String> {
    let line = |batch: &RecordBatch, row| {
        let cells = (0..batch.num_columns()).map(|column| Cell::of(batch, row, column).to_string());
        cells.collect::<Vec<_>>().join("|")
    };
    let (report, schema) = (answer.report(), answer.schema().clone());
    let batches = answer.collect().await.unwrap();
    assert_ordered(report, &concat_batches(&schema, &batches).unwrap());
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| line(batch, row))).collect()
}

fn assert_ordered(report: &Report, rows: &RecordBatch) {
    let by: Vec<ArrayRef> = report.order.iter().map(|by| rows.column_by_name(&by.column).unwrap().clone()).collect();
    let field = |(by, column): (&Order, &ArrayRef)| {
        let options = SortOptions { descending: by.descending, nulls_first: false };
        SortField::new_with_options(column.data_type().clone(), options)
    };
    let converter = RowConverter::new(report.order.iter().zip(&by).map(field).collect()).unwrap();
    let keys = converter.convert_columns(&by).unwrap();
    let wrong = (1..keys.num_rows()).find(|row| keys.row(row - 1) > keys.row(*row));
    assert_eq!(wrong, None, "{}: this row and the one before it are not in the declared order", report.name);
}
