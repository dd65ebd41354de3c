//! The full count of the leakage test, in one command; exit 1 when anything differs from what the rules say.
//!
//! `cargo run --release -p tests --example trial -- leakage --cases 1000000 --seed 1`

use clap::Args;
use std::time::Instant;
use tests::leakage::{Plan, run};

/// Asks random questions in random worlds, and compares each answer with a second statement of the rules.
#[derive(Debug, Args)]
pub struct Options {
    /// How many questions are asked, those for comparison not counted.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    cases: u64,
    /// Decides on everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads, each with worlds of its own.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    workers: u64,
    /// Keep the audit log in a store on disk, too: each access is synced.
    #[arg(long)]
    stored_log: bool,
}

pub fn main(options: &Options) -> anyhow::Result<bool> {
    let &Options { cases, seed, workers, stored_log } = options;
    let began = Instant::now();
    let report = run(&Plan { cases, seed, workers, stored_log })?;
    println!("{report}\nin {:.1} s\n{}", began.elapsed().as_secs_f64(), serde_json::to_string(&report)?);
    Ok(report.differences == 0)
}
