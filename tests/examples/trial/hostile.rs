//! The hostile trial in one command; exit 1 when the node does not hold against an attack.
//!
//! `cargo run --release -p tests --example trial -- hostile --seconds 60 --seed 1`
//! `cargo run --release -p tests --example trial -- hostile --only unread-acks --only slow-http1`
//!
//! Linux, at least two cores; everything is on loopback.

use clap::Args;
use std::{path::PathBuf, time::Duration};
use tests::hostile::{Attack, Bounds, Pace, Plan, run};

/// Attacks a node in nine ways while another caller is served, and judges memory, latency and what is answered.
#[derive(Debug, Args)]
pub struct Options {
    /// How long each attack lasts.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Decides on everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these attacks.
    #[arg(long, value_enum)]
    only: Vec<Attack>,
    /// Requests a second of the other caller.
    #[arg(long, default_value_t = 40.0)]
    rate: f64,
    /// Do not judge the other caller's latency: on a machine that is busy otherwise.
    #[arg(long)]
    no_latency: bool,
    /// The binary to attack, instead of that of this build.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Say of each attack what the attacker counted, and how the node's log ends.
    #[arg(long)]
    verbose: bool,
}

pub async fn main(options: Options) -> anyhow::Result<bool> {
    let mut bounds = Bounds::FULL;
    if options.no_latency {
        bounds.p99_ms = None;
    }
    let plan = Plan {
        attacks: if options.only.is_empty() { Attack::ALL.to_vec() } else { options.only },
        duration: Duration::from_secs(options.seconds),
        patience: Duration::ZERO,
        seed: options.seed,
        scale: None,
        pace: Pace { rate_hz: options.rate, patience: Duration::from_secs(5) },
        bounds,
        binary: options.binary,
        shares_folder: false,
    };
    let report = run(&plan).await?;
    if options.verbose {
        for outcome in &report.outcomes {
            println!("{}\n{:#?}\n{}\n", outcome.attack.name(), outcome.counts, outcome.log_ends);
        }
    }
    println!("{report}\n{}", serde_json::to_string(&report)?);
    Ok(report.is_good())
}
