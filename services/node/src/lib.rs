//! The composition root: configuration, sockets, signals, and the tools for operators and integrators.

mod accept;
pub mod access;
pub mod audit;
pub mod bench;
mod bounds;
mod certificate;
pub mod cli;
pub mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod demo;
pub mod engines;
pub mod gate;
pub mod gateway;
pub mod http;
mod operator;
pub mod people;
pub mod quarantine;
pub mod replay;
mod rpcs;
pub mod run;
pub mod simulate;
pub mod telemetry;
pub mod timeline;
mod tls;
pub mod ward;
