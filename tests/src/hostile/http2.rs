//! HTTP/2 as an attacker speaks it: any window, half a message, an answer that is never taken, a socket that is never read.

use super::target::connect;
use crate::raw::frame;
use bytes::Bytes;
use h2::{
    Ping, RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use std::{
    future::poll_fn,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, codegen::http};
use tonic_types::StatusExt;

/// What is sent in one piece.
const PIECE_BYTES: usize = 16 << 10;
/// A server that does not answer a first ping in this time is not there for us.
const GREETING: Duration = Duration::from_secs(5);
/// The largest window there is (RFC 9113, 6.9.1).
pub const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// One connection. Dropping it ends it.
pub struct Session {
    send: SendRequest<Bytes>,
    is_deaf: Arc<AtomicBool>,
    closed: CancellationToken,
    driver: JoinHandle<()>,
}

/// What a call came to.
pub struct Answer {
    /// HTTP status of the answer.
    pub http: u16,
    /// The gRPC status, if there was one.
    pub status: Option<Status>,
    /// Bytes of the body.
    pub n_bytes: u64,
}

impl Answer {
    /// The gRPC code; `None` when there was none.
    pub fn code(&self) -> Option<Code> {
        self.status.as_ref().map(Status::code)
    }

    /// Whether a caller who is over a limit is told when to try again.
    pub fn says_when(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.get_details_retry_info().is_some())
    }
}

impl Session {
    /// Connects, and waits until the server has said what it takes. `window`: of each stream; for the connection it is
    /// the largest there is.
    ///
    /// # Errors
    /// The server refused, or closed at once: with GOAWAY, `is_go_away` of the [`h2::Error`] in it.
    pub async fn open(from: Ipv4Addr, to: SocketAddr, window: u32) -> anyhow::Result<Self> {
        Self::over(connect(from, to, None).await?, window).await
    }

    async fn over(stream: TcpStream, window: u32) -> anyhow::Result<Self> {
        let is_deaf = Arc::new(AtomicBool::new(false));
        let socket = Socket { stream, is_deaf: Arc::clone(&is_deaf) };
        let mut builder = Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(LARGEST_WINDOW).enable_push(false);
        let (send, mut connection) = builder.handshake(socket).await?;
        let mut pings = connection.ping_pong();
        let mut driver = Driver(tokio::spawn(connection));
        if let Some(pings) = &mut pings {
            tokio::select! {
                // an end that comes first says why
                biased;
                ended = &mut driver.0 => {
                    ended??;
                    anyhow::bail!("the connection ended at once");
                }
                pong = timeout(GREETING, pings.ping(Ping::opaque())) => {
                    pong??;
                }
            }
        }
        let closed = CancellationToken::new();
        let ended = closed.clone().drop_guard();
        let driver = tokio::spawn(async move {
            // how it ends is seen by the streams
            let mut driver = driver;
            let _ = (&mut driver.0).await;
            drop(ended);
        });
        Ok(Self { send, is_deaf, closed, driver })
    }

    /// Waits until the server ends it.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Nothing more is read from the socket.
    pub fn stop_reading(&self) {
        self.is_deaf.store(true, Ordering::Release);
    }

    /// Begins a gRPC call when the server takes one more stream; `is_all`: nothing follows the headers.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn begin(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        is_all: bool,
    ) -> anyhow::Result<(ResponseFuture, SendStream<Bytes>)> {
        let mut request = http::Request::post(format!("http://wardline{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut send = self.send.clone().ready().await?;
        Ok(send.send_request(request.body(())?, is_all)?)
    }

    /// A whole unary call with one message.
    ///
    /// # Errors
    /// The connection or the stream ended without an answer.
    pub async fn call(&self, path: &str, token: Option<&str>, message: &[u8]) -> anyhow::Result<Answer> {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        self.call_with(path, &headers, frame(0, message).into()).await
    }

    /// A call with any headers and any body.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn call_with(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> anyhow::Result<Answer> {
        let (response, mut sending) = self.begin(path, headers, false).await?;
        let sent = async {
            send(&mut sending, body, true).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = finish(response) => Ok(answer?),
            () = sent => unreachable!("it waits for ever"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The task that reads and writes a connection; it ends with this.
struct Driver(JoinHandle<Result<(), h2::Error>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends as the server lets it; false when the stream has ended before.
pub async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes, is_end: bool) -> bool {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len().min(PIECE_BYTES));
        let room = match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(room)) => room,
            _ => return false,
        };
        let piece = bytes.split_to(room.min(bytes.len()));
        if stream.send_data(piece, is_end && bytes.is_empty()).is_err() {
            return false;
        }
    }
    true
}

/// Waits until the server resets a stream, or its connection ends.
pub async fn reset(stream: &mut SendStream<Bytes>) {
    // either way it is over
    let _ = poll_fn(|context| stream.poll_reset(context)).await;
}

/// Reads all of an answer.
///
/// # Errors
/// The stream was reset, or the connection ended.
pub async fn finish(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let mut answer = Answer { http: head.status.as_u16(), status: Status::from_header_map(&head.headers), n_bytes: 0 };
    while let Some(data) = body.data().await {
        let data = data?;
        answer.n_bytes += data.len() as u64;
        body.flow_control().release_capacity(data.len())?;
    }
    if let Some(trailers) = body.trailers().await? {
        answer.status = Status::from_header_map(&trailers).or(answer.status);
    }
    Ok(answer)
}

/// The head of an answer and, unless that was all, its body.
///
/// # Errors
/// As [`finish`].
pub async fn head(response: ResponseFuture) -> Result<(Answer, Option<RecvStream>), h2::Error> {
    let (head, body) = response.await?.into_parts();
    let status = Status::from_header_map(&head.headers);
    let is_all = body.is_end_stream();
    Ok((Answer { http: head.status.as_u16(), status, n_bytes: 0 }, (!is_all).then_some(body)))
}

/// A socket that can be left unread.
struct Socket {
    stream: TcpStream,
    is_deaf: Arc<AtomicBool>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_deaf.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
