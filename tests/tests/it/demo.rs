//! The demo's ward: people, patients and devices come into the registry as a hospital's would, once.

use anyhow::Context;
use auth::demo_person;
use client::Remote;
use node::services;
use proto::{
    registry::v1::{
        Assignment, CreateGrantRequest, Device, Grant, ListAssignmentsRequest, ListDevicesRequest, ListUsersRequest,
        User, registry_service_client::RegistryServiceClient,
    },
    telemetry::v1::{LatestReadingsRequest, ListSubjectsRequest, study_service_client::StudyServiceClient},
};
use std::{collections::BTreeSet, time::Duration};
use tests::{Sandbox, line::Problem, wait::until};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::{Uuid, uuid};
use wardline::{
    demo, replay,
    simulate::{self, Scenario, SimulatedDevice},
};

const PATIENT: Uuid = uuid!("9fc9151b-a5c2-5138-abc7-db04232ac801");

/// A node that knows the first administrator alone, and the demo's people, entered through it.
async fn staffed(flags: &[&str]) -> anyhow::Result<(Sandbox, replay::Target)> {
    let mut sandbox = Sandbox::with(0, flags, &services::ALL).await?;
    sandbox.stop().await?;
    let config = sandbox.config()?;
    std::fs::remove_file(config.directory_dir().join("everybody.toml"))?;
    demo::administrator(&config.directory_dir())?;
    sandbox.run().await?;
    let target = replay::Target::of(&config, Remote::from(sandbox.endpoint()));
    demo::staff(&config, &target.endpoint).await?;
    Ok((sandbox, target))
}

async fn people(sandbox: &Sandbox) -> anyhow::Result<Vec<User>> {
    let request = sandbox.as_person("administrator", ListUsersRequest::default())?;
    Ok(RegistryServiceClient::new(sandbox.channel().await?).list_users(request).await?.into_inner().users)
}

async fn devices(sandbox: &Sandbox) -> anyhow::Result<Vec<Device>> {
    let request =
        sandbox.as_person("device-integrator", ListDevicesRequest { page_size: 1_000, ..Default::default() })?;
    Ok(RegistryServiceClient::new(sandbox.channel().await?).list_devices(request).await?.into_inner().devices)
}

async fn assignments(sandbox: &Sandbox, device_id: &str) -> anyhow::Result<Vec<Assignment>> {
    let request =
        ListAssignmentsRequest { device_id: device_id.to_owned(), patient_id: String::new(), ..Default::default() };
    let request = sandbox.as_person("device-integrator", request)?;
    Ok(RegistryServiceClient::new(sandbox.channel().await?).list_assignments(request).await?.into_inner().assignments)
}

#[tokio::test]
async fn the_demo_is_in_the_registry_and_each_role_sees_its_own() -> anyhow::Result<()> {
    let (sandbox, target) = staffed(&["study.max_days=1"]).await?;
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/demo/mimic3-sample.csv.zst");
    let play = |anchor: Option<&str>| {
        let mut options = replay::Options::of(replay::Format::Mimic, recording.into());
        options.anchor = anchor.map(|at| at.parse().expect("a time"));
        replay::run_until(options, target.clone(), CancellationToken::new())
    };
    let report = play(None).await?;
    assert!(report.balances() && report.refused.is_empty() && report.remaining == 0, "{report}");
    let (everybody, fleet) = (people(&sandbox).await?, devices(&sandbox).await?);
    let patients = everybody.iter().filter(|user| !user.patient_id().is_empty()).count() as u64;
    assert_eq!((patients, fleet.len() as u64), (report.patients, report.devices));
    for (role, name, id) in auth::DEMO_PEOPLE.iter().filter(|(role, ..)| *role != "administrator") {
        let found = everybody.iter().find(|user| user.user_id == id.uuid().to_string());
        let person = found.and_then(|user| user.person.as_ref()).with_context(|| format!("no {role}"))?;
        assert_eq!(person.name(), *name);
    }
    let nurse = demo_person("nurse").context("no nurse")?.uuid().to_string();
    for device in &fleet {
        assert_eq!((device.status.as_str(), device.first_used_at.is_some()), ("active", true), "{}", device.name());
        let assigned = assignments(&sandbox, &device.device_id).await?;
        assert_eq!((assigned.len(), &assigned[0].assigned_by), (1, &nurse));
    }

    // the same request, answered differently
    let mut timeline = sandbox.timeline().await?;
    let latest = LatestReadingsRequest { patient_id: PATIENT.to_string(), metrics: vec!["8867-4".to_owned()] };
    for role in ["doctor", "nurse", "patient"] {
        let answer = timeline.latest_readings(sandbox.as_person(role, latest.clone())?).await?.into_inner();
        assert_eq!(answer.readings.len(), 1, "{role}");
    }
    for role in ["administrator", "application-developer", "device-integrator", "ml-scientist", "auditor"] {
        let answer = timeline.latest_readings(sandbox.as_person(role, latest.clone())?).await;
        assert_eq!(Problem::from(answer)?.code, Code::PermissionDenied, "{role}");
    }
    let mut research = sandbox.as_person("nurse", latest)?;
    research.metadata_mut().insert("purpose-of-use", "HRESCH".parse()?);
    assert_eq!(Problem::from(timeline.latest_readings(research).await)?.code, Code::NotFound);
    let mut studies = StudyServiceClient::new(sandbox.channel().await?);
    let request = ListSubjectsRequest { study: "demo".to_owned(), ..Default::default() };
    let subjects = studies.list_subjects(sandbox.as_person("ml-scientist", request)?).await?.into_inner().subject_ids;
    assert_eq!(subjects.len(), 1);

    // once more, and from another time on: nothing is there twice, and each reading has one patient
    demo::staff(&sandbox.config()?, &target.endpoint).await?;
    for anchor in ["2024-01-02T00:00:00Z", "2025-01-03T00:00:00Z", "2024-01-01T00:00:00Z"] {
        let report = play(Some(anchor)).await?;
        assert!(report.balances() && report.refused.is_empty() && report.remaining == 0, "{report}");
    }
    assert_eq!((people(&sandbox).await?.len(), devices(&sandbox).await?.len()), (everybody.len(), fleet.len()));
    assert!(assignments(&sandbox, &fleet[0].device_id).await?.len() > 1);
    Ok(())
}

