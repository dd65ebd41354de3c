//! Why somebody can or cannot do something with a patient: the policy's own answer, and what it looked at.

use crate::{Registry, check};
use auth::Identity;
use model::{
    Nanos,
    access::{About, Action, Barred, Facts, Principal, Purpose, Scope, Subject, decide},
};
use proto::{
    convert,
    registry::v1::{ExplainAccessRequest, ExplainAccessResponse},
};
use tonic::Status;

impl Registry {
    pub(crate) async fn explain_access(
        &self,
        caller: &Principal,
        request: ExplainAccessRequest,
    ) -> Result<ExplainAccessResponse, Status> {
        let (user, patient) = (check::user(&request.user_id)?, check::patient(&request.patient_id)?);
        let about_patients = |action: &Action| action.about() == About::Patient;
        let Some(action) = Action::from_name(&request.action).filter(about_patients) else {
            let names: Vec<_> = Action::ALL.into_iter().filter(about_patients).map(Action::name).collect();
            return Err(check::bad("action", format!("one of {}", names.join(", "))));
        };
        let purpose = match request.purpose.as_str() {
            "" => None,
            code => Some(Purpose::from_code(code).ok_or_else(|| {
                check::bad("purpose", format!("empty, or one of {}", Purpose::ALL.map(Purpose::code).join(", ")))
            })?),
        };
        let detail = format!("{} for {}", action.name(), user.uuid());
        self.system_about(caller, Action::ExplainAccess, Some(patient), &detail).await?;
        let (directory, now) = (self.directory.get(), (self.clock)());
        let identity = Identity { subject: Subject::User(user), scope: None, issued_at: now, expires_at: Nanos::MAX };
        let principal = directory.principal(&identity, purpose);
        let facts = directory.facts(&principal, patient);
        let decided = decide(&principal, action, patient, &facts, now);
        let mut steps: Vec<_> =
            directory.roles_of(user).map(|(role, scope)| format!("holds the role {role} {}", place(scope))).collect();
        steps.extend(looked_at(&principal, action, &facts, now));
        steps.push(match &decided {
            Ok(permit) => format!("allowed, for {}", permit.purpose().code()),
            Err(denied) => format!("refused: {denied}"),
        });
        Ok(ExplainAccessResponse {
            allowed: decided.is_ok(),
            denied: decided.as_ref().err().map(|denied| denied.code().to_owned()).unwrap_or_default(),
            steps,
            until: decided
                .ok()
                .filter(|permit| permit.expires_at() < Nanos::MAX)
                .map(|permit| convert::timestamp(permit.expires_at())),
        })
    }
}

fn place(scope: &Scope) -> String {
    match scope {
        Scope::Everywhere => "everywhere".to_owned(),
        Scope::Ward(ward) => format!("in the ward {ward}"),
        Scope::Study(study) => format!("for the study {study}"),
    }
}

/// Permission, relations and consents, one line each.
fn looked_at(principal: &Principal, action: Action, facts: &Facts, now: Nanos) -> Vec<String> {
    let needed = action.needs();
    let held: Vec<_> = principal.grants.iter().filter(|grant| grant.permission == needed).collect();
    let mut steps = Vec::new();
    match held.as_slice() {
        [] => steps.push(format!("no role grants {}", needed.name())),
        held => steps.extend(held.iter().map(|grant| format!("{} is granted {}", needed.name(), place(&grant.scope)))),
    }
    steps.push(
        facts
            .ward
            .as_ref()
            .map_or("the patient is in no ward".to_owned(), |ward| format!("the patient is in the ward {ward}")),
    );
    if facts.relations.is_empty() {
        steps.push("no relation to the patient".to_owned());
    }
    for relation in &facts.relations {
        let when = match (now < relation.from, now < relation.to) {
            (true, _) => "has not begun",
            (_, false) => "is over",
            _ => "holds",
        };
        let opens = if relation.kind.opens(action) { "opens this" } else { "does not open this" };
        let purposes: Vec<_> = relation.kind.purposes().iter().map(|purpose| purpose.code()).collect();
        let name = relation.kind.name();
        steps.push(format!("relation {name} {when}, {opens}, serves {}", purposes.join(" ")));
    }
    for consent in facts.consents.iter().filter(|consent| consent.from <= now && now < consent.to) {
        let who = match consent.barred {
            Barred::Anyone => "everybody".to_owned(),
            Barred::User(user) if principal.subject == Subject::User(user) => "this person".to_owned(),
            Barred::User(_) => "another person".to_owned(),
            Barred::Kind(kind) => format!("the relation {}", kind.name()),
        };
        let purpose = consent.purpose.map_or("any purpose", Purpose::code);
        steps.push(format!("the patient has barred {who}, for {purpose}"));
    }
    steps
}
