//! What only the CQL store must prove of its audit log: in which order it writes, and that the log is the truth.

use crate::{
    audit::{chain, entries, newest_first, read, stored},
    cql_only::Fresh,
    fixture::patient,
};
use model::{Nanos, audit::Verifier};
use store::{Audit, AuditQuery, FoundEntries};

/// A table is gone at which `append` fails: what comes before it is written, and nothing of what comes after.
#[tokio::test]
#[ignore = "needs a CQL server"]
async fn an_audit_index_never_runs_ahead_of_the_log() {
    for (gone, empty, full) in [
        ("audit_hours", &["audit", "audit_by_patient", "audit_by_hour"][..], &[][..]),
        ("audit", &["audit_by_patient", "audit_by_hour"], &["audit_chunks", "audit_spans", "audit_hours"]),
        ("audit_by_patient", &[], &["audit"]),
        ("audit_by_hour", &[], &["audit"]),
    ] {
        let fresh = Fresh::new().await;
        let (store, _) = fresh.writers().await;
        fresh.run(&format!("DROP TABLE KS.{gone}")).await;
        let mut chain = chain();
        let all = entries(&mut chain, patient(), Nanos(0), 3);
        assert!(store.append(&all).await.is_err(), "{gone} is gone");
        for (tables, expected) in [(empty, false), (full, true)] {
            for table in tables {
                let n: i64 = fresh.value(&format!("SELECT count(*) FROM KS.{table}")).await;
                assert_eq!(n > 0, expected, "{table} without {gone}");
            }
        }
        if full == ["audit"] {
            assert_eq!(read(&store, chain.writer(), 9).await, stored(&all));
        }
        fresh.done().await;
    }
}

#[tokio::test]
#[ignore = "needs a CQL server"]
async fn an_audit_entry_that_was_tampered_with_is_noticed() {
    let fresh = Fresh::new().await;
    let (store, _) = fresh.writers().await;
    let (mut chain, patient) = (chain(), patient());
    let all = entries(&mut chain, patient, Nanos(0), 5);
    store.append(&all).await.unwrap();
    let query = AuditQuery { patient: Some(patient), from: Nanos::MIN, to: Nanos::MAX, limit: 9 };
    assert_eq!(store.search(&query).await.unwrap(), FoundEntries { entries: newest_first(&all), unreadable: 0 });
    let others: Vec<_> = all.iter().filter(|entry| entry.sequence != 3).cloned().collect();
    let place = format!("WHERE writer = {} AND chunk = 0 AND sequence = 3", chain.writer().uuid());
    for change in ["UPDATE KS.audit SET entry = 0x01", "UPDATE KS.audit SET entry = null", "DELETE FROM KS.audit"] {
        fresh.run(&format!("{change} {place}")).await;
        let found = FoundEntries { entries: newest_first(&others), unreadable: 1 };
        assert_eq!(store.search(&query).await.unwrap(), found, "{change}");
        let mut verifier = Verifier::new(chain.writer(), [], |_| false);
        read(&store, chain.writer(), 9).await.iter().for_each(|(sequence, bytes)| verifier.take(*sequence, bytes));
        assert_eq!(verifier.close()[0].sequence, 3, "{change}");
    }
    fresh.done().await;
}
