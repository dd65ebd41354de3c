//! `JobService`: what callers submit, and what they may see of it.

use super::{
    board::Board,
    clearing::clearable,
    job::{Job, State},
    kinds::{Kinds, Unfit},
    orders::Orders,
    step::Step,
    submit::{Sees, Submit, unfit},
    wire,
};
use crate::{
    callers::{caller_name, permit_jobs},
    objects::Objects,
    objects_failed, results,
};
use async_trait::async_trait;
use guard::{decisions::Decisions, errors, ids, pages};
use model::access::Action;
use prost::Message;
use proto::{
    analytics::v1::{
        self as v1, CancelJobRequest, CancelJobResponse, ClearJobsRequest, ClearJobsResponse, GetJobRequest,
        GetJobResponse, GetJobResultRequest, GetJobResultResponse, ListJobKindsRequest, ListJobKindsResponse,
        ListJobsRequest, ListJobsResponse, RetryJobRequest, RetryJobResponse, StartTaskRequest, StartTaskResponse,
        SubmitJobRequest, SubmitJobResponse, SubmitRouteRequest, SubmitRouteResponse, WaitJobRequest, WaitJobResponse,
        job_service_server::{JobService, JobServiceServer},
    },
    problem,
};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Extensions, Request, Response, Status};
use uuid::Uuid;

/// Most characters of a kind's name.
const KIND_CHARS: usize = 64;
/// Default and most of a page of a list.
const PAGE: (usize, usize) = (50, 500);
/// Most bytes of a part of a result.
const RESULT_PART: u64 = 1 << 20;
/// How long a call waits for a job at most, and how often it reads what another process did.
const WAIT: (Duration, Duration) = (Duration::from_secs(25), Duration::from_secs(1));

/// Answers `JobService`: callers see and change their own jobs, and all of them if they may manage jobs.
pub struct JobRpcs {
    board: Board,
    kinds: Kinds,
    submit: Submit,
    decisions: Decisions,
    objects: Objects,
}

impl JobRpcs {
    /// Over the board, and of the kinds, of `submit`; results that are too large for a step are in `objects`.
    pub fn new(submit: Submit, objects: Objects) -> Self {
        let Submit { orders: Orders { board, kinds, .. }, decisions } = submit.clone();
        Self { board, kinds, submit, decisions, objects }
    }

    /// The gRPC service, to be put behind the auth layer.
    pub fn service(self) -> JobServiceServer<Self> {
        JobServiceServer::new(self).max_decoding_message_size(64 * 1024)
    }

    /// Permission for an action on one's own jobs, or on everybody's; written down when this returns.
    async fn permit(&self, extensions: &Extensions, action: Action, detail: &str) -> Result<Sees, Status> {
        let (manages, caller) = permit_jobs(&self.decisions, extensions, action, detail).await?;
        Ok(if manages { Sees::All } else { Sees::Own(caller) })
    }

    /// A job that the caller may see: another one answers as one that is not there.
    async fn find(&self, id: Uuid, sees: &Sees) -> Result<Job, Status> {
        let job = self.board.get(id).await.map_err(errors::store)?.filter(|job| sees.has(job));
        job.ok_or_else(|| problem::status(Code::NotFound, "NOT_FOUND", "job_id: there is no such job"))
    }

    /// Changes a job as long as somebody else changes it meanwhile; `step` refuses what cannot be.
    async fn change(
        &self,
        id: Uuid,
        sees: &Sees,
        step: impl Fn(&Job) -> Result<Step, Status>,
    ) -> Result<v1::Job, Status> {
        loop {
            let job = self.find(id, sees).await?;
            if let Some(job) = self.board.put(&job, step(&job)?).await.map_err(errors::store)? {
                return Ok(wire::job(&job));
            }
        }
    }
}

#[async_trait]
impl JobService for JobRpcs {
    async fn submit_job(&self, request: Request<SubmitJobRequest>) -> Result<Response<SubmitJobResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let job = self.submit.submit(&extensions, request).await?;
        Ok(Response::new(SubmitJobResponse { job: Some(job) }))
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<GetJobResponse>, Status> {
        let id = ids::uuid("job_id", &request.get_ref().job_id)?;
        let sees = self.permit(request.extensions(), Action::ReadJobs, &format!("get {id}")).await?;
        let job = self.find(id, &sees).await?;
        Ok(Response::new(GetJobResponse { job: Some(wire::job(&job)) }))
    }

