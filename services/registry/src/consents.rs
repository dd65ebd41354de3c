//! What patients do not want: theirs, and of who acts for them, to say and to take back.

use crate::{
    Registry, check,
    newest::{self, ListPosition, newest_first},
    writing::{check_etag, etag, not_found},
};
use directory::{
    Directory,
    registry::{self as kept, Barring, Change, Kept},
};
use guard::{
    ids,
    pages::{self, page},
};
use model::{
    Permit, UserId,
    access::{Action, Principal, Purpose, RelationKind},
};
use prost::Message;
use proto::{
    problem,
    registry::v1::{
        Consent, CreateConsentRequest, CreateConsentResponse, GetConsentRequest, GetConsentResponse,
        ListConsentsRequest, ListConsentsResponse, RevokeConsentRequest, RevokeConsentResponse,
    },
    resource,
};
use tonic::{Code, Status};
use uuid::Uuid;

impl Registry {
    pub(crate) async fn get_consent(
        &self,
        caller: &Principal,
        request: GetConsentRequest,
    ) -> Result<GetConsentResponse, Status> {
        let patient = check::patient(&request.patient_id)?;
        let id = ids::uuid("consent_id", &request.consent_id)?;
        let detail = format!("get {id}");
        let permit = self.decisions.on_patient(caller, Action::ManageConsents, patient).recorded(&detail).await?;
        let directory = self.decisions.directory();
        Ok(GetConsentResponse { consent: Some(wire(own(&directory, &id, &permit)?)) })
    }

    pub(crate) async fn list_consents(
        &self,
        caller: &Principal,
        request: ListConsentsRequest,
    ) -> Result<ListConsentsResponse, Status> {
        let patient = check::patient(&request.patient_id)?;
        let permit = self.decisions.on_patient(caller, Action::ManageConsents, patient).recorded("list").await?;
        let (size, after) = (pages::size(request.page_size, newest::PAGE)?, pages::after(&request.page_token)?);
        let directory = self.decisions.directory();
        let all = directory.registry().consents(None).map(|(_, kept)| kept);
        let own = all.filter(|kept| kept.value.patient == permit.patient().uuid());
        let (consents, next_page_token) = page(
            newest_first(own, place, after),
            size,
            |kept| wire(kept).encoded_len(),
            |kept| place(kept).to_string(),
        );
        Ok(ListConsentsResponse { consents: consents.into_iter().map(wire).collect(), next_page_token })
    }

    pub(crate) async fn create_consent(
        &self,
        caller: &Principal,
        request: CreateConsentRequest,
    ) -> Result<CreateConsentResponse, Status> {
        let sent = request.consent.ok_or_else(|| check::bad("consent", "must be there"))?;
        resource::check_sent(&sent)?;
        let patient = check::patient(&sent.patient_id)?;
        let id = check::id_or_new("consent.consent_id", &sent.consent_id)?;
        let detail = format!("create {id}");
        let permit = self.decisions.on_patient(caller, Action::ManageConsents, patient).recorded(&detail).await?;
        let purpose = match sent.purpose.as_str() {
            "" => None,
            code if Purpose::from_code(code).is_some() => Some(code.to_owned()),
            _ => {
                let codes = Purpose::ALL.map(Purpose::code).join(", ");
                return Err(check::bad("consent.purpose", format!("empty, or one of {codes}")));
            }
        };
        let (from, to) = check::span(sent.start_time.as_ref(), sent.end_time.as_ref())?;
        let bars = barring(&sent.bars)?;
        let consent = kept::Consent { id, patient: permit.patient().uuid(), bars, purpose, from, to };
        self.change(caller, |directory, _| {
            if directory.registry().consent(&id).is_some() {
                let text = "there is such a consent";
                return Err(problem::field(Code::AlreadyExists, "EXISTS", "consent.consent_id", text));
            }
            if let Barring::User(user) = consent.bars
                && !directory.knows(UserId::new(user))
            {
                let text = "nobody has this id, so that nobody would be barred";
                return Err(problem::field(Code::NotFound, "NO_SUCH_USER", "consent.bars", text));
            }
            Ok((vec![Change::Consent(consent.clone())], ()))
        })
        .await?;
        Ok(CreateConsentResponse { consent: Some(self.consent(&id)?) })
    }

