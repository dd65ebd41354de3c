//! A device with many streams, each batch refused reading by reading, and no acknowledgement ever taken: with windows of
//! zero, and with a socket that is not read.

use super::super::{
    http2::{LARGEST_WINDOW, Session, reset, send},
    target::{Target, address, nobody},
};
use crate::raw::frame;
use bytes::Bytes;
use futures::future::join_all;
use prost::Message as _;
use proto::telemetry::v1::{Batch, Open, Reading, StreamReadingsRequest, stream_readings_request::Message};
use rand::rngs::StdRng;
use std::time::Duration;
use tokio::time::timeout;

const NAME: &str = "unread-acks";
/// Connections, and streams of each.
const AT_ONCE: (usize, usize) = (2, 120);
/// The most readings of one batch.
const READINGS: usize = 4_096;
const SENT: &str = "batches sent";
/// Without these it says nothing. What it did to memory and to others is judged for all attacks alike.
pub(super) const NEEDED: &[&str] = &[SENT];
const STREAM: &str = "/wardline.telemetry.v1.IngestService/StreamReadings";
/// A connection that is not read does not see its end.
const DEAF_FOR: Duration = Duration::from_secs(15);
/// From the first stream on a connection until it is read no more: the server's first window updates.
const HEARS_FOR: Duration = Duration::from_millis(200);

pub(super) async fn run(target: &Target) {
    target
        .at_once(NAME, AT_ONCE.0, |number, mut random| async move {
            let is_deaf = number % 2 == 1;
            loop {
                let window = if is_deaf { LARGEST_WINDOW } else { 0 };
                if let Ok(session) = Session::open(address(&mut random), target.grpc, window).await {
                    let streams = (0..target.n(AT_ONCE.1)).map(|stream| {
                        let random = target.random("unread-acks-stream", number * AT_ONCE.1 + stream);
                        stuff(target, &session, random)
                    });
                    let streams = join_all(streams);
                    if is_deaf {
                        let deaf = async {
                            tokio::time::sleep(HEARS_FOR).await;
                            session.stop_reading();
                            std::future::pending::<()>().await;
                        };
                        let both = async { tokio::join!(streams, deaf) };
                        let _ = timeout(DEAF_FOR, both).await;
                    } else {
                        streams.await;
                    }
                }
                target.tally.add("connections begun again");
                target.reconnect().await;
            }
        })
        .await;
}

/// One stream after the other, each with batches as long as the server takes them.
async fn stuff(target: &Target, session: &Session, mut random: StdRng) {
    let (device, token) = &target.has.device;
    let authorization = format!("Bearer {token}");
    loop {
        let Ok((response, mut sending)) = session.begin(STREAM, &[("authorization", &authorization)], false).await
        else {
            return;
        };
        target.tally.add("streams begun");
        // held, and never read
        let _unread = response;
        let open = Open {
            device_id: device.uuid().to_string(),
            stream_id: nobody(&mut random).to_string(),
            resume_after: 0,
            clock_quality: 1,
        };
        if !send(&mut sending, message(Message::Open(open)), false).await {
            target.tally.add("streams ended by the server");
            target.reconnect().await;
            continue;
        }
        for sequence in 1.. {
            let batch = Batch { sequence, readings: vec![Reading::default(); READINGS] };
            if !send(&mut sending, message(Message::Batch(batch)), false).await {
                break;
            }
            target.tally.add(SENT);
            target.pause().await;
        }
        reset(&mut sending).await;
        target.tally.add("streams ended by the server");
        target.reconnect().await;
    }
}

fn message(message: Message) -> Bytes {
    frame(0, &StreamReadingsRequest { message: Some(message) }.encode_to_vec()).into()
}
