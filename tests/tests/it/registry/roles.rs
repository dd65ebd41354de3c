//! Roles and grants: nobody passes on what they may not pass on.

use super::refusal;
use super::{Asking, grant, person, refused, tie};
use anyhow::Context;
use auth::demo_person;
use proto::{
    prost_types::FieldMask,
    registry::v1::{
        CreateGrantRequest, CreateRelationRequest, CreateRoleRequest, DeleteGrantRequest, DeleteRoleRequest, Grant,
        ListRolesRequest, Relation, Role, UpdateRoleRequest,
    },
};
use tests::Sandbox;
use tonic::{Code, Response, Status};

fn role(id: &str, permissions: &[&str]) -> Role {
    let permissions = permissions.iter().map(|&name| name.to_owned()).collect();
    Role { role_id: id.into(), category: Some("clinician".into()), permissions, ..Role::default() }
}

async fn create(asking: &mut Asking, role: Role) -> Result<Role, Status> {
    let request = asking.request(CreateRoleRequest { role: Some(role) });
    Ok(asking.client.create_role(request).await?.into_inner().role.unwrap_or_default())
}

async fn give(asking: &mut Asking, user_id: &str, role_id: &str) -> Result<Grant, Status> {
    let grant = Grant { user_id: user_id.into(), role_id: role_id.into(), ..Grant::default() };
    let request = asking.request(CreateGrantRequest { grant: Some(grant) });
    Ok(asking.client.create_grant(request).await?.into_inner().grant.unwrap_or_default())
}

#[tokio::test]
async fn roles_are_data_and_nobody_passes_on_what_they_lack() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let deputy = person(&mut admin, "Dora Deputy", false).await?;
    // may manage roles, and let others read, nothing else
    let limited = Role { may_grant: vec!["readings.read".into()], ..role("deputy", &["roles.manage"]) };
    let tag = create(&mut admin, limited).await?.etag;
    let held = grant(&mut admin, &deputy.user_id, "deputy").await?;
    let mut deputising = Asking::user(&sandbox, deputy.user_id.parse()?).await?;
    let reader = create(&mut deputising, role("reader", &["readings.read"])).await?;
    let lacks = create(&mut deputising, role("snoop", &["readings.read", "audit.read"])).await;
    assert_eq!(refused!(lacks.map(Response::new), PermissionDenied, "LACKS_PERMISSION"), "permissions");
    let lacks = give(&mut deputising, &deputy.user_id, "nurse").await;
    refused!(lacks.map(Response::new), PermissionDenied, "LACKS_PERMISSION");
    let unknown = create(&mut admin, role("pilot", &["planes.fly"])).await;
    assert_eq!(refused!(unknown.map(Response::new), InvalidArgument, "UNKNOWN_PERMISSION"), "permissions");
    let twice = create(&mut admin, role("nurse", &[])).await;
    refused!(twice.map(Response::new), AlreadyExists, "EXISTS");

    // nobody gives anything to themselves: not by a grant, not by a role they hold, not by a relation
    let own = give(&mut deputising, &deputy.user_id, "reader").await;
    refused!(own.map(Response::new), PermissionDenied, "SELF_GRANT");
    let added = Role { etag: tag.clone(), ..role("deputy", &["roles.manage", "readings.read"]) };
    let update_mask = Some(FieldMask { paths: vec!["permissions".into()] });
    let request = deputising.request(UpdateRoleRequest { role: Some(added), update_mask });
    refused!(deputising.client.update_role(request).await, PermissionDenied, "SELF_GRANT");
    let patient = person(&mut admin, "Pat Doe", true).await?;
    let user_id = demo_person("administrator").context("nobody")?.uuid().to_string();
    let relation = Relation {
        user_id,
        kind: "care-team".into(),
        patient_id: patient.patient_id().to_owned(),
        ..Relation::default()
    };
    let request = admin.request(CreateRelationRequest { relation: Some(relation) });
    refused!(admin.client.create_relation(request).await, PermissionDenied, "SELF_GRANT");
    tie(&mut admin, &deputy.user_id, "care-team", patient.patient_id()).await?;

    // a role that somebody holds stays; a stale tag changes nothing; a grant that is gone opens nothing
    let request = admin.request(DeleteRoleRequest { role_id: "deputy".into(), etag: tag.clone() });
    refused!(admin.client.delete_role(request).await, FailedPrecondition, "ROLE_IN_USE");
    let stale = Role { etag: "1".into(), ..reader };
    let request = admin.request(UpdateRoleRequest { role: Some(stale), update_mask: None });
    refused!(admin.client.update_role(request).await, Aborted, "ETAG_MISMATCH");
    let request = admin.request(DeleteGrantRequest { grant_id: held.grant_id, ..Default::default() });
    admin.client.delete_grant(request).await?;
    let request = deputising.request(ListRolesRequest {});
    refused!(deputising.client.list_roles(request).await, PermissionDenied, "NOT_PERMITTED");
    let request = admin.request(DeleteRoleRequest { role_id: "deputy".into(), etag: tag.clone() });
    admin.client.delete_role(request).await?;
    let request = admin.request(ListRolesRequest {});
    let roles = admin.client.list_roles(request).await?.into_inner().roles;
    assert_eq!(roles.len(), 9, "eight from the start, and the reader");
    Ok(())
}

