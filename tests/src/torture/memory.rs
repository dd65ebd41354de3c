//! Memory while the consumers stand still: ingest, writer and query as processes of their own, the writer frozen for a
//! while at full rate, then left to catch up. What each process held at most is read from the kernel.

use super::{
    child::Child,
    content::Content,
    engines::Kind,
    judge::Judge,
    ledger::{Ledger, Pen},
    load::{Device, Load},
    ward::Ward,
};
use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

/// What each service may hold at most, in MiB.
pub const LIMIT_MIB: f64 = 256.0;
/// How long catching up may take for each second of standing still, and at least.
const CATCH_UP: (u32, Duration) = (10, Duration::from_secs(120));

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long the writer stands still.
    pub frozen: Duration,
    /// Devices, each with a patient.
    pub devices: u32,
    /// Batches a second and device; 0: as many as there are credits for.
    pub rate_hz: f64,
    /// Readings of one batch.
    pub batch: u32,
}

/// What came of it.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Readings sent and acknowledged.
    pub acknowledged: u64,
    /// Acknowledged a second while the writer stood still.
    pub per_second: f64,
    /// Seconds from the thaw until all was visible.
    pub catch_up_seconds: f64,
    /// Readings visible at the end.
    pub visible: u64,
    /// Most memory of ingest, writer and query, in MiB.
    pub peak_mib: [f64; 3],
    /// Anything that must not be; empty when the run was good.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ingest, writer, query] = self.peak_mib;
        writeln!(f, "readings acknowledged, a second      {}, {:.0}", self.acknowledged, self.per_second)?;
        writeln!(f, "readings visible                     {}", self.visible)?;
        writeln!(f, "caught up after, s                   {:.1}", self.catch_up_seconds)?;
        writeln!(f, "most MiB: ingest, writer, query      {ingest:.0}, {writer:.0}, {query:.0}")?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "VIOLATION: {violation}"))?;
        write!(f, "{}", if self.violations.is_empty() { "PASS" } else { "FAIL" })
    }
}

/// Does it, on Kafka and CQL: with embedded engines the services cannot be apart.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let ward = Ward::new(Kind::Live, plan.devices).await?;
    let mut services = Vec::new();
    for name in ["ingest", "writer", "query"] {
        let mut service = ward.start(name, &[name], "writer")?;
        service.ready().await?;
        services.push(service);
    }
    let [ingest, writer, query] = &services[..] else { anyhow::bail!("three services") };
    let content = Content::new(guard::clock::now(), plan.batch);
    let (ledger, pen) = Ledger::open(&ward.dir.path().join("ledger"))?;
    let load = Load {
        content,
        rate_hz: plan.rate_hz,
        repeat_one_in: 0,
        seed: 1,
        acknowledged: Arc::default(),
        stop: CancellationToken::new(),
    };
    let sending = send(&ward, ingest, &load, pen)?;
    writer.freeze().await?;
    sleep(plan.frozen).await;
    let n_batches = load.acknowledged.load(Ordering::Relaxed);
    writer.thaw().await?;
    load.stop.cancel();

    let judge = Judge::new(client::channel(query.endpoint())?, ward.person("doctor")?, content);
    let mut report = Report {
        per_second: n_batches as f64 * f64::from(plan.batch) / plan.frozen.as_secs_f64(),
        ..Report::default()
    };
    report.catch_up(&judge, sending, CATCH_UP.1.max(plan.frozen * CATCH_UP.0)).await?;
    let accounts = ledger.close()?;
    report.acknowledged = accounts.values().map(|account| account.acknowledged * u64::from(plan.batch)).sum();
    for bed in &ward.beds {
        report.visible += judge.count(bed).await?;
    }
    report.weigh(&services)?;
    for service in &mut services {
        service.stop().await?;
    }
    Ok(report)
}

/// Devices, and the last batch of each.
type Sending = JoinSet<anyhow::Result<(Device, u64)>>;

/// All devices send until the load is stopped.
fn send(ward: &Ward, ingest: &Child, load: &Load, pen: Pen) -> anyhow::Result<Sending> {
    let mut sending = JoinSet::new();
    for (number, bed) in (0..).zip(&ward.beds) {
        let channel = client::channel(ingest.endpoint())?;
        let device = Device { number, bed: *bed, channel, tokens: ward.tokens(bed.device) };
        let (load, pen) = (load.clone(), pen.clone());
        sending.spawn(async move { anyhow::Ok((device.clone(), device.run(load, pen).await?.last)) });
    }
    Ok(sending)
}

impl Report {
    /// Waits until the last batch of each device is visible.
    async fn catch_up(&mut self, judge: &Judge, mut sending: Sending, limit: Duration) -> anyhow::Result<()> {
        let since = Instant::now();
        let mut lasts = Vec::new();
        while let Some(ended) = sending.join_next().await {
            match ended? {
                Ok(sent) => lasts.push(sent),
                Err(error) => self.violations.push(format!("a device ended: {error:#}")),
            }
        }
        for (device, last) in &lasts {
            let left = limit.saturating_sub(since.elapsed()).max(Duration::from_secs(1));
            if let Err(error) = judge.await_last(&device.bed, *last, left).await {
                self.violations.push(format!("device {}: {error}", device.number));
            }
        }
        self.catch_up_seconds = since.elapsed().as_secs_f64();
        Ok(())
    }

    /// Compares what is visible, and what was held, with what must be.
    fn weigh(&mut self, services: &[Child]) -> anyhow::Result<()> {
        if self.visible != self.acknowledged {
            self.violations.push(format!("{} readings visible, {} acknowledged", self.visible, self.acknowledged));
        }
        for (peak, service) in self.peak_mib.iter_mut().zip(services) {
            *peak = service.peak_mib()?;
        }
        if self.peak_mib.iter().any(|peak| *peak >= LIMIT_MIB) {
            self.violations.push(format!("a service held more than {LIMIT_MIB} MiB: {:.0?}", self.peak_mib));
        }
        Ok(())
    }
}
