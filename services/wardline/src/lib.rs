//! What a person types: running a node, and the tools for operators, integrators and clinicians.

pub mod audit;
mod certificate;
pub mod cli;
pub mod commands;
pub mod demo;
pub mod demo_ward;
pub mod operator;
pub mod people;
pub mod quarantine;
pub mod repair;
pub mod replay;
pub mod simulate;
pub mod timeline;

use std::io::{self, Write, stderr};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// `EX_SOFTWARE`: the platform should start it again.
pub const FAILED: u8 = 70;

/// Whether nobody reads any longer what is printed: `| head` has seen enough.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        // these two do not say so by their source
        let json = || cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        let csv = || match cause.downcast_ref::<csv::Error>().map(csv::Error::kind) {
            Some(csv::ErrorKind::Io(error)) => Some(error.kind()),
            _ => None,
        };
        io.or_else(json).or_else(csv)
    };
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

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
