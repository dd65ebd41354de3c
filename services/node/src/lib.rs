//! What a process runs: configuration, listeners, TLS, and the wiring of each service.

pub mod audit;
pub mod config;
mod descriptors;
mod elsewhere;
pub mod engines;
pub mod http;
mod json;
pub mod metrics;
mod probes;
pub mod ready;
mod routes;
pub mod run;
pub mod services;
pub mod telemetry;
pub mod wiring;
