//! A log whose receipts are given out by the test, and the ingest service in front of any log.

use crate::wait::until;
use async_trait::async_trait;
use bus::{Error, Outgoing, Publish, Receipt};
use ingest::{Ingest, Last, Limits, Positions, Stored, Unknown};
use model::{
    DeviceId, Nanos, StreamId,
    access::{Permission, Principal, Subject},
};
use proto::{problem, telemetry::v1::ingest_service_client::IngestServiceClient};
use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

/// A log that keeps everything and says that it is durable only when told to.
#[derive(Default)]
pub struct HeldLog {
    state: Mutex<Held>,
    crowded: AtomicBool,
}

#[derive(Default)]
struct Held {
    records: Vec<Outgoing>,
    waiting: VecDeque<oneshot::Sender<Result<(), Error>>>,
}

impl HeldLog {
    fn state(&self) -> std::sync::MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything published so far.
    pub fn records(&self) -> Vec<Outgoing> {
        self.state().records.clone()
    }

    /// Waits until so many records have been published.
    pub async fn holds(&self, n_records: usize) -> anyhow::Result<()> {
        until("records in the log", async || Ok(self.state().records.len()), |n| *n >= n_records).await.map(drop)
    }

    /// Makes the oldest `n` records durable.
    pub fn release(&self, n: usize) {
        for receipt in self.take(n) {
            // a caller that is gone does not hear it
            let _ = receipt.send(Ok(()));
        }
    }

    /// Loses the oldest `n` records.
    pub fn fail(&self, n: usize, why: fn() -> Error) {
        for receipt in self.take(n) {
            let _ = receipt.send(Err(why()));
        }
    }

    /// Says whether there is room.
    pub fn crowd(&self, crowded: bool) {
        self.crowded.store(crowded, Ordering::SeqCst);
    }

    fn take(&self, n: usize) -> Vec<oneshot::Sender<Result<(), Error>>> {
        let mut state = self.state();
        let n = n.min(state.waiting.len());
        state.waiting.drain(..n).collect()
    }
}

#[async_trait]
impl Publish for HeldLog {
    async fn publish(&self, record: Outgoing) -> Result<Receipt, Error> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.records.push(record);
        state.waiting.push_back(sender);
        Ok(Box::pin(async move { receiver.await.unwrap_or_else(|gone| Err(Error::Unavailable(Box::new(gone)))) }))
    }

    fn has_room(&self) -> bool {
        !self.crowded.load(Ordering::SeqCst)
    }

    async fn flush(&self, _: Duration) -> Result<(), Error> {
        Ok(())
    }

    fn fatal(&self) -> Option<String> {
        None
    }
}

/// A log on a full disk.
pub struct Full;

#[async_trait]
impl Publish for Full {
    async fn publish(&self, _: Outgoing) -> Result<Receipt, Error> {
        Ok(Box::pin(async { Err(Error::NoSpace("the test says so".into())) }))
    }

    fn has_room(&self) -> bool {
        true
    }

    async fn flush(&self, _: Duration) -> Result<(), Error> {
        Ok(())
    }

    fn fatal(&self) -> Option<String> {
        None
    }
}

/// Knows nothing of earlier processes.
struct NoPositions;

#[async_trait]
impl Positions for NoPositions {
    async fn stored(&self, _: DeviceId, _: StreamId) -> Stored {
        Stored::default()
    }

    async fn digests(&self, _: DeviceId, _: StreamId, _: u64) -> Vec<u64> {
        Vec::new()
    }

    async fn last(&self, _: DeviceId) -> Result<Option<Last>, Unknown> {
        Ok(None)
    }
}

/// The ingest service itself, in front of a log of the test's choice. `directory` is a folder of directory files.
pub fn ingest(
    log: Arc<dyn Publish>,
    directory: &Path,
    limits: Limits,
    drain: CancellationToken,
) -> anyhow::Result<Ingest> {
    let directory = directory::LiveDirectory::open(directory)?;
    Ok(Ingest::new(log, directory, Arc::new(NoPositions), limits, guard::clock::now, drain))
}

/// The ingest service on a port of its own, in front of a log of the test's choice. The token is the device's id.
pub struct Front {
    endpoint: String,
    /// Cancel it to drain.
    pub drain: CancellationToken,
    serving: JoinHandle<()>,
}

impl Front {
    /// Serves until dropped. `directory` is a folder of directory files.
    pub async fn serve(log: Arc<dyn Publish>, directory: &Path, limits: Limits) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let drain = CancellationToken::new();
        let ingest = ingest(log, directory, limits, drain.clone())?;
        let service = InterceptedService::new(ingest.service(), believe);
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        let serving = tokio::spawn(async move { drop(serving.await) });
        Ok(Self { endpoint, drain, serving })
    }

    /// A client on a connection of its own.
    pub async fn client(&self) -> anyhow::Result<IngestServiceClient<Channel>> {
        Ok(IngestServiceClient::new(Endpoint::from_shared(self.endpoint.clone())?.connect().await?))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn believe(mut request: Request<()>) -> Result<Request<()>, Status> {
    let device = problem::bearer(request.metadata()).and_then(|id| id.parse().ok());
    let device = device.ok_or_else(|| Status::unauthenticated("the token is the device's id"))?;
    let principal = Principal::everywhere(Subject::Device(device), &[Permission::WriteReadings], Nanos::MAX);
    request.extensions_mut().insert(principal);
    Ok(request)
}
