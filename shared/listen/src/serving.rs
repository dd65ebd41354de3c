//! Connections of all ports are served here: HTTP/2, and HTTP/1.1 where the port speaks it, with the same limits, and drained
//! on a stop.
//!
//! What is bounded: streams (one more is told so, `seats.rs`) and resets of a connection, what is read of a request's head, what waits to be sent on a stream
//! ([`SEND_BYTES`]), a connection's age, how long it says nothing at first, and how long the rest has after a stop. A request with
//! a head that will not do is refused before anything reads it (`head.rs`).

use crate::{
    Connection, Listener,
    fault::Fault,
    head::{self, MAX_READ_BYTES, MAX_READ_FIELDS},
    seats::{self, Seats},
    tls::Speaks,
};
use bytes::Bytes;
use guard::{RequestId, streams};
use hyper::{
    HeaderMap, Request, Response, Version,
    body::{Body, Incoming},
    header::{CONNECTION, HeaderValue, TRANSFER_ENCODING},
    rt::Executor,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use rand::Rng;
use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Resets that a peer may cause before its connection ends (rapid reset): before its streams are taken, and by its errors.
const MAX_RESETS: (usize, usize) = (20, 128);
/// HTTP/2 windows of a stream and of a connection, and so what is held of requests that nobody reads yet: a whole message, and two.
const WINDOWS: (u32, u32) = (512 << 10, 1 << 20);
/// Bytes of a stream that wait for the peer's window.
const SEND_BYTES: usize = 64 << 10;
/// What is held of a head of HTTP/1.1 that is not whole yet.
const HTTP1_BYTES: usize = MAX_READ_BYTES / 2;
/// How often a quiet connection is asked whether its peer is there, and how long the answer may take.
pub const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// How long a request's head may take, and until the next one.
const HEAD: Duration = Duration::from_secs(30);

/// What is served behind a listener. Cheap to clone.
pub trait Answers: Clone + Send + Sync + 'static {
    /// Body of the answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    /// Answers one request whose head is in order.
    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send + 'static;

    /// Answers one that was not read; `headers` are what was taken of its own.
    fn refuse(&self, fault: Fault, id: RequestId, headers: &HeaderMap) -> Response<Self::Body>;
}

/// How connections of one port are served.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Most concurrent streams of one connection of HTTP/2.
    pub max_streams: u32,
    /// After so long a connection is asked to come again, a tenth more or less; `None`: never.
    pub age: Option<Duration>,
    /// How long work under way may take then, and after a stop.
    pub grace: Duration,
    /// How long a head of HTTP/1.1 may take, and the first request of a port that speaks both.
    pub head: Duration,
}

impl Terms {
    /// Connections of so many streams, asked to come again after `age`, with nearly all of `drain` for what is under way then.
    pub fn new(max_streams: u32, age: Option<Duration>, drain: Duration) -> Self {
        // nearly all: who never ends its request must not make the whole node late
        Self { max_streams, age, grace: drain.mul_f64(0.8), head: HEAD }
    }
}

/// Serves until `stop`; then what is under way has its grace to end, and the rest is cut.
pub async fn serve(mut listener: Listener, terms: Terms, answers: impl Answers, stop: CancellationToken) {
    let speaks = listener.speaks();
    let mut open = JoinSet::new();
    let mut n_cut = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // cut only after a stop
            Some(ended) = open.join_next() => {
                was_cut(ended);
            }
            connection = listener.next() => {
                open.spawn(one(connection, speaks, terms, answers.clone(), stop.clone()));
            }
        }
    }
    // nobody comes to a port that is being left
    drop(listener);
    while let Some(ended) = open.join_next().await {
        n_cut += usize::from(was_cut(ended));
    }
    if n_cut > 0 {
        tracing::warn!(
            n_cut,
            "connections still had work under way near the end of server.drain_seconds, and were cut"
        );
    }
}

fn was_cut(ended: Result<bool, tokio::task::JoinError>) -> bool {
    ended.unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a connection panicked");
        false
    })
}

