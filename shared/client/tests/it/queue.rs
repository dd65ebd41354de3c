//! A session with a queue on the disk: through outages, full disks, refusals and `kill -9`.

use crate::fake::{Do, Fake, wire};
use proto::{
    problem,
    telemetry::v1::{ClockQuality, Reading, reading::Value},
};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tonic::Code;
use uuid::Uuid;
use wardline_client::{
    Error, Queue, QueuedSender, Tokens,
    queue::{self, MAX_BYTES_LEAST, Options, WhenFull},
};

const DEVICE: Uuid = Uuid::from_bytes([7; 16]);
const PATIENCE: Duration = Duration::from_secs(30);

fn readings() -> Vec<Reading> {
    vec![Reading { metric: "8867-4".into(), value: Some(Value::Number(60.0)), ..Default::default() }; 3]
}

fn tokens() -> Tokens {
    Arc::new(|| Ok("t".into()))
}

fn queue(dir: &Path, when_full: WhenFull) -> Queue {
    Queue::open(dir, DEVICE, Options { max_bytes: MAX_BYTES_LEAST, when_full }).unwrap()
}

fn session(address: SocketAddr, queue: Queue) -> QueuedSender {
    let channel = wardline_client::channel(format!("http://{address}")).unwrap();
    QueuedSender::open(channel, tokens(), queue, ClockQuality::Synchronized)
}

/// Nobody listens there.
async fn nowhere() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn kept(fake: &Fake) -> Vec<u64> {
    fake.seen.lock().unwrap().kept.iter().map(|(sequence, _)| *sequence).collect()
}

/// What the child does: it stores batches for ever and says of each that it is stored.
#[tokio::test]
#[ignore = "the other half of what_was_stored_survives_kill_9"]
async fn child() {
    let [dir, address] = ["WARDLINE_TEST_DIR", "WARDLINE_TEST_ADDRESS"].map(|name| std::env::var(name).unwrap());
    let session = session(address.parse().unwrap(), queue(Path::new(&dir), WhenFull::DropOldest));
    loop {
        println!("stored {}", session.send(readings()).await.unwrap().sequence);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_survives_kill_9() {
    // silent about every third batch, and deaf every eleventh time: at the kill some are on their way, and some answers lost
    let lost = || problem::unavailable("STOPPING", "", Duration::from_millis(1));
    let fake = Fake::new(move |seen, sequence| match sequence {
        _ if seen.arrived.len() % 11 == 10 => Do::Lose(lost()),
        n if n % 3 == 0 => Do::Keep,
        _ => Do::Ack,
    });
    let address = fake.serve().await;
    let dir = tempfile::tempdir().unwrap();
    let mut stored = 0;
    for n_batches in [20, 1, 40] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "queue::child", "--ignored", "--nocapture"])
            .envs([("WARDLINE_TEST_DIR", dir.path()), ("WARDLINE_TEST_ADDRESS", Path::new(&address.to_string()))])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let until = stored + n_batches;
        while stored < until {
            let line = lines.next().expect("the child goes on until it is killed");
            stored = line.split_once("stored ").map_or(stored, |(_, sequence)| sequence.parse().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // what it said while the signal was on its way
        let said = lines.filter_map(|line| line.split_once("stored ").and_then(|(_, sequence)| sequence.parse().ok()));
        stored = said.max().unwrap_or(stored);
    }
    let queue = queue(dir.path(), WhenFull::DropOldest);
    let (found, dropped) = (queue.depth().next_sequence - 1, queue.depth().dropped_batches);
    assert!((stored..=stored + 1).contains(&found), "{stored} were stored, {found} are known");
    assert_eq!(dropped, 0);
    let session = session(address, queue);
    // the last may have been kept in silence: only a later one's answer tells
    while tokio::time::timeout(Duration::from_millis(100), session.flush()).await.is_err() {
        session.send(readings()).await.unwrap();
    }
    let last = session.status().depth.next_sequence - 1;
    session.close(PATIENCE).await.unwrap();
    assert_eq!(kept(&fake), (1..=last).collect::<Vec<_>>(), "each once, in order");
}

#[tokio::test]
async fn a_device_starts_without_a_network() {
    let dir = tempfile::tempdir().unwrap();
    let offline = session(nowhere().await, queue(dir.path(), WhenFull::Refuse));
    for _ in 0..5 {
        offline.send(readings()).await.unwrap();
    }
    let left = offline.close(Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(left, Error::Deadline { through: 0, left: 5 }), "{left}");

    let fake = Fake::new(|_, _| Do::Ack);
    let (address, cut) = wire(fake.serve().await).await;
    let online = session(address, queue(dir.path(), WhenFull::Refuse));
    for n in 6..=60 {
        assert_eq!(online.send(readings()).await.unwrap().sequence, n);
        if [20, 40].contains(&n) {
            // connected by now
            online.flush().await.unwrap();
            cut.send_modify(|n| *n += 1);
        }
    }
    online.flush().await.unwrap();
    let status = online.status();
    assert_eq!((status.depth.batches, status.depth.acknowledged), (0, 60));
    assert!(status.connections == 3 && status.trouble.is_none(), "{status:?}");
    let progress = online.close(PATIENCE).await.unwrap();
    assert_eq!((progress.through, progress.accepted), (60, 60 * 3));
    assert_eq!(kept(&fake), (1..=60).collect::<Vec<_>>());
    assert!(queue(dir.path(), WhenFull::Refuse).depth().bytes < 100, "what is acknowledged has left the disk");
}

#[tokio::test]
async fn what_was_dropped_is_no_gap_to_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let offline = session(nowhere().await, queue(dir.path(), WhenFull::DropOldest));
    let mut dropped = 0;
    while dropped == 0 {
        dropped = offline.send(readings()).await.unwrap().dropped_batches;
    }
    let last = offline.status().depth.next_sequence - 1;
    drop(offline.close(Duration::ZERO).await);
    // as the server does: what is missing must have been told
    let fake = Fake::new(|seen, sequence| {
        let through = seen.opens.last().copied().max(seen.kept.last().map(|(kept, _)| *kept)).unwrap_or(0);
        if sequence == through + 1 { Do::Ack } else { Do::RefuseWhole("SEQUENCE_GAP") }
    });
    let online = session(fake.serve().await, queue(dir.path(), WhenFull::DropOldest));
    online.flush().await.unwrap();
    assert_eq!(online.status().depth.dropped_batches, dropped);
    let progress = online.close(PATIENCE).await.unwrap();
    assert_eq!((progress.refused.len(), progress.accepted), (0, (last - dropped) * 3));
    assert_eq!(kept(&fake), (dropped + 1..=last).collect::<Vec<_>>());
    assert_eq!(fake.seen.lock().unwrap().opens, [dropped]);
}

