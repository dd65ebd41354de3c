//! The writer between a log and a store that the test plays: nothing is committed that is not durable.

use async_trait::async_trait;
use bus::{Commits, Delivery, Partition, Subscribe};
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use model::{BatchId, Block, ClockQuality, DeviceId, Hour, Nanos, Record, Row, Slice, StreamId};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::{Append, Identities, LogPosition, Positions, Quarantine, Quarantined, Sought};
use tests::{Bed, wait::until};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use writer::Writer;

/// What happened, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    /// Rows of these sequences were asked for; whether they were taken.
    Append(Vec<u64>, bool),
    /// A record at this offset was put aside; whether it was taken.
    Aside(i64, bool),
    /// Partition and next offset.
    Commit(Vec<(i32, i64)>),
    /// Positions of streams.
    Note(Vec<u64>),
}
use Event::{Append as Appended, Aside, Commit, Note};

#[derive(Default)]
struct World {
    events: Mutex<Vec<Event>>,
    /// How often the store still fails.
    failures: Mutex<(usize, usize)>,
    polls: Mutex<VecDeque<Vec<Delivery>>>,
    /// While `Some`, the store does not answer.
    closed: Mutex<Option<Arc<Notify>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take_one(left: &mut usize) -> bool {
    let fails = *left > 0;
    *left = left.saturating_sub(1);
    fails
}

fn outcome(fails: bool) -> Result<(), store::Error> {
    if fails { Err(store::Error::Unavailable("the test says so".into())) } else { Ok(()) }
}

impl World {
    fn note(&self, event: Event) {
        lock(&self.events).push(event);
    }

    fn seen(&self) -> Vec<Event> {
        lock(&self.events).clone()
    }

    async fn commits(&self, n: usize) -> anyhow::Result<Vec<Event>> {
        let count = |events: &Vec<Event>| events.iter().filter(|event| matches!(event, Commit(_))).count() >= n;
        until("commits", async || Ok(self.seen()), count).await
    }
}

struct Play(Arc<World>);

#[async_trait]
impl Append for Play {
    async fn append(&self, rows: &[Row]) -> Result<(), store::Error> {
        let fails = take_one(&mut lock(&self.0.failures).0);
        let closed = lock(&self.0.closed).clone();
        if let Some(opened) = closed {
            opened.notified().await;
        }
        self.0.note(Appended(rows.iter().map(|row| row.identity.sequence).collect(), !fails));
        outcome(fails)
    }
}

#[async_trait]
impl Quarantine for Play {
    async fn put_aside(&self, record: &Quarantined) -> Result<(), store::Error> {
        let fails = take_one(&mut lock(&self.0.failures).1);
        self.0.note(Aside(record.position.offset, !fails));
        outcome(fails)
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, store::Error> {
        Ok(Vec::new())
    }

    async fn depth(&self) -> Result<u64, store::Error> {
        Ok(0)
    }

    async fn mark_replayed(&self, _: &LogPosition, _: Nanos) -> Result<(), store::Error> {
        Ok(())
    }
}

#[async_trait]
impl Positions for Play {
    async fn position(&self, _: DeviceId, _: StreamId) -> Result<Option<u64>, store::Error> {
        Ok(None)
    }

    async fn note(&self, streams: &[(DeviceId, StreamId, u64)]) -> Result<(), store::Error> {
        self.0.note(Note(streams.iter().map(|stream| stream.2).collect()));
        Ok(())
    }

    async fn last_seen(&self, devices: &[DeviceId]) -> Result<Vec<Option<Nanos>>, store::Error> {
        Ok(vec![None; devices.len()])
    }

    async fn last_stream(&self, _: DeviceId) -> Result<Option<(StreamId, Nanos)>, store::Error> {
        Ok(None)
    }

