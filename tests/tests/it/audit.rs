//! No access without its record: who read, and who was refused, is in the log before the answer leaves.

use anyhow::Context;
use auth::demo_person;
use clap::Parser;
use proto::operations::v1::{
    AuditRecord, ListAccessesRequest, SearchAuditLogRequest, audit_service_client::AuditServiceClient,
};
use std::path::Path;
use tests::{Bed, Sandbox, builders, builders::pulse};
use tonic::{Code, Status};
use wardline::cli::{Cli, Command};

async fn search(sandbox: &Sandbox, role: &str, patient_id: &str) -> anyhow::Result<Result<Vec<AuditRecord>, Status>> {
    let mut client = AuditServiceClient::new(sandbox.channel().await?);
    let request = SearchAuditLogRequest { patient_id: patient_id.into(), ..Default::default() };
    let answer = client.search_audit_log(sandbox.as_person(role, request)?).await;
    Ok(answer.map(|answer| answer.into_inner().records))
}

async fn accesses(sandbox: &Sandbox, role: &str, bed: &Bed) -> anyhow::Result<Result<Vec<AuditRecord>, Status>> {
    let mut client = AuditServiceClient::new(sandbox.channel().await?);
    let request = ListAccessesRequest { patient_id: bed.patient.uuid().to_string(), ..Default::default() };
    let answer = client.list_accesses(sandbox.as_person(role, request)?).await;
    Ok(answer.map(|answer| answer.into_inner().records))
}

fn subject(role: &str) -> String {
    let id = demo_person(role).expect("one of the demo's roles");
    format!("user:{}", id.uuid())
}

/// Runs `wardline audit ...` against the sandbox; what it printed, and whether it was content.
async fn command(sandbox: &Sandbox, arguments: &[&str]) -> anyhow::Result<(String, bool)> {
    let Some(Command::Audit { what, .. }) = Cli::try_parse_from([&["wardline", "audit"], arguments].concat())?.command
    else {
        anyhow::bail!("not an audit command");
    };
    let token = sandbox.issuer()?.user_token(demo_person("auditor").context("no auditor")?)?;
    let mut out = Vec::new();
    let done = wardline::audit::run(&what, &sandbox.endpoint(), &token, &sandbox.config()?.audit_dir(), &mut out).await;
    Ok((String::from_utf8(out)?, done.is_ok()))
}

#[tokio::test]
async fn every_look_and_every_refusal_is_written_down() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let patient = bed.patient.uuid().to_string();
    sandbox.write(&bed, 1, vec![pulse(60.0, guard::clock::now())]).await?;
    sandbox.readable(&bed, 1).await?;
    let before = search(&sandbox, "auditor", &patient).await??.len();
    let mut client = sandbox.timeline().await?;
    for role in ["doctor", "nurse", "administrator", "ml-scientist", "patient"] {
        let mut request = sandbox.as_person(role, builders::everything(&bed))?;
        // who runs the place does not treat by it, also where that is refused
        if let Some(purpose) = [("nurse", "ETREAT"), ("administrator", "TREAT")].into_iter().find(|one| one.0 == role) {
            request.metadata_mut().insert("purpose-of-use", purpose.1.parse()?);
        }
        let _ = client.read_timeline(request).await;
    }
    let records = search(&sandbox, "auditor", &patient).await??;
    let found: Vec<_> = records
        .iter()
        .filter(|record| record.action == "timeline.read")
        .map(|record| (record.subject.clone(), record.purpose.as_str(), record.denied.as_str()))
        .take(5)
        .collect();
    let expected = [
        ("patient", "PATRQT", "NO_RELATION"),
        ("ml-scientist", "HRESCH", "PERMISSION"),
        ("administrator", "HOPERAT", "PERMISSION"),
        ("nurse", "ETREAT", ""),
        ("doctor", "TREAT", ""),
    ];
    assert_eq!(found, expected.map(|(role, purpose, denied)| (subject(role), purpose, denied)));
    // and the auditor's own access before
    assert_eq!(records.len(), before + 5 + 1);
    assert!(records.iter().all(|record| record.patient_id == patient));

    // after a restart it is all there, and nobody changed it
    sandbox.stop().await?;
    sandbox.run().await?;
    assert!(search(&sandbox, "auditor", &patient).await??.len() > records.len());
    let (text, content) = command(&sandbox, &["verify"]).await?;
    assert!(content && text.matches("writer ").count() == 2 && text.contains(", 0 findings\n"), "{text}");
    let (text, _) = command(&sandbox, &["export", "--patient", &patient]).await?;
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
    assert_eq!((&first["resourceType"], &first["outcome"]), (&"AuditEvent".into(), &"0".into()));
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line)?;
        assert_eq!(event["action"], "R", "{event}");
        assert_eq!(event["entity"][0]["what"]["reference"], format!("Patient/{patient}"), "{event}");
    }
    Ok(())
}

