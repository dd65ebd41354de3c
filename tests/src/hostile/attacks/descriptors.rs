//! Idle connections, as many as a process with the usual soft limit has descriptors for, on both ports. Who comes from
//! elsewhere must be let in, and the engines must be able to open their files.

use super::super::{
    http2::{LARGEST_WINDOW, Session},
    tally::{Counts, of},
    target::{ATTACKERS, Target, connect},
};
use std::time::Duration;
use tokio::{io::AsyncReadExt, time::timeout};

const NAME: &str = "descriptors";
/// Connections in all.
const AT_ONCE: usize = 1_024;
/// Of so many connections one says nothing.
const SILENT_ONE_IN: usize = 4;
/// How long an open connection is kept.
const KEPT: Duration = Duration::from_secs(600);
/// When somebody who was refused comes again.
const AGAIN: Duration = Duration::from_millis(250);

/// Those that are refused first hear why.
const TOLD_AT_LEAST: u64 = 32;

const OPENED: &str = "connections opened";
const TOLD: &str = "refused with a reason (GOAWAY, 503)";
const SILENT: &str = "refused without a word";
/// Without these it says nothing.
pub(super) const NEEDED: &[&str] = &[OPENED];

pub(super) async fn run(target: &Target) {
    target
        .at_once(NAME, AT_ONCE, |number, _| async move {
            // half of them from each address, half of these to each port
            let from = ATTACKERS[number % ATTACKERS.len()];
            let is_api = number / ATTACKERS.len() % 2 == 1;
            let is_silent = number / 4 % SILENT_ONE_IN == 0;
            loop {
                match (is_silent, is_api) {
                    (true, _) => silent(target, number).await,
                    (false, true) => idle_http1(target, number).await,
                    (false, false) => match Session::open(from, target.grpc, LARGEST_WINDOW).await {
                        Ok(session) => {
                            target.tally.add(OPENED);
                            // until the server has had enough of it
                            let _ = timeout(KEPT, session.closed()).await;
                        }
                        Err(error) => {
                            let is_told = error.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_go_away);
                            target.tally.add(if is_told { TOLD } else { SILENT });
                        }
                    },
                }
                tokio::time::sleep(AGAIN).await;
            }
        })
        .await;
}

/// Sends nothing, and waits for the end.
async fn silent(target: &Target, number: usize) {
    let from = ATTACKERS[number % ATTACKERS.len()];
    let to = if number / ATTACKERS.len() % 2 == 1 { target.api } else { target.grpc };
    let Ok(mut stream) = connect(from, to, None).await else { return };
    let mut buffer = [0; 512];
    let _ = timeout(KEPT, async { while let Ok(1..) = stream.read(&mut buffer).await {} }).await;
}

/// One request on a connection that is kept alive; then nothing.
async fn idle_http1(target: &Target, number: usize) {
    let from = ATTACKERS[number % ATTACKERS.len()];
    let Ok(mut stream) = connect(from, target.api, None).await else { return };
    let asked =
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /v1/nothing HTTP/1.1\r\nhost: wardline\r\n\r\n").await;
    let mut buffer = [0; 2_048];
    let said = stream.read(&mut buffer).await;
    match (asked, said) {
        (_, Ok(n @ 12..)) if buffer[..n].starts_with(b"HTTP/1.1 503") || buffer[..n].starts_with(b"HTTP/1.1 429") => {
            target.tally.add(TOLD);
        }
        (Ok(()), Ok(1..)) => {
            target.tally.add(OPENED);
            let _ = timeout(KEPT, async { while let Ok(1..) = stream.read(&mut buffer).await {} }).await;
        }
        _ => target.tally.add(SILENT),
    }
}

pub(super) fn judge(counts: &Counts) -> Vec<String> {
    let (told, silent) = (of(counts, TOLD), of(counts, SILENT));
    // who is refused while a reset is under way may not hear it, and who comes again all the time is not told each time
    if silent > told && told < TOLD_AT_LEAST {
        return vec![format!("{silent} connections refused without a word, {told} with a reason")];
    }
    Vec::new()
}
