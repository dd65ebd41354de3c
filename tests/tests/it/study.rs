//! A study's scientist reads numbers, and learns neither who that is nor when it was.

use anyhow::Context;
use auth::demo_person;
use guard::convert;
use model::{Nanos, StreamId};
use proto::operations::v1::{SearchAuditLogRequest, audit_service_client::AuditServiceClient};
use proto::telemetry::v1::{
    ClockQuality, ListSubjectsRequest, ReadSubjectRequest, ReadSubjectResponse, Reading,
    study_service_client::StudyServiceClient,
};
use std::collections::BTreeSet;
use tests::{
    Bed, Sandbox,
    builders::{reading, write},
    line::Problem,
    wait::until,
};
use tonic::{Code, Status};
use uuid::Uuid;

const DAY_SECONDS: i64 = 86_400;
const MAX_DAYS: i64 = 30;

async fn subjects(sandbox: &Sandbox, role: &str, study: &str) -> anyhow::Result<Result<Vec<String>, Status>> {
    let mut client = StudyServiceClient::new(sandbox.channel().await?);
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSubjectsRequest { study: study.into(), page_size: 1, page_token };
        match client.list_subjects(sandbox.as_person(role, request)?).await {
            Err(status) => return Ok(Err(status)),
            Ok(answer) => {
                let page = answer.into_inner();
                all.extend(page.subject_ids);
                page_token = page.next_page_token;
            }
        }
        if page_token.is_empty() {
            return Ok(Ok(all));
        }
    }
}

async fn read(
    sandbox: &Sandbox,
    role: &str,
    request: &ReadSubjectRequest,
) -> anyhow::Result<Result<ReadSubjectResponse, Status>> {
    let mut client = StudyServiceClient::new(sandbox.channel().await?);
    let answer = client.read_subject(sandbox.as_person(role, request.clone())?).await;
    Ok(answer.map(tonic::Response::into_inner))
}

/// For what a scientist was shown lists with the patient, by the audit log.
async fn listings(sandbox: &Sandbox, bed: &Bed) -> anyhow::Result<Vec<String>> {
    let mut client = AuditServiceClient::new(sandbox.channel().await?);
    let request = SearchAuditLogRequest { patient_id: bed.patient.uuid().to_string(), ..Default::default() };
    let records = client.search_audit_log(sandbox.as_person("auditor", request)?).await?.into_inner().records;
    let listed = records.into_iter().filter(|record| record.action == "deidentified.read" && record.detail == "list");
    Ok(listed.map(|record| record.purpose).collect())
}

fn everything(study: &str, subject_id: &str) -> ReadSubjectRequest {
    ReadSubjectRequest {
        study: study.into(),
        subject_id: subject_id.into(),
        start_time: Some(convert::timestamp(Nanos(0))),
        ..Default::default()
    }
}

/// Seconds since 1970 and values.
fn lines(answer: &ReadSubjectResponse) -> Vec<(i64, f64)> {
    let mut lines = Vec::new();
    for series in &answer.series {
        let mut at = 0;
        for (delta, number) in series.measured_at_delta_ticks.iter().zip(&series.numbers) {
            at += delta;
            lines.push((at * series.tick_ns / Nanos::SECOND, *number));
        }
    }
    lines
}

fn whole(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

/// The demo's scientist studies the first two beds; the second one's patient does not want it.
fn ties(barred: bool) -> anyhow::Result<String> {
    let scientist = demo_person("ml-scientist").context("nobody")?.uuid();
    let [one, two] = [0, 1].map(|number| Bed::numbered(number).patient.uuid());
    let mut text = String::new();
    for patient in [one, two] {
        text += &format!("[[study]]\nuser = \"{scientist}\"\npatient = \"{patient}\"\nstudy = \"heart\"\n");
    }
    text += &format!("[[study]]\nuser = \"{scientist}\"\npatient = \"{one}\"\nstudy = \"lungs\"\n");
    if barred {
        text += &format!("[[consent]]\npatient = \"{two}\"\nbars = \"anyone\"\npurpose = \"HRESCH\"\n");
    }
    Ok(text)
}

/// Whoever sees where the time of GPS begins, moved, knows how far all of the subject's times are.
#[tokio::test]
async fn what_a_clock_that_was_never_set_says_is_in_no_study() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(3, &[&format!("study.max_days={MAX_DAYS}")], &node::services::ALL).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let old = now.plus(-3 * MAX_DAYS * Nanos::DAY);
    let never_set = reading("8867-4", "bpm", 55.0, Nanos(315_964_803 * Nanos::SECOND));
    sandbox.write(&bed, 1, vec![reading("8867-4", "bpm", 51.0, old), never_set.clone()]).await?;
    let again = Bed { stream: StreamId::new(Uuid::new_v4()), ..bed };
    sandbox.write(&again, 1, vec![never_set]).await?;
    let mut said = write(&bed, 2, vec![reading("8867-4", "bpm", 56.0, old.plus(Nanos::SECOND))]);
    said.clock_quality = ClockQuality::Unset.into();
    sandbox.ingest().await?.write_readings(sandbox.as_device(bed.device, said)?).await?;
    sandbox.readable(&bed, 3).await?;
    sandbox.write_directory("study", &ties(false)?)?;
    let both = async || Ok(subjects(&sandbox, "ml-scientist", "heart").await??);
    let mut numbers = Vec::new();
    for name in until("both take part", both, |names| names.len() == 2).await? {
        let answer = read(&sandbox, "ml-scientist", &everything("heart", &name)).await??;
        numbers.extend(lines(&answer).into_iter().map(|(_, number)| number));
        assert_eq!(answer.n_repeats, 0, "when it was sent again says the same");
        // in any case, as an id of a patient
        let in_capitals = everything("heart", &name.to_uppercase());
        assert!(read(&sandbox, "ml-scientist", &in_capitals).await?? == answer);
    }
    assert_eq!(numbers, [51.0]);
    let misspelled = subjects(&sandbox, "ml-scientist", "Heart").await?.err().context("no study is spelled so")?;
    assert_eq!(misspelled.code(), Code::InvalidArgument, "{misspelled}");
    Ok(())
}

