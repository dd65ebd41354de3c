//! What `append` returned for survives a process that is killed, again and again, on one folder.
//!
//! (A kill does not prove the sync to disk: only a loss of power would. It proves that nothing acknowledged waits in
//! the process, and that a journal cut short is read up to the cut.)

use crate::fixture::{self, hours, permit, row};
use model::{PatientId, Row};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};
use store::{Append, Order, Timeline, embedded::Store};

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

#[tokio::test]
async fn acknowledged_rows_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(9);
    let mut durable = 0;
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["durability::appends_until_killed", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, dir.path())
            .env(FIRST, durable.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let calls = random.random_range(1..60);
        let said = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("durable ")?.parse::<u64>().ok());
        let last = said.take(calls).last().expect("the child appends");
        child.kill().unwrap();
        child.wait().unwrap();
        durable = last + 1;
        let store = Store::open(dir.path()).unwrap();
        let found = store.rows(&permit(patient()), hours(0, durable as i32)).await.unwrap();
        let expected: Vec<_> = (0..durable).flat_map(call).map(|row| fixture::stored(&row)).collect();
        assert!(found == expected, "{} rows of {}", found.len(), expected.len());
        let entries = store.hours(&permit(patient()), hours(0, durable as i32), Order::Ascending, usize::MAX).await;
        assert_eq!(entries.unwrap().len() as u64, durable);
    }
}

#[tokio::test]
#[ignore = "the other half of the test above, started by it"]
async fn appends_until_killed() {
    let (Ok(folder), Ok(first)) = (std::env::var(FOLDER), std::env::var(FIRST)) else {
        return;
    };
    let store = Store::open(folder).unwrap();
    for n in first.parse::<u64>().unwrap().. {
        store.append(&call(n)).await.unwrap();
        println!("durable {n}");
    }
}
