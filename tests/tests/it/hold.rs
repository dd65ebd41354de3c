//! In front of a log whose receipts the test gives out: acknowledged means durable, and nothing is lost when the log is
//! slow, full, or fails.

use model::{Block, Record};
use proto::telemetry::v1::stream_readings_response::Message as Out;
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tests::{
    Bed,
    builders::{pulse, write},
    fakes::{Front, HeldLog},
    line::{Line, Problem},
    wait::until,
    with_token,
};
use tonic::Code;

/// Long enough for an answer that must not come.
const QUIET: Duration = Duration::from_millis(300);

fn lost() -> bus::Error {
    bus::Error::Unavailable("the test says so".into())
}

fn no_space() -> bus::Error {
    bus::Error::NoSpace("the test says so".into())
}

struct Stage {
    dir: TempDir,
    log: Arc<HeldLog>,
    front: Front,
    bed: Bed,
}

impl Stage {
    async fn new(max_in_flight: u32) -> anyhow::Result<Self> {
        let (dir, bed) = (tempfile::tempdir()?, Bed::numbered(0));
        std::fs::write(dir.path().join("beds.toml"), tests::directory_of(&[bed]))?;
        let log = Arc::new(HeldLog::default());
        let limits = ingest::Limits { max_in_flight, ..Default::default() };
        let front = Front::serve(log.clone(), dir.path(), limits).await?;
        Ok(Self { dir, log, front, bed })
    }

    fn token(&self) -> String {
        self.bed.device.uuid().to_string()
    }

    async fn line(&self, resume_after: u64) -> anyhow::Result<(Line, u64)> {
        let (line, opened) = Line::open(self.front.client().await?, &self.token(), &self.bed, resume_after).await?;
        Ok((line, opened.last_durable))
    }

