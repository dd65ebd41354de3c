//! Readings as rows: CSV, JSON, and a table of the latest.

use super::when;
use crate::operator::on_one_line;
use guard::convert::nanos;
use proto::telemetry::v1::{Bound, LatestReading, ReadingFlag, StoredReading, Waveform, stored_reading::Value};
use serde_json::json;
use std::{
    fmt::Write as _,
    io::{self, Write},
};

/// The columns of CSV, and the names in JSON. A waveform's value is its samples, in `unit`.
const COLUMNS: [&str; 11] = [
    "time",
    "metric",
    "name",
    "value",
    "unit",
    "original_value",
    "original_unit",
    "flags",
    "device",
    "until",
    "absent_reason",
];

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Json,
}

/// Writes rows one by one, and what belongs around them.
pub(super) enum Rows<'a, W: Write> {
    Csv(Box<csv::Writer<&'a mut W>>),
    Json { out: &'a mut W, n_written: u64 },
}

impl<'a, W: Write> Rows<'a, W> {
    pub(super) fn new(format: Format, out: &'a mut W) -> io::Result<Self> {
        match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(COLUMNS).map_err(plain)?;
                Ok(Self::Csv(Box::new(writer)))
            }
            Format::Json => {
                out.write_all(b"[")?;
                Ok(Self::Json { out, n_written: 0 })
            }
        }
    }

    pub(super) fn write(&mut self, reading: &StoredReading) -> io::Result<()> {
        match self {
            Self::Csv(writer) => writer.write_record(record(reading)).map_err(plain),
            Self::Json { out, n_written } => {
                out.write_all(if *n_written == 0 { b"\n" } else { b",\n" })?;
                *n_written += 1;
                Ok(serde_json::to_writer(out, &object(reading))?)
            }
        }
    }

    pub(super) fn end(self) -> io::Result<()> {
        match self {
            Self::Csv(mut writer) => writer.flush(),
            Self::Json { out, .. } => out.write_all(b"\n]\n"),
        }
    }
}

/// The error of the output itself: who prints into a pipe must know a closed one.
fn plain(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        _ => io::Error::other("a row that is not CSV"),
    }
}

fn record(reading: &StoredReading) -> [String; 11] {
    let original = reading.original.as_ref();
    [
        time(reading),
        reading.metric.clone(),
        name(&reading.metric).to_owned(),
        match &reading.value {
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Code(code)) => code.clone(),
            Some(Value::Waveform(wave)) => {
                let sample = |sample: Option<f64>| sample.map_or_else(|| "-".to_owned(), |sample| sample.to_string());
                samples(wave).map(sample).collect::<Vec<_>>().join(" ")
            }
            Some(Value::Bound(bound)) => format!("{}{}", sign(bound), limit(bound)),
            Some(Value::AbsentReason(_)) | None => String::new(),
        },
        unit(reading).to_owned(),
        original.filter(|_| !is_waveform(reading)).map_or_else(String::new, |original| {
            let sign = if let Some(Value::Bound(bound)) = &reading.value { sign(bound) } else { "" };
            format!("{sign}{}", original.number)
        }),
        original.map_or_else(String::new, |original| original.unit.clone()),
        flags(reading).join(" "),
        reading.device_id.clone(),
        until(reading).unwrap_or_default(),
        absent_reason(reading).unwrap_or_default().to_owned(),
    ]
}

fn object(reading: &StoredReading) -> serde_json::Value {
    let original = reading.original.as_ref();
    let mut object = json!({
        "time": time(reading),
        "metric": reading.metric,
        "name": name(&reading.metric),
        "value": match &reading.value {
            Some(Value::Number(number)) => json!(number),
            Some(Value::Code(code)) => json!(code),
            Some(Value::Waveform(wave)) => json!(samples(wave).collect::<Vec<_>>()),
            // what reads numbers must not take it for one
            Some(Value::Bound(bound)) => json!(format!("{}{}", sign(bound), limit(bound))),
            Some(Value::AbsentReason(_)) | None => json!(null),
        },
        "unit": unit(reading),
        "original_value": original.filter(|_| !is_waveform(reading)).map(|original| match &reading.value {
            Some(Value::Bound(bound)) => json!(format!("{}{}", sign(bound), original.number)),
            _ => json!(original.number),
        }),
        "original_unit": original.map(|original| &original.unit),
        "flags": flags(reading),
        "device": reading.device_id,
    });
    if let Some(Value::Waveform(wave)) = &reading.value {
        object["period_ns"] = json!(wave.period_ns);
    }
    if let Some(until) = until(reading) {
        object["until"] = json!(until);
    }
    if let Some(reason) = absent_reason(reading) {
        object["absent_reason"] = json!(reason);
    }
    object
}

/// `<`, `<=`, `>=` or `>`.
fn sign(bound: &Bound) -> &'static str {
    model::Comparator::from_code(bound.comparator).map_or("?", model::Comparator::sign)
}

