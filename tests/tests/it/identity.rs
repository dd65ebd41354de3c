//! A sequence stands for what it was first stored with: whatever the server remembers.

use async_trait::async_trait;
use bus::{Commits, Delivery, Partition, Subscribe};
use model::{
    BatchId, ClockQuality, DeviceId, Hour, Nanos, PatientId, Permit, Range, Record, Row, Slice, StreamId, UserId,
    access,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::{Append, Data, Identities, Order, Sought, Timeline, embedded::Store};
use tests::{
    Bed, Sandbox,
    builders::{block_of, pulse, write},
    line::{Line, Problem, outlines},
    wait::until,
};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use writer::{SEQUENCE_REUSED, Writer};

fn at(n: u64) -> Nanos {
    Nanos(1_700_000_000 * Nanos::SECOND + n as i64)
}

async fn send(line: &Line, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        line.batch(sequence, vec![pulse(sequence as f64, at(sequence))]).await;
    }
}

/// Sends other readings, and then its own again, under a sequence that was used; over a stream and by a call.
async fn is_refused(sandbox: &Sandbox, line: &mut Line, bed: &Bed, sequence: u64) -> anyhow::Result<()> {
    line.batch(sequence, vec![pulse(99.0, at(sequence))]).await;
    let ack = line.ack().await?;
    assert_eq!(outlines(&ack.refused), [(None, "sequence", SEQUENCE_REUSED)]);
    let request = sandbox.as_device(bed.device, write(bed, sequence, vec![pulse(98.0, at(sequence))]))?;
    let problem = Problem::from(sandbox.ingest().await?.write_readings(request).await)?;
    assert_eq!(problem.parts(), (Code::InvalidArgument, SEQUENCE_REUSED, "sequence"));
    send(line, sequence..=sequence).await;
    let ack = line.ack().await?;
    assert_eq!((ack.accepted_readings, ack.refused.len()), (1, 0), "its own readings");
    Ok(())
}

#[tokio::test]
async fn a_sequence_used_again_is_refused_also_after_a_restart_and_after_600_batches() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let (mut line, _) = sandbox.line(&bed, 0).await?;
    send(&line, 1..=600).await;
    line.acked(600).await?;
    sandbox.readable(&bed, 600).await?;
    is_refused(&sandbox, &mut line, &bed, 2).await?;
    drop(line);
    sandbox.stop().await?;
    sandbox.run().await?;
    // without a stream, nothing at all is remembered
    let request = sandbox.as_device(bed.device, write(&bed, 3, vec![pulse(97.0, at(3))]))?;
    let problem = Problem::from(sandbox.ingest().await?.write_readings(request).await)?;
    assert_eq!(problem.parts(), (Code::InvalidArgument, SEQUENCE_REUSED, "sequence"));
    // as a device that has not lost its place: without that, the store may know of less than all
    let (mut line, _) = sandbox.line(&bed, 600).await?;
    is_refused(&sandbox, &mut line, &bed, 2).await?;
    is_refused(&sandbox, &mut line, &bed, 600).await?;
    // the stream goes on
    send(&line, 601..=601).await;
    line.acked(601).await?;
    let stored = sandbox.readable(&bed, 601).await?;
    assert!(stored.iter().map(|reading| reading.sequence).eq(1..=601), "each once");
    Ok(())
}

#[tokio::test]
async fn a_device_is_told_what_is_proven_and_is_not_asked_for_what_it_has_dropped() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let (bed, other) = (Bed::numbered(0), Bed::numbered(1));
    let (mut line, opened) = sandbox.line(&bed, 5_000).await?;
    assert_eq!(opened.last_durable, 0, "nobody ever saw this stream");
    // it still has all of them
    send(&line, 1..=2).await;
    assert_eq!(line.acked(2).await?.through, 2);
    let (mut line, opened) = sandbox.line(&bed, 0).await?;
    assert_eq!(opened.last_durable, 2);
    send(&line, 4..=4).await;
    assert_eq!(outlines(&line.ack().await?.refused), [(None, "sequence", "SEQUENCE_GAP")]);

    // it has dropped them
    let (mut line, opened) = sandbox.line(&other, 5_000).await?;
    assert_eq!(opened.last_durable, 0);
    send(&line, 5_002..=5_002).await;
    assert_eq!(outlines(&line.ack().await?.refused), [(None, "sequence", "SEQUENCE_GAP")]);
    send(&line, 5_001..=5_002).await;
    let acked = line.acked(5_002).await?;
    assert_eq!((acked.accepted, acked.refused.len()), (2, 0));
    drop(line);
    assert_eq!(sandbox.line(&other, 0).await?.1.last_durable, 0, "the device's word is no proof");
    sandbox.readable(&other, 2).await?;
    Ok(())
}

