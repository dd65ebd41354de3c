//! Small trials on the embedded engines, with nothing to install; the full counts are
//! `cargo run --release -p tests --example trial -- --help`.

use std::time::Duration;
use tests::{
    audit_kill, damage, hostile, job_kill,
    torture::{Plan, engines::Kind, run},
};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_in_the_audit_log_when_the_node_is_killed() -> anyhow::Result<()> {
    let report = audit_kill::run(&audit_kill::Plan { kills: 3, seed: 1, readers: 4 }).await?;
    println!("{report}");
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!((report.kills, report.verified), (3, 4));
    assert!(report.answered > 20 && report.refused > 20 && report.rows > 20, "the load was too small to say anything");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_has_one_result_when_its_worker_is_killed() -> anyhow::Result<()> {
    let plan = job_kill::Plan { kind: Kind::Embedded, workers: 1, jobs: 30, kills: 3, stops: 0, seed: 1 };
    let report = job_kill::run(&plan).await?;
    println!("{report}");
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!((report.kills, report.right), (3, 30));
    assert!(report.attempts > 30, "no attempt was killed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_damage_is_silent_and_no_wrong_value_is_served() -> anyhow::Result<()> {
    let report = damage::run(&damage::Plan { cases: 12, seed: 1, repair_every: 4 }).await?;
    println!("{report}");
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.refused > 3 && report.repaired > 0, "the damage was too small to say anything");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_peers_are_refused_as_that_and_others_are_served() -> anyhow::Result<()> {
    let report = hostile::run(&hostile::Plan {
        attacks: hostile::Attack::ALL.to_vec(),
        duration: Duration::from_millis(300),
        patience: Duration::from_secs(30),
        seed: 1,
        scale: Some(hostile::Scale { share: 0.02, pause: Duration::from_millis(10) }),
        pace: hostile::Pace { rate_hz: 20.0, patience: Duration::from_secs(30) },
        bounds: hostile::Bounds::LIFE,
        binary: None,
        shares_folder: true,
    })
    .await?;
    println!("{report}");
    let violations: Vec<_> = report.outcomes.iter().flat_map(|outcome| &outcome.violations).collect();
    assert!(violations.is_empty(), "{violations:#?}");
    assert_eq!(report.outcomes.len(), hostile::Attack::ALL.len());
    Ok(())
}
