//! A batch that cannot be taken is refused by itself; the stream and everything else in it go on.

use model::Nanos;
use proto::telemetry::v1::{Reading, StoredReading, stored_reading::Value};
use tests::{
    Bed, Sandbox,
    builders::{self, pulse},
    line::{Problem, outlines},
};
use tonic::Code;

/// The number of a stored reading, and its flags.
pub(crate) fn tags(stored: &StoredReading) -> (f64, Vec<i32>) {
    match stored.value {
        Some(Value::Number(number)) => (number, stored.flags.clone()),
        _ => (f64::NAN, stored.flags.clone()),
    }
}

/// The numbers of all stored readings of a bed, ascending by time.
async fn numbers(sandbox: &Sandbox, bed: &Bed, n_readings: usize) -> anyhow::Result<Vec<f64>> {
    Ok(sandbox.readable(bed, n_readings).await?.iter().map(|stored| tags(stored).0).collect())
}

fn pulses(n: usize, at: Nanos) -> Vec<Reading> {
    (0..n).map(|i| pulse(60.0, at.plus(-(i as i64)))).collect()
}

/// What a unary batch is refused with.
async fn refused(sandbox: &Sandbox, bed: &Bed, sequence: u64, readings: Vec<Reading>) -> anyhow::Result<Problem> {
    let request = sandbox.as_device(bed.device, builders::write(bed, sequence, readings))?;
    Problem::from(sandbox.ingest().await?.write_readings(request).await)
}

#[tokio::test]
async fn a_stream_goes_on_after_batches_that_are_refused_whole() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let (mut line, opened) = sandbox.line(&bed, 0).await?;
    assert_eq!(opened.limits.map(|limits| limits.max_readings), Some(4_096));
    line.batch(1, vec![pulse(1.0, now)]).await;
    line.batch(2, vec![]).await;
    line.batch(3, pulses(10_000, now)).await;
    line.batch(4, vec![pulse(4.0, now.plus(1))]).await;
    line.batch(5, pulses(4_097, now)).await;
    let acked = line.acked(5).await?;
    let whole = |reason| (None, "readings", reason);
    let expected = [whole("EMPTY_BATCH"), whole("TOO_MANY_READINGS"), whole("TOO_MANY_READINGS")];
    assert_eq!(outlines(&acked.refused), expected);
    assert_eq!(acked.refused.iter().map(|refusal| refusal.sequence).collect::<Vec<_>>(), [2, 3, 5]);
    assert_eq!(acked.accepted, 2);
    assert_eq!(numbers(&sandbox, &bed, 2).await?, [1.0, 4.0]);
    Ok(())
}

#[tokio::test]
async fn the_largest_batch_is_taken_whole() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    assert_eq!(sandbox.write(&bed, 1, pulses(4_096, now)).await?.accepted_readings, 4_096);
    sandbox.readable(&bed, 4_096).await?;
    Ok(())
}

#[tokio::test]
async fn a_gap_is_refused_until_it_is_closed() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let (mut line, _) = sandbox.line(&bed, 0).await?;
    line.batch(1, vec![pulse(1.0, now)]).await;
    line.acked(1).await?;
    line.batch(3, vec![pulse(3.0, now.plus(2))]).await;
    let ack = line.ack().await?;
    assert_eq!(outlines(&ack.refused), [(None, "sequence", "SEQUENCE_GAP")]);
    assert_eq!((ack.through, ack.accepted_readings, ack.refused[0].sequence), (1, 0, 3));
    line.batch(2, vec![pulse(2.0, now.plus(1))]).await;
    line.batch(3, vec![pulse(3.0, now.plus(2))]).await;
    let acked = line.acked(3).await?;
    assert_eq!((acked.accepted, acked.duplicate, acked.refused.len()), (2, 0, 0));
    assert_eq!(numbers(&sandbox, &bed, 3).await?, [1.0, 2.0, 3.0]);
    Ok(())
}

#[tokio::test]
async fn sequences_that_no_stream_has_are_refused_and_move_nothing() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let (mut line, _) = sandbox.line(&bed, 0).await?;
    for sequence in [0, 1 << 63, u64::MAX] {
        line.batch(sequence, vec![pulse(60.0, now)]).await;
        let ack = line.ack().await?;
        assert_eq!(outlines(&ack.refused), [(None, "sequence", "SEQUENCE_OUT_OF_RANGE")]);
        assert_eq!((ack.through, ack.accepted_readings), (0, 0));
        let problem = refused(&sandbox, &bed, sequence, vec![pulse(60.0, now)]).await?;
        assert_eq!(problem.parts(), (Code::InvalidArgument, "SEQUENCE_OUT_OF_RANGE", "sequence"));
    }
    line.batch(1, vec![pulse(1.0, now)]).await;
    line.acked(1).await?;
    sandbox.write(&bed, (1 << 63) - 1, vec![pulse(2.0, now.plus(1))]).await?;
    assert_eq!(numbers(&sandbox, &bed, 2).await?, [1.0, 2.0]);
    Ok(())
}

