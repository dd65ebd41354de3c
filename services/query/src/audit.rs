//! `AuditService`: the audit log for auditors, and for patients the accesses to their own data.

use crate::{Query, failed, listed, range};
use async_trait::async_trait;
use guard::{
    RequestId, convert, ids,
    pages::{self, Room},
};
use model::{
    Nanos, PatientId, Range, WriterId,
    access::{Action, Subject},
    audit::{Entry, Outcome, Who},
};
use prost::Message;
use proto::operations::v1::{
    AuditRecord, ListAccessesRequest, ListAccessesResponse, ListAuditWritersRequest, ListAuditWritersResponse,
    ReadAuditChainRequest, ReadAuditChainResponse, SearchAuditLogRequest, SearchAuditLogResponse, StoredAuditEntry,
    audit_service_server::{AuditService, AuditServiceServer},
};
use std::sync::Arc;
use store::{Audit, AuditQuery, audit_page};
use tonic::{Request, Response, Status};

/// Most and default entries of a search, and of a piece of a chain.
const SEARCHED: (usize, usize) = (1_000, 10_000);
const CHAINED: usize = 1_000;
const ACCESSES_NS: i64 = 30 * Nanos::DAY;

/// Serves `AuditService`: the audit log for auditors, and each patient's own part of it.
pub struct AuditRpcs {
    query: Arc<Query>,
    log: Arc<dyn Audit>,
}

impl AuditRpcs {
    /// Reads `log`; decides and writes down as `query` does.
    pub fn new(query: Arc<Query>, log: Arc<dyn Audit>) -> Self {
        Self { query, log }
    }

    /// The gRPC service, to be put behind the auth layer.
    pub fn service(self) -> AuditServiceServer<Self> {
        AuditServiceServer::new(self).max_decoding_message_size(64 * 1024)
    }

    /// Permission for an auditor, written down when this returns; `detail` says what for.
    async fn permit(
        &self,
        extensions: &tonic::Extensions,
        patient: Option<PatientId>,
        detail: &str,
    ) -> Result<(), Status> {
        let caller = guard::principal(extensions)?;
        self.query.decisions.on_system(caller, Action::ReadAudit, patient).recorded(detail).await
    }

    /// A page of records, how many entries of its time cannot be read, and where the next page begins.
    async fn search(
        &self,
        patient: Option<PatientId>,
        range: Range,
        (limit, page_token): (i32, &str),
    ) -> Result<(Vec<AuditRecord>, u32, String), Status> {
        let (limit, after) = (limit_of(limit, SEARCHED)?, pages::after(page_token)?);
        let query = AuditQuery { patient, from: range.from(), to: range.to(), limit };
        let (mut found, mut next) = audit_page(&*self.log, query, after).await.map_err(failed)?;
        let mut room = Room::default();
        let n_fitting = found.entries.iter().take_while(|entry| room.takes(record(entry).encoded_len())).count();
        if n_fitting < found.entries.len() {
            let smaller = AuditQuery { limit: n_fitting, ..query };
            (found, next) = audit_page(&*self.log, smaller, after).await.map_err(failed)?;
        }
        let unreadable = u32::try_from(found.unreadable).unwrap_or(u32::MAX);
        let next = next.map(|place| place.to_string()).unwrap_or_default();
        Ok((found.entries.iter().map(record).collect(), unreadable, next))
    }
}

#[async_trait]
impl AuditService for AuditRpcs {
    async fn search_audit_log(
        &self,
        request: Request<SearchAuditLogRequest>,
    ) -> Result<Response<SearchAuditLogResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let patient = match request.patient_id.as_str() {
            "" => None,
            id => Some(ids::id("patient_id", id)?),
        };
        self.permit(&extensions, patient, "search").await?;
        let range =
            range((request.start_time.as_ref(), request.end_time.as_ref()), Nanos::DAY, self.query.decisions.now())?;
        let asked = (request.limit, &*request.page_token);
        let (records, unreadable, next_page_token) = self.search(patient, range, asked).await?;
        Ok(Response::new(SearchAuditLogResponse { records, unreadable, next_page_token }))
    }

    async fn list_accesses(
        &self,
        request: Request<ListAccessesRequest>,
    ) -> Result<Response<ListAccessesResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let caller = guard::principal(&extensions)?;
        let decision = self.query.on_patient(caller, Action::ReadAccesses, &request.patient_id)?;
        let (permit, unwritten) = decision.permitted().await?;
        let range =
            range((request.start_time.as_ref(), request.end_time.as_ref()), ACCESSES_NS, self.query.decisions.now())?;
        let reading = async {
            let asked = (request.limit, &*request.page_token);
            let (records, unreadable, next_page_token) = self.search(Some(permit.patient()), range, asked).await?;
            Ok(ListAccessesResponse { records, unreadable, next_page_token })
        };
        unwritten.beside(&listed(&[]), reading).await.map(Response::new)
    }

    async fn list_audit_writers(
        &self,
        request: Request<ListAuditWritersRequest>,
    ) -> Result<Response<ListAuditWritersResponse>, Status> {
        self.permit(request.extensions(), None, "writers").await?;
        let writers = self.log.writers().await.map_err(failed)?;
        let writer_ids = writers.iter().map(|writer| writer.uuid().to_string()).collect();
        Ok(Response::new(ListAuditWritersResponse { writer_ids }))
    }

    async fn read_audit_chain(
        &self,
        request: Request<ReadAuditChainRequest>,
    ) -> Result<Response<ReadAuditChainResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let writer: WriterId = ids::id("writer_id", &request.writer_id)?;
        let limit = limit_of(request.limit, (CHAINED, CHAINED))?;
        self.permit(&extensions, None, "verify").await?;
        let entries = self.log.entries(writer, request.from_sequence, limit).await.map_err(failed)?;
        let entry = |(sequence, entry)| StoredAuditEntry { sequence, entry };
        Ok(Response::new(ReadAuditChainResponse { entries: entries.into_iter().map(entry).collect() }))
    }
}

fn limit_of(asked: i32, bounds: (usize, usize)) -> Result<usize, Status> {
    pages::limit(asked, bounds)
}

fn record(entry: &Entry) -> AuditRecord {
    let event = &entry.event;
    AuditRecord {
        at: Some(convert::timestamp(event.at)),
        subject: event.subject.and_then(Who::proven).map(named).unwrap_or_default(),
        patient_id: event.patient.map(|patient| patient.uuid().to_string()).unwrap_or_default(),
        action: event.action.to_string(),
        purpose: event.purpose.code().to_owned(),
        denied: match &event.outcome {
            Outcome::Allowed => String::new(),
            Outcome::Denied(reason) => reason.to_string(),
        },
        detail: event.detail.to_string(),
        writer_id: entry.writer.uuid().to_string(),
        sequence: entry.sequence,
        claimed_subject: match event.subject {
            Some(Who::Claimed(subject)) => named(subject),
            Some(Who::Proven(_)) | None => String::new(),
        },
        request_id: RequestId::from_bytes(event.request).to_string(),
    }
}

fn named(subject: Subject) -> String {
    match subject {
        Subject::User(user) => format!("user:{}", user.uuid()),
        Subject::Device(device) => format!("device:{}", device.uuid()),
    }
}