/// A log of the test's choice, once; what was committed; and what is stored elsewhere before the last poll.
struct Log(Mutex<VecDeque<Vec<Delivery>>>, Arc<Mutex<Vec<(i32, i64)>>>, Option<(Store, Vec<Row>)>);

#[async_trait]
impl Subscribe for Log {
    async fn poll(&mut self, _: usize, _: usize, max_wait: Duration) -> Result<Vec<Delivery>, bus::Error> {
        let (next, is_last) = {
            let mut polls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (polls.pop_front(), polls.is_empty())
        };
        if next.is_none() {
            tokio::time::sleep(max_wait).await;
        }
        if is_last && let Some((store, rows)) = self.2.take() {
            store.append(&rows).await.expect("it is there");
        }
        Ok(next.unwrap_or_default())
    }

    async fn commit(&mut self, commits: &Commits) -> Result<(), bus::Error> {
        let mut committed = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        committed.extend(commits.iter().map(|(partition, next)| (partition.0, next.get())));
        Ok(())
    }

    async fn lag(&mut self) -> Result<u64, bus::Error> {
        Ok(0)
    }
}

/// A record of one reading.
fn record(partition: i32, offset: i64, patient: u32, sequence: u64, number: f64) -> Delivery {
    let bed = Bed::numbered(0);
    let hour = Hour(470_000 + sequence as i32 / 100);
    let (_, block) = block_of("8867-4", number, hour.start().plus(sequence as i64));
    let record = Record {
        patient: Bed::numbered(patient).patient,
        identity: BatchId { device: bed.device, stream: bed.stream, sequence, digest: number.to_bits() },
        received_at: hour.end().plus(offset),
        clock: ClockQuality::Synchronized,
        acked_through: 0,
        slices: vec![Slice { hour, block: block.into() }],
    };
    Delivery { partition: Partition(partition), offset, payload: record.encode() }
}

/// Lets a new writer, which remembers nothing, read a log; returns the places of what is in quarantine then.
async fn written(store: &Store, polls: Vec<Vec<Delivery>>) -> anyhow::Result<Vec<(i32, i64)>> {
    written_by(store, Arc::new(store.clone()), polls, None).await
}

/// The same with other identities, and with rows that another writer stores before the last poll.
async fn written_by(
    store: &Store,
    identities: Arc<dyn Identities>,
    polls: Vec<Vec<Delivery>>,
    meanwhile: Option<Vec<Row>>,
) -> anyhow::Result<Vec<(i32, i64)>> {
    let last: Vec<_> = polls.last().into_iter().flatten().map(|last| (last.partition.0, last.offset + 1)).collect();
    let (stop, committed) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
    let part = || Arc::new(store.clone());
    let writer = Writer::new(part(), part(), part(), identities, || Nanos(9));
    let meanwhile = meanwhile.map(|rows| (store.clone(), rows));
    let log = Box::new(Log(Mutex::new(polls.into()), Arc::clone(&committed), meanwhile));
    let running = tokio::spawn(writer.run(log, stop.clone()));
    let come = async || Ok(committed.lock().unwrap_or_else(PoisonError::into_inner).clone());
    until("the last commit", come, |committed| last.iter().any(|last| committed.contains(last))).await?;
    stop.cancel();
    running.await??;
    let aside = store::Quarantine::quarantined(store).await?;
    assert!(aside.iter().all(|record| record.reason.starts_with(SEQUENCE_REUSED)), "{}", aside[0].reason);
    Ok(aside.iter().map(|record| (record.position.partition, record.position.offset)).collect())
}

fn permit(patient: PatientId) -> Permit {
    let subject = access::Subject::User(UserId::from_bytes([1; 16]));
    let doctor = access::Principal::everywhere(subject, &[access::Permission::ReadReadings], Nanos::MAX);
    let relation = access::Relation { kind: access::RelationKind::CareTeam, from: Nanos::MIN, to: Nanos::MAX };
    let facts = access::Facts { relations: vec![relation], ..access::Facts::default() };
    access::decide(&doctor, access::Action::ReadTimeline, patient, &facts, Nanos(0)).expect("of the care team")
}

