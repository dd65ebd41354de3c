//! Assignments that are ended before now: what is acknowledged is in the way, written or not.

use super::{
    Asking,
    devices::{assign, claim, monitor, register, write},
    grant, person, refusal, refused, tie,
};
use anyhow::Context;
use guard::{clock, convert};
use model::{DeviceId, Nanos, PatientId, StreamId};
use node::services::{ALL, INGEST, REGISTRY};
use proto::registry::v1::{CreateRetractionRequest, EndAssignmentRequest, Retraction};
use tests::{
    Bed, Sandbox,
    builders::{self, pulse},
    with_token,
};
use tonic::Code;
use uuid::Uuid;

#[tokio::test]
async fn what_is_acknowledged_is_in_the_way_before_it_is_written() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::with(0, &[], &[INGEST, REGISTRY]).await?; // nobody writes
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let made = register(&mut integrator, monitor("")).await?.into_inner();
    let device_id = made.device.context("a device")?.device_id;
    let token = claim(&sandbox, &device_id, &made.claim_code).await??.token;
    let nurse = person(&mut admin, "Nina Nurse", false).await?;
    grant(&mut admin, &nurse.user_id, "nurse").await?;
    let patient = person(&mut admin, "A", true).await?;
    tie(&mut admin, &nurse.user_id, "care-team", patient.patient_id()).await?;
    let mut nursing = Asking::user(&sandbox, nurse.user_id.parse()?).await?;
    let now = clock::now().0 / Nanos::SECOND;
    let assigned = assign(&mut nursing, &device_id, patient.patient_id(), (now - 3_600, 0)).await?;
    let bed = Bed {
        device: DeviceId::new(device_id.parse()?),
        patient: PatientId::new(patient.patient_id().parse()?),
        stream: StreamId::new(Uuid::new_v4()),
    };
    assert_eq!(write(&sandbox, &token, &bed, 1).await??.accepted_readings, 1);
    let earlier = || EndAssignmentRequest {
        assignment_id: assigned.assignment_id.clone(),
        at: Some(convert::timestamp(Nanos((now - 60) * Nanos::SECOND))),
    };
    let request = nursing.request(earlier());
    refused!(nursing.client.end_assignment(request).await, Unavailable, "READINGS_NOT_WRITTEN");

    sandbox.stop().await?;
    sandbox.set_services(&ALL);
    sandbox.run().await?;
    let mut nursing = Asking::user(&sandbox, nurse.user_id.parse()?).await?;
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
    nursing.client.create_retraction(request).await?;
    let request = nursing.request(earlier());
    nursing.client.end_assignment(request).await?;

    // from now on one ends, whether somebody writes or not
    let assigned = assign(&mut nursing, &device_id, patient.patient_id(), (now - 30, 0)).await?;
    sandbox.stop().await?;
    sandbox.set_services(&[INGEST, REGISTRY]);
    sandbox.run().await?;
    assert_eq!(write(&sandbox, &token, &bed, 3).await??.accepted_readings, 1);
    let mut nursing = Asking::user(&sandbox, nurse.user_id.parse()?).await?;
    let request = nursing.request(EndAssignmentRequest { assignment_id: assigned.assignment_id, at: None });
    let ended = nursing.client.end_assignment(request).await?.into_inner().assignment.context("an assignment")?;
    assert!(ended.end_time.is_some());
    Ok(())
}
