//! What a replay did, for people and as JSON.

use super::{formats::Format, plan::Plan, state::State};
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// Lines shown of a long list; JSON has them all.
const LINES_MAX: usize = 8;

/// The books of a replay: `read = sent + remaining + recording_duplicates + skipped + unmapped` and
/// `sent = acknowledged + refused`, over all runs of one recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Format of the recording, as on the command line.
    pub format: &'static str,
    /// The time by which devices sent: of measurement, or of arrival in the chart.
    pub order: &'static str,
    /// Number of files that were read.
    pub files: u64,
    /// Patients that have readings.
    pub patients: u64,
    /// Devices that were played.
    pub devices: u64,
    /// Batches that were planned.
    pub batches: u64,
    /// Values read from the recording.
    pub read: u64,
    /// Values of items that the mapping table does not have, by item.
    pub unmapped: BTreeMap<String, u64>,
    /// Values that are none, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Readings that the recording holds more than once.
    pub recording_duplicates: u64,
    /// Readings sent and answered: acknowledged or refused.
    pub sent: u64,
    /// Readings not sent yet, or without an answer: the same command goes on with them.
    pub remaining: u64,
    /// Readings that were acknowledged and so are durable.
    pub acknowledged: u64,
    /// Of these, readings that the server knew already.
    pub duplicate: u64,
    /// Readings refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Records put into quarantine meanwhile, if the caller knows.
    pub quarantined: Option<u64>,
    /// Seconds of sending, over all runs.
    pub seconds: f64,
    /// Readings sent a second: `sent` divided by `seconds`.
    pub readings_per_second: f64,
    /// Everything had been acknowledged before: this run sent nothing.
    pub already_complete: bool,
}

impl Report {
    /// From a plan and how far it has come.
    pub fn new(format: Format, files: u64, plan: &Plan, state: &State) -> Self {
        let mut report = Self {
            format: format.name(),
            order: plan.order.name(),
            files,
            patients: plan.patients.len() as u64,
            devices: plan.devices.len() as u64,
            batches: plan.batches(),
            read: plan.tally.read,
            unmapped: plan.tally.unmapped.clone(),
            skipped: plan.tally.skipped.clone(),
            recording_duplicates: plan.recording_duplicates,
            sent: 0,
            remaining: 0,
            acknowledged: 0,
            duplicate: 0,
            refused: BTreeMap::new(),
            quarantined: None,
            seconds: state.seconds,
            readings_per_second: 0.0,
            already_complete: false,
        };
        for device in &plan.devices {
            let progress = state.of(device.device);
            report.sent += device.readings_through(progress.through);
            report.acknowledged += progress.accepted;
            report.duplicate += progress.duplicate;
            for (reason, count) in progress.refused {
                *report.refused.entry(reason).or_default() += count;
            }
        }
        report.remaining = plan.readings() - report.sent;
        if report.seconds > 0.0 {
            report.readings_per_second = report.sent as f64 / report.seconds;
        }
        report
    }

    /// Whether every value read is accounted for.
    pub fn balances(&self) -> bool {
        let lost: u64 = self.skipped.values().sum::<u64>() + self.unmapped.values().sum::<u64>();
        let refused: u64 = self.refused.values().sum();
        self.read == self.sent + self.remaining + self.recording_duplicates + lost
            && self.sent == self.acknowledged + refused
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, count: u64, note: &str| {
            writeln!(f, "  {name:<22}{:>14}  {note}", thousands(count))
        };
        let state = match (self.already_complete, self.remaining) {
            (true, _) => "was complete before; --again sends it again",
            (false, 0) => "complete",
            (false, _) if self.sent == 0 && self.seconds == 0.0 => "planned, nothing was sent",
            (false, _) => "not complete; the same command goes on",
        };
        writeln!(f, "replay of {}, order {}: {state}", self.format, self.order)?;
        line(f, "files", self.files, "")?;
        line(f, "patients", self.patients, "")?;
        line(f, "devices", self.devices, "")?;
        line(f, "batches", self.batches, "")?;
        line(f, "read", self.read, "values")?;
        line(f, "unmapped", self.unmapped.values().sum(), "items that the table does not have")?;
        list(f, &self.unmapped)?;
        line(f, "skipped", self.skipped.values().sum(), "values that are none")?;
        list(f, &self.skipped)?;
        line(f, "recorded twice", self.recording_duplicates, "sent once")?;
        line(f, "sent", self.sent, "")?;
        if self.remaining > 0 {
            line(f, "remaining", self.remaining, "")?;
        }
        line(f, "acknowledged", self.acknowledged, "durable")?;
        line(f, "duplicate", self.duplicate, "of these, known already")?;
        line(f, "refused", self.refused.values().sum(), "")?;
        list(f, &self.refused)?;
        if let Some(quarantined) = self.quarantined {
            line(f, "quarantined", quarantined, "")?;
        }
        writeln!(f, "  {:<22}{:>14.1}  {:.0} readings/s", "seconds", self.seconds, self.readings_per_second)?;
        if !self.balances() {
            writeln!(f, "  THE BOOKS DO NOT CLOSE: some readings have no known fate")?;
        }
        Ok(())
    }
}

fn list<K: AsRef<str>>(f: &mut fmt::Formatter<'_>, counts: &BTreeMap<K, u64>) -> fmt::Result {
    let mut by_count: Vec<_> = counts.iter().map(|(name, count)| (*count, name.as_ref())).collect();
    by_count.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    for (count, name) in by_count.iter().take(LINES_MAX) {
        writeln!(f, "    {name:<20}{:>14}", thousands(*count))?;
    }
    match by_count.len().checked_sub(LINES_MAX) {
        Some(more) if more > 0 => writeln!(f, "    and {more} more"),
        _ => Ok(()),
    }
}

fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(super::thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
