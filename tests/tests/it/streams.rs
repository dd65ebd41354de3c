//! Streams against a whole node: resuming, superseding, draining, ending.

use model::Nanos;
use node::services;
use proto::telemetry::v1::stream_readings_response::Message as Out;
use std::time::Duration;
use tests::{
    Bed, Sandbox,
    builders::{open, pulse},
    line::{Line, Problem},
};
use tonic::Code;

fn at(n: u64) -> Nanos {
    // one instant a sequence, in the past
    Nanos(1_700_000_000 * Nanos::SECOND + n as i64)
}

async fn send(line: &Line, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        line.batch(sequence, vec![pulse(sequence as f64, at(sequence))]).await;
    }
}

#[tokio::test]
async fn a_stream_resumes_where_it_was_also_after_a_restart_and_repeats_are_counted_and_seen_once() -> anyhow::Result<()>
{
    let mut sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let (mut line, opened) = sandbox.line(&bed, 0).await?;
    assert_eq!(opened.last_durable, 0);
    send(&line, 1..=20).await;
    assert_eq!(line.acked(20).await?.accepted, 20);
    send(&line, 15..=21).await;
    let acked = line.acked(21).await?;
    assert_eq!((acked.accepted, acked.duplicate, acked.refused.len()), (7, 6, 0));
    drop(line);

    let (line, opened) = sandbox.line(&bed, 3).await?;
    assert_eq!(opened.last_durable, 21, "the server knows more than the device");
    send(&line, 22..=22).await;
    assert_eq!(line.finish().await?.0.through, 22);
    sandbox.readable(&bed, 22).await?;

    sandbox.stop().await?;
    sandbox.run().await?;
    let (line, opened) = sandbox.line(&bed, 10).await?;
    let known = opened.last_durable;
    assert!((10..=22).contains(&known), "{known}");
    // what this process did not see is published again, and lands on itself
    send(&line, known.min(20) + 1..=24).await;
    let (acked, ..) = line.finish().await?;
    assert_eq!((acked.through, acked.refused.len()), (24, 0));
    let stored = sandbox.readable(&bed, 24).await?;
    let sequences: Vec<_> = stored.iter().map(|reading| reading.sequence).collect();
    assert_eq!(sequences, (1..=24).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_restarted_node_learns_from_the_store_where_a_stream_was() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let (mut line, _) = sandbox.line(&bed, 0).await?;
    for sequence in 1..=5 {
        send(&line, sequence..=sequence).await;
        line.acked(sequence).await?;
    }
    drop(line);
    sandbox.readable(&bed, 5).await?;
    sandbox.stop().await?;
    sandbox.run().await?;
    let (_, opened) = sandbox.line(&bed, 0).await?;
    // the fifth record says that four were durable before it
    assert_eq!(opened.last_durable, 4);
    Ok(())
}

#[tokio::test]
async fn the_newer_connection_has_the_stream() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let (mut older, _) = sandbox.line(&bed, 0).await?;
    send(&older, 1..=2).await;
    older.acked(2).await?;
    let (mut newer, opened) = sandbox.line(&bed, 0).await?;
    assert_eq!(opened.last_durable, 2);
    send(&newer, 3..=3).await;
    newer.acked(3).await?;
    send(&older, 3..=4).await;
    let (acked, _, status) = older.until_end().await?;
    assert_eq!(acked.through, 0);
    let problem = Problem::from(status.map_or(Ok(()), Err))?;
    assert_eq!((problem.code, problem.reason.as_str()), (Code::FailedPrecondition, "SUPERSEDED"));
    send(&newer, 4..=4).await;
    newer.acked(4).await?;
    sandbox.readable(&bed, 4).await?;
    Ok(())
}

#[tokio::test]
async fn a_quiet_stream_hears_that_it_was_superseded_or_that_its_device_is_gone() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let (bed, removed) = (Bed::numbered(0), Bed::numbered(1));
    let (mut older, _) = sandbox.line(&bed, 0).await?;
    send(&older, 1..=1).await;
    older.acked(1).await?;
    let (mut newer, _) = sandbox.line(&bed, 0).await?;
    let (gone, _) = sandbox.line(&removed, 0).await?;
    sandbox.write_beds("beds", &[bed])?;
    // neither sends anything; each must be told all the same
    let told = async |line: Line| -> anyhow::Result<_> {
        let (.., status) = line.until_end().await?;
        Problem::from(status.map_or(Ok(()), Err))
    };
    let both = async { anyhow::Ok((told(older).await?, told(gone).await?)) };
    let (superseded, removed) = tokio::time::timeout(Duration::from_secs(8), both).await??;
    assert_eq!((superseded.code, superseded.reason.as_str()), (Code::FailedPrecondition, "SUPERSEDED"));
    assert_eq!((removed.code, removed.reason.as_str()), (Code::PermissionDenied, "UNKNOWN_DEVICE"));
    // and the newer stream is as it was
    send(&newer, 2..=2).await;
    newer.acked(2).await?;
    Ok(())
}

