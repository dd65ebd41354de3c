//! A record that nobody can read is put aside once, with its bytes; its partition goes on, and operators can replay it.

use bus::{Outgoing, Publish, embedded};
use bytes::Bytes;
use model::{BatchId, ClockQuality, Hour, Nanos, Record, Slice};
use node::services;
use proto::operations::v1::{
    ListQuarantinedRequest, ReplayQuarantinedRequest, quarantine_service_client::QuarantineServiceClient,
};
use store::{LogPosition, Quarantine as _, Quarantined, embedded::Store};
use tests::{Bed, Sandbox, builders::block_of, line::Problem, wait::until};
use tonic::{Code, Request};
use wardline::{cli::Quarantine, quarantine::QuarantineClient};

const AT: Nanos = Nanos(1_700_000_000 * Nanos::SECOND);

fn record(bed: &Bed, sequence: u64, number: f64) -> Bytes {
    let (_, block) = block_of("8867-4", number, AT.plus(sequence as i64));
    let slices = vec![Slice { hour: AT.hour(), block: block.into() }];
    let identity = BatchId { device: bed.device, stream: bed.stream, sequence, digest: sequence };
    let clock = ClockQuality::Synchronized;
    Record { patient: bed.patient, identity, received_at: AT, clock, acked_through: 0, slices }.encode()
}

/// A record whose frame is right and whose block is not.
fn record_with_bad_block(bed: &Bed) -> Bytes {
    let slices = vec![Slice { hour: Hour(1), block: Bytes::from_static(b"\x09nonsense") }];
    let identity = BatchId { device: bed.device, stream: bed.stream, sequence: 70, digest: 1 };
    let clock = ClockQuality::Unknown;
    Record { patient: bed.patient, identity, received_at: AT, clock, acked_through: 0, slices }.encode()
}

/// Puts records into the log of a sandbox that does not run.
async fn publish(sandbox: &Sandbox, bed: &Bed, records: &[Bytes]) -> anyhow::Result<()> {
    let log = embedded::Log::open(&sandbox.dir.path().join("log"), embedded::Settings::default())?;
    for payload in records {
        log.publish(Outgoing { key: bed.patient, payload: payload.clone() }).await?.await?;
    }
    Ok(())
}

async fn served(sandbox: &Sandbox) -> anyhow::Result<QuarantineClient> {
    let token = sandbox.issuer()?.user_token(auth::DEMO_PEOPLE[2].2)?;
    QuarantineClient::connect(&sandbox.endpoint(), &token).await
}

async fn act(sandbox: &Sandbox, action: Quarantine) -> (String, anyhow::Result<()>) {
    let mut out = Vec::new();
    let done = match served(sandbox).await {
        Ok(mut served) => served.act(&action, &mut out).await,
        Err(error) => Err(error),
    };
    (String::from_utf8_lossy(&out).into_owned(), done)
}

async fn stopped(n_beds: u32) -> anyhow::Result<Sandbox> {
    let mut sandbox = Sandbox::with(n_beds, &[], &services::ALL).await?;
    sandbox.stop().await?;
    Ok(sandbox)
}

#[tokio::test]
async fn unreadable_records_are_put_aside_once_and_the_partition_goes_on() -> anyhow::Result<()> {
    let mut sandbox = stopped(1).await?;
    let bed = Bed::numbered(0);
    let mut torn = record(&bed, 9, 99.0).to_vec();
    torn[60] ^= 1;
    let garbage = Bytes::from_static(b"not a record at all");
    let records = [
        record(&bed, 1, 1.0),
        garbage.clone(),
        torn.clone().into(),
        record_with_bad_block(&bed),
        Bytes::new(),
        record(&bed, 2, 2.0),
    ];
    publish(&sandbox, &bed, &records).await?;
    let mut first = Vec::new();
    for round in 0..2 {
        sandbox.run().await?;
        let stored = sandbox.readable(&bed, 2).await?;
        assert_eq!(stored.iter().map(|s| s.sequence).collect::<Vec<_>>(), [1, 2]);
        // rows are written first
        let count = async || Ok(served(&sandbox).await?.list().await?.len());
        until("records put aside", count, |n| *n >= 4).await?;
        let listed = served(&sandbox).await?.list().await?;
        assert_eq!(listed.len(), 4, "round {round}");
        let found: Vec<_> = listed.iter().map(|record| (record.log_position.clone(), record.bytes)).collect();
        assert!(listed.iter().all(|record| !record.reason.is_empty() && record.replayed_at.is_none()));
        assert_eq!(
            listed.iter().map(|record| record.bytes).collect::<Vec<_>>(),
            [19, torn.len() as u64, records[3].len() as u64, 0]
        );
        if round == 0 {
            first = found;
            sandbox.stop().await?;
        } else {
            assert_eq!(found, first);
        }
    }
    let (out, done) = act(&sandbox, Quarantine::Show { log_position: first[0].0.clone() }).await;
    done?;
    let hexadecimal: String = garbage.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(out.contains(&hexadecimal) && out.contains(&first[0].0), "{out}");

    let (out, done) = act(&sandbox, Quarantine::Replay { log_positions: vec![] }).await;
    assert!(done.is_err_and(|error| error.to_string().contains("4 of 4")));
    assert_eq!(out.matches("still cannot be read").count(), 4, "{out}");
    assert_eq!(served(&sandbox).await?.list().await?.len(), 4);
    let (out, done) = act(&sandbox, Quarantine::Replay { log_positions: vec!["readings.v1/0/999".into()] }).await;
    assert!(done.is_err() && out.contains("nothing was put aside there"), "{out}");
    Ok(())
}

