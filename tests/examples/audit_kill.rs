//! The full count of the audit log under SIGKILL, in one command; exit 1 when an answer has no record or the log is not whole.
//!
//! `cargo run --release -p tests --example audit_kill -- --kills 50 --seed 1`

use clap::Parser;
use std::process::ExitCode;
use tests::audit_kill::{Plan, run};

/// Kills the node while people look at patients, and searches the audit log for each look.
#[derive(Debug, Parser)]
struct Options {
    /// SIGKILLs of the node.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Decides on everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// People who look at the same time.
    #[arg(long, default_value_t = 8)]
    readers: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Options { kills, seed, readers } = Options::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn,tests=info").init();
    let report = run(&Plan { kills, seed, readers }).await?;
    println!("{report}\n{}", serde_json::to_string(&report)?);
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
