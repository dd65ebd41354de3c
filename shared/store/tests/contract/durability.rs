//! What `append` returned for survives a process that is killed, again and again, on one folder.
//!
//! (A kill does not prove the sync to disk: only a loss of power would. It proves that nothing acknowledged waits in
//! the process, and that a journal cut short is read up to the cut.)

use crate::{
    audit,
    fixture::{self, hours, permit, row},
    sealing::{HOUR, readings, sealed, sheets},
};
use model::{
    Nanos, PatientId, Row, WriterId,
    audit::{Chain, Verifier},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use store::{Append, Order, Seal, Timeline, embedded::Store};

const FOLDER: &str = "WARDLINE_TEST_FOLDER";
const FIRST: &str = "WARDLINE_TEST_FIRST";
const ROWS_A_CALL: u64 = 50;
const KILLS: usize = 8;

fn patient() -> PatientId {
    PatientId::from_bytes([5; 16])
}

fn call(n: u64) -> Vec<Row> {
    (0..ROWS_A_CALL).map(|i| row(patient(), n as i32, n * ROWS_A_CALL + i)).collect()
}

/// Starts a test of this file as a process that appends from `first` on, kills it after so many calls, and returns the
/// next call that it did not say was durable.
fn killed(child: &str, folder: &Path, first: u64, calls: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&format!("durability::{child}"), "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("durable ")?.parse::<u64>().ok());
    let last = said.take(calls).last().expect("the child appends");
    child.kill().unwrap();
    child.wait().unwrap();
    last + 1
}

/// What the process was started with.
fn started() -> Option<(String, u64)> {
    Some((std::env::var(FOLDER).ok()?, std::env::var(FIRST).ok()?.parse().ok()?))
}

#[tokio::test]
async fn acknowledged_rows_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(9);
    let mut durable = 0;
    for _ in 0..KILLS {
        durable = killed("appends_until_killed", dir.path(), durable, random.random_range(1..60));
        let store = Store::open(dir.path().join("store")).unwrap();
        let found = fixture::rows(&store, patient(), hours(0, durable as i32)).await;
        let expected: Vec<_> = (0..durable).flat_map(call).map(|row| fixture::stored(&row)).collect();
        assert!(found == expected, "{} rows of {}", found.len(), expected.len());
        let entries = store.hours(&permit(patient()), hours(0, durable as i32), Order::Ascending, usize::MAX).await;
        assert_eq!(entries.unwrap().len() as u64, durable);
    }
}

#[tokio::test]
#[ignore = "the other half of the test above, started by it"]
async fn appends_until_killed() {
    let Some((folder, first)) = started() else { return };
    let store = Store::open(Path::new(&folder).join("store")).unwrap();
    for n in first.. {
        store.append(&call(n)).await.unwrap();
        println!("durable {n}");
    }
}

/// Readings of one of three old hours.
fn old_call(n: u64) -> Row {
    readings(&mut StdRng::seed_from_u64(n), patient(), HOUR + n as i32 % 3, n, 3)
}

#[tokio::test]
async fn a_seal_survives_reopen_and_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(10);
    let mut durable = 0;
    for _ in 0..KILLS {
        durable = killed("appends_and_seals_until_killed", dir.path(), durable, random.random_range(3..60));
        let reopened = || Store::open(dir.path().join("store")).unwrap();
        let store = reopened();
        let found = sheets(&store, patient()).await;
        for row in (0..durable).map(old_call) {
            let sheet = found.iter().find(|sheet| sheet.hour == row.hour).expect("an hour with rows");
            assert!(sheet.batches.iter().any(|batch| batch.identity == row.identity), "a row is missing");
        }
        // what was not said to be durable may be there or not: then it is
        store.append(&[old_call(durable)]).await.unwrap();
        durable += 1;
        let found = sheets(&store, patient()).await;
        let all = [HOUR, HOUR + 1, HOUR + 2];
        store.seal(Duration::ZERO).await.unwrap();
        assert_eq!(sealed(&store, patient()).await, all);
        assert_eq!(sheets(&store, patient()).await, found);

        drop(store);
        let store = reopened();
        assert_eq!(sealed(&store, patient()).await, all);
        assert_eq!(sheets(&store, patient()).await, found);
        // nothing remembers that these are sealed, and nothing may change that
        store.append(&(0..durable).map(old_call).collect::<Vec<_>>()).await.unwrap();
        assert_eq!(sealed(&store, patient()).await, all, "a replay unseals nothing");
        let late = readings(&mut random, patient(), HOUR + 1, (1 << 32) + durable, 3);
        store.append(std::slice::from_ref(&late)).await.unwrap();
        assert_eq!(sealed(&store, patient()).await, [HOUR, HOUR + 2]);
        assert!(sheets(&store, patient()).await[1].batches.iter().any(|batch| batch.identity == late.identity));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other half of the test above, started by it"]
async fn appends_and_seals_until_killed() {
    let Some((folder, first)) = started() else { return };
    let store = Store::open(Path::new(&folder).join("store")).unwrap();
    let appends = async {
        for n in first.. {
            store.append(&[old_call(n)]).await.unwrap();
            println!("durable {n}");
        }
    };
    let seals = async {
        loop {
            store.seal(Duration::ZERO).await.unwrap();
        }
    };
    futures::join!(appends, seals);
}

/// Each process is a writer of its own.
fn writer(first: u64) -> WriterId {
    WriterId::from_bytes(u128::from(first).to_be_bytes())
}

#[tokio::test]
async fn acknowledged_audit_entries_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(11);
    let mut durable = 0;
    for _ in 0..KILLS {
        let (first, writer) = (durable, writer(durable));
        durable = killed("audits_until_killed", dir.path(), first, random.random_range(1..60));
        let store = Store::open(dir.path().join("store")).unwrap();
        let mut verifier = Verifier::new(writer, [], |_| false);
        let stored = audit::read(&store, writer, 100).await;
        stored.iter().for_each(|(sequence, bytes)| verifier.take(*sequence, bytes));
        assert_eq!(verifier.close(), []);
        assert!(stored.len() as u64 >= (durable - first) * ROWS_A_CALL, "{} entries", stored.len());
        // log and index are of one moment
        let found = audit::search(&store, patient(), Nanos::MIN, Nanos::MAX, usize::MAX).await;
        let mut found: Vec<_> = found.into_iter().filter(|entry| entry.writer == writer).collect();
        found.sort_by_key(|entry| entry.sequence);
        assert_eq!(audit::stored(&found), stored);
    }
}

#[tokio::test]
#[ignore = "the other half of the test above, started by it"]
async fn audits_until_killed() {
    let Some((folder, first)) = started() else { return };
    let store = Store::open(Path::new(&folder).join("store")).unwrap();
    let mut chain = Chain::new(writer(first));
    for n in first.. {
        let entries = audit::entries(&mut chain, patient(), Nanos(0), ROWS_A_CALL as i64);
        store::Audit::append(&store, &entries).await.unwrap();
        println!("durable {n}");
    }
}
