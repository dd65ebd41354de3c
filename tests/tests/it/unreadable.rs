//! One reading that cannot be read is refused by itself, with its index: the rest of its batch, and its stream, go on.

use prost::Message as _;
use proto::telemetry::v1::{
    Reading, StreamReadingsRequest, StreamReadingsResponse, WriteReadingsResponse,
    stream_readings_response::Message as Out,
};
use tests::{
    Bed, Sandbox,
    builders::{batch, open, pulse, write},
    line::outlines,
    raw::{self, frame},
};
use tonic::Code;

const UNARY: &str = "/wardline.telemetry.v1.IngestService/WriteReadings";
const STREAM: &str = "/wardline.telemetry.v1.IngestService/StreamReadings";

/// What stands for a unit whose bytes are then no UTF-8.
const MARK: &str = "UNIT?";

/// The message with the marked unit's first byte changed to one that is never in UTF-8.
fn damaged(message: &[u8]) -> Vec<u8> {
    let at = message.windows(MARK.len()).position(|bytes| bytes == MARK.as_bytes()).expect("it is marked");
    let mut bytes = message.to_vec();
    bytes[at] = 0xb5;
    bytes
}

fn readings() -> Vec<Reading> {
    let now = guard::clock::now();
    vec![pulse(61.0, now), Reading { unit: MARK.into(), ..pulse(62.0, now) }, pulse(63.0, now)]
}

const REFUSED: [(Option<u32>, &str, &str); 1] = [(Some(1), "readings[1].unit", "UNREADABLE")];

#[tokio::test]
async fn in_a_single_request() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let authorization = format!("Bearer {}", sandbox.device_token(bed.device)?);
    let headers = [("authorization", authorization.as_str())];
    let body = frame(0, &damaged(&write(&bed, 1, readings()).encode_to_vec()));
    for duplicates in [0, 2] {
        let answer = raw::call(&mut sandbox.channel().await?, UNARY, &headers, body.clone()).await?;
        assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
        let answer = WriteReadingsResponse::decode(&answer.bytes[5..])?;
        assert_eq!(outlines(&answer.refused), REFUSED);
        assert_eq!((answer.accepted_readings, answer.duplicate_readings), (2, duplicates));
        sandbox.readable(&bed, 2).await?;
    }
    Ok(())
}

#[tokio::test]
async fn in_a_stream() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let authorization = format!("Bearer {}", sandbox.device_token(bed.device)?);
    let message = |request: StreamReadingsRequest| request.encode_to_vec();
    let body = [
        frame(0, &message(open(&bed, 0))),
        frame(0, &damaged(&message(batch(1, readings())))),
        frame(0, &message(batch(2, vec![pulse(64.0, guard::clock::now())]))),
    ]
    .concat();
    let headers = [("authorization", authorization.as_str())];
    let answer = raw::call(&mut sandbox.channel().await?, STREAM, &headers, body).await?;
    assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
    let (mut rest, mut through, mut accepted, mut refused) = (&answer.bytes[..], 0, 0, Vec::new());
    while let Some((head, tail)) = rest.split_first_chunk::<5>() {
        let (message, tail) = tail.split_at(u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize);
        if let Some(Out::Ack(ack)) = StreamReadingsResponse::decode(message)?.message {
            (through, accepted) = (ack.through, accepted + ack.accepted_readings);
            refused.extend(ack.refused);
        }
        rest = tail;
    }
    assert_eq!((through, accepted, outlines(&refused)), (2, 3, REFUSED.to_vec()));
    sandbox.readable(&bed, 3).await?;
    Ok(())
}
