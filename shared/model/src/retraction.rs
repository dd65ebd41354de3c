//! Readings that somebody who treats the patient took back: the row stays as it was sent, and is marked when it is read.

use crate::{
    catalog::MetricId,
    id::DeviceId,
    reading::Quality,
    sheet::{Batch, Sheet},
    time::{Hour, Nanos, Range},
};

/// Which of a patient's readings must not count ([`Quality::ENTERED_IN_ERROR`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retraction {
    /// Those of this device; `None`: of all.
    pub device: Option<DeviceId>,
    /// Those of these metrics, ascending; `None`: of all.
    pub metrics: Option<Vec<MetricId>>,
    /// Those that were measured, or began, in it.
    pub range: Range,
    /// Those received up to this instant: what is sent in their place counts.
    pub received_until: Nanos,
}

impl Retraction {
    /// Whether it may concern readings of some metrics (ascending; empty: all) in an hour.
    pub fn concerns(&self, hour: Hour, metrics: &[MetricId]) -> bool {
        let is_there = self.range.from() < hour.end() && hour.start() < self.range.to();
        is_there && (metrics.is_empty() || metrics.iter().any(|metric| self.is_of(*metric)))
    }

    /// Marks those of a sheet's readings that it is about.
    pub fn mark(&self, sheet: &mut Sheet) {
        if !self.concerns(sheet.hour, &[]) {
            return;
        }
        let Sheet { batches, columns, .. } = sheet;
        for column in columns.iter_mut().filter(|column| self.is_of(column.lines.metric)) {
            let times = &column.lines.measured_at;
            let first = times.partition_point(|at| *at < self.range.from());
            let end = times.partition_point(|at| *at < self.range.to());
            for line in (first..end).filter(|line| self.is_about(&batches[column.batch[*line] as usize])) {
                let quality = &mut column.lines.quality[line];
                *quality = quality.with(Quality::ENTERED_IN_ERROR);
            }
        }
    }

    /// Whether all that another is about was measured where this one is about it too, whenever it was received.
    pub fn covers(&self, other: &Self) -> bool {
        let of_devices = self.device.is_none_or(|device| other.device == Some(device));
        let of_metrics = match (&self.metrics, &other.metrics) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.iter().all(|metric| own.binary_search(metric).is_ok()),
        };
        let of_range = self.range.from() <= other.range.from() && other.range.to() <= self.range.to();
        of_devices && of_metrics && of_range
    }

    /// Whether it is about a reading of a metric, of this batch, that was measured, or began, at an instant.
    pub fn is_about_one(&self, metric: MetricId, batch: &Batch, measured_at: Nanos) -> bool {
        self.is_of(metric) && self.range.contains(measured_at) && self.is_about(batch)
    }

    fn is_about(&self, batch: &Batch) -> bool {
        self.device.is_none_or(|device| device == batch.identity.device) && batch.received_at <= self.received_until
    }

    fn is_of(&self, metric: MetricId) -> bool {
        self.metrics.as_ref().is_none_or(|metrics| metrics.binary_search(&metric).is_ok())
    }
}
