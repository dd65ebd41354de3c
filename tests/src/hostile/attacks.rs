//! The attacks, each in a file of its own: what it sends, and what must not come of it besides what is judged for all.

mod bodies;
mod descriptors;
mod free_writes;
mod noise;
mod open_methods;
mod requests;
mod slow_http1;
mod unread_acks;
mod unread_timelines;

use super::{
    http2::Answer,
    tally::{self, Counts},
    target::{Scale, Target},
};
use futures::{
    FutureExt,
    future::{LocalBoxFuture, join_all},
};
use std::time::Duration;

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// Large bodies without a token, without permission, and from a device.
    BodiesWithoutToken,
    /// Megabytes, half-sent messages and endless streams for methods that need no token.
    OpenMethods,
    /// As many idle connections as a process has descriptors for.
    Descriptors,
    /// A device that takes no acknowledgement.
    UnreadAcks,
    /// A doctor who takes no answer.
    UnreadTimelines,
    /// Readers who take a byte a second.
    SlowHttp1,
    /// Claims, reports and edits at full speed.
    FreeWrites,
    /// Resets, doubtful requests, much metadata, slow heads and garbage on all ports.
    ResetsAndNoise,
    /// All of them at once, at a lower rate.
    Mixed,
}

impl Attack {
    /// In the order in which they are tried.
    pub const ALL: [Self; 9] = [
        Self::BodiesWithoutToken,
        Self::OpenMethods,
        Self::Descriptors,
        Self::UnreadAcks,
        Self::UnreadTimelines,
        Self::SlowHttp1,
        Self::FreeWrites,
        Self::ResetsAndNoise,
        Self::Mixed,
    ];

    /// As it is called on the command line.
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether there must be a patient with a full day.
    pub fn needs_a_day(self) -> bool {
        matches!(self, Self::UnreadTimelines | Self::SlowHttp1 | Self::Mixed)
    }

    /// The soft limit of descriptors that the node is started with, if it is a lower one than usual.
    pub fn soft_descriptors(self) -> Option<u32> {
        (self == Self::Descriptors).then_some(1_024)
    }

    /// How hard it is when it has the node for itself, or not.
    pub fn scale(self) -> Scale {
        match self {
            Self::Mixed => Scale { share: 0.125, pause: Duration::from_millis(5) },
            _ => Scale { share: 1.0, pause: Duration::ZERO },
        }
    }

    /// Attacks until it is dropped.
    pub fn run(self, target: &Target) -> LocalBoxFuture<'_, ()> {
        match self {
            Self::BodiesWithoutToken => bodies::run(target).boxed_local(),
            Self::OpenMethods => open_methods::run(target).boxed_local(),
            Self::Descriptors => descriptors::run(target).boxed_local(),
            Self::UnreadAcks => unread_acks::run(target).boxed_local(),
            Self::UnreadTimelines => unread_timelines::run(target).boxed_local(),
            Self::SlowHttp1 => slow_http1::run(target).boxed_local(),
            Self::FreeWrites => free_writes::run(target).boxed_local(),
            Self::ResetsAndNoise => noise::run(target).boxed_local(),
            Self::Mixed => join_all(Self::others().map(|attack| attack.run(target))).map(|_| ()).boxed_local(),
        }
    }

    /// What is wrong with what came back. `durable_most`: durable changes that one caller may make meanwhile, if that is
    /// judged.
    pub fn judge(self, counts: &Counts, durable_most: Option<f64>) -> Vec<String> {
        let mut violations = match self {
            Self::BodiesWithoutToken => bodies::judge(counts),
            Self::OpenMethods => open_methods::judge(counts),
            Self::Descriptors => descriptors::judge(counts),
            Self::FreeWrites => free_writes::judge(counts, durable_most),
            Self::ResetsAndNoise => noise::judge(counts),
            Self::UnreadAcks | Self::UnreadTimelines | Self::SlowHttp1 => Vec::new(),
            Self::Mixed => return Self::others().flat_map(|attack| attack.judge(counts, durable_most)).collect(),
        };
        violations.extend(self.missing(counts).into_iter().map(|what| format!("{what}: never")));
        violations
    }

    /// What has not been seen yet, and must be before the attack says anything.
    pub fn missing(self, counts: &Counts) -> Vec<&'static str> {
        let needed = match self {
            Self::BodiesWithoutToken => bodies::NEEDED,
            Self::OpenMethods => open_methods::NEEDED,
            Self::Descriptors => descriptors::NEEDED,
            Self::UnreadAcks => unread_acks::NEEDED,
            Self::UnreadTimelines => unread_timelines::NEEDED,
            Self::SlowHttp1 => slow_http1::NEEDED,
            Self::FreeWrites => free_writes::NEEDED,
            Self::ResetsAndNoise => noise::NEEDED,
            Self::Mixed => return Self::others().flat_map(|attack| attack.missing(counts)).collect(),
        };
        needed.iter().copied().filter(|what| tally::of(counts, what) == 0).collect()
    }

    /// The sources of durable entries in it: each caller, and each address without one.
    pub fn n_writers(self) -> u32 {
        match self {
            // two addresses that claim, a device that reports, a patient who edits
            Self::FreeWrites | Self::Mixed => 4,
            _ => 2,
        }
    }

    fn others() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|attack| *attack != Self::Mixed)
    }
}

/// A key for the tally: the gRPC code, or the HTTP status of an answer without one.
fn label(answer: &Answer) -> String {
    answer.code().map_or_else(|| format!("HTTP {}", answer.http), |code| format!("{code:?}"))
}
