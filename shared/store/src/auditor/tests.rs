//! The chain under failures: order, no fork, fail closed, checkpoints.

use super::*;
use crate::{AuditQuery, FoundEntries};
use bytes::Bytes;
use model::{
    Nanos, UserId,
    access::{Purpose, Subject},
    audit::{Finding, Outcome, Verifier, Who},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;

/// What becomes of an append.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Works,
    Fails,
    /// It says that it failed, and has written so many of the entries.
    FailsAfter(usize),
    Hangs,
}

/// A store in memory, of which one says what becomes of each append.
struct Fake {
    log: Mutex<BTreeMap<u64, Vec<u8>>>,
    n_appends: Mutex<usize>,
    fate: Mutex<Box<dyn FnMut() -> Fate + Send>>,
}

impl Fake {
    fn new(fate: impl FnMut() -> Fate + Send + 'static) -> Arc<Self> {
        Arc::new(Self { log: Mutex::default(), n_appends: Mutex::default(), fate: Mutex::new(Box::new(fate)) })
    }

    fn set(&self, fate: Fate) {
        *self.fate.lock().unwrap() = Box::new(move || fate);
    }

    /// The numbers of the events that are stored, in their order.
    fn stored(&self) -> Vec<i64> {
        let log = self.log.lock().unwrap();
        log.values().map(|bytes| Entry::decode(bytes).unwrap().event.at.0).collect()
    }

    fn verify(&self, writer: WriterId, checkpoints: Vec<Checkpoint>) -> (u64, Vec<Finding>) {
        let mut verifier = Verifier::new(writer, checkpoints, |checkpoint| {
            checkpoint.signature == [checkpoint.signed_bytes()[50]; 64] && checkpoint.key_id == [7; 8]
        });
        self.log.lock().unwrap().iter().for_each(|(sequence, bytes)| verifier.take(*sequence, bytes));
        (verifier.covered(), verifier.close())
    }
}

#[async_trait]
impl Audit for Fake {
    async fn append(&self, entries: &[Entry]) -> Result<(), Error> {
        *self.n_appends.lock().unwrap() += 1;
        let fate = (self.fate.lock().unwrap())();
        // others come to wait meanwhile
        tokio::task::yield_now().await;
        let n_written = match fate {
            Fate::Works => entries.len(),
            Fate::Fails => 0,
            Fate::FailsAfter(n) => n.min(entries.len()),
            Fate::Hangs => std::future::pending().await,
        };
        for entry in &entries[..n_written] {
            let bytes = entry.encode();
            let before = self.log.lock().unwrap().insert(entry.sequence, bytes.clone());
            assert!(before.is_none_or(|before| before == bytes), "a fork at {}", entry.sequence);
        }
        if fate == Fate::Works { Ok(()) } else { Err(Error::Unavailable("as planned".into())) }
    }

    async fn entries(&self, _: WriterId, _: u64, _: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        unreachable!("an auditor does not read")
    }

    async fn writers(&self) -> Result<Vec<WriterId>, Error> {
        unreachable!("an auditor does not read")
    }

    async fn search(&self, _: &AuditQuery) -> Result<FoundEntries, Error> {
        unreachable!("an auditor does not read")
    }
}

/// Signs with a byte of what is signed, and keeps what was signed in memory; both fail when told to.
#[derive(Default)]
struct FakeSigner {
    kept: Mutex<Vec<Checkpoint>>,
    is_closed: Mutex<bool>,
}

impl FakeSigner {
    fn sequences(&self) -> Vec<u64> {
        self.kept.lock().unwrap().iter().map(|checkpoint| checkpoint.sequence).collect()
    }

    fn close(&self, closed: bool) {
        *self.is_closed.lock().unwrap() = closed;
    }
}

impl Sign for FakeSigner {
    fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], Error> {
        Ok([bytes[50]; 64])
    }

    fn key_id(&self) -> [u8; 8] {
        [7; 8]
    }
}

#[async_trait]
impl Checkpoints for FakeSigner {
    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        if *self.is_closed.lock().unwrap() {
            return Err(Error::Unavailable("as planned".into()));
        }
        self.kept.lock().unwrap().push(checkpoint.clone());
        Ok(())
    }

    async fn kept(&self) -> Result<Vec<Checkpoint>, Error> {
        Ok(self.kept.lock().unwrap().clone())
    }

    async fn try_keeping(&self) -> Result<(), Error> {
        match *self.is_closed.lock().unwrap() {
            true => Err(Error::Unavailable("as planned".into())),
            false => Ok(()),
        }
    }
}

/// An auditor at work.
struct Running {
    auditor: Auditor,
    store: Arc<Fake>,
    signer: Arc<FakeSigner>,
    stop: CancellationToken,
    work: tokio::task::JoinHandle<Result<(), Error>>,
}

