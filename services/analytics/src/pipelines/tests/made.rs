//! Kinds of jobs as the daily pipeline has them, which fail when a test says so; and workers on a store of their own.

use crate::{
    catalogue::Catalogue,
    jobs::{
        board::Board,
        kinds::{Done, Failure, Kind, Kinds, Parameter, Parameters, Range},
        orders::Orders,
        work::Work,
        worker::{Settings, Worker},
    },
    notify::{Channels, Notifier},
    objects::Objects,
    pipelines::Planner,
    reports::Reports,
    sources::{Source, SourceLocation, Sources},
};
use async_trait::async_trait;
use model::access::Action;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use store::Histories;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// What was done, and what is to fail: kind and value of the first parameter, as in "check_quality hospitals".
#[derive(Default)]
pub(super) struct Told {
    pub(super) done: Mutex<Vec<String>>,
    pub(super) fails: Mutex<BTreeSet<String>>,
}

struct Made {
    name: String,
    takes: Vec<&'static str>,
    told: Arc<Told>,
}

#[async_trait]
impl Kind for Made {
    fn name(&self) -> &str {
        &self.name
    }

    fn about(&self) -> &str {
        "does what the test says"
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.takes.iter().map(|name| Parameter::new(name, Range::Text(100), None, "")).collect()
    }

    fn needs(&self) -> Action {
        Action::ManageData
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        let first = self.takes.first().map(|name| parameters[*name].as_str()).unwrap_or_default();
        let what = format!("{} {first}", self.name).trim_end().to_owned();
        work.say(format!("at {what}"));
        if self.told.fails.lock().unwrap().contains(&what) {
            return Err(Failure::Final(format!("{what} went wrong")));
        }
        self.told.done.lock().unwrap().push(what);
        Ok(Done::default())
    }
}

fn made(told: &Arc<Told>, without: &[&str]) -> Vec<Arc<dyn Kind>> {
    let kinds = [
        ("import", vec!["kind", "source"]),
        ("check_quality", vec!["kind"]),
        ("copy_postgres", vec![]),
        ("train", vec!["model"]),
        ("insights", vec![]),
    ];
    let reports = Reports::all().map(|report| (report.name.as_str(), vec![]));
    let kinds = kinds.into_iter().chain(reports).filter(|(name, _)| !without.contains(name));
    let made = |(name, takes): (&str, Vec<&'static str>)| Made { name: name.to_owned(), takes, told: Arc::clone(told) };
    kinds.map(|kind| Arc::new(made(kind)) as Arc<dyn Kind>).collect()
}

/// All kinds that the daily pipeline names, but for some.
pub(super) fn kinds_of_daily(without: &[&str]) -> Kinds {
    let board = Bench::new().board();
    let notifier = Notifier { board, channels: Channels::default() };
    Kinds::new(made(&Arc::default(), without).into_iter().chain([Arc::new(notifier) as Arc<dyn Kind>]))
}

/// A store, and what workers on it are told.
pub(super) struct Bench {
    dir: TempDir,
    store: Arc<store::embedded::Store>,
    pub(super) told: Arc<Told>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(store::embedded::Store::open(dir.path().join("store")).unwrap());
        Self { dir, store, told: Arc::default() }
    }

    fn histories(&self) -> Arc<dyn Histories> {
        Arc::clone(&self.store) as _
    }

    pub(super) fn board(&self) -> Board {
        Board::new(self.histories(), guard::clock::now)
    }

    /// What a process plans with, where there is a source for all that hospital_rating reads; and all kinds that it knows.
    pub(super) fn process(&self, board: &Board, channels: Channels) -> (Planner, Orders) {
        let notifier = Notifier { board: board.clone(), channels: channels.clone() };
        let kinds = made(&self.told, &["copy_postgres"]).into_iter().chain([Arc::new(notifier) as Arc<dyn Kind>]);
        let orders = |kinds| Orders { board: board.clone(), kinds, pause_seconds: 0 };
        let kinds = Kinds::new(kinds);
        let source = |name: &str, kind: &str| Source {
            name: name.to_owned(),
            kind: kind.to_owned(),
            place: SourceLocation::Path(self.dir.path().to_owned(), Duration::from_secs(60)),
        };
        let objects = Objects::open(&self.dir.path().join("objects")).unwrap();
        let planner = Planner {
            orders: orders(kinds.clone()),
            sources: Sources(
                ["hospitals", "readmissions", "poverty_income", "coverage"].map(|kind| source("it", kind)).into(),
            ),
            catalogue: Catalogue::new(self.histories(), objects, guard::clock::now),
            channels: channels.names(),
        };
        let all = kinds.all().into_iter().cloned().chain([Arc::new(planner.clone()) as Arc<dyn Kind>]);
        (planner, orders(Kinds::new(all)))
    }

    /// Starts a worker that knows all of `orders`; it ends when the token is cancelled.
    pub(super) fn worker(&self, orders: &Orders) -> CancellationToken {
        let settings = Settings { at_once: 2, lease: Duration::from_secs(5), follow_every: Duration::from_millis(20) };
        let stop = CancellationToken::new();
        tokio::spawn(Worker::new(orders.board.clone(), orders.kinds.clone(), settings).run(stop.clone()));
        stop
    }
}
