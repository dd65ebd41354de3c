//! Who calls or sends too much is told which limit it was and when to come back; others notice nothing, and nothing is lost.

use anyhow::Context;
use client::{Error, Sender, Stream};
use model::Nanos;
use node::services;
use proto::{
    operations::v1::{AuditRecord, SearchAuditLogRequest, audit_service_client::AuditServiceClient},
    registry::v1::{
        ClaimDeviceRequest, CreateRoleRequest, ListRolesRequest, RefreshDeviceRequest, Role,
        enrolment_service_client::EnrolmentServiceClient, registry_service_client::RegistryServiceClient,
    },
    telemetry::v1::{ClockQuality, stream_readings_response::Message as Out},
};
use std::{sync::Arc, time::Duration};
use tests::{
    Bed, Sandbox,
    builders::{self, pulse},
    http,
    line::Problem,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

/// That a call was refused for a limit, of which it says the name and when to try again.
fn over(status: &Status) -> anyhow::Result<String> {
    let problem = Problem::of(status);
    anyhow::ensure!((problem.code, problem.reason.as_str()) == (Code::ResourceExhausted, "RATE_LIMITED"), "{status}");
    anyhow::ensure!(problem.retry_after.is_some_and(|wait| !wait.is_zero()), "no RetryInfo");
    let info = status.get_details_error_info().context("no ErrorInfo")?;
    Ok(info.metadata.get("limit").cloned().unwrap_or_default())
}

#[tokio::test]
async fn a_flood_of_claims_ends_at_its_address_s_limit_and_accuses_nobody() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(1, &["quotas.claims_a_second=1"], &services::ALL).await?;
    let device_id = Uuid::new_v4().to_string();
    let mut client = EnrolmentServiceClient::new(sandbox.channel().await?);
    let claim = ClaimDeviceRequest { device_id: device_id.clone(), claim_code: "X".into(), csr: String::new() };
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(client.claim_device(claim.clone()).await.err().context("a refusal")?);
    }
    let refused: Vec<_> = answers.iter().filter(|status| status.code() == Code::Unauthenticated).collect();
    assert!((5..25).contains(&refused.len()), "{}", refused.len());
    for status in answers.iter().filter(|status| status.code() != Code::Unauthenticated) {
        assert_eq!(over(status)?, "quotas.claims_a_second");
    }
    let refresh = RefreshDeviceRequest { device_id: device_id.clone(), refresh_token: "x".into(), csr: String::new() };
    // the same limit; a second may have gone by
    let mut refreshed = Vec::new();
    for _ in 0..3 {
        refreshed.push(client.refresh_device(refresh.clone()).await.err().context("a refusal")?);
    }
    assert!(refreshed.iter().any(|status| over(status).is_ok()));
    let path = format!("/v1/devices/{device_id}:claim");
    let json = [("content-type", "application/json")];
    let mut limited = None;
    for _ in 0..5 {
        let answer = http::ask(sandbox.api()?, "POST", &path, &json, r#"{"claim_code":"X"}"#).await?;
        limited = limited.or(Some(answer).filter(|answer| answer.status == 429));
    }
    let limited = limited.context("an answer that says too many")?;
    assert_eq!(limited.header("retry-after"), Some("1"), "{}", limited.body);
    assert!(limited.json()?["detail"].as_str().is_some_and(|text| text.contains("quotas.claims_a_second")));
    // whoever has a token, from the same address, is not concerned
    sandbox.write(&Bed::numbered(0), 1, vec![pulse(60.0, guard::clock::now())]).await?;

    let mut audit = AuditServiceClient::new(sandbox.channel().await?);
    let asked = sandbox.as_person("auditor", SearchAuditLogRequest::default())?;
    let records = audit.search_audit_log(asked).await?.into_inner().records;
    let about = |record: &&AuditRecord| record.detail == "claim" || record.detail == "refresh";
    let claims: Vec<_> = records.iter().filter(about).collect();
    assert!(claims.len() >= refused.len(), "{}", claims.len());
    let device = format!("device:{device_id}");
    assert!(claims.iter().all(|record| record.subject.is_empty() && record.claimed_subject == device));
    Ok(())
}

#[tokio::test]
async fn one_caller_s_writes_are_limited_and_nobody_else_s() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(0, &["quotas.writes_a_second=1"], &services::ALL).await?;
    let mut client = RegistryServiceClient::new(sandbox.channel().await?);
    let role = |n: u32| CreateRoleRequest {
        role: Some(Role { role_id: format!("role-{n}"), category: Some("staff".into()), ..Role::default() }),
    };
    let mut limits = Vec::new();
    for n in 0..12 {
        if let Err(status) = client.create_role(sandbox.as_person("administrator", role(n))?).await
            && status.code() == Code::ResourceExhausted
        {
            limits.push(over(&status)?);
        }
    }
    assert!(!limits.is_empty() && limits.iter().all(|limit| limit == "quotas.writes_a_second"), "{limits:?}");
    client.list_roles(sandbox.as_person("administrator", ListRolesRequest {})?).await?;
    let other = client.create_role(sandbox.as_person("nurse", role(1))?).await.err().context("a refusal")?;
    assert_eq!(other.code(), Code::PermissionDenied, "another caller is not limited");
    Ok(())
}

