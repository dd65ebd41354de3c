//! Large bodies, sent by somebody without a token, by somebody without the permission, and by a device: what is answered
//! must be small, and must not have cost much.

use super::super::{
    http1, http2,
    http2::{LARGEST_WINDOW, Session},
    tally::{Counts, none_of, of},
    target::{Target, address, nobody},
};
use crate::raw::frame;
use bytes::Bytes;
use futures::future::join;
use prost::Message as _;
use proto::telemetry::v1::{Reading, WriteReadingsRequest};
use rand::{Rng, rngs::StdRng};
use std::time::Duration;
use tokio::time::timeout;

const NAME: &str = "bodies-without-token";
/// Bodies on their way at once, as JSON and as gRPC.
const AT_ONCE: (usize, usize) = (24, 8);
/// The largest body that the JSON API takes, and the largest message of a batch.
const BODY_BYTES: usize = 1 << 20;
const MESSAGE_BYTES: usize = 500 << 10;
/// The most readings of one batch.
const BATCH: usize = 4_096;
/// An answer, its head included.
const ANSWER_BYTES: u64 = 64 << 10;
const WRITE: &str = "/wardline.telemetry.v1.IngestService/WriteReadings";
const PATIENCE: Duration = Duration::from_secs(60);

const LARGEST: &str = "bytes of the largest answer";
const TAKEN: &str = "a bad body was taken";
const NOT_TOLD: &str = "without a token: refused otherwise than as that or as too much";
const NO_TOKEN: &str = "without a token: answered 401 or UNAUTHENTICATED";
/// Without these it says nothing.
pub(super) const NEEDED: &[&str] = &[NO_TOKEN];

/// Bodies that are made once.
#[derive(Clone)]
struct Bodies {
    /// JSON: `{"readings":[0,0,...]}`, nearly as large as the API takes, with numbers where readings belong.
    numbers: Bytes,
    /// `{"readings":[{},{},...]}`, and no more than a batch may have.
    empty: Bytes,
    /// The same as a message, with as many as fit.
    packed: Bytes,
}

impl Bodies {
    fn new(target: &Target) -> Self {
        let list = |item: &str, n: usize| Bytes::from(format!("{{\"readings\":[{}]}}", vec![item; n].join(",")));
        let mut request = WriteReadingsRequest {
            device_id: target.has.device.0.uuid().to_string(),
            stream_id: target.has.full.uuid().to_string(),
            sequence: 1,
            ..WriteReadingsRequest::default()
        };
        let room = MESSAGE_BYTES - request.encoded_len();
        // a reading without anything has two bytes
        request.readings = vec![Reading::default(); room / 2];
        Self {
            numbers: list("0", (BODY_BYTES - 32) / 2),
            empty: list("{}", BATCH),
            packed: frame(0, &request.encode_to_vec()).into(),
        }
    }
}

pub(super) async fn run(target: &Target) {
    let bodies = Bodies::new(target);
    let json = target.at_once(NAME, AT_ONCE.0, |_, mut random| {
        let bodies = bodies.clone();
        async move {
            loop {
                post(target, &bodies, &mut random).await;
                target.pause().await;
            }
        }
    });
    let grpc = target.at_once("bodies-grpc", AT_ONCE.1, |_, mut random| {
        let bodies = bodies.clone();
        async move {
            loop {
                let from = address(&mut random);
                if let Ok(session) = Session::open(from, target.grpc, LARGEST_WINDOW).await {
                    while write(target, &session, &bodies, &mut random).await.is_some() {
                        target.pause().await;
                    }
                }
                target.reconnect().await;
            }
        }
    });
    join(json, grpc).await;
}

/// Whose token goes with a body: nobody's, that of a person without the permission, or a device's.
#[derive(Debug, Clone, Copy)]
enum Sender {
    Nobody,
    Stranger,
    Device,
}

impl Sender {
    fn any(random: &mut StdRng) -> Self {
        [Self::Nobody, Self::Nobody, Self::Stranger, Self::Device][random.random_range(0..4)]
    }

