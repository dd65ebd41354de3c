//! The services of this crate, each wired in a file of its own: what it stands on, its rpcs behind the way in, and its tasks,
//! all of which end with the node, and end it when they fail.

pub(crate) mod ingest;
pub(crate) mod query;
pub(crate) mod registry;
pub(crate) mod writer;
