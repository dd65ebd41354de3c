//! HTTP as plain as a probe, a scraper or a script would speak it.

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, ToSocketAddrs},
};

/// Status and text of a page.
pub async fn get(at: impl ToSocketAddrs, path: &str) -> anyhow::Result<(u16, String)> {
    exchange(at, &format!("GET {path} HTTP/1.0\r\nhost: wardline\r\n\r\n")).await
}

/// Status and body of what is answered to a text.
pub async fn post(
    at: impl ToSocketAddrs,
    path: &str,
    headers: &[(&str, &str)],
    text: &str,
) -> anyhow::Result<(u16, String)> {
    let mut request = format!("POST {path} HTTP/1.0\r\nhost: wardline\r\ncontent-length: {}\r\n", text.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let (status, answer) = exchange(at, &format!("{request}\r\n{text}")).await?;
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

/// The whole answer: the other side ends the connection when it is said.
async fn exchange(at: impl ToSocketAddrs, request: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP")?;
    Ok((status, text))
}

/// The sum of a metric over its labels; 0 when it has not been counted yet.
pub async fn metric(at: impl ToSocketAddrs, name: &str) -> anyhow::Result<f64> {
    let (_, text) = get(at, "/metrics").await?;
    let value = |line: &str| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    };
    Ok(text.lines().filter_map(value).sum())
}
