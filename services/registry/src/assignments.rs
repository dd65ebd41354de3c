//! Whose readings a device's are, from when to when.

use crate::{
    Registry,
    access::person,
    check,
    newest::{self, ListPosition, newest_first},
    writing::{check_etag, etag, not_found},
};
use directory::registry::{self as kept, Change, Kept};
use guard::{
    ids,
    pages::{self, page},
};
use model::{
    DeviceId, Nanos, PatientId, Range,
    access::{Action, Principal, decide},
};
use prost::Message;
use proto::registry::v1::{
    Assignment, CreateAssignmentRequest, CreateAssignmentResponse, EndAssignmentRequest, EndAssignmentResponse,
    GetAssignmentRequest, GetAssignmentResponse, ListAssignmentsRequest, ListAssignmentsResponse,
};
use proto::{problem, resource};
use tonic::{Code, Status};
use uuid::Uuid;

/// Whom nobody has a relation to.
const NOBODY: PatientId = PatientId::from_bytes([0; 16]);

impl Registry {
    /// By the patient for who may assign devices to them, else by the device for who may see that. To others it answers
    /// as one that does not exist.
    pub(crate) async fn get_assignment(
        &self,
        caller: &Principal,
        request: GetAssignmentRequest,
    ) -> Result<GetAssignmentResponse, Status> {
        let id = ids::uuid("assignment_id", &request.assignment_id)?;
        let directory = self.decisions.directory();
        let found = directory.registry().assignment(&id);
        let about = found.map(|kept| PatientId::new(kept.value.patient));
        // one that does not exist answers as one of a patient who does not
        let patient = about.unwrap_or(NOBODY);
        let detail = format!("get assignment {id}");
        let (action, facts, now) = (Action::AssignDevice, directory.facts(caller, patient), self.decisions.now());
        let by_patient = decide(caller, action, patient, &facts, now);
        let found = if by_patient.is_err() && self.sees_fleet_by(caller).is_some() {
            let fleet = self.fleet(caller, &detail).await?;
            let found = found.filter(|kept| fleet.find(directory.registry(), &kept.value.device).is_ok());
            self.shows_patients(caller, found, &detail).await?;
            found
        } else {
            self.decisions.decided(caller, action, about, (&facts, now), by_patient).recorded(&detail).await?;
            found
        };
        Ok(GetAssignmentResponse { assignment: Some(found.map(wire).ok_or_else(|| not_found("assignment"))?) })
    }

    pub(crate) async fn list_assignments(
        &self,
        caller: &Principal,
        request: ListAssignmentsRequest,
    ) -> Result<ListAssignmentsResponse, Status> {
        let directory = self.decisions.directory();
        let state = directory.registry();
        let mut by_device = None;
        let wanted: Box<dyn Fn(&kept::Assignment) -> bool + Send> =
            match (request.device_id.as_str(), request.patient_id.as_str()) {
                (device, "") if !device.is_empty() => {
                    let id = ids::uuid("device_id", device)?;
                    let detail = format!("assignments of {id}");
                    self.fleet(caller, &detail).await?.find(state, &id)?;
                    by_device = Some(detail);
                    Box::new(move |one| one.device == id)
                }
                ("", patient) if !patient.is_empty() => {
                    let patient = check::patient(patient)?;
                    let permit =
                        self.decisions.on_patient(caller, Action::AssignDevice, patient).recorded("list").await?;
                    Box::new(move |one| one.patient == permit.patient().uuid())
                }
                _ => return Err(check::bad("device_id", "give either device_id or patient_id")),
            };
        let (size, after) = (pages::size(request.page_size, newest::PAGE)?, pages::after(&request.page_token)?);
        let found = state.assignments(None).map(|(_, kept)| kept).filter(|kept| wanted(&kept.value));
        let (found, next_page_token) = page(
            newest_first(found, place, after),
            size,
            |kept| wire(kept).encoded_len(),
            |kept| place(kept).to_string(),
        );
        if let Some(detail) = by_device {
            self.shows_patients(caller, found.iter().copied(), &detail).await?;
        }
        Ok(ListAssignmentsResponse { assignments: found.into_iter().map(wire).collect(), next_page_token })
    }

