//! Which batches are archived: of each stream the sequences, as ranges. A device numbers its batches without gaps, so that a stream
//! is one range, about 100 bytes.
//!
//! A batch may be about two patients: each part is a record of its own.

use super::{
    Error,
    generations::{Archive, Held, damaged},
    names,
};
use bytes::Bytes;
use datafusion::arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type},
};
use model::{DeviceId, PatientId, Record, StreamId};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// Whose batches of one stream.
pub(crate) type Stream = (PatientId, DeviceId, StreamId);

/// The sequences of each stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen(HashMap<Stream, Ranges>);

/// Numbers as ranges: the first of each, and its last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn has(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
    }

    fn add(&mut self, number: u64) {
        if self.has(number) {
            return;
        }
        let mut range = (number, number);
        if let Some(after) = number.checked_add(1).and_then(|next| self.0.remove(&next)) {
            range.1 = after;
        }
        if let Some((&first, &last)) = self.0.range(..number).next_back()
            && last + 1 == number
        {
            range.0 = first;
        }
        self.0.insert(range.0, range.1);
    }
}

/// Whose batch it is, and its number in its stream.
pub(crate) fn of(record: &Record) -> (Stream, u64) {
    let identity = &record.identity;
    ((record.patient, identity.device, identity.stream), identity.sequence)
}

/// Bytes of a stream's ids, and of each number.
const IDS: usize = 48;
const NUMBER: usize = 8;

/// Columns that say whose batch a row is of.
const COLUMNS: [&str; 4] = ["patient_id", "device_id", "stream_id", "sequence"];

impl Seen {
    /// Of a partition's files: what an object says of merged ones, and the batches in those after them.
    pub(crate) async fn load(archive: &Archive, below: &str, held: &Held) -> Result<Self, Error> {
        let mut seen = Self::default();
        if let Some(to) = held.seen_to {
            let key = names::seen(below, to);
            seen = Self::decode(&key, &archive.there(&key).await?)?;
        }
        for range in held.files.keys().filter(|range| held.seen_to.is_none_or(|to| range.from >= to)) {
            let key = names::file(below, *range);
            seen.add_file(&key, archive.there(&key).await?)?;
        }
        Ok(seen)
    }