    fn token(self, target: &Target) -> Option<&str> {
        match self {
            Self::Nobody => None,
            Self::Stranger => Some(&target.has.stranger),
            Self::Device => Some(&target.has.device.1),
        }
    }
}

/// One body, to one of the routes that take one.
async fn post(target: &Target, bodies: &Bodies, random: &mut StdRng) {
    let sender = Sender::any(random);
    let someone = nobody(random);
    let device = target.has.device.0.uuid();
    let (path, body) = match (sender, random.random_range(0..8)) {
        (Sender::Device, 0..3) => (format!("/v1/devices/{device}/readings"), &bodies.empty),
        (Sender::Device, _) => (format!("/v1/devices/{device}/readings"), &bodies.numbers),
        // open to all: the code is the proof
        (Sender::Nobody, 0) => (format!("/v1/devices/{someone}:claim"), &bodies.numbers),
        (_, 1) => ("/v1/users".to_owned(), &bodies.numbers),
        (_, 2) => ("/v1/users:import".to_owned(), &bodies.numbers),
        (_, 3) => ("/v1/access:explain".to_owned(), &bodies.numbers),
        _ => (format!("/v1/devices/{someone}/readings"), &bodies.numbers),
    };
    let token = sender.token(target).map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: wardline\r\nconnection: close\r\n{token}content-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let Ok(reply) = http1::ask(address(random), target.api, &head, body).await else {
        target.tally.add("JSON: no connection");
        target.reconnect().await;
        return;
    };
    target.tally.add(&format!("JSON, {sender:?}: {}", reply.label()));
    target.tally.most(LARGEST, reply.n_bytes);
    match (sender, reply.status) {
        (_, Some(200..=299)) if body == &bodies.numbers => target.tally.add(TAKEN),
        (Sender::Nobody, Some(401)) => target.tally.add(NO_TOKEN),
        // a claim is judged by its body; too much is too much; the connection may be over before the answer is read
        (Sender::Nobody, Some(400 | 408 | 413 | 429 | 503) | None) if path.ends_with(":claim") => {}
        (Sender::Nobody, Some(408 | 413 | 429 | 503) | None) => {}
        (Sender::Nobody, Some(_)) => target.tally.add(NOT_TOLD),
        _ => {}
    }
}

/// One message; `None` when the connection has ended.
async fn write(target: &Target, session: &Session, bodies: &Bodies, random: &mut StdRng) -> Option<()> {
    let sender = Sender::any(random);
    let authorization = sender.token(target).map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    let calling = session.call_with(WRITE, &headers, bodies.packed.clone());
    let answer = match timeout(PATIENCE, calling).await.ok()? {
        Ok(answer) => answer,
        Err(error) => {
            target.tally.add(&format!("gRPC, {sender:?}: no answer"));
            let is_stream = error.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_reset);
            return is_stream.then_some(());
        }
    };
    target.tally.add(&format!("gRPC, {sender:?}: {}", super::label(&answer)));
    target.tally.most(LARGEST, answer.n_bytes);
    judge_code(target, sender, &answer);
    Some(())
}

fn judge_code(target: &Target, sender: Sender, answer: &http2::Answer) {
    use tonic::Code::{Ok, ResourceExhausted, Unauthenticated, Unavailable};
    match (sender, answer.code()) {
        (_, Some(Ok)) => target.tally.add(TAKEN),
        (Sender::Nobody, Some(Unauthenticated)) => target.tally.add(NO_TOKEN),
        (Sender::Nobody, Some(ResourceExhausted | Unavailable)) => {}
        (Sender::Nobody, _) => target.tally.add(NOT_TOLD),
        _ => {}
    }
}

pub(super) fn judge(counts: &Counts) -> Vec<String> {
    let mut violations = none_of(counts, &[TAKEN, NOT_TOLD]);
    let largest = of(counts, LARGEST);
    if largest > ANSWER_BYTES {
        violations.push(format!("an answer of {largest} bytes, where {ANSWER_BYTES} are the most"));
    }
    violations
}
