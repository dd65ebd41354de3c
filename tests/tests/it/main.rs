//! The embedded suite: one binary, one module a topic.

mod round_trip;
