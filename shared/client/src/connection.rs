//! The way to a node, or to one of several: it connects, puts the token beside each call, and goes to the next one when one
//! does not answer.

use crate::{
    Error, Tokens,
    retry::{NoToken, NotSent},
};
use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::Mutex, time::timeout};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{BoxFuture, Service, StdError, http},
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

/// How long connecting to one node may take, its TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often in a row what answers must speak something else than HTTP/2 until it is no node whose connection was damaged.
const GARBLED_MAX: u32 = 3;

/// The way to a node, or to one of several. Cloning it is cheap; clones share what is connected.
///
/// Every generated client takes one: `RegistryServiceClient::new(connection)`. With several endpoints the first that answers is
/// used, until a call finds it gone or it says `UNAVAILABLE`; the next call then goes to the next one. A call that has failed is
/// not repeated here: see [`crate::call`].
#[derive(Clone)]
pub struct Connection {
    to: To,
    tokens: Option<Tokens>,
    /// How many of the last calls in a row came upon something else than HTTP/2.
    n_garbled: Arc<AtomicU32>,
}

#[derive(Clone)]
enum To {
    Channel(Channel),
    One(Arc<One>),
    Several(Arc<Several>),
}

/// Connects at the first call, and again when it must.
struct One {
    uri: String,
    endpoint: Endpoint,
    channel: OnceLock<Channel>,
}

struct Several {
    endpoints: Vec<(String, Endpoint)>,
    live: Mutex<Live>,
}

/// Which endpoint is used, and what is connected to it.
#[derive(Default)]
struct Live {
    at: usize,
    channel: Option<Channel>,
    /// Counts the connections: who finds one gone must not end the next one.
    number: u64,
}

impl Connection {
    pub(crate) fn new(mut endpoints: Vec<(String, Endpoint)>) -> Self {
        let to = match (endpoints.pop(), endpoints.is_empty()) {
            (Some((uri, endpoint)), true) => To::One(Arc::new(One { uri, endpoint, channel: OnceLock::new() })),
            (last, _) => {
                endpoints.extend(last);
                To::Several(Arc::new(Several { endpoints, live: Mutex::default() }))
            }
        };
        Self { to, tokens: None, n_garbled: Arc::default() }
    }

    /// Puts a token beside each call that has none. It is asked for at each call, so that it may be a new one each time.
    #[must_use]
    pub fn with_tokens(self, tokens: Tokens) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// Connects now, so that it is known whether anybody is there.
    ///
    /// # Errors
    /// [`Error::NoAnswer`] of the last endpoint, when none answers.
    pub async fn ready(&self) -> Result<(), Error> {
        match &self.to {
            To::Channel(_) => Ok(()),
            To::One(one) if one.channel.get().is_some() => Ok(()),
            To::One(one) => {
                let channel = connect(&one.uri, &one.endpoint).await?;
                // another may have been faster: then that one is used
                let _ = one.channel.set(channel);
                Ok(())
            }
            To::Several(several) => several.channel().await.map(drop),
        }
    }

    /// Calls, with the token that the request has got.
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, StdError> {
        match &self.to {
            To::Channel(channel) => forward(channel.clone(), request).await,
            To::One(one) => forward(one.channel.get_or_init(|| one.endpoint.connect_lazy()).clone(), request).await,
            To::Several(several) => {
                let (channel, number) = several.channel().await.map_err(unavailable)?;
                let answer = forward(channel, request).await;
                let is_away = match &answer {
                    Ok(response) => {
                        is_foreign(response)
                            || Status::from_header_map(response.headers())
                                .is_some_and(|status| status.code() == Code::Unavailable)
                    }
                    Err(_) => true,
                };
                if is_away {
                    several.leave(number).await;
                }
                answer
            }
        }
    }

    /// Counts what is no HTTP/2; whether it is so again and again.
    fn is_garbled<T>(&self, answer: &Result<T, StdError>) -> bool {
        match answer {
            Err(error) if is_no_http2(&**error) => self.n_garbled.fetch_add(1, Ordering::Relaxed) + 1 >= GARBLED_MAX,
            Err(_) => false,
            Ok(_) => {
                self.n_garbled.store(0, Ordering::Relaxed);
                false
            }
        }
    }

    /// What a call comes to that was answered with this status, or by no HTTP/2, by something that does not speak gRPC.
    fn not_grpc(&self, status: Option<http::StatusCode>) -> Status {
        let uris = self.uris();
        let uri = if uris.is_empty() { "the channel's address".to_owned() } else { uris.join(", ") };
        let error = Error::NotGrpc { uri, status: status.as_ref().map(http::StatusCode::as_u16) };
        // who checks tokens before a node may take a new one
        let code = if status == Some(http::StatusCode::UNAUTHORIZED) { Code::Unauthenticated } else { Code::Unknown };
        let mut status = Status::new(code, error.to_string());
        status.set_source(Arc::new(error));
        status
    }

