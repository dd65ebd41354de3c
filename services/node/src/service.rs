//! What a node can run. A node takes a list of these: the binary adds what no other program should link.

use crate::wiring::Wiring;
use model::telemetry::Instrument;
use std::fmt;

/// A service: its name, what it stands on, and how it is wired into a node.
#[derive(Clone, Copy)]
pub struct Service {
    /// On the command line, in health and in conditions of readiness: one lower-case word.
    pub name: &'static str,
    /// For operators, in a line.
    pub about: &'static str,
    /// What a node that runs it opens for it.
    pub needs: &'static [Need],
    /// What it tells about itself, beside what every node does.
    pub metrics: &'static [Instrument],
    /// Puts its rpcs and its tasks into the node; called once, when all that it needs is open.
    pub wire: fn(&mut Wiring<'_>) -> anyhow::Result<()>,
}

/// What a service stands on. But for notices, it is not ready while this is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A way to publish readings.
    Log,
    /// A way to publish notices; they wait for the log by themselves.
    Notices,
    /// The store, to work at all. (Every node opens it: a device's positions are there.)
    Store,
    /// An up-to-date directory.
    Directory,
    /// The audit log: it shows something.
    Audit,
}

impl Service {
    /// Readings in: to the log.
    pub const INGEST: Self = crate::services::ingest::SERVICE;
    /// From the log to the store.
    pub const WRITER: Self = crate::services::writer::SERVICE;
    /// Timelines, trends, latest values, studies and the audit log out.
    pub const QUERY: Self = crate::services::query::SERVICE;
    /// People, devices and what ties them.
    pub const REGISTRY: Self = crate::services::registry::SERVICE;
    /// Every service that this crate wires.
    pub const ALL: [Self; 4] = [Self::INGEST, Self::WRITER, Self::QUERY, Self::REGISTRY];

    /// Whether it stands on something.
    pub fn needs(&self, need: Need) -> bool {
        self.needs.contains(&need)
    }

    /// Whether it cannot work while something is not there.
    pub(crate) fn waits_for(&self, need: Need) -> bool {
        need != Need::Notices && self.needs(need)
    }
}

/// A service is known by its name.
impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Service {}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
