//! Read: timelines, trends and latest values, always through a `Permit`.
//!
//! The promise: no reading leaves before the access to it is durable in the audit log; what the caller may not see answers exactly as what does not exist; a page ends where the next begins;
//! every answer says how old its newest value is. Memory is bounded by a page and one store read of [`HOURS_AT_ONCE`].

mod audit;
mod coverage;
mod latest;
pub mod metrics;
mod page;
mod patients;
mod readings;
mod series;
mod study;
mod timeline;
mod trend;

pub use audit::AuditRpcs;
pub use patients::PAGE as PAGE_PATIENTS;
pub use study::{PAGE_SUBJECTS, StudyRpcs};
pub use timeline::{PAGE_COLUMNS, PAGE_READINGS};
pub use trend::PAGE as PAGE_TREND;

use async_trait::async_trait;
use guard::{
    convert,
    decisions::{Decision, Decisions},
    errors, ids,
};
use model::{
    ClockTolerance, MetricId, Nanos, Permit, Range,
    access::{Action, Principal},
};
use proto::{
    problem,
    prost_types::Timestamp,
    telemetry::v1::{
        LatestReadingsRequest, LatestReadingsResponse, ListPatientsRequest, ListPatientsResponse, ReadTimelineRequest,
        ReadTimelineResponse, ReadTrendRequest, ReadTrendResponse,
        timeline_service_server::{TimelineService, TimelineServiceServer},
    },
};
use std::sync::Arc;
use store::{HourEntry, Profiles, Rollups};
use tonic::{Request, Response, Status};

/// Entries of the hour index read in one go: a year and a bit.
const INDEX_AT_ONCE: usize = 10_000;
/// Hours read from the store in one go: a day at 1 Hz of five metrics is 432,000 readings, about 12 MB decoded.
pub const HOURS_AT_ONCE: usize = 24;

/// Serves `TimelineService`: who may be read, timelines, trends and latest readings; each call permitted and recorded.
pub struct Query {
    store: Arc<dyn Rollups>,
    profiles: Arc<dyn Profiles>,
    decisions: Decisions,
    cipher: auth::CursorCipher,
    tolerance: ClockTolerance,
}

impl Query {
    /// Reads from `store`, and names from `profiles`; page tokens are encrypted by `cipher`, which all replicas share; who may read is as `decisions` say.
    pub fn new(
        store: Arc<dyn Rollups>,
        profiles: Arc<dyn Profiles>,
        cipher: auth::CursorCipher,
        decisions: Decisions,
    ) -> Self {
        Self { store, profiles, decisions, cipher, tolerance: ClockTolerance::default() }
    }

    /// Takes readings that were measured further ahead of their receipt for no part of the present.
    pub fn with_tolerance(self, tolerance: ClockTolerance) -> Self {
        Self { tolerance, ..self }
    }

    /// The gRPC service, with its message limits set.
    pub fn service(self: Arc<Self>) -> TimelineServiceServer<Self> {
        TimelineServiceServer::from_arc(self).max_decoding_message_size(64 * 1024)
    }

    /// Whether a caller may do something with the patient named in a request.
    fn on_patient(&self, caller: &Principal, action: Action, id: &str) -> Result<Decision<'_, Permit>, Status> {
        Ok(self.decisions.on_patient(caller, action, ids::id("patient_id", id)?))
    }
}

#[async_trait]
impl TimelineService for Query {
    async fn read_timeline(
        &self,
        request: Request<ReadTimelineRequest>,
    ) -> Result<Response<ReadTimelineResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let caller = guard::principal(&extensions)?;
        let decision = self.on_patient(caller, Action::ReadTimeline, &request.patient_id)?;
        let (permit, unwritten) = decision.permitted().await?;
        let reading = timeline::read(self, &permit, caller, &request);
        unwritten.beside(&listed(&request.metrics), reading).await.map(Response::new)
    }

    async fn list_patients(
        &self,
        request: Request<ListPatientsRequest>,
    ) -> Result<Response<ListPatientsResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        patients::list(self, guard::principal(&extensions)?, &request).await.map(Response::new)
    }

    async fn read_trend(&self, request: Request<ReadTrendRequest>) -> Result<Response<ReadTrendResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let caller = guard::principal(&extensions)?;
        let decision = self.on_patient(caller, Action::ReadTrend, &request.patient_id)?;
        let (permit, unwritten) = decision.permitted().await?;
        let reading = trend::read(self, &permit, caller, &request);
        unwritten.beside(&listed(&request.metrics), reading).await.map(Response::new)
    }

    async fn latest_readings(
        &self,
        request: Request<LatestReadingsRequest>,
    ) -> Result<Response<LatestReadingsResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let caller = guard::principal(&extensions)?;
        let decision = self.on_patient(caller, Action::ReadLatest, &request.patient_id)?;
        let (permit, unwritten) = decision.permitted().await?;
        let metrics = metrics(&request.metrics)?;
        let reading = latest::read(self, &permit, &metrics);
        unwritten.beside(&listed(&request.metrics), reading).await.map(Response::new)
    }
}

/// What was accessed, for the audit log: only names that the catalogue knows, nothing that a caller makes up.
fn listed(metrics: &[String]) -> String {
    let known: Vec<_> = metrics.iter().filter_map(|key| model::by_code(key)).map(|metric| metric.key).collect();
    if known.is_empty() { "all metrics".to_owned() } else { known.join(" ") }
}

/// The metrics asked for, ascending; empty means all.
fn metrics(keys: &[String]) -> Result<Vec<MetricId>, Status> {
    let metric = |(index, key): (usize, &String)| match model::by_code(key) {
        Some(metric) => Ok(metric.id),
        None => Err(problem::invalid(
            "UNKNOWN_METRIC",
            &format!("metrics[{index}]"),
            "not in the catalogue; use a LOINC code such as 8867-4",
        )),
    };
    let mut metrics = keys.iter().enumerate().map(metric).collect::<Result<Vec<_>, _>>()?;
    metrics.sort_unstable();
    metrics.dedup();
    Ok(metrics)
}

/// The range asked for; by default up to now, and so many nanoseconds.
fn range((from, to): (Option<&Timestamp>, Option<&Timestamp>), default_ns: i64, now: Nanos) -> Result<Range, Status> {
    let instant = |field: &str, stamp: Option<&Timestamp>, default: Nanos| match stamp {
        None => Ok(default),
        Some(stamp) => convert::nanos(stamp)
            .ok_or_else(|| problem::invalid("TIME_OUT_OF_RANGE", field, convert::out_of_range(stamp))),
    };
    let to = instant("end_time", to, now)?;
    let from = instant("start_time", from, to.plus(-default_ns))?;
    Range::new(from, to)
        .ok_or_else(|| problem::invalid("RANGE_REVERSED", "start_time", "must not lie after `end_time`"))
}

/// Whether an hour has any of the metrics (ascending; empty: all).
fn wants(entry: &HourEntry, metrics: &[MetricId]) -> bool {
    metrics.is_empty() || entry.metrics.iter().any(|metric| is_asked(metrics, *metric))
}

/// Whether a metric is one of these (ascending; empty: all).
fn is_asked(metrics: &[MetricId], metric: MetricId) -> bool {
    metrics.is_empty() || metrics.binary_search(&metric).is_ok()
}

fn failed(error: store::Error) -> Status {
    crate::metrics::failed();
    errors::store(error)
}

/// Key and canonical unit; a number that left the catalogue is shown as such.
fn named(metric: MetricId) -> (&'static str, &'static str) {
    model::by_id(metric).map_or(("unknown", ""), |m| (m.key, m.unit))
}
