//! The trials in full, each by one command with a seed; exit 1 when a promise is broken.
//!
//! `cargo run --release -p tests --example trial -- torture --kills 100`

mod audit_kill;
mod damage;
mod hostile;
mod job_kill;
mod leakage;
mod torture;

use clap::Parser;
use std::process::ExitCode;

/// Puts a node to the test, and judges it by a ledger kept outside.
#[derive(Debug, Parser)]
enum Trial {
    /// Kills node and engines while devices send: nothing acknowledged may be lost, doubled, changed or made up.
    Torture(torture::Options),
    /// Kills the node while people read patients' data: each answer must be in the audit log.
    AuditKill(audit_kill::Options),
    /// Asks random questions in random worlds: each answer must be what a second statement of the rules says.
    Leakage(leakage::Options),
    /// Damages a node's files: each damage must be refused, repaired or harmless.
    Damage(damage::Options),
    /// Kills and pauses workers: each job must have exactly one result.
    JobKill(job_kill::Options),
    /// Attacks a node while another caller is served: neither may notice.
    Hostile(hostile::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let trial = Trial::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn,tests=info").init();
    let is_good = match trial {
        Trial::Torture(options) => torture::main(options).await?,
        Trial::AuditKill(options) => audit_kill::main(options).await?,
        Trial::Leakage(options) => leakage::main(&options)?,
        Trial::Damage(options) => damage::main(options).await?,
        Trial::JobKill(options) => job_kill::main(options).await?,
        Trial::Hostile(options) => hostile::main(options).await?,
    };
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
