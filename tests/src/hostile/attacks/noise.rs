//! Streams that are reset as soon as they begin, requests that could be read in two ways, much metadata, heads that come
//! byte by byte, and garbage, on all three ports. What is refused must be refused as that; what is logged is counted.

use super::{
    super::{
        http1,
        http2::{LARGEST_WINDOW, Session},
        tally::{Counts, none_of},
        target::{Target, address, connect},
    },
    requests::doubtful,
};
use crate::raw::frame;
use bytes::Bytes;
use futures::future::join5;
use rand::{Rng, rngs::StdRng};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};
use tonic::Code;

/// Loops of each kind.
const AT_ONCE: usize = 4;
/// Heads that come byte by byte.
const SLOW_AT_ONCE: usize = 24;
const BYTE_EVERY: Duration = Duration::from_millis(500);
/// A head that is not whole by then should have been given up.
const SLOW_MOST: Duration = Duration::from_secs(45);
/// Between two requests whose refusal is checked: they are about what is said, not about how much.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// More than a header list may have: a little and several times as much, for which there must be an answer; and so much that
/// the connection may end instead.
const METADATA_BYTES: [usize; 3] = [12 << 10, 60 << 10, 256 << 10];
const ANSWERED_BYTES: usize = 60 << 10;
const GARBAGE_BYTES: usize = 4 << 10;
const PATIENCE: Duration = Duration::from_secs(60);
const LATEST: &str = "/wardline.telemetry.v1.TimelineService/LatestReadings";
const CHECK: &str = "/grpc.health.v1.Health/Check";

const RESETS: &str = "streams begun and reset";
const DOUBTFUL_TAKEN: &str = "a doubtful request was answered otherwise than 400";
const DOUBTFUL_REFUSED: &str = "a doubtful request was answered 400";
const METADATA_TAKEN: &str = "much metadata was answered otherwise than RESOURCE_EXHAUSTED";
const METADATA_REFUSED: &str = "much metadata was answered RESOURCE_EXHAUSTED";
const TWO_TAKEN: &str = "two Authorization were taken by gRPC";
const TWO_REFUSED: &str = "two Authorization were refused by gRPC";
const NEVER_GIVEN_UP: &str = "a head that came byte by byte was not given up";
/// Without these it says nothing.
pub(super) const NEEDED: &[&str] = &[RESETS, DOUBTFUL_REFUSED, METADATA_REFUSED, TWO_REFUSED];

pub(super) async fn run(target: &Target) {
    let resets = target.at_once("resets", AT_ONCE, |number, mut random| async move {
        let to = if number % 2 == 0 { target.grpc } else { target.api };
        loop {
            if let Ok(session) = Session::open(address(&mut random), to, LARGEST_WINDOW).await {
                while reset_one(target, &session).await.is_some() {
                    target.pause().await;
                }
            }
            target.reconnect().await;
        }
    });
    let requests = target.at_once("doubtful", AT_ONCE, |_, mut random| async move {
        loop {
            ask(target, &mut random).await;
            sleep(ASK_EVERY.max(target.scale.pause)).await;
        }
    });
    let metadata = target.at_once("metadata", 2, |_, mut random| async move {
        loop {
            much_metadata(target, &mut random).await;
            two_authorizations(target, &mut random).await;
            sleep(ASK_EVERY.max(target.scale.pause)).await;
        }
    });
    let slow = target.at_once("slow-heads", SLOW_AT_ONCE, |number, mut random| async move {
        loop {
            slow_head(target, port(target, number), &mut random).await;
            target.reconnect().await;
        }
    });
    let garbage = target.at_once("garbage", AT_ONCE, |number, mut random| async move {
        loop {
            rubbish(target, port(target, number), &mut random).await;
            target.reconnect().await;
        }
    });
    join5(resets, requests, metadata, slow, garbage).await;
}

fn port(target: &Target, number: usize) -> SocketAddr {
    [target.grpc, target.api, target.http][number % 3]
}

/// `None` when the connection has ended.
async fn reset_one(target: &Target, session: &Session) -> Option<()> {
    let begun = timeout(PATIENCE, session.begin(CHECK, &[], false)).await.ok()?;
    let (_response, mut sending) = begun.ok()?;
    sending.send_reset(h2::Reason::CANCEL);
    target.tally.add(RESETS);
    Some(())
}

