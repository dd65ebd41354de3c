//! Whom a list showed is in the audit log patient by patient, and for what; who runs the place does not treat by it.

use super::{Asking, grant, person, tie};
use anyhow::Context;
use proto::{
    operations::v1::{AuditRecord, SearchAuditLogRequest, audit_service_client::AuditServiceClient},
    registry::v1::{
        Assignment, CreateAssignmentRequest, CreateDeviceRequest, DeleteUserRequest, Device, EndAssignmentRequest,
        GetAssignmentRequest, GetUserRequest, ImportUsersRequest, ListAssignmentsRequest, ListBreakGlassRequest,
        ListRelationsRequest, ListUsersRequest, OpenBreakGlassRequest,
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
    assert_eq!(newest(&sandbox, &patients[..1]).await?, all(1, "profile.read", "", "HOPERAT"));

    for patient in patients {
        tie(&mut admin, &nurse, "care-team", patient).await?;
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
    nina.client.open_break_glass(request).await?;
    assert_eq!(newest(&sandbox, &patients[..1]).await?, all(1, "emergency.open", "life-threat", "ETREAT"));
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
    assert_eq!(admin.client.import_users(request).await?.into_inner().imported, 3);
    let patients = patients.each_ref().map(String::as_str);
    assert_eq!(newest(&sandbox, &patients).await?, all(2, "users.manage", "import", "HOPERAT"));
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
    let request = nina.request(EndAssignmentRequest { assignment_id: none.clone(), at: None });
    assert!(nina.client.end_assignment(request).await.is_err());
    let records = about(&sandbox, "").await?;
    let tried: Vec<_> = records.iter().filter(|record| record.detail.ends_with(&none)).collect();
    assert_eq!(tried.len(), 2);
    assert!(tried.iter().all(|record| record.patient_id.is_empty() && !record.denied.is_empty()));
    Ok(())
}
