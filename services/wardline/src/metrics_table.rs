//! `wardline metrics`: the operators' table of what a process tells about itself.

use model::telemetry::{Instrument, Label};
use node::{metrics, wiring::Service};
use std::fmt::Write;

const INTRODUCTION: &str = "# Metrics

What `/metrics` of a process shows, for Prometheus; printed by `wardline metrics`. A process has the metrics of the services \
that it runs. A counter whose labels' values are listed is there, at 0, from the start. No label holds a patient, a person or \
a device. Histograms have buckets from 100 microseconds to a minute.

| Name | Kind | Unit | Labels | What it is |
|---|---|---|---|---|
";

/// Those of a process that runs these services as a table in Markdown, ascending by name: what `wardline metrics` prints.
pub fn table(services: &[Service]) -> String {
    let mut all: Vec<_> = metrics::of(services).collect();
    all.sort_by_key(|instrument| instrument.name);
    let mut text = String::from(INTRODUCTION);
    for Instrument { name, kind, unit, labels, help } in all {
        let labels: Vec<_> = labels.iter().map(label).collect();
        // writing to a string cannot fail
        let _ = writeln!(text, "| `{name}` | {} | {unit} | {} | {help} |", kind.name(), labels.join("; "));
    }
    text
}

fn label(Label { name, values }: &Label) -> String {
    let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    if values.is_empty() { format!("`{name}`") } else { format!("`{name}`: {}", values.join(", ")) }
}
