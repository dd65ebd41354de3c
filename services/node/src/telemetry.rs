//! Logs and metrics. Logs are JSON on standard error, without patient data; metrics are for Prometheus.
//!
//! What a peer does again and again is not said each time: each line of the code, ours or a library's, writes at most
//! [`MAX_LINES`] in [`EVERY`], and then how many were left out.

mod left_out;

pub(crate) use left_out::tell as tell_left_out;
#[cfg(doc)]
use left_out::{EVERY, MAX_LINES};

use crate::config::{Format, Telemetry};
use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt::format::FmtSpan, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Upper bounds of every histogram of seconds: 100 us to a minute.
const SECONDS: [f64; 14] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 60.0];

/// Starts logging. A second call changes nothing (tests run several nodes in one process).
pub fn logs(settings: &Telemetry) -> anyhow::Result<()> {
    let levels: Targets = settings.level.parse().context("telemetry.level")?;
    let registry = tracing_subscriber::registry().with(levels);
    // a span is a line when it ends, with its fields and how long it took: libraries have some at `debug` and `trace`
    let output = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_span_events(FmtSpan::CLOSE);
    let _ = match settings.format {
        Format::Json => registry.with(output.json().flatten_event(true).with_filter(left_out::AtMost)).try_init(),
        Format::Text => registry.with(output.with_filter(left_out::AtMost)).try_init(),
    };
    Ok(())
}

/// The recorder of this process.
pub fn recorder() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    match metrics::set_global_recorder(recorder) {
        Ok(()) => Ok(HANDLE.get_or_init(|| handle).clone()),
        // another thread was first: its handle is, or is about to be, there
        Err(_) => Ok(HANDLE.get().cloned().unwrap_or(handle)),
    }
}
