//! A store, the samples as data sets, and a worker that trains with few trees.

use super::super::{Shelf, Train};
use crate::{
    catalogue::{self, Catalogue},
    datasets::{Input, Options, ParquetFile, import, kind, quality::References},
    jobs::{
        board::Board,
        job::Job,
        kinds::Kinds,
        step::{Priority, Submission},
        worker::{Settings, Worker},
    },
    models::{Algorithm, Error, Pipeline},
    objects::Objects,
    reporting::Runner,
    reports::Limits,
};
use object_store::path::Path as Key;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};
use store::Histories;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Longer than any of this takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Kinds of data sets that models read, each with its samples.
const SAMPLES: [(&str, &[&str]); 11] = [
    ("cities", &["cities.csv.zst"]),
    ("coverage", &["coverage.2022.csv.zst"]),
    ("hospitals", &["hospitals.2020-07.csv.zst", "hospitals.2025.csv.zst"]),
    ("inpatient_costs", &["inpatient_costs.2023.csv.zst"]),
    ("life_expectancy", &["life_expectancy.2021.csv"]),
    ("poverty_income", &["poverty_income.csv.zst"]),
    ("prescribers", &["prescribers.years-of-exp.csv.zst"]),
    ("preventable_stays", &["preventable_stays.county.csv.zst", "preventable_stays.state.csv.zst"]),
    ("readmissions", &["readmissions.csv.zst"]),
    ("state_population", &["state_population.csv"]),
    ("unemployment", &["unemployment.csv.zst"]),
];

/// The samples as tables, made once.
static TABLES: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    for (name, files) in SAMPLES {
        let inputs = files.iter().map(|file| Input::file(&samples.join(file))).collect();
        let kind = kind(name).unwrap();
        let mut table = ParquetFile::create(kind, File::create(table(&dir, name)).unwrap()).unwrap();
        import(kind, inputs, Options::default(), &References::default(), |batch| table.write(batch)).unwrap();
        table.finish().unwrap();
    }
    dir
});

fn table(dir: &TempDir, kind: &str) -> PathBuf {
    dir.path().join(format!("{kind}.parquet"))
}

pub(super) struct Bench {
    dir: TempDir,
    store: Arc<store::embedded::Store>,
    catalogue: Catalogue,
    pub(super) runner: Runner,
    pub(super) shelf: Shelf,
    pub(super) board: Board,
}

impl Bench {
    /// With nothing imported.
    pub(super) fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(store::embedded::Store::open(dir.path().join("store")).unwrap());
        let histories = Arc::clone(&store) as Arc<dyn Histories>;
        let objects = Objects::open(&dir.path().join("objects")).unwrap();
        let catalogue = Catalogue::new(Arc::clone(&histories), objects.clone(), guard::clock::now);
        let runner = Runner::new(catalogue.clone(), Limits { n_partitions: 2, ..Limits::default() });
        let shelf = Shelf::new(Arc::clone(&histories), objects, guard::clock::now);
        Self { dir, store, catalogue, runner, shelf, board: Board::new(histories, guard::clock::now) }
    }

    /// With the samples of these kinds imported; none: of all.
    pub(super) async fn with(kinds: &[&str]) -> Self {
        let bench = Self::empty();
        for (kind, _) in SAMPLES.iter().filter(|(kind, _)| kinds.is_empty() || kinds.contains(kind)) {
            bench.import(kind).await;
        }
        bench
    }

    pub(super) async fn import(&self, kind: &str) {
        let (id, made) = (Uuid::now_v7(), self.dir.path().join("made.parquet"));
        fs::copy(table(&TABLES, kind), &made).unwrap();
        let prefix = Key::from_iter(["datasets", kind, &id.to_string()]);
        self.catalogue.objects().adopt(&prefix.clone().join("part-0.parquet"), made).await.unwrap();
        let version = catalogue::Version {
            id,
            at: 1,
            by: "user:a".to_owned(),
            job: id,
            files: vec!["part-0.parquet".to_owned()],
            prefix: prefix.to_string(),
            rows: 1,
            bytes: 1,
            source_sha256: String::new(),
            source_files: Vec::new(),
            passed: true,
            made: false,
            filled: BTreeMap::new(),
            origin: None,
        };
        self.catalogue.add(kind, version, catalogue::Adding::ANYHOW).await.unwrap();
    }

    /// What another process would know.
    pub(super) fn other_shelf(&self) -> Shelf {
        let histories = Arc::clone(&self.store) as Arc<dyn Histories>;
        Shelf::new(histories, self.shelf.objects().clone(), guard::clock::now)
    }

    /// Starts a worker that trains pipelines as they come from `pipeline`; it ends when the token is cancelled.
    pub(super) fn worker(&self, pipeline: fn(&str) -> Result<Pipeline, Error>) -> CancellationToken {
        let train =
            Train { runner: self.runner.clone(), shelf: self.shelf.clone(), clock: guard::clock::now, pipeline };
        let kinds = Kinds::new([Arc::new(train) as _]);
        let settings =
            Settings { at_once: 1, lease: Duration::from_millis(600), follow_every: Duration::from_millis(20) };
        let stop = CancellationToken::new();
        tokio::spawn(Worker::new(self.board.clone(), kinds, settings).run(stop.clone()));
        stop
    }

    /// Submits a training.
    pub(super) async fn submit(&self, model: &str, promote: &str) -> Job {
        let parameters = [("model", model), ("promote", promote)];
        let submission = Submission {
            kind: "train".to_owned(),
            parameters: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            submitter: "user:a".to_owned(),
            at: guard::clock::now().0,
            priority: Priority::Normal,
            deadline: None,
            max_attempts: 1,
            pause_seconds: 0,
            ..Submission::default()
        };
        self.board.submit(submission, None).await.unwrap()
    }

    /// Trains a model by a worker that is there.
    pub(super) async fn train(&self, model: &str, promote: &str) -> Job {
        let id = self.submit(model, promote).await.id;
        self.until(id, |job| job.state.has_ended()).await
    }

    /// Waits until a job is as it should be.
    pub(super) async fn until(&self, id: Uuid, is_so: impl Fn(&Job) -> bool) -> Job {
        let waiting = async {
            loop {
                let job = self.board.get(id).await.unwrap().unwrap();
                if is_so(&job) {
                    return job;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        match timeout(PATIENCE, waiting).await {
            Ok(job) => job,
            Err(_) => panic!("it stays {:?}", self.board.get(id).await.unwrap()),
        }
    }
}

/// A pipeline that is compiled in, with so many trees.
fn with_trees(name: &str, trees: usize) -> Result<Pipeline, Error> {
    let mut pipeline = Pipeline::named(name)?;
    if let Algorithm::ForestRegression(growth) | Algorithm::ForestClassification(growth) = &mut pipeline.algorithm {
        growth.trees = trees;
    }
    Ok(pipeline)
}

/// With few trees: tests are quick.
pub(super) fn quick(name: &str) -> Result<Pipeline, Error> {
    with_trees(name, 8)
}

/// With as many trees and folds as may be: tests do not wait for its end.
pub(super) fn long(name: &str) -> Result<Pipeline, Error> {
    Ok(Pipeline { folds: 20, ..with_trees(name, crate::models::MAX_TREES)? })
}

/// As it was before it had its last feature.
pub(super) fn older(name: &str) -> Result<Pipeline, Error> {
    let mut pipeline = quick(name)?;
    pipeline.features.pop();
    Ok(pipeline)
}
