//! What needs no token: health, reflection, claims, and methods that do not exist. Messages of megabytes, whole and
//! half-sent, and streams that never end; besides, messages of all sizes to health on a connection of their own, to see
//! what is said of them.

use super::super::{
    http2::{LARGEST_WINDOW, Session, finish, send},
    tally::{Counts, none_of},
    target::{Target, address, padding},
};
use crate::raw::frame;
use bytes::Bytes;
use futures::future::{join, join_all};
use rand::{Rng, rngs::StdRng};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::Code;

const NAME: &str = "open-methods";
/// Connections, and streams of each.
const AT_ONCE: (usize, usize) = (8, 100);
/// What a library takes by default.
const MESSAGE_BYTES: usize = 4 << 20;
/// More than anybody has to say to health, whose limit is 1 KiB.
const LARGE_BYTES: [usize; 3] = [2 << 10, 64 << 10, MESSAGE_BYTES];
const ASK_EVERY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);
const CHECK: &str = "/grpc.health.v1.Health/Check";
const METHODS: [&str; 8] = [
    CHECK,
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/wardline.registry.v1.EnrolmentService/ClaimDevice",
    "/wardline.registry.v1.EnrolmentService/NoSuchMethod",
    "/no.such.Service/Method",
    // needs a token, and gets none
    "/wardline.telemetry.v1.IngestService/WriteReadings",
];

const TAKEN: &str = "a message far over the limit was taken for a question about health";
const REFUSED: &str = "a message far over the limit was refused by health";
/// Without these it says nothing.
pub(super) const NEEDED: &[&str] = &[REFUSED];

/// What is sent.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A whole message of megabytes.
    Whole,
    /// All of it but its last byte; then nothing.
    Half,
    /// Sends headers, and then nothing for ever.
    Endless,
}

pub(super) async fn run(target: &Target) {
    let whole: Bytes = padding(MESSAGE_BYTES).map_or_else(|_| Vec::new(), |message| frame(0, &message)).into();
    let held = target.at_once(NAME, AT_ONCE.0, |number, mut random| {
        let whole = whole.clone();
        async move {
            loop {
                let from = address(&mut random);
                if let Ok(session) = Session::open(from, target.grpc, LARGEST_WINDOW).await {
                    let streams = (0..target.n(AT_ONCE.1)).map(|stream| {
                        let random = target.random("open-methods-stream", number * AT_ONCE.1 + stream);
                        hold(target, &session, &whole, random)
                    });
                    join_all(streams).await;
                }
                target.tally.add("connections ended by the server");
                target.reconnect().await;
            }
        }
    });
    let asked = target.at_once("open-methods-sizes", 1, |_, mut random| async move {
        loop {
            ask(target, &mut random).await;
            sleep(ASK_EVERY.max(target.scale.pause)).await;
        }
    });
    join(held, asked).await;
}

/// One large message to health, by itself.
async fn ask(target: &Target, random: &mut StdRng) {
    let bytes = LARGE_BYTES[random.random_range(0..LARGE_BYTES.len())];
    let Ok(message) = padding(bytes) else { return };
    let Ok(session) = Session::open(address(random), target.grpc, LARGEST_WINDOW).await else { return };
    let Ok(Ok(answer)) = timeout(PATIENCE, session.call(CHECK, None, &message)).await else {
        return target.tally.add(&format!("health, {bytes} bytes: no answer"));
    };
    target.tally.add(&format!("health, {bytes} bytes: {}", super::label(&answer)));
    target.tally.add(if answer.code() == Some(Code::Ok) { TAKEN } else { REFUSED });
}

/// One stream after the other, until the connection has ended.
async fn hold(target: &Target, session: &Session, whole: &Bytes, mut random: StdRng) {
    loop {
        let method = METHODS[random.random_range(0..METHODS.len())];
        let shape = [Shape::Whole, Shape::Half, Shape::Half, Shape::Endless][random.random_range(0..4)];
        let Ok((response, mut sending)) = session.begin(method, &[], false).await else { return };
        let body = match shape {
            Shape::Whole => whole.clone(),
            Shape::Half => whole.slice(..whole.len().saturating_sub(1)),
            Shape::Endless => Bytes::new(),
        };
        let sent = async {
            send(&mut sending, body, matches!(shape, Shape::Whole)).await;
            std::future::pending::<()>().await;
        };
        let answer = tokio::select! {
            answer = finish(response) => answer,
            () = sent => unreachable!("it waits for ever"),
        };
        match answer {
            Ok(answer) => {
                target.tally.add(&format!("{shape:?}: {}", super::label(&answer)));
            }
            Err(error) if error.is_reset() => target.tally.add(&format!("{shape:?}: reset")),
            Err(_) => return,
        }
        target.pause().await;
    }
}

pub(super) fn judge(counts: &Counts) -> Vec<String> {
    none_of(counts, &[TAKEN])
}
