//! What is known of a person: nobody sees or sets more than is theirs, in any answer.

use super::{Asking, grant, person, refusal, refused, tie};
use anyhow::Context;
use proto::{
    prost_types::FieldMask,
    registry::v1::{
        Billing, Contact, CreateRoleRequest, CreateUserRequest, DeleteUserRequest, GetUserRequest,
        ListUserVersionsRequest, ListUsersRequest, Medical, Person, Role, UpdateUserRequest, User,
    },
};
use tests::Sandbox;
use tonic::{Code, Response, Status};

async fn get(asking: &mut Asking, user_id: &str) -> Result<User, Status> {
    let request = asking.request(GetUserRequest { user_id: user_id.into() });
    Ok(asking.client.get_user(request).await?.into_inner().user.unwrap_or_default())
}

async fn set(asking: &mut Asking, user: User, path: &str) -> Result<User, Status> {
    let update_mask = Some(FieldMask { paths: vec![path.to_owned()] });
    let request = asking.request(UpdateUserRequest { user: Some(user), update_mask });
    Ok(asking.client.update_user(request).await?.into_inner().user.unwrap_or_default())
}

fn medical() -> Option<Medical> {
    Some(Medical { allergies: vec!["penicillin".into()], ..Medical::default() })
}

fn billing() -> Option<Billing> {
    Some(Billing { insurer: Some("Mutual".into()), ..Billing::default() })
}

#[tokio::test]
async fn no_answer_shows_a_section_that_is_not_theirs() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    // an administrator says nothing of somebody's medical history
    let told = User {
        patient_id: Some(uuid::Uuid::new_v4().to_string()),
        ward: Some("icu".into()),
        billing: billing(),
        ..User::default()
    };
    let request = admin.request(CreateUserRequest { user: Some(told) });
    let patient = admin.client.create_user(request).await?.into_inner().user.context("a user")?;
    let nurse = person(&mut admin, "Nina Nurse", false).await?;
    grant(&mut admin, &nurse.user_id, "nurse").await?;
    tie(&mut admin, &nurse.user_id, "care-team", patient.patient_id()).await?;
    let mut nursing = Asking::user(&sandbox, nurse.user_id.parse()?).await?;
    assert!(get(&mut nursing, &patient.user_id).await?.medical.unwrap_or_default().allergies.is_empty());

    let named = || User { user_id: patient.user_id.clone(), ..User::default() };
    let set_by_nurse = set(&mut nursing, User { medical: medical(), ..named() }, "medical.allergies").await?;
    let person = Some(Person { name: Some("Pat Doe".into()), birth_date: None });
    let set_by_admin = set(&mut admin, User { person, ..named() }, "person.name").await?;
    let request = nursing.request(ListUserVersionsRequest { user_id: patient.user_id.clone(), ..Default::default() });
    let versions = nursing.client.list_user_versions(request).await?.into_inner().versions;
    let seen = get(&mut nursing, &patient.user_id).await?;
    assert_eq!(seen.medical.as_ref().map(|medical| medical.allergies.len()), Some(1));
    for user in versions.iter().chain([&set_by_nurse, &seen]) {
        assert_eq!((user.billing.is_some(), user.hidden.join(" ").as_str()), (false, "billing"));
    }
    // who may know a person's name may not for that know of their illness, or who pays
    let names = Role { role_id: "porter".into(), permissions: vec!["profile.read".into()], ..Role::default() };
    let request = admin.request(CreateRoleRequest { role: Some(names) });
    admin.client.create_role(request).await?;
    let porter = super::person(&mut admin, "Paul Porter", false).await?;
    grant(&mut admin, &porter.user_id, "porter").await?;
    tie(&mut admin, &porter.user_id, "care-team", patient.patient_id()).await?;
    let mut carrying = Asking::user(&sandbox, porter.user_id.parse()?).await?;
    let seen = get(&mut carrying, &patient.user_id).await?;
    assert_eq!((seen.person.is_some(), seen.medical.is_some(), seen.billing.is_some()), (true, false, false));
    let request = admin.request(ListUsersRequest { filter: "patient=true".into(), ..ListUsersRequest::default() });
    let listed = admin.client.list_users(request).await?.into_inner().users;
    let got = get(&mut admin, &patient.user_id).await?;
    for user in listed.iter().chain([&patient, &set_by_admin, &got]) {
        assert_eq!((user.billing.is_some(), user.medical.is_some()), (true, false));
        assert_eq!(user.hidden, ["medical"]);
    }
    Ok(())
}