    /// Notes the batches of a file's rows.
    fn add_file(&mut self, key: &str, file: Bytes) -> Result<(), Error> {
        let damaged = |error: String| damaged(key, &error);
        let file = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(error.to_string()))?;
        let mask = ProjectionMask::columns(file.parquet_schema(), COLUMNS);
        for rows in file.with_projection(mask).build()? {
            let rows = rows.map_err(|error| damaged(error.to_string()))?;
            self.add_rows(&rows).ok_or_else(|| damaged("its rows do not say whose they are".to_owned()))?;
        }
        Ok(())
    }

    /// `None`: they do not say whose they are.
    fn add_rows(&mut self, rows: &RecordBatch) -> Option<()> {
        let [patients, devices, streams, sequences] = COLUMNS.map(|name| rows.column_by_name(name));
        let texts = |column| cast(column, &DataType::Utf8).ok();
        let ids = [texts(patients?)?, texts(devices?)?, texts(streams?)?];
        let ids = ids.each_ref().map(|column| column.as_string::<i32>());
        let sequences = sequences?.as_primitive_opt::<Int64Type>()?;
        let mut last = None;
        for (row, sequence) in sequences.values().iter().enumerate() {
            let batch = (ids.map(|column| column.value(row)), u64::try_from(*sequence).ok()?);
            // a batch has many rows
            if last.replace(batch) == Some(batch) {
                continue;
            }
            let id = |text| Uuid::try_parse(text).ok();
            let ([patient, device, stream], sequence) = batch;
            let stream = (PatientId::new(id(patient)?), DeviceId::new(id(device)?), StreamId::new(id(stream)?));
            self.add((stream, sequence));
        }
        Some(())
    }

    /// Notes a batch.
    pub(crate) fn add(&mut self, (stream, sequence): (Stream, u64)) {
        self.0.entry(stream).or_default().add(sequence);
    }

    /// Whether a batch was noted.
    fn has(&self, (stream, sequence): &(Stream, u64)) -> bool {
        self.0.get(stream).is_some_and(|ranges| ranges.has(*sequence))
    }

    /// Those records that were not there before, neither noted nor among those in front of them.
    pub(crate) fn new_ones<'a>(&self, records: impl IntoIterator<Item = &'a Record>) -> Vec<&'a Record> {
        let mut here = HashSet::new();
        records.into_iter().filter(|record| !self.has(&of(record)) && here.insert(of(record))).collect()
    }

    /// As bytes: of each stream its ids, the number of ranges, and these; little-endian, in the order of the ids.
    pub(crate) fn encode(&self) -> Bytes {
        let mut streams: Vec<_> = self.0.iter().collect();
        streams.sort_unstable_by_key(|(stream, _)| **stream);
        let mut out = Vec::with_capacity(streams.len() * (IDS + 3 * NUMBER));
        for ((patient, device, stream), ranges) in streams {
            for id in [patient.as_bytes(), device.as_bytes(), stream.as_bytes()] {
                out.extend_from_slice(id);
            }
            let numbers = ranges.0.iter().flat_map(|(first, last)| [*first, *last]);
            for number in [ranges.0.len() as u64].into_iter().chain(numbers) {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out.into()
    }

    /// Reads them back; `key` names them in an error.
    pub(crate) fn decode(key: &str, bytes: &[u8]) -> Result<Self, Error> {
        let damaged = || damaged(key, "it is cut off");
        let (mut seen, mut rest) = (Self::default(), bytes);
        while !rest.is_empty() {
            let mut id = || {
                let (id, after) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
                rest = after;
                Ok::<_, Error>(*id)
            };
            let (patient, device, stream) = (id()?, id()?, id()?);
            let mut number = || {
                let (number, after) = rest.split_first_chunk::<NUMBER>().ok_or_else(damaged)?;
                rest = after;
                Ok::<_, Error>(u64::from_le_bytes(*number))
            };
            let mut ranges = Ranges::default();
            for _ in 0..number()? {
                ranges.0.insert(number()?, number()?);
            }
            let stream = (PatientId::from_bytes(patient), DeviceId::from_bytes(device), StreamId::from_bytes(stream));
            seen.0.insert(stream, ranges);
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn numbers_are_those_that_were_added(numbers in prop::collection::vec(0u64..40, 0..60)) {
            let (mut ranges, mut all) = (Ranges::default(), BTreeSet::new());
            for number in numbers {
                ranges.add(number);
                all.insert(number);
            }
            for number in 0..42 {
                prop_assert_eq!(ranges.has(number), all.contains(&number));
            }
            let gaps = all.iter().filter(|number| !all.contains(&(*number + 1))).count();
            prop_assert_eq!(ranges.0.len(), gaps, "as few ranges as there can be");
        }
    }

    #[test]
    fn what_was_seen_comes_back_and_a_cut_is_noticed() {
        let id = |n| [n; 16];
        let mut seen = Seen::default();
        for (stream, sequence) in [(1, 1), (1, 2), (1, 9), (2, 5), (1, u64::MAX)] {
            let stream = (PatientId::from_bytes(id(7)), DeviceId::from_bytes(id(8)), StreamId::from_bytes(id(stream)));
            seen.add((stream, sequence));
        }
        let bytes = seen.encode();
        assert_eq!(Seen::decode("x", &bytes).unwrap(), seen);
        for cut in [1, 15, 47, bytes.len() - 1] {
            assert!(Seen::decode("x", &bytes[..cut]).unwrap_err().to_string().contains("x is damaged"), "{cut}");
        }
    }
}
