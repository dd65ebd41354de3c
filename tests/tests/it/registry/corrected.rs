//! Assignments that are ended before now: what is acknowledged is in the way, written or not.

use super::{
    Asking,
    devices::{assign, claim, monitor, register, write},
    ends, grant, person, refusal, refused, tie,
};
use anyhow::Context;
use auth::demo_person;
use guard::{clock, convert};
use model::{DeviceId, Nanos, PatientId, StreamId};
use node::services::{ALL, INGEST, REGISTRY};
use proto::operations::v1::{SearchAuditLogRequest, audit_service_client::AuditServiceClient};
use proto::prost_types::FieldMask;
use proto::registry::v1::{
    Assignment, CreateRetractionRequest, DeleteUserRequest, EndAssignmentRequest, EndRetractionRequest, Retraction,
    UpdateUserRequest, User,
};
use tests::{
    Bed, Sandbox,
    builders::{self, pulse, reading},
    with_token,
};
use tonic::Code;
use uuid::Uuid;

/// A device that sends for a patient, whom a nurse treats.
struct Monitored {
    device_id: String,
    token: String,
    nurse: Uuid,
    patient: User,
    assigned: Assignment,
    bed: Bed,
}

/// A new one, assigned from a time on (in seconds since 1970).
async fn monitored(sandbox: &Sandbox, from: i64) -> anyhow::Result<Monitored> {
    let mut integrator = Asking::demo(sandbox, "device-integrator").await?;
    let mut admin = Asking::demo(sandbox, "administrator").await?;
    let made = register(&mut integrator, monitor("")).await?.into_inner();
    let device_id = made.device.context("a device")?.device_id;
    let token = claim(sandbox, &device_id, &made.claim_code).await??.token;
    let nurse = person(&mut admin, "Nina Nurse", false).await?;
    grant(&mut admin, &nurse.user_id, "nurse").await?;
    let patient = person(&mut admin, "A", true).await?;
    tie(&mut admin, &nurse.user_id, "care-team", patient.patient_id()).await?;
    let nurse: Uuid = nurse.user_id.parse()?;
    let mut nursing = Asking::user(sandbox, nurse).await?;
    let assigned = assign(&mut nursing, &device_id, patient.patient_id(), (from, 0)).await?;
    let bed = Bed {
        device: DeviceId::new(device_id.parse()?),
        patient: PatientId::new(patient.patient_id().parse()?),
        stream: StreamId::new(Uuid::new_v4()),
    };
    Ok(Monitored { device_id, token, nurse, patient, assigned, bed })
}