#[tokio::test]
async fn relations_have_the_fields_of_their_kind() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let (user, patient) = (person(&mut admin, "N", false).await?, person(&mut admin, "P", true).await?);
    let relation = |kind: &str, patient_id: &str, ward: &str, study: &str| Relation {
        user_id: user.user_id.clone(),
        kind: kind.into(),
        patient_id: patient_id.into(),
        ward: ward.into(),
        study: study.into(),
        ..Relation::default()
    };
    let whom = patient.patient_id();
    for (relation, field) in [
        (relation("self", whom, "", ""), "relation.kind"),
        (relation("emergency", whom, "", ""), "relation.kind"),
        (relation("care-team", "", "", ""), "relation.patient_id"),
        (relation("care-team", whom, "icu", ""), "relation.ward"),
        (relation("ward-staff", whom, "icu", ""), "relation.patient_id"),
        (relation("ward-staff", "", "", ""), "relation.ward"),
        (relation("study", whom, "", ""), "relation.study"),
        (relation("proxy", &uuid::Uuid::new_v4().to_string(), "", ""), "relation.patient_id"),
    ] {
        let request = admin.request(CreateRelationRequest { relation: Some(relation) });
        let (code, _, found) = refusal(admin.client.create_relation(request).await)?;
        assert_eq!(found, field);
        assert!([Code::InvalidArgument, Code::NotFound].contains(&code));
    }
    for good in
        [relation("proxy", whom, "", ""), relation("ward-staff", "", "icu", ""), relation("study", whom, "", "heart")]
    {
        let request = admin.request(CreateRelationRequest { relation: Some(good) });
        admin.client.create_relation(request).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_role_does_not_grow_by_what_its_author_lacks() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let deputy = person(&mut admin, "Dora Deputy", false).await?;
    let limited = Role { may_grant: vec!["readings.read".into()], ..role("deputy", &["roles.manage"]) };
    create(&mut admin, limited).await?;
    grant(&mut admin, &deputy.user_id, "deputy").await?;
    let mut deputising = Asking::user(&sandbox, deputy.user_id.parse()?).await?;
    let made = create(&mut deputising, role("reader", &["readings.read"])).await?;
    let lets = |name: &str| Role { may_grant: vec![name.into()], ..role("other", &[]) };
    let lacks = create(&mut deputising, lets("audit.read")).await;
    assert_eq!(refused!(lacks.map(Response::new), PermissionDenied, "LACKS_PERMISSION"), "may_grant");
    let unknown = create(&mut admin, lets("planes.fly")).await;
    assert_eq!(refused!(unknown.map(Response::new), InvalidArgument, "UNKNOWN_PERMISSION"), "may_grant");

    let mut update = async |role: Role, path: &str| {
        let update_mask = Some(FieldMask { paths: vec![path.into()] });
        let etag = deputising.role(&role.role_id).await?.etag;
        let role = Role { etag, ..role };
        let request = deputising.request(UpdateRoleRequest { role: Some(role), update_mask });
        deputising.client.update_role(request).await
    };
    let wider = update(role("reader", &["readings.read", "audit.read"]), "permissions").await;
    assert_eq!(refused!(wider, PermissionDenied, "LACKS_PERMISSION"), "permissions");
    let wider = update(Role { role_id: "reader".into(), ..lets("audit.read") }, "may_grant").await;
    assert_eq!(refused!(wider, PermissionDenied, "LACKS_PERMISSION"), "may_grant");
    // to take away is everybody's who manages roles; only what is added counts
    update(role("auditor", &["audit.read"]), "permissions").await?;
    update(Role { role_id: "reader".into(), ..lets("readings.read") }, "may_grant").await?;

    let request = admin.request(DeleteRoleRequest { role_id: "reader".into(), etag: made.etag });
    refused!(admin.client.delete_role(request).await, Aborted, "ETAG_MISMATCH");
    Ok(())
}

#[tokio::test]
async fn a_grant_reaches_no_further_than_what_its_author_may_pass_on() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let [head, nurse] = [person(&mut admin, "Hella Head", false).await?, person(&mut admin, "N", false).await?];
    create(&mut admin, role("granter", &["roles.manage"])).await?;
    grant(&mut admin, &head.user_id, "granter").await?;
    let give = async |asking: &mut Asking, user_id: &str, role_id: &str, ward: &str, study: &str| {
        let (user_id, role_id) = (user_id.to_owned(), role_id.to_owned());
        let grant = Grant { user_id, role_id, ward: ward.into(), study: study.into(), ..Grant::default() };
        let request = asking.request(CreateGrantRequest { grant: Some(grant) });
        asking.client.create_grant(request).await
    };
    // an administrator in one ward alone
    give(&mut admin, &head.user_id, "administrator", "icu", "").await?;
    let mut heading = Asking::user(&sandbox, head.user_id.parse()?).await?;
    for (ward, study) in [("", ""), ("two", ""), ("", "icu")] {
        let further = give(&mut heading, &nurse.user_id, "nurse", ward, study).await;
        assert_eq!(refused!(further, PermissionDenied, "LACKS_PERMISSION"), "grant.role_id");
    }
    give(&mut heading, &nurse.user_id, "nurse", "icu", "").await?;
    let wider = create(&mut heading, role("reader", &["readings.read"])).await;
    refused!(wider.map(Response::new), PermissionDenied, "LACKS_PERMISSION");
    Ok(())
}
