//! The suites of real processes. `torture` runs them on the embedded engines; everything else is the live suite, on Kafka,
//! a CQL server and Keycloak, run with `--ignored`. It fails when they are not there (`deploy/engines/engines up`;
//! elsewhere: `WARDLINE_KAFKA`, `WARDLINE_CQL`, `WARDLINE_ENGINES_DATA`).
//!
//! One live test at a time: two of them kill the engines, or take all the machine has.

mod faults;
mod pages;
mod poison;
mod readiness;
mod registry;
mod round_trip;
mod tokens;
mod torture;

use client::{Stream, Writer, channel};
use model::Nanos;
use proto::telemetry::v1::{
    ClockQuality, ReadTimelineRequest, StoredReading, timeline_service_client::TimelineServiceClient,
};
use std::time::Duration;
use tests::{
    Bed,
    builders::everything,
    torture::{child::Child, engines::Kind, ward::Ward},
    with_token,
};
use tokio::sync::{Mutex, MutexGuard};

static ALONE: Mutex<()> = Mutex::const_new(());

/// How long a write may be tried again: the engines may still be waking up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ingest, writer and query, each a process.
struct Services {
    ward: Ward,
    ingest: Child,
    writer: Child,
    query: Child,
    _alone: MutexGuard<'static, ()>,
}

impl Services {
    async fn start(n_beds: u32) -> anyhow::Result<Self> {
        let alone = ALONE.lock().await;
        let ward = Ward::new(Kind::Live, n_beds).await?;
        let ingest = ward.start("ingest", &["ingest"], "writer")?;
        let writer = ward.start("writer", &["writer"], "writer")?;
        let query = ward.start("query", &["query"], "writer")?;
        let mut services = Self { ward, ingest, writer, query, _alone: alone };
        services.ready().await?;
        Ok(services)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        for service in [&mut self.ingest, &mut self.writer, &mut self.query] {
            service.ready().await?;
        }
        Ok(())
    }

    /// Every one must end well when it is told to.
    async fn stop(&mut self) -> anyhow::Result<()> {
        for service in [&mut self.ingest, &mut self.writer, &mut self.query] {
            service.stop().await?;
        }
        Ok(())
    }

    fn device(&self, bed: &Bed) -> anyhow::Result<Writer> {
        let stream = Stream {
            device: bed.device.uuid(),
            stream: bed.stream.uuid(),
            resume_after: 0,
            clock: ClockQuality::Synchronized,
        };
        Ok(Writer::new(channel(self.ingest.endpoint())?, self.ward.tokens(bed.device), stream))
    }

    /// Every page of a request, as a doctor.
    async fn pages(&self, mut request: ReadTimelineRequest) -> anyhow::Result<Vec<Vec<StoredReading>>> {
        let mut client = TimelineServiceClient::new(channel(self.query.endpoint())?);
        let (token, mut pages) = (self.ward.person("doctor")?, Vec::new());
        loop {
            let page = client.read_timeline(with_token(request.clone(), &token)?).await?.into_inner();
            pages.push(page.readings);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return Ok(pages);
            }
        }
    }

    /// All of a patient, once there are `n_readings`.
    async fn all(&self, bed: &Bed, n_readings: usize) -> anyhow::Result<Vec<StoredReading>> {
        // readings have no `Debug`: how many there were is what may be said
        let count = async || Ok(self.pages(everything(bed)).await?.concat().len());
        tests::wait::until("all readings", count, |n_found| *n_found >= n_readings).await?;
        Ok(self.pages(everything(bed)).await?.concat())
    }
}

fn now() -> Nanos {
    guard::clock::now()
}