/// The number beyond which a value lies: of an answer that has none nothing is known.
fn limit(bound: &Bound) -> f64 {
    bound.number.unwrap_or(f64::NAN)
}

/// Why there is no value, as FHIR says it.
fn absent_reason(reading: &StoredReading) -> Option<&'static str> {
    let Some(Value::AbsentReason(reason)) = &reading.value else { return None };
    Some(model::Absence::from_code(*reason).unwrap_or(model::Absence::UNKNOWN).name())
}

fn until(reading: &StoredReading) -> Option<String> {
    reading.measured_until.as_ref().and_then(nanos).map(when::show)
}

/// Values of a waveform's samples, in the reading's unit; rounded, so that 7 times 0.005 is 0.035. `None`: it is missing.
pub(super) fn samples(wave: &Waveform) -> impl Iterator<Item = Option<f64>> {
    let (origin, scale) = (wave.origin, wave.scale);
    (0..).zip(&wave.samples).map(move |(place, sample)| {
        if wave.missing.binary_search(&place).is_ok() {
            return None;
        }
        let value = origin + f64::from(*sample) * scale;
        let rounded = (value * 1e9).round() / 1e9;
        // tiny or huge: nine places would change it
        Some(if (rounded - value).abs() <= value.abs() * 1e-12 { rounded } else { value })
    })
}

fn is_waveform(reading: &StoredReading) -> bool {
    matches!(reading.value, Some(Value::Waveform(_)))
}

/// The unit of the value: of a waveform the one the device used.
fn unit(reading: &StoredReading) -> &str {
    match &reading.original {
        Some(original) if is_waveform(reading) && !original.unit.is_empty() => &original.unit,
        _ => &reading.unit,
    }
}

fn time(reading: &StoredReading) -> String {
    reading.measured_at.as_ref().and_then(nanos).map_or_else(String::new, when::show)
}

fn name(metric: &str) -> &str {
    model::by_code(metric).map_or("", |metric| metric.name)
}

fn flags(reading: &StoredReading) -> Vec<&'static str> {
    let name = |flag| match flag {
        ReadingFlag::Implausible => "implausible",
        ReadingFlag::Future => "future",
        ReadingFlag::Ancient => "ancient",
        ReadingFlag::Questionable => "questionable",
        ReadingFlag::Correction => "correction",
        ReadingFlag::SuspectUnit => "suspect-unit",
        ReadingFlag::UnsetClock => "unset-clock",
        ReadingFlag::EnteredInError => "entered-in-error",
        ReadingFlag::Unspecified => "unknown",
    };
    reading.flags().map(name).collect()
}

/// Above a plot: what it shows, which of the readings are no plain values, and the newest value with its age.
pub(super) fn heading(metric: &str, n_readings: u64, others: &str, newest: Option<&LatestReading>) -> String {
    let mut text = format!("{} ({metric}), {n_readings} readings", name(metric));
    if !others.is_empty() {
        let _ = write!(text, ": {others}");
    }
    if let Some((reading, seconds)) = newest.and_then(aged) {
        let _ = write!(text, "; newest {} {}, {} ago", short(reading), unit(reading), when::age(seconds));
    }
    text
}

/// The latest reading of each metric with its age.
pub(super) fn table(latest: &[LatestReading]) -> String {
    let rows: Vec<[String; 6]> = latest
        .iter()
        .filter_map(aged)
        .map(|(reading, seconds)| {
            let value = format!("{} {}", short(reading), unit(reading));
            let name = name(&reading.metric).to_owned();
            [reading.metric.clone(), name, value, time(reading), when::age(seconds), flags(reading).join(" ")]
        })
        .collect();
    if rows.is_empty() {
        return "no readings\n".to_owned();
    }
    let header = ["METRIC", "NAME", "VALUE", "TIME", "AGE", "FLAGS"].map(str::to_owned);
    let width = |i: usize| rows.iter().chain([&header]).map(|row| row[i].chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for row in [&header].into_iter().chain(&rows) {
        let line: String =
            row.iter().enumerate().map(|(i, cell)| format!("{cell:<width$}  ", width = width(i))).collect();
        text.push_str(&on_one_line(line.trim_end()));
        text.push('\n');
    }
    text
}

fn aged(latest: &LatestReading) -> Option<(&StoredReading, i64)> {
    Some((latest.reading.as_ref()?, latest.age.as_ref().map_or(0, |age| age.seconds)))
}

fn short(reading: &StoredReading) -> String {
    match &reading.value {
        Some(Value::Number(number)) => ((number * 1e3).round() / 1e3).to_string(),
        Some(Value::Code(code)) => code.clone(),
        Some(Value::Waveform(wave)) => format!("{} samples", wave.samples.len()),
        Some(Value::Bound(bound)) => format!("{}{}", sign(bound), (limit(bound) * 1e3).round() / 1e3),
        Some(Value::AbsentReason(_)) => absent_reason(reading).unwrap_or_default().to_owned(),
        None => String::new(),
    }
}
