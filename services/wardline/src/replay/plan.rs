//! From a recording to devices, streams and batches: the same recording, order and anchor give the same ones.

use super::{
    formats::Format,
    lasting,
    mapping::Mapping,
    recording::{Device, Recording, Row, Tally},
};
use crate::demo_ward::Bed;
use anyhow::{Result, bail};
use model::{DeviceId, Nanos, PatientId, StreamId};
use proto::telemetry::v1::{Bound, Reading, reading::Value};
use std::{collections::HashMap, sync::Arc};
use uuid::{Uuid, uuid};

/// Most readings in a batch: a minute of one-second readings, and 60 is one of the sizes that are measured.
pub const BATCH_READINGS_MAX: usize = 60;
/// Longest measured time in a batch: a row of the store covers an hour, and late readings should not wait for each other.
pub const BATCH_SPAN_MAX_NS: i64 = 5 * 60 * Nanos::SECOND;
/// All identifiers of replays are made from this one and a name.
const NAMESPACE: Uuid = uuid!("5c1d0c1e-2f6b-5a0e-9a70-6f0d5e7b1c55");

/// In which order a device sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// By the time of measurement; what lasts by its end.
    Measured,
    /// By the time at which the reading arrived in the chart: late ones late.
    Arrival,
}

impl Order {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Arrival => "arrival",
        }
    }

    fn key(self, row: &Row) -> i64 {
        match self {
            Self::Measured => row.ended_ns(),
            Self::Arrival => row.arrived_ns,
        }
    }
}

/// One device and all that it sends.
pub struct DevicePlan {
    /// Id of the device.
    pub device: DeviceId,
    /// Its stream: made from the device, its readings, order and anchor.
    pub stream: StreamId,
    /// Index of the device's patient in [`Plan::patients`].
    pub patient: usize,
    /// Which of the recording's sources it stands for.
    source: &'static str,
    content: Uuid,
    rows: Vec<Row>,
    /// Where each batch ends in `rows`.
    ends: Vec<u32>,
    shift_ns: i64,
    order: Order,
    mapping: Arc<Mapping>,
}

/// Everything that is to be sent.
pub struct Plan {
    /// Made from format, order and all readings.
    pub fingerprint: Uuid,
    /// Patients, and when their first reading was measured (after the shift).
    pub patients: Vec<(PatientId, Nanos)>,
    /// Devices, ascending by the time of their first batch.
    pub devices: Vec<DevicePlan>,
    /// Readings that the recording holds more than once, exactly: sent once.
    pub recording_duplicates: u64,
    /// What was read and is not sent.
    pub tally: Tally,
    /// The time by which devices send: of measurement, or of arrival in the chart.
    pub order: Order,
    spans: Vec<(i64, i64)>,
}

impl Plan {
    /// Sorts, drops exact repetitions and cuts batches. Times are the recording's own until [`Plan::anchor`].
    pub fn new(format: Format, recording: Recording, mapping: &Arc<Mapping>, order: Order) -> Result<Self> {
        let Recording { patients, devices, tally, .. } = recording;
        let ids: Vec<_> =
            patients.iter().map(|name| PatientId::new(name_id(&format!("{}/{name}", format.name())))).collect();
        let mut spans = vec![(i64::MAX, i64::MIN); ids.len()];
        let mut plan = Self {
            fingerprint: name_id(&format!("{}/{}", format.name(), order.name())),
            patients: Vec::new(),
            devices: Vec::with_capacity(devices.len()),
            recording_duplicates: 0,
            tally,
            order,
            spans: Vec::new(),
        };
        for Device { patient, source, mut rows } in devices {
            let name = format!("{}/{}/{source}", format.name(), patients[patient as usize]);
            plan.recording_duplicates += drop_repeated(&mut rows);
            lasting::spread(&mut rows, mapping);
            mistakes_first(&mut rows, mapping);
            rows.sort_by_key(|row| (order.key(row), !row.entered_in_error));
            rows.shrink_to_fit();
            let span = &mut spans[patient as usize];
            for row in &rows {
                *span = (span.0.min(row.measured_ns), span.1.max(row.ended_ns()));
            }
            let device = DeviceId::new(name_id(&name));
            plan.devices.push(DevicePlan {
                device,
                stream: StreamId::new(device.uuid()),
                patient: patient as usize,
                source,
                content: content(device, &rows, mapping),
                ends: cut(&rows),
                rows,
                shift_ns: 0,
                order,
                mapping: Arc::clone(mapping),
            });
        }
        // the order of files and rows of different devices does not matter
        plan.devices.sort_by_key(|device| device.device);
        let contents: Vec<u8> = plan.devices.iter().flat_map(|device| *device.content.as_bytes()).collect();
        plan.fingerprint = Uuid::new_v5(&plan.fingerprint, &contents);
        plan.patients = ids.into_iter().zip(&spans).map(|(id, span)| (id, Nanos(span.0))).collect();
        plan.spans = spans;
        Ok(plan)
    }

