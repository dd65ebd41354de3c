//! The embedded log: how it is opened for the contract, and what only it promises.

use crate::{Bench, PARTITIONS, Reader, publish_all, read, record, text};
use async_trait::async_trait;
use bus::{
    Commits, Error, Progress, Publish, Subscribe,
    embedded::{Consumer, Log, Settings},
};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

pub struct Embedded {
    log: Option<Log>,
    folder: TempDir,
    settings: Settings,
}

impl Reader for Consumer {
    fn rewind(&mut self) {
        Consumer::rewind(self);
    }
}

impl Embedded {
    fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }
}

#[async_trait]
impl Bench for Embedded {
    async fn start(max_in_flight_bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { partitions: PARTITIONS, max_in_flight_bytes, ..Settings::default() };
        Self { log: Some(Log::open(&folder.path().join("log"), settings.clone()).unwrap()), folder, settings }
    }

    fn publisher(&self) -> Arc<dyn Publish> {
        Arc::new(self.log().clone())
    }

    async fn subscribe(&self, group: &str) -> Box<dyn Reader> {
        Box::new(self.log().subscribe(group).unwrap())
    }

    fn progress_of(&self, group: &str) -> Box<dyn Progress> {
        Box::new(self.log().progress_of(group))
    }

    async fn reopen(mut self) -> Self {
        self.log = None;
        self.log = Some(open_again(&self.folder.path().join("log"), &self.settings).await);
        self
    }
}

/// Opens a log that was closed a moment ago: what was begun on another thread holds the folder until it is done.
async fn open_again(folder: &Path, settings: &Settings) -> Log {
    for _ in 0..500 {
        match Log::open(folder, settings.clone()) {
            Err(Error::Config(text)) if text.contains("is open already") => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("the log is open after five seconds");
}

/// The log's folder: beside it lies what must be in it.
fn inside(folder: &TempDir) -> PathBuf {
    let dir = folder.path().join("log");
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn open(folder: &Path, settings: Settings) -> Result<Log, Error> {
    Log::open(folder, settings)
}

fn is_config(error: Option<Error>, part: &str) -> bool {
    matches!(&error, Some(Error::Config(reason)) if reason.contains(part))
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&inside(&folder), Settings::default()).unwrap();
    assert!(is_config(open(&inside(&folder), Settings::default()).err(), "open already"));
    drop(log);
    open(&inside(&folder), Settings::default()).unwrap();
}

#[test]
fn a_foreign_folder_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(inside(&folder).join("thesis.txt"), "years of work").unwrap();
    assert!(is_config(open(&inside(&folder), Settings::default()).err(), "not a log"));
    assert_eq!(fs::read_dir(inside(&folder)).unwrap().count(), 1);
    assert!(is_config(open(&inside(&folder).join("thesis.txt"), Settings::default()).err(), "not a folder"));
}

#[test]
fn a_log_that_was_not_finished_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(inside(&folder).join("new")).unwrap();
    fs::write(inside(&folder).join("new/0.jnl"), "").unwrap();
    open(&inside(&folder), Settings::default()).unwrap();
}

#[test]
fn damaged_files_are_not_taken_for_an_empty_log() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&inside(&folder), Settings::default()).unwrap());
    fs::write(inside(&folder).join("log/version"), "nonsense").unwrap();
    assert!(matches!(open(&inside(&folder), Settings::default()).err(), Some(Error::Fatal(_))));
    fs::remove_file(inside(&folder).join("log/version")).unwrap();
    assert!(open(&inside(&folder), Settings::default()).is_err());
}

#[tokio::test]
async fn a_missing_folder_is_not_taken_for_an_empty_log_and_a_flipped_byte_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&inside(&folder), Settings::default()).unwrap();
    publish_all(&log, (0..9).map(|n| record(n, format!("record {n}")))).await;
    drop(log);
    let journal = inside(&folder).join("log/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let refused = open(&inside(&folder), Settings::default()).err();
    assert!(matches!(&refused, Some(Error::Fatal(why)) if why.contains("log/0.jnl at byte ")), "{refused:?}");
    fs::remove_dir_all(inside(&folder)).unwrap();
    let refused = open(&inside(&folder), Settings::default()).err();
    assert!(matches!(&refused, Some(Error::Fatal(why)) if why.contains("missing")), "{refused:?}");
}

