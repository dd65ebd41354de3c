//! What a writer tells all the time, whatever it waits for: how old the oldest record is that it has not stored, and how many
//! records are in quarantine.

use crate::metrics::{self, LagSeconds};
use model::{Clock, Nanos};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use store::Quarantine;
use tokio::time::{MissedTickBehavior, interval};

/// How often the lag is told.
const LAG_EVERY: Duration = Duration::from_secs(1);
/// How often the quarantine is counted: that reads all of it.
const DEPTH_EVERY: Duration = Duration::from_secs(15);

/// When the oldest record that is read and not yet stored was received. Clones are the same.
#[derive(Clone)]
pub(crate) struct Waiting(Arc<AtomicI64>);

impl Default for Waiting {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }
}

impl Waiting {
    /// Sets when the oldest waiting record was received; `None`: no record waits.
    pub(crate) fn set(&self, oldest: Option<Nanos>) {
        self.0.store(oldest.map_or(i64::MAX, |oldest| oldest.0), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Nanos> {
        Some(self.0.load(Ordering::Relaxed)).filter(|oldest| *oldest != i64::MAX).map(Nanos)
    }
}

/// Tells for as long as it is polled.
pub(crate) async fn tell(waiting: Waiting, quarantine: Arc<dyn Quarantine>, clock: Clock) -> Infallible {
    tokio::join!(tell_lag(waiting, clock), tell_depth(quarantine)).0
}

async fn tell_lag(waiting: Waiting, clock: Clock) -> Infallible {
    let (lag, mut due) = (LagSeconds::new(), interval(LAG_EVERY));
    loop {
        due.tick().await;
        lag.set(waiting.get(), clock());
    }
}

async fn tell_depth(quarantine: Arc<dyn Quarantine>) -> Infallible {
    let mut due = interval(DEPTH_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        match quarantine.depth().await {
            Ok(n_records) => metrics::quarantine_depth(n_records),
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "the quarantine was not counted"),
        }
    }
}