    async fn list_jobs(&self, request: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        let sees = self.permit(request.extensions(), Action::ReadJobs, "list").await?;
        let request = request.into_inner();
        let size = pages::size(request.page_size, PAGE)?;
        if request.kind.chars().count() > KIND_CHARS {
            return Err(problem::invalid("INVALID_KIND", "kind", format!("at most {KIND_CHARS} characters")));
        }
        let (after, state) = (pages::after_uuid(&request.page_token)?, wire::state(request.state)?);
        self.board.follow().await.map_err(errors::store)?;
        let mut jobs: Vec<_> = self.board.standing().into_iter().map(|(job, _)| job).collect();
        jobs.retain(|job| {
            let is_wanted = state.is_none_or(|state| state == job.state)
                && (request.kind.is_empty() || request.kind == job.submission.kind);
            is_wanted && sees.has(job) && after.is_none_or(|after| job.id < after)
        });
        // one of a kind that an older version had is still listed
        if jobs.is_empty() && !request.kind.is_empty() {
            let unknown = |unfit: Unfit| problem::invalid("INVALID_KIND", &unfit.field, unfit.text);
            self.kinds.find(&request.kind).map_err(unknown)?;
        }
        jobs.sort_unstable_by_key(|job| std::cmp::Reverse(job.id));
        let (jobs, next_page_token) =
            pages::page(jobs.iter().map(|job| wire::outline(job)), size, v1::Job::encoded_len, |job| {
                job.job_id.clone()
            });
        Ok(Response::new(ListJobsResponse { jobs, next_page_token }))
    }

    async fn wait_job(&self, request: Request<WaitJobRequest>) -> Result<Response<WaitJobResponse>, Status> {
        let id = ids::uuid("job_id", &request.get_ref().job_id)?;
        let sees = self.permit(request.extensions(), Action::ReadJobs, &format!("wait {id}")).await?;
        let asked = request.get_ref().timeout.map(wire::wait).transpose()?;
        let until = Instant::now() + asked.unwrap_or(WAIT.0).min(WAIT.0);
        let mut changes = self.board.changes();
        loop {
            let job = self.find(id, &sees).await?;
            if job.state.has_ended() {
                return Ok(Response::new(WaitJobResponse { job: Some(wire::job(&job)) }));
            }
            if Instant::now() >= until {
                let text = "the job has not ended; wait again";
                return Err(problem::status(Code::DeadlineExceeded, "NOT_FINISHED", text));
            }
            // another process may have ended it
            let look = until.min(Instant::now() + WAIT.1);
            let _ = timeout_at(look, changes.changed()).await;
        }
    }

    async fn get_job_result(
        &self,
        request: Request<GetJobResultRequest>,
    ) -> Result<Response<GetJobResultResponse>, Status> {
        let GetJobResultRequest { job_id, offset } = request.get_ref().clone();
        let id = ids::uuid("job_id", &job_id)?;
        let sees = self.permit(request.extensions(), Action::ReadJobs, &format!("result {id}")).await?;
        let job = self.find(id, &sees).await?;
        // a kind of an older version left nothing that only some may read
        if let (Ok(kind), Some(result)) = (self.kinds.find(&job.submission.kind), &job.result) {
            let caller = guard::principal(request.extensions())?;
            kind.gives(caller, (&job.submission.parameters, result), &format!("result {id}")).await?;
        }
        let part =
            results::part(&self.objects, &job, offset, RESULT_PART).await.map_err(|error| objects_failed(&error))?;
        let none = || problem::status(Code::FailedPrecondition, "NO_RESULT", "the job has no rows; see Job.result");
        let (content, bytes, content_type) = part.ok_or_else(none)?;
        Ok(Response::new(GetJobResultResponse { content: content.into(), content_type, bytes }))
    }