fn start(store: Arc<Fake>) -> Running {
    let (signer, stop) = (Arc::new(FakeSigner::default()), CancellationToken::new());
    let (auditor, work) = Auditor::new(store.clone(), signer.clone(), signer.clone(), || Nanos(9));
    Running { auditor, store, signer, work: tokio::spawn(work.run(stop.clone())), stop }
}

impl Running {
    /// Records event `n`, which must be stored when that returns `Ok`.
    fn record(&self, n: i64) -> tokio::task::JoinHandle<Result<(), Error>> {
        let (auditor, store) = (self.auditor.clone(), self.store.clone());
        let event = Event {
            at: Nanos(n),
            subject: None,
            patient: None,
            action: "test".into(),
            purpose: Purpose::Operations,
            outcome: Outcome::Allowed,
            detail: "".into(),
            request: [0; 16],
        };
        tokio::spawn(async move {
            auditor.record(event).await?;
            assert!(store.stored().contains(&n), "{n} is not durable");
            Ok(())
        })
    }

    async fn stop(&mut self) -> Result<(), Error> {
        self.stop.cancel();
        (&mut self.work).await.unwrap()
    }

    /// Checks the whole chain, of which all is covered by a checkpoint.
    fn expect_whole(&self, n: u64) {
        let (covered, findings) = self.store.verify(self.auditor.writer(), self.signer.kept.lock().unwrap().clone());
        assert_eq!((covered, findings), (n, vec![]));
    }
}

#[tokio::test]
async fn events_keep_their_order_and_share_appends() {
    let mut running = start(Fake::new(|| Fate::Works));
    let recorded: Vec<_> = (0..1_000).map(|n| running.record(n)).collect();
    for one in recorded {
        one.await.unwrap().unwrap();
    }
    assert_eq!(running.store.stored(), (0..1_000).collect::<Vec<_>>());
    let n_appends = *running.store.n_appends.lock().unwrap();
    assert!((4..100).contains(&n_appends), "{n_appends} appends");
    running.stop().await.unwrap();
    assert_eq!(running.signer.sequences(), [1_000], "one at stop");
    running.expect_whole(1_000);
}