#[tokio::test]
async fn a_full_disk_refuses_records_with_the_reason_and_is_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1 << 30));
    let asked = free.clone();
    let measure = move |_: &Path| Ok(disk::Room { free_bytes: asked.load(Ordering::SeqCst), total_bytes: 1 << 40 });
    let dir = inside(&folder);
    let space = disk::Space::measured(&dir, 1 << 20, Arc::new(measure));
    let log = Log::open_within(&dir, Settings::default(), space).unwrap();
    let mut consumer = log.subscribe("readers").unwrap();
    publish_all(&log, [record(1, "record 1")]).await;
    free.store(0, Ordering::SeqCst);
    let refused = log.publish(record(1, "record 2")).await.unwrap().await;
    assert!(matches!(&refused, Err(Error::NoSpace(_))), "{refused:?}");
    assert_eq!(log.fatal(), None);
    assert_eq!(read(&mut consumer, 1).await.len(), 1);
    free.store(1 << 20, Ordering::SeqCst);
    publish_all(&log, [record(1, "record 3")]).await;
    assert_eq!(read(&mut consumer, 1).await.len(), 1);
}

#[test]
fn wrong_settings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |settings| matches!(open(&inside(&folder), settings).err(), Some(Error::Config(_)));
    assert!(refused(Settings { partitions: 0, ..Settings::default() }));
    assert!(refused(Settings { max_in_flight_bytes: 1, ..Settings::default() }));
    assert!(refused(Settings { max_in_flight_bytes: usize::MAX, ..Settings::default() }));
    drop(open(&inside(&folder), Settings::default()).unwrap());
    assert!(refused(Settings { partitions: 9, ..Settings::default() }), "their number cannot change");
}

#[tokio::test]
async fn one_consumer_of_a_group_at_a_time() {
    let bench = Embedded::start(1 << 20).await;
    let first = bench.log().subscribe("writer").unwrap();
    assert!(is_config(bench.log().subscribe("writer").err(), "has a consumer"));
    bench.log().subscribe("alerts").unwrap();
    drop(first);
    bench.log().subscribe("writer").unwrap();
    assert!(is_config(bench.log().subscribe("").err(), "name"));
}

#[tokio::test]
async fn a_commit_of_what_does_not_exist_is_refused() {
    let bench = Embedded::start(1 << 20).await;
    publish_all(bench.log(), [record(1, "one")]).await;
    let mut reader = bench.log().subscribe("writer").unwrap();
    let mut delivery = read(&mut reader, 1).await.remove(0);
    delivery.offset += 1;
    let mut commits = Commits::default();
    commits.add(&delivery);
    assert!(is_config(reader.commit(&commits).await.err(), "end of partition"));
    delivery.partition = bus::Partition(99);
    let mut commits = Commits::default();
    commits.add(&delivery);
    assert!(is_config(reader.commit(&commits).await.err(), "no partition"));
}

/// Some megabytes in small pieces of a log that keeps next to nothing.
async fn fill(log: &Log, from: usize, n_records: usize) {
    for n in from..from + n_records {
        publish_all(log, [record(n as u128, format!("{n:020000}"))]).await;
    }
}

