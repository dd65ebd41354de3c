//! A node in a process of its own: the same binary as this one. And a server that does nothing but gRPC.

use super::workspace::Workspace;
use anyhow::{Context, bail};
use futures::{Stream, StreamExt};
use node::{config::Config, run};
use proto::{
    in_place::{
        Received,
        ingest_service_server::{IngestService, IngestServiceServer},
    },
    salvage::ReceivedWrite,
    telemetry::v1::{
        Ack, GetLastStreamRequest, GetLastStreamResponse, Limits, Opened, StreamReadingsResponse,
        WriteReadingsResponse, stream_readings_response::Message as Out,
    },
};
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};

/// A node that reads a full log back may take a while.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// `server.drain_seconds` and a little more.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
/// Between two questions whether it is ready.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A running node; killed when dropped.
pub(super) struct Server {
    child: Child,
    pub(super) pid: u32,
    /// URI for clients.
    pub(super) endpoint: String,
    http: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts `wardline run` with the services named (`ingest`, `writer`, `query`; none means all); returns when it
    /// takes work.
    pub(super) async fn start(place: &Workspace, services: &[&str]) -> anyhow::Result<Self> {
        Self::start_as(&std::env::current_exe()?, place, services).await
    }

    /// The same of another program.
    pub(super) async fn start_as(program: &Path, place: &Workspace, services: &[&str]) -> anyhow::Result<Self> {
        let (grpc, http) = (free_address()?, free_address()?);
        let log = place.dir.join(format!("server-{}.log", grpc.port()));
        let mut command = Command::new(program);
        command.arg("run");
        command.args(services.iter().flat_map(|service| ["--service", service]));
        let listeners = [grpc, http].map(|at| at.to_string());
        let listeners = [("grpc", &*listeners[0]), ("http", &*listeners[1]), ("api", "")];
        let listeners = listeners.map(|(name, at)| format!("server.{name}_listen={at}"));
        command.args(place.flags.iter().chain(&listeners).flat_map(|flag| ["--set", flag]));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WARDLINE__")) {
            // what is measured is what the flags say
            command.env_remove(name);
        }
        // the demo's tokens go to standard output
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?).kill_on_drop(true);
        let child = command.spawn().context("a node of this binary")?;
        let pid = child.id().context("the node has ended")?;
        let mut server = Self { child, pid, endpoint: format!("http://{grpc}"), http, log };
        let until = Instant::now() + READY_WITHIN;
        while server.get("/ready").await.is_none_or(|text| !text.starts_with("HTTP/1.1 200")) {
            let ended = server.child.try_wait()?;
            if ended.is_some() || Instant::now() > until {
                let said = std::fs::read_to_string(&server.log).unwrap_or_default();
                let last: Vec<_> = said.lines().rev().take(3).collect();
                bail!("the node did not start: {}", last.join(" / "));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Ok(server)
    }

    /// The value of a counter or gauge without labels; 0 when it is not there yet.
    pub(super) async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.get("/metrics").await.context("the node's internal port does not answer")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0) as u64)
    }

    /// Waits until the writer has made so many records durable; fails when it makes no progress for a minute.
    pub(super) async fn persisted(&self, n_records: u64) -> anyhow::Result<()> {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let now = self.metric("wardline_writer_records_total").await?;
            if now >= n_records {
                return Ok(());
            }
            if now > last {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() > READY_WITHIN {
                bail!("the writer stands still at {now} of {n_records} records");
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Asks the node to stop and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let asked = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.pid)]).status().await;
        if asked.is_ok_and(|status| status.success())
            && tokio::time::timeout(STOPPED_WITHIN, self.child.wait()).await.is_ok()
        {
            return Ok(());
        }
        self.child.kill().await.context("the node could not be stopped")
    }

    /// The whole answer, head and body.
    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    }
}

/// Answers each message of a stream with an `Ack`, and decodes none: what gRPC alone can do here.
pub(super) struct Unread {
    serving: JoinHandle<()>,
    /// URI for clients.
    pub(super) endpoint: String,
}

impl Unread {
    /// Serves in this process, as a node does.
    pub(super) async fn start(limits: Limits, config: &Config) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let routes = Routes::new(IngestServiceServer::new(Answering(limits)));
        let serving = tokio::spawn(run::serve_alone(listener, routes, config, CancellationToken::new()));
        Ok(Self { serving, endpoint })
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Answering(Limits);

#[tonic::async_trait]
impl IngestService for Answering {
    type StreamReadingsStream = Pin<Box<dyn Stream<Item = Result<StreamReadingsResponse, Status>> + Send>>;

    async fn stream_readings(
        &self,
        request: Request<Streaming<Received>>,
    ) -> Result<Response<Self::StreamReadingsStream>, Status> {
        let limits = self.0;
        // `Open` first, then batches 1, 2, 3 ...
        let answers = request.into_inner().zip(futures::stream::iter(0u64..)).map(move |(received, through)| {
            received?;
            let message = match through {
                0 => Out::Opened(Opened { last_durable: 0, limits: Some(limits) }),
                _ => Out::Ack(Ack { through, ..Default::default() }),
            };
            Ok(StreamReadingsResponse { message: Some(message) })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn write_readings(&self, _: Request<ReceivedWrite>) -> Result<Response<WriteReadingsResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }

    async fn get_last_stream(
        &self,
        _: Request<GetLastStreamRequest>,
    ) -> Result<Response<GetLastStreamResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }
}

/// A port of loopback that was free just now.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}
