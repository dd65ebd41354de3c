//! The embedded suite: one binary, one module a topic.

mod access;
mod audit;
mod bad_batches;
mod bad_input;
mod bad_messages;
mod bounds;
mod demo;
mod hold;
mod http_api;
mod leakage;
mod mutations;
mod no_patient_data;
mod quarantine;
mod registry;
mod round_trip;
mod streams;
mod study;
mod timeline;
mod timeline_pages;
mod tls;
mod tls_door;
mod tokens;
mod trend;
mod writer;
