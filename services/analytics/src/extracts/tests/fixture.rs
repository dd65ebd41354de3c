//! A study, and an archive of what its subjects measured.

use super::super::{Extract, Studies};
use crate::{
    archive::{
        file_of,
        folder::{Folder, ThisDisk},
        generations::Archive,
        reading::Readings,
    },
    catalogue::Catalogue,
    jobs::{
        kinds::{Done, Failure, Kind, Parameters, checked},
        work::Work,
    },
    objects::Objects,
    reporting::Runner,
    reports::Limits,
};
use auth::Pseudonyms;
use datafusion::arrow::{array::RecordBatch, compute::concat_batches};
use directory::LiveDirectory;
use guard::decisions::Decisions;
use model::{
    BatchId, Block, ClockQuality, ClockTolerance, Column, DeviceId, Factor, Nanos, PatientId, Quality, Record, Slice,
    StreamId, Values, WriterId,
    audit::{Checkpoint, Entry, Event},
};
use object_store::{local::LocalFileSystem, path::Path as Key};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use store::{AuditQuery, Error, FoundEntries};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const DAY: i64 = Nanos::DAY;
pub(crate) const MAX_DAYS: u16 = 10;
/// When it is asked.
pub(crate) const NOW: Nanos = Nanos(21_000 * DAY + 5 * 3_600 * Nanos::SECOND);
/// When the first readings were measured, long before.
pub(crate) const THEN: Nanos = Nanos(20_900 * DAY);
pub(crate) const SCIENTIST: Uuid = Uuid::from_u128(7);
/// Who treats the patients with even numbers.
pub(crate) const DOCTOR: Uuid = Uuid::from_u128(8);

/// An audit log that keeps what was written down.
#[derive(Default)]
pub(crate) struct Written(pub(crate) Mutex<Vec<Event>>);

#[async_trait::async_trait]
impl store::Audit for Written {
    async fn append(&self, entries: &[Entry]) -> Result<(), Error> {
        self.0.lock().unwrap().extend(entries.iter().map(|entry| entry.event.clone()));
        Ok(())
    }

    async fn entries(&self, _: WriterId, _: u64, _: usize) -> Result<Vec<(u64, bytes::Bytes)>, Error> {
        Ok(vec![])
    }

    async fn writers(&self) -> Result<Vec<WriterId>, Error> {
        Ok(vec![])
    }

    async fn search(&self, _: &AuditQuery) -> Result<FoundEntries, Error> {
        Ok(FoundEntries::default())
    }
}

/// A study, and an archive.
pub(crate) struct Ward {
    dir: TempDir,
    archive: Archive,
    directory: LiveDirectory,
    pub(crate) written: Arc<Written>,
    pub(crate) studies: Studies,
}

pub(crate) fn patient(number: u128) -> PatientId {
    PatientId::new(Uuid::from_u128(100 + number))
}

pub(crate) fn name(number: u128) -> String {
    names().subject("heart", patient(number))
}

pub(crate) fn names() -> Pseudonyms {
    Pseudonyms::new(&[7; 32], MAX_DAYS).unwrap()
}

