//! Several endpoints: the next one is used when one does not answer.

use crate::fake::{Do, Fake, GONE, wire};
use proto::{
    problem,
    telemetry::v1::{ClockQuality, Reading, reading::Value},
};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;
use wardline_client::{Connection, Error, Remote, Sender, Stream, Writer, token};

const PATIENCE: Duration = Duration::from_secs(10);

fn readings() -> Vec<Reading> {
    vec![Reading { metric: "8867-4".into(), value: Some(Value::Number(60.0)), ..Default::default() }]
}

fn stream() -> Stream {
    Stream { device: Uuid::nil(), stream: Uuid::nil(), resume_after: 0, clock: ClockQuality::Synchronized }
}

fn connection(addresses: &[std::net::SocketAddr]) -> Connection {
    let mut remotes = addresses.iter().map(|address| Remote::from(format!("http://{address}")));
    let first = remotes.next().unwrap();
    remotes.fold(first, Remote::or).connection().unwrap()
}

#[tokio::test]
async fn the_next_one_is_used_when_one_does_not_answer() {
    // both see the same log, as nodes of one cluster do
    let fake = Fake::new(|_, _| Do::Ack);
    let server = fake.serve().await;
    let ((first, cut_first), (second, cut_second)) = (wire(server).await, wire(server).await);
    let connection = connection(&["127.0.0.1:1".parse().unwrap(), first, second]);
    connection.ready().await.unwrap();
    let sender = Sender::open(connection.clone(), token("t"), stream()).await.unwrap();
    sender.send(1, readings()).await.unwrap();
    sender.flush().await.unwrap();
    cut_first.send_replace(GONE);
    sender.send(2, readings()).await.unwrap();
    sender.flush().await.unwrap();
    assert_eq!((sender.connections(), sender.progress().through), (2, 2));
    cut_second.send_replace(GONE);
    let sender = sender.with_patience(Duration::from_millis(200));
    sender.send(3, readings()).await.unwrap();
    let error = sender.flush().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn one_that_says_unavailable_is_left() {
    let stopping = || problem::unavailable("STOPPING", "", Duration::from_millis(1));
    let first = Fake { admits: Arc::new(move |_| Err(stopping())), ..Fake::new(|_, _| Do::Ack) };
    let second = Fake::new(|_, _| Do::Ack);
    let connection = connection(&[first.serve().await, second.serve().await]);
    let writer = Writer::new(connection, token("t"), stream());
    for sequence in 1..=3 {
        writer.write(sequence, readings(), PATIENCE).await.unwrap();
    }
    assert_eq!(first.seen.lock().unwrap().tokens.len(), 1);
    assert_eq!(second.seen.lock().unwrap().kept.len(), 3);
}

#[tokio::test]
async fn nobody_at_any_of_them_is_said() {
    let connection = connection(&["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]);
    let error = connection.ready().await.unwrap_err();
    assert!(matches!(error, Error::NoAnswer { .. }), "{error}");
    assert!(matches!(Remote::from("nowhere at all").connection(), Err(Error::Address { .. })));
}