    async fn cancel_job(&self, request: Request<CancelJobRequest>) -> Result<Response<CancelJobResponse>, Status> {
        let id = ids::uuid("job_id", &request.get_ref().job_id)?;
        let sees = self.permit(request.extensions(), Action::SubmitJobs, &format!("cancel {id}")).await?;
        let by = caller_name(guard::principal(request.extensions())?);
        let step = |job: &Job| match job.state.has_ended() {
            true => Err(problem::status(Code::FailedPrecondition, "HAS_ENDED", "the job has ended already")),
            false => Ok(Step::Cancelled { at: self.board.now(), by: by.clone() }),
        };
        let job = self.change(id, &sees, step).await?;
        Ok(Response::new(CancelJobResponse { job: Some(job) }))
    }

    async fn retry_job(&self, request: Request<RetryJobRequest>) -> Result<Response<RetryJobResponse>, Status> {
        let id = ids::uuid("job_id", &request.get_ref().job_id)?;
        let sees = self.permit(request.extensions(), Action::SubmitJobs, &format!("retry {id}")).await?;
        let by = caller_name(guard::principal(request.extensions())?);
        let step = |job: &Job| match job.state {
            State::Failed | State::Cancelled => Ok(Step::Retried { at: self.board.now(), by: by.clone() }),
            _ => {
                let text = "only what failed or was cancelled is tried again";
                Err(problem::status(Code::FailedPrecondition, "NOT_FAILED", text))
            }
        };
        let job = self.change(id, &sees, step).await?;
        Ok(Response::new(RetryJobResponse { job: Some(job) }))
    }

    async fn clear_jobs(&self, request: Request<ClearJobsRequest>) -> Result<Response<ClearJobsResponse>, Status> {
        let sees = self.permit(request.extensions(), Action::SubmitJobs, "clear").await?;
        self.board.follow().await.map_err(errors::store)?;
        let mut jobs: Vec<_> = self.board.standing().into_iter().map(|(job, _)| job).collect();
        // a job before what tells of its end: or it would be told of again
        jobs.sort_unstable_by_key(|job| job.id);
        let gone: Vec<_> = clearable(&jobs).into_iter().filter(|job| sees.has(job)).collect();
        let action = if matches!(sees, Sees::All) { Action::ManageJobs } else { Action::SubmitJobs };
        let things: Vec<_> = gone.iter().map(|job| (None, format!("clear {}", job.id))).collect();
        self.decisions.each(guard::principal(request.extensions())?, (action, None), things).await?;
        let mut cleared = 0;
        for job in gone {
            results::remove(&self.objects, job.id).await.map_err(|error| objects_failed(&error))?;
            self.board.forget(job).await.map_err(errors::store)?;
            cleared += 1;
        }
        Ok(Response::new(ClearJobsResponse { cleared }))
    }

    async fn list_job_kinds(
        &self,
        request: Request<ListJobKindsRequest>,
    ) -> Result<Response<ListJobKindsResponse>, Status> {
        self.permit(request.extensions(), Action::SubmitJobs, "kinds").await?;
        let kinds = self.kinds.all().into_iter().map(|kind| wire::kind(kind.as_ref())).collect();
        Ok(Response::new(ListJobKindsResponse { kinds }))
    }

    async fn submit_route(
        &self,
        request: Request<SubmitRouteRequest>,
    ) -> Result<Response<SubmitRouteResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        // a caller who may not submit learns no names: `submit` decides again, on the kind
        let routed = self.kinds.routed(&request.route);
        if let Err(unfitting) = routed {
            let caller = guard::principal(&extensions)?;
            self.decisions.on_system(caller, Action::SubmitJobs, None).refusal_recorded("submit").await?;
            return Err(unfit(unfitting));
        }
        let (kind, parameters) = routed.map_err(unfit)?;
        let submission =
            SubmitJobRequest { kind, parameters: parameters.into_iter().collect(), ..SubmitJobRequest::default() };
        let job = self.submit.submit(&extensions, submission).await?;
        Ok(Response::new(SubmitRouteResponse { job: Some(job) }))
    }

    async fn start_task(&self, request: Request<StartTaskRequest>) -> Result<Response<StartTaskResponse>, Status> {
        let (_, extensions, StartTaskRequest { n }) = request.into_parts();
        let parameters = [("n".to_owned(), n.to_string())].into();
        let submission = SubmitJobRequest { kind: super::task::NAME.to_owned(), parameters, ..Default::default() };
        let job = self.submit.submit(&extensions, submission).await?;
        Ok(Response::new(StartTaskResponse { job: Some(job) }))
    }
}
