//! One grant, relation, consent or assignment by its id: for those to whom the list shows it, for others as if there were none.

use super::{Asking, grant, person, refusal, tie};
use anyhow::Context;
use proto::registry::v1::{
    Assignment, Consent, CreateAssignmentRequest, CreateConsentRequest, CreateDeviceRequest, Device,
    GetAssignmentRequest, GetAssignmentResponse, GetConsentRequest, GetConsentResponse, GetGrantRequest,
    GetRelationRequest,
};
use tests::Sandbox;
use tonic::{Code, Response, Status};
use uuid::Uuid;

/// Asserts that two answers are the same refusal, and with which code.
fn same<T>(hidden: Result<T, Status>, missing: Result<T, Status>, code: Code) -> anyhow::Result<()> {
    let (hidden, missing) = (hidden.err().context("it is shown")?, missing.err().context("one that is none is shown")?);
    assert_eq!((hidden.code(), hidden.message()), (missing.code(), missing.message()));
    assert_eq!(hidden.code(), code);
    Ok(())
}

fn missing() -> String {
    Uuid::new_v4().to_string()
}

/// A new person of the registry with these roles.
async fn with_roles(sandbox: &Sandbox, admin: &mut Asking, roles: &[&str]) -> anyhow::Result<(Asking, String)> {
    let user_id = person(admin, "Somebody", false).await?.user_id;
    for role in roles {
        grant(admin, &user_id, role).await?;
    }
    Ok((Asking::user(sandbox, user_id.parse()?).await?, user_id))
}

async fn assignment(asking: &mut Asking, id: &str) -> Result<Response<GetAssignmentResponse>, Status> {
    let request = asking.request(GetAssignmentRequest { assignment_id: id.to_owned() });
    asking.client.get_assignment(request).await
}

async fn consent(asking: &mut Asking, patient: &str, id: &str) -> Result<Response<GetConsentResponse>, Status> {
    let request = asking.request(GetConsentRequest { patient_id: patient.to_owned(), consent_id: id.to_owned() });
    asking.client.get_consent(request).await
}

#[tokio::test]
async fn a_grant_and_a_relation_are_shown_to_who_manages_them() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let (mut nurse, nurse_id) = with_roles(&sandbox, &mut admin, &["nurse"]).await?;
    let patient = person(&mut admin, "P", true).await?;
    let (granted, related) = (
        grant(&mut admin, &nurse_id, "auditor").await?,
        tie(&mut admin, &nurse_id, "care-team", patient.patient_id()).await?,
    );
    let get_grant = async |asking: &mut Asking, id: &str| {
        let request = asking.request(GetGrantRequest { grant_id: id.to_owned() });
        asking.client.get_grant(request).await
    };
    let get_relation = async |asking: &mut Asking, id: &str| {
        let request = asking.request(GetRelationRequest { relation_id: id.to_owned() });
        asking.client.get_relation(request).await
    };
    assert!(get_grant(&mut admin, &granted.grant_id).await?.into_inner().grant.as_ref() == Some(&granted));
    assert!(get_relation(&mut admin, &related.relation_id).await?.into_inner().relation.as_ref() == Some(&related));
    let (code, reason, _) = refusal(get_grant(&mut admin, &missing()).await)?;
    assert_eq!((code, reason.as_str()), (Code::NotFound, "NOT_FOUND"));
    let (code, reason, _) = refusal(get_relation(&mut admin, &missing()).await)?;
    assert_eq!((code, reason.as_str()), (Code::NotFound, "NOT_FOUND"));
    let (code, _, field) = refusal(get_relation(&mut admin, "none").await)?;
    assert_eq!((code, field.as_str()), (Code::InvalidArgument, "relation_id"));
    // their own, too
    let (hidden, none) = (get_grant(&mut nurse, &granted.grant_id).await, get_grant(&mut nurse, &missing()).await);
    same(hidden, none, Code::PermissionDenied)?;
    let hidden = get_relation(&mut nurse, &related.relation_id).await;
    same(hidden, get_relation(&mut nurse, &missing()).await, Code::PermissionDenied)
}

#[tokio::test]
async fn a_consent_is_shown_to_its_patient() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let mut patients = Vec::new();
    for name in ["Pat", "Otto"] {
        let patient = person(&mut admin, name, true).await?;
        grant(&mut admin, &patient.user_id, "patient").await?;
        patients.push((Asking::user(&sandbox, patient.user_id.parse()?).await?, patient.patient_id().to_owned()));
    }
    let (mut other, others_id) = patients.pop().context("two patients")?;
    let (mut patient, own_id) = patients.pop().context("two patients")?;
    let wanted = Consent { patient_id: own_id.clone(), bars: "anyone".into(), ..Consent::default() };
    let request = patient.request(CreateConsentRequest { consent: Some(wanted) });
    let made = patient.client.create_consent(request).await?.into_inner().consent.context("a consent")?;
    let id = made.consent_id.clone();
    assert!(consent(&mut patient, &own_id, &id).await?.into_inner().consent == Some(made));
    // by their own patient, and by the one whose it is
    for patient_id in [&others_id, &own_id] {
        let hidden = consent(&mut other, patient_id, &id).await;
        same(hidden, consent(&mut other, patient_id, &missing()).await, Code::NotFound)?;
    }
    let hidden = consent(&mut other, &own_id, &id).await;
    same(hidden, consent(&mut other, &missing(), &id).await, Code::NotFound)
}

#[tokio::test]
async fn an_assignment_is_shown_by_its_patient_or_its_device() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let patient = person(&mut admin, "P", true).await?;
    let (mut nurse, nurse_id) = with_roles(&sandbox, &mut admin, &["nurse"]).await?;
    tie(&mut admin, &nurse_id, "care-team", patient.patient_id()).await?;
    let device = Device { name: Some("Monitor".into()), ..Device::default() };
    let request = integrator.request(CreateDeviceRequest { device: Some(device) });
    let device = integrator.client.create_device(request).await?.into_inner().device.context("a device")?;
    let (device_id, patient_id) = (device.device_id, patient.patient_id().to_owned());
    let wanted = Assignment { device_id, patient_id, ..Assignment::default() };
    let request = nurse.request(CreateAssignmentRequest { assignment: Some(wanted) });
    let made = nurse.client.create_assignment(request).await?.into_inner().assignment.context("an assignment")?;
    let id = made.assignment_id.clone();

    for asking in [&mut nurse, &mut integrator, &mut admin] {
        assert!(assignment(asking, &id).await?.into_inner().assignment.as_ref() == Some(&made));
    }
    for (roles, code) in [
        (&["nurse"][..], Code::NotFound),
        (&["device-integrator"], Code::NotFound),
        (&["nurse", "device-integrator"], Code::NotFound),
        (&["patient"], Code::PermissionDenied),
    ] {
        let (mut stranger, _) = with_roles(&sandbox, &mut admin, roles).await?;
        let hidden = assignment(&mut stranger, &id).await;
        same(hidden, assignment(&mut stranger, &missing()).await, code).with_context(|| format!("{roles:?}"))?;
    }
    Ok(())
}
