//! Ports that speak HTTP, asked as a probe, a scraper, a script or `curl` would.

use crate::REQUEST_ID;
use anyhow::Context;
use guard::request_id::HEADER;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, ToSocketAddrs},
};

/// An answer, apart from what differs each time (`date`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Names in lower case, and values, as they came.
    pub headers: Vec<(String, String)>,
    /// All of the body.
    pub body: String,
}

impl Answer {
    /// Value of the first header with this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{} {}", self.status, self.body))
    }
}

/// Sends one request with these headers, under [`REQUEST_ID`] if they name no other, on a connection of its own.
pub async fn ask(
    at: impl ToSocketAddrs,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: wardline\r\nconnection: close\r\n");
    let own = (HEADER, REQUEST_ID);
    let own = (!headers.iter().any(|(name, _)| *name == HEADER)).then_some(&own);
    for (name, value) in headers.iter().chain(own) {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    raw(at, &format!("{head}\r\n{body}")).await
}

/// Sends text as it is.
pub async fn raw(at: impl ToSocketAddrs, text: &str) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(at).await?;
    // a server that has read enough answers before all is sent
    let sent = stream.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        anyhow::bail!("no HTTP: {answer:?}, sent {sent:?}, read {read:?}");
    };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).context("no status")?;
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers = headers.filter(|(name, _)| name != "date").collect();
    Ok(Answer { status, headers, body: body.to_owned() })
}

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
