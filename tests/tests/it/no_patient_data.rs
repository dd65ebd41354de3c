//! Nothing of a patient reaches the log lines, the spans in them or `/metrics`, whatever goes wrong, at the most talkative level.
//!
//! Logs are the process's own: the test starts itself again and reads what that process wrote.

use anyhow::Context;
use auth::demo_person;
use model::{DeviceId, Nanos, PatientId, StreamId};
use proto::{
    registry::v1::{
        Billing, Contact, ContactPerson, CreateDeviceRequest, CreateUserRequest, Device, ImportUsersRequest,
        ListNoticesRequest, Medical, OpenBreakGlassRequest, Person, UpdateUserRequest, User,
        registry_service_client::RegistryServiceClient,
    },
    telemetry::v1::{LatestReadingsRequest, Reading, reading::Value},
};
use std::{env, process::Command, time::Duration};
use tests::{
    Bed, Sandbox,
    builders::{self, everything, pulse, reading, write},
    http,
};
use uuid::{Uuid, uuid};

const CHILD: &str = "WARDLINE_CANARY_CHILD";
const METRICS_END: &str = "--- metrics end ---";
const DEVICE: Uuid = uuid!("ca9a11e5-0001-4000-8000-c0ffee000001");
const PATIENT: Uuid = uuid!("ca9a11e5-0002-4000-8000-c0ffee000002");
const STREAM: Uuid = uuid!("ca9a11e5-0003-4000-8000-c0ffee000003");
const NUMBER: f64 = 143.271_828_182;
const CODE: &str = "canary-code-5e1f";
const UNIT: &str = "canary-unit-5e1f";
const METRIC: &str = "canary-metric-5e1f";
const BAD_ID: &str = "canary-name-5e1f";
const BORN: &str = "1911-01-11";
const MAC: &str = "02:ca:9a:11:e5:01";

fn bed() -> Bed {
    Bed { device: DeviceId::new(DEVICE), patient: PatientId::new(PATIENT), stream: StreamId::new(STREAM) }
}

/// Everything that must not be found.
fn canaries() -> Vec<String> {
    let mut all = vec![
        "143.271828".to_owned(),
        CODE.into(),
        UNIT.into(),
        METRIC.into(),
        BAD_ID.into(),
        "canary".into(),
        BORN.into(),
        MAC.into(),
    ];
    for id in [DEVICE, PATIENT, STREAM] {
        all.extend([id.to_string(), id.simple().to_string()]);
        // as a list of bytes
        all.push(format!("{:?}", &id.as_bytes()[8..]).trim_matches(['[', ']']).to_owned());
    }
    all
}

