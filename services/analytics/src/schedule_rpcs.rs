//! `ScheduleService`: schedules of the settings, and runs of pipelines.

mod shown;

use crate::{
    callers::{done_to, permit_jobs},
    jobs::{
        board::{Board, SubmitError},
        orders::Orders,
        step::{Notify, Priority},
        submit::unfit,
        wire,
    },
    notify,
    pipelines::{self, Pipeline, PlanError, Planner, Run, Step, Target},
    schedules::{BackfillError, Keeper, Schedule, What},
};
use async_trait::async_trait;
use guard::{decisions::Decisions, errors, ids, pages};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use model::access::Action;
use prost::Message;
use proto::{
    analytics::v1::{
        BackfillScheduleRequest, BackfillScheduleResponse, GetPipelineRunRequest, GetPipelineRunResponse,
        ListPipelineRunsRequest, ListPipelineRunsResponse, ListSchedulesRequest, ListSchedulesResponse, PipelineRun,
        RetryPipelineRunRequest, RetryPipelineRunResponse, RunPipelineRequest, RunPipelineResponse,
        schedule_service_server::{ScheduleService, ScheduleServiceServer},
    },
    problem,
};
use shown::{outline, schedule, whole};
use std::collections::BTreeSet;
use tonic::{Code, Extensions, Request, Response, Status};

/// Default and most of a page of a list.
const PAGE: (usize, usize) = (50, 500);

/// Answers `ScheduleService`: schedules, backfills and runs of pipelines.
pub struct ScheduleRpcs {
    keeper: Keeper,
    planner: Planner,
    orders: Orders,
    decisions: Decisions,
}

impl ScheduleRpcs {
    /// Over the schedules of `keeper`; runs are planned by `planner` and submitted to `orders`, which have more kinds of jobs than
    /// a pipeline may have, for whom `decisions` permit it.
    pub fn new(keeper: Keeper, planner: Planner, orders: Orders, decisions: Decisions) -> Self {
        Self { keeper, planner, orders, decisions }
    }

    /// The gRPC service, to be put behind the auth layer.
    pub fn service(self) -> ScheduleServiceServer<Self> {
        ScheduleServiceServer::new(self).max_decoding_message_size(4 * 1024)
    }

    fn board(&self) -> &Board {
        &self.orders.board
    }

    /// Permission for an action on jobs, written down when this returns; the caller's name.
    async fn permit(&self, extensions: &Extensions, action: Action, detail: &str) -> Result<String, Status> {
        permit_jobs(&self.decisions, extensions, action, detail).await.map(|(_, caller)| caller)
    }

    /// Permission for what kinds of jobs need, beside submitting them.
    async fn permit_kinds<'k>(
        &self,
        extensions: &Extensions,
        kinds: impl Iterator<Item = &'k str>,
        detail: &str,
    ) -> Result<(), Status> {
        let caller = guard::principal(extensions)?;
        let needs = kinds.filter_map(|kind| Some(self.orders.kinds.find(kind).ok()?.needs()));
        let needs: BTreeSet<_> = needs.filter(|action| *action != Action::SubmitJobs).collect();
        for action in needs {
            self.decisions.on_system(caller, action, None).recorded(detail).await?;
        }
        Ok(())
    }

    fn schedule(&self, name: &str) -> Result<&Schedule, Status> {
        let found = self.keeper.schedules().iter().find(|schedule| schedule.name == name);
        found.ok_or_else(|| not_found("name", "there is no such schedule; ListSchedules shows all"))
    }

    /// What a run comes to, and permission for all that is in it.
    async fn planned(&self, extensions: &Extensions, target: &Target, detail: &str) -> Result<(), Status> {
        let plan = self.planner.plan(pipeline(&target.pipeline)?, target).await.map_err(unplanned)?;
        let kinds = plan.jobs.iter().map(|job| job.kind.as_str());
        self.permit_kinds(extensions, kinds.filter(|kind| is_callers(kind)), detail).await
    }

    /// A run of a pipeline, whatever other processes did to it.
    async fn find(&self, name: &str, run_id: &str) -> Result<Run, Status> {
        let id = ids::uuid("run_id", run_id)?;
        pipeline(name)?;
        self.board().follow().await.map_err(errors::store)?;
        let run = pipelines::get(self.board(), id).filter(|run| run.pipeline == name);
        run.ok_or_else(|| not_found("run_id", "there is no such run, or it was cleared"))
    }

    /// Today by the clock of the schedule that runs a pipeline, or else by UTC.
    fn today(&self, name: &str) -> Date {
        let now = self.board().now();
        let of_it = |schedule: &&Schedule| schedule.what == What::Pipeline(name.to_owned());
        let by_schedule = self.keeper.schedules().iter().find(of_it).and_then(|one| one.timetable.date(now));
        by_schedule.unwrap_or_else(|| {
            Timestamp::from_nanosecond(now.into()).unwrap_or_default().to_zoned(TimeZone::UTC).date()
        })
    }
}

