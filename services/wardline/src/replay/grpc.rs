//! Streams over the public gRPC API, as devices open them.

use super::{
    Target,
    send::{Connect, Outlet},
    state::Progress,
};
use crate::{demo_ward::Bed, device_tokens::DeviceTokens};
use anyhow::{Context, Result};
use async_trait::async_trait;
use client::{Connection, Sender, Stream, Writer};
use model::{DeviceId, StreamId};
use proto::telemetry::v1::{ClockQuality, Reading};
use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Streams of one connection: a server allows some hundred, and one connection keeps one core busy.
const STREAMS_PER_CONNECTION: usize = 16;
/// How long the answers to what was sent may take: a server that restarts is back long before.
const CLOSE_PATIENCE: Duration = Duration::from_secs(120);
/// How long one batch may be sent again.
const REPEAT_PATIENCE: Duration = Duration::from_secs(120);

/// The server, and the devices' tokens once they are in service.
pub struct Grpc {
    target: Target,
    connections: Vec<Connection>,
    next: AtomicUsize,
    tokens: OnceLock<DeviceTokens>,
}

impl Grpc {
    /// Opens channels that connect at their first use.
    pub fn new(target: &Target, devices_in_flight: usize) -> Result<Self> {
        let n = devices_in_flight.div_ceil(STREAMS_PER_CONNECTION).max(1);
        let endpoint = &target.endpoint;
        let connections: Result<_, _> = (0..n).map(|_| endpoint.connection()).collect();
        let connections =
            connections.with_context(|| format!("{endpoint} is no address such as http://127.0.0.1:7300"))?;
        Ok(Self { target: target.clone(), connections, next: AtomicUsize::new(0), tokens: OnceLock::new() })
    }
}

#[async_trait]
impl Connect for Grpc {
    async fn admit(&self, beds: &[Bed]) -> Result<()> {
        let tokens = self.target.admit(beds).await?;
        // of a second time those of the first are as good
        self.tokens.get_or_init(|| tokens);
        Ok(())
    }

    async fn open(&self, device: DeviceId, stream: StreamId, resume_after: u64) -> Result<Box<dyn Outlet>> {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let connection = &self.connections[place];
        let tokens = self.tokens.get().context("the devices are not in service")?.of(device);
        // times were shifted by us, and are exact
        let stream =
            Stream { device: device.uuid(), stream: stream.uuid(), resume_after, clock: ClockQuality::Synchronized };
        let opened = Sender::open(connection.clone(), tokens.clone(), stream.clone()).await;
        let sender = opened.context("a device's stream could not be opened")?.with_patience(self.target.patience);
        Ok(Box::new(Open { sender, writer: Writer::new(connection.clone(), tokens, stream) }))
    }
}

struct Open {
    sender: Sender,
    writer: Writer,
}

#[async_trait]
impl Outlet for Open {
    fn last_durable(&self) -> u64 {
        self.sender.last_durable()
    }

    async fn send(&self, sequence: u64, readings: Vec<Reading>) -> Result<()> {
        self.sender.send(sequence, readings).await.context("a device could not go on sending")
    }

    /// In the unary form: a stream's cumulative acknowledgements say nothing about a batch that is durable already.
    async fn repeat(&self, sequence: u64, readings: Vec<Reading>) -> Result<Progress> {
        let n_readings = readings.len() as u64;
        let answer = self.writer.write(sequence, readings, REPEAT_PATIENCE).await;
        let answer = answer.context("a batch could not be sent again")?;
        let mut refused = BTreeMap::new();
        for refusal in answer.refused {
            let count = if refusal.index.is_some() { 1 } else { n_readings };
            *refused.entry(refusal.reason).or_default() += count;
        }
        if answer.refused_more > 0 {
            *refused.entry(client::NOT_NAMED.to_owned()).or_default() += answer.refused_more;
        }
        Ok(Progress {
            through: sequence,
            accepted: answer.accepted_readings,
            duplicate: answer.duplicate_readings,
            refused,
        })
    }

    fn progress(&self) -> Progress {
        counts(self.sender.progress())
    }

    async fn close(self: Box<Self>) -> Result<Progress> {
        let closed = self.sender.close(CLOSE_PATIENCE).await;
        Ok(counts(closed.context("the server did not answer to all that a device has sent")?))
    }
}

fn counts(progress: client::Progress) -> Progress {
    let client::Progress { through, accepted, duplicate, refused, .. } = progress;
    Progress { through, accepted, duplicate, refused }
}
