//! The full count of jobs under SIGKILL and SIGSTOP, in one command; exit 1 when a job has not exactly one right result.
//!
//! `cargo run --release -p tests --example trial -- job-kill --engines live --jobs 1000 --kills 20 --stops 20`

use clap::Args;
use tests::{
    job_kill::{Plan, run},
    torture::engines::Kind,
};

/// Kills and pauses workers while jobs are submitted, and reads every job's steps.
#[derive(Debug, Args)]
pub struct Options {
    /// What the nodes run on; embedded: one process, which is only killed.
    #[arg(long, value_enum, default_value_t = Kind::Live)]
    engines: Kind,
    /// Jobs of two seconds.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    jobs: u32,
    /// Processes that do them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// SIGKILLs of workers.
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// SIGSTOPs of workers.
    #[arg(long, default_value_t = 20)]
    stops: u32,
    /// Decides on everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub async fn main(options: Options) -> anyhow::Result<bool> {
    let Options { engines, jobs, workers, kills, stops, seed } = options;
    let (workers, stops) = if engines == Kind::Embedded { (1, 0) } else { (workers, stops) };
    let report = run(&Plan { kind: engines, workers, jobs, kills, stops, seed }).await?;
    println!("{report}\n{}", serde_json::to_string(&report)?);
    Ok(report.violations.is_empty())
}
