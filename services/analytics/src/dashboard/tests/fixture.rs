//! Samples as data sets of a node of their own, and what is expected of them.

use super::super::Dashboard;
use crate::{
    catalogue::{Adding, Catalogue, REPORT, Version},
    datasets::{self, Input, Options, ParquetFile, quality::References},
    objects::Objects,
    reporting::Runner,
    reports::Limits,
    samples,
};
use object_store::path::Path as Key;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Cursor, Read},
    path::Path,
    sync::Arc,
};
use store::Histories;
use tempfile::TempDir;
use uuid::Uuid;

/// The samples of each kind that the dashboard reads. The daily one of sites has twelve rows: it is not the newest whole release.
pub(super) const SAMPLES: &[(&str, &[&str])] = &[
    ("cities", &["cities.csv.zst"]),
    ("county_population", &["county_population.csv.zst"]),
    ("county_rurality", &["county_rurality.csv.zst"]),
    ("hospital_locations", &["hospital_locations.csv.zst"]),
    ("hospitals", &["hospitals.2020-07.csv.zst", "hospitals.2025.csv.zst"]),
    ("infant_mortality", &["infant_mortality.csv"]),
    ("inpatient_costs", &["inpatient_costs.2023.csv.zst"]),
    ("life_expectancy", &["life_expectancy.2021.csv"]),
    ("medicare_spending", &["medicare_spending.csv.zst"]),
    ("poverty_income", &["poverty_income.csv.zst"]),
    ("premiums", &["premiums.csv"]),
    ("prescribers", &["prescribers.publisher.csv", "prescribers.year-exp.csv.zst", "prescribers.years-of-exp.csv.zst"]),
    ("preventable_stays", &["preventable_stays.county.csv.zst", "preventable_stays.state.csv.zst"]),
    ("readmissions", &["readmissions.csv.zst"]),
    ("sites", &["sites.2020.csv.zst", "sites.daily.csv"]),
    ("social_vulnerability", &["social_vulnerability.2020.csv.zst", "social_vulnerability.2022.csv.zst"]),
    ("state_panel", &["state_panel.csv"]),
    ("state_population", &["state_population.csv"]),
];

/// Data sets in a folder of their own.
pub(super) struct Node {
    _dir: TempDir,
    pub(super) store: Arc<dyn Histories>,
    pub(super) catalogue: Catalogue,
}

impl Node {
    /// A node without data sets.
    pub(super) fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Histories> = Arc::new(store::embedded::Store::open(dir.path().join("store")).unwrap());
        let objects = Objects::open(&dir.path().join("objects")).unwrap();
        let catalogue = Catalogue::new(Arc::clone(&store), objects, guard::clock::now);
        Self { _dir: dir, store, catalogue }
    }

    /// With samples of these kinds.
    pub(super) async fn of(kinds: &[&str]) -> Self {
        let node = Self::empty();
        for kind in kinds {
            node.add_samples(kind).await;
        }
        node
    }

    /// With all samples that the dashboard reads.
    pub(super) async fn of_all() -> Self {
        Self::of(&SAMPLES.iter().map(|(kind, _)| *kind).collect::<Vec<_>>()).await
    }

    pub(super) async fn add_samples(&self, kind: &str) -> Uuid {
        let (_, names) = SAMPLES.iter().find(|(name, _)| *name == kind).unwrap();
        let is_made = |name: &&str| samples::is_made(&sample(name));
        let inputs = names.iter().map(|name| Input::file(&sample(name))).collect();
        self.add(kind, inputs, names.iter().any(is_made)).await
    }

    pub(super) async fn add_text(&self, kind: &str, name: &str, text: impl Into<Vec<u8>>) -> Uuid {
        self.add(kind, vec![Input::reader(name, Cursor::new(text.into()))], false).await
    }

    /// Imports files as a new version; its id.
    async fn add(&self, kind: &str, inputs: Vec<Input>, made: bool) -> Uuid {
        let (id, data_kind) = (Uuid::now_v7(), datasets::kind(kind).unwrap());
        let prefix = Key::from_iter(["datasets", kind, &id.to_string()]);
        let path = self.catalogue.objects().path(&prefix.clone().join("part-0.parquet"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut table = ParquetFile::create(data_kind, File::create(path).unwrap()).unwrap();
        let references = References::default();
        let imported = datasets::import(data_kind, inputs, Options::default(), &references, |batch| table.write(batch));
        let (report, quality) = imported.unwrap();
        table.finish().unwrap();
        let whole = json!({ "import": report, "quality": quality }).to_string();
        self.catalogue.objects().put(&prefix.clone().join(REPORT), whole.into()).await.unwrap();
        let version = Version {
            id,
            at: guard::clock::now().0,
            by: "user:a".to_owned(),
            job: id,
            files: vec!["part-0.parquet".to_owned()],
            prefix: prefix.to_string(),
            rows: report.n_accepted,
            bytes: 0,
            source_sha256: String::new(),
            source_files: Vec::new(),
            passed: quality.passed(),
            made,
            filled: BTreeMap::new(),
            origin: None,
        };
        self.catalogue.add(kind, version, Adding::ANYHOW).await.unwrap();
        id
    }

    /// Rows of a kind's current version.
    pub(super) async fn rows(&self, kind: &str) -> u64 {
        self.catalogue.get(kind).await.unwrap().current().unwrap().rows
    }

    pub(super) fn runner(&self) -> Runner {
        Runner::new(self.catalogue.clone(), Limits { n_partitions: 2, ..Limits::default() })
    }

    pub(super) fn dashboard(&self) -> Dashboard {
        Dashboard { runner: self.runner() }
    }
}

pub(super) fn sample(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

/// What is expected.
pub(super) fn expected() -> Value {
    serde_json::from_str(include_str!("../../../tests/expected/dashboard.json")).unwrap()
}

/// Whether a number is what is expected, up to the last digit that is written.
#[track_caller]
pub(super) fn close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("{what}: {found}, and nothing is expected"));
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-12), "{what}: {found:e}, not {expected:e}");
}

/// The header and the first row of the sample of hospitals of 2025.
pub(super) fn lines() -> (String, String) {
    let file = File::open(sample("hospitals.2025.csv.zst")).unwrap();
    let mut text = String::new();
    zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.next().unwrap())
}

/// A file of hospitals with these names, otherwise alike.
pub(super) fn hospitals_named(names: &[&str]) -> String {
    let (header, row) = lines();
    let name = row.split(',').nth(1).unwrap();
    let row = |(n, other): (usize, &&str)| row.replace(name, other).replacen("010001", &format!("01000{n}"), 1) + "\n";
    format!("{header}\n{}", names.iter().enumerate().map(row).collect::<String>())
}
