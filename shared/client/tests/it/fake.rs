//! A server that behaves as badly as a test says, and a wire that can be cut.

use futures::Stream;
use proto::telemetry::v1::{
    Ack, Draining, GetLastStreamRequest, GetLastStreamResponse, Limits, Opened, Reading, Refusal,
    StreamReadingsRequest, StreamReadingsResponse, Throttle, WriteReadingsRequest, WriteReadingsResponse,
    ingest_service_server::{IngestService, IngestServiceServer},
    stream_readings_request::Message as Received,
    stream_readings_response::Message,
};
use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::{Server, server::TcpIncoming},
};

/// What the server does about a batch.
pub enum Do {
    /// Keep it and say so.
    Ack,
    /// Keep it and say nothing.
    Keep,
    /// Keep it, lose the `Ack` and the stream.
    LoseAck(Status),
    /// Lose it and the stream.
    Lose(Status),
    /// Keep all but these readings.
    Refuse(Vec<u32>, &'static str),
    /// Take nothing of it.
    RefuseWhole(&'static str),
    /// Keep it, change the credits.
    Throttle(u64, u32),
    /// Say that the end is near, keep it, acknowledge nothing until the client has half-closed or `n` more are in.
    Drain(u64),
}

/// What the server has seen.
#[derive(Default)]
pub struct Seen {
    /// `Open.resume_after` of each connection.
    pub opens: Vec<u64>,
    /// Tokens, one a call.
    pub tokens: Vec<String>,
    /// Sequences in the order of arrival, repetitions included.
    pub arrived: Vec<u64>,
    /// What is durable: (sequence, readings), in the order of keeping.
    pub kept: Vec<(u64, usize)>,
    /// Streams that the client has half-closed.
    pub n_half_closed: usize,
}

impl Seen {
    fn through(&self) -> u64 {
        self.kept.last().map_or(0, |(sequence, _)| *sequence)
    }
}

pub type Script = Arc<dyn Fn(&Seen, u64) -> Do + Send + Sync>;
pub type Admits = Arc<dyn Fn(&Seen) -> Result<(), Status> + Send + Sync>;

/// The server. Refused batches move its `through` as kept ones do.
#[derive(Clone)]
pub struct Fake {
    pub seen: Arc<Mutex<Seen>>,
    pub arrived: watch::Sender<usize>,
    pub script: Script,
    pub admits: Admits,
    pub max_in_flight: u32,
    /// 0: no limit is told.
    pub max_message_bytes: u32,
}

/// Serves rpcs on a free port, for as long as the test runs.
pub async fn serve<S>(service: S) -> SocketAddr
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // without it small Acks wait for the client's delayed TCP acknowledgement, 40 ms
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    address
}

impl Fake {
    pub fn new(script: impl Fn(&Seen, u64) -> Do + Send + Sync + 'static) -> Self {
        Self {
            seen: Arc::default(),
            arrived: watch::Sender::new(0),
            script: Arc::new(script),
            admits: Arc::new(|_| Ok(())),
            max_in_flight: 16,
            max_message_bytes: 0,
        }
    }

    /// Serves on a free port.
    pub async fn serve(&self) -> SocketAddr {
        serve(IngestServiceServer::new(self.clone())).await
    }

    /// Waits until so many batches have arrived.
    pub async fn wait_arrived(&self, n_batches: usize) {
        self.arrived.subscribe().wait_for(|n| *n >= n_batches).await.unwrap();
    }

    fn enter<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut seen = self.seen.lock().unwrap();
        seen.tokens.push(token.to_owned());
        (self.admits)(&seen)
    }

    /// The answers to one batch; an error ends the stream.
    fn take(&self, sequence: u64, readings: &[Reading], drained: &mut Option<u64>) -> Result<Vec<Message>, Status> {
        let mut seen = self.seen.lock().unwrap();
        let step = (self.script)(&seen, sequence);
        seen.arrived.push(sequence);
        let n_arrived = seen.arrived.len();
        let is_known = sequence <= seen.through();
        let keep = |seen: &mut Seen, n_refused: usize| {
            if !is_known {
                seen.kept.push((sequence, readings.len() - n_refused));
            }
            let duplicate_readings = if is_known { readings.len() as u64 } else { 0 };
            Ack { through: seen.through(), duplicate_readings, ..Default::default() }
        };
        let answer = match step {
            Do::Ack => Ok(vec![Message::Ack(keep(&mut seen, 0))]),
            Do::Keep => Ok(keep(&mut seen, 0)).map(|_| vec![]),
            Do::LoseAck(status) => Err(status).inspect_err(|_| drop(keep(&mut seen, 0))),
            Do::Lose(status) => Err(status),
            Do::Refuse(indexes, reason) => {
                let ack = keep(&mut seen, indexes.len());
                let refused = indexes.iter().map(|index| refusal(sequence, Some(*index), reason)).collect();
                Ok(vec![Message::Ack(Ack { refused, ..ack })])
            }
            Do::RefuseWhole(reason) => {
                let ack = Ack { through: seen.through(), ..Default::default() };
                Ok(vec![Message::Ack(Ack { refused: vec![refusal(sequence, None, reason)], ..ack })])
            }
            Do::Throttle(retry_after_ms, max_in_flight) => {
                let retry_after = Duration::from_millis(retry_after_ms).try_into().ok();
                let ack = keep(&mut seen, 0);
                Ok(vec![Message::Throttle(Throttle { retry_after, max_in_flight }), Message::Ack(ack)])
            }
            Do::Drain(n_more) => {
                keep(&mut seen, 0);
                *drained = Some(sequence + n_more);
                let reconnect_after = Duration::from_millis(1).try_into().ok();
                Ok(vec![Message::Draining(Draining { reconnect_after })])
            }
        };
        drop(seen);
        self.arrived.send_replace(n_arrived);
        answer
    }

