//! The sandbox of the integration suites: services in this process, on port 0, in a throw-away folder.
//!
//! Suites: `it` (embedded engines, no network beyond loopback) and, with the feature `live`, `live` (Kafka and a CQL
//! server; fails when they are not there).

pub mod audit_kill;
pub mod builders;
pub mod damage;
pub mod fakes;
mod figures;
pub mod hostile;
pub mod http;
pub mod issuer;
pub mod job_kill;
pub mod leakage;
pub mod line;
pub mod raw;
pub mod tls;
pub mod torture;
pub mod wait;

use anyhow::Context;
use auth::{DemoIssuer, demo_person};
use guard::request_id::HEADER;
use line::Line;
use model::{DeviceId, PatientId, StreamId};
use node::{
    config::{Config, Sources},
    run::Node,
    services,
    wiring::Service,
};
use proto::telemetry::v1::{
    Opened, Reading, StoredReading, WriteReadingsResponse, ingest_service_client::IngestServiceClient,
    timeline_service_client::TimelineServiceClient,
};
use std::{fmt::Write as _, fs, net::SocketAddr, path::PathBuf};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;
use wardline::demo;

/// The ward of the demo people and of every bed.
pub const WARD: &str = "icu";

/// A node with patients and devices of its own.
pub struct Sandbox {
    /// Folder with everything that the node keeps.
    pub dir: TempDir,
    flags: Vec<String>,
    services: Vec<Service>,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    waiting: JoinHandle<anyhow::Result<()>>,
    grpc: String,
    api: Option<SocketAddr>,
    http: String,
}

/// A device that is assigned to a patient.
#[derive(Debug, Clone, Copy)]
pub struct Bed {
    /// Id of the device.
    pub device: DeviceId,
    /// Whose readings it sends, at any time.
    pub patient: PatientId,
    /// A stream of its own.
    pub stream: StreamId,
}

impl Bed {
    /// Bed `number`: always the same ids.
    pub fn numbered(number: u32) -> Self {
        let id = |kind: u128| Uuid::from_u128(kind << 96 | 0x4000 << 64 | 0x8000 << 48 | u128::from(number));
        Self { device: DeviceId::new(id(1)), patient: PatientId::new(id(2)), stream: StreamId::new(id(3)) }
    }
}

impl Sandbox {
    /// All services on embedded engines, with beds 0 to `n_beds`.
    pub async fn start(n_beds: u32) -> anyhow::Result<Self> {
        Self::with(n_beds, &[], &services::ALL).await
    }

    /// The JSON API's document of what all services of a sandbox serve: those that only the binary has are not among them.
    pub fn document() -> anyhow::Result<String> {
        gateway::openapi::document_of(|process| services::ALL.iter().any(|service| service.name == process))
    }

    /// Some services, with settings (`section.key=value`).
    pub async fn with(n_beds: u32, flags: &[&str], services: &[Service]) -> anyhow::Result<Self> {
        let mut sandbox = Self {
            dir: tempfile::tempdir()?,
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            services: services.to_vec(),
            running: None,
        };
        demo::people(&sandbox.config()?.directory_dir())?;
        sandbox.write_beds("beds", &(0..n_beds).map(Bed::numbered).collect::<Vec<_>>())?;
        sandbox.run().await?;
        Ok(sandbox)
    }

    /// Writes a directory file; a running node reads it within a second or two.
    pub fn write_beds(&self, name: &str, beds: &[Bed]) -> anyhow::Result<()> {
        self.write_directory(name, &directory_of(beds))
    }

    /// Writes any directory file, all of it at once.
    pub fn write_directory(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let dir = self.config()?.directory_dir();
        let unfinished = dir.join(format!("{name}.tmp"));
        fs::write(&unfinished, text)?;
        Ok(fs::rename(unfinished, dir.join(format!("{name}.toml")))?)
    }

