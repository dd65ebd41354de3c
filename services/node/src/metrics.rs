//! Every metric of a process: those of this crate, and the tables of all others, described in one place.
//!
//! A counter whose labels are known is there at 0 from the start: what is absent alerts nobody.

use crate::wiring::Service;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, set_global_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use model::telemetry::{Instrument, InstrumentKind, Label};
use std::sync::OnceLock;

/// Upper bounds of every histogram of seconds: 100 us to a minute.
const SECONDS: [f64; 14] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 60.0];

/// Those of this crate.
const METRICS: &[Instrument] = &[BUILD_INFO, READY, FOLLOW_FAILURES, LINES_LEFT_OUT];

const BUILD_INFO: Instrument =
    Instrument::gauge("wardline_build_info", "1", &[Label::open("version")], "Always 1; version: of this program");
const READY: Instrument = Instrument::gauge(
    "wardline_ready_condition",
    "1",
    &[Label::of("condition", &["audit", "directory", "log", "notices", "running", "store"])],
    "Whether a condition of readiness holds: 1 or 0; a process has those that its services need",
);
const FOLLOW_FAILURES: Instrument = Instrument::counter(
    "wardline_registry_follow_failures_total",
    "reads",
    &[],
    "Times that the registry's changes could not be read; what was known before stays in force",
);
const LINES_LEFT_OUT: Instrument = Instrument::counter(
    "wardline_log_lines_left_out_total",
    "lines",
    &[Label::of("level", &["ERROR", "WARN", "INFO"])],
    "Log lines not written because one place of the program wrote too many",
);

/// Of the process, as Prometheus names them everywhere.
const PROCESS: &[Instrument] = &[
    CPU,
    Instrument::gauge("process_resident_memory_bytes", "bytes", &[], "Memory of the process that is resident"),
    Instrument::gauge("process_virtual_memory_bytes", "bytes", &[], "Address space of the process"),
    Instrument::gauge("process_virtual_memory_max_bytes", "bytes", &[], "Most address space that it may have"),
    Instrument::gauge("process_open_fds", "descriptors", &[], "File descriptors that are open"),
    Instrument::gauge("process_max_fds", "descriptors", &[], "Most file descriptors at once"),
    Instrument::gauge("process_start_time_seconds", "seconds", &[], "When the process started, as Unix time"),
    Instrument::gauge("process_threads", "threads", &[], "Threads of the process"),
];

const CPU: Instrument =
    Instrument::counter("process_cpu_seconds_total", "seconds", &[], "CPU time of the process, user and system");

/// What every process has.
const SHARED: [&[Instrument]; 8] = [
    METRICS,
    PROCESS,
    listen::metrics::METRICS,
    guard::metrics::METRICS,
    auth::metrics::METRICS,
    bus::metrics::METRICS,
    store::metrics::METRICS,
    gateway::metrics::METRICS,
];

/// Every metric of a process that runs these services.
pub fn of(services: &[Service]) -> impl Iterator<Item = &'static Instrument> + use<> {
    let theirs: Vec<_> = services.iter().map(|service| service.metrics).collect();
    SHARED.into_iter().chain(theirs).flatten()
}

/// The metrics of this process. Clones are the same.
#[derive(Clone)]
pub(crate) struct Metrics {
    recorded: PrometheusHandle,
    process: Collector,
}

impl Metrics {
    /// Those of this process, with the counters of these services at 0 where nothing was counted yet.
    pub(crate) fn of(services: &[Service]) -> anyhow::Result<Self> {
        let recorded = recorder()?;
        of(services).for_each(describe);
        for counter in of(services).filter(|instrument| instrument.kind == InstrumentKind::Counter) {
            for series in counter.series() {
                counter!(counter.name, &series).increment(0);
            }
        }
        gauge!(BUILD_INFO.name, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { recorded, process: Collector::default() })
    }

    /// What Prometheus is answered, with the process as it is now.
    pub(crate) fn render(&self) -> String {
        self.process.collect();
        let text = self.recorded.render();
        match metrics_process::collector::collect().cpu_seconds_total {
            Some(seconds) => with_value(text, CPU.name, seconds),
            None => text,
        }
    }

    /// Folds the samples of histograms. To be called every few seconds: until then each is kept.
    pub(crate) fn upkeep(&self) {
        self.recorded.run_upkeep();
    }
}

/// The recorder of this process, which has one (tests run several nodes in it).
fn recorder() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    match set_global_recorder(recorder) {
        Ok(()) => Ok(HANDLE.get_or_init(|| handle).clone()),
        // another thread was first: its handle is, or is about to be, there
        Err(_) => Ok(HANDLE.get().cloned().unwrap_or(handle)),
    }
}

/// With this value of a counter without labels: the recorder's own are whole numbers, too coarse for CPU time.
fn with_value(mut text: String, name: &str, value: f64) -> String {
    let before = format!("\n{name} ");
    if let Some(from) = text.find(&before).map(|at| at + before.len()) {
        let to = text[from..].find('\n').map_or(text.len(), |n_bytes| from + n_bytes);
        text.replace_range(from..to, &value.to_string());
    }
    text
}

fn describe(instrument: &Instrument) {
    let Instrument { name, kind, unit, help, .. } = *instrument;
    let unit = match unit {
        "seconds" => Unit::Seconds,
        "bytes" => Unit::Bytes,
        _ => Unit::Count,
    };
    match kind {
        InstrumentKind::Counter => describe_counter!(name, unit, help),
        InstrumentKind::Gauge => describe_gauge!(name, unit, help),
        InstrumentKind::Histogram => describe_histogram!(name, unit, help),
    }
}

/// Whether a condition of readiness holds.
pub(crate) fn ready(condition: &'static str, holds: bool) {
    gauge!(READY.name, "condition" => condition).set(f64::from(u8::from(holds)));
}

/// The registry's changes cannot be read.
pub(crate) fn follow_failed() {
    counter!(FOLLOW_FAILURES.name).increment(1);
}

/// A line of this level is not written.
pub(crate) fn line_left_out(level: &'static str) {
    counter!(LINES_LEFT_OUT.name, "level" => level).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn cpu_time_has_fractions_of_seconds() {
        let text = |seconds: &str| {
            let name = CPU.name;
            format!("# HELP {name} CPU\n# TYPE {name} counter\n{name} {seconds}\n\n# TYPE a gauge\na 3\n")
        };
        assert_eq!(with_value(text("3"), CPU.name, 3.25), text("3.25"));
        assert_eq!(with_value("a 3\n".to_owned(), CPU.name, 3.25), "a 3\n");
    }

    #[test]
    fn names_and_units_are_as_prometheus_wants_them() {
        let all: Vec<_> = of(&crate::services::ALL).collect();
        let names: BTreeSet<_> = all.iter().map(|instrument| instrument.name).collect();
        assert_eq!(names.len(), all.len(), "two have one name");
        for Instrument { name, kind, unit, help, .. } in all {
            let is_process = name.starts_with("process_");
            assert!(is_process || name.starts_with("wardline_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == InstrumentKind::Counter, "{name}");
            let bare = name.trim_end_matches("_total");
            for of_name in ["seconds", "bytes"] {
                assert_eq!(bare.ends_with(of_name), *unit == of_name, "{name}: {unit}");
            }
            assert!(!help.is_empty() && !help.ends_with('.') && !help.contains('|'), "{name}: {help}");
        }
    }
}
