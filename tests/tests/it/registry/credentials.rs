//! What a device gets with its claim: a token, and a certificate for the key that it made itself.

use super::{Asking, refusal, refused};
use anyhow::Context;
use auth::{DeviceCa, Issued, Requested};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use guard::convert;
use model::{DeviceId, Nanos, PatientId, StreamId};
use proto::{
    registry::v1::{
        ClaimDeviceRequest, CreateDeviceRequest, Device, GetDeviceRequest, RenewDeviceTokenRequest,
        RotateDeviceRequest, enrolment_service_client::EnrolmentServiceClient,
        registry_service_client::RegistryServiceClient,
    },
    telemetry::v1::ingest_service_client::IngestServiceClient,
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tests::{
    Bed, Sandbox,
    builders::{self, pulse},
    line::Problem,
    tls::Secure,
    wait::until,
    with_token,
};
use tonic::{Code, Request, transport::Channel};
use uuid::Uuid;

fn monitor(name: &str) -> Device {
    Device { name: Some(name.into()), ..Device::default() }
}

/// Registers a device on a channel; its id and claim code.
async fn register(channel: Channel, token: &str) -> anyhow::Result<(String, String)> {
    let request = with_token(CreateDeviceRequest { device: Some(monitor("Monitor 7")) }, token)?;
    let made = RegistryServiceClient::new(channel).create_device(request).await?.into_inner();
    Ok((made.device.context("a device")?.device_id, made.claim_code))
}

fn bed(device_id: &str) -> anyhow::Result<Bed> {
    let other = Uuid::new_v4();
    let device = DeviceId::new(device_id.parse()?);
    Ok(Bed { device, patient: PatientId::new(other), stream: StreamId::new(other) })
}

/// What comes of a batch of a device that nobody assigned, with nothing but its certificate.
async fn sent(channel: Channel, device_id: &str, sequence: u64) -> anyhow::Result<String> {
    let message = builders::write(&bed(device_id)?, sequence, vec![pulse(60.0, guard::clock::now())]);
    Ok(match IngestServiceClient::new(channel).write_readings(Request::new(message)).await {
        Ok(answer) => answer.into_inner().refused[0].reason.clone(),
        Err(status) => Problem::of(&status).reason,
    })
}

#[tokio::test]
async fn a_claim_gives_a_certificate_that_serves_until_it_is_rotated() -> anyhow::Result<()> {
    let secure = Secure::start(&[]).await?;
    let issuer = secure.sandbox.issuer()?;
    let integrator = issuer.user_token(auth::demo_person("device-integrator").context("nobody")?)?;
    let (device_id, mut claim_code) = register(secure.channel(None)?, &integrator).await?;
    let Requested { request: csr, key } = DeviceCa::request()?;
    let mut enrolment = EnrolmentServiceClient::new(secure.channel(None)?);
    let claim = |claim_code: &str, csr: &str| ClaimDeviceRequest {
        device_id: device_id.clone(),
        claim_code: claim_code.into(),
        csr: csr.into(),
    };
    let bad = enrolment.claim_device(claim(&claim_code, "no request")).await;
    assert_eq!(refused!(bad, InvalidArgument, "INVALID_CSR"), "csr");

    for round in 1..3 {
        let claimed = enrolment.claim_device(claim(&claim_code, &csr)).await?.into_inner();
        let issued = Issued { certificate: claimed.certificate, key: key.clone(), serial: String::new() };
        let channel = secure.channel(Some(&issued))?;
        assert_eq!(sent(channel.clone(), &device_id, round).await?, "NOT_ASSIGNED", "it is let in, and nobody's yet");
        let request = Request::new(RenewDeviceTokenRequest { csr: csr.clone() });
        let renewed = RegistryServiceClient::new(channel.clone()).renew_device_token(request).await?.into_inner();
        assert!(!renewed.token.is_empty());
        let renewed = Issued { certificate: renewed.certificate, key: key.clone(), serial: String::new() };
        assert_eq!(sent(secure.channel(Some(&renewed))?, &device_id, round + 10).await?, "NOT_ASSIGNED");

        let request =
            with_token(RotateDeviceRequest { device_id: device_id.clone(), ..Default::default() }, &integrator)?;
        let mut registry = RegistryServiceClient::new(secure.channel(None)?);
        claim_code = registry.rotate_device(request).await?.into_inner().claim_code;
        let refused = async || sent(channel.clone(), &device_id, round + 20).await;
        until("the certificate counts no more", refused, |reason| reason == "DEVICE_REVOKED").await?;
    }
    Ok(())
}

/// An Ed25519 key as openssl writes it: private and public half.
fn key_files(dir: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())?;
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref())?;
    // RFC 8410, 4
    let spki = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", pair.public_key().as_ref()].concat();
    let put = |name: &str, label: &str, der: &[u8]| {
        let text = STANDARD.encode(der);
        let path = dir.join(name);
        fs::write(&path, format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"))?;
        anyhow::Ok(path)
    };
    Ok((put("key.pem", "PRIVATE KEY", pkcs8.as_ref())?, put("public.pem", "PUBLIC KEY", &spki)?))
}

