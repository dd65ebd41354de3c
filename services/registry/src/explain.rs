//! Why somebody can or cannot do something with a patient: the policy's own answer, and what it checked.

use crate::{Registry, check};
use guard::convert;
use model::{
    Nanos,
    access::{About, Action, Identity, Principal, Purpose, Subject, decide, place, why},
};
use proto::registry::v1::{ExplainAccessRequest, ExplainAccessResponse};
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
        self.decisions.on_system(caller, Action::ExplainAccess, Some(patient)).recorded(&detail).await?;
        let (directory, now) = (self.decisions.directory(), self.decisions.now());
        let identity = Identity { subject: Subject::User(user), scope: None, issued_at: now, expires_at: Nanos::MAX };
        let principal = directory.principal(&identity, purpose);
        let facts = directory.facts(&principal, patient);
        let decided = decide(&principal, action, patient, &facts, now);
        let mut steps: Vec<_> =
            directory.roles_of(user).map(|(role, scope)| format!("holds the role {role} {}", place(scope))).collect();
        steps.extend(why(&principal, action, &facts, now));
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
