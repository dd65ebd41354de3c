//! Kills and standstill, in small; the full counts are `cargo run --release -p tests --example trial -- torture`.

use crate::ALONE;
use std::time::Duration;
use tests::{
    job_kill,
    torture::{self, engines::Kind, memory},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka and a CQL server"]
async fn nothing_acknowledged_is_lost_when_node_broker_and_store_are_killed() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let plan = torture::Plan {
        kind: Kind::Live,
        kills: 3,
        broker_kills: 1,
        store_kills: 1,
        seed: 1,
        devices: 4,
        rate_hz: 20.0,
        batch: 10,
    };
    let report = torture::run(&plan).await?;
    println!("{report}");
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!((report.faults.broker_kills, report.faults.store_kills), (1, 1));
    assert!(report.verdict.acknowledged > 1_000 && report.repeated[0] > 0, "the load was too small to say anything");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka and a CQL server"]
async fn memory_is_bounded_while_the_writer_stands_still_and_catches_up() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let plan = memory::Plan { frozen: Duration::from_secs(10), devices: 8, rate_hz: 0.0, batch: 10 };
    let report = memory::run(&plan).await?;
    println!("{report}");
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.acknowledged > 10_000, "the load was too small to say anything");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka and a CQL server"]
async fn each_job_has_one_result_when_workers_are_killed_and_paused() -> anyhow::Result<()> {
    let _alone = ALONE.lock().await;
    let plan = job_kill::Plan { kind: Kind::Live, workers: 2, jobs: 80, kills: 3, stops: 2, seed: 1 };
    let report = job_kill::run(&plan).await?;
    println!("{report}");
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!((report.kills, report.stops, report.right), (3, 2, 80));
    assert!(report.taken_over > 0, "no job was taken over");
    Ok(())
}