fn builder(speaks: Speaks, terms: Terms) -> Builder<Streams> {
    let mut builder = Builder::new(Streams);
    if speaks == Speaks::Http2 {
        builder = builder.http2_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(terms.head)
        .max_buf_size(HTTP1_BYTES)
        .max_headers(MAX_READ_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(seats::announced(terms.max_streams))
        .max_header_list_size(MAX_READ_BYTES as u32)
        .max_pending_accept_reset_streams(Some(MAX_RESETS.0))
        .max_local_error_reset_streams(Some(MAX_RESETS.1))
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_send_buf_size(SEND_BYTES)
        .keep_alive_interval(Some(KEEPALIVE.0))
        .keep_alive_timeout(KEEPALIVE.1);
    builder
}

/// Serves one connection; whether work under way was cut.
async fn one(
    connection: Connection,
    speaks: Speaks,
    terms: Terms,
    answers: impl Answers,
    stop: CancellationToken,
) -> bool {
    let (caller, found) = (connection.caller(), connection.found());
    let (builder, seats) = (builder(speaks, terms), Seats::new(terms.max_streams));
    let begun = Arc::new(AtomicBool::new(false));
    let service = service_fn(|mut request: Request<Incoming>| {
        begun.store(true, Ordering::Release);
        let version = request.version();
        let fault = head::check(&request, &found).err();
        // behind chunks nobody follows the lines, and behind a refused head nobody knows what follows
        let is_last =
            version < Version::HTTP_2 && (fault.is_some() || request.headers().contains_key(TRANSFER_ENCODING));
        // who is at the other end, for the auth layer and for what is counted
        request.extensions_mut().insert(caller.clone());
        let (answers, seats, id) = (answers.clone(), seats.clone(), RequestId::of(request.headers()));
        request.extensions_mut().insert(id);
        let answered = async move {
            let fault = match fault {
                // one request at a time has no streams
                None if version == Version::HTTP_2 => seats.take().await.err(),
                fault => fault,
            };
            let mut response = match fault {
                Some(fault) => answers.refuse(fault, id, request.headers()),
                None => answers.answer(request).await,
            };
            id.put(response.headers_mut());
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        };
        answered.instrument(id.span())
    });
    let mut serving = pin!(builder.serve_connection(TokioIo::new(connection), service));
    // where both are spoken no timeout is checked until it is known which
    let silent = async {
        sleep(terms.head).await;
        if speaks == Speaks::Http2 || begun.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
    };
    // so that connections of a restart do not all end together
    let age = terms.age.map(|age| age.mul_f64(rand::rng().random_range(0.9..=1.1)));
    let aged = async {
        match age {
            Some(age) => sleep(age).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // how a client's connection ends is the client's business
        _ = serving.as_mut() => return false,
        () = silent => return false,
        () = aged => {}
        () = stop.cancelled() => {}
    }
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        _ = serving => false,
        () = sleep(terms.grace) => true,
    }
}

/// Runs the streams of HTTP/2, each in a task that ends in its time.
#[derive(Clone)]
struct Streams;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams
where
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        tokio::spawn(streams::run(seats::run(stream)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Admission, Limits};
    use axum::body::Body;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::Instant,
    };

    /// Answers with so many bytes.
    #[derive(Clone)]
    struct Large(usize);

    impl Answers for Large {
        type Body = Body;

        async fn answer(self, _: Request<Incoming>) -> Response<Body> {
            Response::new(Body::from(vec![7; self.0]))
        }

        fn refuse(&self, _: Fault, _: RequestId, _: &HeaderMap) -> Response<Body> {
            Response::new(Body::empty())
        }
    }

    async fn connected(speaks: Speaks, terms: Terms, n_bytes: usize) -> TcpStream {
        let limits = Limits { max_connections: 9, max_per_address: 0, handshake: HEAD, write: Duration::from_secs(20) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::new(listener, None, speaks, &Admission::new(limits));
        tokio::spawn(serve(listener, terms, Large(n_bytes), CancellationToken::new()));
        TcpStream::connect(address).await.unwrap()
    }

    fn terms(age: Option<Duration>) -> Terms {
        Terms { max_streams: 1, age, grace: Duration::from_secs(3), head: Duration::from_secs(30) }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_its_answer_is_closed() {
        let mut stream = connected(Speaks::Http, terms(None), 64 << 20).await;
        let began = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: w\r\n\r\n").await.unwrap();
        // past the settings' twenty seconds, with time standing still while there is anything to do
        sleep(Duration::from_secs(25)).await;
        let mut taken = Vec::new();
        let _ = stream.read_to_end(&mut taken).await;
        assert!(taken.len() < 64 << 20, "{} bytes were kept for it", taken.len());
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_aged_connection_is_asked_to_come_again() {
        let mut stream = connected(Speaks::Http2, terms(Some(Duration::from_secs(10))), 1).await;
        let began = Instant::now();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        assert!(said.windows(4).any(|frame| frame == [8, 7, 0, 0]), "no GOAWAY without a complaint: {said:?}");
        assert!((9.0..=14.1).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_answer_is_not_taken_ends_in_time() {
        let end = Instant::now() + Duration::from_secs(5);
        assert_eq!(ended(async move { streams::end_stream_at(end) }).await, end);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_a_while_after_its_rpc_had_to_be_answered() {
        let settings = guard::methods::Settings { batch_bytes: 1 << 20, idle: HEAD, open_calls_per_address: 0 };
        let rpcs = tonic::service::Routes::from(axum::Router::new().fallback(async || "at once"));
        let rpcs = guard::methods::Methods::new(&settings, CancellationToken::new()).before(rpcs);
        for (rpc, seconds) in [("wardline.registry.v1.RegistryService/GetUser", 20), ("grpc.health.v1.Health/Check", 5)]
        {
            let (mut rpcs, began) = (rpcs.clone(), Instant::now());
            let request = Request::post(format!("/{rpc}")).body(Body::empty()).unwrap();
            let end = ended(async move {
                let _ = tonic::codegen::Service::call(&mut rpcs, request).await;
            });
            assert_eq!(end.await - began, Duration::from_secs(seconds) + streams::TAKEN_WITHIN, "{rpc}");
        }
    }

    /// When a stream ends that does something, and whose answer nobody takes then.
    async fn ended(something: impl Future<Output = ()> + Send + 'static) -> Instant {
        struct Gone(Option<tokio::sync::oneshot::Sender<Instant>>);
        impl Drop for Gone {
            fn drop(&mut self) {
                let _ = self.0.take().map(|tell| tell.send(Instant::now()));
            }
        }
        let (tell, told) = tokio::sync::oneshot::channel();
        let gone = Gone(Some(tell));
        Streams.execute(async move {
            let _gone = gone;
            something.await;
            std::future::pending::<()>().await;
        });
        tokio::time::timeout(Duration::from_secs(86_400), told).await.expect("it has no end").unwrap()
    }
}
