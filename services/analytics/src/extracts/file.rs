//! The Parquet file of an extract. The same rows give the same bytes.

use super::{
    What,
    asked::Asked,
    card::Card,
    features::{Prediction, Window},
    readings::{SubjectHour, engine},
    rows::of_archive,
};
use crate::{archive, hexadecimal::hexadecimal, reports::Error};
use datafusion::arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    compute::{cast, filter},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
    error::ArrowError,
};
use parquet::{arrow::ArrowWriter, file::metadata::KeyValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Under which key the file has its card.
const CARD_KEY: &str = "wardline.card";
/// Columns that an extract has from the archive, after the subject's id and the time.
const FROM_ARCHIVE: [&str; 10] = [
    "measured_at_ns",
    "measured_until",
    "metric",
    "value",
    "unit",
    "comparator",
    "code",
    "absent_reason",
    "waveform",
    "quality",
];
/// Bytes that are held until they are written as a group of rows.
const GROUP_BYTES: usize = 64 << 20;
/// Bytes that are read at once.
const PART: usize = 1 << 16;
/// Features that are written at once.
const AT_ONCE: usize = 1_024;

/// A file that is being written.
pub(super) struct File {
    path: PathBuf,
    schema: SchemaRef,
    columns: Value,
    writer: ArrowWriter<fs::File>,
    /// Keys of the metrics that were asked for.
    keys: Vec<&'static str>,
    waiting: Vec<(String, Prediction)>,
}

impl File {
    pub(super) fn create(path: &Path, what: What, asked: &Asked) -> io::Result<Self> {
        let columns = match what {
            What::Readings => of_readings(SUBJECT),
            What::Features => of_features(asked),
        };
        let schema = schema(&columns);
        let told =
            columns.iter().map(|(name, kind, _, about)| json!({"name": name, "type": named(kind), "about": about}));
        let columns = told.collect();
        let writer = archive::plain_parquet(fs::File::create(path)?, &schema).map_err(io::Error::other)?;
        let keys = asked.metrics.iter().map(|metric| metric.key).collect();
        Ok(Self { path: path.to_owned(), schema, columns, writer, keys, waiting: Vec::new() })
    }

    /// Its columns, for the card.
    pub(super) fn columns(&self) -> Value {
        self.columns.clone()
    }

    /// Adds the readings of an hour that are shown.
    pub(super) fn readings(&mut self, name: &str, hour: &SubjectHour, card: &mut Card) -> Result<(), Error> {
        let batch = shown_rows(&self.schema, name, hour).map_err(engine)?;
        card.count(batch.num_rows() as u64, hour.n_repeats());
        let mut of_metrics: BTreeMap<&str, u64> = BTreeMap::new();
        for row in (0..hour.rows.len()).filter(|row| hour.shown[*row]) {
            *of_metrics.entry(hour.rows.metric.value(row)).or_default() += 1;
        }
        // times are moved by whole days: those of an hour are of one day
        let at = hour.rows.at(0).plus(-hour.moved_by);
        of_metrics.into_iter().for_each(|(metric, n_rows)| card.add(name, metric, at, n_rows));
        self.write(&batch)
    }

    /// Adds what was known at an instant.
    pub(super) fn features(&mut self, name: &str, prediction: Prediction, card: &mut Card) -> Result<(), Error> {
        card.count(1, 0);
        for (key, window) in self.keys.iter().zip(&prediction.windows) {
            if window.is_some() {
                card.add(name, key, prediction.at, 1);
            }
        }
        self.waiting.push((name.to_owned(), prediction));
        if self.waiting.len() < AT_ONCE { Ok(()) } else { self.write_features() }
    }

    fn write_features(&mut self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut self.waiting);
        let at = waiting.iter().map(|(_, one)| one.at.0.div_euclid(1_000));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(waiting.iter().map(|(name, _)| name))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC")),
        ];
        for place in 0..waiting.first().map_or(0, |(_, one)| one.windows.len()) {
            let windows = || waiting.iter().map(|(_, one)| one.windows[place].as_ref());
            let numbers = |of: fn(&Window) -> f64| windows().map(|window| window.map(of)).collect::<Float64Array>();
            columns.push(Arc::new(
                windows().map(|window| Some(window.map_or(0, |window| window.n))).collect::<Int64Array>(),
            ));
            for Number { of, .. } in NUMBERS {
                columns.push(Arc::new(numbers(of)));
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(engine)?;
        self.write(&batch)
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let written = self.writer.write(batch).and_then(|()| match self.writer.in_progress_size() > GROUP_BYTES {
            true => self.writer.flush(),
            false => Ok(()),
        });
        written.map_err(|error| Error::Write(error.into()))
    }

    /// Ends the file; the SHA-256 of its bytes.
    pub(super) async fn end(mut self, card: &Value) -> Result<String, Error> {
        self.write_features()?;
        self.writer.append_key_value_metadata(KeyValue::new(CARD_KEY.to_owned(), card.to_string()));
        self.writer.close().map_err(|error| Error::Write(error.into()))?;
        let path = self.path;
        let digest = move || -> io::Result<String> {
            let (mut file, mut hasher, mut part) = (fs::File::open(path)?, Sha256::new(), vec![0; PART]);
            loop {
                match file.read(&mut part)? {
                    0 => return Ok(hexadecimal(hasher.finalize())),
                    n => hasher.update(&part[..n]),
                }
            }
        };
        let digest = tokio::task::spawn_blocking(digest).await.unwrap_or_else(|cause| Err(io::Error::other(cause)));
        digest.map_err(|error| Error::Write(error.into()))
    }
}

/// The readings of an hour that are shown, in columns of [`reading_columns`].
pub(crate) fn shown_rows(schema: &SchemaRef, name: &str, hour: &SubjectHour) -> Result<RecordBatch, ArrowError> {
    let kept = BooleanArray::from(hour.shown.clone());
    let moved = hour.moved_by / 1_000;
    let earlier = |column: &TimestampMicrosecondArray| column.unary::<_, TimestampMicrosecondType>(|at| at - moved);
    let time = |column: ArrayRef| earlier(column.as_primitive()).with_timezone("UTC");
    let bits = hour.judgement.quality.iter().map(|quality| i32::from(quality.bits()));
    let good = hour.judgement.quality.iter().map(|quality| Some(quality.is_good()));
    let (bits, good) = (Int32Array::from_iter_values(bits), good.collect::<BooleanArray>());
    let n_kept = kept.true_count();
    let column = |field: &Arc<Field>| {
        let own: ArrayRef = match field.name().as_str() {
            "subject_id" | "patient_id" => {
                return Ok(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(name, n_kept))) as _);
            }
            "measured_at" => Arc::new(time(Arc::new(hour.rows.measured_at.clone()))),
            "measured_until" => Arc::new(time(Arc::new(hour.rows.measured_until.clone()))),
            "quality" => Arc::new(bits.clone()),
            "good" => Arc::new(good.clone()),
            other => {
                let column = hour.batch.column_by_name(other);
                Arc::clone(column.ok_or_else(|| ArrowError::SchemaError(format!("no {other}")))?)
            }
        };
        filter(&cast(&own, field.data_type())?, &kept)
    };
    RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(column).collect::<Result<_, _>>()?)
}

