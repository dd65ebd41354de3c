//! Readings that must not count: who treats the patient says so, and can take it back.

use crate::{
    Registry,
    access::person,
    check,
    in_the_way::{Effect, InForce},
    newest::{self, ListPosition, newest_first},
    writing::{check_etag, etag, not_found},
};
use directory::{
    Directory,
    registry::{self as kept, Change, Kept},
};
use guard::{
    ids,
    pages::{self, page},
};
use model::{
    ClockTolerance, DeviceId, MetricId, Nanos, Permit,
    access::{Action, Principal},
};
use prost::Message;
use proto::{
    problem,
    registry::v1::{
        CreateRetractionRequest, CreateRetractionResponse, EndRetractionRequest, EndRetractionResponse,
        GetRetractionRequest, GetRetractionResponse, ListRetractionsRequest, ListRetractionsResponse, Retraction,
    },
    resource,
};
use std::collections::BTreeSet;
use tonic::{Code, Status};
use uuid::Uuid;

/// The longest range of one.
const RANGE_MAX_NS: i64 = 31 * Nanos::DAY;
/// Most in force for a patient: each is looked at for each hour of a patient's that is read.
const IN_FORCE_MAX: usize = 1_000;
const METRICS_MAX: usize = 100;
/// Fewest and most characters of a reason.
const REASON: (usize, usize) = (10, 500);

impl Registry {
    pub(crate) async fn get_retraction(
        &self,
        caller: &Principal,
        request: GetRetractionRequest,
    ) -> Result<GetRetractionResponse, Status> {
        let patient = check::patient(&request.patient_id)?;
        let id = ids::uuid("retraction_id", &request.retraction_id)?;
        let detail = format!("get retraction {id}");
        let permit = self.decisions.on_patient(caller, Action::ReadTimeline, patient).recorded(&detail).await?;
        let directory = self.decisions.directory();
        Ok(GetRetractionResponse { retraction: Some(wire(own(&directory, &id, &permit)?)) })
    }

    pub(crate) async fn list_retractions(
        &self,
        caller: &Principal,
        request: ListRetractionsRequest,
    ) -> Result<ListRetractionsResponse, Status> {
        let patient = check::patient(&request.patient_id)?;
        let detail = "list retractions";
        let permit = self.decisions.on_patient(caller, Action::ReadTimeline, patient).recorded(detail).await?;
        let (size, after) = (pages::size(request.page_size, newest::PAGE)?, pages::after(&request.page_token)?);
        let directory = self.decisions.directory();
        let all = directory.registry().retractions(None).map(|(_, kept)| kept);
        let own = all.filter(|kept| kept.value.patient == permit.patient().uuid());
        let (found, next_page_token) = page(
            newest_first(own, place, after),
            size,
            |kept| wire(kept).encoded_len(),
            |kept| place(kept).to_string(),
        );
        Ok(ListRetractionsResponse { retractions: found.into_iter().map(wire).collect(), next_page_token })
    }

    pub(crate) async fn create_retraction(
        &self,
        caller: &Principal,
        request: CreateRetractionRequest,
    ) -> Result<CreateRetractionResponse, Status> {
        let sent = request.retraction.ok_or_else(|| check::bad("retraction", "must be there"))?;
        resource::check_sent(&sent)?;
        let patient = check::patient(&sent.patient_id)?;
        let id = check::id_or_new("retraction.retraction_id", &sent.retraction_id)?;
        let detail = format!("create {id}");
        let permit = self.decisions.on_patient(caller, Action::RetractReadings, patient).recorded(&detail).await?;
        let by = person(caller)?.uuid();
        let device = match sent.device_id.as_str() {
            "" => None,
            text => Some(ids::uuid("retraction.device_id", text)?),
        };
        let metrics = metrics(&sent.metrics)?;
        for (field, time) in [("retraction.start_time", &sent.start_time), ("retraction.end_time", &sent.end_time)] {
            time.as_ref().ok_or_else(|| check::bad(field, "must be there"))?;
        }
        let (from, to) = check::span(sent.start_time.as_ref(), sent.end_time.as_ref())?;
        if to.saturating_sub(from) > RANGE_MAX_NS {
            let text = "at most 31 days after `start_time`; of a longer time make several";
            return Err(problem::invalid("RANGE_TOO_LONG", "retraction.end_time", text));
        }
        check::reason("retraction.reason", &sent.reason, REASON.0, REASON.1)?;
        let (patient, reason) = (permit.patient().uuid(), sent.reason);
        self.create(caller, &permit, |now| {
            let (metrics, reason) = (metrics.clone(), reason.clone());
            kept::Retraction { id, patient, device, metrics, from, to, reason, by, at: now.0, ended: None }
        })
        .await?;
        Ok(CreateRetractionResponse { retraction: Some(self.retraction(&id)?) })
    }

