//! Readers of a full day on the JSON API who take a byte a second.

use super::super::target::{Target, address, connect};
use rand::{Rng, rngs::StdRng};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

const NAME: &str = "slow-http1";
/// Readers at once.
const AT_ONCE: usize = 120;
/// A whole day, in one page.
const QUERY: &str = "timeline?page_size=500000&layout=TIMELINE_LAYOUT_COLUMNS";
/// What the system keeps of what was not read.
const RECEIVE_BYTES: u32 = 4 << 10;
const EVERY: Duration = Duration::from_secs(1);
/// Bytes of `HTTP/1.1 200`, with which an answer begins.
const STATUS_BYTES: usize = 12;
const ASKED: &str = "reads asked for";
/// Without these it says nothing. What it did to memory and to others is judged for all attacks alike.
pub(super) const NEEDED: &[&str] = &[ASKED];

pub(super) async fn run(target: &Target) {
    target
        .at_once(NAME, AT_ONCE, |_, mut random| async move {
            loop {
                let begun = connect(address(&mut random), target.api, Some(RECEIVE_BYTES)).await;
                if let Ok(stream) = begun {
                    read(target, stream, &mut random).await;
                }
                target.reconnect().await;
            }
        })
        .await;
}

async fn read(target: &Target, mut stream: TcpStream, random: &mut StdRng) {
    let (patient, token) = (target.has.full.uuid(), &target.has.doctor);
    let asks = format!(
        "GET /v1/patients/{patient}/{QUERY} HTTP/1.1\r\nhost: wardline\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    if stream.write_all(asks.as_bytes()).await.is_err() {
        return;
    }
    target.tally.add(ASKED);
    let mut status = [0; STATUS_BYTES];
    if stream.read_exact(&mut status).await.is_err() {
        return target.tally.add("no answer");
    }
    let status = String::from_utf8_lossy(&status[9..]).into_owned();
    target.tally.add(&format!("answered {status}"));
    if status != "200" {
        return;
    }
    // not all of them in the same moment
    sleep(EVERY.mul_f64(random.random())).await;
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte).await {
        sleep(EVERY).await;
    }
    target.tally.add("answers ended by the server");
}