    fn uris(&self) -> Vec<&str> {
        match &self.to {
            To::Channel(_) => Vec::new(),
            To::One(one) => vec![one.uri.as_str()],
            To::Several(several) => several.endpoints.iter().map(|(uri, _)| uri.as_str()).collect(),
        }
    }
}

/// Whether an answer is none of gRPC, and another attempt would bring no other. Who stands before nodes and has none to ask, or is
/// asked too much, answers for itself (408, 425, 429, 5xx): that passes, and is tried again.
fn is_foreign(response: &http::Response<Body>) -> bool {
    let (status, headers) = (response.status(), response.headers());
    let is_grpc = headers.contains_key("grpc-status")
        || match headers.get(http::header::CONTENT_TYPE) {
            Some(kind) => kind.as_bytes().starts_with(b"application/grpc"),
            // cut short, perhaps
            None => status.is_success(),
        };
    !is_grpc && !status.is_server_error() && !matches!(status.as_u16(), 408 | 425 | 429)
}

/// Whether our side ended the connection because of what came on it.
fn is_no_http2(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<h2::Error>().is_some_and(|error| error.is_go_away() && error.is_library()) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Several {
    /// What is connected, and its number; connects to the first that answers, from the one that was used last on.
    async fn channel(&self) -> Result<(Channel, u64), Error> {
        let mut live = self.live.lock().await;
        let mut last = None;
        for _ in &self.endpoints {
            if let Some(channel) = &live.channel {
                return Ok((channel.clone(), live.number));
            }
            let (uri, endpoint) = &self.endpoints[live.at];
            match connect(uri, endpoint).await {
                Ok(channel) => {
                    live.number += 1;
                    live.channel = Some(channel.clone());
                    return Ok((channel, live.number));
                }
                Err(error) => {
                    tracing::debug!(uri, "no answer; the next endpoint is tried");
                    last = Some(error);
                    live.at = (live.at + 1) % self.endpoints.len();
                }
            }
        }
        Err(last.unwrap_or(Error::NoEndpoint))
    }

    /// The next call goes to the next endpoint.
    async fn leave(&self, number: u64) {
        let mut live = self.live.lock().await;
        if live.number == number && live.channel.take().is_some() {
            live.at = (live.at + 1) % self.endpoints.len();
        }
    }
}

async fn connect(uri: &str, endpoint: &Endpoint) -> Result<Channel, Error> {
    let no_answer = |cause: StdError| Error::NoAnswer { uri: uri.to_owned(), cause: Arc::from(cause) };
    match timeout(CONNECT_TIMEOUT, endpoint.connect()).await {
        Ok(connected) => connected.map_err(|cause| no_answer(cause.into())),
        Err(elapsed) => Err(no_answer(elapsed.into())),
    }
}

/// As the transport says it when it cannot connect.
fn unavailable(error: Error) -> StdError {
    let mut status = Status::unavailable(error.to_string());
    status.set_source(Arc::new(NotSent(error)));
    status.into()
}

/// The value of the `authorization` header.
pub(crate) fn bearer(token: &str) -> Result<MetadataValue<tonic::metadata::Ascii>, Status> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Status::invalid_argument("the token has characters that a header cannot carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn forward(mut channel: Channel, request: http::Request<Body>) -> Result<http::Response<Body>, StdError> {
    poll_fn(|context| channel.poll_ready(context)).await?;
    Ok(channel.call(request).await?)
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move {
            if let Some(tokens) = &connection.tokens
                && !request.headers().contains_key(http::header::AUTHORIZATION)
            {
                let token = tokens().map_err(no_token)?;
                let value = bearer(&token)?.as_bytes().try_into()?;
                request.headers_mut().insert(http::header::AUTHORIZATION, value);
            }
            let answer = connection.send(request).await;
            if connection.is_garbled(&answer) {
                return Err(connection.not_grpc(None).into());
            }
            let answer = answer?;
            if is_foreign(&answer) {
                return Err(connection.not_grpc(Some(answer.status())).into());
            }
            Ok(answer)
        })
    }
}

fn no_token(error: crate::BoxError) -> Status {
    let mut status = Status::unauthenticated(format!("no token: {error}"));
    status.set_source(Arc::new(NoToken(Arc::from(error))));
    status
}

impl From<Channel> for Connection {
    fn from(channel: Channel) -> Self {
        Self { to: To::Channel(channel), tokens: None, n_garbled: Arc::default() }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.uris()).finish()
    }
}
