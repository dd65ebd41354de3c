//! Whom a list showed is in the audit log patient by patient, and for what; who runs the place does not treat by it.

use super::{Asking, grant, person, tie};
use anyhow::Context;
use proto::{
    operations::v1::{AuditRecord, SearchAuditLogRequest, audit_service_client::AuditServiceClient},
    registry::v1::{
        Assignment, CreateAssignmentRequest, CreateDeviceRequest, DeleteUserRequest, Device, EndAssignmentRequest,
        GetAssignmentRequest, GetUserRequest, ImportDevicesRequest, ImportUsersRequest, ListAssignmentsRequest,
        ListBreakGlassRequest, ListRelationsRequest, ListUserVersionsRequest, ListUsersRequest, OpenBreakGlassRequest,
        Person, UpdateUserRequest, User,
    },
};
use tests::Sandbox;
use uuid::Uuid;

/// Records about a patient, or all of them, newest first; not those about reading them.
async fn about(sandbox: &Sandbox, patient_id: &str) -> anyhow::Result<Vec<AuditRecord>> {
    let mut client = AuditServiceClient::new(sandbox.channel().await?);
    let request = SearchAuditLogRequest { patient_id: patient_id.into(), ..Default::default() };
    let records = client.search_audit_log(sandbox.as_person("auditor", request)?).await?.into_inner().records;
    Ok(records.into_iter().filter(|record| record.action != "audit.read").collect())
}

/// Action, detail and purpose of the newest record about each of these patients.
async fn newest(sandbox: &Sandbox, patients: &[&str]) -> anyhow::Result<Vec<(String, String, String)>> {
    let mut found = Vec::new();
    for patient in patients {
        let newest = about(sandbox, patient).await?.into_iter().next().context("no record")?;
        assert!(newest.denied.is_empty(), "{} {}", newest.action, newest.denied);
        found.push((newest.action, newest.detail, newest.purpose));
    }
    Ok(found)
}

fn all(n: usize, action: &str, detail: &str, purpose: &str) -> Vec<(String, String, String)> {
    vec![(action.to_owned(), detail.to_owned(), purpose.to_owned()); n]
}

#[tokio::test]
async fn each_patient_whom_a_list_shows_is_in_the_log() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let [one, two] = [person(&mut admin, "One", true).await?, person(&mut admin, "Two", true).await?];
    let nurse = person(&mut admin, "Nina", false).await?.user_id;
    grant(&mut admin, &nurse, "nurse").await?;
    let patients = [one.patient_id(), two.patient_id()];

    let mut request = admin.request(ListUsersRequest { filter: "patient=\"true\"".into(), ..Default::default() });
    request.metadata_mut().insert("purpose-of-use", "TREAT".parse()?);
    assert!(admin.client.list_users(request).await?.into_inner().users.len() >= 2);
    assert_eq!(newest(&sandbox, &patients).await?, all(2, "users.manage", "list", "HOPERAT"), "whatever was said");

    let request = admin.request(GetUserRequest { user_id: one.user_id.clone() });
    admin.client.get_user(request).await?;
    assert_eq!(
        newest(&sandbox, &patients[..1]).await?,
        all(1, "profile.read", &format!("get {}", one.user_id), "HOPERAT")
    );

    for patient in patients {
        let tied = tie(&mut admin, &nurse, "care-team", patient).await?.relation_id;
        let detail = format!("care-team {tied} for {nurse}");
        assert_eq!(newest(&sandbox, &[patient]).await?, all(1, "relations.manage", &detail, "HOPERAT"));
    }
    let request = admin.request(ListRelationsRequest { user_id: nurse.clone(), ..Default::default() });
    admin.client.list_relations(request).await?;
    assert_eq!(newest(&sandbox, &patients).await?, all(2, "relations.manage", "list", "HOPERAT"));

    let mut nina = Asking::user(&sandbox, nurse.parse()?).await?;
    let request = nina.request(OpenBreakGlassRequest {
        patient_id: patients[0].into(),
        reason: "life-threat".into(),
        text: "no pulse, alone on the ward".into(),
        minutes: 1,
    });
    let opened = nina.client.open_break_glass(request).await?.into_inner().break_glass.context("an emergency")?;
    let detail = format!("life-threat {}", opened.break_glass_id);
    assert_eq!(newest(&sandbox, &patients[..1]).await?, all(1, "emergency.open", &detail, "ETREAT"));
    let mut auditor = Asking::demo(&sandbox, "auditor").await?;
    let request = auditor.request(ListBreakGlassRequest::default());
    auditor.client.list_break_glass(request).await?;
    assert_eq!(newest(&sandbox, &patients[..1]).await?, all(1, "emergency.review", "list", "HOPERAT"));

    let request = admin.request(DeleteUserRequest { user_id: two.user_id.clone(), etag: two.etag.clone() });
    let _ = admin.client.delete_user(request).await;
    let detail = format!("delete {}", two.user_id);
    assert_eq!(newest(&sandbox, &patients[1..]).await?, all(1, "users.manage", &detail, "HOPERAT"));
    Ok(())
}

