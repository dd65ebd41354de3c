//! What asks the log and the store, all the time, whether they are there; and waits for the store at the start.
//!
//! Each probe is one cheap question with a limit of its own: of the log, metadata; of the store, the registry's changes after
//! the last one, which every node reads anyway. An engine that is away is known within 10 seconds, whether it refuses or is
//! silent: a pause, a question that is not answered, and both once more.

use crate::{
    config::{Config, StoreKind},
    engines::Store,
    metrics,
    ready::{Condition, Steady},
};
use anyhow::anyhow;
use bus::Publish;
use directory::{Behind, LiveDirectory};
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use writer::recovery;

/// Between two questions to the log, and two checks of an embedded store.
const LOG_EVERY: Duration = Duration::from_secs(2);
/// How often the directory's files and the registry are read: a change holds within five seconds.
const DIRECTORY_EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(2);
/// Before the store is tried again at the start: the first time, and at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Asks the log once.
pub(crate) async fn ask_log(log: &dyn Publish, steady: &mut Steady) {
    steady.found(log.probe(LIMIT).await.map_err(|error| error.to_string()));
}

/// Asks the log until `stop`; an error when it has failed for good.
pub(crate) async fn log(log: Arc<dyn Publish>, mut steady: Steady, stop: CancellationToken) -> anyhow::Result<()> {
    while stop.run_until_cancelled(sleep(LOG_EVERY)).await.is_some() {
        ask_log(log.as_ref(), &mut steady).await;
        if let Some(reason) = log.fatal() {
            return Err(anyhow!("the log failed for good: {reason}"));
        }
    }
    Ok(())
}

/// Opens the store and takes over what the registry knows: nobody is let in, or kept out, by what was known before the last
/// change. While the store does not answer it is tried again, for as long as it takes.
///
/// # Errors
/// Settings or a schema that cannot work, or the end while it waited.
pub(crate) async fn open_store(
    config: &Config,
    directory: &LiveDirectory,
    condition: &Condition,
    stop: &CancellationToken,
) -> anyhow::Result<Store> {
    let mut wait = WAITS.0;
    loop {
        let opening = async {
            let store = Store::open(config).await?;
            if let Some(embedded) = &store.embedded {
                recovery::registry_is_whole(embedded).await?;
            }
            directory::follow(directory, store.registry.as_ref()).await?;
            anyhow::Ok(store)
        };
        let opened = stop.run_until_cancelled(opening).await.unwrap_or_else(|| Err(anyhow!("stopped meanwhile")));
        match opened {
            Ok(store) => {
                condition.hold();
                return Ok(store);
            }
            Err(error) if matches!(config.store.kind, StoreKind::Cql) && may_pass(&error) => {
                let cause = error.as_ref() as &dyn std::error::Error;
                tracing::warn!(error = cause, again_ms = wait.as_millis() as u64, "the store is not there yet");
                condition.fail("it did not answer yet");
            }
            Err(error) => return Err(error),
        }
        if stop.run_until_cancelled(sleep(wait)).await.is_none() {
            return Err(anyhow!("stopped while the store was not there"));
        }
        wait = WAITS.1.min(wait * 2);
    }
}

/// Whether the store may answer another time.
fn may_pass(error: &anyhow::Error) -> bool {
    let store = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<store::Error>().is_some();
    let unavailable = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref::<store::Error>(), Some(store::Error::Unavailable(_)))
    };
    error.chain().find(|cause| store(*cause)).is_some_and(unavailable)
}

/// Checks an embedded store until `stop`; an error when it has failed for good.
pub(crate) async fn store(store: Store, stop: CancellationToken) -> anyhow::Result<()> {
    while stop.run_until_cancelled(sleep(LOG_EVERY)).await.is_some() {
        if let Some(reason) = store.failed() {
            return Err(anyhow!("the store failed for good: {reason}"));
        }
    }
    Ok(())
}

/// Follows the directory's files and the registry until `stop`; what the store answers says whether it is there.
pub(crate) async fn directory(
    directory: LiveDirectory,
    changes: Arc<dyn store::Registry>,
    (mut followed, mut reachable): (Steady, Steady),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut due = interval(DIRECTORY_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(due.tick()).await.is_some() {
        let following = timeout(LIMIT, directory::follow(&directory, changes.as_ref())).await;
        let (directory_is, store_is) = match following {
            Ok(Ok(())) => (Ok(()), Ok(())),
            Ok(Err(Behind::Store(error))) => (Err("the store did not answer".to_owned()), Err(error.to_string())),
            Ok(Err(Behind::Change(error))) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the registry is not followed; what was known counts"
                );
                (Err("a change of the registry cannot be read".to_owned()), Ok(()))
            }
            Err(_) => (Err("the store did not answer".to_owned()), Err("it did not answer in time".to_owned())),
        };
        if directory_is.is_err() {
            metrics::follow_failed();
        }
        followed.found(directory_is);
        reachable.found(store_is);
        let directory = directory.clone();
        match tokio::task::spawn_blocking(move || directory.refresh()).await? {
            Ok(true) => tracing::info!("the directory was read again"),
            Ok(false) => {}
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the directory stays as it was"),
        }
    }
    Ok(())
}