#[tokio::test]
async fn a_chain_whose_checkpoint_says_more_is_found() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    sandbox.write(&bed, 1, vec![pulse(60.0, guard::clock::now())]).await?;
    sandbox.readable(&bed, 1).await?;
    sandbox.stop().await?;
    // the log is lost, what was signed is not
    let data = sandbox.config()?.data.dir.clone();
    let folders = ["store", "audit"].map(|name| (data.join(name), sandbox.dir.path().join(format!("{name}.away"))));
    for (folder, away) in &folders {
        std::fs::rename(folder, away)?;
    }
    for kind in ["mark", "manifest"] {
        std::fs::remove_file(data.join(format!("store.{kind}")))?;
    }
    // it would not start with them
    sandbox.run().await?;
    std::fs::remove_dir_all(&folders[1].0)?;
    std::fs::rename(&folders[1].1, &folders[1].0)?;
    let (text, content) = command(&sandbox, &["verify"]).await?;
    assert!(!content && text.contains("was signed and is missing"), "{text}");
    // a stranger's key proves nothing
    let (text, content) = command(&sandbox, &["verify", "--public-key", &"ab".repeat(32)]).await?;
    assert!(!content && text.contains("wrong signature"), "{text}");
    Ok(())
}

/// Changes one byte of each place where a text is, in all files of a folder; how many places there were.
fn alter(dir: &Path, text: &[u8]) -> anyhow::Result<usize> {
    let mut n_places = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            n_places += alter(&path, text)?;
            continue;
        }
        let mut bytes = std::fs::read(&path)?;
        let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(text)).collect();
        places.iter().for_each(|at| bytes[*at] ^= 1);
        if !places.is_empty() {
            std::fs::write(&path, bytes)?;
        }
        n_places += places.len();
    }
    Ok(n_places)
}

#[tokio::test]
async fn an_entry_that_was_altered_in_the_stores_files_is_found() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    sandbox.write(&bed, 1, vec![pulse(60.0, guard::clock::now())]).await?;
    sandbox.readable(&bed, 1).await?;
    sandbox.stop().await?;
    let store = sandbox.config()?.data.dir.join("store");
    assert!(alter(&store, b"timeline.read")? > 0, "the entry is nowhere in {}", store.display());
    // the engine itself may refuse its files, or drop what does not fit its checksum
    match sandbox.run().await {
        Err(refused) => println!("the node does not start: {refused:#}"),
        Ok(()) => {
            let (text, content) = command(&sandbox, &["verify"]).await?;
            assert!(!content, "{text}");
            println!("{text}");
        }
    }
    Ok(())
}

/// Says that the demo's patient is the one of a bed.
fn own(sandbox: &Sandbox, bed: &Bed) -> anyhow::Result<()> {
    let (user, patient) = (subject("patient"), bed.patient.uuid());
    let id = user.trim_start_matches("user:");
    let text = format!("[[user]]\nid = \"{id}\"\nname = \"p\"\nroles = []\npatient = \"{patient}\"\n");
    sandbox.write_directory("own", &text)
}

#[tokio::test]
async fn a_patient_sees_who_read_and_only_an_auditor_sees_all() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let (bed, other) = (Bed::numbered(0), Bed::numbered(1));
    own(&sandbox, &bed)?;
    let mut client = sandbox.timeline().await?;
    client.read_timeline(sandbox.as_person("doctor", builders::everything(&bed))?).await?;
    client.read_timeline(sandbox.as_person("doctor", builders::everything(&other))?).await?;
    let known = async || Ok(accesses(&sandbox, "patient", &bed).await?.is_ok());
    tests::wait::until("the patient is known", known, |known| *known).await?;
    let shown = accesses(&sandbox, "patient", &bed).await??;
    let id = bed.patient.uuid().to_string();
    assert!(shown.iter().any(|record| record.subject == subject("doctor") && record.action == "timeline.read"));
    assert!(shown.iter().all(|record| record.patient_id == id));
    // another's is nobody's, and it is not the clinicians' to see
    for (role, bed) in [("patient", &other), ("patient", &Bed::numbered(99))] {
        assert_eq!(accesses(&sandbox, role, bed).await?.err().map(|status| status.code()), Some(Code::NotFound));
    }
    for role in ["doctor", "auditor"] {
        assert_eq!(
            accesses(&sandbox, role, &bed).await?.err().map(|status| status.code()),
            Some(Code::PermissionDenied)
        );
    }
    for role in ["patient", "doctor", "administrator"] {
        assert_eq!(search(&sandbox, role, "").await?.err().map(|status| status.code()), Some(Code::PermissionDenied));
    }
    assert!(search(&sandbox, "auditor", "").await?.is_ok());
    Ok(())
}