impl Ward {
    /// So many patients, of whom each takes part.
    pub(crate) fn new(patients: u128) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let people = dir.path().join("people");
        fs::create_dir(&people).unwrap();
        let directory = LiveDirectory::open(&people).unwrap();
        let written = Arc::<Written>::default();
        let (auditor, work) = store::Auditor::new(written.clone(), Arc::new(Quiet), Arc::new(Quiet), || NOW);
        tokio::spawn(work.run(CancellationToken::new()));
        let root = dir.path().join("archive");
        let archive = Archive::new(Arc::new(Folder::open(&root, Arc::new(ThisDisk)).unwrap()));
        let files = LocalFileSystem::new_with_prefix(&root).unwrap();
        let store = Arc::new(store::embedded::Store::open(dir.path().join("store")).unwrap());
        let objects = Objects::open(&dir.path().join("objects")).unwrap();
        let runner = Runner::new(Catalogue::new(store, objects, || NOW), Limits::default());
        let studies = Studies {
            runner: runner.with_readings(Readings::new(archive.clone(), Arc::new(files))),
            decisions: Decisions::new(directory.clone(), auditor, || NOW),
            names: Arc::new(names()),
            tolerance: ClockTolerance::default(),
        };
        let ward = Self { dir, archive, directory, written, studies };
        ward.take_part(1..=patients);
        ward
    }

    /// Those, and nobody else, take part from now on.
    pub(crate) fn take_part(&self, patients: impl Iterator<Item = u128>) {
        let mut text = format!("[[user]]\nid = \"{SCIENTIST}\"\nname = \"S\"\nroles = [\"ml-scientist\"]\n");
        text += &format!("[[user]]\nid = \"{DOCTOR}\"\nname = \"D\"\nroles = [\"doctor\"]\n");
        for number in patients {
            let patient = patient(number).uuid();
            if number.is_multiple_of(2) {
                text += &format!("[[care_team]]\nuser = \"{DOCTOR}\"\npatient = \"{patient}\"\n");
            }
            text += &format!("[[study]]\nuser = \"{SCIENTIST}\"\npatient = \"{patient}\"\nstudy = \"heart\"\n");
        }
        fs::write(self.dir.path().join("people/study.toml"), text).unwrap();
        self.directory.refresh().unwrap();
    }

    /// Puts records into the archive, as one more file.
    pub(crate) async fn archive(&self, records: &[Record]) {
        let generation = self.archive.generation().await.unwrap().folder;
        let folder = self.dir.path().join("archive/readings").join(generation).join("p00000");
        fs::create_dir_all(&folder).unwrap();
        let n_files = fs::read_dir(&folder).unwrap().count();
        fs::write(folder.join(format!("{n_files}-1.parquet")), file_of(records)).unwrap();
    }

    pub(crate) async fn run(&self, kind: &Extract, given: &[(&str, &str)]) -> Result<Done, Failure> {
        let given: Parameters = given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let parameters = checked(&kind.parameters(), &given).map_err(Failure::for_good)?;
        kind.fits(&parameters).map_err(Failure::for_good)?;
        kind.run(&Work::alone(true).submitted_by(&format!("user:{SCIENTIST}")), &parameters).await
    }

    pub(crate) async fn extract(&self, given: &[(&str, &str)]) -> (serde_json::Value, RecordBatch) {
        self.rows(self.run(&Extract::readings(self.studies.clone()), given).await.unwrap())
    }

    /// The result of a job, and all rows of its file.
    pub(crate) fn rows(&self, done: Done) -> (serde_json::Value, RecordBatch) {
        let key = Key::from(done.result["object"].as_str().unwrap());
        let path: PathBuf = self.studies.runner.objects().path(&key);
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
        let schema = Arc::clone(reader.schema());
        let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        (done.result, concat_batches(&schema, &batches).unwrap())
    }
}

struct Quiet;

impl store::Sign for Quiet {
    fn sign(&self, _: &[u8]) -> Result<[u8; 64], Error> {
        Ok([0; 64])
    }

    fn key_id(&self) -> [u8; 8] {
        [0; 8]
    }
}

#[async_trait::async_trait]
impl store::Checkpoints for Quiet {
    async fn keep(&self, _: &Checkpoint) -> Result<(), Error> {
        Ok(())
    }

    async fn kept(&self) -> Result<Vec<Checkpoint>, Error> {
        Ok(vec![])
    }
}

/// A batch: whose, in which stream, received so many seconds after [`THEN`], and numbers of heart rate with the seconds after
/// [`THEN`] at which they were measured.
pub(crate) fn pulse(
    of: u128,
    (stream, sequence): (u128, u64),
    received: i64,
    numbers: &[(i64, f64, Quality)],
) -> Record {
    let mut slices = Vec::new();
    let at = |second: i64| THEN.plus(second * Nanos::SECOND);
    for same in numbers.chunk_by(|a, b| at(a.0).hour() == at(b.0).hour()) {
        let column = Column {
            metric: model::by_code("8867-4").unwrap().id,
            unit: "".into(),
            factor: Factor::IDENTITY,
            index: (0..same.len() as u32).collect(),
            measured_at: same.iter().map(|one| at(one.0)).collect(),
            quality: same.iter().map(|one| one.2).collect(),
            lasting: Vec::new(),
            values: Values::Number(same.iter().map(|one| one.1).collect()),
        };
        let (hour, mut block) = (at(same[0].0).hour(), Vec::new());
        Block { columns: vec![column] }.encode(hour, &mut block);
        slices.push(Slice { hour, block: block.into() });
    }
    Record {
        patient: patient(of),
        identity: BatchId {
            device: DeviceId::new(Uuid::from_u128(1_000 + of)),
            stream: StreamId::new(Uuid::from_u128(2_000 + stream)),
            sequence,
            digest: 0,
        },
        received_at: at(received),
        clock: ClockQuality::Synchronized,
        acked_through: 0,
        slices,
    }
}

pub(crate) fn good(numbers: &[(i64, f64)]) -> Vec<(i64, f64, Quality)> {
    numbers.iter().map(|(second, number)| (*second, *number, Quality::GOOD)).collect()
}
