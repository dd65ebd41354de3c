//! What one may not see answers exactly as what does not exist, and a changed relation counts within seconds.

use anyhow::Context;
use auth::demo_person;
use proto::{
    rpc,
    telemetry::v1::{LatestReadingsRequest, ReadTimelineRequest},
};
use std::time::Duration;
use tests::{
    Bed, Sandbox, builders,
    builders::pulse,
    line::{Line, Problem},
    raw,
    wait::until,
    with_token,
};
use tokio::time::Instant;
use tonic::{Code, Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

/// How soon a changed relation counts.
const EFFECT: Duration = Duration::from_secs(5);

async fn read(sandbox: &Sandbox, request: Request<ReadTimelineRequest>) -> anyhow::Result<Result<usize, Status>> {
    let answer = sandbox.timeline().await?.read_timeline(request).await;
    Ok(answer.map(|page| page.into_inner().readings.len()))
}

fn whole(status: &Status) -> (Code, String, Vec<u8>, usize) {
    (status.code(), status.message().to_owned(), status.details().to_vec(), status.metadata().len())
}

#[tokio::test]
async fn a_patient_without_relation_answers_as_one_that_does_not_exist() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let (mine, theirs, nobody) = (Bed::numbered(0), Bed::numbered(1), Bed::numbered(99));
    // the other patient lies in a ward in which nobody of the demo works, and has readings
    let (device, patient) = (theirs.device.uuid(), theirs.patient.uuid());
    let text = format!(
        "[[patient]]\nid = \"{patient}\"\nward = \"elsewhere\"\n[[device]]\nid = \"{device}\"\nmodel = \"m\"\n[[assignment]]\ndevice = \"{device}\"\npatient = \"{patient}\"\n"
    );
    sandbox.write_beds("beds", &[mine])?;
    sandbox.write_directory("theirs", &text)?;
    let write = async || sandbox.write(&theirs, 1, vec![pulse(60.0, guard::clock::now())]).await.map(|_| ());
    until("written", write, |()| true).await?;
    let hidden = until(
        "hidden",
        async || {
            Ok(read(&sandbox, sandbox.as_person("doctor", builders::everything(&theirs))?)
                .await?
                .err()
                .map(|s| whole(&s)))
        },
        Option::is_some,
    )
    .await?;
    let missing = read(&sandbox, sandbox.as_person("doctor", builders::everything(&nobody))?).await?;
    let missing = missing.err().map(|status| whole(&status));
    assert_eq!(hidden, missing);
    assert_eq!(missing.map(|status| status.0), Some(Code::NotFound));

    let mut client = sandbox.timeline().await?;
    let mut latest = async |bed: &Bed| {
        let request = LatestReadingsRequest { patient_id: bed.patient.uuid().to_string(), metrics: vec![] };
        let answer = client.latest_readings(sandbox.as_person("doctor", request)?).await;
        anyhow::Ok(answer.err().map(|status| whole(&status)))
    };
    let (hidden, missing) = (latest(&theirs).await?, latest(&nobody).await?);
    assert!(hidden.is_some());
    assert_eq!(hidden, missing);
    assert_eq!(latest(&mine).await?, None);
    // a page token, or a bad question, tells no more
    for change in [
        |request: &mut ReadTimelineRequest| request.page_token = "00".repeat(60),
        |request: &mut ReadTimelineRequest| request.metrics = vec!["0000-0".into()],
        |request: &mut ReadTimelineRequest| request.page_size = -1,
        |request: &mut ReadTimelineRequest| {
            (request.start_time, request.end_time) = (request.end_time, request.start_time)
        },
    ] {
        let mut statuses = Vec::new();
        for bed in [&theirs, &nobody] {
            let mut request = builders::everything(bed);
            change(&mut request);
            statuses.push(read(&sandbox, sandbox.as_person("doctor", request)?).await?.err().map(|s| whole(&s)));
        }
        assert_eq!(statuses[0], statuses[1]);
        assert_eq!(statuses[0], missing_timeline(&sandbox, &nobody).await?);
    }
    Ok(())
}

async fn missing_timeline(sandbox: &Sandbox, bed: &Bed) -> anyhow::Result<Option<(Code, String, Vec<u8>, usize)>> {
    let answer = read(sandbox, sandbox.as_person("doctor", builders::everything(bed))?).await?;
    Ok(answer.err().map(|status| whole(&status)))
}