    pub(crate) async fn revoke_consent(
        &self,
        caller: &Principal,
        request: RevokeConsentRequest,
    ) -> Result<RevokeConsentResponse, Status> {
        let patient = check::patient(&request.patient_id)?;
        let id = ids::uuid("consent_id", &request.consent_id)?;
        let permit = self
            .decisions
            .on_patient(caller, Action::ManageConsents, patient)
            .recorded(&format!("revoke {id}"))
            .await?;
        self.change(caller, |directory, now| {
            let kept = own(directory, &id, &permit)?;
            // over already: perhaps by this very request, whose answer was lost
            if kept.value.to <= now.0 {
                return Ok((vec![], ()));
            }
            check_etag(&request.etag, kept.sequence)?;
            // older versions took the same one twice: it is taken back when all of them are
            let all = directory.registry().consents(None).map(|(_, kept)| &kept.value);
            let twins = all.filter(|one| one.is_twin(&kept.value) && one.from <= now.0 && now.0 < one.to);
            let ended = |one: &kept::Consent| {
                Change::Consent(kept::Consent { from: one.from.min(now.0 - 1), to: now.0, ..one.clone() })
            };
            let others = twins.filter(|one| one.id != id).map(ended);
            Ok((others.chain([ended(&kept.value)]).collect(), ()))
        })
        .await?;
        Ok(RevokeConsentResponse { consent: Some(self.consent(&id)?) })
    }

    fn consent(&self, id: &Uuid) -> Result<Consent, Status> {
        self.decisions.directory().registry().consent(id).map(wire).ok_or_else(|| not_found("consent"))
    }
}

/// A consent of the patient whom a permit is for: another's answers as one that does not exist.
fn own<'d>(directory: &'d Directory, id: &Uuid, permit: &Permit) -> Result<&'d Kept<kept::Consent>, Status> {
    let found = directory.registry().consent(id).filter(|kept| kept.value.patient == permit.patient().uuid());
    found.ok_or_else(|| not_found("consent"))
}

/// By when it was said: when it begins may be changed, and is always for many.
fn place(kept: &&Kept<kept::Consent>) -> ListPosition {
    ListPosition { at: i64::try_from(kept.made).unwrap_or(i64::MAX), id: kept.value.id }
}

fn barring(text: &str) -> Result<Barring, Status> {
    match (text, RelationKind::from_name(text)) {
        ("anyone", _) => Ok(Barring::Anyone),
        (_, Some(RelationKind::Myself)) => Err(check::bad("consent.bars", "nobody bars themselves")),
        (_, Some(kind)) => Ok(Barring::Kind(kind.name().to_owned())),
        _ => ids::uuid("consent.bars", text).map(Barring::User).map_err(|_| {
            let kinds = RelationKind::ALL.map(RelationKind::name).join(", ");
            check::bad("consent.bars", format!("anyone, the UUID of a person, or one of {kinds}"))
        }),
    }
}

fn wire(kept: &Kept<kept::Consent>) -> Consent {
    let kept::Consent { id, patient, bars, purpose, from, to } = kept.value.clone();
    Consent {
        consent_id: id.to_string(),
        patient_id: patient.to_string(),
        bars: match bars {
            Barring::Anyone => "anyone".to_owned(),
            Barring::User(user) => user.to_string(),
            Barring::Kind(kind) => kind,
        },
        purpose: purpose.unwrap_or_default(),
        start_time: check::stamp(from),
        end_time: check::stamp(to),
        etag: etag(kept.sequence),
    }
}