#[tokio::test]
async fn a_node_without_an_authority_says_so_and_keeps_the_code() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (key, public) = key_files(dir.path())?;
    let name = "devices.token_issuer=https://wardline.example.org/devices";
    let signing = format!("devices.token_key_file={}", key.display());
    let sandbox = Sandbox::with(0, &[name, &signing], &node::services::ALL).await?;
    let integrator = sandbox.issuer()?.user_token(auth::demo_person("device-integrator").context("nobody")?)?;
    let (device_id, claim_code) = register(sandbox.channel().await?, &integrator).await?;
    let mut enrolment = EnrolmentServiceClient::new(sandbox.channel().await?);
    let claim = |csr: &str| ClaimDeviceRequest {
        device_id: device_id.clone(),
        claim_code: claim_code.clone(),
        csr: csr.into(),
    };
    assert_eq!(refused!(enrolment.claim_device(claim("any")).await, FailedPrecondition, "NO_AUTHORITY"), "csr");
    let claimed = enrolment.claim_device(claim("")).await?.into_inner();
    assert!(claimed.certificate.is_empty());

    // its own issuer's token: good here, and on a node that has only the public half
    let public = format!("devices.token_public_key_files=[\"{}\"]", public.display());
    let other = Sandbox::with(0, &[name, &public], &node::services::ALL).await?;
    other.write_directory("device", &format!("[[device]]\nid = \"{device_id}\"\nmodel = \"m\"\n"))?;
    for node in [&sandbox, &other] {
        let sent = async || {
            let message = builders::write(&bed(&device_id)?, 1, vec![pulse(60.0, guard::clock::now())]);
            let answer = node.ingest().await?.write_readings(with_token(message, &claimed.token)?).await;
            Ok(answer
                .map_or_else(|status| Problem::of(&status).reason, |done| done.into_inner().refused[0].reason.clone()))
        };
        until("the token is believed", sent, |reason| reason == "NOT_ASSIGNED").await?;
    }
    Ok(())
}

#[tokio::test]
async fn it_is_known_when_a_device_was_heard_last() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let (device_id, claim_code) = register(sandbox.channel().await?, &integrator.token).await?;
    let mut enrolment = EnrolmentServiceClient::new(sandbox.channel().await?);
    let claim = ClaimDeviceRequest { device_id: device_id.clone(), claim_code, csr: String::new() };
    let token = enrolment.claim_device(claim).await?.into_inner().token;
    let seen = async || {
        let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
        let request = integrator.request(GetDeviceRequest { device_id: device_id.clone() });
        let device = integrator.client.get_device(request).await?.into_inner().device.context("a device")?;
        Ok(device.last_seen_at.as_ref().and_then(convert::nanos))
    };
    assert_eq!(seen().await?, None);
    let (bed, began) = (bed(&device_id)?, guard::clock::now());
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let patient = super::person(&mut admin, "Pat", true).await?;
    let assignment = proto::registry::v1::Assignment {
        device_id: device_id.clone(),
        patient_id: patient.patient_id().to_owned(),
        start_time: Some(convert::timestamp(Nanos(began.0 - 3_600 * Nanos::SECOND))),
        ..Default::default()
    };
    let mut nursing = Asking::demo(&sandbox, "nurse").await?;
    let request = nursing.request(proto::registry::v1::CreateAssignmentRequest { assignment: Some(assignment) });
    nursing.client.create_assignment(request).await?;
    let message = builders::write(&bed, 1, vec![pulse(60.0, began)]);
    assert_eq!(
        sandbox.ingest().await?.write_readings(with_token(message, &token)?).await?.into_inner().accepted_readings,
        1
    );
    let at = until("the device was seen", seen, Option::is_some).await?.context("a time")?;
    assert!((began..=guard::clock::now()).contains(&at), "{at:?}");
    Ok(())
}
