//! The kind `pipeline`: submits the jobs of a run. Done twice it changes nothing: each job's key is the run's and the step's.

use super::{Given, PLAN, Pipeline, Plan, find, names, plan, plan::Planned, retry::again, run_id, submitter};
use crate::{
    catalogue::Catalogue,
    datasets,
    jobs::{
        board::SubmitError,
        job::{Job, State},
        kinds::{Done, Failure, Kind, Parameter, Parameters, Range, Unfit},
        orders::Orders,
        step::{Notify, Priority, RunOf, Submission},
        work::Work,
    },
    sources::Sources,
};
use async_trait::async_trait;
use model::access::Action;
use serde_json::json;
use uuid::Uuid;

/// Name of the kind.
pub const NAME: &str = "pipeline";
/// Skipped steps that a result names.
const SKIPPED_MAX: usize = 100;

/// Which run, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name of the pipeline.
    pub pipeline: String,
    /// For which date, as in 2027-03-14.
    pub date: String,
    /// Whether somebody is told how it ended.
    pub notify: Notify,
    /// That of all of its jobs.
    pub priority: Priority,
}

/// Plans runs, and submits what is planned. Clones are the same.
#[derive(Clone)]
pub struct Planner {
    /// Where the jobs of a run go, and what they can be.
    pub orders: Orders,
    /// Where data comes from.
    pub sources: Sources,
    /// What was imported.
    pub catalogue: Catalogue,
    /// Ways in which somebody is told.
    pub channels: Vec<String>,
}

/// Why a run is not planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// What it needs is not there.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Submits the first job of a run, which submits the others. A run that is there is answered as it is; if its others were not
/// submitted because that failed, it is tried again.
///
/// # Errors
/// The store.
pub async fn submit(orders: &Orders, target: &Target, by: &str) -> Result<Job, SubmitError> {
    let (submitter, key) = (submitter(&target.pipeline), key(target, PLAN));
    let job = match orders.board.submit(first(orders, target, &submitter), Some(&key)).await {
        Err(SubmitError::KeyTaken) => {
            // with another choice of whom to tell
            orders.board.submitted(&submitter, &key).await?.ok_or(SubmitError::KeyTaken)?
        }
        submitted => submitted?,
    };
    if !job.state.has_failed() {
        return Ok(job);
    }
    Ok(again(&orders.board, &job, by, State::has_failed).await?.unwrap_or(job))
}

/// The job that submits the others.
fn first(orders: &Orders, target: &Target, submitter: &str) -> Submission {
    let low = target.priority == Priority::Low;
    let parameters = [
        ("pipeline", target.pipeline.as_str()),
        ("date", &target.date),
        ("notify", target.notify.word()),
        ("priority", if low { "low" } else { "normal" }),
    ];
    Submission {
        kind: NAME.to_owned(),
        parameters: parameters.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        priority: target.priority,
        // how the run ended is told by a step of its own, which there is not if this fails
        notify: if target.notify == Notify::Never { Notify::Never } else { Notify::Failure },
        run: Some(of(target, PLAN)),
        ..orders.plain(submitter)
    }
}

fn of(target: &Target, step: &str) -> RunOf {
    let Target { pipeline, date, .. } = target.clone();
    RunOf { run_id: run_id(&pipeline, &date), pipeline, step: step.to_owned(), date }
}

fn key(target: &Target, step: &str) -> String {
    format!("run {} {step}", run_id(&target.pipeline, &target.date))
}

impl Planner {
    /// What a run comes to here and now.
    ///
    /// # Errors
    /// What it needs is not there; the store.
    pub async fn plan(&self, pipeline: &Pipeline, target: &Target) -> Result<Plan, PlanError> {
        let mut given = Given {
            sources: self.sources.of(None).map(|source| (source.name.clone(), source.kind.clone())).collect(),
            channels: self.channels.clone(),
            ..Given::default()
        };
        for kind in datasets::kinds() {
            if self.catalogue.get(&kind.name).await?.current().is_some() {
                given.imported.insert(kind.name.clone());
            }
        }
        let run_id = run_id(&target.pipeline, &target.date).to_string();
        for (name, word) in [("date", target.date.as_str()), ("run_id", &run_id), ("notify", target.notify.word())] {
            given.words.insert(name.to_owned(), word.to_owned());
        }
        Ok(plan(pipeline, &given, &self.orders.kinds)?)
    }