#[tokio::test]
async fn who_comes_in_and_who_is_refused_is_written_down() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let logins = async || {
        let records = search(&sandbox, "auditor", "").await??;
        let line = |record: &AuditRecord| (record.subject.clone(), record.denied.clone(), record.detail.clone());
        anyhow::Ok(records.iter().filter(|record| record.action == "login").map(line).collect::<Vec<_>>())
    };
    let count = |lines: &[(String, String, String)], who: &str| lines.iter().filter(|line| line.0 == who).count();
    let mut client = sandbox.timeline().await?;
    let token = sandbox.issuer()?.user_token(demo_person("doctor").context("nobody")?)?;
    // a token comes in once, whatever it is used for afterwards
    for _ in 0..3 {
        client.read_timeline(tests::with_token(builders::everything(&bed), &token)?).await?;
    }
    let lines = logins().await?;
    assert_eq!(count(&lines, &subject("doctor")), 1, "{lines:?}");
    let doctor = lines.iter().find(|line| line.0 == subject("doctor")).context("the doctor")?;
    assert_eq!((doctor.1.as_str(), doctor.2.as_str()), ("", "wardline.telemetry.v1.TimelineService"));
    // another token is another login, also over another service
    let scoped = sandbox.issuer()?.scoped_token(demo_person("doctor").context("nobody")?, "openid")?;
    client.read_timeline(tests::with_token(builders::everything(&bed), &scoped)?).await?;
    assert_eq!(count(&logins().await?, &subject("doctor")), 2);

    let expired = sandbox.issuer()?.sign(subject("doctor"), -120)?;
    for token in ["a.b.c", &expired] {
        let refused = client.read_timeline(tests::with_token(builders::everything(&bed), token)?).await;
        assert_eq!(refused.err().map(|status| status.code()), Some(Code::Unauthenticated));
    }
    assert!(client.read_timeline(tonic::Request::new(builders::everything(&bed))).await.is_err());
    let refused: Vec<_> =
        logins().await?.into_iter().filter(|line| line.0.is_empty()).map(|line| line.1).take(3).collect();
    assert_eq!(refused, ["NO_TOKEN", "TOKEN_EXPIRED", "INVALID_TOKEN"], "newest first");
    let (text, _) = command(&sandbox, &["export"]).await?;
    let events: Vec<serde_json::Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let unknown: Vec<_> = events.iter().filter(|event| event["outcomeDesc"] == "NO_TOKEN").collect();
    assert!(!unknown.is_empty() && !text.contains(&uuid::Uuid::nil().to_string()), "{text}");
    for event in unknown {
        let who = &event["agent"][0]["who"];
        assert_eq!((&event["action"], &who["display"]), (&"E".into(), &"not known".into()), "{event}");
    }

    // of a flood there is a number
    for _ in 0..150 {
        let _ = client.read_timeline(tests::with_token(builders::everything(&bed), "a.b.c")?).await;
    }
    let flood = async || Ok(logins().await?.into_iter().find(|line| line.1 == "FLOOD"));
    let flood = tests::wait::until("the flood is counted", flood, Option::is_some).await?.context("a record")?;
    assert!(flood.2.ends_with(" more were refused"), "{flood:?}");
    Ok(())
}

#[tokio::test]
async fn a_search_and_a_patients_accesses_page_to_the_end() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let patient_id = bed.patient.uuid().to_string();
    let mut client = AuditServiceClient::new(sandbox.channel().await?);
    own(&sandbox, &bed)?;
    let known = async || Ok(accesses(&sandbox, "patient", &bed).await?.is_ok());
    tests::wait::until("the patient is known", known, |known| *known).await?;
    for _ in 0..7 {
        accesses(&sandbox, "patient", &bed).await??;
    }
    let all = search(&sandbox, "auditor", &patient_id).await??;
    // what the search itself leaves in the log is newer than its end
    let end_time = all.first().and_then(|record| record.at);
    let all: Vec<_> = all.iter().skip(1).map(|record| (record.writer_id.clone(), record.sequence)).collect();
    anyhow::ensure!(all.len() >= 7, "{} records", all.len());
    for limit in [1, 2, 3, 1_000] {
        let (mut paged, mut own, mut page_token) = (Vec::new(), Vec::new(), String::new());
        loop {
            let (patient_id, end_time, limit) = (patient_id.clone(), end_time, limit);
            let request = SearchAuditLogRequest { patient_id, end_time, limit, page_token, ..Default::default() };
            let page = client.search_audit_log(sandbox.as_person("auditor", request)?).await?.into_inner();
            assert!(page.records.len() <= limit as usize);
            paged.extend(page.records.into_iter().map(|record| (record.writer_id, record.sequence)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, all, "{limit} a page");
        loop {
            let (patient_id, end_time, limit) = (patient_id.clone(), end_time, limit);
            let request = ListAccessesRequest { patient_id, end_time, limit, page_token, ..Default::default() };
            let page = client.list_accesses(sandbox.as_person("patient", request)?).await?.into_inner();
            own.extend(page.records.into_iter().map(|record| (record.writer_id, record.sequence)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(own, all, "{limit} a page");
    }
    let request = SearchAuditLogRequest { page_token: "x".into(), ..Default::default() };
    let refused = client.search_audit_log(sandbox.as_person("auditor", request)?).await.err().context("a refusal")?;
    assert_eq!(refused.code(), Code::InvalidArgument);
    let (few, _) = command(&sandbox, &["search", "--limit", "3"]).await?;
    assert_eq!(few.lines().count(), 3);
    let (exported, _) = command(&sandbox, &["export", "--patient", &patient_id]).await?;
    assert!(exported.lines().count() > all.len());
    Ok(())
}