/// Sequence and digest of each row of a patient, ascending.
async fn rows(store: &Store, patient: u32) -> anyhow::Result<Vec<(u64, f64)>> {
    let permit = permit(Bed::numbered(patient).patient);
    let hours = store.hours(&permit, Range::ALL.hours(), Order::Ascending, usize::MAX).await?;
    let mut found = Vec::new();
    for hour in store.read(&permit, &hours).await? {
        let Data::Rows(rows) = hour.data else { anyhow::bail!("sealed") };
        found.extend(rows.iter().map(|row| (row.identity.sequence, f64::from_bits(row.identity.digest))));
    }
    found.sort_by_key(|(sequence, _)| *sequence);
    Ok(found)
}

#[tokio::test]
async fn of_two_batches_of_one_identity_one_is_stored_and_the_other_put_aside_in_whatever_order_they_come()
-> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    // in one poll: another content in the same partition and in another; the same content for a second patient is allowed
    let first = vec![
        record(0, 0, 0, 1, 60.0),
        record(0, 1, 0, 2, 61.0),
        record(0, 2, 0, 1, 99.0),
        record(1, 0, 1, 2, 98.0),
        record(1, 1, 1, 1, 60.0),
        record(0, 3, 0, 2, 61.0),
    ];
    let expected = vec![(1, 60.0), (2, 61.0)];
    assert_eq!(written(&store, vec![first.clone()]).await?, [(0, 2), (1, 0)]);
    assert_eq!((rows(&store, 0).await?, rows(&store, 1).await?), (expected.clone(), vec![(1, 60.0)]));
    // by a writer that remembers nothing; the second patient's part may come late
    let second = vec![record(0, 4, 0, 2, 97.0), record(1, 2, 1, 2, 61.0), record(0, 5, 0, 3, 62.0)];
    assert_eq!(written(&store, vec![second.clone()]).await?, [(0, 2), (0, 4), (1, 0)]);
    assert_eq!(rows(&store, 1).await?, expected);

    // 600 batches later, out of order, in another hour than the first
    let more = (4..=604).map(|n| record(0, n + 2, 0, n as u64, n as f64)).collect();
    let late = vec![record(0, 607, 0, 10, 96.0), record(0, 608, 0, 606, 5.0), record(0, 609, 0, 605, 4.0)];
    let reused = [(0, 2), (0, 4), (0, 607), (1, 0)];
    assert_eq!(written(&store, vec![more, late.clone()]).await?, reused);
    let all = rows(&store, 0).await?;
    assert!(all.iter().map(|(sequence, _)| *sequence).eq(1..=606), "each once");

    // all of it once more, and from the end on: nothing changes
    assert_eq!(written(&store, vec![first.clone(), second.clone(), late.clone()]).await?, reused);
    assert_eq!(written(&store, vec![late, second, first]).await?, reused);
    assert_eq!((rows(&store, 0).await?, rows(&store, 1).await?), (all, expected));
    Ok(())
}

#[tokio::test]
async fn a_writer_whose_partition_was_elsewhere_meanwhile_asks_again() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    // what the first poll taught is that nothing above sequence 1 was ever used; the poll between lets it be stored
    let polls = vec![vec![record(0, 0, 0, 1, 60.0)], vec![], vec![record(0, 9, 0, 5, 99.0)]];
    let other = Record::decode(&record(0, 5, 0, 5, 1.0).payload)?.rows()?;
    assert_eq!(written_by(&store, Arc::new(store.clone()), polls, Some(other)).await?, [(0, 9)]);
    assert_eq!(rows(&store, 0).await?, [(1, 60.0), (5, 1.0)]);
    Ok(())
}

/// A store with rows from before sequences were indexed: it finds what it is told where to search, and nothing else.
struct Unindexed;

#[async_trait]
impl Identities for Unindexed {
    async fn highest(&self, streams: &[(DeviceId, StreamId)]) -> Result<Vec<Option<u64>>, store::Error> {
        Ok(vec![Some(9); streams.len()])
    }

    async fn digests(&self, sought: &[Sought]) -> Result<Vec<Vec<u64>>, store::Error> {
        let place = (Bed::numbered(0).patient, Hour(470_000));
        let found = |sought: &Sought| if sought.near.contains(&place) { vec![60.0f64.to_bits()] } else { vec![] };
        Ok(sought.iter().map(found).collect())
    }
}

#[tokio::test]
async fn rows_from_before_the_index_are_looked_for_where_a_batch_was_measured() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    let polls = vec![vec![record(0, 0, 0, 1, 99.0), record(0, 1, 0, 2, 60.0)]];
    assert_eq!(written_by(&store, Arc::new(Unindexed), polls, None).await?, [(0, 0)]);
    assert_eq!(rows(&store, 0).await?, [(2, 60.0)]);
    Ok(())
}