/// One request that can be read in two ways, to the JSON API; to the internal port, where there is nothing to gain, too.
async fn ask(target: &Target, random: &mut StdRng) {
    let path = format!("/v1/patients/{}/latest", target.has.full.uuid());
    let mut all = doubtful(&path, &target.has.doctor, &target.has.stranger);
    let (what, text) = all.swap_remove(random.random_range(0..all.len()));
    if let Ok(reply) = http1::ask(address(random), target.api, &text, &[]).await {
        target.tally.add(&format!("{what}: {}", reply.label()));
        match reply.status {
            Some(400) => target.tally.add(DOUBTFUL_REFUSED),
            // over a limit
            Some(429 | 503) | None => {}
            Some(_) => target.tally.add(DOUBTFUL_TAKEN),
        }
    }
    // as noise only
    let _ = http1::ask(address(random), target.http, &text.replace(&path, "/ready"), &[]).await;
}

async fn much_metadata(target: &Target, random: &mut StdRng) {
    let bytes = METADATA_BYTES[random.random_range(0..METADATA_BYTES.len())];
    let value = "x".repeat(bytes / 8);
    let names: Vec<_> = (0..8).map(|number| format!("x-much-{number}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
    let Ok(session) = Session::open(address(random), target.grpc, LARGEST_WINDOW).await else { return };
    let called = timeout(PATIENCE, session.call_with(CHECK, &headers, frame(0, &[]).into())).await;
    let (said, code) = match called {
        Ok(Ok(answer)) => (super::label(&answer), answer.code()),
        // a connection that ends with a code says why
        Ok(Err(error)) => {
            let reason = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason);
            (reason.map_or_else(|| "ended".to_owned(), |reason| format!("{reason:?}")), None)
        }
        Err(_) => ("no answer".to_owned(), None),
    };
    target.tally.add(&format!("metadata of {bytes} bytes: {said}"));
    match code {
        Some(Code::ResourceExhausted) => target.tally.add(METADATA_REFUSED),
        _ if bytes <= ANSWERED_BYTES => target.tally.add(METADATA_TAKEN),
        _ => {}
    }
}

async fn two_authorizations(target: &Target, random: &mut StdRng) {
    let values = [&target.has.doctor, &target.has.stranger].map(|token| format!("Bearer {token}"));
    let headers = [("authorization", values[0].as_str()), ("authorization", values[1].as_str())];
    let request = prost::Message::encode_to_vec(&proto::telemetry::v1::LatestReadingsRequest {
        patient_id: target.has.full.uuid().to_string(),
        metrics: Vec::new(),
    });
    let Ok(session) = Session::open(address(random), target.grpc, LARGEST_WINDOW).await else { return };
    let body: Bytes = frame(0, &request).into();
    if let Ok(Ok(answer)) = timeout(PATIENCE, session.call_with(LATEST, &headers, body)).await {
        target.tally.add(&format!("two Authorization by gRPC: {}", super::label(&answer)));
        target.tally.add(if answer.code() == Some(Code::Ok) { TWO_TAKEN } else { TWO_REFUSED });
    }
}

/// A head that never ends, byte by byte.
async fn slow_head(target: &Target, to: SocketAddr, random: &mut StdRng) {
    let Ok(mut stream) = connect(address(random), to, None).await else { return };
    let begun = Instant::now();
    let mut head = b"GET /ready HTTP/1.1\r\nhost: wardline\r\nx-slow: ".iter().copied().chain(std::iter::repeat(b'x'));
    let mut buffer = [0; 256];
    loop {
        let byte = [head.next().unwrap_or(b'x')];
        if stream.write_all(&byte).await.is_err() {
            break;
        }
        // an answer, or an end
        if timeout(BYTE_EVERY, stream.read(&mut buffer)).await.is_ok() {
            break;
        }
        if begun.elapsed() > SLOW_MOST {
            return target.tally.add(NEVER_GIVEN_UP);
        }
    }
    target.tally.add("heads that came byte by byte were given up");
}

/// Random bytes, behind a good beginning or none.
async fn rubbish(target: &Target, to: SocketAddr, random: &mut StdRng) {
    let Ok(mut stream) = connect(address(random), to, None).await else { return };
    let begins: [&[u8]; 4] = [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"];
    let mut bytes = begins[random.random_range(0..begins.len())].to_vec();
    bytes.extend((0..random.random_range(1..GARBAGE_BYTES)).map(|_| random.random::<u8>()));
    target.tally.add("garbage sent");
    if stream.write_all(&bytes).await.is_ok() {
        let mut buffer = [0; 1_024];
        // what it is answered with does not matter; that it ends does, and not to wait for it for ever
        let _ = timeout(Duration::from_secs(1), async { while let Ok(1..) = stream.read(&mut buffer).await {} }).await;
    }
}

pub(super) fn judge(counts: &Counts) -> Vec<String> {
    none_of(counts, &[DOUBTFUL_TAKEN, METADATA_TAKEN, TWO_TAKEN, NEVER_GIVEN_UP])
}
