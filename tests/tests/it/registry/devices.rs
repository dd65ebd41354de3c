//! Devices: registered, claimed, assigned, rotated and revoked.

use super::{Asking, ends, grant, person, refusal, refused, tie};
use anyhow::Context;
use guard::convert;
use model::{DeviceId, PatientId, StreamId};
use proto::{
    registry::v1::{
        Assignment, ClaimDeviceRequest, ClaimDeviceResponse, CreateAssignmentRequest, CreateDeviceRequest,
        CreateDeviceResponse, Device, EndAssignmentRequest, GetDeviceRequest, ListAssignmentsRequest,
        ListDevicesRequest, RenewDeviceTokenRequest, ReportDeviceRequest, RevokeDeviceRequest, RotateDeviceRequest,
        UpdateDeviceRequest, enrolment_service_client::EnrolmentServiceClient,
    },
    telemetry::v1::WriteReadingsResponse,
};
use std::time::Duration;
use tests::{
    Bed, Sandbox,
    builders::{self, pulse},
    identified,
    line::{Line, Problem},
    wait::until,
    with_token,
};
use tokio::time::Instant;
use tonic::{Code, Response, Status};
use uuid::Uuid;

/// How soon a revocation counts on open streams.
const EFFECT: Duration = Duration::from_secs(5);

pub(super) fn monitor(mac: &str) -> Device {
    Device {
        name: Some("Monitor 7".into()),
        mac: Some(mac.into()),
        model: Some("M-7".into()),
        mdc_type: Some("528391".into()),
        ..Device::default()
    }
}

pub(super) async fn register(asking: &mut Asking, device: Device) -> Result<Response<CreateDeviceResponse>, Status> {
    let request = asking.request(CreateDeviceRequest { device: Some(device) });
    asking.client.create_device(request).await
}

pub(super) async fn claim(
    sandbox: &Sandbox,
    device_id: &str,
    code: &str,
) -> anyhow::Result<Result<ClaimDeviceResponse, Status>> {
    let mut client = EnrolmentServiceClient::new(sandbox.channel().await?);
    let (device_id, claim_code) = (device_id.to_owned(), code.to_owned());
    let answer =
        client.claim_device(identified(ClaimDeviceRequest { device_id, claim_code, csr: String::new() })?).await;
    Ok(answer.map(Response::into_inner))
}

pub(super) async fn assign(
    asking: &mut Asking,
    device_id: &str,
    patient_id: &str,
    from_to: (i64, i64),
) -> Result<Assignment, Status> {
    let instant = |seconds: i64| Some(convert::timestamp(model::Nanos(seconds * model::Nanos::SECOND)));
    let (device_id, patient_id) = (device_id.to_owned(), patient_id.to_owned());
    let to = if from_to.1 == 0 { None } else { instant(from_to.1) };
    let assignment =
        Assignment { device_id, patient_id, start_time: instant(from_to.0), end_time: to, ..Assignment::default() };
    let request = asking.request(CreateAssignmentRequest { assignment: Some(assignment) });
    Ok(asking.client.create_assignment(request).await?.into_inner().assignment.unwrap_or_default())
}

pub(super) async fn write(
    sandbox: &Sandbox,
    token: &str,
    bed: &Bed,
    sequence: u64,
) -> anyhow::Result<Result<WriteReadingsResponse, Status>> {
    let request = with_token(builders::write(bed, sequence, vec![pulse(60.0, guard::clock::now())]), token)?;
    Ok(sandbox.ingest().await?.write_readings(request).await.map(Response::into_inner))
}

