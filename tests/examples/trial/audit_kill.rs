//! The full count of the audit log under SIGKILL, in one command; exit 1 when an answer has no record or the log is not whole.
//!
//! `cargo run --release -p tests --example trial -- audit-kill --kills 50 --seed 1`

use clap::Args;
use tests::audit_kill::{Plan, run};

/// Kills the node while people read patients' data, and searches the audit log for each access.
#[derive(Debug, Args)]
pub struct Options {
    /// SIGKILLs of the node.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Decides on everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// People who read at the same time.
    #[arg(long, default_value_t = 8)]
    readers: u32,
}

pub async fn main(options: Options) -> anyhow::Result<bool> {
    let Options { kills, seed, readers } = options;
    let report = run(&Plan { kills, seed, readers }).await?;
    println!("{report}\n{}", serde_json::to_string(&report)?);
    Ok(report.violations.is_empty())
}