#[tokio::test]
async fn simulated_devices_are_registered_claimed_and_assigned_once() -> anyhow::Result<()> {
    let (sandbox, target) = staffed(&[]).await?;
    let options = |devices: u32| simulate::Options {
        devices: devices.try_into().expect("more than none"),
        rate: simulate::Rate::Hertz(20.0),
        batch: 5.try_into().expect("more than none"),
        scenario: Scenario::Calm,
        seed: 7,
        seconds: 1.try_into().expect("more than none"),
        metrics: Vec::new(),
        json: false,
    };
    for devices in [1, 3, 2] {
        let report = simulate::run(options(devices), target.clone()).await?;
        assert!(report.acknowledged == report.sent && report.sent > 0 && report.refused.is_empty(), "{report}");
    }
    let wanted: BTreeSet<_> = (0..3).map(|number| SimulatedDevice::new(7, number).device.uuid().to_string()).collect();
    let found = devices(&sandbox).await?;
    assert_eq!(found.iter().map(|device| device.device_id.clone()).collect::<BTreeSet<_>>(), wanted);
    assert!(found.iter().all(|device| device.status == "active"));
    for device in &wanted {
        assert_eq!(assignments(&sandbox, device).await?.len(), 1);
    }
    Ok(())
}

/// The nurse, who has also been given the other roles that putting devices into service takes.
async fn one_for_all(sandbox: &Sandbox) -> anyhow::Result<client::Tokens> {
    let nurse = demo_person("nurse").context("one of the demo's people")?;
    let mut registry = RegistryServiceClient::new(sandbox.channel().await?);
    for role_id in ["administrator", "device-integrator"].map(str::to_owned) {
        let grant = Some(Grant { user_id: nurse.uuid().to_string(), role_id, ..Grant::default() });
        registry.create_grant(sandbox.as_person("administrator", CreateGrantRequest { grant })?).await?;
    }
    Ok(client::token(sandbox.issuer()?.user_token(nurse)?))
}

#[tokio::test]
async fn simulated_devices_claim_their_tokens_where_there_is_no_demo_issuer() -> anyhow::Result<()> {
    let (sandbox, target) = staffed(&[]).await?;
    // nothing of the demo is at hand here
    let (tokens, demo_dir) = (Some(one_for_all(&sandbox).await?), "/nowhere".into());
    let target = replay::Target { tokens, demo_dir, ..target };
    let options = simulate::Options {
        devices: 2.try_into().expect("more than none"),
        rate: simulate::Rate::Hertz(20.0),
        batch: 5.try_into().expect("more than none"),
        scenario: Scenario::Calm,
        seed: 8,
        seconds: 1.try_into().expect("more than none"),
        metrics: Vec::new(),
        json: false,
    };
    // the second time each claims anew
    for _ in 0..2 {
        let report = simulate::run(options.clone(), target.clone()).await?;
        assert!(report.acknowledged == report.sent && report.sent > 0 && report.refused.is_empty(), "{report}");
    }
    Ok(())
}

#[tokio::test]
async fn a_replay_ends_when_its_server_does() -> anyhow::Result<()> {
    let (mut sandbox, target) = staffed(&[]).await?;
    let target = replay::Target { patience: Duration::from_millis(200), ..target };
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/demo/mimic3-sample.csv.zst");
    let mut options = replay::Options::of(replay::Format::Mimic, recording.into());
    options.speed = "600x".parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let replaying = tokio::spawn(replay::run_until(options, target, CancellationToken::new()));
    // of whom they are depends on the recording
    let ask = async || {
        let mut n_readings = 0;
        for patient_id in people(&sandbox).await?.into_iter().filter_map(|user| user.patient_id) {
            let request = LatestReadingsRequest { patient_id, metrics: Vec::new() };
            let answer = sandbox.timeline().await?.latest_readings(sandbox.as_person("doctor", request)?).await;
            n_readings += answer.map_or(0, |answer| answer.into_inner().readings.len());
        }
        Ok(n_readings)
    };
    until("the first readings", ask, |n| *n > 0).await?;
    sandbox.stop().await?;
    let error = replaying.await?.err().context("it went on without a server")?;
    assert!(format!("{error:#}").contains("no server answered"), "{error:#}");
    Ok(())
}