    /// Who lies where, and with which devices.
    pub fn beds(&self, format: Format) -> Vec<Bed> {
        let bed = |device: &DevicePlan| {
            let (patient, from) = self.patients[device.patient];
            let number = device.patient + 1;
            Bed {
                patient,
                patient_name: format!("{} {number}", format.title()),
                device: device.device,
                device_name: format!("{} of patient {number}", device.source),
                model: format!("{} {}", format.title(), device.source),
                from,
            }
        };
        self.devices.iter().map(bed).collect()
    }

    /// Moves the end of each patient's last reading to `anchor`; `None` keeps the recording's own times.
    pub fn anchor(&mut self, anchor: Option<Nanos>) -> Result<()> {
        let mut shifts = Vec::with_capacity(self.spans.len());
        for ((_, first), span) in self.patients.iter_mut().zip(&self.spans) {
            let shift = anchor.map_or(Some(0), |anchor| anchor.0.checked_sub(span.1));
            let Some((shift, start)) = shift.and_then(|shift| Some((shift, span.0.checked_add(shift)?))) else {
                bail!("the anchor lies so far from the recording that its times cannot be written");
            };
            *first = Nanos(start);
            shifts.push(shift);
        }
        for device in &mut self.devices {
            device.shift_ns = shifts[device.patient];
            let how = format!("{}/{}", device.order.name(), anchor.map_or("kept".to_owned(), |at| at.0.to_string()));
            device.stream = StreamId::new(Uuid::new_v5(&device.content, how.as_bytes()));
        }
        self.devices.sort_by_key(|device| (device.due(1), device.device));
        Ok(())
    }

    /// Readings that are sent.
    pub fn readings(&self) -> u64 {
        self.devices.iter().map(|device| device.rows.len() as u64).sum()
    }

    /// Batches that are sent.
    pub fn batches(&self) -> u64 {
        self.devices.iter().map(DevicePlan::batches).sum()
    }
}

