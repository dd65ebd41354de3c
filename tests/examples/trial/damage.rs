//! The full count of damaged files, in one command; exit 1 when a reading is missing without a word, or another.
//!
//! `cargo run --release -p tests --example trial -- damage --cases 500 --seed 1`

use clap::Args;
use tests::damage::{Plan, run};

/// Damages one file or folder of a node's data at a time, and judges what the node makes of it by a ledger.
#[derive(Debug, Args)]
pub struct Options {
    /// How many folders are damaged, one after another.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    cases: u32,
    /// Decides on everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of the cases that are refused, every so many is repaired and read.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    repair_every: u32,
}

pub async fn main(options: Options) -> anyhow::Result<bool> {
    let Options { cases, seed, repair_every } = options;
    let report = run(&Plan { cases, seed, repair_every }).await?;
    println!("{report}\n{}", serde_json::to_string(&report)?);
    Ok(report.violations.is_empty())
}
