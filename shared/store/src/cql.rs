//! The CQL store.
