//! Counts of the audit log: each entry once, of days that are over, whoever counts.

use super::super::{
    audit_counts::count,
    folder::{Folder, ThisDisk},
    generations::Archive,
};
use bytes::Bytes;
use datafusion::arrow::{array::AsArray, datatypes::Int64Type};
use model::{
    Nanos, WriterId,
    access::Purpose,
    audit::{Entry, Event, Outcome},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{fs, path::Path, sync::Arc};
use store::{Audit, AuditQuery, Error, FoundEntries};
use uuid::Uuid;

const DAY: i64 = Nanos::DAY;
const HOUR: i64 = 3_600 * Nanos::SECOND;

/// Entries of one writer, in the order of time.
struct Log(Vec<Entry>);

#[async_trait::async_trait]
impl Audit for Log {
    async fn append(&self, _: &[Entry]) -> Result<(), Error> {
        Ok(())
    }

    async fn entries(&self, _: WriterId, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        let entries = self.0.iter().filter(|entry| entry.sequence >= from).take(limit);
        Ok(entries.map(|entry| (entry.sequence, entry.encode().into())).collect())
    }

    async fn writers(&self) -> Result<Vec<WriterId>, Error> {
        Ok(self.0.first().map(|entry| entry.writer).into_iter().collect())
    }

    async fn search(&self, query: &AuditQuery) -> Result<FoundEntries, Error> {
        let there = self.0.iter().rev().filter(|entry| query.from <= entry.event.at && entry.event.at < query.to);
        Ok(FoundEntries { entries: there.take(query.limit).cloned().collect(), unreadable: 0 })
    }
}

/// Entries at these instants, each so often.
fn log(times: &[(i64, usize)]) -> Log {
    let times = times.iter().flat_map(|(at, n)| std::iter::repeat_n(*at, *n));
    let entry = |(number, at): (usize, i64)| Entry {
        writer: WriterId::new(Uuid::from_u128(1)),
        sequence: number as u64 + 1,
        previous: Default::default(),
        event: Event {
            at: Nanos(at),
            subject: None,
            patient: None,
            action: "timeline.read".into(),
            purpose: Purpose::Treatment,
            outcome: if number % 2 == 0 { Outcome::Allowed } else { Outcome::Denied("NO_RELATION".into()) },
            detail: "".into(),
            request: [0; 16],
        },
    };
    Log(times.enumerate().map(entry).collect())
}

/// The names of the files, each with how many entries its rows count, and how many rows there are.
fn counted(dir: &Path) -> Vec<(String, i64, usize)> {
    let mut files: Vec<_> = fs::read_dir(dir.join("audit_counts")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |path: std::path::PathBuf| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap().build().unwrap();
        let batches: Vec<_> = reader.map(Result::unwrap).collect();
        let numbers =
            batches.iter().map(|batch| batch.column_by_name("n_entries").unwrap().as_primitive::<Int64Type>());
        let (n_entries, n_rows) =
            numbers.fold((0, 0), |(sum, n), column| (sum + column.values().iter().sum::<i64>(), n + column.len()));
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), n_entries, n_rows)
    };
    files.into_iter().map(read).collect()
}

#[tokio::test]
async fn each_entry_of_a_day_that_is_over_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::new(Arc::new(Folder::open(dir.path(), Arc::new(ThisDisk)).unwrap()));
    assert_eq!(count(&archive, &log(&[]), Nanos(20_003 * DAY)).await.unwrap(), 0);
    let first = 20_000 * DAY;
    // more of one instant than are read at once, more of one day, a day without any, and today
    let log = log(&[
        (first + 5, 3),
        (first + HOUR, 12_000),
        (first + HOUR + 1, 4_999),
        (first + DAY - 1, 2),
        (first + 2 * DAY, 1),
        (first + 3 * DAY, 7),
    ]);
    let now = Nanos(first + 3 * DAY + HOUR - 1);
    assert_eq!(count(&archive, &log, now).await.unwrap(), 2, "the third day is not over for an hour");
    let days = counted(dir.path());
    // two outcomes an hour, of three hours
    assert_eq!(days, [("2024-10-04".to_owned(), 17_004, 6), ("2024-10-05".to_owned(), 0, 0)]);
    assert_eq!(count(&archive, &log, now.plus(1)).await.unwrap(), 1);
    assert_eq!(counted(dir.path())[2], ("2024-10-06".to_owned(), 1, 1));
    // nothing is counted again, by this one or another
    assert_eq!(count(&archive, &log, now.plus(1)).await.unwrap(), 0);
    fs::remove_file(dir.path().join("audit_counts/2024-10-06.parquet")).unwrap();
    assert_eq!(count(&archive, &log, now.plus(1)).await.unwrap(), 1);
    assert_eq!(counted(dir.path()).len(), 3);
}