#[tokio::test]
async fn a_device_over_its_rate_is_slowed_down_and_loses_nothing() -> anyhow::Result<()> {
    // 200 at once: more than that is too much however slow the machine is
    let sandbox = Sandbox::with(2, &["quotas.device_readings_a_second=40"], &services::ALL).await?;
    let (bed, other) = (Bed::numbered(0), Bed::numbered(1));
    let began = guard::clock::now();
    let readings = |n: i64| (0..n).map(|at| pulse(60.0, Nanos(began.0 - at * 1_000_000))).collect::<Vec<_>>();
    let (mut line, _) = sandbox.line(&bed, 0).await?;
    line.batch(1, readings(220)).await;
    line.batch(2, readings(1)).await;
    let (mut waits, mut through, mut accepted) = (Vec::new(), 0, 0);
    while through < 2 {
        match line.next().await?.context("the stream ended")? {
            Out::Throttle(throttle) => waits.extend(throttle.retry_after),
            Out::Ack(ack) => {
                assert_eq!(ack.refused.len(), 0);
                (through, accepted) = (ack.through, accepted + ack.accepted_readings);
            }
            _ => {}
        }
    }
    assert!(waits.first().is_some_and(|wait| wait.seconds > 0 || wait.nanos > 0), "it was told to wait");
    assert_eq!(accepted, 221);

    // by single writes: the second comes too early, by twenty seconds
    sandbox.write(&other, 1, readings(1_000)).await?;
    let request = sandbox.as_device(other.device, builders::write(&other, 2, readings(1)))?;
    let refused = sandbox.ingest().await?.write_readings(request).await.err().context("a refusal")?;
    assert_eq!(over(&refused)?, "quotas.device_readings_a_second");
    sandbox.readable(&bed, 221).await?;
    sandbox.readable(&other, 1_000).await?;
    Ok(())
}

#[tokio::test]
async fn of_two_clients_of_one_stream_one_stays_and_the_other_stops() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let issuer = Arc::new(sandbox.issuer()?);
    let open = async || {
        let issuer = Arc::clone(&issuer);
        let stream = Stream {
            device: bed.device.uuid(),
            stream: bed.stream.uuid(),
            resume_after: 0,
            clock: ClockQuality::Synchronized,
        };
        let tokens = Arc::new(move || Ok(issuer.device_token(bed.device)?));
        Sender::open(client::channel(sandbox.endpoint())?, tokens, stream).await.map_err(anyhow::Error::from)
    };
    // both at once, as after the end of a node
    let (one, other) = tokio::try_join!(open(), open())?;
    let send = async |sender: &Sender| {
        for sequence in 1..=3 {
            sender.send(sequence, vec![pulse(60.0, Nanos(1_700_000_000 * Nanos::SECOND + sequence as i64))]).await?;
        }
        tokio::time::timeout(Duration::from_secs(20), sender.flush()).await.unwrap_or(Err(Error::Closed))
    };
    let (first, second) = tokio::join!(send(&one), send(&other));
    let (stays, stopped) = match (first, second) {
        (Ok(()), Err(error)) => (&one, error),
        (Err(error), Ok(())) => (&other, error),
        (first, second) => anyhow::bail!("{first:?}, {second:?}"),
    };
    assert_eq!((stopped.code(), stopped.reason().as_deref()), (Some(Code::FailedPrecondition), Some("SUPERSEDED")));
    assert_eq!((stays.connections(), stays.progress().through), (1, 3));
    sandbox.readable(&bed, 3).await?;
    Ok(())
}

#[tokio::test]
async fn of_a_flood_of_refused_claims_some_are_written_and_the_rest_counted() -> anyhow::Result<()> {
    const N_CLAIMS: usize = 400;
    let sandbox = Sandbox::with(0, &["quotas.claims_a_second=0"], &services::ALL).await?;
    let client = EnrolmentServiceClient::new(sandbox.channel().await?);
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..N_CLAIMS {
        let mut client = client.clone();
        let device_id = Uuid::new_v4().to_string();
        claims.spawn(async move {
            client.claim_device(ClaimDeviceRequest { device_id, claim_code: "X".into(), csr: String::new() }).await
        });
    }
    for refused in claims.join_all().await {
        assert_eq!(refused.err().map(|status| status.code()), Some(Code::Unauthenticated));
    }
    let audit = AuditServiceClient::new(sandbox.channel().await?);
    // why, what, and under whose name
    let records = async || {
        let asked = sandbox.as_person("auditor", SearchAuditLogRequest { limit: 1_000, ..Default::default() })?;
        let records = audit.clone().search_audit_log(asked).await?.into_inner().records;
        Ok(records.into_iter().map(|one| (one.denied, one.detail, one.claimed_subject)).collect::<Vec<_>>())
    };
    let is_flood = |one: &(String, String, String)| one.0 == "FLOOD";
    let records = tests::wait::until("the flood is counted", records, |all| all.iter().any(is_flood)).await?;
    let flood = records.iter().find(|one| is_flood(one)).context("a record")?;
    assert!(flood.1.ends_with(" more were refused") && flood.2.is_empty(), "{flood:?}");
    let n_written = records.iter().filter(|one| one.1 == "claim").count();
    assert!((100..N_CLAIMS).contains(&n_written), "{n_written}");
    Ok(())
}