    async fn converse(
        self,
        mut incoming: Streaming<StreamReadingsRequest>,
        out: mpsc::Sender<Result<StreamReadingsResponse, Status>>,
    ) {
        let say = async |message| out.send(Ok(StreamReadingsResponse { message: Some(message) })).await.is_ok();
        let mut drained = None;
        loop {
            match incoming.message().await.map(|message| message.and_then(|message| message.message)) {
                Ok(Some(Received::Open(open))) => {
                    self.seen.lock().unwrap().opens.push(open.resume_after);
                    let last_durable = self.seen.lock().unwrap().through().max(open.resume_after);
                    let Self { max_in_flight, max_message_bytes, .. } = self;
                    let limits = Limits { max_in_flight, max_message_bytes, ..Default::default() };
                    say(Message::Opened(Opened { last_durable, limits: Some(limits) })).await;
                }
                Ok(Some(Received::Batch(batch))) => {
                    match self.take(batch.sequence, &batch.readings, &mut drained) {
                        Ok(messages) => {
                            for message in messages {
                                say(message).await;
                            }
                        }
                        Err(status) => {
                            let _ = out.send(Err(status)).await;
                            return;
                        }
                    }
                    if drained.is_some_and(|last| batch.sequence >= last) {
                        let through = self.seen.lock().unwrap().through();
                        say(Message::Ack(Ack { through, ..Default::default() })).await;
                    }
                }
                Ok(None) => {
                    self.seen.lock().unwrap().n_half_closed += 1;
                    return;
                }
                Err(_) => return,
            }
        }
    }
}

fn refusal(sequence: u64, index: Option<u32>, reason: &str) -> Refusal {
    Refusal { sequence, index, reason: reason.to_owned(), ..Default::default() }
}

#[tonic::async_trait]
impl IngestService for Fake {
    type StreamReadingsStream = Pin<Box<dyn Stream<Item = Result<StreamReadingsResponse, Status>> + Send>>;

    async fn stream_readings(
        &self,
        request: Request<Streaming<StreamReadingsRequest>>,
    ) -> Result<Response<Self::StreamReadingsStream>, Status> {
        self.enter(&request)?;
        let (out, answers) = mpsc::channel(1_024);
        tokio::spawn(self.clone().converse(request.into_inner(), out));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn write_readings(
        &self,
        request: Request<WriteReadingsRequest>,
    ) -> Result<Response<WriteReadingsResponse>, Status> {
        self.enter(&request)?;
        let message = request.into_inner();
        self.take(message.sequence, &message.readings, &mut None)?;
        Ok(Response::new(WriteReadingsResponse {
            accepted_readings: message.readings.len() as u64,
            ..Default::default()
        }))
    }

    async fn get_last_stream(
        &self,
        request: Request<GetLastStreamRequest>,
    ) -> Result<Response<GetLastStreamResponse>, Status> {
        self.enter(&request)?;
        Err(Status::not_found("no stream of the device is known"))
    }
}

/// A wire in front of `server` that can be cut. Each `cut` ends every connection there is; [`GONE`] ends the listener, too.
pub async fn wire(server: SocketAddr) -> (SocketAddr, watch::Sender<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cut = watch::Sender::new(0_u64);
    let (cuts, mut gone) = (cut.clone(), cut.subscribe());
    tokio::spawn(async move {
        loop {
            let mut near = tokio::select! {
                Ok((near, _)) = listener.accept() => near,
                _ = gone.wait_for(|cut| *cut == GONE) => return,
            };
            let mut cut = cuts.subscribe();
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect(server).await else { return };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cut.changed() => {}
                }
            });
        }
    });
    (address, cut)
}

/// The cut after which nobody listens.
pub const GONE: u64 = u64::MAX;