    /// Makes what `made` says at its time, unless it would change nothing.
    async fn create(
        &self,
        caller: &Principal,
        permit: &Permit,
        made: impl Fn(Nanos) -> kept::Retraction,
    ) -> Result<(), Status> {
        let mut looked_at = None;
        loop {
            let beside = self
                .change(caller, |directory, now| {
                    let retraction = made(now);
                    check_new(directory, permit, &retraction)?;
                    let in_force = in_force(directory, permit);
                    // another may have been made meanwhile
                    match looked_at.as_ref() == Some(&in_force) {
                        true => Ok((vec![Change::Retraction(retraction)], None)),
                        false => Ok((vec![], Some((in_force, retraction)))),
                    }
                })
                .await?;
            let Some((in_force, retraction)) = beside else { return Ok(()) };
            self.refuse_without_effect(permit, &retraction, &in_force).await?;
            looked_at = Some(in_force);
        }
    }

    /// Refuses a retraction that would take back nothing: of readings that are retracted already, so that to end the one would leave
    /// the other, or of none at all, which who made it would believe to be taken back.
    async fn refuse_without_effect(
        &self,
        permit: &Permit,
        retraction: &kept::Retraction,
        in_force: &[InForce],
    ) -> Result<(), Status> {
        let Some(mark) = retraction.mark() else { return Ok(()) };
        let Effect::Nothing { retracted_by } = self.effect(permit, &mark, in_force).await? else { return Ok(()) };
        if let Some(id) = retracted_by {
            let text = format!(
                "all of these readings are retracted already, some by {id}, and none was received since: leave it so, or end \
                 what is in force first"
            );
            return Err(problem::field(Code::AlreadyExists, "RETRACTION_EXISTS", "retraction", &text));
        }
        // two clocks may differ by so much
        if mark.range.from() > ClockTolerance::default().latest_measured(Nanos(retraction.at)) {
            let text = "lies in the future, of which nothing was received: what is received later counts, so that nothing would \
                        ever be retracted; retract readings when they are there";
            return Err(problem::invalid("TIME_OUT_OF_RANGE", "retraction.start_time", text));
        }
        let text = "no reading of the patient of this time, device and metrics was received, and what is received later counts: \
                    look at the timeline for what is meant (ReadTimeline)";
        Err(problem::field(Code::FailedPrecondition, "NOTHING_TO_RETRACT", "retraction", text))
    }

    pub(crate) async fn end_retraction(
        &self,
        caller: &Principal,
        request: EndRetractionRequest,
    ) -> Result<EndRetractionResponse, Status> {
        let patient = check::patient(&request.patient_id)?;
        let id = ids::uuid("retraction_id", &request.retraction_id)?;
        let detail = format!("end {id}");
        let permit = self.decisions.on_patient(caller, Action::RetractReadings, patient).recorded(&detail).await?;
        let by = person(caller)?.uuid();
        // with all that was changed elsewhere, too
        let (directory, _) = self.draft(Some(caller.subject)).await?;
        let in_force = own(&directory, &id, &permit).ok().filter(|kept| kept.value.ended.is_none());
        if let Some(ending) = in_force.and_then(|kept| kept.value.mark()) {
            self.refuse_before_others(&permit, &directory, &ending).await?;
        }
        self.change(caller, |directory, now| {
            let kept = own(directory, &id, &permit)?;
            // over already: perhaps by this very request, whose answer was lost
            if kept.value.ended.is_some() {
                return Ok((vec![], ()));
            }
            check_etag(&request.etag, kept.sequence)?;
            let ended = Some(kept::Ended { by, at: now.0 });
            Ok((vec![Change::Retraction(kept::Retraction { ended, ..kept.value.clone() })], ()))
        })
        .await?;
        Ok(EndRetractionResponse { retraction: Some(self.retraction(&id)?) })
    }

