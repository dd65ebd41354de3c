//! What readers find: every kind of value, in the archive's order; files of an older program; and damage, by name.

use super::{
    super::{
        Error,
        archiver::{Archiver, Settings},
        columns::{COLUMNS, SCHEMA, VERSION, VERSION_KEY},
        encode,
        files::Files,
        folder::{Folder, ThisDisk},
        generations::{Archive, damaged},
        merge, names,
        rows::Rows,
    },
    made::{HOUR, at_second, batches, delivery, expected, found, record, record_of},
};
use bus::{Handle, Partition};
use bytes::Bytes;
use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::{cast, concat_batches},
    datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use model::{Absence, Bound, Column, Comparator, Factor, MetricId, Nanos, Quality, Record, Values, Waveform, by_code};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::reader::{FileReader, SerializedFileReader},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

fn column(key: &str, unit: &str, factor: Factor, values: Values, seconds: &[u64]) -> Column {
    let n = seconds.len();
    Column {
        metric: by_code(key).unwrap().id,
        unit: unit.into(),
        factor,
        index: (0..n as u32).collect(),
        measured_at: seconds.iter().map(|second| at_second(*second)).collect(),
        quality: vec![Quality::GOOD; n],
        lasting: Vec::new(),
        values,
    }
}

/// The rows of some records, as a reader finds them.
fn rows(records: &[Record]) -> RecordBatch {
    let file = encode::file(&Rows::of(records).arrow().unwrap()).unwrap();
    let batches = batches(file);
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn of(rows: &RecordBatch, name: &str) -> ArrayRef {
    let column = rows.column_by_name(name).unwrap();
    if *column.data_type() == DataType::Utf8 { cast(column, &DataType::Utf8).unwrap() } else { Arc::clone(column) }
}

fn texts(rows: &RecordBatch, name: &str) -> Vec<Option<String>> {
    of(rows, name).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn numbers(rows: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    of(rows, name).as_primitive::<Float64Type>().iter().collect()
}

#[test]
fn every_kind_of_value_has_its_columns() {
    let fahrenheit = Factor { scale: 5.0 / 9.0, offset: -160.0 / 9.0 };
    let mut temperature = column("8310-5", "[degF]", fahrenheit, Values::Number(vec![98.6]), &[3]);
    temperature.quality = vec![Quality::QUESTIONABLE];
    temperature.measured_at[0] = temperature.measured_at[0].plus(1_234);
    let bounds = vec![Bound { comparator: Comparator::Less, number: 20.0 }];
    let mut steps = column("55423-8", "", Factor::IDENTITY, Values::Number(vec![420.0]), &[0]);
    steps.lasting = vec![600 * Nanos::SECOND];
    let wave = Waveform { origin: 1.0, period_ns: 4_000_000, scale: 0.5, samples: vec![0, 2, 4], missing: vec![1] };
    let rows = rows(&[record_of(
        1,
        1,
        1,
        vec![
            temperature,
            column("2339-0", "mg/dL", Factor::IDENTITY, Values::Bounded(bounds), &[2]),
            column("59408-5", "%", Factor::IDENTITY, Values::Absent(vec![Absence::named("error").unwrap()]), &[1]),
            column("67775-7", "", Factor::IDENTITY, Values::Coded(vec!["A".into()]), &[4]),
            column("mdc:131330", "mV", Factor::IDENTITY, Values::Waveform(vec![wave]), &[5]),
            steps,
        ],
    )]);
    let some = |text: &str| Some(text.to_owned());
    let metrics = ["2339-0", "55423-8", "59408-5", "67775-7", "8310-5", "mdc:131330"].map(some);
    assert_eq!(texts(&rows, "metric"), metrics);
    let values = numbers(&rows, "value");
    assert_eq!(values[..4], [Some(20.0), Some(420.0), None, None]);
    assert!((values[4].unwrap() - 37.0).abs() < 1e-9 && values[5].is_none(), "{values:?}");
    assert_eq!(texts(&rows, "comparator"), [some("<"), None, None, None, None, None]);
    assert_eq!(texts(&rows, "absent_reason"), [None, None, some("error"), None, None, None]);
    assert_eq!(texts(&rows, "code"), [None, None, None, some("A"), None, None]);
    assert_eq!(texts(&rows, "unit"), [some("mg/dL"), some("{steps}"), some("%"), None, some("Cel"), some("mV")]);
    assert_eq!(numbers(&rows, "original_value"), [None, None, None, None, Some(98.6), None]);
    assert_eq!(texts(&rows, "original_unit"), [None, None, None, None, some("[degF]"), None]);
    let whole = |name: &str| of(&rows, name).as_primitive::<Int32Type>().values().to_vec();
    assert_eq!((whole("quality"), whole("measured_at_ns")), (vec![0, 0, 0, 0, 8, 0], vec![0, 0, 0, 0, 234, 0]));
    let good: Vec<_> = of(&rows, "good").as_boolean().iter().collect();
    assert_eq!(good, [true, true, true, true, false, true].map(Some));
    let until: Vec<_> = of(&rows, "measured_until").as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(until, [None, Some(HOUR.start().plus(600 * Nanos::SECOND).0 / 1_000), None, None, None, None]);
    let waves = of(&rows, "waveform");
    let waves = waves.as_struct();
    assert_eq!(
        (waves.null_count(), waves.column_by_name("origin").unwrap().as_primitive::<Float64Type>().value(5)),
        (5, 1.0)
    );
    assert_eq!(waves.column_by_name("period_ns").unwrap().as_primitive::<Int64Type>().value(5), 4_000_000);
    let samples = waves.column_by_name("samples").unwrap().as_list::<i32>().value(5);
    assert_eq!(samples.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(0), None, Some(4)]);
}

#[test]
fn rows_are_in_order_and_the_same_records_give_the_same_bytes() {
    // late batches, two devices at once, patients mixed
    let records: Vec<_> =
        [(2, 4, 3), (1, 2, 5), (2, 4, 1), (1, 3, 1), (1, 2, 4)].map(|(p, s, q)| record(p, s, q, 3)).into();
    let file = encode::file(&Rows::of(&records).arrow().unwrap()).unwrap();
    assert_eq!(file, encode::file(&Rows::of(&records).arrow().unwrap()).unwrap());
    let rows = rows(&records);
    let times = of(&rows, "measured_at").as_primitive::<TimestampMicrosecondType>().values().to_vec();
    let order: Vec<_> = texts(&rows, "patient_id").into_iter().zip(texts(&rows, "metric")).zip(times).collect();
    assert_eq!(order.len(), 30);
    assert!(order.is_sorted(), "{order:?}");
    // and says so, with what readers skip by
    let reader = SerializedFileReader::new(file).unwrap();
    let about = reader.metadata();
    assert_eq!(about.row_group(0).sorting_columns().unwrap().len(), 4);
    assert!(about.row_group(0).column(0).statistics().unwrap().min_bytes_opt().is_some());
    let version = about.file_metadata().key_value_metadata().unwrap().iter().find(|pair| pair.key == VERSION_KEY);
    assert_eq!(version.unwrap().value.as_deref(), Some(VERSION));
    // no reader needs to know Arrow: no unsigned numbers, no nanoseconds
    let names: Vec<_> = about.file_metadata().schema().get_fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>());
}

