//! The registry by its API: who may change what, what is refused, and how soon it counts.

mod corrected;
mod credentials;
mod devices;
mod imports;
mod lists;
mod notices;
mod people;
mod recorded;
mod recovery;
mod retractions;
mod roles;
mod sections;
mod shown;
mod single;
mod updates;

use anyhow::Context;
use auth::demo_person;
use guard::convert;
use model::Nanos;
use proto::registry::v1::{
    CreateGrantRequest, CreateRelationRequest, CreateUserRequest, EndAssignmentRequest, GetRoleRequest, Grant, Person,
    Relation, Role, User, registry_service_client::RegistryServiceClient,
};
use tests::{Sandbox, line::Problem, with_token};
use tonic::{Code, Request, Response, Status, transport::Channel};
use uuid::Uuid;

/// Somebody who asks the registry.
struct Asking {
    client: RegistryServiceClient<Channel>,
    token: String,
}

impl Asking {
    /// One of the demo's people, by role.
    async fn demo(sandbox: &Sandbox, role: &str) -> anyhow::Result<Self> {
        let user = demo_person(role).context("no such role")?;
        Self::user(sandbox, user.uuid()).await
    }

    async fn user(sandbox: &Sandbox, user: Uuid) -> anyhow::Result<Self> {
        Self::with(sandbox, sandbox.issuer()?.user_token(model::UserId::new(user))?).await
    }

    async fn with(sandbox: &Sandbox, token: String) -> anyhow::Result<Self> {
        Ok(Self { client: RegistryServiceClient::new(sandbox.channel().await?), token })
    }

    /// A role as it is now.
    async fn role(&self, role_id: &str) -> Result<Role, Status> {
        let request = self.request(GetRoleRequest { role_id: role_id.to_owned() });
        Ok(self.client.clone().get_role(request).await?.into_inner().role.unwrap_or_default())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.token).expect("a token")
    }
}

/// Code, reason and field of a refusal.
fn refusal<T>(answer: Result<Response<T>, Status>) -> anyhow::Result<(Code, String, String)> {
    let problem = Problem::from(answer)?;
    Ok((problem.code, problem.reason, problem.fields.first().cloned().unwrap_or_default()))
}

/// Asserts that a call is refused with a code and a reason.
macro_rules! refused {
    ($answer:expr, $code:ident, $reason:literal) => {{
        let (code, reason, field) = refusal($answer)?;
        assert_eq!((code, reason.as_str()), (Code::$code, $reason), "field {field}");
        field
    }};
}
use refused;

/// Ends an assignment at a second since 1970; if not `may`, it is refused for what is kept as the patient's.
async fn ends(asking: &mut Asking, assignment_id: &str, second: i64, may: bool) -> anyhow::Result<()> {
    let at = Some(convert::timestamp(Nanos(second * Nanos::SECOND)));
    let (assignment_id, etag) = (assignment_id.to_owned(), String::new());
    let request = asking.request(EndAssignmentRequest { assignment_id, at, etag });
    let ended = asking.client.end_assignment(request).await;
    match may {
        true => drop(ended?),
        false => drop(refused!(ended, FailedPrecondition, "READINGS_IN_THE_WAY")),
    }
    Ok(())
}

/// A new person of the registry; a patient in the ward where the demo's people work, or nobody's patient.
async fn person(admin: &mut Asking, name: &str, patient: bool) -> anyhow::Result<User> {
    let person = Some(Person { name: Some(name.into()), birth_date: Some("1969-12-31".into()) });
    let patient_id = patient.then(|| Uuid::new_v4().to_string());
    let ward = patient.then(|| "icu".to_owned());
    let user = User { person, patient_id, ward, ..User::default() };
    let request = admin.request(CreateUserRequest { user: Some(user) });
    admin.client.create_user(request).await?.into_inner().user.context("a user")
}

async fn grant(admin: &mut Asking, user_id: &str, role: &str) -> anyhow::Result<Grant> {
    let grant = Grant { user_id: user_id.into(), role_id: role.into(), ..Grant::default() };
    let request = admin.request(CreateGrantRequest { grant: Some(grant) });
    admin.client.create_grant(request).await?.into_inner().grant.context("a grant")
}

async fn tie(admin: &mut Asking, user_id: &str, kind: &str, patient_id: &str) -> anyhow::Result<Relation> {
    let relation =
        Relation { user_id: user_id.into(), kind: kind.into(), patient_id: patient_id.into(), ..Relation::default() };
    let request = admin.request(CreateRelationRequest { relation: Some(relation) });
    admin.client.create_relation(request).await?.into_inner().relation.context("a relation")
}