    fn retraction(&self, id: &Uuid) -> Result<Retraction, Status> {
        self.decisions.directory().registry().retraction(id).map(wire).ok_or_else(|| not_found("retraction"))
    }
}

/// A retraction of the patient whom a permit is for: another's answers as one that does not exist.
fn own<'d>(directory: &'d Directory, id: &Uuid, permit: &Permit) -> Result<&'d Kept<kept::Retraction>, Status> {
    let found = directory.registry().retraction(id).filter(|kept| kept.value.patient == permit.patient().uuid());
    found.ok_or_else(|| not_found("retraction"))
}

/// Refuses a new retraction that cannot be, whatever was received.
fn check_new(directory: &Directory, permit: &Permit, retraction: &kept::Retraction) -> Result<(), Status> {
    if directory.registry().retraction(&retraction.id).is_some() {
        let text = "there is such a retraction";
        return Err(problem::field(Code::AlreadyExists, "EXISTS", "retraction.retraction_id", text));
    }
    if retraction.device.is_some_and(|device| !directory.was_assigned(DeviceId::new(device), permit.patient())) {
        let text = "no device with this id is or was the patient's";
        return Err(problem::field(Code::NotFound, "NO_SUCH_DEVICE", "retraction.device_id", text));
    }
    if directory.retractions(permit.patient()).len() >= IN_FORCE_MAX {
        let text = "the patient has 1,000 in force; end some, or make one of a longer time or of more metrics";
        return Err(problem::field(Code::FailedPrecondition, "TOO_MANY_RETRACTIONS", "retraction", text));
    }
    Ok(())
}

/// The retractions in force of the patient whom a permit is for.
fn in_force(directory: &Directory, permit: &Permit) -> Vec<InForce> {
    let all = directory.registry().retractions(None).map(|(_, kept)| &kept.value);
    let own = all.filter(|one| one.patient == permit.patient().uuid() && one.ended.is_none());
    own.filter_map(|one| Some((one.id, one.mark()?))).collect()
}

/// By the change that made it.
fn place(kept: &&Kept<kept::Retraction>) -> ListPosition {
    ListPosition { at: i64::try_from(kept.made).unwrap_or(i64::MAX), id: kept.value.id }
}

/// Keys as the catalogue has them; `None`: all metrics.
fn metrics(sent: &[String]) -> Result<Option<Vec<String>>, Status> {
    if sent.len() > METRICS_MAX {
        return Err(check::bad("retraction.metrics", format!("at most {METRICS_MAX}; none means all")));
    }
    let (mut seen, mut keys) = (BTreeSet::<MetricId>::new(), Vec::new());
    for (index, key) in sent.iter().enumerate() {
        let field = format!("retraction.metrics[{index}]");
        let Some(metric) = model::by_code(key) else {
            let text = "not in the catalogue; use a LOINC code such as 8867-4";
            return Err(problem::invalid("UNKNOWN_METRIC", &field, text));
        };
        if !seen.insert(metric.id) {
            return Err(check::bad(&field, "each metric once"));
        }
        keys.push(metric.key.to_owned());
    }
    Ok((!keys.is_empty()).then_some(keys))
}

fn wire(kept: &Kept<kept::Retraction>) -> Retraction {
    let kept::Retraction { id, patient, device, metrics, from, to, reason, by, at, ended } = kept.value.clone();
    Retraction {
        retraction_id: id.to_string(),
        patient_id: patient.to_string(),
        device_id: device.map(|device| device.to_string()).unwrap_or_default(),
        metrics: metrics.unwrap_or_default(),
        start_time: check::stamp(from),
        end_time: check::stamp(to),
        reason,
        user_id: by.to_string(),
        created_at: check::stamp(at),
        ended_by: ended.as_ref().map(|ended| ended.by.to_string()).unwrap_or_default(),
        ended_at: ended.and_then(|ended| check::stamp(ended.at)),
        etag: etag(kept.sequence),
    }
}
