//! Broken framing, oversized messages, bombs and lost identity: the call ends with what the caller did wrong, the server
//! goes on.

use model::Nanos;
use prost::Message as _;
use proto::telemetry::v1::{Open, StreamReadingsRequest, WriteReadingsRequest, stream_readings_request::Message};
use tests::{
    Bed, Sandbox,
    builders::{self, pulse},
    line::{Line, Problem},
    raw::{self, frame},
    with_token,
};
use tokio::time::Instant;
use tonic::{Code, codec::CompressionEncoding};

const UNARY: &str = "/wardline.telemetry.v1.IngestService/WriteReadings";
const STREAM: &str = "/wardline.telemetry.v1.IngestService/StreamReadings";

/// Valid messages of some megabytes that compress a hundredfold.
fn bomb(bed: &Bed) -> (WriteReadingsRequest, StreamReadingsRequest) {
    let readings = vec![pulse(60.0, Nanos(0)); 100_000];
    (builders::write(bed, 9, readings.clone()), builders::batch(1, readings))
}

struct Caller {
    channel: tonic::transport::Channel,
    authorization: String,
}

impl Caller {
    async fn new(sandbox: &Sandbox, bed: &Bed) -> anyhow::Result<Self> {
        let authorization = format!("Bearer {}", sandbox.device_token(bed.device)?);
        Ok(Self { channel: sandbox.channel().await?, authorization })
    }

    async fn send(&mut self, path: &str, encoding: Option<&str>, body: Vec<u8>) -> anyhow::Result<Problem> {
        let mut headers = vec![("authorization", self.authorization.as_str())];
        headers.extend(encoding.map(|encoding| ("grpc-encoding", encoding)));
        Ok(Problem::of(&raw::call(&mut self.channel, path, &headers, body).await?.status))
    }
}

#[tokio::test]
async fn broken_messages_are_the_callers_fault_and_the_server_goes_on() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let mut caller = Caller::new(&sandbox, &bed).await?;
    let single = builders::write(&bed, 1, vec![pulse(1.0, now)]).encode_to_vec();
    let open = frame(0, &builders::open(&bed, 0).encode_to_vec());
    let batch = builders::batch(1, vec![pulse(1.0, now)]).encode_to_vec();
    let half = frame(0, &single)[..20].to_vec();
    let (large_single, large_batch) = bomb(&bed);
    let (large_single, large_batch) = (large_single.encode_to_vec(), large_batch.encode_to_vec());
    let malformed = "MALFORMED_MESSAGE";
    // what, encoding, stream's bytes, single request's bytes, reason
    type Case<'a> = (&'a str, Option<&'a str>, Vec<u8>, Vec<u8>, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("flag 7", None, frame(7, &single), frame(7, &batch), malformed),
        ("compressed, no encoding named", None, frame(1, &single), frame(1, &batch), malformed),
        ("not gzip", Some("gzip"), frame(1, b"plain"), frame(1, b"plain"), malformed),
        ("not zstd", Some("zstd"), frame(1, b"plain"), frame(1, b"plain"), malformed),
        ("not protobuf", None, frame(0, &[0xff; 30]), frame(0, &[0xff; 30]), malformed),
        ("ends in the middle", None, half.clone(), half, malformed),
        ("too large", None, frame(0, &large_single), frame(0, &large_batch), "MESSAGE_TOO_LARGE"),
        ("claims 4 GiB", None, vec![0, 255, 255, 255, 255], vec![0, 255, 255, 255, 255], "MESSAGE_TOO_LARGE"),
    ];
    for (what, encoding, single, batch, reason) in cases {
        let started = Instant::now();
        let problem = caller.send(UNARY, encoding, single).await?;
        assert_eq!(problem.parts(), (Code::InvalidArgument, reason, "message"), "{what}, single");
        let problem = caller.send(STREAM, encoding, [open.clone(), batch].concat()).await?;
        assert_eq!(problem.parts(), (Code::InvalidArgument, reason, "message"), "{what}, stream");
        assert!(started.elapsed().as_secs() < 5, "{what} took {:?}", started.elapsed());
    }
    sandbox.write(&bed, 1, vec![pulse(1.0, now)]).await?;
    sandbox.readable(&bed, 1).await?;
    Ok(())
}