#[async_trait]
impl ScheduleService for ScheduleRpcs {
    async fn list_schedules(
        &self,
        request: Request<ListSchedulesRequest>,
    ) -> Result<Response<ListSchedulesResponse>, Status> {
        self.permit(request.extensions(), Action::ReadJobs, "schedules").await?;
        let mut schedules = Vec::new();
        for one in self.keeper.schedules() {
            let state = self.keeper.state(one).await.map_err(errors::store)?;
            schedules.push(schedule(one, state.as_ref()));
        }
        Ok(Response::new(ListSchedulesResponse { schedules }))
    }

    async fn backfill_schedule(
        &self,
        request: Request<BackfillScheduleRequest>,
    ) -> Result<Response<BackfillScheduleResponse>, Status> {
        self.permit(request.extensions(), Action::SubmitJobs, "backfill").await?;
        let (_, extensions, request) = request.into_parts();
        let schedule = self.schedule(&request.name)?;
        let (from, to) = (date("start_date", &request.start_date)?, date("end_date", &request.end_date)?);
        match &schedule.what {
            What::Job(kind, _) => self.permit_kinds(&extensions, [kind.as_str()].into_iter(), "backfill").await?,
            What::Pipeline(name) => self.planned(&extensions, &target(name, to, schedule.notify), "backfill").await?,
        }
        let jobs = self.keeper.backfill(schedule, from, to).await.map_err(|error| match error {
            BackfillError::Dates(text) => problem::invalid("INVALID_DATES", "end_date", text),
            BackfillError::Unfit(wrong) => unfit(wrong),
            BackfillError::Submit(error) => unsubmitted(error),
        })?;
        Ok(Response::new(BackfillScheduleResponse { jobs: jobs.iter().map(wire::outline).collect() }))
    }

    async fn run_pipeline(
        &self,
        request: Request<RunPipelineRequest>,
    ) -> Result<Response<RunPipelineResponse>, Status> {
        let (_, extensions, RunPipelineRequest { name, date: sent, notify: when }) = request.into_parts();
        let today = self.today(&name);
        let date = if sent.is_empty() { Ok(today) } else { date("date", &sent) };
        let detail = to_run(&name, date.as_ref().ok());
        let by = self.permit(&extensions, Action::SubmitJobs, &detail).await?;
        pipeline(&name)?;
        let date = date?;
        if date > today {
            return Err(problem::invalid("INVALID_DATE", "date", format!("must not be after today, {today}")));
        }
        let when = if when == 0 { Notify::Failure } else { wire::notify(when)? };
        let target = target(&name, date, when);
        self.planned(&extensions, &target, &detail).await?;
        let job = pipelines::submit(&self.orders, &target, &by).await.map_err(unsubmitted)?;
        self.board().follow().await.map_err(errors::store)?;
        let run = job.submission.run.and_then(|run| pipelines::get(self.board(), run.run_id));
        Ok(Response::new(RunPipelineResponse { run: run.as_ref().map(whole) }))
    }

    async fn list_pipeline_runs(
        &self,
        request: Request<ListPipelineRunsRequest>,
    ) -> Result<Response<ListPipelineRunsResponse>, Status> {
        self.permit(request.extensions(), Action::ReadJobs, "pipeline runs").await?;
        let request = request.into_inner();
        pipeline(&request.name)?;
        let size = pages::size(request.page_size, PAGE)?;
        let after = pages::after::<Date>(&request.page_token)?;
        self.board().follow().await.map_err(errors::store)?;
        let mut runs = pipelines::list(self.board(), &request.name);
        runs.retain(|run| after.is_none_or(|after| run.date < after.to_string()));
        let (runs, next_page_token) =
            pages::page(runs.iter().map(outline), size, PipelineRun::encoded_len, |run| run.date.clone());
        Ok(Response::new(ListPipelineRunsResponse { runs, next_page_token }))
    }

