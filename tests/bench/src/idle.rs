//! `bench idle-streams`: what the server keeps for a stream on which nothing happens.

use super::{
    Devices, Engines,
    load::Fleet,
    process::resident_bytes,
    report::Report,
    server::Server,
    workspace::{Where, Workspace},
};
use serde_json::json;
use std::{num::NonZeroU32, time::Duration};

/// After that what opening a stream needed for a moment is given back, as far as it is.
const SETTLE: Duration = Duration::from_secs(2);
const AIM_BYTES: f64 = 20_480.0;

/// Options of the benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Streams, one device each.
    #[arg(long, default_value = "1000")]
    pub streams: NonZeroU32,
    /// Streams that share a connection; each number is measured with a new server.
    #[arg(long, value_delimiter = ',', default_value = "1,100")]
    pub a_connection: Vec<NonZeroU32>,
}

pub(super) async fn run(options: &Options, at: &Where) -> anyhow::Result<Report> {
    let columns = ["streams a connection", "streams", "before MiB", "after MiB", "bytes a stream", "aim"];
    let mut report = Report::new("idle-streams", &columns);
    for &shared in &options.a_connection {
        let place = Workspace::make(at, Engines::Embedded, Engines::Embedded).await?;
        let n_streams = options.streams.get();
        let connections = n_streams.div_ceil(shared.get());
        let connections = NonZeroU32::new(connections).unwrap_or(NonZeroU32::MIN);
        let fleet = Fleet::register(&place, &Devices { devices: options.streams, connections })?;
        let server = Server::start(&place, &["ingest"]).await?;
        // the first stream finds what all of them share
        let first = fleet.open_some(&server.endpoint, 1).await?;
        tokio::time::sleep(SETTLE).await;
        let (before, _) = resident_bytes(server.pid)?;
        let rest = fleet.open(&server.endpoint).await?;
        tokio::time::sleep(SETTLE).await;
        let (after, _) = resident_bytes(server.pid)?;
        drop((first, rest));
        let a_stream = after.saturating_sub(before) as f64 / f64::from(n_streams);
        let mib = |bytes: u64| json!(bytes as f64 / f64::from(1 << 20));
        report.row([json!(shared.get()), json!(n_streams), mib(before), mib(after), json!(a_stream), json!(AIM_BYTES)]);
        server.stop().await?;
        place.remove().await;
    }
    report.note("resident bytes of the server's process only; the devices are in another");
    Ok(report)
}
