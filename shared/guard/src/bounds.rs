//! What callers may make a node hold in memory: their requests, what is worked on, and the answers that they do not take.
//!
//! Three budgets of bytes, each with a share for one caller, so that one who uses all of it does not stand in another's way:
//! - **requests** (one for each port, with a share for each address): while a body is read and until its rpc is done;
//! - **calls**: an estimate by rpc (`calls.rs`), from before it is decoded until its answer is encoded;
//! - **answers**: an encoded answer, or its JSON, until the transport has written it ([`answer`]); some is set aside before the
//!   call begins, so that a caller who takes no answers is the one who waits.
//!
//! Who finds no room waits, `memory.wait_seconds` at most, and then hears RESOURCE_EXHAUSTED, which limit it was and when to
//! try again. An answer of which nothing is taken for `memory.stall_seconds` is let go of. Streams are bounded where
//! they are served: `ingest` counts them and what waits in each.

pub mod answer;
pub mod budget;
mod calls;
pub mod request;

pub use calls::{Bounded, InProcess};

use crate::metrics;
use answer::Untaken;
use budget::{Budget, Shares};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Between two searches for answers that nobody takes.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const MIB: u32 = 1 << 20;

/// What callers may make a node hold, in MiB (see the module); 0 for one address or one caller: as much as all.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the manual of a node explains each")]
pub struct Settings {
    pub requests_mib: u32,
    pub requests_mib_per_address: u32,
    pub requests_mib_per_caller: u32,
    pub calls_mib: u32,
    pub calls_mib_per_caller: u32,
    pub answers_mib: u32,
    pub answers_mib_per_caller: u32,
    pub wait_seconds: u64,
    pub stall_seconds: u64,
}

#[cfg(test)]
impl Settings {
    /// The same for everything.
    pub(crate) fn even(mib: u32) -> Self {
        Self {
            requests_mib: mib,
            requests_mib_per_address: mib,
            requests_mib_per_caller: mib,
            calls_mib: mib,
            calls_mib_per_caller: mib,
            answers_mib: mib,
            answers_mib_per_caller: mib,
            wait_seconds: 5,
            stall_seconds: 30,
        }
    }
}

/// The budgets of a node. Clones are the same.
#[derive(Clone)]
pub struct Bounds(Arc<Inner>);

/// The budgets of memory, each described in the module's documentation.
pub struct Inner {
    /// Bytes of requests to the gRPC port.
    pub requests: Budget,
    /// Of the JSON port: bodies as they come.
    pub api_requests: Budget,
    /// Of the JSON port: what bodies are while they are taken apart.
    pub api_parsed: Budget,
    /// Of calls that are worked on.
    pub calls: Budget,
    /// Of answers that are not yet written.
    pub answers: Budget,
    /// Answers that nobody takes.
    pub untaken: Untaken,
    /// How long who finds no room waits for it.
    pub wait: Duration,
    stall: Duration,
}

impl std::ops::Deref for Bounds {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Bounds {
    /// With the limits of the settings.
    pub fn new(memory: &Settings) -> Self {
        let shares = |node: u32, caller: u32, address: u32| Shares {
            node: node * MIB,
            caller: caller * MIB,
            address: address * MIB,
        };
        let Settings { requests_mib, requests_mib_per_address, requests_mib_per_caller, .. } = *memory;
        let requests =
            || Budget::new("requests", shares(requests_mib, requests_mib_per_caller, requests_mib_per_address));
        Self(Arc::new(Inner {
            requests: requests(),
            api_requests: requests(),
            api_parsed: requests(),
            calls: Budget::new("calls", shares(memory.calls_mib, memory.calls_mib_per_caller, 0)),
            answers: Budget::new("answers", shares(memory.answers_mib, memory.answers_mib_per_caller, 0)),
            untaken: Untaken::default(),
            wait: Duration::from_secs(memory.wait_seconds),
            stall: Duration::from_secs(memory.stall_seconds),
        }))
    }

    /// How much of each budget is taken.
    fn tell(&self) {
        let Inner { requests, api_requests, api_parsed, calls, answers, .. } = &**self;
        let budgets = [
            ("requests", requests),
            ("api_requests", api_requests),
            ("api_parsed", api_parsed),
            ("calls", calls),
            ("answers", answers),
        ];
        for (of, budget) in budgets {
            metrics::memory(of, budget.out(), budget.limit());
        }
    }

    /// Lets go of answers that nobody takes, until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let mut due = tokio::time::interval(SWEEP_EVERY);
        while stop.run_until_cancelled(due.tick()).await.is_some() {
            self.untaken.sweep(self.stall);
            self.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_let_go_of_without_being_asked() {
        let bounds = Bounds::new(&Settings::even(8));
        let permit = bounds.answers.account(None, None).take_now(MIB).unwrap();
        let answer = answer::Answer::new(vec![vec![7; MIB as usize].into()], None, permit, &bounds.untaken);
        let stop = CancellationToken::new();
        tokio::spawn(bounds.clone().keep(stop.clone()));
        sleep(Duration::from_secs(29)).await;
        assert_eq!(bounds.answers.out(), MIB as usize);
        sleep(Duration::from_secs(3)).await;
        assert_eq!(bounds.answers.out(), 0);
        drop(answer);
        stop.cancel();
    }
}