    async fn note_seen(&self, _: &[store::Sighting]) -> Result<(), store::Error> {
        Ok(())
    }
}

#[async_trait]
impl Identities for Play {
    async fn highest(&self, streams: &[(DeviceId, StreamId)]) -> Result<Vec<Option<u64>>, store::Error> {
        Ok(vec![None; streams.len()])
    }

    async fn digests(&self, sought: &[Sought]) -> Result<Vec<Vec<u64>>, store::Error> {
        Ok(vec![Vec::new(); sought.len()])
    }
}

#[async_trait]
impl Subscribe for Play {
    async fn poll(&mut self, _: usize, _: usize, max_wait: Duration) -> Result<Vec<Delivery>, bus::Error> {
        let next = lock(&self.0.polls).pop_front();
        if next.is_none() {
            tokio::time::sleep(max_wait).await;
        }
        Ok(next.unwrap_or_default())
    }

    async fn commit(&mut self, commits: &Commits) -> Result<(), bus::Error> {
        self.0.note(Commit(commits.iter().map(|(partition, next)| (partition.0, next.get())).collect()));
        Ok(())
    }

    async fn lag(&mut self) -> Result<u64, bus::Error> {
        Ok(0)
    }
}

/// A record of one row, which says that all before it were acknowledged.
fn good(partition: i32, offset: i64, sequence: u64) -> Delivery {
    let bed = Bed::numbered(0);
    let mut block = Vec::new();
    Block::default().encode(Hour(7), &mut block);
    let record = Record {
        patient: bed.patient,
        identity: BatchId { device: bed.device, stream: bed.stream, sequence, digest: 1 },
        received_at: Nanos(1),
        clock: ClockQuality::Unknown,
        acked_through: sequence - 1,
        slices: vec![Slice { hour: Hour(7), block: block.into() }],
    };
    Delivery { partition: Partition(partition), offset, payload: record.encode() }
}

fn bad(partition: i32, offset: i64) -> Delivery {
    Delivery { partition: Partition(partition), offset, payload: Bytes::from_static(b"nonsense") }
}

struct Running {
    world: Arc<World>,
    stop: CancellationToken,
    writer: JoinHandle<Result<(), bus::Error>>,
}

fn start(polls: Vec<Vec<Delivery>>, failures: (usize, usize), closed: Option<Arc<Notify>>) -> Running {
    let world = Arc::new(World {
        polls: Mutex::new(polls.into()),
        failures: Mutex::new(failures),
        closed: Mutex::new(closed),
        ..Default::default()
    });
    let play = || Arc::new(Play(Arc::clone(&world)));
    let writer = Writer::new(play(), play(), play(), play(), || Nanos(9));
    let stop = CancellationToken::new();
    let writer = tokio::spawn(writer.run(Box::new(Play(Arc::clone(&world))), stop.clone()));
    Running { world, stop, writer }
}

impl Running {
    async fn end(self) -> anyhow::Result<Vec<Event>> {
        self.stop.cancel();
        tokio::time::timeout(tests::wait::PATIENCE, self.writer).await???;
        Ok(self.world.seen())
    }
}

#[tokio::test]
async fn a_position_is_committed_after_its_rows_are_durable_and_is_the_next_to_read() -> anyhow::Result<()> {
    let polls = vec![vec![good(0, 5, 1), good(2, 40, 2), good(0, 6, 3)], vec![good(0, 7, 4)]];
    let gate = Arc::new(Notify::new());
    let running = start(polls, (0, 0), Some(Arc::clone(&gate)));
    until("the store was asked", async || Ok(lock(&running.world.polls).len()), |left| *left == 0).await?;
    tokio::task::yield_now().await;
    assert_eq!(running.world.seen(), [], "nothing may be committed while the store has not answered");
    *lock(&running.world.closed) = None;
    gate.notify_one();
    running.world.commits(2).await?;
    let expected = [
        Appended(vec![1, 2, 3], true),
        // the next rows are under way while the first are committed
        Appended(vec![4], true),
        Commit(vec![(0, 7), (2, 41)]),
        Commit(vec![(0, 8)]),
        Note(vec![3]),
    ];
    assert_eq!(running.end().await?, expected);
    Ok(())
}

#[tokio::test]
async fn a_store_that_fails_is_asked_again_for_the_same_rows_and_nothing_is_committed_meanwhile() -> anyhow::Result<()>
{
    let running = start(vec![vec![good(0, 0, 1), good(0, 1, 2)], vec![good(0, 2, 3)]], (3, 0), None);
    running.world.commits(2).await?;
    let failed = Appended(vec![1, 2], false);
    let expected = [
        failed.clone(),
        failed.clone(),
        failed,
        Appended(vec![1, 2], true),
        Appended(vec![3], true),
        Commit(vec![(0, 2)]),
        Commit(vec![(0, 3)]),
    ];
    assert_eq!(running.end().await?[..7], expected);
    Ok(())
}

#[tokio::test]
async fn a_record_put_aside_counts_only_when_the_quarantine_has_it() -> anyhow::Result<()> {
    let running = start(vec![vec![good(0, 0, 1), bad(0, 1), good(0, 2, 2), bad(1, 9)]], (0, 2), None);
    running.world.commits(1).await?;
    let expected = [
        Appended(vec![1, 2], true),
        Aside(1, false),
        Aside(1, false),
        Aside(1, true),
        Aside(9, true),
        Commit(vec![(0, 3), (1, 10)]),
    ];
    assert_eq!(running.end().await?[..6], expected);
    Ok(())
}

#[tokio::test]
async fn a_writer_that_is_stopped_while_the_store_is_down_commits_nothing() -> anyhow::Result<()> {
    let running = start(vec![vec![good(0, 0, 1), bad(0, 1)]], (usize::MAX, 0), None);
    until("tries", async || Ok(running.world.seen().len()), |n| *n >= 2).await?;
    let events = running.end().await?;
    assert!(events.iter().all(|event| matches!(event, Appended(_, false) | Note(_))), "{events:?}");
    let running = start(vec![vec![bad(0, 1)]], (0, usize::MAX), None);
    until("tries", async || Ok(running.world.seen().len()), |n| *n >= 2).await?;
    let events = running.end().await?;
    assert!(events.iter().all(|event| matches!(event, Aside(1, false))), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn only_bad_records_in_a_poll_are_put_aside_and_committed() -> anyhow::Result<()> {
    let running = start(vec![vec![bad(3, 0)], vec![good(3, 1, 1)]], (0, 0), None);
    running.world.commits(2).await?;
    let expected = [Aside(0, true), Appended(vec![1], true), Commit(vec![(3, 1)]), Commit(vec![(3, 2)])];
    assert_eq!(running.end().await?, expected);
    Ok(())
}

#[tokio::test]
async fn the_lag_is_told_before_the_first_record_and_while_the_store_is_down() -> anyhow::Result<()> {
    let recorder = PrometheusBuilder::new().build_recorder();
    // of this thread, which runs all of the test
    let _recording = metrics::set_default_local_recorder(&recorder);
    let told = async || {
        let text = recorder.handle().render();
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        let names =
            ["wardline_writer_lag_seconds", "wardline_writer_lag_records", "wardline_writer_quarantine_records"];
        Ok(names.map(value))
    };
    let running = start(vec![], (usize::MAX, 0), None);
    until("all of it", told, |told| *told == [Some(0.0); 3]).await?;
    lock(&running.world.polls).push_back(vec![good(0, 0, 1), bad(0, 1)]);
    // received at 1 ns, by a clock that stands at 9
    until("an age", told, |told| told[0] == Some(8e-9)).await?;
    *lock(&running.world.failures) = (0, 0);
    until("none any more", told, |told| told[0] == Some(0.0)).await?;
    running.end().await?;
    Ok(())
}
