//! A small torture test on the embedded engines; the full count is `cargo run --release -p tests --example torture`.

use tests::torture::{Plan, engines::Kind, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_doubled_or_made_up_when_the_node_is_killed() -> anyhow::Result<()> {
    let plan = Plan {
        kind: Kind::Embedded,
        kills: 8,
        broker_kills: 0,
        store_kills: 0,
        seed: 1,
        devices: 6,
        rate_hz: 20.0,
        batch: 10,
    };
    let report = run(&plan).await?;
    println!("{report}");
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!(report.faults.node_kills, 8);
    assert!(report.verdict.acknowledged > 1_000 && report.repeated[0] > 0, "the load was too small to say anything");
    Ok(())
}
