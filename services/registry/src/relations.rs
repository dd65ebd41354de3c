//! Relations of people to patients: care team, proxy, ward staff, study.

use crate::{
    PAGE, Registry,
    access::person,
    check,
    writing::{check_etag, etag, not_found},
};
use directory::registry::{self as kept, Change, Kept};
use guard::{
    ids,
    pages::{self, page},
};
use model::{
    PatientId, UserId,
    access::{Action, Principal, RelationKind},
};
use prost::Message;
use proto::{
    problem,
    registry::v1::{
        CreateRelationRequest, CreateRelationResponse, EndRelationRequest, EndRelationResponse, GetRelationRequest,
        GetRelationResponse, ListRelationsRequest, ListRelationsResponse, Relation,
    },
    resource,
};
use tonic::{Code, Status};
use uuid::Uuid;

impl Registry {
    pub(crate) async fn get_relation(
        &self,
        caller: &Principal,
        request: GetRelationRequest,
    ) -> Result<GetRelationResponse, Status> {
        let id = ids::uuid("relation_id", &request.relation_id)?;
        let about = self.decisions.directory().registry().relation(&id).and_then(|kept| kept.value.patient);
        let detail = format!("get {id}");
        self.decisions.on_system(caller, Action::ManageRelations, about.map(PatientId::new)).recorded(&detail).await?;
        Ok(GetRelationResponse { relation: Some(self.relation(&id)?) })
    }

    pub(crate) async fn list_relations(
        &self,
        caller: &Principal,
        request: ListRelationsRequest,
    ) -> Result<ListRelationsResponse, Status> {
        let wanted = |field, text: &str| if text.is_empty() { Ok(None) } else { ids::uuid(field, text).map(Some) };
        let (user, patient) = (wanted("user_id", &request.user_id)?, wanted("patient_id", &request.patient_id)?);
        let about = patient.map(PatientId::new);
        self.decisions.on_system(caller, Action::ManageRelations, about).recorded("list").await?;
        let (size, after) = (pages::size(request.page_size, PAGE)?, pages::after_uuid(&request.page_token)?);
        let directory = self.decisions.directory();
        let fits = |kept: &&Kept<kept::Relation>| {
            user.is_none_or(|user| kept.value.user == user) && (patient.is_none() || kept.value.patient == patient)
        };
        let relations = directory.registry().relations(after).map(|(_, kept)| kept).filter(fits).map(wire);
        let (relations, next_page_token) =
            page(relations, size, Relation::encoded_len, |relation| relation.relation_id.clone());
        // one who is asked for is written down above
        let patients =
            relations.iter().filter(|_| about.is_none()).filter_map(|relation| relation.patient_id.parse().ok());
        self.decisions.shows(caller, (Action::ManageRelations, None), patients, "list").await?;
        Ok(ListRelationsResponse { relations, next_page_token })
    }

    pub(crate) async fn create_relation(
        &self,
        caller: &Principal,
        request: CreateRelationRequest,
    ) -> Result<CreateRelationResponse, Status> {
        let sent = request.relation.ok_or_else(|| check::bad("relation", "must be there"))?;
        resource::check_sent(&sent)?;
        let relation = read(&sent)?;
        let (id, about) = (relation.id, relation.patient.map(PatientId::new));
        let detail = format!("{} {id} for {}", relation.kind, relation.user);
        self.decisions.on_system(caller, Action::ManageRelations, about).recorded(&detail).await?;
        if person(caller)?.uuid() == relation.user {
            let text = "nobody makes their own relation to a patient; ask somebody else who manages relations";
            return Err(problem::field(Code::PermissionDenied, "SELF_GRANT", "relation.user_id", text));
        }
        self.change(caller, |directory, _| {
            if directory.registry().relation(&id).is_some() {
                let text = "there is such a relation";
                return Err(problem::field(Code::AlreadyExists, "EXISTS", "relation.relation_id", text));
            }
            if !directory.knows(UserId::new(relation.user)) {
                return Err(problem::field(Code::NotFound, "NO_SUCH_USER", "relation.user_id", "nobody has this id"));
            }
            if about.is_some_and(|patient| !directory.is_patient(patient)) {
                let text = "no patient has this id";
                return Err(problem::field(Code::NotFound, "NO_SUCH_PATIENT", "relation.patient_id", text));
            }
            if let Some(ward) = relation.ward.as_deref() {
                check::ward(directory, "relation.ward", ward)?;
            }
            Ok((vec![Change::Relation(relation.clone())], ()))
        })
        .await?;
        Ok(CreateRelationResponse { relation: Some(self.relation(&id)?) })
    }

