//! A kind that does what a test says, and workers on a store of their own.

use super::super::{
    board::Board,
    job::Job,
    kinds::{Done, Failure, Kind, Kinds, Parameter, Parameters, Range},
    step::{Priority, Submission},
    work::Work,
    worker::{Settings, Worker},
};
use async_trait::async_trait;
use model::access::Action;
use serde_json::json;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use store::Histories;
use tempfile::TempDir;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Longer than any of this takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
pub(super) const LEASE: Duration = Duration::from_millis(300);

/// A kind whose attempts do what the test says: `how` is "well", "again" (fails so many times as `n`), "later" (wants an hour
/// before the next attempt), "ill", "panic", "gate" (waits until it is let through).
#[derive(Default)]
pub(super) struct Tried {
    pub(super) begun: Mutex<Vec<String>>,
    pub(super) failures: AtomicU32,
    pub(super) gate: Notify,
}

pub(super) struct Try(Arc<Tried>);

#[async_trait]
impl Kind for Try {
    fn name(&self) -> &str {
        "try"
    }

    fn about(&self) -> &str {
        "does what the test says"
    }

    fn parameters(&self) -> Vec<Parameter> {
        let words = ["well", "again", "later", "ill", "panic", "gate"].map(str::to_owned).to_vec();
        let parameter = |name, takes, default| Parameter::new(name, takes, default, "");
        vec![
            parameter("how", Range::Choice(words), None),
            parameter("n", Range::Integer(0, 9), Some("1")),
            parameter("name", Range::Text(20), Some("x")),
        ]
    }

    fn needs(&self) -> Action {
        Action::SubmitJobs
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        self.0.begun.lock().unwrap().push(parameters["name"].clone());
        work.say(format!("attempt at {}", parameters["name"]));
        work.progress("trying", 1, 2, "halves");
        match parameters["how"].as_str() {
            "again" if self.0.failures.fetch_add(1, Ordering::SeqCst) < parameters["n"].parse().unwrap() => {
                return Err(Failure::Again("not yet".to_owned()));
            }
            "later" => {
                let after = Duration::from_secs(3_600);
                return Err(Failure::Later { text: "in an hour".to_owned(), after });
            }
            "ill" => return Err(Failure::Final("never".to_owned())),
            "panic" => panic!("a fault of the kind's"),
            "gate" => self.0.gate.notified().await,
            _ => {}
        }
        Ok(Done { result: json!({ "attempt": work.attempt_id() }), rows: (3, 2), seed: 7, ..Done::default() })
    }
}

pub(super) struct Bench {
    pub(super) _dir: TempDir,
    pub(super) store: Arc<store::embedded::Store>,
    pub(super) tried: Arc<Tried>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(store::embedded::Store::open(dir.path()).unwrap());
        Self { _dir: dir, store, tried: Arc::default() }
    }

    /// What a process of its own would know.
    pub(super) fn board(&self) -> Board {
        Board::new(Arc::clone(&self.store) as Arc<dyn Histories>, guard::clock::now)
    }

    /// Starts a worker with a board of its own; it ends when the token is cancelled.
    pub(super) fn worker(&self, at_once: usize) -> CancellationToken {
        let kinds = Kinds::new([Arc::new(Try(Arc::clone(&self.tried))) as Arc<dyn Kind>]);
        let settings = Settings { at_once, lease: LEASE, follow_every: Duration::from_millis(20) };
        let stop = CancellationToken::new();
        tokio::spawn(Worker::new(self.board(), kinds, settings).run(stop.clone()));
        stop
    }

    pub(super) fn begun(&self) -> Vec<String> {
        self.tried.begun.lock().unwrap().clone()
    }
}

pub(super) fn submission(how: &str, name: &str) -> Submission {
    let parameters = [("how", how), ("name", name), ("n", "1")];
    Submission {
        kind: "try".to_owned(),
        parameters: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        submitter: "user:a".to_owned(),
        at: guard::clock::now().0,
        priority: Priority::Normal,
        deadline: None,
        max_attempts: 3,
        pause_seconds: 0,
        ..Submission::default()
    }
}

/// Waits until a job is as it should be.
pub(super) async fn until(board: &Board, id: Uuid, is_so: impl Fn(&Job) -> bool) -> Job {
    let waiting = async {
        loop {
            let job = board.get(id).await.unwrap().unwrap();
            if is_so(&job) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match timeout(PATIENCE, waiting).await {
        Ok(job) => job,
        Err(_) => panic!("it stays {:?}", board.get(id).await.unwrap()),
    }
}

pub(super) async fn ended(board: &Board, id: Uuid) -> Job {
    until(board, id, |job| job.state.has_ended()).await
}
