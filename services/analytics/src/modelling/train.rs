//! The kind `train`: the current versions of a model's data sets in, a new version of the model out.

use super::{
    frames::{self, Framed, frame_of},
    shelf::{ARTEFACT, CARD, KEPT, Rule, Shelf, Version},
};
use crate::{
    jobs::{
        kinds::{Done, Failure, Kind, Parameter, Parameters, Range},
        work::Work,
    },
    models::{self, Decision, Measured, Pipeline, Trained, Training, Versions},
    reporting::{self, Runner},
    versions::History,
};
use async_trait::async_trait;
use jiff::Timestamp;
use model::{Clock, access::Action};
use object_store::path::Path as Key;
use serde_json::{Value, json};
use std::{ops::ControlFlow, sync::Arc};

/// Name of the kind.
pub const NAME: &str = "train";
/// The folder of models among the objects.
const ROOT: &str = "models";
/// Parts in which progress is told.
const PARTS: u64 = 1_000;

/// Trains a model over the current versions of its data sets.
pub struct Train {
    /// Reads the rows.
    pub runner: Runner,
    /// Where models are kept.
    pub shelf: Shelf,
    /// Says when a version was trained.
    pub clock: Clock,
    /// The pipeline of a name: [`Pipeline::named`], but for tests that want fewer trees.
    pub pipeline: fn(&str) -> Result<Pipeline, models::Error>,
}

#[async_trait]
impl Kind for Train {
    fn name(&self) -> &str {
        NAME
    }

    fn about(&self) -> &str {
        "trains a model over the current versions of its data sets, and promotes it when it is better"
    }

    fn parameters(&self) -> Vec<Parameter> {
        let models = Range::words(models::names());
        let rules = Range::words(Rule::WORDS);
        vec![
            Parameter::new("model", models, None, "which model"),
            Parameter::new("promote", rules, Some("better"), "when it is in use from then on"),
        ]
    }

    fn needs(&self) -> Action {
        // what it promotes answers everybody
        Action::ManageData
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        let pipeline = (self.pipeline)(&parameters["model"]).map_err(Failure::for_good)?;
        let rule = Rule::named(&parameters["promote"]);
        let rule = rule.ok_or_else(|| Failure::Final("promote: must be better, never or always".to_owned()))?;
        work.progress("reading", 0, 0, "rows");
        let Framed { frame, data_versions } = frame_of(&self.runner, &pipeline).await.map_err(unframed)?;
        work.say(format!("{} rows of {}", frame.rows(), pipeline.sources.join(", ")));
        let at = (self.clock)().0;
        let versions = Versions { data: data_versions.clone(), code: env!("CARGO_PKG_VERSION").to_owned() };
        let training = fit(work, pipeline, frame, versions, at).await?;
        let trained = &training.trained;
        let version = self.keep(work, trained, at).await?;
        // what others see from now on: not by a worker who has lost the job
        work.confirm().await?;
        let (id, prefix) = (version.id, version.prefix.clone());
        let history = self.shelf.add(version, &trained.card, rule, Some(&training)).await;
        let history = history.map_err(Failure::again)?;
        let version =
            history.version(id).ok_or_else(|| Failure::Final("the version was deleted at once".to_owned()))?;
        if version.prefix != prefix {
            // an attempt that was thought lost had made it known already
            self.shelf.objects().remove_all(&Key::from(prefix)).await.map_err(Failure::again)?;
        }
        self.prune(work, &trained.card.name, &history).await;
        let verb = if version.decision.promoted { "promoted" } else { "not promoted" };
        work.say(format!("{verb}: {}", version.decision.reason));
        let rows = (version.rows_in, version.rows_used);
        Ok(Done { result: result(trained, version), rows, data_versions, seed: version.seed })
    }
}

impl Train {
    /// Puts artefact and card among the objects; not yet known to others.
    async fn keep(&self, work: &Work, trained: &Trained, at: i64) -> Result<Version, Failure> {
        let Trained { artefact, card, .. } = trained;
        let bytes = artefact.to_bytes().map_err(Failure::for_good)?;
        let json = serde_json::to_vec(card).map_err(Failure::again)?;
        let prefix = Key::from_iter([ROOT, &card.name, &work.attempt_id().to_string()]);
        let (objects, n_bytes) = (self.shelf.objects(), bytes.len() as u64);
        objects.put(&prefix.clone().join(ARTEFACT), bytes.into()).await.map_err(Failure::again)?;
        objects.put(&prefix.clone().join(CARD), json.into()).await.map_err(Failure::again)?;
        Ok(Version {
            // one of a job, whoever does it
            id: work.job(),
            at,
            by: work.by().to_owned(),
            job: work.job(),
            prefix: prefix.to_string(),
            bytes: n_bytes,
            schema_hash: card.schema_hash.clone(),
            seed: card.seed,
            rows_in: card.rows_in as u64,
            rows_used: card.rows_used as u64,
            made_of: card.versions.clone(),
            metrics: card.evaluation.metrics.clone(),
            decision: Decision { promoted: false, reason: "not decided yet".to_owned() },
        })
    }

    /// Deletes the oldest versions of too many, but for the one in use. The next training tries again what fails here.
    async fn prune(&self, work: &Work, model: &str, history: &History<Version>) {
        let in_use = history.current().map(|version| version.id);
        let others = history.versions.iter().filter(|version| Some(version.id) != in_use);
        for version in others.take(history.versions.len().saturating_sub(KEPT)) {
            match self.shelf.delete(model, version.id, work.by()).await {
                Ok(_) => work.say(format!("version {} is deleted: {KEPT} are kept", version.id)),
                Err(error) => work.say(format!("version {} could not be deleted: {error}", version.id)),
            }
        }
    }
}

/// Trains on a thread of its own, which ends early when nobody wants the result any more.
async fn fit(
    work: &Work,
    pipeline: Pipeline,
    frame: models::Frame,
    versions: Versions,
    at: i64,
) -> Result<Arc<Training>, Failure> {
    let at = Timestamp::from_nanosecond(i128::from(at)).map_err(Failure::again)?;
    let telling = work.clone();
    let training = move || -> Result<_, models::Error> {
        let report = |share: f64, doing: &str| {
            telling.progress(doing, (share * PARTS as f64) as u64, PARTS, "parts");
            match telling.stop().is_cancelled() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let trained = models::train(&pipeline, &frame, &versions, at, &report)?;
        Ok(Arc::new(Training { pipeline, frame, trained }))
    };
    let trained = tokio::task::spawn_blocking(training).await;
    let trained = trained.map_err(|_| Failure::Final("the training failed: operators find more in the log".into()))?;
    trained.map_err(|error| match error {
        stopped @ models::Error::Stopped(_) => Failure::again(stopped),
        error => Failure::for_good(error),
    })
}

/// What the submitter is told.
fn result(trained: &Trained, version: &Version) -> Value {
    let metric = |measured: &Measured| {
        let Measured { metric, value, interval, trivial } = measured;
        json!({ "metric": metric.name(), "value": value, "low": interval.low, "high": interval.high, "trivial": trivial })
    };
    json!({
        "model": trained.card.name, "version_id": version.id, "rows_in": version.rows_in, "rows_used": version.rows_used,
        "decides": trained.card.decides.name(), "metrics": version.metrics.iter().map(metric).collect::<Vec<_>>(),
        "promoted": version.decision.promoted, "reason": version.decision.reason,
    })
}

fn unframed(error: frames::Error) -> Failure {
    match error {
        frames::Error::Query(error) => reporting::failed(error),
        error => Failure::for_good(error),
    }
}
