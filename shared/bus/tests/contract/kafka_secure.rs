//! Kafka over TLS with sign-in, and how a refusal looks. The brokers of `deploy/engines` listen for it above
//! `WARDLINE_KAFKA`; certificates and the password are in `tls` in the folder `WARDLINE_ENGINES_DATA`.

use crate::{PATIENCE, kafka, publish_all, read, record, text};
use bus::{
    Error, Publish, Subscribe,
    kafka::{KafkaConsumer, KafkaPublisher, Protocol, Security, Settings, ensure_group, ensure_topic, health},
};
use std::{error::Error as _, path::PathBuf, time::Duration};
use tokio::time::{Instant, timeout};

/// Above the plain ports: TLS with a password.
const PASSWORD_PORTS: u16 = 20;
/// Above the plain ports: TLS with a client's certificate.
const CERTIFICATE_PORTS: u16 = 30;
/// Given to a question; an answer that comes much later is a hang.
const LIMIT: Duration = Duration::from_secs(5);

fn file(name: &str) -> PathBuf {
    let standing = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/engines/target/data");
    let data = std::env::var_os("WARDLINE_ENGINES_DATA").unwrap_or_else(|| standing.into());
    let path = PathBuf::from(data).join("tls").join(name);
    assert!(path.exists(), "{} is missing: engines wipe, engines up", path.display());
    path
}

/// A topic that nobody has used, and all that is needed to reach it safely.
fn settings(ports_above: u16) -> Settings {
    let mut settings = kafka::settings();
    let secure = settings.brokers.split(',').map(|broker| {
        let (host, port) = broker.rsplit_once(':').expect("host:port");
        format!("{host}:{}", port.parse::<u16>().expect("a port") + ports_above)
    });
    settings.brokers = secure.collect::<Vec<_>>().join(",");
    settings.security = Security {
        protocol: Protocol::SaslSsl,
        ca: Some(file("ca.pem")),
        sasl_mechanism: Some("SCRAM-SHA-512".into()),
        username: Some("wardline".into()),
        password: Some(std::fs::read_to_string(file("password")).unwrap().trim().into()),
        ..Security::default()
    };
    settings
}

async fn round_trip(settings: &Settings) {
    ensure_topic(settings).await.unwrap();
    health(settings, LIMIT).await.unwrap();
    ensure_group(settings, &format!("writer-{}", settings.topic)).await.unwrap();
    let publisher = KafkaPublisher::open(settings.clone()).unwrap();
    publisher.health(LIMIT).await.unwrap();
    publish_all(&publisher, (0..50).map(|n| record(n, "sealed envelope"))).await;
    let mut reader = kafka::consumer(settings, "writer");
    let found = read(&mut reader, 50).await;
    assert!(found.iter().all(|delivery| text(delivery) == "sealed envelope"));
    reader.health(LIMIT).await.unwrap();
    reader.commit(&kafka::commits(&found)).await.unwrap();
    assert_eq!(reader.lag().await.unwrap(), 0);
}

/// The error and all its causes.
fn story(error: &Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        story = format!("{story}: {error}");
        cause = error.source();
    }
    story
}

/// Each way to the brokers ends in time, with an error that has these words.
async fn refused(settings: Settings, words: &str) {
    fails(settings, words, true).await;
}

/// As [`refused`]; unless `is_settled`, the brokers are asked until the time is over.
async fn fails(mut settings: Settings, words: &str, is_settled: bool) {
    settings.extra.insert("message.timeout.ms".into(), "3000".into());
    let expect = |what: &str, error: Error, is_settings: bool| {
        let told = story(&error);
        assert!(told.contains(words), "{what}: {told}");
        assert_eq!(matches!(error, Error::Config(_)), is_settings, "{what}: {error:?}");
        let password = settings.security.password.as_deref().unwrap_or("-----");
        assert!(password.is_empty() || !told.contains(password), "{what} tells the password");
    };
    let began = Instant::now();
    expect("health", health(&settings, LIMIT).await.unwrap_err(), is_settled);
    assert!(began.elapsed() < LIMIT + Duration::from_secs(5), "{:?}", began.elapsed());

    // `ensure_topic` asks for 30 s unless it is refused.
    if is_settled {
        let made = timeout(LIMIT * 4, ensure_topic(&settings)).await.expect("an answer in time");
        expect("ensure_topic", made.unwrap_err(), true);
    }

    let publisher = KafkaPublisher::open(settings.clone()).unwrap();
    let receipt = publisher.publish(record(1, "never")).await.unwrap();
    let outcome = timeout(LIMIT * 3, receipt).await.expect("a report in time");
    expect("publish", outcome.unwrap_err(), false);
    expect("the publisher's health", publisher.health(LIMIT).await.unwrap_err(), is_settled);

    let mut reader = KafkaConsumer::open(settings.clone(), "nobody").unwrap();
    let began = Instant::now();
    let error = loop {
        match reader.poll(1, 1 << 20, Duration::from_secs(1)).await {
            Ok(found) => assert!(found.is_empty() && began.elapsed() < PATIENCE, "no error came"),
            Err(error) => break error,
        }
    };
    expect("poll", error, false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka"]
async fn what_is_published_over_tls_with_sign_in_is_read_back() {
    round_trip(&settings(PASSWORD_PORTS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka"]
async fn a_certificate_is_a_way_to_sign_in() {
    let mut settings = settings(CERTIFICATE_PORTS);
    settings.security.protocol = Protocol::Ssl;
    settings.security.certificate = Some(file("client.pem"));
    settings.security.key = Some(file("client.key"));
    round_trip(&settings).await;
    let mut nobody = settings.clone();
    (nobody.security.certificate, nobody.security.key) = (None, None);
    refused(nobody, "does the broker want a certificate").await;
    settings.security.certificate = Some(file("stranger.pem"));
    settings.security.key = Some(file("stranger.key"));
    refused(settings, "certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka"]
async fn a_wrong_password_is_refused() {
    let mut settings = settings(PASSWORD_PORTS);
    settings.security.password = Some("not the password".into());
    refused(settings, "invalid credentials").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka"]
async fn an_unknown_user_is_refused() {
    let mut settings = settings(PASSWORD_PORTS);
    settings.security.username = Some("somebody".into());
    refused(settings, "invalid credentials").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka"]
async fn an_unknown_authority_is_refused() {
    let mut settings = settings(PASSWORD_PORTS);
    settings.security.ca = Some(file("stranger.pem"));
    refused(settings, "of the authority that we trust").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka"]
async fn a_certificate_of_another_name_is_refused() {
    let mut settings = settings(PASSWORD_PORTS);
    settings.brokers = settings.brokers.replace("127.0.0.1", "localhost");
    settings.extra.insert("broker.address.family".into(), "v4".into());
    // What librdkafka says is the same as of an unknown authority; that it is the name is seen when names do not count.
    refused(settings.clone(), "of the authority that we trust").await;
    settings.extra.insert("ssl.endpoint.identification.algorithm".into(), "none".into());
    let error = health(&settings, LIMIT).await.unwrap_err();
    assert!(story(&error).contains("does not exist"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka"]
async fn plain_words_to_the_tls_port_are_refused() {
    let mut settings = settings(PASSWORD_PORTS);
    settings.security = Security::default();
    fails(settings, "is this the listener", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka"]
async fn tls_to_the_plain_port_is_refused() {
    let secure = settings(PASSWORD_PORTS);
    let settings = Settings { security: secure.security, ..kafka::settings() };
    fails(settings, "is this the listener", false).await;
}