/// An archive in a folder, with the readings of some partitions.
async fn archived(folder: &std::path::Path, partitions: &[Vec<Bytes>]) -> (Arc<Folder>, Archive) {
    let files = Arc::new(Folder::open(folder, Arc::new(ThisDisk)).unwrap());
    let archive = Archive::new(files.clone());
    let settings = Settings { range_bytes: 400, flush_every: Duration::ZERO, ..Settings::default() };
    let mut archiver = Archiver::new(archive.clone(), settings);
    for (partition, payloads) in (0..).zip(partitions) {
        for (offset, payload) in (0..).zip(payloads) {
            archiver.step(&[delivery(partition, offset, payload.clone())]).await.unwrap();
        }
        let next = archiver.settled(&[]).iter().last();
        assert_eq!(
            next.map(|(partition, next)| (partition, next.get())),
            Some((Partition(partition), payloads.len() as i64))
        );
    }
    (files, archive)
}

fn payloads(stream: u128) -> Vec<Bytes> {
    (1..=12).map(|sequence| record(stream, stream, sequence, 2).encode()).collect()
}

#[tokio::test]
async fn small_files_become_one_and_old_generations_go_one_later() {
    let dir = tempfile::tempdir().unwrap();
    let (files, archive) = archived(dir.path(), &[payloads(1), payloads(2)]).await;
    let mut all = [expected(&payloads(1)), expected(&payloads(2))].concat();
    all.sort();
    let first = archive.generation().await.unwrap();
    // somebody was killed while the next one was made
    files.put("readings/g0000000002-0/p00000/x.parquet", Bytes::from_static(b"half")).await.unwrap();
    let unfinished = dir.path().join("readings/_log/00000/_unfinished-1-1");
    std::fs::write(&unfinished, "half").unwrap();
    assert!(!merge::merge(&archive, 100).await.unwrap(), "too few");
    assert!(merge::merge(&archive, 4).await.unwrap());
    let second = archive.generation().await.unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(files.list("readings/g0000000002-0").await.unwrap(), []);
    assert!(!unfinished.exists());
    let in_folder = async |folder: &str| files.list(&format!("readings/{folder}")).await.unwrap();
    let merged = in_folder(&second.folder).await;
    let names: Vec<_> = merged.iter().map(|object| names::last(&object.key)).collect();
    let one = ["00000000000000000000-00000000000000000012.parquet", "_seen-00000000000000000012"];
    assert_eq!(names, [one, one].concat());
    assert_eq!(in_folder(&first.folder).await.len(), 24, "who reads them reads them to the end");
    assert_eq!(found(&*files, &archive).await, all);
    assert!(!merge::merge(&archive, 2).await.unwrap(), "nothing is small any more");
    // with more there is more to do, and nobody reads the first one any more
    let more: Vec<_> = (13..=20).map(|sequence| record(1, 1, sequence, 2).encode()).collect();
    let again = [payloads(1), more].concat();
    let mut archiver = Archiver::new(archive.clone(), Settings { flush_every: Duration::ZERO, ..Settings::default() });
    for (offset, payload) in (12..).zip(&again[12..]) {
        archiver.step(&[delivery(0, offset, payload.clone())]).await.unwrap();
    }
    assert!(merge::merge(&archive, 4).await.unwrap());
    assert!(in_folder(&first.folder).await.is_empty() && !in_folder(&second.folder).await.is_empty());
    let mut all = [expected(&again), expected(&payloads(2))].concat();
    all.sort();
    assert_eq!(found(&*files, &archive).await, all);
    assert_eq!(files.list("readings/_log").await.unwrap().len(), 2, "one intent says how far each partition is");
    // a batch that comes again is known after all that
    let mut archiver = Archiver::new(archive.clone(), Settings { flush_every: Duration::ZERO, ..Settings::default() });
    archiver.step(&[delivery(0, 20, payloads(1)[3].clone())]).await.unwrap();
    assert_eq!(found(&*files, &archive).await, all);
}