    pub(crate) async fn create_assignment(
        &self,
        caller: &Principal,
        request: CreateAssignmentRequest,
    ) -> Result<CreateAssignmentResponse, Status> {
        let sent = request.assignment.ok_or_else(|| check::bad("assignment", "must be there"))?;
        resource::check_sent(&sent)?;
        let patient = ids::uuid("assignment.patient_id", &sent.patient_id)?;
        let device = ids::uuid("assignment.device_id", &sent.device_id)?;
        let id = check::id_or_new("assignment.assignment_id", &sent.assignment_id)?;
        let permit = self
            .decisions
            .on_patient(caller, Action::AssignDevice, PatientId::new(patient))
            .recorded(&format!("assign {device}"))
            .await?;
        let by = person(caller)?.uuid();
        let to = check::instant("assignment.end_time", sent.end_time.as_ref(), Nanos::MAX)?.0;
        self.change(caller, |directory, now| {
            if directory.registry().assignment(&id).is_some() {
                let text = "there is such an assignment";
                return Err(problem::field(Code::AlreadyExists, "EXISTS", "assignment.assignment_id", text));
            }
            let from = check::instant("assignment.start_time", sent.start_time.as_ref(), now)?.0;
            let patient = permit.patient().uuid();
            Ok((vec![Change::Assignment(kept::Assignment { id, device, patient, from, to, by })], ()))
        })
        .await?;
        Ok(CreateAssignmentResponse { assignment: Some(self.assignment(&id)?) })
    }

    pub(crate) async fn end_assignment(
        &self,
        caller: &Principal,
        request: EndAssignmentRequest,
    ) -> Result<EndAssignmentResponse, Status> {
        let id = ids::uuid("assignment_id", &request.assignment_id)?;
        let (directory, now) = (self.decisions.directory(), self.decisions.now());
        let about = directory.registry().assignment(&id).map(|kept| PatientId::new(kept.value.patient));
        // one that does not exist answers as one of a patient who does not
        let (action, patient) = (Action::AssignDevice, about.unwrap_or(NOBODY));
        let facts = directory.facts(caller, patient);
        let decided = decide(caller, action, patient, &facts, now);
        let decision = self.decisions.decided(caller, action, about, (&facts, now), decided);
        let permit = decision.recorded(&format!("end {id}")).await?;
        let at = request.at;
        let earlier = check::instant("at", at.as_ref(), now)?.0;
        // what has come before now was the patient's, however far ahead its clock is
        let was_meant =
            |kept: &&Kept<kept::Assignment>| earlier > kept.value.from && earlier < now.0.min(kept.value.to);
        if let Some(kept) = directory.registry().assignment(&id).filter(was_meant)
            && let Some(given_up) = Range::new(Nanos(earlier), Nanos(kept.value.to))
        {
            self.refuse_before_readings(&permit, DeviceId::new(kept.value.device), given_up).await?;
        }
        self.change(caller, |directory, now| {
            let kept = directory.registry().assignment(&id).ok_or_else(|| not_found("patient"))?;
            check_etag(&request.etag, kept.sequence)?;
            let to = check::instant("at", at.as_ref(), now)?.0;
            if to <= kept.value.from || to > kept.value.to {
                let text = "must lie after the assignment's begin, and not after its end";
                return Err(problem::invalid("TIME_OUT_OF_RANGE", "at", text));
            }
            Ok((vec![Change::Assignment(kept::Assignment { to, ..kept.value.clone() })], ()))
        })
        .await?;
        Ok(EndAssignmentResponse { assignment: Some(self.assignment(&id)?) })
    }

    /// Writes down whose assignments are shown to somebody who sees them by their device.
    async fn shows_patients<'a>(
        &self,
        caller: &Principal,
        shown: impl IntoIterator<Item = &'a Kept<kept::Assignment>>,
        detail: &str,
    ) -> Result<(), Status> {
        let patients: Vec<_> = shown.into_iter().map(|kept| PatientId::new(kept.value.patient)).collect();
        self.decisions.shows(caller, (self.fleet_action(caller), None), patients, detail).await
    }

    fn assignment(&self, id: &Uuid) -> Result<Assignment, Status> {
        self.decisions.directory().registry().assignment(id).map(wire).ok_or_else(|| not_found("assignment"))
    }
}

/// By its begin, which stays.
fn place(kept: &&Kept<kept::Assignment>) -> ListPosition {
    ListPosition { at: kept.value.from, id: kept.value.id }
}

fn wire(kept: &Kept<kept::Assignment>) -> Assignment {
    let kept::Assignment { id, device, patient, from, to, by } = kept.value.clone();
    Assignment {
        assignment_id: id.to_string(),
        device_id: device.to_string(),
        patient_id: patient.to_string(),
        start_time: check::stamp(from),
        end_time: check::stamp(to),
        assigned_by: by.to_string(),
        etag: etag(kept.sequence),
    }
}
