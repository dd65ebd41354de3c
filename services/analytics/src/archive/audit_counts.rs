//! Counts of the audit log beside the readings: a file a day, with how often each action was permitted or refused in each of its hours,
//! and for which purpose. Who asked for whom stays in the audit log.
//!
//! A day is counted once it has been over for an hour: no process keeps an entry back for so long. Two that count a day make the same
//! file, of which one is kept.

use super::{Error, encode::plain_parquet, generations::Archive, names};
use crate::days;
use datafusion::arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use model::{
    Nanos,
    audit::{Entry, Outcome},
};
use parquet::errors::ParquetError;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, LazyLock},
};
use store::{Audit, AuditQuery};

/// The name of the table, and of the folder beside that of the readings.
pub const TABLE: &str = "audit_counts";
/// How long a day has been over when it is counted, in nanoseconds.
const OVER: i64 = 3_600 * Nanos::SECOND;
/// Entries that are read at once.
const PAGE: usize = 5_000;

/// The columns of the table: hour, action, purpose, the reason of a refusal, and how many entries.
pub static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let hour = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("hour", hour, false),
        Field::new("action", DataType::Utf8, false),
        Field::new("purpose", DataType::Utf8, false),
        Field::new("refused", DataType::Utf8, true),
        Field::new("n_entries", DataType::Int64, false),
    ]))
});

/// Hour, action, purpose, and the reason of a refusal.
type Key = (i64, String, &'static str, Option<String>);

/// Counts the days that are over and have no file yet; how many there were.
///
/// # Errors
/// The audit log, or the files.
pub async fn count(archive: &Archive, log: &dyn Audit, now: Nanos) -> Result<usize, Error> {
    let counted = archive.files.list(TABLE).await?;
    archive.files.hold(TABLE).await?;
    let last = counted.iter().filter_map(|object| day_of(&object.key)).max();
    let first = match last {
        Some(last) => last.plus(Nanos::DAY),
        None => match first_entry(log).await? {
            Some(at) => days::start(at),
            None => return Ok(0),
        },
    };
    let (mut day, mut n_days) = (first, 0);
    while day.plus(Nanos::DAY + OVER) <= now {
        let rows = rows(&counts(log, day).await?)?;
        archive.files.create(&format!("{TABLE}/{}.parquet", days::named(day)), file(&rows)?).await?;
        (day, n_days) = (day.plus(Nanos::DAY), n_days + 1);
    }
    Ok(n_days)
}

/// The day that a file is named by.
fn day_of(key: &str) -> Option<Nanos> {
    days::begins(names::last(key).strip_suffix(".parquet")?)
}

/// When the log begins: with the first entry of one of its writers.
async fn first_entry(log: &dyn Audit) -> Result<Option<Nanos>, Error> {
    let mut first = None;
    for writer in log.writers().await? {
        let entries = log.entries(writer, 1, 1).await?;
        // one that cannot be read is found by who verifies the log
        let at = entries.first().and_then(|(_, bytes)| Entry::decode(bytes).ok()).map(|entry| entry.event.at);
        first = first.into_iter().chain(at).min();
    }
    Ok(first)
}

async fn counts(log: &dyn Audit, day: Nanos) -> Result<BTreeMap<Key, i64>, Error> {
    let (mut counts, mut to) = (BTreeMap::new(), day.plus(Nanos::DAY));
    // those of the instant at which a page ended, which the next one begins with
    let mut known: HashSet<_> = HashSet::new();
    let mut limit = PAGE;
    loop {
        let found = log.search(&AuditQuery { patient: None, from: day, to, limit }).await?;
        let n_found = found.entries.len() + found.unreadable;
        let last = found.entries.last().map(|entry| entry.event.at);
        for entry in &found.entries {
            if known.insert((entry.event.at, entry.writer, entry.sequence)) {
                *counts.entry(key(entry)).or_default() += 1;
            }
        }
        if n_found < limit {
            return Ok(counts);
        }
        match last {
            Some(last) if last.plus(1) < to => (to, limit) = (last.plus(1), PAGE),
            // of one instant alone, or of what cannot be read: it has to be longer
            _ => limit *= 2,
        }
        known.retain(|(at, ..)| Some(*at) == last);
    }
}

fn key(entry: &Entry) -> Key {
    let event = &entry.event;
    let refused = match &event.outcome {
        Outcome::Allowed => None,
        Outcome::Denied(reason) => Some(reason.to_string()),
    };
    (event.at.hour().start().0.div_euclid(1_000), event.action.to_string(), event.purpose.code(), refused)
}

fn rows(counts: &BTreeMap<Key, i64>) -> Result<RecordBatch, Error> {
    let hours = TimestampMicrosecondArray::from_iter_values(counts.keys().map(|key| key.0)).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(hours),
        Arc::new(StringArray::from_iter_values(counts.keys().map(|key| &key.1))),
        Arc::new(StringArray::from_iter_values(counts.keys().map(|key| key.2))),
        Arc::new(counts.keys().map(|key| key.3.as_deref()).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(counts.values().copied())),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns).map_err(ParquetError::from)?)
}

fn file(rows: &RecordBatch) -> Result<bytes::Bytes, Error> {
    let mut writer = plain_parquet(Vec::new(), &rows.schema())?;
    writer.write(rows)?;
    Ok(writer.into_inner()?.into())
}