#[tokio::test]
async fn files_of_an_older_program_are_merged_with_those_of_today() {
    let dir = tempfile::tempdir().unwrap();
    let (files, archive) = archived(dir.path(), &[payloads(1)]).await;
    let folder = archive.generation().await.unwrap().folder;
    let object = files.list(&format!("readings/{folder}")).await.unwrap().remove(3);
    // as it was before there were waveforms, and with texts of another width
    let rows = batches(files.get(&object.key).await.unwrap().unwrap()).remove(0);
    let kept: Vec<_> = (0..rows.num_columns()).filter(|at| SCHEMA.field(*at).name() != "waveform").collect();
    let old = rows.project(&kept).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), old.schema(), None).unwrap();
    writer.write(&old).unwrap();
    files.put(&object.key, writer.into_inner().unwrap().into()).await.unwrap();
    assert!(merge::merge(&archive, 4).await.unwrap());
    assert_eq!(found(&*files, &archive).await, expected(&payloads(1)));
    let folder = archive.generation().await.unwrap().folder;
    let merged = files.list(&format!("readings/{folder}")).await.unwrap().remove(0);
    let reader = ParquetRecordBatchReaderBuilder::try_new(files.get(&merged.key).await.unwrap().unwrap()).unwrap();
    assert!(reader.schema().column_with_name("waveform").is_some());
}

