//! A small leakage test; the full count is `cargo run --release -p tests --example trial -- leakage`.

use tests::leakage::{Plan, Report, ask_all, run};

fn passes(report: &Report) {
    println!("{report}");
    assert_eq!(report.texts, Vec::<String>::new());
    assert_eq!((report.leaks, report.differences), (0, 0));
    assert_eq!(report.compared, report.hidden + report.not_permitted + report.expired);
}

#[test]
fn random_worlds_show_what_the_rules_allow_and_nothing_else() -> anyhow::Result<()> {
    let report = run(&Plan { cases: 20_000, seed: 1, workers: 2, stored_log: false })?;
    passes(&report);
    // it says something only when all of it happens often
    assert!(report.answered > 2_000 && report.rows > 9_000 && report.hidden > 2_000, "{report}");
    assert!(report.pages > 100 && report.cut > 100 && report.tokens_refused > 100, "{report}");
    Ok(())
}

#[test]
fn the_same_holds_with_the_audit_log_on_disk() -> anyhow::Result<()> {
    let report = run(&Plan { cases: 400, seed: 2, workers: 1, stored_log: true })?;
    passes(&report);
    assert!(report.answered > 40 && report.audited > 400, "{report}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_shown_when_the_audit_log_fails_or_hangs() -> anyhow::Result<()> {
    let (fails, hangs) = tokio::try_join!(ask_all(1, false), ask_all(1, true))?;
    assert_eq!(fails, hangs);
    let [open, refused] = fails;
    assert_eq!((open.len(), refused.len()), (1, 1), "{open:?} {refused:?}");
    assert!(open["AUDIT_UNAVAILABLE"] > 20 && refused["AUDIT_UNAVAILABLE"] > 20, "{open:?} {refused:?}");
    Ok(())
}
