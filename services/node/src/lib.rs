//! The composition root: configuration, sockets, signals, and the tools for operators and integrators.

pub mod access;
pub mod audit;
pub mod bench;
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
pub mod quarantine;
pub mod replay;
pub mod run;
pub mod simulate;
pub mod telemetry;
pub mod timeline;