#[tokio::test]
async fn only_people_with_the_permission_read_and_only_devices_write() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let everything = || builders::everything(&bed);
    assert_eq!(read(&sandbox, sandbox.as_person("nurse", everything())?).await?.ok(), Some(0));
    let stranger = sandbox.issuer()?.user_token(model::UserId::new(uuid::Uuid::from_u128(5)))?;
    let refused = [
        (sandbox.as_person("administrator", everything())?, Code::PermissionDenied, "NOT_PERMITTED"),
        (sandbox.as_device(bed.device, everything())?, Code::PermissionDenied, "NOT_PERMITTED"),
        (with_token(everything(), &stranger)?, Code::PermissionDenied, "NOT_PERMITTED"),
        (Request::new(everything()), Code::Unauthenticated, "NO_TOKEN"),
        (with_token(everything(), "a.b.c")?, Code::Unauthenticated, "INVALID_TOKEN"),
    ];
    for (request, code, reason) in refused {
        let problem = Problem::from(read(&sandbox, request).await?)?;
        assert_eq!((problem.code, problem.reason.as_str()), (code, reason));
    }
    for role in ["doctor", "nurse", "administrator"] {
        let request = sandbox.as_person(role, builders::write(&bed, 1, vec![pulse(60.0, guard::clock::now())]))?;
        let problem = Problem::from(sandbox.ingest().await?.write_readings(request).await)?;
        assert_eq!((problem.code, problem.reason.as_str()), (Code::PermissionDenied, "NOT_PERMITTED"), "{role}");
    }
    let mut bad = everything();
    bad.patient_id = "Mrs. Miller".into();
    let problem = Problem::from(read(&sandbox, sandbox.as_person("doctor", bad)?).await?)?;
    assert_eq!(problem.parts(), (Code::InvalidArgument, "INVALID_ID", "patient_id"));
    Ok(())
}