#[tokio::test(start_paused = true)]
async fn no_failure_forks_the_chain() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let fate = move || match random.random_range(0..4) {
            0 => Fate::Works,
            1 => Fate::Fails,
            _ => Fate::FailsAfter(random.random_range(0..20)),
        };
        let mut running = start(Fake::new(fate));
        let mut recorded = Vec::new();
        for n in 0..300 {
            recorded.push(running.record(n));
            if n % 10 == 0 {
                sleep(Duration::from_millis(20)).await;
            }
        }
        for one in recorded {
            // told in time or not: it is written, once
            let _ = one.await.unwrap();
        }
        running.store.set(Fate::Works);
        running.stop().await.unwrap();
        assert_eq!(running.store.stored(), (0..300).collect::<Vec<_>>());
        running.expect_whole(300);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_durable_fails_in_time() {
    for fate in [Fate::Fails, Fate::FailsAfter(9), Fate::Hangs] {
        let running = start(Fake::new(move || fate));
        let began = Instant::now();
        // more than fit into the queue
        let recorded: Vec<_> = (0..2_000).map(|n| running.record(n)).collect();
        for one in recorded {
            assert!(matches!(one.await.unwrap(), Err(Error::Unavailable(_))));
        }
        assert_eq!(began.elapsed(), PATIENCE);
    }
    // nobody works
    let signer = Arc::new(FakeSigner::default());
    let (auditor, work) = Auditor::new(Fake::new(|| Fate::Works), signer.clone(), signer.clone(), || Nanos(9));
    let idle = Running {
        auditor,
        store: Fake::new(|| Fate::Works),
        signer,
        stop: CancellationToken::new(),
        work: tokio::spawn(std::future::pending()),
    };
    assert!(idle.record(1).await.unwrap().is_err());
    drop(work);
    assert!(idle.record(1).await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn later_events_wait_behind_and_go_on_when_the_store_does() {
    let mut running = start(Fake::new(|| Fate::FailsAfter(1)));
    assert!(running.record(1).await.unwrap().is_err());
    let waits = running.record(2);
    sleep(Duration::from_secs(1)).await;
    assert!(!waits.is_finished());
    assert_eq!(running.store.stored(), [1]);
    running.store.set(Fate::Works);
    waits.await.unwrap().unwrap();
    running.record(3).await.unwrap().unwrap();
    assert_eq!(running.store.stored(), [1, 2, 3]);
    running.stop().await.unwrap();
    running.expect_whole(3);
}

#[tokio::test(start_paused = true)]
async fn checkpoints_come_every_30_seconds_if_there_is_anything_new() {
    let mut running = start(Fake::new(|| Fate::Works));
    sleep(Duration::from_secs(100)).await;
    assert!(running.signer.sequences().is_empty());
    assert_eq!(running.auditor.checkpoint().await.unwrap(), None);

    running.record(1).await.unwrap().unwrap();
    sleep(CHECKPOINT_EVERY).await;
    assert_eq!(running.signer.sequences(), [1]);
    sleep(Duration::from_secs(100)).await;
    assert_eq!(running.signer.sequences(), [1], "nothing new");

    running.record(2).await.unwrap().unwrap();
    assert_eq!(running.auditor.checkpoint().await.unwrap().unwrap().sequence, 2);
    assert_eq!(running.auditor.checkpoint().await.unwrap(), None);

    // one that is not kept is made again
    running.record(3).await.unwrap().unwrap();
    running.signer.close(true);
    assert!(running.auditor.checkpoint().await.is_err());
    sleep(CHECKPOINT_EVERY).await;
    assert_eq!(running.signer.sequences(), [1, 2]);
    running.signer.close(false);
    sleep(CHECKPOINT_EVERY).await;
    assert_eq!(running.signer.sequences(), [1, 2, 3]);

    // what is durable is signed though the store has stopped to answer
    running.record(4).await.unwrap().unwrap();
    running.store.set(Fate::Fails);
    assert!(running.record(5).await.unwrap().is_err());
    sleep(CHECKPOINT_EVERY).await;
    assert_eq!(running.signer.sequences(), [1, 2, 3, 4]);
    running.store.set(Fate::Works);
    sleep(MAX_WAIT).await;
    running.stop().await.unwrap();
    assert_eq!(running.signer.sequences(), [1, 2, 3, 4, 5]);
    running.expect_whole(5);
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_a_stop_is_written_and_what_comes_later_refused() {
    let mut running = start(Fake::new(|| Fate::Works));
    let recorded: Vec<_> = (0..600).map(|n| running.record(n)).collect();
    // all are in the queue, and nothing of it is written
    while running.auditor.queue.capacity() > MAX_WAITING - 600 && *running.store.n_appends.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    running.stop().await.unwrap();
    for one in recorded {
        one.await.unwrap().unwrap();
    }
    running.expect_whole(600);
    let began = Instant::now();
    assert!(running.record(601).await.unwrap().is_err());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_store_that_refuses() {
    let mut running = start(Fake::new(|| Fate::Works));
    running.record(1).await.unwrap().unwrap();
    running.store.set(Fate::Fails);
    let fails = running.record(2);
    sleep(Duration::from_secs(1)).await;
    running.stop().await.unwrap();
    assert!(fails.await.unwrap().is_err());
    assert_eq!(running.signer.sequences(), [1], "of what is known to be durable");

    // the last checkpoint's error is the work's
    let mut running = start(Fake::new(|| Fate::Works));
    running.record(1).await.unwrap().unwrap();
    running.signer.close(true);
    assert!(running.stop().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn of_a_flood_of_refusals_some_are_written_and_the_rest_counted() {
    let mut running = start(Fake::new(|| Fate::Works));
    let refusals = crate::Refusals::new(running.auditor.clone());
    let refused = Event {
        at: Nanos(1),
        subject: Some(Who::Claimed(Subject::User(UserId::from_bytes([1; 16])))),
        patient: None,
        action: "test".into(),
        purpose: Purpose::Operations,
        outcome: Outcome::Denied("NO".into()),
        detail: "".into(),
        request: [0; 16],
    };
    let events = || {
        let log = running.store.log.lock().unwrap();
        log.values().map(|bytes| Entry::decode(bytes).unwrap().event).collect::<Vec<_>>()
    };
    for _ in 0..5_000 {
        refusals.record(refused.clone()).await.unwrap();
    }
    assert_eq!(events(), vec![refused.clone(); 100]);
    sleep(Duration::from_secs(3)).await;
    let last = events().pop().unwrap();
    assert_eq!((&*last.action, &*last.detail, last.subject), ("test", "4900 more were refused", None));
    assert_eq!(last.outcome, Outcome::Denied("FLOOD".into()));
    refusals.record(refused.clone()).await.unwrap();
    assert_eq!(events().pop(), Some(refused), "and what comes later is written again");
    running.stop().await.unwrap();
    running.expect_whole(102);
}

#[tokio::test(start_paused = true)]
async fn trouble_is_known_before_a_checkpoint_is_due_and_gone_when_its_cause_is() {
    let mut running = start(Fake::new(|| Fate::Works));
    let trouble = || running.auditor.trouble();
    sleep(TRY_EVERY).await;
    assert_eq!(trouble(), None);
    running.signer.close(true);
    sleep(TRY_EVERY + Duration::from_millis(1)).await;
    assert_eq!(trouble().as_deref(), Some("as planned"));
    running.signer.close(false);
    sleep(TRY_EVERY).await;
    assert_eq!(trouble(), None);
    running.store.set(Fate::Fails);
    let waits = running.record(1);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(trouble().as_deref(), Some("as planned"));
    running.store.set(Fate::Works);
    waits.await.unwrap().unwrap();
    assert_eq!(trouble(), None);
    running.stop().await.unwrap();
}
