//! Refusals of callers who proved nothing, in the audit log: each by itself up to a rate, and of a flood how many there were.
//!
//! Whoever has no token can cause as many of them as the network carries. Each that is written costs a place in a log that is
//! kept for years, so that an attacker could fill it, and under anybody's name; that they happened, and how often, is kept in
//! any case. Rates go by a clock that does not jump.

use crate::{Auditor, Error};
use model::{
    Bucket, Rate,
    audit::{Event, Outcome},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

/// Written one by one: so many a second, and so many at once. Nobody reaches that by mistake.
const A_SECOND: u64 = 20;
const AT_ONCE: u64 = 100;
/// How long a flood's refusals are counted before their number is written down.
const COUNTED_FOR: Duration = Duration::from_secs(2);
/// Why, in the entry that says how many there were.
const FLOOD: &str = "FLOOD";

/// Writes refusals of one kind down. Clones count together.
#[derive(Clone)]
pub struct Refusals(Arc<Inner>);

struct Inner {
    audit: Auditor,
    began: Instant,
    written: Bucket,
    /// Since the last that was written down.
    n_unwritten: Mutex<u64>,
}

impl Refusals {
    /// Refusals are recorded in this audit log.
    pub fn new(audit: Auditor) -> Self {
        Self(Arc::new(Inner {
            audit,
            began: Instant::now(),
            written: Bucket::default(),
            n_unwritten: Mutex::default(),
        }))
    }

    /// Returns when the event is durable, or at once when there are so many that it is only counted.
    ///
    /// # Errors
    /// As [`Auditor::record`].
    pub async fn record(&self, event: Event) -> Result<(), Error> {
        let Some(rate) = Rate::new(A_SECOND, AT_ONCE) else { return self.0.audit.record(event).await };
        if self.0.written.take(rate, 1, self.0.began.elapsed()).is_ok() {
            return self.0.audit.record(event).await;
        }
        let is_first = {
            let mut n_unwritten = self.0.n_unwritten.lock().unwrap_or_else(PoisonError::into_inner);
            *n_unwritten += 1;
            *n_unwritten == 1
        };
        if is_first {
            tokio::spawn(self.clone().sum_up(event));
        }
        Ok(())
    }

    /// Writes down how many there were, a little later.
    async fn sum_up(self, one: Event) {
        tokio::time::sleep(COUNTED_FOR).await;
        let n = std::mem::take(&mut *self.0.n_unwritten.lock().unwrap_or_else(PoisonError::into_inner));
        let event = Event {
            at: self.0.audit.now(),
            subject: None,
            patient: None,
            outcome: Outcome::Denied(FLOOD.into()),
            detail: format!("{n} more were refused").into(),
            request: Uuid::new_v4().into_bytes(),
            ..one
        };
        if let Err(error) = self.0.audit.record(event).await {
            tracing::error!(error = &error as &dyn std::error::Error, n, "that many refusals were not written down");
        }
    }
}