/// The end of what lasts would tell how far times were moved, as the newest reading would.
#[tokio::test]
async fn what_lasts_is_shown_when_its_end_is_old_enough() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(3, &[&format!("study.max_days={MAX_DAYS}")], &node::services::ALL).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now().0 / Nanos::SECOND);
    // steps of two days; their number is how many days ago they ended
    let steps = |days: i64| {
        let end = now - days * DAY_SECONDS - 60;
        let [from, until] = [end - 2 * DAY_SECONDS, end].map(|seconds| Nanos(seconds * Nanos::SECOND));
        Reading { measured_until: Some(convert::timestamp(until)), ..reading("55423-8", "", days as f64, from) }
    };
    let all: Vec<_> = (0..=MAX_DAYS + 2).map(steps).collect();
    let n = all.len();
    assert_eq!(sandbox.write(&bed, 1, all).await?.accepted_readings, n as u64);
    sandbox.readable(&bed, n).await?;
    sandbox.write_directory("study", &ties(false)?)?;
    let both = async || Ok(subjects(&sandbox, "ml-scientist", "heart").await??);
    let mut shown = Vec::new();
    for name in until("both take part", both, |names| names.len() == 2).await? {
        shown.extend(lines(&read(&sandbox, "ml-scientist", &everything("heart", &name)).await??));
    }
    let (first, number) = *shown.first().context("nothing is shown")?;
    let moved = now - (number as i64 + 2) * DAY_SECONDS - 60 - first;
    assert!(moved % DAY_SECONDS == 0 && (1..=MAX_DAYS).contains(&(moved / DAY_SECONDS)), "moved by {moved} s");
    let ended: Vec<_> = shown.iter().map(|(_, number)| *number as i64).collect();
    let old_enough: Vec<_> = (MAX_DAYS - moved / DAY_SECONDS..=MAX_DAYS + 2).rev().collect();
    assert_eq!(ended, old_enough, "moved by {moved} s");
    Ok(())
}

