//! The loop that every consumer of the log runs: poll, hand over, commit what is dealt with, and again.
//!
//! The promise: a position is committed only when its handler has dealt with every record before it. While a handler works on
//! one poll, the log commits those before and gives the next: two polls are held at most. How far the consumer is behind is told
//! whatever the handler waits for.

use crate::{Commits, Delivery, Error, Subscribe, metrics};
use async_trait::async_trait;
use std::{convert::Infallible, pin::pin, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// First and longest wait before something is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long an idle poll waits.
const POLL_WAIT: Duration = Duration::from_millis(250);

/// What is done with what the log delivers.
#[async_trait]
pub trait Handle: Send {
    /// Deals with all deliveries, each partition's in order, for as long as that takes ([`until_done`]); `false` when it was
    /// stopped before that: they are read again.
    async fn handle(&mut self, deliveries: &[Delivery], stop: &CancellationToken) -> bool;

    /// How far everything is dealt with once these deliveries were handed over: all of them. Who gathers what it is handed over
    /// says so itself.
    fn settled(&mut self, deliveries: &[Delivery]) -> Commits {
        let mut commits = Commits::default();
        deliveries.iter().for_each(|delivery| commits.add(delivery));
        commits
    }

    /// Called now and then and at the end, for what need not be done with each poll.
    async fn note(&mut self);
}

/// How much is read at once, and how often something is noted.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Most records of one poll.
    pub records: usize,
    /// Most bytes of one poll, approximately: see [`Subscribe::poll`].
    pub bytes: usize,
    /// Time between two calls of [`Handle::note`], and between two times that the lag is told.
    pub note_every: Duration,
}

/// Runs until `stop`; what is dealt with by then is committed. `tell` gets the number of records behind what is committed, now
/// and then and at the end.
///
/// # Errors
/// The log's client can never read again.
pub async fn consume(
    mut log: Box<dyn Subscribe>,
    handler: &mut impl Handle,
    pace: Pace,
    tell: impl Fn(u64) + Send + Sync,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (mut backoff, mut noted) = (Backoff::default(), Instant::now());
    // read and not yet dealt with; dealt with and not yet committed
    let (mut held, mut done) = (Vec::new(), Commits::default());
    while !stop.is_cancelled() {
        let (handled, polled) = {
            let mut handling = pin!(handler.handle(&held, &stop));
            let mut handled = None;
            let polled = {
                let mut reading = pin!(ahead(log.as_mut(), std::mem::take(&mut done), pace, &stop));
                loop {
                    tokio::select! {
                        biased; // what was read is under way before what came earlier is committed
                        is_done = &mut handling, if handled.is_none() => handled = Some(is_done),
                        polled = &mut reading => break polled,
                    }
                }
            };
            let handled = match handled {
                Some(handled) => handled,
                None => tokio::select! {
                    handled = handling => handled,
                    never = keep_telling(log.as_mut(), pace, &tell) => match never {},
                },
            };
            (handled, polled)
        };
        if !handled {
            break;
        }
        done.extend(handler.settled(&held));
        held.clear();
        match polled {
            Ok(deliveries) => {
                held = deliveries;
                backoff = Backoff::default();
            }
            Err(error @ (Error::Fatal(_) | Error::Config(_))) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the log cannot be read; trying again");
                backoff.pause(&stop).await;
            }
        }
        if held.is_empty() {
            // nothing to do beside it
            commit(log.as_mut(), &std::mem::take(&mut done)).await;
        }
        if noted.elapsed() >= pace.note_every {
            noted = Instant::now();
            handler.note().await;
            tell_lag(log.as_mut(), &tell).await;
        }
    }
    commit(log.as_mut(), &done).await;
    handler.note().await;
    tell_lag(log.as_mut(), &tell).await;
    Ok(())
}

/// How long is waited before something is tried again: twice as long each time, up to some seconds.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(RETRY.0)
    }
}

impl Backoff {
    /// Waits, no longer than until `stop`.
    pub async fn pause(&mut self, stop: &CancellationToken) {
        tokio::select! {
            () = sleep(self.0) => {}
            () = stop.cancelled() => {}
        }
        self.0 = (self.0 * 2).min(RETRY.1);
    }
}