#[tokio::test]
async fn a_record_that_can_be_read_by_now_is_replayed_and_lands_on_itself() -> anyhow::Result<()> {
    let mut sandbox = stopped(1).await?;
    let bed = Bed::numbered(0);
    // put aside by an older version that could not read it
    {
        let store = Store::open(sandbox.dir.path().join("store"))?;
        let position = LogPosition { topic: bus::READINGS.into(), partition: 3, offset: 7 };
        let reason = "a version that this one does not know".to_owned();
        store
            .put_aside(&Quarantined { position, at: AT, reason, payload: record(&bed, 5, 55.0), replayed_at: None })
            .await?;
    }
    sandbox.run().await?;
    assert_eq!(sandbox.readable(&bed, 0).await?.len(), 0);
    let log_position = "readings.v1/3/7".to_owned();
    let (out, done) = act(&sandbox, Quarantine::List { json: true }).await;
    done?;
    assert!(out.contains(&log_position) && out.contains("\"replayed_at\": null"), "{out}");
    for _ in 0..2 {
        let (out, done) = act(&sandbox, Quarantine::Replay { log_positions: vec![log_position.clone()] }).await;
        done?;
        assert!(out.contains("published again"), "{out}");
        sandbox.readable(&bed, 1).await?;
    }
    // a record of the same partition after both replays: they have been written by the time it is read
    sandbox.write(&bed, 6, vec![tests::builders::pulse(66.0, AT)]).await?;
    let stored = sandbox.readable(&bed, 2).await?;
    assert_eq!(stored.iter().map(|s| s.sequence).collect::<Vec<_>>(), [6, 5]);
    let replayed =
        async || Ok(served(&sandbox).await?.list().await?.iter().filter(|r| r.replayed_at.is_some()).count());
    until("marked as replayed", replayed, |n| *n == 1).await?;
    let (out, done) = act(&sandbox, Quarantine::Replay { log_positions: vec![] }).await;
    done?;
    assert_eq!(out, "", "what was replayed is not replayed by itself again");
    Ok(())
}

#[tokio::test]
async fn a_batch_whose_sequence_was_used_is_not_replayed() -> anyhow::Result<()> {
    let mut sandbox = stopped(1).await?;
    let bed = Bed::numbered(0);
    let other = record(&bed, 2, 99.0);
    {
        let store = Store::open(sandbox.dir.path().join("store"))?;
        let position = LogPosition { topic: bus::READINGS.into(), partition: 3, offset: 7 };
        let reason = format!("{}: and why", writer::SEQUENCE_REUSED);
        store.put_aside(&Quarantined { position, at: AT, reason, payload: other, replayed_at: None }).await?;
    }
    sandbox.run().await?;
    let (out, done) = act(&sandbox, Quarantine::Replay { log_positions: vec![] }).await;
    assert!(done.is_err() && out.contains("a number of their own"), "{out}");
    assert_eq!(sandbox.readable(&bed, 0).await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn only_operators_see_what_was_put_aside() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let mut client = QuarantineServiceClient::new(sandbox.channel().await?);
    let list = || ListQuarantinedRequest {};
    for request in [
        sandbox.as_person("doctor", list())?,
        sandbox.as_person("nurse", list())?,
        sandbox.as_device(Bed::numbered(0).device, list())?,
    ] {
        let problem = Problem::from(client.list_quarantined(request).await)?;
        assert_eq!((problem.code, problem.reason.as_str()), (Code::PermissionDenied, "NOT_PERMITTED"));
    }
    let log_position = "readings.v1/0/0".to_owned();
    let replay = sandbox.as_person("doctor", ReplayQuarantinedRequest { log_position })?;
    assert_eq!(Problem::from(client.replay_quarantined(replay).await)?.code, Code::PermissionDenied);
    let problem = Problem::from(client.list_quarantined(Request::new(list())).await)?;
    assert_eq!((problem.code, problem.reason.as_str()), (Code::Unauthenticated, "NO_TOKEN"));
    assert_eq!(
        client.list_quarantined(sandbox.as_person("administrator", list())?).await?.into_inner().records.len(),
        0
    );
    Ok(())
}
