//! What a person types: running a node, and the tools for operators, integrators and clinicians.

pub mod analytics;
pub mod audit;
mod certificate;
pub mod cli;
pub mod commands;
pub mod dashboard;
pub mod datasets;
pub mod demo;
mod demo_data;
pub mod demo_ward;
pub mod device_tokens;
pub mod ending;
pub mod jobs;
mod metrics_table;
pub mod models;
mod opening;
pub mod operator;
pub mod people;
pub mod pipeline;
pub mod quarantine;
pub mod repair;
pub mod replay;
pub mod reports;
pub mod settings;
pub mod simulate;
pub mod timeline;

use ending::FAILED;
use std::io::{Write, stderr};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The first signal drains, the second ends the process at once.
pub async fn signals(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        let _ =
            writeln!(stderr(), "wardline: signals cannot be watched; stop with SIGKILL, nothing acknowledged is lost");
        return;
    };
    for n_signals in 1.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if n_signals > 1 {
            std::process::exit(i32::from(FAILED));
        }
        stop.cancel();
    }
}
