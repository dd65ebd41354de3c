//! The full count of the torture test, in one command; exit 1 when anything is lost, doubled, changed or made up.
//!
//! `cargo run --release -p tests --example trial -- torture --engines embedded --kills 100`
//! `cargo run --release -p tests --example trial -- torture --engines live --kills 30 --broker-kills 5 --store-kills 5`
//! `cargo run --release -p tests --example trial -- torture --memory-seconds 120`
//!
//! The live engines must run: `deploy/engines/engines up`.

use clap::Args;
use std::time::Duration;
use tests::torture::{self, engines::Kind, memory};

/// Kills the node and its engines while devices send, and judges what is visible by a ledger kept outside.
#[derive(Debug, Args)]
pub struct Options {
    /// What the node stands on.
    #[arg(long, value_enum, default_value = "embedded")]
    engines: Kind,
    /// SIGKILLs of the node.
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// SIGKILLs of Kafka.
    #[arg(long, default_value_t = 0)]
    broker_kills: u32,
    /// SIGKILLs of the CQL server.
    #[arg(long, default_value_t = 0)]
    store_kills: u32,
    /// Decides on everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Devices, each with a patient.
    #[arg(long, default_value_t = 12)]
    devices: u32,
    /// Batches a second and device; 0: as many as there are credits for.
    #[arg(long, default_value_t = 40.0)]
    rate: f64,
    /// Readings a batch.
    #[arg(long, default_value_t = 10)]
    batch: u32,
    /// Instead of killing: freeze the writer for so long at full rate, let it catch up, and weigh each service (live).
    #[arg(long)]
    memory_seconds: Option<u64>,
}

pub async fn main(options: Options) -> anyhow::Result<bool> {
    let (report, json, is_good) = if let Some(seconds) = options.memory_seconds {
        let plan = memory::Plan {
            frozen: Duration::from_secs(seconds),
            devices: options.devices,
            rate_hz: options.rate,
            batch: options.batch,
        };
        let report = memory::run(&plan).await?;
        (report.to_string(), serde_json::to_string(&report)?, report.violations.is_empty())
    } else {
        let plan = torture::Plan {
            kind: options.engines,
            kills: options.kills,
            broker_kills: options.broker_kills,
            store_kills: options.store_kills,
            seed: options.seed,
            devices: options.devices,
            rate_hz: options.rate,
            batch: options.batch,
        };
        let report = torture::run(&plan).await?;
        (report.to_string(), serde_json::to_string(&report)?, report.violations.is_empty())
    };
    println!("{report}\n{json}");
    Ok(is_good)
}