    async fn get_pipeline_run(
        &self,
        request: Request<GetPipelineRunRequest>,
    ) -> Result<Response<GetPipelineRunResponse>, Status> {
        self.permit(request.extensions(), Action::ReadJobs, "pipeline run").await?;
        let GetPipelineRunRequest { name, run_id } = request.into_inner();
        let run = self.find(&name, &run_id).await?;
        Ok(Response::new(GetPipelineRunResponse { run: Some(whole(&run)) }))
    }

    async fn retry_pipeline_run(
        &self,
        request: Request<RetryPipelineRunRequest>,
    ) -> Result<Response<RetryPipelineRunResponse>, Status> {
        let detail = done_to("retry pipeline run", &request.get_ref().run_id);
        let by = self.permit(request.extensions(), Action::SubmitJobs, &detail).await?;
        let (_, extensions, RetryPipelineRunRequest { name, run_id }) = request.into_parts();
        let run = self.find(&name, &run_id).await?;
        let has_failed = |step: &&Step| step.job.state.has_failed();
        if run.steps.iter().filter(has_failed).any(|step| step.name == pipelines::PLAN) {
            // it submits the others, which nobody was permitted to have yet
            let date = date("date", &run.date)?;
            self.planned(&extensions, &target(&name, date, Notify::Always), &detail).await?;
        }
        let kinds = run.steps.iter().map(|step| step.job.submission.kind.as_str());
        self.permit_kinds(&extensions, kinds.filter(|kind| is_callers(kind)), &detail).await?;
        if pipelines::retry(self.board(), &run, &by).await.map_err(errors::store)? == 0 {
            let text = "no step of it failed or was cancelled";
            return Err(problem::status(Code::FailedPrecondition, "NOT_FAILED", text));
        }
        let run = self.find(&name, &run_id).await?;
        Ok(Response::new(RetryPipelineRunResponse { run: Some(whole(&run)) }))
    }
}

/// Whether a kind of job in a run does what its caller wants: not what submits the others, nor what tells how the run ended, to whom
/// the settings say.
fn is_callers(kind: &str) -> bool {
    ![pipelines::NAME, notify::NAME].contains(&kind)
}

/// How the audit log calls a run that is asked for: a name or a date that is none may be anything, and is left out.
fn to_run(name: &str, date: Option<&Date>) -> String {
    let known = pipelines::find(name).map(|pipeline| format!(" {}", pipeline.name)).unwrap_or_default();
    let date = date.map(|date| format!(" {date}")).unwrap_or_default();
    format!("run pipeline{known}{date}")
}

fn target(pipeline: &str, date: Date, notify: Notify) -> Target {
    Target { pipeline: pipeline.to_owned(), date: date.to_string(), notify, priority: Priority::Normal }
}

fn pipeline(name: &str) -> Result<&'static Pipeline, Status> {
    let names = || pipelines::names().collect::<Vec<_>>().join(", ");
    pipelines::find(name).ok_or_else(|| not_found("name", &format!("there is no such pipeline, only {}", names())))
}

fn date(field: &str, text: &str) -> Result<Date, Status> {
    let wrong = || problem::invalid("INVALID_DATE", field, "must be a date, as in 2027-03-14");
    // of other ways to write one, none is a name of a run
    text.parse::<Date>().ok().filter(|date| date.to_string() == text).ok_or_else(wrong)
}

fn not_found(field: &str, text: &str) -> Status {
    problem::field(Code::NotFound, "NOT_FOUND", field, text)
}

fn unplanned(error: PlanError) -> Status {
    match error {
        PlanError::Unfit(wrong) => problem::status(Code::FailedPrecondition, "NOT_SET_UP", wrong.to_string()),
        PlanError::Store(error) => errors::store(error),
    }
}

fn unsubmitted(error: SubmitError) -> Status {
    match error {
        SubmitError::Store(error) => errors::store(error),
        SubmitError::KeyTaken => {
            let text = "its job was cleared at the same time; try again";
            problem::status(Code::Aborted, "CLEARED", text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_asked_for_is_named_by_what_is_known() {
        let (name, day) = (pipelines::names().next().unwrap(), date("date", "2027-03-14").ok());
        assert_eq!(to_run(name, day.as_ref()), format!("run pipeline {name} 2027-03-14"));
        assert_eq!(to_run(name, None), format!("run pipeline {name}"));
        assert_eq!(to_run("Ada Okafor", day.as_ref()), "run pipeline 2027-03-14");
    }
}
