//! The other caller: a doctor who reads the newest readings and devices that write, by gRPC and as JSON, at a steady
//! pace, whatever is done to the node meanwhile.
//!
//! Each request has a time at which it is due, and its latency is counted from then: a node that stands still for a second
//! makes all requests of that second late, not one (no coordinated omission). It runs on a thread of its own, so that it
//! does not wait for the attacker's work.

use super::world::{World, read_patient, well_behaved};
use crate::{Bed, builders, figures::quantile, http, with_token};
use anyhow::ensure;
use guard::clock;
use proto::telemetry::v1::{
    LatestReadingsRequest, ingest_service_client::IngestServiceClient, timeline_service_client::TimelineServiceClient,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// Complaints that are kept in full.
const COMPLAINTS_MAX: usize = 5;
/// Readings of a batch.
const BATCH: usize = 10;

/// Rate and patience of the other caller.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Requests a second, of all kinds together.
    pub rate_hz: f64,
    /// When a request counts as failed.
    pub patience: Duration,
}

/// What the other caller saw.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Seen {
    /// Requests that were due.
    pub requests: u64,
    /// Of them, refused, failed or not answered in time.
    pub failed: u64,
    /// Milliseconds from when they were due to when they were answered: half of them, 99 of a hundred, all.
    pub p50_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// Maximum, in milliseconds.
    pub most_ms: f64,
    /// What the first failures said.
    pub complaints: Vec<String>,
}

/// Everything it needs, cheap to clone.
#[derive(Clone)]
struct Caller {
    grpc: SocketAddr,
    api: SocketAddr,
    channel: Channel,
    doctor: Arc<str>,
    beds: [(Bed, Arc<str>); 2],
}

/// A caller of a node, who has not begun.
pub struct OtherCaller {
    caller: Caller,
    pace: Pace,
}

impl OtherCaller {
    /// With tokens of its own.
    ///
    /// # Errors
    /// A token cannot be signed.
    pub fn new(world: &World, grpc: SocketAddr, api: SocketAddr, pace: Pace) -> anyhow::Result<Self> {
        let bed = |number| {
            let bed = well_behaved(number);
            anyhow::Ok((bed, world.device(bed.device)?.into()))
        };
        let channel = Endpoint::from_shared(format!("http://{grpc}"))?.connect_lazy();
        let doctor = world.person("doctor")?.into();
        Ok(Self { caller: Caller { grpc, api, channel, doctor, beds: [bed(0)?, bed(1)?] }, pace })
    }

    /// Calls until `stop`, then waits for what is under way.
    pub async fn run(self, stop: CancellationToken) -> Seen {
        let latencies = Arc::new(Mutex::new(Vec::new()));
        let (begun, mut calls) = (Instant::now(), JoinSet::new());
        let mut seen = Seen::default();
        for number in 0.. {
            let due = begun + Duration::from_secs_f64(number as f64 / self.pace.rate_hz);
            if stop.run_until_cancelled(sleep_until(due)).await.is_none() {
                break;
            }
            let (caller, patience, latencies) = (self.caller.clone(), self.pace.patience, Arc::clone(&latencies));
            seen.requests += 1;
            calls.spawn(async move {
                let called = timeout(patience, caller.call(number)).await;
                let latency = due.elapsed().as_secs_f64() * 1e3;
                latencies.lock().unwrap_or_else(PoisonError::into_inner).push(latency);
                let kind = KINDS[number as usize % KINDS.len()];
                match called {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(format!("{kind}: {error:#}")),
                    Err(_) => Err(format!("{kind}: no answer within {patience:?}")),
                }
            });
        }
        while let Some(called) = calls.join_next().await {
            let complaint = called.unwrap_or_else(|panic| Err(panic.to_string())).err();
            seen.failed += u64::from(complaint.is_some());
            seen.complaints.extend(complaint.filter(|_| seen.complaints.len() < COMPLAINTS_MAX));
        }
        let mut latencies = std::mem::take(&mut *latencies.lock().unwrap_or_else(PoisonError::into_inner));
        latencies.sort_by(f64::total_cmp);
        [seen.p50_ms, seen.p99_ms, seen.most_ms] = [0.5, 0.99, 1.0].map(|share| quantile(&latencies, share));
        seen
    }

    /// One request of each kind: whether the node serves.
    ///
    /// # Errors
    /// The node does not answer in time, or not as it should.
    pub async fn once(&self) -> anyhow::Result<()> {
        for number in 0..KINDS.len() as u64 {
            // numbers that a run never comes to: each batch has its own
            let called = timeout(self.pace.patience, self.caller.call(u64::from(u32::MAX) * 4 + number)).await;
            called.map_err(|_| anyhow::anyhow!("no answer within {:?}", self.pace.patience))??;
        }
        Ok(())
    }
}

/// What is called, in turns.
const KINDS: [&str; 4] = ["latest by gRPC", "latest as JSON", "a batch by gRPC", "a batch as JSON"];

impl Caller {
    async fn call(&self, number: u64) -> anyhow::Result<()> {
        match number % KINDS.len() as u64 {
            0 => self.latest().await,
            1 => self.latest_as_json().await,
            2 => self.write(number).await,
            _ => self.write_as_json(number).await,
        }
    }

    /// On a connection that stays.
    async fn latest(&self) -> anyhow::Result<()> {
        let request =
            LatestReadingsRequest { patient_id: read_patient().uuid().to_string(), ..LatestReadingsRequest::default() };
        let mut client = TimelineServiceClient::new(self.channel.clone());
        client.latest_readings(with_token(request, &self.doctor)?).await?;
        Ok(())
    }

    /// On a new connection.
    async fn latest_as_json(&self) -> anyhow::Result<()> {
        let path = format!("/v1/patients/{}/latest", read_patient().uuid());
        let authorization = format!("Bearer {}", self.doctor);
        let answer = http::ask(self.api, "GET", &path, &[("authorization", &authorization)], "").await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        Ok(())
    }

    /// On a new connection.
    async fn write(&self, number: u64) -> anyhow::Result<()> {
        let (bed, token) = &self.beds[0];
        let now = clock::now();
        let readings = (0..BATCH).map(|index| builders::pulse(60.0 + index as f64, now)).collect();
        let channel = Endpoint::from_shared(format!("http://{}", self.grpc))?.connect().await?;
        let request = with_token(builders::write(bed, number + 1, readings), token)?;
        let taken = IngestServiceClient::new(channel).write_readings(request).await?.into_inner();
        ensure!(taken.accepted_readings == BATCH as u64, "{} readings refused", taken.refused.len());
        Ok(())
    }

    /// On a new connection.
    async fn write_as_json(&self, number: u64) -> anyhow::Result<()> {
        let (bed, token) = &self.beds[1];
        let at = jiff::Timestamp::from_nanosecond(i128::from(clock::now().0))?;
        let reading =
            serde_json::json!({"metric": "8867-4", "unit": "bpm", "number": 60, "measuredAt": at.to_string()});
        let body = serde_json::json!({
            "streamId": bed.stream.uuid().to_string(),
            "sequence": (number + 1).to_string(),
            "readings": [reading],
        });
        let path = format!("/v1/devices/{}/readings", bed.device.uuid());
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let answer = http::ask(self.api, "POST", &path, &headers, &body.to_string()).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        ensure!(answer.json()?["accepted_readings"] == "1", "refused: {}", answer.body);
        Ok(())
    }
}