    fn sequences(&self) -> anyhow::Result<Vec<u64>> {
        let records = self.log.records();
        records.iter().map(|record| Ok(Record::decode(&record.payload)?.identity.sequence)).collect()
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable_and_acknowledgements_are_in_order() -> anyhow::Result<()> {
    let stage = Stage::new(64).await?;
    let (mut line, _) = stage.line(0).await?;
    for sequence in 1..=10 {
        line.batch(sequence, vec![pulse(sequence as f64, guard::clock::now())]).await;
    }
    stage.log.holds(10).await?;
    assert!(line.is_silent(QUIET).await, "acknowledged before the log had anything on disk");
    stage.log.release(4);
    assert_eq!(line.acked(4).await?.through, 4);
    assert!(line.is_silent(QUIET).await, "acknowledged more than what is durable");
    stage.log.release(6);
    assert_eq!(line.acked(10).await?.accepted, 6);
    assert_eq!(stage.sequences()?, (1..=10).collect::<Vec<_>>());
    // the log's key is the patient, and the record says who sent it and to whom it belongs
    for record in stage.log.records() {
        assert_eq!(record.key, stage.bed.patient);
        let decoded = Record::decode(&record.payload)?;
        assert_eq!((decoded.patient, decoded.identity.device), (stage.bed.patient, stage.bed.device));
        assert_eq!(Block::decode(decoded.slices[0].hour, &decoded.slices[0].block)?.len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_single_batch_is_answered_only_when_it_is_durable() -> anyhow::Result<()> {
    let stage = Stage::new(64).await?;
    let (mut client, bed) = (stage.front.client().await?, stage.bed);
    let request = with_token(write(&bed, 1, vec![pulse(1.0, guard::clock::now())]), &stage.token())?;
    let mut call = tokio::spawn(async move { client.write_readings(request).await });
    stage.log.holds(1).await?;
    assert!(tokio::time::timeout(QUIET, &mut call).await.is_err(), "answered before it was durable");
    stage.log.release(1);
    assert_eq!(call.await??.into_inner().accepted_readings, 1);
    Ok(())
}

#[tokio::test]
async fn a_lost_single_batch_is_not_accepted_and_is_published_when_it_comes_again() -> anyhow::Result<()> {
    let stage = Stage::new(64).await?;
    let (client, now) = (stage.front.client().await?, guard::clock::now());
    let send = || {
        let (mut client, message) = (client.clone(), write(&stage.bed, 1, vec![pulse(1.0, now)]));
        let request = with_token(message, &stage.token());
        tokio::spawn(async move { anyhow::Ok(client.write_readings(request?).await) })
    };
    let causes = [(lost as fn() -> _, "LOG_UNAVAILABLE"), (no_space, "NO_SPACE")];
    for (n_sent, (why, reason)) in (1..).zip(causes) {
        let sent = send();
        stage.log.holds(n_sent).await?;
        stage.log.fail(1, why);
        let problem = Problem::from(sent.await??)?;
        assert_eq!((problem.code, problem.reason.as_str()), (Code::Unavailable, reason));
        assert!(problem.retry_after.is_some());
    }
    let last = send();
    stage.log.holds(3).await?;
    stage.log.release(1);
    let answer = last.await???.into_inner();
    assert_eq!((answer.accepted_readings, answer.duplicate_readings), (1, 0));
    let records = stage.log.records();
    let identity = |n: usize| Record::decode(&records[n].payload).map(|record| record.identity);
    assert_eq!(identity(0)?, identity(2)?, "sent again it lands on itself");
    Ok(())
}

#[tokio::test]
async fn a_slow_log_stops_the_reading_of_the_stream() -> anyhow::Result<()> {
    let stage = Stage::new(4).await?;
    let (mut line, _) = stage.line(0).await?;
    for sequence in 1..=100 {
        line.batch(sequence, vec![pulse(1.0, guard::clock::now())]).await;
    }
    stage.log.holds(4).await?;
    assert!(line.is_silent(QUIET).await);
    let held = stage.log.records().len();
    // the queue, the one being waited for and the one waiting for room in the queue
    assert!((4..=6).contains(&held), "{held} batches were read on credit of 4");
    let releasing = async || {
        stage.log.release(100);
        Ok(stage.log.records().len())
    };
    until("the rest", releasing, |n| *n == 100).await?;
    stage.log.release(100);
    assert_eq!(line.acked(100).await?.through, 100);
    assert_eq!(stage.sequences()?, (1..=100).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_full_log_throttles_and_drops_nothing() -> anyhow::Result<()> {
    let stage = Stage::new(64).await?;
    let (mut line, _) = stage.line(0).await?;
    stage.log.crowd(true);
    line.batch(1, vec![pulse(1.0, guard::clock::now())]).await;
    line.batch(2, vec![pulse(2.0, guard::clock::now())]).await;
    let Some(Out::Throttle(throttle)) = line.next().await? else { anyhow::bail!("not throttled") };
    assert!(throttle.max_in_flight < 64 && throttle.retry_after.is_some_and(|wait| wait.nanos > 0));
    stage.log.holds(2).await?;
    assert!(line.is_silent(QUIET).await, "told once; and nothing is acknowledged for being full");
    stage.log.crowd(false);
    line.batch(3, vec![pulse(3.0, guard::clock::now())]).await;
    let Some(Out::Throttle(throttle)) = line.next().await? else { anyhow::bail!("not lifted") };
    assert_eq!(throttle.max_in_flight, 64);
    stage.log.holds(3).await?;
    stage.log.release(3);
    line.acked(3).await?;
    assert_eq!(stage.sequences()?, [1, 2, 3]);
    Ok(())
}

#[tokio::test]
async fn a_lost_record_ends_the_stream_and_is_never_acknowledged() -> anyhow::Result<()> {
    let stage = Stage::new(64).await?;
    let (mut line, _) = stage.line(0).await?;
    let readings = |n: u64| vec![pulse(n as f64, model::Nanos(n as i64))];
    for sequence in 1..=5 {
        line.batch(sequence, readings(sequence)).await;
    }
    stage.log.holds(5).await?;
    stage.log.release(2);
    line.acked(2).await?;
    // the third is lost, those after it are durable
    stage.log.fail(1, lost);
    stage.log.release(2);
    let (acked, _, status) = line.until_end().await?;
    assert_eq!(acked.through, 0, "nothing after the lost batch may be acknowledged");
    let problem = Problem::from(status.map_or(Ok(()), Err))?;
    assert_eq!((problem.code, problem.reason.as_str()), (Code::Unavailable, "LOG_UNAVAILABLE"));
    assert!(problem.retry_after.is_some());

    let (mut line, last_durable) = stage.line(0).await?;
    assert_eq!(last_durable, 2);
    for sequence in 3..=5 {
        line.batch(sequence, readings(sequence)).await;
    }
    stage.log.holds(8).await?;
    stage.log.release(3);
    let acked = line.acked(5).await?;
    assert_eq!(acked.refused.len(), 0);
    assert_eq!(stage.sequences()?, [1, 2, 3, 4, 5, 3, 4, 5]);
    Ok(())
}

#[tokio::test]
async fn draining_waits_for_what_is_under_way() -> anyhow::Result<()> {
    let stage = Stage::new(64).await?;
    let (mut line, _) = stage.line(0).await?;
    for sequence in 1..=3 {
        line.batch(sequence, vec![pulse(1.0, guard::clock::now())]).await;
    }
    stage.log.holds(3).await?;
    stage.front.drain.cancel();
    let Some(Out::Draining(draining)) = line.next().await? else { anyhow::bail!("not told") };
    assert!(draining.reconnect_after.is_some());
    assert!(line.is_silent(QUIET).await, "acknowledged, or ended, before the log was done");
    stage.log.release(3);
    assert_eq!(line.acked(3).await?.accepted, 3);
    let (.., status) = line.until_end().await?;
    assert!(status.is_none(), "{status:?}");
    Ok(())
}

#[tokio::test]
async fn a_device_that_keeps_sending_is_told_of_the_drain_too() -> anyhow::Result<()> {
    let stage = Stage::new(64).await?;
    let (line, _) = stage.line(0).await?;
    stage.front.drain.cancel();
    for sequence in 1..=500 {
        line.batch(sequence, vec![pulse(1.0, guard::clock::now())]).await;
    }
    let (acked, draining, status) = line.until_end().await?;
    assert!(draining && status.is_none());
    assert_eq!(acked.through, 0);
    drop(stage.dir);
    Ok(())
}