    /// Submits one job of a run; its id. One that is there already stays as it was.
    async fn submit(
        &self,
        target: &Target,
        planned: &Planned,
        (plan, before): (Uuid, &[Uuid]),
    ) -> Result<Uuid, Failure> {
        let (submitter, key) = (submitter(&target.pipeline), key(target, &planned.step));
        let ids =
            |places: &[usize]| -> Vec<Uuid> { places.iter().filter_map(|place| before.get(*place)).copied().collect() };
        let plain = self.orders.of(&planned.kind, &planned.parameters, &submitter);
        let submission = Submission {
            priority: target.priority,
            depends_on: ids(&planned.depends_on),
            after: planned.is_last.then_some(plan).into_iter().chain(ids(&planned.after)).collect(),
            run: Some(of(target, &planned.step)),
            ..plain.map_err(Failure::for_good)?
        };
        let board = &self.orders.board;
        let job = match board.submit(submission, Some(&key)).await {
            // when it was submitted, there were other sources, or other steps before it
            Err(SubmitError::KeyTaken) => board.submitted(&submitter, &key).await.map_err(Failure::again)?,
            submitted => Some(submitted.map_err(Failure::again)?),
        };
        job.map(|job| job.id).ok_or_else(|| Failure::again("the job of a step was cleared at the same time"))
    }
}

#[async_trait]
impl Kind for Planner {
    fn name(&self) -> &str {
        NAME
    }

    fn about(&self) -> &str {
        "submits the jobs of a pipeline for a date"
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::new("pipeline", Range::words(names()), None, "which"),
            Parameter::new("date", Range::Text(10), None, "for which date, as in 2027-03-14"),
            Parameter::new(
                "notify",
                Range::words(["never", "failure", "always"]),
                Some("failure"),
                "when somebody is told",
            ),
            Parameter::new("priority", Range::words(["low", "normal"]), Some("normal"), "that of its jobs"),
        ]
    }

    fn needs(&self) -> Action {
        // what is in it is not known before it is planned; RunPipeline asks for each
        Action::ManageJobs
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        let target = target(parameters)?;
        let pipeline = find(&target.pipeline).ok_or_else(|| Failure::Final("pipeline: there is none".to_owned()))?;
        let plan = self.plan(pipeline, &target).await.map_err(|error| match error {
            PlanError::Unfit(unfit) => Failure::for_good(unfit),
            PlanError::Store(error) => Failure::again(error),
        })?;
        let (mut ids, all) = (Vec::new(), plan.jobs.len() as u64);
        for planned in &plan.jobs {
            if work.stop().is_cancelled() {
                return Err(Failure::again("nobody wants the result any more"));
            }
            ids.push(self.submit(&target, planned, (work.job(), &ids)).await?);
            work.progress("submitting", ids.len() as u64, all, "jobs");
        }
        for (step, why) in &plan.skipped {
            work.say(format!("{step}: skipped: {why}"));
        }
        work.say(format!("{all} jobs submitted, {} steps skipped", plan.skipped.len()));
        let skipped: Vec<_> = plan.skipped.iter().take(SKIPPED_MAX).collect();
        let result = json!({ "run_id": run_id(&target.pipeline, &target.date), "jobs": all, "skipped": skipped });
        Ok(Done { result, ..Done::default() })
    }
}

fn target(parameters: &Parameters) -> Result<Target, Failure> {
    let date = parameters["date"].parse::<jiff::civil::Date>();
    let date = date.map_err(|_| Failure::Final("date: must be one, as in 2027-03-14".to_owned()))?;
    Ok(Target {
        pipeline: parameters["pipeline"].clone(),
        date: date.to_string(),
        notify: Notify::of(&parameters["notify"]).unwrap_or_default(),
        priority: if parameters["priority"] == "low" { Priority::Low } else { Priority::Normal },
    })
}
