//! Whether the node wants work: named conditions, each with the services that cannot work without it and, while it does not
//! hold, why.
//!
//! Whoever can tell makes a condition ([`Ready::condition`]) and sets it; `/ready`, `grpc.health` and a metric say what comes
//! of all of them. Reasons are for operators: words of ours, without secrets and patient data. Liveness depends on none of
//! this. [`Steady`] sets one by a probe: not at its first failure, which may be chance, and back at the first success.

use crate::{
    metrics,
    wiring::{Need, Service},
};
use std::{collections::BTreeMap, fmt::Write, sync::Arc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

/// Failures of a probe in a row before its condition does not hold.
const FAILURES: u32 = 2;

/// The conditions of a node. Clones share them.
#[derive(Clone)]
pub struct Ready(Arc<Inner>);

struct Inner {
    services: Vec<Service>,
    conditions: watch::Sender<BTreeMap<&'static str, State>>,
}

struct State {
    needed: Needed,
    /// Why it does not hold.
    failing: Option<String>,
    /// Whether it ever did: that it does from the start need not be said.
    has_held: bool,
}

/// Which services cannot work without a condition.
#[derive(Debug, Clone, Copy)]
pub enum Needed {
    /// Every service that the node runs.
    ByAll,
    /// The services that need this.
    For(Need),
}

impl Needed {
    fn by(self, service: Service) -> bool {
        match self {
            Self::ByAll => true,
            Self::For(need) => service.waits_for(need),
        }
    }
}

impl Ready {
    /// Of a node that runs these services; it has no condition yet.
    pub fn new(services: &[Service]) -> Self {
        Self(Arc::new(Inner { services: services.to_vec(), conditions: watch::Sender::default() }))
    }

    /// A condition without which some services cannot work. It does not hold until it is said to; made once more, it is
    /// the same one.
    pub fn condition(&self, name: &'static str, needed: Needed) -> Condition {
        self.0.conditions.send_if_modified(|conditions| {
            let is_new = !conditions.contains_key(name);
            let failing = || State { needed, failing: Some("not known yet".to_owned()), has_held: false };
            conditions.entry(name).or_insert_with(failing);
            is_new
        });
        Condition { name, ready: self.clone() }
    }

    /// Whether every condition holds that one of the node's services needs.
    pub fn is_ready(&self) -> bool {
        self.0.services.iter().all(|service| self.serves(*service))
    }

    /// Whether every condition holds that a service needs.
    pub fn serves(&self, service: Service) -> bool {
        let conditions = self.0.conditions.borrow();
        conditions.values().all(|state| state.failing.is_none() || !state.needed.by(service))
    }

    /// What `/ready` answers: the verdict, and a line for each condition that does not hold; those that no service of this
    /// node needs come with a node that is ready, too.
    pub fn text(&self) -> String {
        let mut text = if self.is_ready() { "ready\n" } else { "not ready\n" }.to_owned();
        for (name, state) in self.0.conditions.borrow().iter() {
            if let Some(why) = &state.failing {
                // writing to a string cannot fail
                let _ = writeln!(text, "{name}: {why}");
            }
        }
        text
    }

    /// Tells `health` of each service, by its name on the wire; without a service the name is the node's.
    pub(crate) async fn report(&self, health: &HealthReporter, names: &[(&'static str, Option<Service>)]) {
        for (name, service) in names {
            let serves = service.map_or_else(|| self.is_ready(), |service| self.serves(service));
            let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
            health.set_service_status(*name, status).await;
        }
    }

    /// Tells `health` whenever something has changed, until `stop`; from then on nothing is served.
    pub(crate) async fn keep_reporting(
        self,
        health: HealthReporter,
        names: Vec<(&'static str, Option<Service>)>,
        stop: CancellationToken,
    ) {
        let mut changes = self.0.conditions.subscribe();
        changes.mark_changed();
        while let Some(Ok(())) = stop.run_until_cancelled(changes.changed()).await {
            self.report(&health, &names).await;
        }
        for (name, _) in names {
            health.set_service_status(name, ServingStatus::NotServing).await;
        }
    }

    fn set(&self, name: &'static str, failing: Option<String>) {
        let holds = failing.is_none();
        self.0.conditions.send_if_modified(|conditions| {
            let Some(state) = conditions.get_mut(name) else { return false };
            match (&state.failing, &failing) {
                (None, Some(why)) => tracing::warn!(condition = name, why, "a condition of readiness does not hold"),
                (Some(_), None) if state.has_held => tracing::info!(condition = name, "a condition of readiness holds"),
                _ => {}
            }
            let is_new = state.failing != failing;
            state.failing = failing;
            state.has_held |= state.failing.is_none();
            is_new
        });
        metrics::ready(name, holds);
    }
}

/// One condition, for who can tell. Clones are the same one.
#[derive(Clone)]
pub struct Condition {
    name: &'static str,
    ready: Ready,
}

impl Condition {
    /// Records that the condition holds now.
    pub fn hold(&self) {
        self.ready.set(self.name, None);
    }

    /// It does not, and why: in words for operators.
    pub fn fail(&self, why: impl Into<String>) {
        self.ready.set(self.name, Some(why.into()));
    }
}

/// A condition that follows a probe.
pub struct Steady {
    condition: Condition,
    n_failed: u32,
}

impl Steady {
    /// Follows a probe, and sets this condition by what it finds.
    pub fn new(condition: Condition) -> Self {
        Self { condition, n_failed: 0 }
    }

    /// Takes the result of one probe.
    pub fn found(&mut self, found: Result<(), String>) {
        match found {
            Ok(()) => {
                self.n_failed = 0;
                self.condition.hold();
            }
            Err(why) => {
                self.n_failed = self.n_failed.saturating_add(1);
                if self.n_failed >= FAILURES {
                    self.condition.fail(why);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