#[tokio::test]
async fn trimming_takes_what_all_groups_have_committed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { partitions: 2, retention_bytes: 100_000, ..Settings::default() };
    let log = open(&inside(&folder), settings.clone()).unwrap();
    fill(&log, 0, 100).await;
    assert_eq!(log.trim().unwrap(), 0, "no group has read anything");
    let mut writer = log.subscribe("writer").unwrap();
    let mut alerts = log.subscribe("alerts").unwrap();
    let found = read(&mut writer, 100).await;
    let mut all = Commits::default();
    found.iter().for_each(|delivery| all.add(delivery));
    writer.commit(&all).await.unwrap();
    assert_eq!(log.trim().unwrap(), 0, "alerts has read nothing");
    let mut some = Commits::default();
    let expected: BTreeSet<_> = read(&mut alerts, 100).await.iter().map(text).collect();
    found[..60].iter().for_each(|delivery| some.add(delivery));
    alerts.commit(&some).await.unwrap();
    let n_trimmed = log.trim().unwrap() as usize;
    assert!((1..=60).contains(&n_trimmed), "{n_trimmed}");
    assert_eq!(log.trim().unwrap(), 0, "once");
    alerts.rewind();
    let kept: BTreeSet<_> = read(&mut alerts, 100 - n_trimmed).await.iter().map(text).collect();
    assert!(kept.is_subset(&expected));
    assert!(alerts.poll(1, 1, Duration::ZERO).await.unwrap().is_empty(), "and no more than that");
    alerts.commit(&all).await.unwrap();
    let n_more = log.trim().unwrap() as usize;
    assert!(n_more > 0 && n_trimmed + n_more < 100, "the last piece stays");
    drop((writer, alerts, log));

    let log = open_again(&inside(&folder), &settings).await;
    fill(&log, 100, 1).await;
    let mut writer = log.subscribe("writer").unwrap();
    let next = read(&mut writer, 1).await.remove(0);
    let last = found.iter().filter(|d| d.partition == next.partition).map(|d| d.offset).max().unwrap();
    assert_eq!(next.offset, last + 1, "offsets go on after a restart");
    let mut late = log.subscribe("late").unwrap();
    assert_eq!(read(&mut late, 101 - n_trimmed - n_more).await.len(), 101 - n_trimmed - n_more);
}

#[tokio::test]
async fn old_records_go_by_age_too() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { partitions: 1, retention_age: Duration::ZERO, ..Settings::default() };
    let log = open(&inside(&folder), settings).unwrap();
    fill(&log, 0, 10).await;
    let mut writer = log.subscribe("writer").unwrap();
    let mut all = Commits::default();
    read(&mut writer, 10).await.iter().for_each(|delivery| all.add(delivery));
    writer.commit(&all).await.unwrap();
    // Old is older than this millisecond.
    let until = tokio::time::Instant::now() + crate::PATIENCE;
    let mut n_trimmed = 0;
    while n_trimmed < 9 {
        assert!(tokio::time::Instant::now() < until, "{n_trimmed} of 9 trimmed");
        n_trimmed += log.trim().unwrap();
        tokio::task::yield_now().await;
    }
}

const CHILD: &str = "WARDLINE_BUS_CHILD";

/// Not a test: the process that is killed. Says which records are durable.
#[tokio::test]
#[ignore = "run by what_was_durable_survives_a_kill in a process of its own"]
async fn publish_until_killed() {
    let folder = std::env::var_os(CHILD).expect("the folder of the log");
    let log = open(folder.as_ref(), Settings::default()).unwrap();
    let (round, mut out) = (std::process::id(), std::io::stdout());
    for n in 0u64.. {
        let mut receipts = Vec::new();
        for k in 0..50 {
            let text = format!("{round}-{n}-{k}");
            receipts.push((log.publish(record(k, text.clone())).await.unwrap(), text));
        }
        for (receipt, text) in receipts {
            receipt.await.unwrap();
            writeln!(out, "durable {text}").unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_durable_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut durable = BTreeSet::new();
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::publish_until_killed", "--ignored", "--nocapture"])
            .env(CHILD, inside(&folder))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let of = |line: &str| line.split_once("durable ").map(|(_, text)| text.to_owned());
        let said: Vec<_> = lines.by_ref().take(round * 700).filter_map(|line| of(&line.unwrap())).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(said.len() > 500, "the child published");
        durable.extend(said);
        // What it had said before it died; the last line may be cut.
        let mut rest: Vec<_> = lines.map_while(Result::ok).collect();
        rest.pop();
        durable.extend(rest.iter().filter_map(|line| of(line)));
    }
    let log = open(&inside(&folder), Settings::default()).unwrap();
    let mut reader = log.subscribe("judge").unwrap();
    let mut found = BTreeSet::new();
    let n_records = reader.lag().await.unwrap() as usize;
    for delivery in read(&mut reader, n_records).await {
        assert!(found.insert(text(&delivery)), "no record is there twice");
    }
    let lost: Vec<_> = durable.difference(&found).take(5).collect();
    assert!(lost.is_empty(), "of {} durable records are lost: {lost:?} ...", durable.len());
}
