//! What each request leaves in the audit log.

use crate::Query;
use guard::errors;
use model::{
    PatientId, Permit,
    access::{Action, Denied, Principal},
    audit::Event,
};
use tonic::{Response, Status};
use uuid::Uuid;

impl Query {
    /// Gives what `reading` finds, once it is durable who looked. Both happen at once; nothing leaves before both have.
    pub(crate) async fn seen<T>(
        &self,
        permit: &Permit,
        principal: &Principal,
        metrics: &[String],
        reading: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        // only names that the catalogue knows: nothing a caller makes up gets into the log
        let known: Vec<_> = metrics.iter().filter_map(|key| model::by_code(key)).map(|metric| metric.key).collect();
        let event = Event {
            purpose: permit.purpose(),
            detail: if known.is_empty() { "all metrics".into() } else { known.join(" ").into() },
            ..self.event(principal, permit.action(), Some(permit.patient()), Ok(()))
        };
        let (recorded, found) = tokio::join!(self.record(event), reading);
        recorded?;
        found.map(Response::new)
    }

    /// Writes down what was decided.
    pub(crate) async fn audited(
        &self,
        principal: &Principal,
        action: Action,
        patient: Option<PatientId>,
        decided: Result<(), Denied>,
        detail: &str,
    ) -> Result<(), Status> {
        self.record(Event { detail: detail.into(), ..self.event(principal, action, patient, decided) }).await
    }

    fn event(
        &self,
        principal: &Principal,
        action: Action,
        patient: Option<PatientId>,
        decided: Result<(), Denied>,
    ) -> Event {
        Event::of(principal, action, patient, decided, (self.clock)(), Uuid::new_v4().into_bytes())
    }

    async fn record(&self, event: Event) -> Result<(), Status> {
        self.audit.record(event).await.map_err(|error| {
            metrics::counter!("wardline_query_failures_total").increment(1);
            errors::unaudited(error)
        })
    }
}
