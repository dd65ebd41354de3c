//! Heads of requests that a proxy in front could take for something else, and heads that are too large.

use node::services;
use tests::{
    Bed, Sandbox,
    http::{self, Answer},
    line::Problem,
    raw,
};
use tonic::Code;

const CHECK: &str = "/grpc.health.v1.Health/Check";

fn reason(answer: &Answer) -> anyhow::Result<(u16, String)> {
    Ok((answer.status, answer.json()?["reason"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test]
async fn a_head_that_can_be_read_in_two_ways_is_refused_and_told_why() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(1, &[], &[services::QUERY]).await?;
    let get = "GET /v1/openapi.json HTTP/1.1\r\n";
    let token = "authorization: Bearer a\r\n";
    for (text, expected) in [
        (format!("{get}host: w\r\nhost: w\r\n\r\n"), "DUPLICATE_HEADER"),
        (format!("{get}host: w\r\n{token}{token}\r\n"), "DUPLICATE_HEADER"),
        (format!("{get}host: w\r\npurpose-of-use: TREAT\r\npurpose-of-use: HRESCH\r\n\r\n"), "DUPLICATE_HEADER"),
        (format!("{get}\r\n"), "HOST_MISSING"),
        (format!("{get}host: w\n\r\n"), "BARE_LINE_FEED"),
        (format!("{get}host: w\r\n\n"), "BARE_LINE_FEED"),
        ("GET /v1/openapi.json HTTP/1.1\nhost: w\n\n".to_owned(), "BARE_LINE_FEED"),
        (
            format!("{get}host: w\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            "AMBIGUOUS_LENGTH",
        ),
        (format!("{get}host: w\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n"), "AMBIGUOUS_LENGTH"),
        (format!("{get}host: w\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"), "AMBIGUOUS_LENGTH"),
        (format!("{get}host: w\r\ncontent-length: abc\r\n\r\n"), "INVALID_LENGTH"),
        (format!("{get}host: w\r\ncontent-length: -1\r\n\r\n"), "INVALID_LENGTH"),
        (format!("{get}host: w\r\ncontent-length: +1\r\n\r\na"), "INVALID_LENGTH"),
        (format!("{get}host: w\r\ncontent-length: 2, 2\r\n\r\nab"), "INVALID_LENGTH"),
        (format!("{get}host: w\r\ncontent-length: 99999999999999999999\r\n\r\n"), "INVALID_LENGTH"),
        (format!("{get}host: w\r\ntransfer-encoding: gzip\r\n\r\n"), "INVALID_LENGTH"),
        (format!("{get}host: w\r\ntransfer-encoding: identity\r\n\r\n"), "INVALID_LENGTH"),
        (format!("{get}host: w\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), "INVALID_LENGTH"),
        ("GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), "INVALID_LENGTH"),
        (format!("\n{get}host: w\r\n\r\n"), "BARE_LINE_FEED"),
        ("GARBAGE\r\n\r\n".to_owned(), "MALFORMED_HEAD"),
        ("GET /v1/openapi.json\r\n".to_owned(), "MALFORMED_HEAD"),
        ("GET /v1/openapi.json HTTP/3.9\r\nhost: w\r\n\r\n".to_owned(), "MALFORMED_HEAD"),
        ("GET /v1/openapi .json HTTP/1.1\r\nhost: w\r\n\r\n".to_owned(), "MALFORMED_HEAD"),
        (format!("{get}host: w\r\nno colon\r\n\r\n"), "MALFORMED_HEAD"),
        (format!("{get}host: w\r\nnone\r\n\r\n"), "MALFORMED_HEAD"),
    ] {
        // the server closes the connection: nobody knows what follows
        let answer = http::raw(sandbox.api()?, &text).await?;
        assert_eq!(reason(&answer)?, (400, expected.to_owned()), "{text:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("x-request-id"), answer.json()?["request_id"].as_str(), "{text:?}");
    }
    // line feeds of a body are its own, and a head behind one is checked as the first
    let post = |last: &str| format!("POST /v1/nothing HTTP/1.1\r\nhost: w\r\n{last}content-length: 2\r\n\r\n\n\n");
    assert_eq!(reason(&http::raw(sandbox.api()?, &post("connection: close\r\n")).await?)?.0, 404);
    let both = http::raw(sandbox.api()?, &format!("{}{get}host: w\n\r\n", post(""))).await?;
    assert!(both.body.contains("BARE_LINE_FEED"), "{}", both.body);
    // HTTP/1.0 has no hosts
    assert_eq!(http::get(sandbox.api()?, "/v1/openapi.json").await?.0, 200);

    let mut channel = sandbox.channel().await?;
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    let problem = Problem::of(&raw::call(&mut channel, CHECK, &twice, raw::frame(0, b"")).await?.status);
    assert_eq!((problem.code, problem.reason.as_str()), (Code::InvalidArgument, "DUPLICATE_HEADER"));
    Ok(())
}

#[tokio::test]
async fn much_metadata_is_refused_in_the_terms_of_the_port() -> anyhow::Result<()> {
    let page = "https://console.example.org";
    let sandbox = Sandbox::with(1, &[&format!("server.api_origins=[\"{page}\"]")], &services::ALL).await?;
    let (large, token) = ("x".repeat(9_000), sandbox.device_token(Bed::numbered(0).device)?);
    let authorization = format!("Bearer {token}");
    let long = "y".repeat(20_000);
    let many: Vec<_> = (0..300).map(|n| (format!("x-{n}"), "y")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let mut channel = sandbox.channel().await?;
    for headers in [&[("x-large", large.as_str())][..], &[("authorization", &authorization), ("x-long", &long)], &many]
    {
        let problem = Problem::of(&raw::call(&mut channel, CHECK, headers, raw::frame(0, b"")).await?.status);
        assert_eq!((problem.code, problem.reason.as_str()), (Code::ResourceExhausted, "METADATA_TOO_LARGE"));
        let answer = http::ask(sandbox.api()?, "GET", "/v1/openapi.json", headers, "").await?;
        assert_eq!(reason(&answer)?, (431, "METADATA_TOO_LARGE".to_owned()));
    }
    // also a head that is not kept, wherever it becomes too long
    let fields = |n: usize| (0..n).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let endless = "z".repeat(300_000);
    for head in [
        format!("GET /v1/openapi.json HTTP/1.1\r\nhost: w\r\nx: {endless}\r\nconnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: w\r\n{}: y\r\n\r\n", endless),
        format!("GET / HTTP/1.1\r\nhost: w\r\n{}\r\n", fields(20_000)),
        format!("GET / HTTP/1.1\r\nhost: w\r\n{}\r\n", fields(450)),
        format!("GET / HTTP/1.1\r\nhost: w\r\nx:{}\r\n\r\n", " ".repeat(300_000)),
    ] {
        // of a page behind what is left out
        let head = head.replace("\r\n\r\n", &format!("\r\norigin: {page}\r\n\r\n"));
        let answer = http::raw(sandbox.api()?, &head).await?;
        assert_eq!(reason(&answer)?, (431, "METADATA_TOO_LARGE".to_owned()), "{} bytes", head.len());
        assert_eq!(answer.header("access-control-allow-origin"), Some(page), "{} bytes", head.len());
        assert!(answer.body.contains("metadata: more than "), "{}", answer.body);
    }
    // it is said what is too long, also to a page
    let long = format!("/v1/openapi.json?x={}", &endless[..9_000]);
    let token = &[("origin", page), ("x-large", large.as_str())][..];
    for (path, headers, expected) in [
        (long.as_str(), &token[..1], (414, "URL_TOO_LONG")),
        (&format!("/{endless}"), &token[..1], (414, "URL_TOO_LONG")),
        ("/v1/openapi.json", token, (431, "METADATA_TOO_LARGE")),
    ] {
        let answer = http::ask(sandbox.api()?, "GET", path, headers, "").await?;
        assert_eq!(reason(&answer)?, (expected.0, expected.1.to_owned()));
        let named = answer.header("access-control-allow-origin");
        assert_eq!(named, headers.first().map(|(_, origin)| *origin), "{}", expected.1);
        assert_eq!(answer.body.contains("url: "), expected.0 == 414, "{}", answer.body);
    }
    let usual = "z".repeat(6_000);
    let answer = raw::call(&mut channel, CHECK, &[("x-usual", &usual)], raw::frame(0, b"")).await?;
    assert_eq!(answer.status.code(), Code::Ok);
    Ok(())
}