#[tokio::test]
async fn damage_is_named_and_nothing_is_archived_over_it() {
    let dir = tempfile::tempdir().unwrap();
    let (files, archive) = archived(dir.path(), &[payloads(1)]).await;
    let folder = archive.generation().await.unwrap().folder;
    let object = files.list(&format!("readings/{folder}")).await.unwrap().remove(5);
    files.put(&object.key, Bytes::from_static(b"PAR1 cut off")).await.unwrap();
    let said = merge::merge(&archive, 4).await.unwrap_err().to_string();
    assert!(said.contains(&object.key) && said.contains("damaged"), "{said}");
    assert_eq!(archive.generation().await.unwrap().number, 1, "the old one counts");
    let mut archiver = Archiver::new(archive.clone(), Settings::default());
    let said = archiver.step(&[delivery(0, 12, payloads(1)[0].clone())]).await.unwrap_err();
    assert!(matches!(&said, Error::Damaged { key, .. } if *key == object.key), "{said}");
    for (key, text) in [("readings/_generations/0000000002", "{"), ("readings/_generations/x", "{}")] {
        files.put(key, Bytes::from_static(text.as_bytes())).await.unwrap();
        let said = archive.generation().await.unwrap_err().to_string();
        assert!(said.contains(key), "{said}");
        files.remove(key).await.unwrap();
    }
    assert!(damaged("a", "b").to_string().contains("a is damaged: b"));
}

#[tokio::test]
async fn a_folder_creates_only_what_is_not_there_and_leaves_nothing_unfinished() {
    let dir = tempfile::tempdir().unwrap();
    let files = Folder::open(&dir.path().join("new/folder"), Arc::new(ThisDisk)).unwrap();
    assert!(files.create("a/b", Bytes::from_static(b"1")).await.unwrap());
    assert!(!files.create("a/b", Bytes::from_static(b"2")).await.unwrap());
    assert_eq!(files.get("a/b").await.unwrap().unwrap(), "1");
    files.put("a/b", Bytes::from_static(b"3")).await.unwrap();
    files.copy("a/b", "a/c/d").await.unwrap();
    files.remove("a/b").await.unwrap();
    files.remove("a/b").await.unwrap();
    assert_eq!(
        (files.get("a/b").await.unwrap(), files.get("a/c/d").await.unwrap()),
        (None, Some(Bytes::from_static(b"3")))
    );
    let keys: Vec<_> = files.list("a").await.unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!((keys, files.list("b").await.unwrap()), (vec!["a/c/d".to_owned()], vec![]));
    assert_eq!(std::fs::read_dir(dir.path().join("new/folder/a")).unwrap().count(), 1);
}

#[tokio::test]
async fn without_room_nothing_is_archived_and_then_it_goes_on() {
    let (dir, is_full) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(true)));
    let full = Arc::clone(&is_full);
    let has_room = move || match full.load(Ordering::Relaxed) {
        true => Err(std::io::Error::other("less than the reserve is free")),
        false => Ok(()),
    };
    let files = Arc::new(Folder::open(dir.path(), Arc::new(ThisDisk)).unwrap().within(Arc::new(has_room)));
    let archive = Archive::new(files.clone());
    let settings = Settings { flush_every: Duration::ZERO, ..Settings::default() };
    let mut archiver = Archiver::new(archive.clone(), settings);
    let deliveries: Vec<_> = (0..).zip(payloads(1)).map(|(at, payload)| delivery(0, at, payload)).collect();
    for _ in 0..2 {
        let said = archiver.step(&deliveries).await.unwrap_err().to_string();
        assert!(said.contains("less than the reserve"), "{said}");
    }
    is_full.store(false, Ordering::Relaxed);
    archiver.step(&deliveries).await.unwrap();
    assert_eq!(found(&*files, &archive).await, expected(&payloads(1)));
}

#[test]
fn a_metric_of_a_newer_catalogue_has_a_row() {
    let mut unknown = column("8867-4", "", Factor::IDENTITY, Values::Number(vec![1.0]), &[0]);
    unknown.metric = MetricId(9_999);
    let rows = rows(&[record_of(1, 1, 1, vec![unknown])]);
    assert_eq!(texts(&rows, "metric"), [Some("wardline:9999".to_owned())]);
    assert_eq!((numbers(&rows, "value"), texts(&rows, "unit")), (vec![Some(1.0)], vec![None]));
}