#[tokio::test]
async fn a_batch_that_no_message_holds_is_told_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake { max_message_bytes: 400, ..Fake::new(|_, _| Do::Ack) };
    let session = session(fake.serve().await, queue(dir.path(), WhenFull::Refuse));
    for n_readings in [1, 100, 1] {
        session.send(readings().into_iter().cycle().take(n_readings).collect()).await.unwrap();
    }
    session.flush().await.unwrap();
    let refused = session.take_refusals();
    assert_eq!(refused.iter().map(|r| (r.sequence, &*r.reason)).collect::<Vec<_>>(), [(2, "MESSAGE_TOO_LARGE")]);
    assert!(session.take_refusals().is_empty(), "each once");
    let progress = session.close(PATIENCE).await.unwrap();
    assert_eq!((progress.accepted, progress.refused["MESSAGE_TOO_LARGE"]), (2, 100));
    assert_eq!((kept(&fake), fake.seen.lock().unwrap().opens.clone()), (vec![1, 3], vec![0, 2]));
}

#[tokio::test]
async fn a_session_that_is_refused_ends_and_keeps_its_batches() {
    let dir = tempfile::tempdir().unwrap();
    let refused = || problem::status(Code::PermissionDenied, "UNKNOWN_DEVICE", "no");
    let fake = Fake { admits: Arc::new(move |_| Err(refused())), ..Fake::new(|_, _| Do::Ack) };
    let session = session(fake.serve().await, queue(dir.path(), WhenFull::Refuse));
    session.send(readings()).await.unwrap();
    assert_eq!(session.ended().await.reason().as_deref(), Some("UNKNOWN_DEVICE"));
    assert_eq!(session.send(readings()).await.unwrap().sequence, 2);
    let error = session.close(PATIENCE).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::PermissionDenied));
    assert_eq!(queue(dir.path(), WhenFull::Refuse).depth().batches, 2);
}

#[tokio::test]
async fn an_older_copy_of_a_queue_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new(|_, _| Do::Ack);
    fake.seen.lock().unwrap().kept.push((9, 1));
    let session = session(fake.serve().await, queue(dir.path(), WhenFull::Refuse));
    let error = session.ended().await;
    assert!(matches!(error, Error::Queue(queue::Error::Behind { durable: 9, known: 0 })), "{error}");
}
