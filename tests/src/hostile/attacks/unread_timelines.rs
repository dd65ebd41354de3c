//! A doctor who reads a full day hundreds of times at once and takes no byte of it: with windows of zero, and with the
//! largest windows on a socket that is not read.

use super::super::{
    http2::{LARGEST_WINDOW, Session, head},
    target::{Target, address},
};
use crate::raw::frame;
use bytes::Bytes;
use futures::future::join_all;
use prost::Message as _;
use proto::telemetry::v1::{ReadTimelineRequest, TimelineLayout};
use std::time::Duration;
use tokio::time::timeout;

const NAME: &str = "unread-timelines";
/// Connections, and reads of each.
const AT_ONCE: (usize, usize) = (4, 125);
/// A whole day, in one page.
const PAGE: i32 = 500_000;
const READ: &str = "/wardline.telemetry.v1.TimelineService/ReadTimeline";
/// A connection that is not read does not see its end.
const DEAF_FOR: Duration = Duration::from_secs(15);
const ASKED: &str = "reads asked for";
/// Without these it says nothing. What it did to memory and to others is judged for all attacks alike.
pub(super) const NEEDED: &[&str] = &[ASKED];

pub(super) async fn run(target: &Target) {
    let request = ReadTimelineRequest {
        patient_id: target.has.full.uuid().to_string(),
        page_size: PAGE,
        layout: TimelineLayout::Columns.into(),
        ..ReadTimelineRequest::default()
    };
    let request: Bytes = frame(0, &request.encode_to_vec()).into();
    target
        .at_once(NAME, AT_ONCE.0, |number, mut random| {
            let request = request.clone();
            async move {
                let is_deaf = number % 2 == 1;
                loop {
                    let window = if is_deaf { LARGEST_WINDOW } else { 0 };
                    if let Ok(session) = Session::open(address(&mut random), target.grpc, window).await {
                        let reads = target.n(AT_ONCE.1);
                        if is_deaf {
                            unheard(target, &session, &request, reads).await;
                        } else {
                            join_all((0..reads).map(|_| untaken(target, &session, &request))).await;
                        }
                    }
                    target.tally.add("connections begun again");
                    target.reconnect().await;
                }
            }
        })
        .await;
}

/// Asks so many times, and never reads the socket again.
async fn unheard(target: &Target, session: &Session, request: &Bytes, reads: usize) {
    let authorization = format!("Bearer {}", target.has.doctor);
    let mut open = Vec::new();
    for _ in 0..reads {
        let Ok((response, mut sending)) = session.begin(READ, &[("authorization", &authorization)], false).await else {
            return;
        };
        target.tally.add(ASKED);
        if sending.send_data(request.clone(), true).is_err() {
            return;
        }
        open.push((response, sending));
    }
    session.stop_reading();
    tokio::time::sleep(DEAF_FOR).await;
}

/// One read after the other, each held until the server ends it.
async fn untaken(target: &Target, session: &Session, request: &Bytes) {
    let authorization = format!("Bearer {}", target.has.doctor);
    loop {
        let Ok((response, mut sending)) = session.begin(READ, &[("authorization", &authorization)], false).await else {
            return;
        };
        target.tally.add(ASKED);
        if sending.send_data(request.clone(), true).is_err() {
            return;
        }
        match head(response).await {
            Ok((answer, None)) => target.tally.add(&format!("refused: {}", super::label(&answer))),
            Ok((_, Some(mut body))) => {
                target.tally.add("answers begun");
                // with a window of zero nothing comes; not even the end
                let held = timeout(Duration::from_secs(3_600), body.data()).await;
                if held.is_ok_and(|data| data.is_some_and(|data| data.is_err_and(|error| !error.is_reset()))) {
                    return;
                }
                target.tally.add("answers ended by the server");
            }
            Err(error) if error.is_reset() => target.tally.add("reads reset"),
            Err(_) => return,
        }
        target.pause().await;
    }
}