#[tokio::test]
async fn a_study_shows_numbers_under_other_names_and_times() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::with(3, &[&format!("study.max_days={MAX_DAYS}")], &node::services::ALL).await?;
    let bed = Bed::numbered(0);
    let now = guard::clock::now().0 / Nanos::SECOND;
    // old enough, and not yet
    let ages = [MAX_DAYS * 3, MAX_DAYS * 3 - 1, MAX_DAYS + 1, 0];
    let measured = |(age, number): (&i64, f64)| {
        reading("8867-4", "bpm", number, Nanos((now - age * DAY_SECONDS - 60) * Nanos::SECOND))
    };
    let readings = ages.iter().zip([51.0, 52.0, 53.0, 54.0]).map(measured).collect();
    assert_eq!(sandbox.write(&bed, 1, readings).await?.accepted_readings, 4);
    sandbox.readable(&bed, 4).await?;
    sandbox.write_directory("study", &ties(false)?)?;
    let both = async || Ok(subjects(&sandbox, "ml-scientist", "heart").await??);
    let names = until("both take part", both, |names| names.len() == 2).await?;
    let other_study = subjects(&sandbox, "ml-scientist", "lungs").await??;
    assert_eq!(other_study.len(), 1);
    assert!(!names.contains(&other_study[0]), "another name in each study");
    assert_eq!(subjects(&sandbox, "ml-scientist", "no-such").await??, Vec::<String>::new());
    for number in [0, 1] {
        let listed = listings(&sandbox, &Bed::numbered(number)).await?;
        assert!(!listed.is_empty() && listed.iter().all(|purpose| purpose == "HRESCH"), "{number}: {listed:?}");
    }
    assert!(listings(&sandbox, &Bed::numbered(2)).await?.is_empty(), "who takes no part was not shown");

    let mut seen = Vec::new();
    for name in &names {
        let answer = read(&sandbox, "ml-scientist", &everything("heart", name)).await??;
        if !answer.series.is_empty() {
            seen.push((name.clone(), answer));
        }
    }
    let [(name, answer)] = &seen[..] else { anyhow::bail!("{} subjects have readings", seen.len()) };
    let shown = lines(answer);
    let moved = (now - ages[0] * DAY_SECONDS - 60) - shown[0].0;
    assert!(moved % DAY_SECONDS == 0 && (1..=MAX_DAYS).contains(&(moved / DAY_SECONDS)), "moved by {moved} s");
    assert_eq!(shown[1], (now - ages[1] * DAY_SECONDS - 60 - moved, 52.0), "all by the same");
    // nothing whose moved time is not older than the longest move: the newest does not tell how far they were moved
    assert!(shown.iter().all(|(at, _)| *at < now + 60 - MAX_DAYS * DAY_SECONDS), "{shown:?}");
    let is_moved_most = moved == MAX_DAYS * DAY_SECONDS;
    assert_eq!(shown.iter().any(|(_, number)| *number == 54.0), is_moved_most, "moved by {moved} s: {shown:?}");
    let text = format!("{:?}{:?}", prost::Message::encode_to_vec(answer), answer.next_page_token);
    for secret in [bed.patient.uuid(), bed.device.uuid(), bed.stream.uuid()] {
        let bytes = format!("{:?}", secret.as_bytes());
        assert!(!text.contains(bytes.trim_matches(['[', ']'])), "an id is in the answer");
        assert!(!text.contains(&secret.to_string()));
    }

    // pages join, a page's token is the caller's and the question's
    let mut request = ReadSubjectRequest { page_size: 1, ..everything("heart", name) };
    let mut paged = Vec::new();
    loop {
        let page = read(&sandbox, "ml-scientist", &request).await??;
        paged.extend(lines(&page));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paged, shown);
    let odd = ReadSubjectRequest { page_token: "00".repeat(60), ..everything("heart", name) };
    let refused = read(&sandbox, "ml-scientist", &odd).await?.err().context("a refusal")?;
    assert_eq!(refused.code(), Code::InvalidArgument);

    // the same names after a restart
    sandbox.stop().await?;
    sandbox.run().await?;
    assert_eq!(subjects(&sandbox, "ml-scientist", "heart").await??, names);
    Ok(())
}

#[tokio::test]
async fn who_takes_no_part_or_does_not_want_it_does_not_exist() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(3).await?;
    sandbox.write_directory("study", &ties(false)?)?;
    let heart = async || Ok(subjects(&sandbox, "ml-scientist", "heart").await??);
    let names: BTreeSet<_> = until("both take part", heart, |names| names.len() == 2).await?.into_iter().collect();
    sandbox.write_directory("study", &ties(true)?)?;
    let left = until("one does not want it", heart, |names| names.len() == 1).await?;
    let gone = names.iter().find(|name| !left.contains(name)).context("one is gone")?;
    let refusal = async |study: &str, subject: &str| {
        let answer = read(&sandbox, "ml-scientist", &everything(study, subject)).await?;
        anyhow::Ok(whole(&answer.err().context("it is answered")?))
    };
    let hidden = refusal("heart", gone).await?;
    assert_eq!(hidden.0, Code::NotFound);
    let patient = Bed::numbered(0).patient.uuid().to_string();
    for (study, subject) in [
        ("heart", Uuid::new_v4().simple().to_string().as_str()),
        ("heart", ""),
        ("heart", patient.as_str()),
        // a name of one study is none of another
        ("lungs", left[0].as_str()),
        ("no such", left[0].as_str()),
    ] {
        assert_eq!(refusal(study, subject).await?, hidden, "{study} {subject}");
    }
    assert!(read(&sandbox, "ml-scientist", &everything("heart", &left[0])).await?.is_ok());
    for role in ["doctor", "nurse", "patient", "administrator", "auditor", "application-developer"] {
        let refused = subjects(&sandbox, role, "heart").await?.err().context(role)?;
        assert_eq!(refused.code(), Code::PermissionDenied, "{role}");
        let refused = read(&sandbox, role, &everything("heart", &left[0])).await?.err().context(role)?;
        assert_eq!(refused.code(), Code::PermissionDenied, "{role}");
    }
    let mut client = StudyServiceClient::new(sandbox.channel().await?);
    for token in ["x".to_owned(), left[0].to_uppercase(), format!("{}0", left[0]), Uuid::new_v4().to_string()] {
        let request = ListSubjectsRequest { study: "heart".into(), page_size: 1, page_token: token };
        let problem = Problem::from(client.list_subjects(sandbox.as_person("ml-scientist", request)?).await)?;
        assert_eq!(problem.parts(), (Code::InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"));
    }
    Ok(())
}
