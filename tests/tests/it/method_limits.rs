//! What an rpc may be asked holds before anything of it is kept, also for those that are open to all.

use node::services;
use tests::{Bed, Sandbox, line::Problem, raw};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Rpcs that need no token, and the longest message of each.
const OPEN: [(&str, u32); 5] = [
    ("/grpc.health.v1.Health/Check", 1_024),
    ("/grpc.health.v1.Health/Watch", 1_024),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 1_024),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", 1_024),
    ("/wardline.registry.v1.EnrolmentService/ClaimDevice", 4_096),
];

/// A message's prefix: its length, and nothing of it.
fn announced(n_bytes: u32) -> Vec<u8> {
    [&[0][..], &n_bytes.to_be_bytes()].concat()
}

#[tokio::test]
async fn an_open_method_refuses_a_message_by_its_length_and_waits_for_none() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let mut channel = sandbox.channel().await?;
    for (path, max_bytes) in OPEN {
        let answer = raw::call_unfinished(&mut channel, path, &[], announced(max_bytes + 1)).await?;
        let problem = Problem::of(&answer.status);
        assert_eq!(problem.parts(), (Code::InvalidArgument, "MESSAGE_TOO_LARGE", "message"), "{path}");
    }
    // a second message where there is one only, and what is no method at all
    let check = OPEN[0].0;
    let twice = [raw::frame(0, b""), raw::frame(0, b"")].concat();
    let answer = raw::call_unfinished(&mut channel, check, &[], twice).await?;
    assert_eq!(Problem::of(&answer.status).parts(), (Code::InvalidArgument, "MALFORMED_MESSAGE", "message"));
    for path in ["/grpc.health.v1.Health/Guess", "/nothing", "/grpc.channelz.v1.Channelz/GetServers"] {
        let answer = raw::call_unfinished(&mut channel, path, &[], announced(9)).await?;
        assert_eq!(answer.status.code(), Code::Unimplemented, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn with_a_token_too_a_method_takes_what_it_needs() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let mut channel = sandbox.channel().await?;
    let device = format!("Bearer {}", sandbox.device_token(Bed::numbered(0).device)?);
    let headers = [("authorization", device.as_str())];
    for (rpc, max_bytes) in [
        ("telemetry.v1.IngestService/WriteReadings", 512 << 10),
        ("telemetry.v1.TimelineService/LatestReadings", 64 << 10),
        ("registry.v1.RegistryService/GetUser", 4 << 10),
    ] {
        let path = format!("/wardline.{rpc}");
        let answer = raw::call_unfinished(&mut channel, &path, &headers, announced(max_bytes + 1)).await?;
        let problem = Problem::of(&answer.status);
        assert_eq!(problem.parts(), (Code::InvalidArgument, "MESSAGE_TOO_LARGE", "message"), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn calls_without_a_token_are_counted_and_a_stop_ends_those_that_last() -> anyhow::Result<()> {
    let flags = ["server.max_connections_per_address=2", "server.drain_seconds=10"];
    let mut sandbox = Sandbox::with(1, &flags, &[services::QUERY]).await?;
    let mut client = HealthClient::new(sandbox.channel().await?);
    let watched = HealthCheckRequest::default;
    let mut first = client.watch(watched()).await?.into_inner();
    let second = client.watch(watched()).await?.into_inner();
    let refused = Problem::from(client.check(watched()).await)?;
    assert_eq!((refused.code, refused.reason.as_str()), (Code::ResourceExhausted, "TOO_MANY_CALLS"));
    assert!(refused.retry_after.is_some());
    drop(second);
    let again = async || Ok(client.clone().check(watched()).await.is_ok());
    tests::wait::until("a place that was given back", again, |ok| *ok).await?;
    // the watch hears that nothing is served any more, and then that it is over; it holds the stop up for no longer
    first.message().await?;
    sandbox.drain();
    let status = loop {
        match first.message().await {
            Ok(Some(_)) => {}
            Ok(None) => anyhow::bail!("it ended without a word"),
            Err(status) => break status,
        }
    };
    let problem = Problem::of(&status);
    assert_eq!((problem.code, problem.reason.as_str()), (Code::Unavailable, "DRAINING"));
    sandbox.stop().await
}