#[tokio::test]
async fn two_streams_of_one_device_do_not_disturb_each_other() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let other = Bed { stream: Bed::numbered(1).stream, ..bed };
    let (mut first, _) = sandbox.line(&bed, 0).await?;
    let (mut second, opened) = sandbox.line(&other, 0).await?;
    assert_eq!(opened.last_durable, 0);
    // the same sequences, times and values: what the second stream says again is kept, and shown once
    send(&first, 1..=3).await;
    send(&second, 1..=3).await;
    first.acked(3).await?;
    assert_eq!(second.acked(3).await?.duplicate, 0);
    sandbox.readable(&bed, 3).await?;
    Ok(())
}

#[tokio::test]
async fn a_stop_drains_the_stream_and_nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let (mut line, _) = sandbox.line(&bed, 0).await?;
    send(&line, 1..=1).await;
    line.acked(1).await?;
    send(&line, 2..=200).await;
    sandbox.drain();
    let (acked, draining, status) = line.until_end().await?;
    assert!(draining && status.is_none(), "{status:?}");
    let through = acked.through.max(1);
    sandbox.stop().await?;
    sandbox.run().await?;
    let (line, opened) = sandbox.line(&bed, through).await?;
    // the store may lag behind what was acknowledged; what the device has dropped is not asked for
    assert!(opened.last_durable <= through, "{} of {through}", opened.last_durable);
    send(&line, through + 1..=200).await;
    assert_eq!(line.finish().await?.0.through.max(through), 200);
    sandbox.readable(&bed, 200).await?;
    Ok(())
}

#[tokio::test]
async fn an_idle_stream_is_ended_and_so_is_one_that_never_opens() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(1, &["ingest.idle_seconds=1"], &services::ALL).await?;
    let bed = Bed::numbered(0);
    let token = sandbox.device_token(bed.device)?;
    let silent = Line::start(sandbox.ingest().await?, Some(&token)).await?;
    let (line, _) = sandbox.line(&bed, 0).await?;
    send(&line, 1..=1).await;
    let (acked, _, status) = line.until_end().await?;
    assert_eq!(acked.through, 1);
    for status in [status, silent.until_end().await?.2] {
        let problem = Problem::from(status.map_or(Ok(()), Err))?;
        assert_eq!((problem.code, problem.reason.as_str()), (Code::DeadlineExceeded, "IDLE"));
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_does_not_outlive_its_token() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    // three seconds before the last of the thirty by which clocks may differ
    let token = sandbox.issuer()?.sign(format!("device:{}", bed.device.uuid()), -27)?;
    let mut quiet = Line::start(sandbox.ingest().await?, Some(&token)).await?;
    quiet.send(open(&Bed { stream: Bed::numbered(1).stream, ..bed }, 0)).await;
    quiet.next().await?;
    let mut busy = Line::start(sandbox.ingest().await?, Some(&token)).await?;
    busy.send(open(&bed, 0)).await;
    busy.next().await?;
    let mut sequence = 0;
    // paced, so that all of it fits into one page of a timeline
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let status = loop {
        pace.tick().await;
        sequence += 1;
        send(&busy, sequence..=sequence).await;
        match busy.next().await {
            Ok(Some(Out::Ack(ack))) => assert_eq!(ack.through, sequence),
            Ok(_) => anyhow::bail!("the stream ended without a reason"),
            Err(status) => break status,
        }
    };
    assert!(sequence > 1, "the token was good for a while");
    let (.., other) = quiet.until_end().await?;
    for problem in [Problem::of(&status), Problem::from(other.map_or(Ok(()), Err))?] {
        assert_eq!((problem.code, problem.reason.as_str()), (Code::Unauthenticated, "TOKEN_EXPIRED"));
    }
    // what was sent last may have been taken and not acknowledged
    let acknowledged = sandbox.readable(&bed, sequence as usize - 1).await;
    if acknowledged.is_err() {
        sandbox.readable(&bed, sequence as usize).await?;
    }
    Ok(())
}
