//! Seals and rollups on a CQL server: what several writers do to them, and what their bytes must be.

use crate::{
    cql_only::Fresh,
    fixture::{patient, permit, read},
    sealing::{HOUR, readings, rollups, sealed, sheets},
};
use model::HourRange;
use rand::{SeedableRng, rngs::StdRng};
use std::time::Duration;
use store::{Append, Error, HourRollups, Order, Rollups, Seal, Timeline};

#[tokio::test]
#[ignore = "needs a CQL server"]
async fn a_late_change_by_one_writer_unseals_what_another_sealed() {
    let fresh = Fresh::new().await;
    let (one, other) = fresh.writers().await;
    let mut random = StdRng::seed_from_u64(1);
    let patient = patient();
    let mut row = |n: u64| [readings(&mut random, patient, HOUR + n as i32 % 2, n, 3)];
    one.append(&row(0)).await.unwrap();
    one.append(&row(1)).await.unwrap();
    let n_unsealed = "SELECT COUNT(*) FROM KS.unsealed";
    let mut n_rows = 2;
    for (writer, sealer) in [(&other, &one), (&one, &one), (&other, &other), (&one, &other)] {
        let done = sealer.seal(Duration::ZERO).await.unwrap();
        assert_eq!(sealed(&one, patient).await, [HOUR, HOUR + 1]);
        assert_eq!((done.waiting, fresh.value::<i64>(n_unsealed).await), (0, 0));
        n_rows += 1;
        writer.append(&row(2 * n_rows)).await.unwrap();
        for reader in [&one, &other] {
            assert_eq!(sealed(reader, patient).await, [HOUR + 1]);
            let found: usize = sheets(reader, patient).await.iter().map(|sheet| sheet.batches.len()).sum();
            assert_eq!(found as u64, n_rows);
        }
        assert_eq!(sealer.seal(Duration::from_secs(3_600)).await.unwrap().waiting, 1);
        assert_eq!(fresh.value::<i64>(n_unsealed).await, 1);
    }
    fresh.done().await;
}

#[tokio::test]
#[ignore = "needs a CQL server"]
async fn a_seal_of_another_version_is_not_used() {
    let fresh = Fresh::new().await;
    let (store, _) = fresh.writers().await;
    let mut random = StdRng::seed_from_u64(2);
    let patient = patient();
    store.append(&[readings(&mut random, patient, HOUR, 1, 3)]).await.unwrap();
    let id = patient.uuid();
    // as if it had come in time
    fresh.run(&format!("DELETE FROM KS.late WHERE patient = {id}")).await;
    assert_eq!(store.seal(Duration::ZERO).await.unwrap().hours, 1);
    assert_eq!(sealed(&store, patient).await, [HOUR]);

    let writer = uuid::Uuid::from_u128(7);
    for change in [1, 2] {
        let note =
            format!("INSERT INTO KS.late (patient, hour, writer, change) VALUES ({id}, {HOUR}, {writer}, {change})");
        fresh.run(&note).await;
        assert!(sealed(&store, patient).await.is_empty(), "change {change}");
        // an entry that was read before is as good as it was
        let entries =
            store.hours(&permit(patient), HourRange::one(model::Hour(HOUR)), Order::Ascending, 1).await.unwrap();
        let stale = store::HourEntry { version: 0, ..entries[0].clone() };
        assert_ne!(entries[0], stale);
        let data = store.read(&permit(patient), &[stale]).await.unwrap();
        assert_eq!(matches!(data[0].data, store::Data::Sealed(_)), change == 1);
        // put on the list by hand, too
        let bucket = "INSERT INTO KS.unsealed (bucket, hour, patient, writer, touched)";
        fresh.run(&format!("{bucket} VALUES (0, {HOUR}, {id}, {writer}, 5) USING TIMESTAMP 5")).await;
        store.seal(Duration::ZERO).await.unwrap();
        assert_eq!(sealed(&store, patient).await, [HOUR], "change {change}");
        // no clock decides which of two seals stands
        assert_eq!(fresh.value::<i64>("SELECT WRITETIME(seal) FROM KS.seals").await, change);
        fresh.run("TRUNCATE KS.unsealed").await;
    }
    fresh.done().await;
}

#[tokio::test]
#[ignore = "needs a CQL server"]
async fn stored_rollups_are_used_when_of_the_right_version_and_readable() {
    let fresh = Fresh::new().await;
    let (store, _) = fresh.writers().await;
    let mut random = StdRng::seed_from_u64(4);
    let patient = patient();
    store.append(&[readings(&mut random, patient, HOUR, 1, 3)]).await.unwrap();
    let computed = rollups(&store, patient).await;
    store.seal(Duration::ZERO).await.unwrap();
    assert_eq!(rollups(&store, patient).await, computed);
    let stored: Vec<u8> = fresh.value("SELECT rollups FROM KS.rollups").await;
    let write = async |bytes: &[u8]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (id, span) = (patient.uuid(), model::Hour(HOUR).day() / 32);
        let key = format!("patient = {id} AND span = {span} AND hour = {HOUR}");
        fresh.run(&format!("UPDATE KS.rollups SET rollups = 0x{hex} WHERE {key}")).await;
    };
    // the right version, and of no metric
    let none = model::Rollup::encode(&[], model::ClockTolerance::default());
    write(&[&stored[..8], &none].concat()).await;
    assert_eq!(rollups(&store, patient).await, [HourRollups { hour: model::Hour(HOUR), rollups: Vec::new() }]);
    write(&[&[7; 8], &stored[8..]].concat()).await;
    assert_eq!(rollups(&store, patient).await, computed);
    // the right version, and made before there was a rule for clocks that are ahead
    write(&[&stored[..8], &[1, 0]].concat()).await;
    assert_eq!(rollups(&store, patient).await, computed);
    let entries = store.hours(&permit(patient), model::Range::ALL.hours(), Order::Ascending, 9).await.unwrap();
    for length in [stored.len() - 1, 9, 8, 5, 0] {
        write(&stored[..length]).await;
        let result = store.rollups(&permit(patient), &entries).await;
        assert!(matches!(result, Err(Error::Corrupt(_))), "{length} bytes");
    }
    fresh.done().await;
}

#[tokio::test]
#[ignore = "needs a CQL server"]
async fn a_seal_that_cannot_be_read_is_corrupt() {
    let fresh = Fresh::new().await;
    let (store, _) = fresh.writers().await;
    let mut random = StdRng::seed_from_u64(3);
    let patient = patient();
    store.append(&[readings(&mut random, patient, HOUR, 1, 3)]).await.unwrap();
    store.seal(Duration::ZERO).await.unwrap();
    assert_eq!(read(&store, patient, model::Range::ALL.hours()).await.len(), 1);
    let seal: Vec<u8> = fresh.value("SELECT seal FROM KS.seals").await;
    let permit = permit(patient);
    let entries = store.hours(&permit, model::Range::ALL.hours(), Order::Ascending, 9).await.unwrap();
    for length in [seal.len() - 1, 12, 5, 0] {
        let hex: String = seal[..length].iter().map(|byte| format!("{byte:02x}")).collect();
        let (id, day) = (patient.uuid(), model::Hour(HOUR).day());
        fresh
            .run(&format!("UPDATE KS.seals SET seal = 0x{hex} WHERE patient = {id} AND day = {day} AND hour = {HOUR}"))
            .await;
        let result = store.read(&permit, &entries).await;
        assert!(matches!(result, Err(Error::Corrupt(_))), "{length} bytes");
    }
    fresh.done().await;
}