#[tokio::test]
async fn each_patient_of_an_import_is_in_the_log() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let patients = [Uuid::new_v4().to_string(), Uuid::new_v4().to_string()];
    let csv = format!("name,patient,ward\nOne,{},icu\nTwo,{},icu\nNobody,,\n", patients[0], patients[1]);
    let request = admin.request(ImportUsersRequest { csv });
    let imported = admin.client.import_users(request).await?.into_inner();
    assert_eq!((imported.imported, imported.user_ids.len()), (3, 3));
    let details: Vec<_> = imported.user_ids.iter().map(|id| format!("import {id}")).collect();
    for (patient, detail) in patients.iter().zip(&details) {
        assert_eq!(newest(&sandbox, &[patient]).await?, all(1, "users.manage", detail, "HOPERAT"));
    }
    let records = about(&sandbox, "").await?;
    assert!(records.iter().any(|record| record.detail == details[2] && record.patient_id.is_empty()), "no patient");

    // a row that is refused is in the log as nothing that was done to the other
    let n_before = about(&sandbox, &patients[0]).await?.len();
    let request = admin.request(ImportUsersRequest { csv: format!("name,patient\nThree,{}\n", patients[0]) });
    assert_eq!(admin.client.import_users(request).await?.into_inner().refused.len(), 1);
    assert_eq!(about(&sandbox, &patients[0]).await?.len(), n_before);

    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let request = integrator.request(ImportDevicesRequest { csv: "name\nMonitor\n".into() });
    let codes = integrator.client.import_devices(request).await?.into_inner().claim_codes;
    let newest = about(&sandbox, "").await?.into_iter().find(|record| record.action == "devices.register");
    let device_id = &codes.first().context("a device")?.device_id;
    assert_eq!(newest.map(|record| record.detail), Some(format!("import {device_id}")));
    Ok(())
}

/// Action, detail and refusal of the records whose detail names a person, oldest first.
async fn naming(sandbox: &Sandbox, user_id: &str) -> anyhow::Result<Vec<(String, String, String)>> {
    let records = about(sandbox, "").await?.into_iter().rev().filter(|record| record.detail.contains(user_id));
    Ok(records.map(|record| (record.action, record.detail, record.denied)).collect())
}

fn lines(user_id: &str, of: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let line = |(action, detail, denied): &(&str, &str, &str)| {
        ((*action).to_owned(), detail.replace("{id}", user_id), (*denied).to_owned())
    };
    of.iter().map(line).collect()
}

