//! What a process tells about itself: each crate that counts has a table of its instruments in its `metrics.rs`.
//!
//! An instrument is what OpenTelemetry calls so, and Prometheus a metric; a [`Metric`](crate::Metric) is what a device measures.

/// An instrument, as it is described to Prometheus and in the table for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instrument {
    /// As Prometheus wants it: `wardline_what_unit`, a counter with `_total` at its end.
    pub name: &'static str,
    /// Whether it is a counter, a gauge or a histogram.
    pub kind: InstrumentKind,
    /// `seconds` and `bytes` are in the name, too; else what is counted: `records`, `rows`, `calls`.
    pub unit: &'static str,
    /// What its series are told apart by.
    pub labels: &'static [Label],
    /// One sentence, without a full stop.
    pub help: &'static str,
}

/// How an instrument moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstrumentKind {
    /// Only up, from 0 at the start of the process.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Samples, counted by size.
    Histogram,
}

/// A label of an instrument. Never a patient, a person, a device or anything that a caller makes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Name of the label, in lower case.
    pub name: &'static str,
    /// All values that it can have; empty: too many to list, but as many as the code or the settings have.
    pub values: &'static [&'static str],
}

impl Instrument {
    /// A counter. With labels whose values are listed it is there at 0 before anything is counted.
    pub const fn counter(name: &'static str, unit: &'static str, labels: &'static [Label], help: &'static str) -> Self {
        Self { name, kind: InstrumentKind::Counter, unit, labels, help }
    }

    /// A gauge, with these labels.
    pub const fn gauge(name: &'static str, unit: &'static str, labels: &'static [Label], help: &'static str) -> Self {
        Self { name, kind: InstrumentKind::Gauge, unit, labels, help }
    }

    /// A histogram of seconds.
    pub const fn seconds(name: &'static str, labels: &'static [Label], help: &'static str) -> Self {
        Self { name, kind: InstrumentKind::Histogram, unit: "seconds", labels, help }
    }

    /// Every combination of values of its labels; none when a label has too many to list.
    pub fn series(&self) -> Vec<Vec<(&'static str, &'static str)>> {
        let mut all = vec![Vec::new()];
        for label in self.labels {
            let with = |series: &Vec<_>| {
                let series = series.clone();
                label.values.iter().map(move |value| [&series[..], &[(label.name, *value)]].concat())
            };
            all = all.iter().flat_map(with).collect();
        }
        all
    }
}

impl InstrumentKind {
    /// The type as Prometheus names it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Label {
    /// One whose values are these and no others.
    pub const fn of(name: &'static str, values: &'static [&'static str]) -> Self {
        Self { name, values }
    }

    /// One with too many values to list.
    pub const fn open(name: &'static str) -> Self {
        Self { name, values: &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_all_combinations_and_none_where_a_label_is_open() {
        const OUTCOME: Label = Label::of("outcome", &["ok", "failed"]);
        const ENGINE: Label = Label::of("engine", &["cql", "embedded"]);
        const ROUTE: Label = Label::open("route");
        let of = |labels| Instrument::counter("x_total", "calls", labels, "x").series();
        assert_eq!(of(&[]), [vec![]]);
        let both = of(&[OUTCOME, ENGINE]);
        assert_eq!(both.len(), 4);
        assert_eq!(both[1], [("outcome", "ok"), ("engine", "embedded")]);
        assert!(of(&[OUTCOME, ROUTE]).is_empty());
    }
}