/// An rpc of every other service of a sandbox, and who may call it; of an open one anybody may.
const OTHERS: [(&str, &str); 7] = [
    ("/wardline.telemetry.v1.TimelineService/ListPatients", "doctor"),
    ("/wardline.telemetry.v1.StudyService/ListSubjects", "ml-scientist"),
    ("/wardline.registry.v1.RegistryService/GetUser", "administrator"),
    ("/wardline.registry.v1.EnrolmentService/ClaimDevice", "nobody"),
    ("/wardline.operations.v1.QuarantineService/ListQuarantined", "administrator"),
    ("/wardline.operations.v1.AuditService/SearchAuditLog", "auditor"),
    ("/grpc.health.v1.Health/Check", "nobody"),
];

#[tokio::test]
async fn broken_messages_are_the_callers_fault_at_every_service() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let mut channel = sandbox.channel().await?;
    let malformed = (Code::InvalidArgument, "MALFORMED_MESSAGE", "message");
    let unknown = (Code::Unimplemented, "UNSUPPORTED_ENCODING", "grpc-encoding");
    let cases = [
        ("nothing at all", None, vec![], malformed),
        ("ends in the middle", None, b"\0\0\0\0\x05abc".to_vec(), malformed),
        ("ends in the prefix", None, vec![0, 0], malformed),
        ("flag 7", None, frame(7, b""), malformed),
        ("compressed, no encoding named", None, frame(1, b""), malformed),
        ("gzip, which is not taken", Some("gzip"), frame(1, b""), unknown),
    ];
    for (path, role) in OTHERS {
        let authorization = match auth::demo_person(role) {
            Some(person) => Some(format!("Bearer {}", sandbox.issuer()?.user_token(person)?)),
            None => None,
        };
        for (what, encoding, body, expected) in &cases {
            let names = [("authorization", authorization.as_deref()), ("grpc-encoding", *encoding)];
            let headers: Vec<_> = names.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
            let status = raw::call(&mut channel, path, &headers, body.clone()).await?.status;
            assert_eq!(Problem::of(&status).parts(), *expected, "{what}, {path}: {status:?}");
            let taken = status.metadata().get("grpc-accept-encoding").and_then(|taken| taken.to_str().ok());
            assert_eq!(taken, encoding.map(|_| "identity"), "{what}, {path}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn compressed_batches_are_read_and_compressed_bombs_are_refused_at_little_cost() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let token = sandbox.device_token(bed.device)?;
    let too_large = (Code::InvalidArgument, "MESSAGE_TOO_LARGE", "message");
    for (sequence, encoding) in [(1, CompressionEncoding::Gzip), (2, CompressionEncoding::Zstd)] {
        let mut client = sandbox.ingest().await?.send_compressed(encoding);
        let (single, batch) = bomb(&bed);
        let started = Instant::now();
        for _ in 0..10 {
            let problem = Problem::from(client.write_readings(with_token(single.clone(), &token)?).await)?;
            assert_eq!(problem.parts(), too_large, "{encoding:?}");
        }
        let mut line = Line::start(client.clone(), Some(&token)).await?;
        line.send(builders::open(&bed, 0)).await;
        line.next().await?;
        line.send(batch).await;
        assert_eq!(Problem::from(line.next().await)?.parts(), too_large, "{encoding:?}");
        assert!(started.elapsed().as_secs() < 10, "{encoding:?} took {:?}", started.elapsed());
        // the same connection goes on
        let good = builders::write(&bed, sequence, vec![pulse(1.0, now)]);
        client.write_readings(with_token(good, &token)?).await?;
    }
    sandbox.readable(&bed, 2).await?;
    let mut caller = Caller::new(&sandbox, &bed).await?;
    let message = builders::write(&bed, 3, vec![pulse(1.0, now)]).encode_to_vec();
    let refused = caller.send(UNARY, Some("brotli"), frame(1, &message)).await?;
    assert_eq!(refused.parts(), (Code::Unimplemented, "UNSUPPORTED_ENCODING", "grpc-encoding"));
    Ok(())
}

#[tokio::test]
async fn a_stream_that_does_not_keep_the_order_of_messages_is_ended() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let token = sandbox.device_token(bed.device)?;
    let ends_with = async |messages: Vec<StreamReadingsRequest>| {
        let line = Line::start(sandbox.ingest().await?, Some(&token)).await?;
        for message in messages {
            line.send(message).await;
        }
        let (.., status) = line.until_end().await?;
        Problem::from(status.map_or(Ok(()), Err))
    };
    let nothing = || StreamReadingsRequest { message: None };
    let batch = || builders::batch(1, vec![pulse(1.0, now)]);
    let open = || builders::open(&bed, 0);
    let opened_as = |change: fn(&mut Open)| {
        let mut request = open();
        if let Some(Message::Open(open)) = &mut request.message {
            change(open);
        }
        vec![request]
    };
    let cases = [
        (vec![batch()], ("OPEN_EXPECTED", "message")),
        (vec![nothing()], ("OPEN_EXPECTED", "message")),
        (vec![open(), open()], ("BATCH_EXPECTED", "message")),
        (vec![open(), batch(), nothing()], ("BATCH_EXPECTED", "message")),
        (opened_as(|open| open.stream_id = "no uuid".into()), ("INVALID_ID", "stream_id")),
        (opened_as(|open| open.device_id = String::new()), ("INVALID_ID", "device_id")),
    ];
    for (messages, (reason, field)) in cases {
        assert_eq!(ends_with(messages).await?.parts(), (Code::InvalidArgument, reason, field));
    }
    sandbox.readable(&bed, 1).await?;
    Ok(())
}

#[tokio::test]
async fn only_a_known_device_with_a_token_of_its_own_may_write() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let (issuer, unknown) = (sandbox.issuer()?, Bed::numbered(99));
    let itself = |seconds| issuer.sign(format!("device:{}", bed.device.uuid()), seconds);
    let mut tampered = itself(60)?;
    tampered.replace_range(tampered.len() - 4.., "AAAA");
    let denied = Code::PermissionDenied;
    let cases: [(&str, Bed, Option<String>, Code, &str); 9] = [
        ("no token", bed, None, Code::Unauthenticated, "NO_TOKEN"),
        ("garbage", bed, Some("garbage".into()), Code::Unauthenticated, "INVALID_TOKEN"),
        ("tampered", bed, Some(tampered), Code::Unauthenticated, "INVALID_TOKEN"),
        ("oversized", bed, Some("a".repeat(5_000)), Code::Unauthenticated, "TOKEN_TOO_LARGE"),
        ("expired", bed, Some(itself(-120)?), Code::Unauthenticated, "TOKEN_EXPIRED"),
        // by a second more than clocks may differ
        ("just expired", bed, Some(itself(-31)?), Code::Unauthenticated, "TOKEN_EXPIRED"),
        ("another device", Bed::numbered(1), Some(itself(60)?), denied, "WRONG_DEVICE"),
        ("a person", bed, Some(issuer.user_token(auth::DEMO_PEOPLE[0].2)?), denied, "NOT_PERMITTED"),
        ("unknown device", unknown, Some(issuer.device_token(unknown.device)?), denied, "UNKNOWN_DEVICE"),
    ];
    for (what, bed, token, code, reason) in cases {
        let message = builders::write(&bed, 1, vec![pulse(99.0, now)]);
        let request = match &token {
            Some(token) => with_token(message, token)?,
            None => tonic::Request::new(message),
        };
        let problem = Problem::from(sandbox.ingest().await?.write_readings(request).await)?;
        assert_eq!((problem.code, problem.reason.as_str()), (code, reason), "{what}, single");
        let line = match Line::start(sandbox.ingest().await?, token.as_deref()).await {
            Ok(line) => line,
            Err(error) => {
                let status: tonic::Status = error.downcast()?;
                assert_eq!(Problem::of(&status), problem, "{what}, stream");
                continue;
            }
        };
        line.send(builders::open(&bed, 0)).await;
        line.batch(1, vec![pulse(99.0, now)]).await;
        let (acked, _, status) = line.until_end().await?;
        assert_eq!(Problem::from(status.map_or(Ok(()), Err))?, problem, "{what}, stream");
        assert_eq!(acked.through, 0, "{what}");
    }
    // ended by less than clocks may differ
    let request = with_token(builders::write(&bed, 1, vec![pulse(1.0, now)]), &itself(-20)?)?;
    sandbox.ingest().await?.write_readings(request).await?;
    let stored = sandbox.readable(&bed, 1).await?;
    assert_eq!(crate::bad_batches::tags(&stored[0]).0, 1.0, "nothing of the others was taken");
    Ok(())
}