#[tokio::test]
async fn what_is_acknowledged_is_in_the_way_before_it_is_written() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::with(0, &[], &[INGEST, REGISTRY]).await?; // nobody writes
    let now = clock::now().0 / Nanos::SECOND;
    let Monitored { device_id, token, nurse, patient, assigned, bed } = monitored(&sandbox, now - 3_600).await?;
    let mut nursing = Asking::user(&sandbox, nurse).await?;
    assert_eq!(write(&sandbox, &token, &bed, 1).await??.accepted_readings, 1);
    let earlier = || EndAssignmentRequest {
        assignment_id: assigned.assignment_id.clone(),
        at: Some(convert::timestamp(Nanos((now - 60) * Nanos::SECOND))),
        ..Default::default()
    };
    let request = nursing.request(earlier());
    refused!(nursing.client.end_assignment(request).await, Unavailable, "READINGS_NOT_WRITTEN");

    sandbox.stop().await?;
    sandbox.set_services(&ALL);
    sandbox.run().await?;
    let mut nursing = Asking::user(&sandbox, nurse).await?;
    let request = nursing.request(earlier());
    refused!(nursing.client.end_assignment(request).await, FailedPrecondition, "READINGS_IN_THE_WAY");

    // what has been retracted is not, nor what a clock shows that is years ahead
    let future = pulse(61.0, Nanos((now + 400 * 86_400) * Nanos::SECOND));
    let request = with_token(builders::write(&bed, 2, vec![future]), &token)?;
    assert_eq!(sandbox.ingest().await?.write_readings(request).await?.into_inner().accepted_readings, 1);
    let retraction = Retraction {
        patient_id: patient.patient_id().to_owned(),
        start_time: Some(convert::timestamp(Nanos((now - 60) * Nanos::SECOND))),
        end_time: Some(convert::timestamp(Nanos((now + 60) * Nanos::SECOND))),
        reason: "the monitor stood at another bed".into(),
        ..Retraction::default()
    };
    let request = nursing.request(CreateRetractionRequest { retraction: Some(retraction) });
    let made = nursing.client.create_retraction(request).await?.into_inner().retraction.context("a retraction")?;
    let request = nursing.request(earlier());
    nursing.client.end_assignment(request).await?;
    // for as long as the device was not the patient's then: they would be shown as the patient's again
    let count_again = || EndRetractionRequest {
        patient_id: made.patient_id.clone(),
        retraction_id: made.retraction_id.clone(),
        ..Default::default()
    };
    let request = nursing.request(count_again());
    let field = refused!(nursing.client.end_retraction(request).await, FailedPrecondition, "READINGS_IN_THE_WAY");
    assert_eq!(field, "retraction_id");

    // from now on one ends, whether somebody writes or not
    let assigned = assign(&mut nursing, &device_id, patient.patient_id(), (now - 30, 0)).await?;
    let request = nursing.request(count_again());
    nursing.client.end_retraction(request).await?;
    sandbox.stop().await?;
    sandbox.set_services(&[INGEST, REGISTRY]);
    sandbox.run().await?;
    assert_eq!(write(&sandbox, &token, &bed, 3).await??.accepted_readings, 1);
    let mut nursing = Asking::user(&sandbox, nurse).await?;
    let request =
        nursing.request(EndAssignmentRequest { assignment_id: assigned.assignment_id, at: None, ..Default::default() });
    let ended = nursing.client.end_assignment(request).await?.into_inner().assignment.context("an assignment")?;
    assert!(ended.end_time.is_some());
    Ok(())
}

#[tokio::test]
async fn who_deletes_a_patient_ends_what_devices_send_for_the_patient() -> anyhow::Result<()> {
    ends_what_devices_send(true).await
}

#[tokio::test]
async fn who_takes_a_patient_id_away_ends_what_devices_send_for_the_patient() -> anyhow::Result<()> {
    ends_what_devices_send(false).await
}

/// A patient is deleted, or has no patient id any more.
async fn ends_what_devices_send(is_deleted: bool) -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let now = || clock::now().0 / Nanos::SECOND;
    let Monitored { device_id, token, nurse, patient, assigned, bed } = monitored(&sandbox, now() - 3_600).await?;
    assert_eq!(write(&sandbox, &token, &bed, 1).await??.accepted_readings, 1);
    let user_id = patient.user_id.clone();
    if is_deleted {
        let request = admin.request(DeleteUserRequest { user_id, etag: String::new() });
        admin.client.delete_user(request).await?;
    } else {
        let update_mask = Some(FieldMask { paths: vec!["patient_id".into(), "ward".into()] });
        let user = Some(User { user_id, ..User::default() });
        let request = admin.request(UpdateUserRequest { user, update_mask });
        admin.client.update_user(request).await?;
    }
    assert_eq!(write(&sandbox, &token, &bed, 2).await??.refused[0].reason, "NOT_ASSIGNED");

    // as if it had been ended alone
    let mut log = AuditServiceClient::new(sandbox.channel().await?);
    let request = SearchAuditLogRequest { patient_id: patient.patient_id().to_owned(), ..Default::default() };
    let records = log.search_audit_log(sandbox.as_person("auditor", request)?).await?.into_inner().records;
    let end = format!("end {}", assigned.assignment_id);
    let ends = records.iter().filter(|record| record.detail == end);
    let ends: Vec<_> = ends.map(|record| (record.subject.as_str(), record.action.as_str(), &*record.denied)).collect();
    let administrator = format!("user:{}", demo_person("administrator").context("nobody")?.uuid());
    assert_eq!(ends, [(administrator.as_str(), "device.assign", "")]);

    // the device is free for another patient
    let other = person(&mut admin, "B", true).await?;
    tie(&mut admin, &nurse.to_string(), "care-team", other.patient_id()).await?;
    let mut nursing = Asking::user(&sandbox, nurse).await?;
    assign(&mut nursing, &device_id, other.patient_id(), (now() + 1, 0)).await?;
    Ok(())
}

