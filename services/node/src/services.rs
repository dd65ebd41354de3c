//! The services of this crate, each wired in a file of its own: what it stands on, its rpcs behind the way in, and its tasks,
//! all of which end with the node, and end it when they fail.

mod ingest;
mod query;
mod registry;
mod writer;

pub use ingest::SERVICE as INGEST;
pub use query::SERVICE as QUERY;
pub use registry::SERVICE as REGISTRY;
pub use writer::SERVICE as WRITER;

use crate::wiring::Service;

/// Every service that this crate wires.
pub const ALL: [Service; 4] = [INGEST, WRITER, QUERY, REGISTRY];
