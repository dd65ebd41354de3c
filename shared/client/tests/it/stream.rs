//! The device side against a server that drops, throttles, drains, refuses and forgets to answer: every batch arrives, in
//! order, and is counted once.

use super::fake::{Do, Fake, Seen, wire};
use proto::{
    problem,
    telemetry::v1::{ClockQuality, Reading, reading::Value},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tonic::{Code, Status};
use uuid::Uuid;
use wardline_client::{Error, Sender, Stream, Tokens, Writer};

const SECOND: Duration = Duration::from_secs(1);
const N_READINGS: u64 = 3;

fn readings() -> Vec<Reading> {
    let value = Some(Value::Number(60.0));
    vec![Reading { metric: "8867-4".into(), value, ..Default::default() }; N_READINGS as usize]
}

fn stream() -> Stream {
    Stream {
        device: Uuid::from_bytes([7; 16]),
        stream: Uuid::from_bytes([8; 16]),
        resume_after: 0,
        clock: ClockQuality::Synchronized,
    }
}

/// Tokens "t1", "t2" ...
fn tokens() -> Tokens {
    let n = AtomicU64::new(0);
    Arc::new(move || Ok(format!("t{}", n.fetch_add(1, Ordering::Relaxed) + 1)))
}

async fn open_at(address: SocketAddr) -> Result<Sender, Error> {
    Sender::open(wardline_client::channel(format!("http://{address}")).unwrap(), tokens(), stream()).await
}

async fn open(fake: &Fake) -> Result<Sender, Error> {
    open_at(fake.serve().await).await
}

async fn send(sender: &Sender, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        sender.send(sequence, readings()).await.unwrap();
    }
}

/// What is durable is 1 to `n`, each once, in order.
fn assert_kept(fake: &Fake, n: u64) {
    let kept: Vec<u64> = fake.seen.lock().unwrap().kept.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(kept, (1..=n).collect::<Vec<_>>());
}

fn unavailable() -> Status {
    problem::unavailable("STOPPING", "not now", Duration::from_millis(1))
}

#[tokio::test]
async fn everything_arrives_through_trouble_and_is_counted_once() {
    let random = Mutex::new(StdRng::seed_from_u64(5));
    let fake = Fake::new(move |seen, sequence| {
        // what keeps nothing must not stop the stream for ever
        let is_next = sequence == seen.kept.last().map_or(0, |(kept, _)| *kept) + 1;
        match random.lock().unwrap().random_range(0..100) {
            0..4 => Do::Lose(unavailable()),
            4..8 => Do::LoseAck(unavailable()),
            8..10 => Do::LoseAck(Status::aborted("moved")),
            10..30 => Do::Keep,
            30..40 if is_next => Do::Refuse(vec![1], "UNKNOWN_UNIT"),
            40..42 => Do::Throttle(2, 5),
            _ => Do::Ack,
        }
    });
    let sender = open(&fake).await.unwrap();
    send(&sender, 1..=600).await;
    // the last may have been kept in silence: only an answer ends the wait, so ask until it comes
    let progress = loop {
        if tokio::time::timeout(Duration::from_millis(200), sender.flush()).await.is_ok() {
            break sender.close(SECOND).await.unwrap();
        }
        sender.send(600, readings()).await.unwrap();
    };
    assert_kept(&fake, 600);
    let seen = fake.seen.lock().unwrap();
    assert!(seen.opens.len() > 5, "the stream broke {} times only", seen.opens.len());
    assert!(seen.opens.windows(2).all(|pair| pair[0] <= pair[1]), "resume_after went back");
    assert_eq!(progress.through, 600);
    let n_refused: u64 = progress.refused.values().sum();
    assert_eq!(progress.accepted + n_refused, 600 * N_READINGS);
    let n_kept: usize = seen.kept.iter().map(|(_, n)| n).sum();
    assert_eq!(progress.accepted, n_kept as u64, "here no Ack with a refusal is ever lost");
}

#[tokio::test]
async fn a_cut_wire_loses_nothing() {
    let fake = Fake::new(|_, _| Do::Ack);
    let (address, cut) = wire(fake.serve().await).await;
    let sender = open_at(address).await.unwrap();
    let mut acknowledged = sender.acknowledged();
    for round in 0..8 {
        let last = (round + 1) * 50;
        let killer = async {
            acknowledged.wait_for(|through| *through > round * 50 + 10).await.unwrap();
            cut.send_modify(|n| *n += 1);
        };
        tokio::join!(send(&sender, round * 50 + 1..=last), killer);
    }
    sender.flush().await.unwrap();
    assert!(sender.connections() > 1);
    let progress = sender.close(SECOND).await.unwrap();
    assert_kept(&fake, 400);
    assert_eq!((progress.through, progress.accepted), (400, 400 * N_READINGS));
}

#[tokio::test]
async fn a_lost_ack_is_made_up_for_by_opened() {
    let fake = Fake::new(|_, sequence| if sequence < 5 { Do::Keep } else { Do::LoseAck(unavailable()) });
    let sender = open(&fake).await.unwrap();
    send(&sender, 1..=5).await;
    let progress = sender.close(5 * SECOND).await.unwrap();
    assert_eq!((progress.through, progress.accepted, progress.accepted_unseen), (5, 15, 15));
    let seen = fake.seen.lock().unwrap();
    assert_eq!((&seen.arrived[..], &seen.opens[..]), (&[1, 2, 3, 4, 5][..], &[0, 0][..]));
}