#[tokio::test]
async fn nobody_sets_a_section_that_is_not_theirs() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let [patient, other] = [person(&mut admin, "Pat Doe", true).await?, person(&mut admin, "Otto", true).await?];
    let nurse = person(&mut admin, "Nina Nurse", false).await?;
    let deputy = person(&mut admin, "Dora Deputy", false).await?;
    for (user, role) in
        [(&patient, "patient"), (&other, "patient"), (&nurse, "nurse"), (&deputy, "administrator"), (&deputy, "nurse")]
    {
        grant(&mut admin, &user.user_id, role).await?;
    }
    tie(&mut admin, &nurse.user_id, "care-team", patient.patient_id()).await?;
    let mut own = Asking::user(&sandbox, patient.user_id.parse()?).await?;
    let mut others = Asking::user(&sandbox, other.user_id.parse()?).await?;
    let mut nursing = Asking::user(&sandbox, nurse.user_id.parse()?).await?;
    let mut deputising = Asking::user(&sandbox, deputy.user_id.parse()?).await?;

    let all = |user_id: &str| User {
        user_id: user_id.into(),
        ward: Some("elsewhere".into()),
        suspended: Some(true),
        person: Some(Person { name: Some("Another".into()), birth_date: None }),
        contact: Some(Contact { phone: Some("+1 555 0100".into()), ..Contact::default() }),
        medical: medical(),
        billing: billing(),
        ..User::default()
    };
    let whom = patient.user_id.as_str();
    let before = get(&mut admin, whom).await?.etag;
    for path in ["person.name", "medical.allergies", "billing", "ward", "suspended", "patient_id"] {
        let code = set(&mut own, all(whom), path).await.err().map(|status| status.code());
        assert_eq!(code, Some(Code::PermissionDenied), "the patient's own {path}");
    }
    for path in ["person.name", "contact.phone", "billing.insurer", "ward", "suspended", "patient_id"] {
        let code = set(&mut nursing, all(whom), path).await.err().map(|status| status.code());
        assert_eq!(code, Some(Code::PermissionDenied), "a nurse's {path}");
    }
    for path in ["contact.phone", "medical.allergies", "person", "billing"] {
        let hidden = set(&mut others, all(whom), path).await.err().context("a refusal")?;
        let missing =
            set(&mut others, all(&uuid::Uuid::new_v4().to_string()), path).await.err().context("a refusal")?;
        assert_eq!((hidden.code(), hidden.message()), (missing.code(), missing.message()), "another patient's {path}");
        assert_eq!(hidden.code(), Code::NotFound);
    }
    let code = set(&mut admin, all(whom), "medical").await.err().map(|status| status.code());
    assert_eq!(code, Some(Code::PermissionDenied), "who manages people writes no medical history");
    assert_eq!(get(&mut admin, whom).await?.etag, before);
    // nor does anybody make themselves a patient, or free themselves
    for path in ["patient_id", "ward", "suspended"] {
        refused!(
            set(&mut deputising, all(&deputy.user_id), path).await.map(Response::new),
            PermissionDenied,
            "SELF_GRANT"
        );
    }
    Ok(())
}

/// Where in a contact a field is.
type ContactField = fn(&mut Contact) -> &mut Option<String>;

#[tokio::test]
async fn changes_at_once_are_all_there_or_were_refused() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let user_id = person(&mut admin, "Pat Doe", true).await?.user_id;
    let fields: [(&str, ContactField); 4] = [
        ("contact.address", |contact| &mut contact.address),
        ("contact.phone", |contact| &mut contact.phone),
        ("contact.email", |contact| &mut contact.email),
        ("contact.primary_care_provider", |contact| &mut contact.primary_care_provider),
    ];
    for round in 0..5 {
        let text = format!("round {round}");
        let setting = fields.map(|(path, field)| {
            let mut contact = Contact::default();
            *field(&mut contact) = Some(text.clone());
            let user = User { user_id: user_id.clone(), contact: Some(contact), ..User::default() };
            let mut asking = Asking { client: admin.client.clone(), token: admin.token.clone() };
            async move { set(&mut asking, user, path).await }
        });
        let answers = futures::future::join_all(setting).await;
        let mut contact = get(&mut admin, &user_id).await?.contact.unwrap_or_default();
        for ((path, field), answer) in fields.into_iter().zip(answers) {
            match answer {
                Ok(_) => assert_eq!(
                    field(&mut contact).as_deref(),
                    Some(text.as_str()),
                    "{path} was taken, and undone by another change"
                ),
                Err(status) => assert_eq!(status.code(), Code::Aborted, "{status}"),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_is_suspended_does_nothing_and_a_stale_tag_removes_nobody() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let user = person(&mut admin, "Nina Nurse", false).await?;
    grant(&mut admin, &user.user_id, "administrator").await?;
    let mut nursing = Asking::user(&sandbox, user.user_id.parse()?).await?;
    let contact = Some(Contact { phone: Some("+1 555 0100".into()), ..Contact::default() });
    let called = User { user_id: user.user_id.clone(), contact, ..User::default() };
    set(&mut nursing, called.clone(), "contact.phone").await?;
    let suspended = |suspended| User { user_id: user.user_id.clone(), suspended: Some(suspended), ..User::default() };
    set(&mut admin, suspended(true), "suspended").await?;
    let request = nursing.request(ListUsersRequest::default());
    refused!(nursing.client.list_users(request).await, PermissionDenied, "NOT_PERMITTED");
    // not even what everybody may do with their own
    assert!(get(&mut nursing, &user.user_id).await.is_err());
    assert!(set(&mut nursing, called.clone(), "contact.phone").await.is_err());
    set(&mut admin, suspended(false), "suspended").await?;
    assert!(get(&mut nursing, &user.user_id).await.is_ok());

    let request = admin.request(DeleteUserRequest { user_id: user.user_id.clone(), etag: user.etag });
    refused!(admin.client.delete_user(request).await, Aborted, "ETAG_MISMATCH");
    let etag = get(&mut admin, &user.user_id).await?.etag;
    let request = admin.request(DeleteUserRequest { user_id: user.user_id.clone(), etag });
    admin.client.delete_user(request).await?;
    let request = nursing.request(ListUsersRequest::default());
    refused!(nursing.client.list_users(request).await, PermissionDenied, "NOT_PERMITTED");
    // the id is given to nobody again: what it stands for in logs and readings stays the one it was
    let again = User { user_id: user.user_id, ..User::default() };
    let request = admin.request(CreateUserRequest { user: Some(again) });
    assert_eq!(refused!(admin.client.create_user(request).await, AlreadyExists, "USER_GONE"), "user_id");
    Ok(())
}