/// Asks until it is done; `None` when stopped. `what` did not answer is said, and counted.
pub async fn until_done<T, E, F, O>(what: &'static str, stop: &CancellationToken, mut ask: F) -> Option<T>
where
    E: std::error::Error + 'static,
    F: FnMut() -> O,
    O: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::default();
    loop {
        let error = match ask().await {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        metrics::retried(what);
        tracing::warn!(error = &error as &dyn std::error::Error, what, "did not answer; trying again");
        if stop.is_cancelled() {
            return None;
        }
        backoff.pause(stop).await;
    }
}

/// Commits what is dealt with, then reads on.
async fn ahead(
    log: &mut dyn Subscribe,
    done: Commits,
    pace: Pace,
    stop: &CancellationToken,
) -> Result<Vec<Delivery>, Error> {
    commit(log, &done).await;
    tokio::select! {
        polled = log.poll(pace.records, pace.bytes, POLL_WAIT) => polled,
        () = stop.cancelled() => Ok(Vec::new()),
    }
}

async fn commit(log: &mut dyn Subscribe, done: &Commits) {
    if done.is_empty() {
        return;
    }
    if let Err(error) = log.commit(done).await {
        // what is not committed is read again and lands on itself
        tracing::warn!(%error, "positions were not committed");
    }
}

/// While a handler waits for something that does not answer: the log fills meanwhile.
async fn keep_telling(log: &mut dyn Subscribe, pace: Pace, tell: &(impl Fn(u64) + Send + Sync)) -> Infallible {
    loop {
        sleep(pace.note_every).await;
        tell_lag(log, tell).await;
    }
}

async fn tell_lag(log: &mut dyn Subscribe, tell: &(impl Fn(u64) + Send + Sync)) {
    match log.lag().await {
        Ok(n_records) => tell(n_records),
        Err(error) => tracing::warn!(%error, "the lag is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NextOffset, Partition};
    use bytes::Bytes;
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    /// Offsets, or why there are none.
    type Polled = Result<Vec<i64>, Error>;

    /// What the log was asked to commit, and what it gives next.
    #[derive(Clone, Default)]
    struct Log {
        committed: Arc<Mutex<Vec<i64>>>,
        given: Arc<Mutex<VecDeque<Polled>>>,
        /// How often it was asked for the lag, which is as much.
        asked: u64,
    }

    #[async_trait]
    impl Subscribe for Log {
        async fn poll(&mut self, _: usize, _: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
            let next = self.given.lock().unwrap().pop_front();
            let Some(next) = next else {
                tokio::time::sleep(wait).await;
                return Ok(Vec::new());
            };
            let delivery = |offset| Delivery { partition: Partition(0), offset, payload: Bytes::new() };
            next.map(|offsets| offsets.into_iter().map(delivery).collect())
        }

        async fn commit(&mut self, commits: &Commits) -> Result<(), Error> {
            self.committed.lock().unwrap().extend(commits.iter().map(|(_, next)| NextOffset::get(next)));
            Ok(())
        }

        async fn lag(&mut self) -> Result<u64, Error> {
            self.asked += 1;
            Ok(self.asked)
        }
    }

    /// Stops at an offset, before or after it has dealt with it.
    struct Handler {
        stops_at: i64,
        deals_with_it: bool,
        waits: Duration,
        seen: Vec<i64>,
        n_notes: usize,
    }

    #[async_trait]
    impl Handle for Handler {
        async fn handle(&mut self, deliveries: &[Delivery], stop: &CancellationToken) -> bool {
            self.seen.extend(deliveries.iter().map(|delivery| delivery.offset));
            sleep(self.waits).await;
            if self.seen.contains(&self.stops_at) {
                stop.cancel();
                return self.deals_with_it;
            }
            true
        }

        async fn note(&mut self) {
            self.n_notes += 1;
        }
    }

    /// How it ended, what was committed, and the lags that were told.
    async fn run(given: Vec<Polled>, handler: &mut Handler) -> (Result<(), Error>, Vec<i64>, Vec<u64>) {
        let log = Log { given: Arc::new(Mutex::new(given.into())), ..Log::default() };
        let pace = Pace { records: 10, bytes: 1_000, note_every: Duration::from_secs(3_600) };
        let lags = Mutex::new(Vec::new());
        let tell = |n_records| lags.lock().unwrap().push(n_records);
        let ended = consume(Box::new(log.clone()), handler, pace, tell, CancellationToken::new()).await;
        let committed = log.committed.lock().unwrap().clone();
        (ended, committed, lags.into_inner().unwrap())
    }

    fn handler(stops_at: i64, deals_with_it: bool) -> Handler {
        Handler { stops_at, deals_with_it, waits: Duration::ZERO, seen: Vec::new(), n_notes: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dealt_with_is_committed_and_nothing_else() {
        for (deals_with_it, last) in [(true, 5), (false, 3)] {
            let mut handler = handler(4, deals_with_it);
            let (ended, committed, lags) =
                run(vec![Ok(vec![0, 1]), Ok(vec![2]), Ok(vec![3, 4]), Ok(vec![5])], &mut handler).await;
            ended.unwrap();
            assert!(committed.is_sorted(), "{committed:?}");
            assert_eq!(committed.last(), Some(&last), "{committed:?}");
            assert_eq!(handler.seen, [0, 1, 2, 3, 4]);
            assert_eq!((handler.n_notes, lags), (1, vec![1]), "at the end");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_lag_is_told_while_a_handler_waits() {
        let mut handler = Handler { waits: Duration::from_secs(4 * 3_600), ..handler(0, true) };
        let (ended, committed, lags) = run(vec![Ok(vec![0]), Ok(vec![1])], &mut handler).await;
        ended.unwrap();
        assert_eq!(committed, [1]);
        // hourly, while it waits with nothing and with the first record
        assert!(lags.len() >= 6 && lags.is_sorted(), "{lags:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_does_not_answer_is_asked_again_and_one_that_failed_for_good_ends_it() {
        let away = || Err(Error::Unavailable("away".into()));
        let mut handler = handler(99, true);
        let given = vec![Ok(vec![0]), away(), away(), Ok(vec![1]), Ok(vec![]), Err(Error::Fatal("gone".into()))];
        let (ended, committed, _) = run(given, &mut handler).await;
        assert!(matches!(ended, Err(Error::Fatal(_))));
        assert_eq!((handler.seen, committed.last()), (vec![0, 1], Some(&2)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_asked_again_until_it_is_done_or_stopped() {
        let stop = CancellationToken::new();
        let mut n = 0;
        let mut ask = || {
            n += 1;
            std::future::ready(if n < 4 { Err(Error::Unavailable("away".into())) } else { Ok(n) })
        };
        assert_eq!(until_done("store", &stop, &mut ask).await, Some(4));
        stop.cancel();
        assert_eq!(
            until_done("store", &stop, || std::future::ready(Err::<(), _>(Error::Fatal("x".into())))).await,
            None
        );
    }
}