#[tokio::test]
async fn nothing_is_sent_without_a_credit() {
    let fake = Fake { max_in_flight: 4, ..Fake::new(|_, n| if n < 4 { Do::Keep } else { Do::Throttle(20, 2) }) };
    let sender = open(&fake).await.unwrap();
    send(&sender, 1..=3).await;
    fake.wait_arrived(3).await;
    assert_eq!(sender.pending(), 3);
    {
        let mut rest = std::pin::pin!(send(&sender, 4..=7));
        assert!(futures::poll!(&mut rest).is_pending(), "5 needs the answer to 4");
        rest.await;
    }
    sender.close(5 * SECOND).await.unwrap();
    assert_kept(&fake, 7);
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_comes_back() {
    let fake = Fake::new(|_, sequence| if sequence == 10 { Do::Drain(0) } else { Do::Ack });
    let sender = open(&fake).await.unwrap();
    send(&sender, 1..=30).await;
    let progress = sender.close(5 * SECOND).await.unwrap();
    assert_kept(&fake, 30);
    assert_eq!(progress.accepted, 30 * N_READINGS);
    let seen = fake.seen.lock().unwrap();
    assert_eq!((seen.opens.len(), seen.n_half_closed), (2, 2), "half-closed once to drain and once to close");
    assert!(seen.opens[1] >= 10, "came back with {}", seen.opens[1]);
}

#[tokio::test]
async fn refusals_are_reported_and_not_repeated() {
    let fake = Fake::new(|_, sequence| match sequence {
        2 => Do::Refuse(vec![0, 2], "NOT_FINITE"),
        4 => Do::RefuseWhole("SEQUENCE_GAP"),
        _ => Do::Ack,
    });
    let sender = open(&fake).await.unwrap();
    send(&sender, 1..=4).await;
    let progress = sender.close(5 * SECOND).await.unwrap();
    assert_eq!(progress.refused, [("NOT_FINITE".to_owned(), 2), ("SEQUENCE_GAP".to_owned(), 3)].into());
    assert_eq!((progress.through, progress.accepted), (3, 7));
    assert_eq!(progress.sample.last().map(|r| (r.sequence, r.index)), Some((4, None)));
    assert_eq!(fake.seen.lock().unwrap().arrived, [1, 2, 3, 4]);
}

fn admits(n_refused: usize, status: impl Fn() -> Status + Send + Sync + 'static) -> Fake {
    let admits = move |seen: &Seen| if seen.tokens.len() <= n_refused { Err(status()) } else { Ok(()) };
    Fake { admits: Arc::new(admits), ..Fake::new(|_, _| Do::Ack) }
}

#[tokio::test]
async fn a_token_is_renewed_once() {
    let expired = || problem::unauthenticated("TOKEN_EXPIRED", "expired");
    let fake = admits(1, expired);
    let sender = open(&fake).await.unwrap();
    send(&sender, 1..=1).await;
    sender.close(5 * SECOND).await.unwrap();
    assert_eq!(fake.seen.lock().unwrap().tokens, ["Bearer t1", "Bearer t2"]);

    let error = open(&admits(9, expired)).await.err().unwrap();
    assert_eq!((error.code(), error.reason().as_deref()), (Some(Code::Unauthenticated), Some("TOKEN_EXPIRED")));
}

#[tokio::test]
async fn statuses_end_the_sender_or_do_not_by_the_contract() {
    let error =
        open(&admits(9, || problem::status(Code::PermissionDenied, "UNKNOWN_DEVICE", "no"))).await.err().unwrap();
    assert_eq!(error.reason().as_deref(), Some("UNKNOWN_DEVICE"));
    let error = open(&admits(9, || Status::resource_exhausted("full"))).await.err().unwrap();
    assert_eq!(error.code(), Some(Code::ResourceExhausted));

    let fake = Fake::new(|_, _| Do::Lose(problem::invalid("MALFORMED_MESSAGE", "message", "what?")));
    let sender = open(&fake).await.unwrap();
    send(&sender, 1..=1).await;
    assert_eq!(sender.flush().await.unwrap_err().code(), Some(Code::InvalidArgument));
    assert!(sender.send(2, readings()).await.is_err());
    assert!(sender.close(SECOND).await.is_err());

    let fake = admits(3, unavailable);
    open(&fake).await.unwrap().close(SECOND).await.unwrap();
    assert_eq!(fake.seen.lock().unwrap().tokens.len(), 4);
}

#[tokio::test]
async fn close_says_what_is_missing() {
    let sender = open(&Fake::new(|_, _| Do::Keep)).await.unwrap();
    send(&sender, 1..=2).await;
    let error = sender.close(Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { through: 0, left: 2 }), "{error}");
}

#[tokio::test]
async fn a_writer_tries_again() {
    let fake = Fake::new(|seen, _| match seen.arrived.len() {
        0 => Do::Lose(unavailable()),
        1 => Do::LoseAck(Status::cancelled("cut")),
        2 => Do::Ack,
        _ => Do::Lose(problem::invalid("EMPTY_BATCH", "readings", "send some")),
    });
    let address = fake.serve().await;
    let writer = Writer::new(wardline_client::channel(format!("http://{address}")).unwrap(), tokens(), stream());
    let answer = writer.write(1, readings(), 5 * SECOND).await.unwrap();
    assert_eq!(answer.accepted_readings, N_READINGS);
    assert_eq!(fake.seen.lock().unwrap().arrived, [1, 1, 1]);
    assert_kept(&fake, 1);
    let error = writer.write(2, readings(), 5 * SECOND).await.err().unwrap();
    assert_eq!(error.reason().as_deref(), Some("EMPTY_BATCH"));
}
