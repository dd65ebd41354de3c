//! `wardline`: read the command line, do it, stop when told to.

mod analytics_schedules;
mod analytics_service;
mod archive_service;
mod places;

use node::{services, wiring::Service};
use std::{
    io::{Write, stderr},
    process::ExitCode,
};
use tokio_util::sync::CancellationToken;
use wardline::{
    cli::Cli,
    commands,
    ending::{FAILED, No, is_closed_pipe, told},
    signals,
};

/// A batch is many small allocations, half of them freed by another thread: glibc's would take a third of the time.
/// Its settings (few arenas, unused memory given back after a second) are built in: `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What this binary can run: what every node can, and what stands on analytics, which nothing else links.
static SERVICES: [Service; 6] = [
    services::INGEST,
    services::WRITER,
    services::QUERY,
    services::REGISTRY,
    analytics_service::SERVICE,
    archive_service::SERVICE,
];

#[tokio::main]
async fn main() -> ExitCode {
    // whatever this process makes is for its user alone
    disk::private::umask();
    // one provider for the whole process: two in the dependencies would panic at the first handshake
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::read();
    let stop = CancellationToken::new();
    tokio::spawn(signals(stop.clone()));
    match commands::execute(cli, &SERVICES, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        // `| head` has seen enough
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "wardline: {}", told(&error));
            if error.is::<No>() { ExitCode::FAILURE } else { ExitCode::from(FAILED) }
        }
    }
}
