//! The operators' way to records that could not be stored: list, read, publish again.

use crate::SEQUENCE_REUSED;
use async_trait::async_trait;
use bus::{Outgoing, Publish};
use guard::{convert, decisions::Decisions, errors};
use model::{PatientId, Record, access::Action};
use proto::{
    operations::v1::{
        GetQuarantinedRequest, GetQuarantinedResponse, ListQuarantinedRequest, ListQuarantinedResponse,
        QuarantinedRecord, ReplayQuarantinedRequest, ReplayQuarantinedResponse,
        quarantine_service_server::{QuarantineService, QuarantineServiceServer},
    },
    problem,
};
use std::sync::Arc;
use store::{LogPosition, Quarantine, Quarantined};
use tonic::{Code, Request, Response, Status};

/// Serves `QuarantineService`: records that could not be stored, for operators.
pub struct QuarantineRpcs {
    store: Arc<dyn Quarantine>,
    log: Arc<dyn Publish>,
    decisions: Decisions,
}

impl QuarantineRpcs {
    /// Reads from `store`, publishes again to `log`, for whom `decisions` permit it.
    pub fn new(store: Arc<dyn Quarantine>, log: Arc<dyn Publish>, decisions: Decisions) -> Self {
        Self { store, log, decisions }
    }

    /// The gRPC service, to be put behind the auth layer.
    pub fn service(self) -> QuarantineServiceServer<Self> {
        QuarantineServiceServer::new(self).max_decoding_message_size(64 * 1024)
    }

    /// Permission for one action, written down when this returns. `log_position`: which record, if one.
    async fn permit(
        &self,
        extensions: &tonic::Extensions,
        action: Action,
        about: Option<PatientId>,
        log_position: &str,
    ) -> Result<(), Status> {
        let caller = guard::principal(extensions)?;
        self.decisions.on_system(caller, action, about).recorded(log_position).await
    }

    /// A record, once it is written down that somebody gets it, and of which patient it is where its bytes still say that.
    async fn permitted(
        &self,
        extensions: &tonic::Extensions,
        action: Action,
        log_position: &str,
    ) -> Result<Quarantined, Status> {
        let found = self.find(log_position).await;
        let about = found.as_ref().ok().and_then(|record| Record::decode(&record.payload).ok());
        self.permit(extensions, action, about.map(|record| record.patient), log_position).await?;
        found
    }

    async fn find(&self, log_position: &str) -> Result<Quarantined, Status> {
        let all = self.store.quarantined().await.map_err(errors::store)?;
        let found = all.into_iter().find(|record| named(&record.position) == log_position);
        found.ok_or_else(|| {
            problem::status(Code::NotFound, "NOT_FOUND", "log_position: nothing was put aside there; list first")
        })
    }
}

#[async_trait]
impl QuarantineService for QuarantineRpcs {
    async fn list_quarantined(
        &self,
        request: Request<ListQuarantinedRequest>,
    ) -> Result<Response<ListQuarantinedResponse>, Status> {
        self.permit(request.extensions(), Action::ListQuarantined, None, "").await?;
        let all = self.store.quarantined().await.map_err(errors::store)?;
        Ok(Response::new(ListQuarantinedResponse { records: all.iter().map(outline).collect() }))
    }

    async fn get_quarantined(
        &self,
        request: Request<GetQuarantinedRequest>,
    ) -> Result<Response<GetQuarantinedResponse>, Status> {
        let position = &request.get_ref().log_position;
        let record = self.permitted(request.extensions(), Action::GetQuarantined, position).await?;
        Ok(Response::new(GetQuarantinedResponse { record: Some(outline(&record)), payload: record.payload }))
    }

    async fn replay_quarantined(
        &self,
        request: Request<ReplayQuarantinedRequest>,
    ) -> Result<Response<ReplayQuarantinedResponse>, Status> {
        let position = &request.get_ref().log_position;
        let mut quarantined = self.permitted(request.extensions(), Action::ReplayQuarantined, position).await?;
        if quarantined.reason.starts_with(SEQUENCE_REUSED) {
            let text = "another batch has its device, stream and sequence, and stays; the device has to send these readings \
                        under a number of their own";
            return Err(problem::status(Code::FailedPrecondition, SEQUENCE_REUSED, text));
        }
        let key = Record::decode(&quarantined.payload).and_then(|record| {
            let patient = record.patient;
            record.rows().map(|_| patient)
        });
        let key = key.map_err(|malformed| {
            let text = format!("the record still cannot be read ({malformed}); it stays in quarantine");
            problem::status(Code::FailedPrecondition, "STILL_UNREADABLE", text)
        })?;
        let payload = quarantined.payload.clone();
        let receipt = self.log.publish(Outgoing { key, payload }).await.map_err(|error| errors::log(&error))?;
        receipt.await.map_err(|error| errors::log(&error))?;
        let now = self.decisions.now();
        self.store.mark_replayed(&quarantined.position, now).await.map_err(errors::store)?;
        quarantined.replayed_at = Some(now);
        Ok(Response::new(ReplayQuarantinedResponse { record: Some(outline(&quarantined)) }))
    }
}

fn named(position: &LogPosition) -> String {
    format!("{}/{}/{}", position.topic, position.partition, position.offset)
}

fn outline(record: &Quarantined) -> QuarantinedRecord {
    QuarantinedRecord {
        log_position: named(&record.position),
        put_aside_at: Some(convert::timestamp(record.at)),
        reason: record.reason.clone(),
        bytes: record.payload.len() as u64,
        replayed_at: record.replayed_at.map(convert::timestamp),
    }
}