#[tokio::test]
async fn a_relation_that_is_taken_away_ends_reading_within_five_seconds() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    sandbox.write(&bed, 1, vec![pulse(60.0, guard::clock::now())]).await?;
    sandbox.readable(&bed, 1).await?;
    let (device, patient) = (bed.device.uuid(), bed.patient.uuid());
    let moved = format!(
        "[[patient]]\nid = \"{patient}\"\nward = \"elsewhere\"\n[[device]]\nid = \"{device}\"\nmodel = \"m\"\n[[assignment]]\ndevice = \"{device}\"\npatient = \"{patient}\"\n"
    );
    let changed = Instant::now();
    sandbox.write_directory("beds", &moved)?;
    let code = async || {
        let answer = read(&sandbox, sandbox.as_person("doctor", builders::everything(&bed))?).await?;
        Ok(answer.err().map(|status| status.code()))
    };
    until("the doctor sees nothing", code, |code| *code == Some(Code::NotFound)).await?;
    assert!(changed.elapsed() < EFFECT, "{:?}", changed.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_device_that_is_taken_out_ends_its_open_stream_within_five_seconds() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let bed = Bed::numbered(0);
    let (mut line, _) = sandbox.line(&bed, 0).await?;
    let changed = Instant::now();
    sandbox.write_beds("beds", &[Bed::numbered(1)])?;
    let mut sequence = 0;
    let status = loop {
        sequence += 1;
        line.batch(sequence, vec![pulse(60.0, guard::clock::now())]).await;
        match line.next().await {
            Ok(Some(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Ok(None) => anyhow::bail!("the stream ended without a reason"),
            Err(status) => break status,
        }
    };
    assert!(changed.elapsed() < EFFECT, "{:?}", changed.elapsed());
    let problem = Problem::of(&status);
    assert_eq!((problem.code, problem.reason.as_str()), (Code::PermissionDenied, "UNKNOWN_DEVICE"));
    let (line, _) = sandbox.line(&Bed::numbered(1), 0).await?;
    line.batch(1, vec![pulse(60.0, guard::clock::now())]).await;
    assert_eq!(line.finish().await?.0.through, 1, "the other device goes on");
    let token = sandbox.device_token(bed.device)?;
    let again = Line::open(sandbox.ingest().await?, &token, &bed, 0).await;
    assert!(again.is_err());
    Ok(())
}

#[tokio::test]
async fn health_needs_no_token_and_says_what_is_served() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    let mut health = HealthClient::new(sandbox.channel().await?);
    for service in ["", "wardline.telemetry.v1.IngestService", "wardline.telemetry.v1.TimelineService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await?.into_inner();
        assert_eq!(answer.status, 1, "{service:?}");
    }
    let unknown = health.check(HealthCheckRequest { service: "none".into() }).await;
    assert_eq!(unknown.map_err(|status| status.code()).err(), Some(Code::NotFound));
    // reflection: list_services (field 7) of ServerReflectionRequest, by hand
    let request = tests::raw::frame(0, &[0x3a, 0x00]);
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let answer = tests::raw::call(&mut sandbox.channel().await?, path, &[], request).await?;
    assert_eq!(answer.status.code(), Code::Ok);
    let text = String::from_utf8_lossy(&answer.bytes).into_owned();
    for service in ["IngestService", "TimelineService", "QuarantineService", "grpc.health.v1.Health"] {
        assert!(text.contains(service), "{service} is not in {text:?}");
    }
    sandbox.stop().await
}

#[tokio::test]
async fn every_rpc_wants_a_token_unless_it_is_open_to_all() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let doctor = demo_person("doctor").context("no doctor")?.uuid();
    let expired = sandbox.issuer()?.sign(format!("user:{doctor}"), -120)?;
    let bearer = format!("Bearer {expired}");
    // (Health/Watch never ends)
    let foreign = ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"];
    // (those of analytics are asked by the binary's tests)
    let ours = rpc::all().iter().filter(|rpc| rpc.process != "analytics");
    let ours = ours.map(|rpc| (rpc.path.as_str(), rpc.is_open));
    for (rpc, is_open) in ours.chain(foreign.map(|path| (path, true))) {
        for headers in [&[][..], &[("authorization", "Bearer x")], &[("authorization", &bearer)]] {
            let mut channel = sandbox.channel().await?;
            let answer = raw::call(&mut channel, rpc, headers, raw::frame(0, &[])).await?;
            let refused = answer.status.code() == Code::Unauthenticated;
            assert_eq!(refused, !is_open, "{rpc} with {} headers: {:?}", headers.len(), answer.status.code());
            assert!(!refused || answer.bytes.is_empty());
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_same_request_is_answered_by_role_relation_purpose_and_consent() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, nobody) = (Bed::numbered(0), Bed::numbered(99));
    let id = |role: &str| demo_person(role).map(|id| id.uuid()).with_context(|| format!("nobody is {role}"));
    let patient = bed.patient.uuid();
    let (own, nurse, integrator) = (id("patient")?, id("nurse")?, id("device-integrator")?);
    let scientist = id("ml-scientist")?;
    let text = format!(
        "[[user]]\nid = \"{own}\"\nname = \"p\"\nroles = []\npatient = \"{patient}\"\n\
         [[user]]\nid = \"{integrator}\"\nname = \"the son\"\nroles = [\"patient\"]\n\
         [[proxy]]\nuser = \"{integrator}\"\npatient = \"{patient}\"\n\
         [[user]]\nid = \"{scientist}\"\nname = \"s\"\nroles = [\"doctor\"]\n\
         [[study]]\nuser = \"{scientist}\"\npatient = \"{patient}\"\n\
         [[consent]]\npatient = \"{patient}\"\nbars = \"{nurse}\"\npurpose = \"TREAT\"\n"
    );
    sandbox.write(&bed, 1, vec![pulse(60.0, guard::clock::now())]).await?;
    sandbox.readable(&bed, 1).await?;
    sandbox.write_directory("ties", &text)?;
    let ask = async |role: &str, purpose: Option<&str>, bed: &Bed| {
        let mut request = sandbox.as_person(role, builders::everything(bed))?;
        if let Some(purpose) = purpose {
            request.metadata_mut().insert("purpose-of-use", purpose.parse()?);
        }
        anyhow::Ok(read(&sandbox, request).await?.map_err(|status| whole(&status)))
    };
    let known =
        until("the patient is known", async || ask("patient", None, &bed).await, |answer| *answer == Ok(1)).await?;
    assert_eq!(known, Ok(1));

    let missing = ask("doctor", None, &nobody).await?;
    assert!(missing.as_ref().is_err_and(|status| status.0 == Code::NotFound));
    for (role, purpose) in [
        ("doctor", None),
        ("doctor", Some("TREAT")),
        ("doctor", Some("ETREAT")),
        // barred for treatment only
        ("nurse", Some("ETREAT")),
        ("patient", Some("PATRQT")),
        // by proxy
        ("device-integrator", None),
    ] {
        assert_eq!(ask(role, purpose, &bed).await?, Ok(1), "{role}, {purpose:?}");
    }
    for (role, purpose) in [
        ("nurse", None),
        ("nurse", Some("TREAT")),
        ("doctor", Some("HRESCH")),
        ("doctor", Some("PATRQT")),
        ("patient", Some("TREAT")),
        ("device-integrator", Some("HPAYMT")),
        // a study opens nothing from which a patient can be recognised
        ("ml-scientist", None),
        ("ml-scientist", Some("HRESCH")),
    ] {
        assert_eq!(ask(role, purpose, &bed).await?, missing, "{role}, {purpose:?}");
    }
    for role in ["administrator", "auditor", "application-developer"] {
        let refused = ask(role, None, &bed).await?;
        let missing = ask(role, None, &nobody).await?;
        if role == "application-developer" {
            assert_eq!(refused, missing, "{role}");
        }
        // who may ask why is told more, in the details
        let said = |answer: &Result<usize, (Code, String, Vec<u8>, usize)>| {
            answer.as_ref().err().map(|status| (status.0, status.1.clone()))
        };
        assert_eq!(said(&refused), said(&missing), "{role}");
        assert!(refused.is_err_and(|status| status.0 == Code::PermissionDenied), "{role}");
    }
    let mut odd = sandbox.as_person("doctor", builders::everything(&bed))?;
    odd.metadata_mut().insert("purpose-of-use", "curiosity".parse()?);
    let problem = Problem::from(read(&sandbox, odd).await?)?;
    assert_eq!(problem.parts(), (Code::InvalidArgument, "UNKNOWN_PURPOSE", "purpose-of-use"));

    // taken back, it is open again
    let of_a_study = text.replace(&format!("bars = \"{nurse}\""), "bars = \"study\"").replace("TREAT", "HRESCH");
    sandbox.write_directory("ties", &of_a_study)?;
    let opened = Instant::now();
    let seen =
        until("the nurse sees again", async || ask("nurse", None, &bed).await, |answer| *answer == Ok(1)).await?;
    assert_eq!(seen, Ok(1));
    assert!(opened.elapsed() < EFFECT);
    Ok(())
}

#[tokio::test]
async fn a_tokens_scope_takes_away() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    sandbox.write(&bed, 1, vec![pulse(60.0, guard::clock::now())]).await?;
    sandbox.readable(&bed, 1).await?;
    let doctor = demo_person("doctor").context("no doctor")?;
    for (scope, expected) in [
        ("openid", Ok(1)),
        ("openid wardline/readings.read", Ok(1)),
        ("wardline/quarantine.manage", Err(Code::PermissionDenied)),
        ("wardline/readings.writ", Err(Code::PermissionDenied)),
    ] {
        let token = sandbox.issuer()?.scoped_token(doctor, scope)?;
        let answer = read(&sandbox, with_token(builders::everything(&bed), &token)?).await?;
        assert_eq!(answer.map_err(|status| status.code()), expected, "{scope}");
    }
    Ok(())
}