#[tokio::test]
async fn one_does_not_end_in_the_middle_of_what_lasts() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let now = clock::now().0 / Nanos::SECOND;
    let Monitored { token, nurse, assigned, bed, .. } = monitored(&sandbox, now - 10_800).await?;
    // begun in an earlier hour than that in which it ends
    let [from, until] = [9_000, 3_000].map(|ago| Nanos((now - ago) * Nanos::SECOND));
    let steps = proto::telemetry::v1::Reading {
        measured_until: Some(convert::timestamp(until)),
        ..reading("55423-8", "", 500.0, from)
    };
    let request = with_token(builders::write(&bed, 1, vec![steps]), &token)?;
    assert_eq!(sandbox.ingest().await?.write_readings(request).await?.into_inner().accepted_readings, 1);
    let mut nursing = Asking::user(&sandbox, nurse).await?;
    for (ago, may) in [(9_000, false), (8_999, false), (3_600, false), (3_001, false), (3_000, true)] {
        ends(&mut nursing, &assigned.assignment_id, now - ago, may).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_lasts_beyond_the_end_of_an_assignment_does_not_count_again() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let now = clock::now().0 / Nanos::SECOND;
    let Monitored { device_id, token, nurse, patient, assigned, bed } = monitored(&sandbox, now - 10_800).await?;
    let ago = |seconds: i64| Some(convert::timestamp(Nanos((now - seconds) * Nanos::SECOND)));
    let begun = Nanos((now - 600) * Nanos::SECOND);
    let steps = proto::telemetry::v1::Reading { measured_until: ago(300), ..reading("55423-8", "", 500.0, begun) };
    let request = with_token(builders::write(&bed, 1, vec![steps.clone()]), &token)?;
    assert_eq!(sandbox.ingest().await?.write_readings(request).await?.into_inner().accepted_readings, 1);
    let retraction = Retraction {
        patient_id: patient.patient_id().to_owned(),
        start_time: ago(601),
        end_time: ago(599),
        reason: "the watch was somebody else's".into(),
        ..Retraction::default()
    };
    let mut nursing = Asking::user(&sandbox, nurse).await?;
    let request = nursing.request(CreateRetractionRequest { retraction: Some(retraction) });
    let made = nursing.client.create_retraction(request).await?.into_inner().retraction.context("a retraction")?;
    let assignment_id = assigned.assignment_id;
    let request = nursing.request(EndAssignmentRequest { assignment_id, at: ago(400), ..Default::default() });
    nursing.client.end_assignment(request).await?;
    let count_again = || EndRetractionRequest {
        patient_id: made.patient_id.clone(),
        retraction_id: made.retraction_id.clone(),
        ..Default::default()
    };
    let request = nursing.request(count_again());
    refused!(nursing.client.end_retraction(request).await, FailedPrecondition, "READINGS_IN_THE_WAY");
    // nor would it be taken now
    let request = with_token(builders::write(&bed, 2, vec![steps]), &token)?;
    let refused = sandbox.ingest().await?.write_readings(request).await?.into_inner().refused;
    assert_eq!((&*refused[0].reason, &*refused[0].field), ("NOT_ASSIGNED", "readings[0].measured_until"));

    // the patient's without a gap
    assign(&mut nursing, &device_id, patient.patient_id(), (now - 400, 0)).await?;
    let request = nursing.request(count_again());
    nursing.client.end_retraction(request).await?;
    Ok(())
}