/// Name, type, whether it may be null, and what it says.
type Told = (String, DataType, bool, String);

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// What a subject's readings say whose they are by: a column, and what it says.
pub(crate) const SUBJECT: (&str, &str) = ("subject_id", "whose reading it is: the study's name for the subject");

fn schema(columns: &[Told]) -> SchemaRef {
    let field = |(name, kind, optional, _): &Told| Field::new(name, kind.clone(), *optional);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// The columns of readings, the first of which says whose they are.
pub(crate) fn reading_columns(whose: (&str, &str)) -> SchemaRef {
    schema(&of_readings(whose))
}

fn of_readings((whose, about_whose): (&str, &str)) -> Vec<Told> {
    let own = |name: &str, kind, about: &str| (name.to_owned(), kind, false, about.to_owned());
    let archived = FROM_ARCHIVE.iter().filter_map(|name| {
        let (kind, optional, about) = of_archive(name)?;
        // in the archive nothing is marked that only several readings show
        let more = if *name == "quality" { ", 16 corrects what the device had said of that instant" } else { "" };
        Some(((*name).to_owned(), kind.arrow(), optional, format!("{about}{more}")))
    });
    let mut columns = vec![
        own(whose, DataType::Utf8, about_whose),
        own("measured_at", time(), "when it was measured, or began, moved back as all times of the subject"),
    ];
    columns.extend(archived);
    columns.push(own("good", DataType::Boolean, "whether nothing is known against it"));
    columns
}

/// A number of a window.
struct Number {
    /// How its column's name begins.
    name: &'static str,
    about: &'static str,
    of: fn(&Window) -> f64,
}

/// What there is of each metric beside how many readings.
const NUMBERS: [Number; 5] = [
    Number { name: "last", about: "the newest value", of: |window| window.last },
    Number { name: "age_s", about: "how old that was, in seconds", of: |window| window.age_s },
    Number { name: "mean", about: "the mean", of: |window| window.mean },
    Number { name: "least", about: "the least", of: |window| window.least },
    Number { name: "greatest", about: "the greatest", of: |window| window.greatest },
];

fn of_features(asked: &Asked) -> Vec<Told> {
    let mut columns = vec![
        ("subject_id".to_owned(), DataType::Utf8, false, "the study's name for the subject".to_owned()),
        (
            "at".to_owned(),
            time(),
            false,
            "instant of prediction, moved back: all is of before it, as it was known then".to_owned(),
        ),
    ];
    for metric in &asked.metrics {
        let named = |what: &str| format!("{what}_{}", metric.key.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
        columns.push((named("n"), DataType::Int64, false, format!("{}: readings in the window", metric.name)));
        for Number { name, about, .. } in NUMBERS {
            columns.push((named(name), DataType::Float64, true, about.to_owned()));
        }
    }
    columns
}

/// A type in a word.
fn named(kind: &DataType) -> &'static str {
    match kind {
        DataType::Utf8 => "text",
        DataType::Boolean => "boolean",
        DataType::Int32 | DataType::Int64 => "integer",
        DataType::Float64 => "number",
        DataType::Timestamp(..) => "timestamp",
        _ => "struct",
    }
}
