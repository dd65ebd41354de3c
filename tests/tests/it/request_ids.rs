//! One id for a request, in its answer, its errors and its entries in the audit log; a caller's own counts.

use anyhow::Context;
use auth::demo_person;
use guard::request_id::HEADER;
use model::audit::{Entry, Outcome};
use tests::{
    Bed, Sandbox,
    builders::{everything, pulse, write},
    http,
};
use tonic::{Request, Status, metadata::MetadataMap};
use tonic_types::StatusExt;
use uuid::Uuid;

fn with_id<T>(mut request: Request<T>, id: &Uuid) -> anyhow::Result<Request<T>> {
    request.metadata_mut().insert(HEADER, id.to_string().parse()?);
    Ok(request)
}

fn id(metadata: &MetadataMap) -> Option<&str> {
    metadata.get(HEADER)?.to_str().ok()
}

/// The id that an error names, in its metadata and in its details.
fn named(status: &Status) -> anyhow::Result<String> {
    let in_details = status.get_details_request_info().context("no RequestInfo")?.request_id;
    let in_metadata = id(status.metadata());
    // the metadata of a stream came before its error
    anyhow::ensure!(in_metadata.is_none_or(|id| id == in_details), "{in_metadata:?} and {in_details}");
    Ok(in_details)
}

#[tokio::test]
async fn an_rpc_is_answered_with_its_id_whatever_comes_of_it() -> anyhow::Result<()> {
    let (sandbox, bed, own) = (Sandbox::start(1).await?, Bed::numbered(0), Uuid::new_v4());
    let mut ingest = sandbox.ingest().await?;
    let batch = |sequence| write(&bed, sequence, vec![pulse(60.0, guard::clock::now())]);
    let answer = ingest.write_readings(with_id(sandbox.as_device(bed.device, batch(1))?, &own)?).await?;
    assert_eq!(id(answer.metadata()), Some(&*own.to_string()));
    let answer = ingest.write_readings(sandbox.as_device(bed.device, batch(2))?).await?;
    let made: Uuid = id(answer.metadata()).context("no id was made")?.parse()?;
    assert_ne!(made, own);
    // before authentication, by the policy, by the service, and of a method that there is not
    let mut timeline = sandbox.timeline().await?;
    let refused = [
        ingest.write_readings(with_id(Request::new(batch(3)), &own)?).await.map(drop),
        ingest.write_readings(with_id(sandbox.as_device(bed.device, batch(0))?, &own)?).await.map(drop),
        timeline
            .read_timeline(with_id(sandbox.as_person("nurse", everything(&Bed::numbered(9)))?, &own)?)
            .await
            .map(drop),
    ];
    for refused in refused {
        let status = refused.err().context("it was not refused")?;
        assert_eq!(named(&status)?, own.to_string(), "{status:?}");
        assert!(status.get_details_error_info().is_some(), "the other details are still there: {status:?}");
    }
    let (line, _) = sandbox.line(&bed, 2).await?;
    line.send(tests::builders::open(&bed, 0)).await;
    let ended = line.until_end().await?.2.context("it did not end with an error")?;
    named(&ended)?.parse::<Uuid>()?;
    Ok(())
}

#[tokio::test]
async fn the_json_api_answers_with_its_id_too() -> anyhow::Result<()> {
    let (sandbox, own) = (Sandbox::start(1).await?, Uuid::new_v4().to_string());
    let doctor = sandbox.issuer()?.user_token(demo_person("doctor").context("no doctor")?)?;
    let bearer = format!("Bearer {doctor}");
    let latest = |bed: u32| format!("/v1/patients/{}/latest", Bed::numbered(bed).patient.uuid());
    for (path, status) in [(latest(0), 200), (latest(9), 404), ("/v1/nothing".to_owned(), 404)] {
        for given in [Some(&*own), Some(""), Some("jane-doe")] {
            let mut headers = vec![("authorization", &*bearer)];
            headers.extend(given.map(|given| (HEADER, given)));
            let answer = http::ask(sandbox.api()?, "GET", &path, &headers, "").await?;
            let id = answer.header(HEADER).context("no id")?;
            assert_eq!(answer.status, status, "{}", answer.body);
            assert_eq!(id == own, given == Some(&own), "{id} for {given:?}");
            id.parse::<Uuid>()?;
            if status != 200 {
                assert_eq!(answer.json()?["request_id"], *id, "{}", answer.body);
            }
        }
    }
    let twice = [("x-request-id", &*own), ("authorization", "a"), ("authorization", "b")];
    let answer = http::ask(sandbox.api()?, "GET", "/v1/nothing", &twice, "").await?;
    assert_eq!((answer.status, answer.header(HEADER)), (400, Some(&*own)));
    assert_eq!(answer.json()?["request_id"], *own);
    Ok(())
}

#[tokio::test]
async fn what_is_written_down_of_a_request_has_its_id() -> anyhow::Result<()> {
    let (mut sandbox, bed, own) = (Sandbox::start(1).await?, Bed::numbered(0), Uuid::new_v4());
    let mut timeline = sandbox.timeline().await?;
    timeline.read_timeline(with_id(sandbox.as_person("doctor", everything(&bed))?, &own)?).await?;
    let refused = with_id(sandbox.as_person("administrator", everything(&bed))?, &own)?;
    timeline.read_timeline(refused).await.err().context("it was not refused")?;
    sandbox.stop().await?;
    let store = store::embedded::Store::open(sandbox.dir.path().join("store"))?;
    let mut found = Vec::new();
    for writer in store::Audit::writers(&store).await? {
        for (_, bytes) in store::Audit::entries(&store, writer, 0, 10_000).await? {
            let event = Entry::decode(&bytes)?.event;
            if event.request == own.into_bytes() {
                found.push(((*event.action).to_owned(), event.outcome == Outcome::Allowed));
            }
        }
    }
    let expected = [("login", true), ("timeline.read", true), ("login", true), ("timeline.read", false)];
    assert_eq!(found, expected.map(|(action, is_allowed)| (action.to_owned(), is_allowed)));
    Ok(())
}
