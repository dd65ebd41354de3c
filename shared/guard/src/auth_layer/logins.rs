//! Who came in, and what was refused at the auth layer, in the audit log.
//!
//! A token's first use at this process is a login, and is durable in the log before anything is answered. Refusals are written
//! down one by one up to a rate that nobody reaches by mistake; of a flood the log says how many more there were.

use crate::{RequestId, clock};
use model::{
    Nanos,
    access::{Identity, Purpose},
    audit::{Event, Outcome, Who},
};
use proto::problem;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use store::{Auditor, Refusals};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Its name in the log.
const ACTION: &str = "login";
/// Tokens that are remembered; one that is forgotten counts as new.
const REMEMBERED: usize = 100_000;

/// Writes down logins and refusals. Clones are the same.
#[derive(Clone)]
pub struct Logins(Arc<Inner>);

struct Inner {
    audit: Auditor,
    names: [RandomState; 2],
    /// When each token that was used ends.
    known: Mutex<HashMap<u128, Nanos>>,
    refusals: Refusals,
}

impl Logins {
    /// Written down with `audit`.
    pub fn new(audit: Auditor) -> Self {
        let refusals = Refusals::new(audit.clone());
        let names = [RandomState::new(), RandomState::new()];
        Self(Arc::new(Inner { audit, names, known: Mutex::default(), refusals }))
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
        let event = event(Some(Who::Proven(identity.subject)), Outcome::Allowed, service);
        self.0.audit.record(event).await.inspect_err(unwritten).map_err(|_| problem::unaudited())?;
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
        let event = event(None, Outcome::Denied(reason.into()), service);
        let _ = self.0.refusals.record(event).await.inspect_err(unwritten);
    }

    /// Writes an event down, whatever it is of.
    pub(super) async fn wrote(&self, event: Event) -> Result<(), store::Error> {
        self.0.audit.record(event).await.inspect_err(unwritten)
    }

    /// Names a credential without keeping it.
    fn name(&self, credential: &str) -> u128 {
        let [high, low] = self.0.names.each_ref().map(|names| u128::from(names.hash_one(credential)));
        high << 64 | low
    }
}

fn event(subject: Option<Who>, outcome: Outcome, detail: &str) -> Event {
    Event {
        at: clock::now(),
        subject,
        patient: None,
        action: ACTION.into(),
        purpose: Purpose::Operations,
        outcome,
        detail: detail.into(),
        request: RequestId::current().into_bytes(),
    }
}

fn unwritten(error: &store::Error) {
    tracing::error!(error = error as &dyn std::error::Error, "a login or its refusal was not written down");
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