#[tokio::test]
async fn a_device_is_registered_claimed_assigned_and_revoked() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let made = register(&mut integrator, monitor("00-00-5E-00-53-01")).await?.into_inner();
    let device = made.device.context("a device")?;
    assert_eq!((device.mac(), device.status.as_str()), ("00:00:5e:00:53:01", "registered"));

    let mut answers = Vec::new();
    for (id, code) in [
        (&device.device_id, "WRONG-WRONG"),
        (&Uuid::new_v4().to_string(), made.claim_code.as_str()),
        (&device.device_id, ""),
    ] {
        let refused = claim(&sandbox, id, code).await?.err().context("a refusal")?;
        assert_eq!(refused.code(), Code::Unauthenticated);
        answers.push((refused.message().to_owned(), refused.details().to_vec()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "nobody learns which devices there are");
    let claimed = claim(&sandbox, &device.device_id, &made.claim_code.to_lowercase()).await??;
    assert!(claim(&sandbox, &device.device_id, &made.claim_code).await?.is_err(), "a code serves once");

    let nurse = person(&mut admin, "Nina Nurse", false).await?;
    grant(&mut admin, &nurse.user_id, "nurse").await?;
    let [first, second] = [person(&mut admin, "A", true).await?, person(&mut admin, "B", true).await?];
    for patient in [&first, &second] {
        tie(&mut admin, &nurse.user_id, "care-team", patient.patient_id()).await?;
    }
    let bed = Bed {
        device: DeviceId::new(device.device_id.parse()?),
        patient: PatientId::new(first.patient_id().parse()?),
        stream: StreamId::new(Uuid::new_v4()),
    };
    let mut nursing = Asking::user(&sandbox, nurse.user_id.parse()?).await?;
    let now = guard::clock::now().0 / model::Nanos::SECOND;
    assert_eq!(write(&sandbox, &claimed.token, &bed, 1).await??.refused[0].reason, "NOT_ASSIGNED");
    // the bed's monitor changed patients an hour ago
    let earlier = assign(&mut nursing, &device.device_id, first.patient_id(), (now - 7_200, now - 3_600)).await?;
    let current = assign(&mut nursing, &device.device_id, second.patient_id(), (now - 3_600, 0)).await?;
    let overlapping = assign(&mut nursing, &device.device_id, first.patient_id(), (now - 60, 0)).await;
    refused!(overlapping.map(Response::new), AlreadyExists, "ASSIGNMENT_OVERLAPS");
    let theirs = assign(&mut nursing, &device.device_id, &Uuid::new_v4().to_string(), (now, 0)).await;
    assert_eq!(theirs.err().map(|status| status.code()), Some(Code::NotFound));
    let nothing = assign(&mut nursing, &Uuid::new_v4().to_string(), first.patient_id(), (now, 0)).await;
    refused!(nothing.map(Response::new), NotFound, "NO_SUCH_DEVICE");

    let readings =
        [5_400, 1_800].map(|ago| pulse(ago as f64 / 100.0, model::Nanos((now - ago) * model::Nanos::SECOND)));
    let request = with_token(builders::write(&bed, 2, readings.to_vec()), &claimed.token)?;
    assert_eq!(sandbox.ingest().await?.write_readings(request).await?.into_inner().accepted_readings, 2);
    for (patient, number) in [(&first, 54.0), (&second, 18.0)] {
        let bed = Bed { patient: PatientId::new(patient.patient_id().parse()?), ..bed };
        let read = async || {
            let token = sandbox.issuer()?.user_token(model::UserId::new(nurse.user_id.parse()?))?;
            let request = with_token(builders::everything(&bed), &token)?;
            let readings = sandbox.timeline().await?.read_timeline(request).await?.into_inner().readings;
            Ok(readings
                .iter()
                .map(|reading| format!("{:?}", reading.value.as_ref().map(number_of)))
                .collect::<Vec<_>>())
        };
        let seen = until("the patient's own reading", read, |seen| !seen.is_empty()).await?;
        assert_eq!(seen, [format!("{:?}", Some(number))], "each reading goes to the patient of its own time");
    }

    // what is kept as the first patient's stays so: it was taken an hour and a half ago
    for (ago, may) in [(6_000, false), (5_400, false), (5_000, true)] {
        ends(&mut nursing, &earlier.assignment_id, now - ago, may).await?;
    }

    let mut itself = Asking::with(&sandbox, claimed.token.clone()).await?;
    let report = ReportDeviceRequest { firmware_version: "1.2.3".into(), software_version: String::new() };
    let request = itself.request(report);
    let reported = itself.client.report_device(request).await?.into_inner().device.context("a device")?;
    assert_eq!((reported.firmware_version.as_str(), reported.status.as_str()), ("1.2.3", "active"));
    let request = itself.request(RenewDeviceTokenRequest::default());
    let renewed = itself.client.renew_device_token(request).await?.into_inner().token;
    assert_eq!(write(&sandbox, &renewed, &bed, 3).await??.accepted_readings, 1);
    let request =
        nursing.request(EndAssignmentRequest { assignment_id: current.assignment_id, at: None, ..Default::default() });
    nursing.client.end_assignment(request).await?;
    assert_eq!(write(&sandbox, &renewed, &bed, 4).await??.refused[0].reason, "NOT_ASSIGNED");
    Ok(())
}

fn number_of(value: &proto::telemetry::v1::stored_reading::Value) -> f64 {
    match value {
        proto::telemetry::v1::stored_reading::Value::Number(number) => *number,
        _ => f64::NAN,
    }
}

#[tokio::test]
async fn rotation_and_revocation_reach_open_streams_within_seconds() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    for revoke in [false, true] {
        let made = register(&mut integrator, monitor("")).await?.into_inner();
        let device_id = made.device.context("a device")?.device_id;
        let token = claim(&sandbox, &device_id, &made.claim_code).await??.token;
        let id = Uuid::new_v4();
        let bed =
            Bed { device: DeviceId::new(device_id.parse()?), patient: PatientId::new(id), stream: StreamId::new(id) };
        let (line, _) = Line::open(sandbox.ingest().await?, &token, &bed, 0).await?;
        let began = Instant::now();
        let code = if revoke {
            let request = integrator.request(RevokeDeviceRequest {
                device_id: device_id.clone(),
                retire: false,
                ..Default::default()
            });
            let device = integrator.client.revoke_device(request).await?.into_inner().device.context("a device")?;
            assert_eq!(device.status, "revoked");
            None
        } else {
            let request =
                integrator.request(RotateDeviceRequest { device_id: device_id.clone(), ..Default::default() });
            Some(integrator.client.rotate_device(request).await?.into_inner().claim_code)
        };
        let (.., ended) = line.until_end().await?;
        let problem = Problem::of(&ended.context("an end with a status")?);
        assert_eq!((problem.code, problem.reason.as_str()), (Code::PermissionDenied, "DEVICE_REVOKED"));
        assert!(began.elapsed() < EFFECT, "{:?}", began.elapsed());
        assert!(write(&sandbox, &token, &bed, 1).await?.is_err(), "the old token opens nothing");
        let mut itself = Asking::with(&sandbox, token.clone()).await?;
        let request = itself.request(RenewDeviceTokenRequest::default());
        refused!(itself.client.renew_device_token(request).await, PermissionDenied, "DEVICE_REVOKED");
        if let Some(code) = code {
            let next = claim(&sandbox, &device_id, &code).await??.token;
            assert_eq!(write(&sandbox, &next, &bed, 1).await??.refused[0].reason, "NOT_ASSIGNED");
            assert!(write(&sandbox, &token, &bed, 2).await?.is_err(), "the next token does not bring the old one back");
        } else {
            assert!(claim(&sandbox, &device_id, &made.claim_code).await?.is_err());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_fleet_is_its_integrators_and_addresses_are_unique() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let mut first = Asking::demo(&sandbox, "device-integrator").await?;
    let other = person(&mut admin, "Ivo Integrator", false).await?;
    grant(&mut admin, &other.user_id, "device-integrator").await?;
    let mut second = Asking::user(&sandbox, other.user_id.parse()?).await?;
    let mine = register(&mut first, monitor("00:00:5e:00:53:01")).await?.into_inner().device.context("a device")?;
    let taken = register(&mut second, monitor("00-00-5e-00-53-01")).await;
    assert_eq!(refused!(taken, AlreadyExists, "MAC_TAKEN"), "mac");
    for (device, field) in [
        (monitor("00:00:5e:00:53"), "mac"),
        (Device { name: None, ..monitor("") }, "device.name"),
        (Device { mdc_type: Some("MDC".into()), ..monitor("") }, "device.mdc_type"),
        (Device { device_id: "7".into(), ..monitor("") }, "device.device_id"),
    ] {
        assert_eq!(refusal(register(&mut first, device).await)?.2, field);
    }
    let device_id = mine.device_id.clone();
    let hidden = second.request(GetDeviceRequest { device_id: device_id.clone() });
    let missing = second.request(GetDeviceRequest { device_id: Uuid::new_v4().to_string() });
    let hidden = second.client.get_device(hidden).await.err().context("a refusal")?;
    let missing = second.client.get_device(missing).await.err().context("a refusal")?;
    assert_eq!(
        (hidden.code(), hidden.message(), hidden.details()),
        (missing.code(), missing.message(), missing.details())
    );
    let mut listed = Vec::new();
    for asking in [&mut first, &mut second, &mut admin] {
        let request =
            asking.request(ListDevicesRequest { filter: "status=\"registered\"".into(), ..Default::default() });
        listed.push(asking.client.list_devices(request).await?.into_inner().devices.len());
    }
    assert_eq!(listed, [1, 0, 1]);
    // a retired device's address is free
    let request = first.request(RevokeDeviceRequest { device_id, retire: true, ..Default::default() });
    first.client.revoke_device(request).await?;
    assert!(register(&mut second, monitor("00:00:5e:00:53:01")).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn only_its_integrator_changes_a_device_and_not_a_stale_one() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let mut first = Asking::demo(&sandbox, "device-integrator").await?;
    let other = person(&mut admin, "Ivo Integrator", false).await?;
    grant(&mut admin, &other.user_id, "device-integrator").await?;
    let mut second = Asking::user(&sandbox, other.user_id.parse()?).await?;
    let mine = register(&mut first, monitor("00:00:5e:00:53:01")).await?.into_inner().device.context("a device")?;
    for device_id in [mine.device_id.clone(), Uuid::new_v4().to_string()] {
        let device = Device { device_id: device_id.clone(), ..monitor("") };
        let request = second.request(UpdateDeviceRequest { device: Some(device), update_mask: None });
        refused!(second.client.update_device(request).await, NotFound, "NOT_FOUND");
        let request = second.request(RotateDeviceRequest { device_id: device_id.clone(), ..Default::default() });
        refused!(second.client.rotate_device(request).await, NotFound, "NOT_FOUND");
        let request =
            second.request(RevokeDeviceRequest { device_id: device_id.clone(), retire: true, ..Default::default() });
        refused!(second.client.revoke_device(request).await, NotFound, "NOT_FOUND");
        let request =
            second.request(ListAssignmentsRequest { device_id, patient_id: String::new(), ..Default::default() });
        refused!(second.client.list_assignments(request).await, NotFound, "NOT_FOUND");
    }
    // with another address the first one is free; a stale tag changes nothing
    let moved = Device { device_id: mine.device_id.clone(), etag: mine.etag, ..monitor("00:00:5e:00:53:02") };
    let update = || UpdateDeviceRequest { device: Some(moved.clone()), update_mask: None };
    let request = first.request(update());
    first.client.update_device(request).await?;
    let request = first.request(update());
    refused!(first.client.update_device(request).await, Aborted, "ETAG_MISMATCH");
    assert!(register(&mut second, monitor("00:00:5e:00:53:01")).await.is_ok());
    let taken = Device { etag: String::new(), ..Device { mac: Some("00:00:5e:00:53:01".into()), ..moved.clone() } };
    let request = first.request(UpdateDeviceRequest { device: Some(taken), update_mask: None });
    refused!(first.client.update_device(request).await, AlreadyExists, "MAC_TAKEN");
    Ok(())
}

#[tokio::test]
async fn a_code_that_was_taken_back_claims_nothing_and_what_is_retired_stays_so() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    for retire in [false, true] {
        let made = register(&mut integrator, monitor("")).await?.into_inner();
        let device_id = made.device.context("a device")?.device_id;
        let request = integrator.request(RotateDeviceRequest { device_id: device_id.clone(), ..Default::default() });
        let rotated = integrator.client.rotate_device(request).await?.into_inner().claim_code;
        assert!(claim(&sandbox, &device_id, &made.claim_code).await?.is_err(), "the next code is in its place");
        let request =
            integrator.request(RevokeDeviceRequest { device_id: device_id.clone(), retire, ..Default::default() });
        integrator.client.revoke_device(request).await?;
        assert!(claim(&sandbox, &device_id, &rotated).await?.is_err(), "it was never used, and is good for nothing");
        let request = integrator.request(RotateDeviceRequest { device_id: device_id.clone(), ..Default::default() });
        let again = integrator.client.rotate_device(request).await;
        if !retire {
            let code = again?.into_inner().claim_code;
            let mut itself = Asking::with(&sandbox, claim(&sandbox, &device_id, &code).await??.token).await?;
            let request = itself.request(RenewDeviceTokenRequest::default());
            itself.client.renew_device_token(request).await.context("a token counts from the start")?;
            continue;
        }
        refused!(again, FailedPrecondition, "RETIRED");
        let request = integrator.request(RevokeDeviceRequest { device_id, retire: false, ..Default::default() });
        refused!(integrator.client.revoke_device(request).await, FailedPrecondition, "RETIRED");
    }
    Ok(())
}

#[tokio::test]
async fn an_assignment_is_ended_by_who_cares_for_the_patient_and_never_made_longer() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let [patient, other] = [person(&mut admin, "P", true).await?, person(&mut admin, "O", true).await?];
    let mut nurses = Vec::new();
    for patient in [&patient, &other] {
        let nurse = person(&mut admin, "N", false).await?;
        grant(&mut admin, &nurse.user_id, "nurse").await?;
        tie(&mut admin, &nurse.user_id, "care-team", patient.patient_id()).await?;
        nurses.push(Asking::user(&sandbox, nurse.user_id.parse()?).await?);
    }
    let mut ids = Vec::new();
    for (nurse, patient) in nurses.iter_mut().zip([&patient, &other]) {
        let device = register(&mut integrator, monitor("")).await?.into_inner().device.context("a device")?;
        let made = assign(nurse, &device.device_id, patient.patient_id(), (1_000, 2_000)).await?;
        ids.push(made.assignment_id);
    }
    let end = async |asking: &mut Asking, id: &str, seconds: i64| {
        let at = Some(convert::timestamp(model::Nanos(seconds * model::Nanos::SECOND)));
        let request = asking.request(EndAssignmentRequest { assignment_id: id.to_owned(), at, ..Default::default() });
        asking.client.end_assignment(request).await
    };
    let hidden = end(&mut nurses[1], &ids[0], 1_500).await.err().context("a refusal")?;
    let missing = end(&mut nurses[1], &Uuid::new_v4().to_string(), 1_500).await.err().context("a refusal")?;
    assert_eq!((hidden.code(), hidden.message()), (missing.code(), missing.message()));
    assert_eq!(hidden.code(), Code::NotFound);
    for seconds in [1_000, 2_001] {
        let answer = end(&mut nurses[0], &ids[0], seconds).await;
        assert_eq!(refused!(answer, InvalidArgument, "TIME_OUT_OF_RANGE"), "at", "{seconds}");
    }
    end(&mut nurses[0], &ids[0], 1_500).await?;
    for (nurse, patient, own) in [(0, &patient, &ids[0]), (1, &other, &ids[1])] {
        let (device_id, patient_id) = (String::new(), patient.patient_id().to_owned());
        let request = nurses[nurse].request(ListAssignmentsRequest { device_id, patient_id, ..Default::default() });
        let listed = nurses[nurse].client.list_assignments(request).await?.into_inner().assignments;
        assert_eq!(listed.iter().map(|one| &one.assignment_id).collect::<Vec<_>>(), [own]);
    }
    Ok(())
}