#[tokio::test]
async fn who_is_no_patient_is_named_and_to_read_is_no_update() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let porter = person(&mut admin, "Paul", false).await?.user_id;
    let request = admin.request(GetUserRequest { user_id: porter.clone() });
    admin.client.get_user(request).await?;
    let suspended = User { user_id: porter.clone(), suspended: Some(true), ..User::default() };
    let request = admin.request(UpdateUserRequest { user: Some(suspended), update_mask: None });
    admin.client.update_user(request).await?;
    let request = admin.request(ListUserVersionsRequest { user_id: porter.clone(), ..Default::default() });
    admin.client.list_user_versions(request).await?;
    let nina = person(&mut admin, "Nina", false).await?.user_id;
    grant(&mut admin, &nina, "nurse").await?;
    let mut nurse = Asking::user(&sandbox, nina.parse()?).await?;
    let request = nurse.request(GetUserRequest { user_id: porter.clone() });
    assert!(nurse.client.get_user(request).await.is_err());
    let expected = [
        ("users.manage", "create {id}", ""),
        ("profile.read", "get {id}", ""),
        ("profile.read", "read {id} to update it", ""),
        ("users.manage", "update {id}", ""),
        ("profile.read", "versions of {id}", ""),
        ("profile.read", "get {id}", "NO_RELATION"),
    ];
    assert_eq!(naming(&sandbox, &porter).await?, lines(&porter, &expected));

    let patient = person(&mut admin, "Pat", true).await?;
    tie(&mut admin, &nina, "care-team", patient.patient_id()).await?;
    let name = Some(Person { name: Some("x".into()), ..Person::default() });
    let renamed = User { user_id: patient.user_id.clone(), person: name, ..User::default() };
    let request = nurse.request(UpdateUserRequest { user: Some(renamed), update_mask: None });
    assert!(nurse.client.update_user(request).await.is_err());
    let expected = [
        ("users.manage", "create {id}", ""),
        ("profile.read", "read {id} to update it", ""),
        ("contact.write", "update {id}", "PERMISSION"),
    ];
    assert_eq!(naming(&sandbox, &patient.user_id).await?, lines(&patient.user_id, &expected));
    Ok(())
}

#[tokio::test]
async fn whose_devices_are_shown_is_in_the_log_and_nobody_is_no_patient() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let patient = person(&mut admin, "One", true).await?.patient_id().to_owned();
    let nurse = person(&mut admin, "Nina", false).await?.user_id;
    grant(&mut admin, &nurse, "nurse").await?;
    tie(&mut admin, &nurse, "care-team", &patient).await?;
    let device = Some(Device { name: Some("Monitor".into()), ..Device::default() });
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let request = integrator.request(CreateDeviceRequest { device });
    let device_id = integrator.client.create_device(request).await?.into_inner().device.context("a device")?.device_id;
    let mut nina = Asking::user(&sandbox, nurse.parse()?).await?;
    let assignment = Assignment { device_id: device_id.clone(), patient_id: patient.clone(), ..Assignment::default() };
    let request = nina.request(CreateAssignmentRequest { assignment: Some(assignment) });
    let assignment = nina.client.create_assignment(request).await?.into_inner().assignment.context("one")?;
    assert_eq!(newest(&sandbox, &[&patient]).await?, all(1, "device.assign", &format!("assign {device_id}"), "TREAT"));

    let request = integrator.request(ListAssignmentsRequest { device_id: device_id.clone(), ..Default::default() });
    assert_eq!(integrator.client.list_assignments(request).await?.into_inner().assignments.len(), 1);
    let shown = all(1, "devices.register", &format!("assignments of {device_id}"), "HOPERAT");
    assert_eq!(newest(&sandbox, &[&patient]).await?, shown);
    let assignment_id = assignment.assignment_id;
    let request = integrator.request(GetAssignmentRequest { assignment_id: assignment_id.clone() });
    integrator.client.get_assignment(request).await?;
    let shown = all(1, "devices.register", &format!("get assignment {assignment_id}"), "HOPERAT");
    assert_eq!(newest(&sandbox, &[&patient]).await?, shown);

    // there is no such assignment, and so no patient
    let none = Uuid::new_v4().to_string();
    let request = nina.request(GetAssignmentRequest { assignment_id: none.clone() });
    assert!(nina.client.get_assignment(request).await.is_err());
    let request = nina.request(EndAssignmentRequest { assignment_id: none.clone(), at: None, ..Default::default() });
    assert!(nina.client.end_assignment(request).await.is_err());
    let records = about(&sandbox, "").await?;
    let tried: Vec<_> = records.iter().filter(|record| record.detail.ends_with(&none)).collect();
    assert_eq!(tried.len(), 2);
    assert!(tried.iter().all(|record| record.patient_id.is_empty() && !record.denied.is_empty()));
    Ok(())
}
