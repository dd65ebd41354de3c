//! What a connection is told for which there is no room, before it is closed: GOAWAY on HTTP/2 (RFC 9113, 6.8), 503 on
//! HTTP/1.1.
//!
//! What is bounded: [`AT_ONCE`] are told at a time and each within [`PATIENCE`]; a slot is free again [`EACH`] after it was
//! taken, so that handshakes for the sake of saying no cannot take the processor. Whoever is beyond that is closed without a word.

use crate::{connection_limit::Full, tls::Speaks};
use serde_json::json;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// Connections that are told at once, and so the descriptors they take.
pub const AT_ONCE: usize = 32;
/// How long a slot is taken at least.
const EACH: Duration = Duration::from_secs(1);
/// How long one is told at most, a handshake included.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it is waited for the first bytes, which say what is spoken.
const FIRST_BYTES: Duration = Duration::from_secs(1);
/// Bytes that are read and thrown away before the end.
const MAX_DISCARDED_BYTES: usize = 64 << 10;
/// When to come again.
const RETRY_SECONDS: u64 = 10;
/// An HTTP/2 frame of settings, all as they are by default: what a server must send first (RFC 9113, 3.4).
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// ENHANCE_YOUR_CALM (RFC 9113, 7).
const CALM: u32 = 0xb;

/// Tells connections that there is no room. Cheap to clone: all ports share the slots.
#[derive(Clone)]
pub(crate) struct Farewells(Arc<Semaphore>);

impl Default for Farewells {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Farewells {
    /// Tells one and closes it, in a task of its own; or closes it at once.
    pub(super) fn say(&self, socket: TcpStream, tls: Option<Arc<ServerConfig>>, speaks: Speaks, full: Full) {
        let Ok(slot) = Arc::clone(&self.0).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let least = sleep(EACH);
            let telling = async {
                match tls {
                    None => tell(socket, speaks, full).await,
                    Some(tls) => tell(TlsAcceptor::from(tls).accept(socket).await?, speaks, full).await,
                }
            };
            // it is closed in any case, and how its end went is its own business
            let _ = timeout(PATIENCE, telling).await;
            least.await;
            drop(slot);
        });
    }
}

async fn tell(mut stream: impl AsyncRead + AsyncWrite + Unpin, speaks: Speaks, full: Full) -> io::Result<()> {
    let text = text(full);
    let words = match speaks {
        Speaks::Http if !begins_http2(&mut stream).await? => unavailable(&text),
        Speaks::Http | Speaks::Http2 => go_away(&text),
    };
    stream.write_all(&words).await?;
    stream.shutdown().await?;
    // closed with bytes unread, the system would send a reset, and the words could be lost on their way
    let (mut discarded, mut n_bytes) = ([0; 1_024], 0);
    while n_bytes < MAX_DISCARDED_BYTES {
        match stream.read(&mut discarded).await? {
            0 => break,
            n => n_bytes += n,
        }
    }
    Ok(())
}

/// Whether the client begins as HTTP/2 does; one that says nothing in time does not.
async fn begins_http2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
    let mut first = [0; 3];
    match timeout(FIRST_BYTES, stream.read_exact(&mut first)).await {
        Ok(read) => read.map(|_| &first == b"PRI"),
        Err(_) => Ok(false),
    }
}

fn text(full: Full) -> String {
    match full {
        Full::Address(max) => format!(
            "your address has {max} connections open, and more are not allowed (server.max_connections_per_address); send over those, or close one"
        ),
        Full::All(max) => {
            format!(
                "the node has {max} connections open, and no room for more (server.max_connections); come again later"
            )
        }
    }
}

/// Settings, then GOAWAY: no stream was or will be served.
fn go_away(text: &str) -> Vec<u8> {
    let length = 8 + text.len() as u32;
    let mut frames = SETTINGS.to_vec();
    frames.extend_from_slice(&length.to_be_bytes()[1..]);
    // its type, no flags, the connection as a whole, the last stream: none
    frames.extend([7, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    frames.extend(CALM.to_be_bytes());
    frames.extend(text.as_bytes());
    frames
}

/// 503 with a problem (RFC 9457).
fn unavailable(text: &str) -> Vec<u8> {
    let body = json!({
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": text,
        "reason": "TOO_MANY_CONNECTIONS",
        "violations": [],
    })
    .to_string();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         retry-after: {RETRY_SECONDS}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}
