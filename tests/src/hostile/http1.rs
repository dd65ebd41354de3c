//! HTTP/1.1 as text: whatever an attacker writes, and how much comes back.

use super::target::connect;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// Of an answer, what is kept.
const KEPT_BYTES: usize = 4 << 10;
/// Of an answer, what is read at all: nothing here may come near it.
const READ_BYTES: u64 = 128 << 20;
/// A server that says nothing for so long will not.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answer to a request of HTTP/1.1.
pub struct Reply {
    /// The status; `None`: the connection ended without one.
    pub status: Option<u16>,
    /// The beginning, in lower case.
    pub begins: String,
    /// All bytes of it.
    pub n_bytes: u64,
}

impl Reply {
    /// Whether it has a header.
    pub fn has(&self, name: &str) -> bool {
        self.begins
            .lines()
            .take_while(|line| !line.is_empty())
            .any(|line| line.split_once(':').is_some_and(|(held, _)| held.eq_ignore_ascii_case(name)))
    }

    /// A key for the tally: `400`, or `no answer`.
    pub fn label(&self) -> String {
        self.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string())
    }
}

/// Sends text and body on a connection of its own, and reads until the other side ends it.
///
/// # Errors
/// No connection. One that is reset later is an answer that ends there.
pub async fn ask(from: Ipv4Addr, to: SocketAddr, head: &str, body: &[u8]) -> io::Result<Reply> {
    let mut stream = connect(from, to, None).await?;
    let (mut reader, mut writer) = stream.split();
    let sent = async {
        // who has read enough answers before all is sent
        if writer.write_all(head.as_bytes()).await.is_ok() {
            let _ = writer.write_all(body).await;
        }
        std::future::pending::<()>().await;
    };
    let mut kept = Vec::new();
    let mut n_bytes = 0;
    let read = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = reader.read(&mut buffer).await {
            n_bytes += n as u64;
            kept.extend_from_slice(&buffer[..n.min(KEPT_BYTES.saturating_sub(kept.len()))]);
            if n_bytes > READ_BYTES {
                break;
            }
        }
    };
    let reading = async {
        tokio::select! {
            () = read => {}
            () = sent => {}
        }
    };
    // what came until then counts
    let _ = timeout(PATIENCE, reading).await;
    let begins = String::from_utf8_lossy(&kept).to_lowercase();
    let status = begins.strip_prefix("http/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    Ok(Reply { status, begins, n_bytes })
}