#[tokio::test]
async fn who_may_ask_why_is_told_with_the_refusal_and_nobody_else() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, nobody) = (Bed::numbered(0), Bed::numbered(99));
    let said = async |role: &str, bed: &Bed| {
        let status = read(&sandbox, sandbox.as_person(role, builders::everything(bed))?).await?.err();
        let status = status.context("it is answered")?;
        let details = status.get_details_error_info().map(|info| info.metadata).unwrap_or_default();
        anyhow::Ok((status.code(), status.message().to_owned(), details))
    };
    let (code, _, details) = said("auditor", &bed).await?;
    assert_eq!((code, details["denied"].as_str()), (Code::PermissionDenied, "PERMISSION"));
    assert!(details["why"].contains("no role grants readings.read"), "{details:?}");
    for role in ["application-developer", "patient", "device-integrator"] {
        assert!(said(role, &bed).await?.2.is_empty(), "{role}");
    }
    assert!(said("doctor", &nobody).await?.2.is_empty());

    // one who reads as a doctor and may ask why, in another ward
    let id = demo_person("application-developer").context("nobody")?.uuid();
    let text = format!("[[user]]\nid = \"{id}\"\nname = \"d\"\nroles = [\"doctor\", \"auditor\"]\n");
    sandbox.write_directory("both", &text)?;
    let hidden = async || said("application-developer", &bed).await;
    let (_, text, details) = until("hidden", hidden, |said| said.0 == Code::NotFound).await?;
    assert_eq!((text.as_str(), details["denied"].as_str()), ("no such patient", "NO_RELATION"));
    assert!(details["why"].contains("the patient is in the ward icu"), "{details:?}");
    let api = format!("/v1/patients/{}/latest", bed.patient.uuid());
    let token = format!("Bearer {}", sandbox.issuer()?.user_token(model::UserId::new(id))?);
    let answer = tests::http::ask(sandbox.api()?, "GET", &api, &[("authorization", &token)], "").await?.json()?;
    assert_eq!((&answer["status"], &answer["denied"]), (&404.into(), &"NO_RELATION".into()));
    Ok(())
}