    /// The configuration it runs with.
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut flags = vec![
            "server.grpc_listen=127.0.0.1:0".to_owned(),
            "server.api_listen=127.0.0.1:0".to_owned(),
            "server.http_listen=127.0.0.1:0".to_owned(),
            format!("data.dir={}", self.dir.path().display()),
            "telemetry.level=warn".to_owned(),
        ];
        flags.extend(self.flags.iter().cloned());
        Config::load(&Sources { file: None, environment: Vec::new(), flags })
    }

    /// Starts it (again) on the same folder.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let node = Node::start(&self.config()?, &self.services, stop.clone()).await?;
        let (grpc, api, http) = (format!("http://{}", node.grpc), node.api, node.http.to_string());
        self.running = Some(Running { stop, waiting: tokio::spawn(node.wait()), grpc, api, http });
        Ok(())
    }

    /// Which services run from its next start on.
    pub fn set_services(&mut self, services: &[Service]) {
        self.services = services.to_vec();
    }

    /// Stops it as a signal would, and waits until it has.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let running = self.running.take().context("the sandbox does not run")?;
        running.stop.cancel();
        running.waiting.await?
    }

    /// Tells it to stop, without waiting.
    pub fn drain(&self) {
        if let Some(running) = &self.running {
            running.stop.cancel();
        }
    }

    /// Where gRPC is served.
    pub fn endpoint(&self) -> String {
        self.running.as_ref().map(|running| running.grpc.clone()).unwrap_or_default()
    }

    /// `host:port` of `/metrics`, `/live`, `/ready`.
    pub fn http(&self) -> String {
        self.running.as_ref().map(|running| running.http.clone()).unwrap_or_default()
    }

    /// Where the JSON API is served.
    pub fn api(&self) -> anyhow::Result<SocketAddr> {
        self.running.as_ref().and_then(|running| running.api).context("the API is not served")
    }

    /// A connection to it.
    pub async fn channel(&self) -> anyhow::Result<Channel> {
        Ok(Endpoint::from_shared(self.endpoint())?.connect().await?)
    }

    /// A client of `IngestService`.
    pub async fn ingest(&self) -> anyhow::Result<IngestServiceClient<Channel>> {
        Ok(IngestServiceClient::new(self.channel().await?))
    }

    /// A client of `TimelineService`.
    pub async fn timeline(&self) -> anyhow::Result<TimelineServiceClient<Channel>> {
        let client = TimelineServiceClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(16 << 20))
    }

    /// A token of the demo issuer for a device.
    pub fn device_token(&self, device: DeviceId) -> anyhow::Result<String> {
        Ok(self.issuer()?.device_token(device)?)
    }

    /// Opens a stream as a bed's device, on a connection of its own.
    pub async fn line(&self, bed: &Bed, resume_after: u64) -> anyhow::Result<(Line, Opened)> {
        Line::open(self.ingest().await?, &self.device_token(bed.device)?, bed, resume_after).await
    }

    /// Writes one batch as a bed's device.
    pub async fn write(
        &self,
        bed: &Bed,
        sequence: u64,
        readings: Vec<Reading>,
    ) -> anyhow::Result<WriteReadingsResponse> {
        let request = self.as_device(bed.device, builders::write(bed, sequence, readings))?;
        Ok(self.ingest().await?.write_readings(request).await?.into_inner())
    }

    /// Waits until the doctor sees so many readings of a patient, and returns them; more are a failure too.
    pub async fn readable(&self, bed: &Bed, n_readings: usize) -> anyhow::Result<Vec<StoredReading>> {
        let client = self.timeline().await?;
        let read = async || -> anyhow::Result<_> {
            let request = self.as_person("doctor", builders::everything(bed))?;
            Ok(client.clone().read_timeline(request).await?.into_inner().readings)
        };
        wait::until("readings", async || Ok(read().await?.len()), |n| *n >= n_readings).await?;
        let readings = read().await?;
        anyhow::ensure!(readings.len() == n_readings, "{} readings instead of {n_readings}", readings.len());
        Ok(readings)
    }

    /// The demo issuer of the sandbox.
    pub fn issuer(&self) -> anyhow::Result<DemoIssuer> {
        Ok(DemoIssuer::open(&self.config()?.demo_dir())?)
    }

    /// A request as a device.
    pub fn as_device<T>(&self, device: DeviceId, message: T) -> anyhow::Result<Request<T>> {
        with_token(message, &self.issuer()?.device_token(device)?)
    }

    /// A request as one of the demo's people, by role.
    pub fn as_person<T>(&self, role: &str, message: T) -> anyhow::Result<Request<T>> {
        let user = demo_person(role).context("no such role")?;
        with_token(message, &self.issuer()?.user_token(user)?)
    }

    /// Where its binary is: built by cargo for the suites that kill it.
    pub fn binary() -> anyhow::Result<PathBuf> {
        // target/<profile>/deps/<suite> -> target/<profile>/wardline
        let suite = std::env::current_exe()?;
        let profile = suite.parent().and_then(|deps| deps.parent()).context("an odd place for a test")?;
        let binary = profile.join("wardline");
        anyhow::ensure!(binary.exists(), "build it first: cargo test --workspace --no-run");
        Ok(binary)
    }
}

/// A directory file with beds in the demo people's ward.
pub fn directory_of(beds: &[Bed]) -> String {
    let mut text = String::new();
    for bed in beds {
        let (device, patient) = (bed.device.uuid(), bed.patient.uuid());
        // writing to a string cannot fail
        let _ = writeln!(text, "[[patient]]\nid = \"{patient}\"\nward = \"{WARD}\"");
        let _ = writeln!(text, "[[device]]\nid = \"{device}\"\nmodel = \"sandbox\"");
        let _ = writeln!(text, "[[assignment]]\ndevice = \"{device}\"\npatient = \"{patient}\"");
    }
    text
}

/// The id of every request here that needs no other: with it, whole answers can be compared.
pub const REQUEST_ID: &str = "5a3d0c1e-0000-4000-8000-000000000001";

/// A request under [`REQUEST_ID`].
pub fn identified<T>(message: T) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, REQUEST_ID.parse()?);
    Ok(request)
}

/// A request with a bearer token.
pub fn with_token<T>(message: T, token: &str) -> anyhow::Result<Request<T>> {
    let mut request = identified(message)?;
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    Ok(request)
}