    pub(crate) async fn end_relation(
        &self,
        caller: &Principal,
        request: EndRelationRequest,
    ) -> Result<EndRelationResponse, Status> {
        let id = ids::uuid("relation_id", &request.relation_id)?;
        let about = self.decisions.directory().registry().relation(&id).and_then(|kept| kept.value.patient);
        let detail = format!("end {id}");
        self.decisions.on_system(caller, Action::ManageRelations, about.map(PatientId::new)).recorded(&detail).await?;
        self.change(caller, |directory, now| {
            let kept = directory.registry().relation(&id).ok_or_else(|| not_found("relation"))?;
            // over already: perhaps by this very request, whose answer was lost
            if kept.value.to <= now.0 {
                return Ok((vec![], ()));
            }
            check_etag(&request.etag, kept.sequence)?;
            // older versions took the same one twice: it is over when all of them are
            let all = directory.registry().relations(None).map(|(_, kept)| &kept.value);
            let twins = all.filter(|one| one.is_twin(&kept.value) && one.from <= now.0 && now.0 < one.to);
            let ended = |one: &kept::Relation| {
                // one that has not begun never held
                Change::Relation(kept::Relation { from: one.from.min(now.0 - 1), to: now.0, ..one.clone() })
            };
            let others = twins.filter(|one| one.id != id).map(ended);
            Ok((others.chain([ended(&kept.value)]).collect(), ()))
        })
        .await?;
        Ok(EndRelationResponse { relation: Some(self.relation(&id)?) })
    }

    fn relation(&self, id: &Uuid) -> Result<Relation, Status> {
        self.decisions.directory().registry().relation(id).map(wire).ok_or_else(|| not_found("relation"))
    }
}

/// A relation as it was sent: which fields there are depends on its kind.
fn read(sent: &Relation) -> Result<kept::Relation, Status> {
    let given = [RelationKind::Proxy, RelationKind::CareTeam, RelationKind::WardStaff, RelationKind::Study];
    let Some(kind) = RelationKind::from_name(&sent.kind).filter(|kind| given.contains(kind)) else {
        return Err(check::bad("relation.kind", format!("one of {}", given.map(RelationKind::name).join(", "))));
    };
    let only = |field: &str, text: &str, wanted: bool| match (text.is_empty(), wanted) {
        (true, true) => Err(check::bad(field, format!("must be there for {}", sent.kind))),
        (false, false) => Err(check::bad(field, format!("must be empty for {}", sent.kind))),
        _ => Ok(()),
    };
    only("relation.patient_id", &sent.patient_id, kind != RelationKind::WardStaff)?;
    only("relation.ward", &sent.ward, kind == RelationKind::WardStaff)?;
    only("relation.study", &sent.study, kind == RelationKind::Study)?;
    let patient = match sent.patient_id.as_str() {
        "" => None,
        text => Some(ids::uuid("relation.patient_id", text)?),
    };
    let (from, to) = check::span(sent.start_time.as_ref(), sent.end_time.as_ref())?;
    Ok(kept::Relation {
        id: check::id_or_new("relation.relation_id", &sent.relation_id)?,
        user: ids::uuid("relation.user_id", &sent.user_id)?,
        kind: sent.kind.clone(),
        patient,
        ward: check::word_or_none("relation.ward", &sent.ward)?,
        study: check::word_or_none("relation.study", &sent.study)?,
        from,
        to,
    })
}

fn wire(kept: &Kept<kept::Relation>) -> Relation {
    let kept::Relation { id, user, kind, patient, ward, study, from, to } = kept.value.clone();
    Relation {
        relation_id: id.to_string(),
        user_id: user.to_string(),
        kind,
        patient_id: patient.map(|patient| patient.to_string()).unwrap_or_default(),
        ward: ward.unwrap_or_default(),
        study: study.unwrap_or_default(),
        start_time: check::stamp(from),
        end_time: check::stamp(to),
        etag: etag(kept.sequence),
    }
}
