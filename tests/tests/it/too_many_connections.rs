//! Who is one connection too many is told why, in the terms of the port, and all ports count together.

use anyhow::Context;
use node::services;
use tests::{Sandbox, http, wait::PATIENCE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How a client of HTTP/2 begins: its preface, and empty settings.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The debug text of the GOAWAY with which a connection ended, if its code is ENHANCE_YOUR_CALM (RFC 9113, 7).
fn told(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    while let Some((head, behind)) = rest.split_at_checked(9) {
        let (payload, next) = behind.split_at_checked(u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize)?;
        if head[3] == 7 {
            let is_calm = payload.get(4..8)? == [0, 0, 0, 0xb];
            return is_calm.then(|| String::from_utf8_lossy(&payload[8..]).into_owned());
        }
        rest = next;
    }
    None
}

/// All that a port says to one who begins with `first`.
async fn said(address: &str, first: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(first).await?;
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.context("it is still open")??;
    Ok(bytes)
}

#[tokio::test]
async fn both_ports_count_an_address_together_and_say_that_it_has_too_many() -> anyhow::Result<()> {
    for (limit, setting) in [
        ("server.max_connections_per_address=2", "server.max_connections_per_address"),
        ("server.max_connections=2", "server.max_connections"),
    ] {
        let sandbox = Sandbox::with(1, &[limit, "tls.handshake_timeout_seconds=300"], &[services::QUERY]).await?;
        let (grpc, api) = (sandbox.endpoint().replace("http://", ""), sandbox.api()?.to_string());
        let _held = [TcpStream::connect(&grpc).await?, TcpStream::connect(&api).await?];
        // until they are counted
        let full = async || Ok(http::metric(sandbox.http(), "wardline_connections_open").await?);
        tests::wait::until("two connections", full, |n| *n >= 2.0).await?;

        let text = told(&said(&grpc, BEGINNING).await?).context("no GOAWAY on the gRPC port")?;
        assert!(text.contains(setting) && text.contains('2'), "{text}");
        let text = told(&said(&api, BEGINNING).await?).context("no GOAWAY on the API's port")?;
        assert!(text.contains(setting), "{text}");
        let answer = http::ask(&api, "GET", "/v1/openapi.json", &[], "").await?;
        let problem = answer.json()?;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")), "{problem}");
        assert_eq!(problem["reason"], "TOO_MANY_CONNECTIONS");
        assert!(problem["detail"].as_str().unwrap_or_default().contains(setting), "{problem}");
        // probes have a port of their own, and room on it
        assert_eq!(http::get(sandbox.http(), "/live").await?.0, 200);
    }
    Ok(())
}

#[tokio::test]
async fn who_is_told_costs_little_and_beyond_a_few_nobody_is() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(1, &["server.max_connections=1"], &[services::QUERY]).await?;
    let grpc = sandbox.endpoint().replace("http://", "");
    let channel = sandbox.channel().await?;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let grpc = grpc.clone();
        all.spawn(async move {
            // closed without a word, it may be a reset
            said(&grpc, b"").await.unwrap_or_default()
        });
    }
    let n_told = all.join_all().await.iter().filter(|bytes| told(bytes).is_some()).count();
    assert!((1..=64).contains(&n_told), "{n_told} of 100 were told");
    drop(channel);
    Ok(())
}
