//! Who came in, and what was refused at the gate, in the audit log.
//!
//! A token's first use at this process is a login, and is durable in the log before anything is answered. Refusals are written
//! down one by one up to a rate that nobody reaches by mistake; of a flood the log says how many more there were.

use crate::clock;
use auth::Identity;
use model::{
    Nanos,
    access::{Purpose, Subject},
    audit::{Event, Outcome},
};
use proto::problem;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use store::Auditor;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

/// Its name in the log.
const ACTION: &str = "login";
/// Tokens that are remembered; one that is forgotten counts as new.
const REMEMBERED: usize = 100_000;
/// Refusals written down one by one: so many a second, and so many at once.
const A_SECOND: f64 = 20.0;
const AT_ONCE: f64 = 100.0;
/// How long a flood's refusals are counted before their number is written down.
const COUNTED_FOR: Duration = Duration::from_secs(2);

/// Writes down logins and refusals. Clones are the same.
#[derive(Clone)]
pub(crate) struct Logins(Arc<Inner>);

struct Inner {
    audit: Auditor,
    names: [RandomState; 2],
    /// When each token that was used ends.
    known: Mutex<HashMap<u128, Nanos>>,
    refusals: Mutex<Refusals>,
}

struct Refusals {
    room: f64,
    at: Nanos,
    /// Since the last that was written down.
    unwritten: u64,
}

impl Logins {
    pub(crate) fn new(audit: Auditor) -> Self {
        let refusals = Refusals { room: AT_ONCE, at: clock::now(), unwritten: 0 };
        let names = [RandomState::new(), RandomState::new()];
        Self(Arc::new(Inner { audit, names, known: Mutex::default(), refusals: Mutex::new(refusals) }))
    }

    /// Whether a token or certificate was used here before.
    pub(super) fn knows(&self, credential: &str) -> bool {
        let name = self.name(credential);
        lock(&self.0.known).contains_key(&name)
    }

    /// Writes down that somebody came in. An error: nothing may be answered.
    pub(super) async fn came(&self, credential: &str, identity: &Identity, service: &str) -> Result<(), Status> {
        if self.knows(credential) {
            return Ok(());
        }
        self.record(Some(identity.subject), Outcome::Allowed, service).await.map_err(|_| problem::unaudited())?;
        let (name, now) = (self.name(credential), clock::now());
        let mut known = lock(&self.0.known);
        if known.len() >= REMEMBERED {
            known.retain(|_, ends| now < *ends);
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(name, identity.expires_at);
        Ok(())
    }

    /// Writes down a refusal, or counts it when there are too many. What was refused stays refused in any case.
    pub(super) async fn refused(&self, status: &Status, service: &str) {
        // a question that cannot be read, or an issuer that is not there, is no refused login
        if status.code() != Code::Unauthenticated {
            return;
        }
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let first_of_many = {
            let mut refusals = lock(&self.0.refusals);
            match refusals.may_write(clock::now()) {
                true => None,
                false => {
                    refusals.unwritten += 1;
                    Some(refusals.unwritten == 1)
                }
            }
        };
        match first_of_many {
            // what cannot be written down was said by `record`
            None => drop(self.record(None, Outcome::Denied(reason.as_str().into()), service).await),
            Some(false) => {}
            Some(true) => {
                let logins = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(COUNTED_FOR).await;
                    let n = std::mem::take(&mut lock(&logins.0.refusals).unwritten);
                    let detail = format!("{n} more were refused");
                    drop(logins.record(None, Outcome::Denied("FLOOD".into()), &detail).await);
                });
            }
        }
    }

    /// Writes an event down, whatever it is of.
    pub(super) async fn wrote(&self, event: Event) -> Result<(), store::Error> {
        self.0.audit.record(event).await.inspect_err(|error| {
            tracing::error!(error = error as &dyn std::error::Error, "a login or a refusal was not written down");
        })
    }

    async fn record(&self, subject: Option<Subject>, outcome: Outcome, detail: &str) -> Result<(), store::Error> {
        let event = Event {
            at: clock::now(),
            subject,
            patient: None,
            action: ACTION.into(),
            purpose: Purpose::Operations,
            outcome,
            detail: detail.into(),
            request: Uuid::new_v4().into_bytes(),
        };
        self.wrote(event).await
    }

    /// Names a credential without keeping it.
    fn name(&self, credential: &str) -> u128 {
        let [high, low] = self.0.names.each_ref().map(|names| u128::from(names.hash_one(credential)));
        high << 64 | low
    }
}

impl Refusals {
    fn may_write(&mut self, now: Nanos) -> bool {
        let seconds = now.0.saturating_sub(self.at.0) as f64 / Nanos::SECOND as f64;
        self.room = (self.room + seconds.max(0.0) * A_SECOND).min(AT_ONCE);
        self.at = now;
        if self.room < 1.0 {
            return false;
        }
        self.room -= 1.0;
        true
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_counted_and_its_end_is_seen() {
        let at = |millis: i64| Nanos(1_000 * Nanos::SECOND + millis * 1_000_000);
        let mut refusals = Refusals { room: AT_ONCE, at: at(0), unwritten: 0 };
        assert_eq!((0..1_000).filter(|_| refusals.may_write(at(0))).count(), 100);
        assert_eq!((0..1_000).filter(|_| refusals.may_write(at(500))).count(), 10);
        assert_eq!(
            (0..1_000).filter(|_| refusals.may_write(at(400))).count(),
            0,
            "a clock that goes back gives nothing"
        );
        assert_eq!((0..1_000).filter(|_| refusals.may_write(at(60_000))).count(), 100);
    }
}
