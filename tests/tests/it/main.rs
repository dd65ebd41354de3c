//! The embedded suite: one binary, one module a topic.

// as integrators call it, and as its examples do
extern crate client as wardline_client;

mod access;
mod audit;
mod bad_batches;
mod bad_input;
mod bad_messages;
mod bounds;
mod chart;
mod damage;
mod demo;
mod heads;
mod hold;
mod http_api;
mod http_semantics;
mod identity;
mod leakage;
mod method_limits;
mod metrics;
mod mutations;
mod no_patient_data;
mod pages_call;
mod patients;
mod present;
mod quarantine;
mod quotas;
mod readiness;
mod registry;
mod request_ids;
mod round_trip;
mod sdk;
mod served_here;
mod services;
mod streams;
mod study;
mod tidy;
mod timeline;
mod timeline_pages;
mod tls;
mod tls_door;
mod tokens;
mod too_many_connections;
mod trend;
mod writer;