#[tokio::test]
async fn a_device_that_claims_an_impossible_position_is_told_so() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    for resume_after in [1 << 63, u64::MAX] {
        let token = sandbox.device_token(bed.device)?;
        let mut line = tests::line::Line::start(sandbox.ingest().await?, Some(&token)).await?;
        line.send(builders::open(&bed, resume_after)).await;
        let problem = Problem::from(line.next().await)?;
        assert_eq!(problem.parts(), (Code::InvalidArgument, "SEQUENCE_OUT_OF_RANGE", "resume_after"));
    }
    let (mut line, opened) = sandbox.line(&bed, (1 << 63) - 1).await?;
    assert_eq!(opened.last_durable, 0, "a claim proves nothing");
    line.batch(1 << 63, vec![pulse(1.0, now)]).await;
    assert_eq!(line.ack().await?.refused[0].reason, "SEQUENCE_OUT_OF_RANGE");
    Ok(())
}

#[tokio::test]
async fn a_sequence_used_again_for_other_readings_is_refused_and_the_first_stay() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let now = guard::clock::now();
    let bed = Bed::numbered(0);
    let (mut line, _) = sandbox.line(&bed, 0).await?;
    line.batch(1, vec![pulse(1.0, now)]).await;
    line.acked(1).await?;
    line.batch(1, vec![pulse(99.0, now)]).await;
    let ack = line.ack().await?;
    assert_eq!(outlines(&ack.refused), [(None, "sequence", "SEQUENCE_REUSED")]);
    assert_eq!((ack.through, ack.accepted_readings), (1, 0));
    line.batch(1, vec![pulse(1.0, now)]).await;
    let ack = line.ack().await?;
    assert_eq!((ack.accepted_readings, ack.duplicate_readings), (1, 1));
    line.batch(2, vec![pulse(2.0, now.plus(1))]).await;
    line.acked(2).await?;
    assert_eq!(
        refused(&sandbox, &bed, 2, vec![pulse(9.0, now)]).await?.reason,
        "SEQUENCE_REUSED",
        "streams and single batches share numbers"
    );
    assert_eq!(numbers(&sandbox, &bed, 2).await?, [1.0, 2.0]);

    let bed = Bed::numbered(1);
    sandbox.write(&bed, 5, vec![pulse(5.0, now)]).await?;
    let problem = refused(&sandbox, &bed, 5, vec![pulse(6.0, now)]).await?;
    assert_eq!(problem.parts(), (Code::InvalidArgument, "SEQUENCE_REUSED", "sequence"));
    let again = sandbox.write(&bed, 5, vec![pulse(5.0, now)]).await?;
    assert_eq!((again.accepted_readings, again.duplicate_readings), (1, 1));
    assert_eq!(numbers(&sandbox, &bed, 1).await?, [5.0]);
    Ok(())
}

#[tokio::test]
async fn single_batches_that_cannot_be_taken_are_refused_with_their_field() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let problem = refused(&sandbox, &bed, 1, vec![]).await?;
    assert_eq!(problem.parts(), (Code::InvalidArgument, "EMPTY_BATCH", "readings"));
    let problem = refused(&sandbox, &bed, 1, pulses(10_000, now)).await?;
    assert_eq!(problem.parts(), (Code::InvalidArgument, "TOO_MANY_READINGS", "readings"));
    for (field, reason) in [("device_id", "INVALID_ID"), ("stream_id", "INVALID_ID")] {
        let mut message = builders::write(&bed, 1, vec![pulse(1.0, now)]);
        match field {
            "device_id" => message.device_id = "bed seven".into(),
            _ => message.stream_id = "7".into(),
        }
        let outcome = sandbox.ingest().await?.write_readings(sandbox.as_device(bed.device, message)?).await;
        assert_eq!(Problem::from(outcome)?.parts(), (Code::InvalidArgument, reason, field));
    }
    // none of them used up the number
    assert_eq!(sandbox.write(&bed, 1, vec![pulse(1.0, now)]).await?.duplicate_readings, 0);
    assert_eq!(numbers(&sandbox, &bed, 1).await?, [1.0]);
    Ok(())
}
