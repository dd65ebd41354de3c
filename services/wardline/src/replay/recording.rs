//! A recording in memory: 32 bytes a reading, by patient and device.

use super::mapping::Skip;
use model::Nanos;
use std::collections::{BTreeMap, HashMap};

/// One reading as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// When it was measured, or began: nanoseconds since 1970, or since admission where the format knows nothing else.
    pub measured_ns: i64,
    /// When it arrived in the chart, on the same clock; `measured_ns` where the format does not say.
    pub arrived_ns: i64,
    /// The value in the unit of `sent`; 0 for a code, and where there is none.
    pub value: f64,
    /// Metric and unit, or code, or why there is no value: place in `Mapping::sent`.
    pub sent: u16,
    /// How long it lasts, in seconds: 0 for what is of an instant, and until the plan is made.
    pub lasting_s: u32,
    /// The recording itself doubts it.
    pub questionable: bool,
    /// The recording says that it is a mistake.
    pub entered_in_error: bool,
}

impl Row {
    /// One that arrives when it is measured and that nobody doubts, with what it is sent as and its value.
    pub fn charted(measured_ns: i64, (sent, value): (u16, f64)) -> Self {
        let (questionable, entered_in_error) = (false, false);
        Self { measured_ns, arrived_ns: measured_ns, value, sent, lasting_s: 0, questionable, entered_in_error }
    }

    /// When it was over: the time of measurement for what is of an instant.
    pub fn ended_ns(&self) -> i64 {
        self.measured_ns.saturating_add(i64::from(self.lasting_s) * Nanos::SECOND)
    }
}

/// What one device would send, in the order of the recording.
pub struct Device {
    /// Index of the device's patient in [`Recording::patients`].
    pub patient: u32,
    /// Kind of device, such as a bedside monitor.
    pub source: &'static str,
    /// The readings of the device, in the order of the recording.
    pub rows: Vec<Row>,
}

/// What was read and not kept. `read` counts values, of which a wide table has several in a row.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Values that were read from the recording.
    pub read: u64,
    /// Of these, values of items that the mapping table does not have, by item.
    pub unmapped: BTreeMap<String, u64>,
    /// Of these, values that are none, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// One value read and skipped.
    pub fn skip(&mut self, reason: Skip) {
        self.read += 1;
        *self.skipped.entry(reason.name()).or_default() += 1;
    }

    /// One value read whose item is not in the mapping table.
    pub fn unmapped(&mut self, item: &str) {
        self.read += 1;
        match self.unmapped.get_mut(item) {
            Some(count) => *count += 1,
            None => drop(self.unmapped.insert(item.to_owned(), 1)),
        }
    }
}

/// Everything that was read.
#[derive(Default)]
pub struct Recording {
    /// Names of patients in the recording: never logged, only hashed into identifiers.
    pub patients: Vec<String>,
    /// Devices, in the order of their first reading.
    pub devices: Vec<Device>,
    /// Number of values read, kept and skipped.
    pub tally: Tally,
    /// Files that were read.
    pub files: u64,
    patient_places: HashMap<String, u32>,
    device_places: HashMap<(u32, &'static str), usize>,
}

impl Recording {
    /// Adds one reading of a patient's device.
    pub fn push(&mut self, patient: &str, source: &'static str, row: Row) {
        self.tally.read += 1;
        let patient = match self.patient_places.get(patient) {
            Some(place) => *place,
            None => {
                // four thousand million patients do not fit into memory before this does
                let place = self.patients.len() as u32;
                self.patients.push(patient.to_owned());
                self.patient_places.insert(patient.to_owned(), place);
                place
            }
        };
        let device = *self.device_places.entry((patient, source)).or_insert_with(|| {
            self.devices.push(Device { patient, source, rows: Vec::new() });
            self.devices.len() - 1
        });
        self.devices[device].rows.push(row);
    }

    /// Number of readings that will be sent.
    pub fn readings(&self) -> u64 {
        self.devices.iter().map(|device| device.rows.len() as u64).sum()
    }
}