#[test]
fn no_log_line_and_no_metric_shows_anything_of_a_patient() -> anyhow::Result<()> {
    let child = Command::new(env::current_exe()?)
        .args(["--exact", "no_patient_data::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()?;
    let logs = String::from_utf8_lossy(&child.stderr).into_owned();
    let metrics = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success(), "{metrics}\n{logs}");
    assert!(logs.lines().filter(|line| line.contains("\"level\":\"TRACE\"")).count() > 100, "trace was not on: {logs}");
    let spans = logs.lines().filter(|line| line.contains("\"message\":\"close\"")).count();
    assert!(spans > 10, "{spans} spans: {logs}");
    let ended: Vec<_> = logs.lines().filter(|line| line.contains("\"message\":\"a call has ended\"")).collect();
    assert!(ended.len() > 20 && ended.iter().all(|line| line.contains("\"request_id\":\"")), "{ended:#?}");
    assert!(logs.contains("record put aside"), "the quarantine was not reached");
    assert!(metrics.contains(METRICS_END) && metrics.contains("wardline_ingest_refused_total"), "{metrics}");
    assert!(metrics.contains("route=\"/v1/patients/{patient_id}/latest\""), "{metrics}");
    for canary in canaries() {
        for line in logs.lines().chain(metrics.lines()) {
            assert!(!line.to_lowercase().contains(&canary), "{canary} in: {line}");
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "run by no_log_line_and_no_metric_shows_anything_of_a_patient, in a process of its own"]
async fn child() -> anyhow::Result<()> {
    anyhow::ensure!(env::var_os(CHILD).is_some(), "this is the other test's other half");
    let mut sandbox = Sandbox::with(0, &["telemetry.level=trace"], &node::services::ALL).await?;
    sandbox.stop().await?;
    sandbox.write_beds("beds", &[bed()])?;
    put_garbage(&sandbox).await?;
    node::telemetry::logs(&sandbox.config()?.telemetry)?;
    sandbox.run().await?;
    let (bed, now) = (bed(), guard::clock::now());
    let coded = Reading { value: Some(Value::Code(CODE.into())), ..reading("67775-7", "", 0.0, now) };
    let readings = vec![
        pulse(NUMBER, now),
        pulse(NUMBER, Nanos(5)),
        reading("8867-4", UNIT, NUMBER, now),
        reading("8867-4", "kg", NUMBER, now),
        reading(METRIC, "", NUMBER, now),
        pulse(f64::NAN, now),
        coded,
    ];
    sandbox.write(&bed, 1, readings.clone()).await?;
    sandbox.write(&bed, 1, readings.clone()).await?;
    let mut ingest = sandbox.ingest().await?;
    let mut timeline = sandbox.timeline().await?;
    // reuse, wrong device, bad ids, no permission, no such patient, bad page token: all of them fail
    let _ = ingest.write_readings(sandbox.as_device(bed.device, write(&bed, 1, vec![pulse(NUMBER, now)]))?).await;
    let _ = ingest.write_readings(sandbox.as_device(Bed::numbered(1).device, write(&bed, 2, readings.clone()))?).await;
    let mut named = write(&bed, 3, readings.clone());
    named.stream_id = BAD_ID.into();
    let _ = ingest.write_readings(sandbox.as_device(bed.device, named)?).await;
    let (mut line, _) = sandbox.line(&bed, 1).await?;
    line.batch(2, readings.clone()).await;
    line.acked(2).await?;
    line.batch(9, readings.clone()).await;
    line.ack().await?;
    line.send(builders::open(&bed, 0)).await;
    line.until_end().await?;
    sandbox.readable(&bed, 4).await?;
    for role in ["doctor", "administrator"] {
        let mut request = everything(&bed);
        let _ = timeline.read_timeline(sandbox.as_person(role, request.clone())?).await;
        request.page_token = BAD_ID.into();
        let _ = timeline.read_timeline(sandbox.as_person(role, request.clone())?).await;
        request.patient_id = BAD_ID.into();
        let _ = timeline.read_timeline(sandbox.as_person(role, request)?).await;
    }
    let latest = LatestReadingsRequest { patient_id: PATIENT.to_string(), metrics: vec![] };
    timeline.latest_readings(sandbox.as_person("nurse", latest)?).await?;
    ask_by_http(&sandbox).await?;
    ask_the_registry(&sandbox).await?;
    println!("{}\n{METRICS_END}", http::get(sandbox.http(), "/metrics").await?.1);
    sandbox.stop().await?;
    read_notices(&sandbox).await
}

/// What is published for services that reach people names nobody, and says nothing that somebody wrote.
async fn read_notices(sandbox: &Sandbox) -> anyhow::Result<()> {
    use bus::Subscribe;
    let settings = bus::embedded::Settings { partitions: 1, ..Default::default() };
    let log = bus::embedded::Log::open(&sandbox.dir.path().join("notices"), settings)?;
    let notices = log.subscribe("reader")?.poll(10, 1 << 20, Duration::from_secs(5)).await?;
    anyhow::ensure!(notices.len() == 1, "{} notices", notices.len());
    let canary = notices[0].payload.windows(6).any(|part| part == b"canary");
    anyhow::ensure!(!canary, "a canary in a notice");
    Ok(())
}

/// Addresses and bodies hold ids and values here, too.
async fn ask_by_http(sandbox: &Sandbox) -> anyhow::Result<()> {
    let doctor = sandbox.issuer()?.user_token(demo_person("doctor").context("no doctor")?)?;
    let device = sandbox.device_token(DeviceId::new(DEVICE))?;
    let (latest, write) = (format!("/v1/patients/{PATIENT}/latest"), format!("/v1/devices/{DEVICE}/readings"));
    let (odd, nowhere) =
        (format!("/v1/patients/{BAD_ID}/timeline?metrics={METRIC}&{BAD_ID}=1"), format!("/v1/{BAD_ID}"));
    let body = format!(r#"{{"stream_id": "{STREAM}", "sequence": "{CODE}", "{BAD_ID}": [{NUMBER}]}}"#);
    for (method, path, token, body, status) in [
        ("GET", &latest, &doctor, "", 200),
        ("GET", &odd, &doctor, "", 400),
        ("GET", &nowhere, &doctor, "", 404),
        ("POST", &write, &device, &*body, 400),
        ("POST", &write, &device, &body[..body.len() - 1], 400),
    ] {
        let headers = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
        let answer = http::ask(sandbox.api()?, method, path, &headers, body).await?;
        anyhow::ensure!(answer.status == status, "{method} {path}: {}", answer.status);
    }
    Ok(())
}

/// A person with a canary in every field, taken, changed, imported and refused: no complaint shows one.
async fn ask_the_registry(sandbox: &Sandbox) -> anyhow::Result<()> {
    let canary = |field: &str| format!("canary {field} 5e1f");
    let other = |name: &str| {
        let (name, relationship, phone) = (canary(name), canary("relationship"), canary("phone"));
        vec![ContactPerson { name, relationship, phone }]
    };
    let contact = Contact {
        address: Some(canary("address")),
        phone: Some(canary("phone")),
        email: Some(canary("email")),
        primary_care_provider: Some(canary("provider")),
        family_members: other("family"),
        emergency_contacts: other("emergency"),
        county: Some("02013".into()),
    };
    let medical = Medical {
        height_cm: Some(143.271_828_182),
        weight_kg: Some(143.271_828_182),
        gender: Some("other".into()),
        medications: vec![canary("medication")],
        allergies: vec![canary("allergy")],
        medical_card: Some(canary("card")),
    };
    let billing = Billing {
        address: Some(canary("billing")),
        insurer: Some(canary("insurer")),
        policy_number: Some(canary("policy")),
    };
    let person = Person { name: Some(canary("person")), birth_date: Some(BORN.into()) };
    let user = User {
        patient_id: Some(PATIENT.to_string()),
        ward: Some("icu".into()),
        person: Some(person.clone()),
        contact: Some(contact),
        billing: Some(billing),
        ..User::default()
    };
    let mut client = RegistryServiceClient::new(sandbox.channel().await?);
    let request = sandbox.as_person("administrator", CreateUserRequest { user: Some(user.clone()) })?;
    let user_id = client.create_user(request).await?.into_inner().user.context("no user")?.user_id;
    let history = User { user_id, medical: Some(medical.clone()), ..User::default() };
    let request = sandbox.as_person("nurse", UpdateUserRequest { user: Some(history.clone()), update_mask: None })?;
    client.update_user(request).await?;
    let device = Device { name: Some(canary("device")), mac: Some(MAC.into()), ..Device::default() };
    let mut complaints = Vec::new();
    for _ in 0..2 {
        let request = sandbox.as_person("device-integrator", CreateDeviceRequest { device: Some(device.clone()) })?;
        complaints.extend(client.create_device(request).await.err());
        let request = sandbox.as_person("administrator", CreateUserRequest { user: Some(user.clone()) })?;
        complaints.extend(client.create_user(request).await.err());
    }
    let named = Person { name: Some(canary(&"x".repeat(300))), ..person.clone() };
    for person in [named, Person { birth_date: Some(canary("born")), ..person }] {
        let user = Some(User { person: Some(person), ..User::default() });
        complaints
            .extend(client.create_user(sandbox.as_person("administrator", CreateUserRequest { user })?).await.err());
    }
    let odd = User { medical: Some(Medical { gender: Some(canary("gender")), ..medical }), ..history };
    let request = sandbox.as_person("nurse", UpdateUserRequest { user: Some(odd), update_mask: None })?;
    complaints.extend(client.update_user(request).await.err());
    let (patient_id, reason, text) = (PATIENT.to_string(), canary("reason"), canary("text"));
    let emergency = OpenBreakGlassRequest { patient_id, reason, text, minutes: 0 };
    complaints.extend(client.open_break_glass(sandbox.as_person("nurse", emergency)?).await.err());
    let (patient_id, text) = (PATIENT.to_string(), canary("why the glass was broken"));
    let emergency = OpenBreakGlassRequest { patient_id, reason: "other".into(), text, minutes: 0 };
    client.open_break_glass(sandbox.as_person("nurse", emergency)?).await?;
    let told = async || {
        let request = sandbox.as_person("nurse", ListNoticesRequest::default())?;
        let notices = client.clone().list_notices(request).await?.into_inner().notices;
        Ok(notices.iter().any(|notice| notice.notified_at.is_some()))
    };
    tests::wait::until("the notice is published", told, |told| *told).await?;
    let csv = format!("name,birth_date\n{},{}\n", canary("row"), canary("date"));
    let request = sandbox.as_person("administrator", ImportUsersRequest { csv })?;
    let refused = client.import_users(request).await?.into_inner().refused;
    anyhow::ensure!(complaints.len() == 7 && refused.len() == 1, "{} and {}", complaints.len(), refused.len());
    let complaints = complaints.iter().map(|status| format!("{} {:?}", status.message(), status.details()));
    for text in complaints.chain(refused.into_iter().map(|row| row.reason)) {
        anyhow::ensure!(!text.contains("canary") && !text.contains(BORN) && !text.contains(MAC), "{text}");
    }
    Ok(())
}

async fn put_garbage(sandbox: &Sandbox) -> anyhow::Result<()> {
    use bus::Publish;
    let log = bus::embedded::Log::open(&sandbox.dir.path().join("log"), bus::embedded::Settings::default())?;
    let payload = [PATIENT.as_bytes(), BAD_ID.as_bytes()].concat().into();
    log.publish(bus::Outgoing { key: bed().patient, payload }).await?.await?;
    Ok(())
}