impl DevicePlan {
    /// Batches; the last one's sequence.
    pub fn batches(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Readings in the batches up to and including a sequence.
    pub fn readings_through(&self, sequence: u64) -> u64 {
        let batches = usize::try_from(sequence).unwrap_or(usize::MAX).min(self.ends.len());
        batches.checked_sub(1).map_or(0, |last| u64::from(self.ends[last]))
    }

    /// When the last reading of a batch was measured or arrived, whichever the order is.
    pub fn due(&self, sequence: u64) -> i64 {
        let last = self.rows(sequence).last();
        last.map_or(i64::MAX, |row| self.order.key(row).saturating_add(self.shift_ns))
    }

    /// A batch as it goes onto the wire.
    pub fn batch(&self, sequence: u64) -> Vec<Reading> {
        self.rows(sequence).iter().map(|row| self.reading(row)).collect()
    }

    fn rows(&self, sequence: u64) -> &[Row] {
        let Some(place) = sequence.checked_sub(1).and_then(|place| usize::try_from(place).ok()) else {
            return &[];
        };
        let from = place.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(place).map_or(&[], |to| &self.rows[from as usize..*to as usize])
    }

    fn reading(&self, row: &Row) -> Reading {
        let sent = self.mapping.sent(row.sent);
        let value = match (sent.absent, &sent.code, sent.comparator) {
            (Some(reason), ..) => Value::AbsentReason(reason.code().into()),
            (_, Some(code), _) => Value::Code(code.clone()),
            (.., Some(sign)) => Value::Bound(Bound { comparator: sign.code().into(), number: Some(row.value) }),
            _ => Value::Number(row.value),
        };
        let at = |at_ns: i64| Some(guard::convert::timestamp(Nanos(at_ns.saturating_add(self.shift_ns))));
        Reading {
            metric: sent.metric.to_owned(),
            measured_at: at(row.measured_ns),
            unit: sent.unit.clone(),
            value: Some(value),
            questionable: row.questionable,
            entered_in_error: row.entered_in_error,
            measured_until: if row.lasting_s == 0 { None } else { at(row.ended_ns()) },
        }
    }
}

fn name_id(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// Drops rows that are equal in everything to an earlier one; says how many.
fn drop_repeated(rows: &mut Vec<Row>) -> u64 {
    let key = |row: &Row| {
        let doubts = (row.questionable, row.entered_in_error);
        (row.measured_ns, row.arrived_ns, row.sent, row.value.to_bits(), doubts)
    };
    let mut places: Vec<u32> = (0..rows.len() as u32).collect();
    places.sort_unstable_by_key(|place| (key(&rows[*place as usize]), *place));
    let mut repeated = vec![false; rows.len()];
    for pair in places.windows(2) {
        repeated[pair[1] as usize] = key(&rows[pair[0] as usize]) == key(&rows[pair[1] as usize]);
    }
    let before = rows.len();
    let mut repeated = repeated.into_iter();
    rows.retain(|_| !repeated.next().unwrap_or(false));
    (before - rows.len()) as u64
}

/// A mistake takes back what its device sent before of the same metric and instant: it is sent before what is right.
fn mistakes_first(rows: &mut [Row], mapping: &Mapping) {
    let place = |row: &Row| (mapping.sent(row.sent).metric, row.measured_ns);
    let mistakes = rows.iter().filter(|row| row.entered_in_error);
    let mut right_ns: HashMap<_, _> = mistakes.map(|row| (place(row), i64::MAX)).collect();
    for row in rows.iter().filter(|row| !row.entered_in_error) {
        if let Some(arrived_ns) = right_ns.get_mut(&place(row)) {
            *arrived_ns = row.arrived_ns.min(*arrived_ns);
        }
    }
    for row in rows.iter_mut().filter(|row| row.entered_in_error) {
        row.arrived_ns = right_ns[&place(row)].min(row.arrived_ns);
    }
}

/// Where batches end.
fn cut(rows: &[Row]) -> Vec<u32> {
    let mut ends = Vec::new();
    let (mut from, mut low, mut high) = (0, i64::MAX, i64::MIN);
    for (place, row) in rows.iter().enumerate() {
        let (lower, higher) = (low.min(row.measured_ns), high.max(row.measured_ns));
        if place > from && (place - from == BATCH_READINGS_MAX || higher.saturating_sub(lower) > BATCH_SPAN_MAX_NS) {
            ends.push(place as u32);
            (from, low, high) = (place, row.measured_ns, row.measured_ns);
        } else {
            (low, high) = (lower, higher);
        }
    }
    if !rows.is_empty() {
        ends.push(rows.len() as u32);
    }
    ends
}

/// What a device sends, as an identifier: changes with any reading, with the mapping of any, and with their order.
fn content(device: DeviceId, rows: &[Row], mapping: &Mapping) -> Uuid {
    const BYTES_PER_ROW: usize = 64;
    let mut bytes = Vec::with_capacity(rows.len() * BYTES_PER_ROW);
    for row in rows {
        let sent = mapping.sent(row.sent);
        bytes.extend(row.measured_ns.to_be_bytes());
        bytes.extend(row.value.to_bits().to_be_bytes());
        for text in [sent.metric, &sent.unit, sent.code.as_deref().unwrap_or("")] {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        }
        bytes.push(u8::from(row.questionable) | u8::from(row.entered_in_error) << 1);
        bytes.extend(sent.comparator.map(|comparator| comparator.code()));
        // no comparator has such a code
        bytes.extend(sent.absent.map(|reason| 0x80 | reason.code()));
        // what has none keeps the identifiers that it has always had
        if row.lasting_s > 0 {
            bytes.extend(row.lasting_s.to_be_bytes());
        }
    }
    Uuid::new_v5(&device.uuid(), &bytes)
}
