//! One batch on its way: the [`Record`] that the log keeps, the [`Row`]s that the store keeps.
//!
//! A record is one device's batch for one patient, cut into hours. Layout, version 1: `0x57 0x01`, patient,
//! device, stream (16 bytes each), sequence (8), digest (8), received_at (8), clock (1), varint acked, varint n, then per hour
//! zigzag hour, varint length, block; last the lower half of the XXH3 of all before it (4).

use crate::{
    block::{self, Column},
    bytes::{Malformed, Reader, put_signed, put_varint},
    catalog::MetricId,
    id::{DeviceId, PatientId, StreamId},
    reading::ClockQuality,
    time::{Hour, Nanos},
};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

const HEAD: [u8; 2] = [0x57, 1];
const CHECKSUM: usize = 4;

/// Which batch: sent twice it lands on itself. Two batches that share a sequence but not their content (a device
/// that restarted its count) have different digests and both survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId {
    /// The device that sent the batch.
    pub device: DeviceId,
    /// The run of sequence numbers.
    pub stream: StreamId,
    /// The batch's place in the stream, from 1.
    pub sequence: u64,
    /// XXH3 of the batch as the device sent it.
    pub digest: u64,
}

/// A batch in the log: one patient's readings, by hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The patient whose readings these are.
    pub patient: PatientId,
    /// Identity of the batch: device, stream, sequence and digest.
    pub identity: BatchId,
    /// When the batch was accepted, by our clock.
    pub received_at: Nanos,
    /// What the device says of its clock.
    pub clock: ClockQuality,
    /// Every batch of the stream up to this sequence was durable when this one was published; 0 when unknown.
    /// What the store may tell a device that asks where it was (the sequence of a stored row may not: an earlier
    /// batch for another patient, in another partition, may have been lost with its producer, unacknowledged).
    pub acked_through: u64,
    /// The readings, one slice per hour, ascending.
    pub slices: Vec<Slice>,
}

/// The part of a batch that falls into one hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// The hour (UTC) that the readings were measured in.
    pub hour: Hour,
    /// A [`crate::Block`] of that hour.
    pub block: Bytes,
}

/// One hour's part of one batch as the store keeps it: its key is patient, hour and identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The patient whose readings these are.
    pub patient: PatientId,
    /// The hour in which they were measured.
    pub hour: Hour,
    /// Identity of the batch: device, stream, sequence and digest.
    pub identity: BatchId,
    /// When the batch was accepted: of two versions of one row the later stands.
    pub received_at: Nanos,
    /// What the device says of its clock.
    pub clock: ClockQuality,
    /// Catalogue numbers of the metrics in the block, ascending, and how far it reaches ([`crate::Reach`]).
    pub metrics: Vec<MetricId>,
    /// A [`crate::Block`] of the hour.
    pub block: Bytes,
}

impl Record {
    /// Encodes the record in the layout of version 1, with its checksum.
    pub fn encode(&self) -> Bytes {
        let payload: usize = self.slices.iter().map(|s| s.block.len() + 8).sum();
        let mut out = Vec::with_capacity(payload + 96);
        out.extend_from_slice(&HEAD);
        out.extend_from_slice(self.patient.as_bytes());
        out.extend_from_slice(self.identity.device.as_bytes());
        out.extend_from_slice(self.identity.stream.as_bytes());
        out.extend_from_slice(&self.identity.sequence.to_le_bytes());
        out.extend_from_slice(&self.identity.digest.to_le_bytes());
        out.extend_from_slice(&self.received_at.0.to_le_bytes());
        out.push(self.clock.code());
        put_varint(&mut out, self.acked_through);
        put_varint(&mut out, self.slices.len() as u64);
        for slice in &self.slices {
            put_signed(&mut out, i64::from(slice.hour.0));
            put_varint(&mut out, slice.block.len() as u64);
            out.extend_from_slice(&slice.block);
        }
        out.extend_from_slice(&(xxh3_64(&out) as u32).to_le_bytes());
        out.into()
    }

    /// Reads a record back; the slices share `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        if input.array()? != HEAD {
            return Err(Malformed { at: 0, what: "a record of version 1" });
        }
        let body = bytes.len().checked_sub(CHECKSUM).ok_or_else(|| input.malformed("a checksum"))?;
        if (xxh3_64(&bytes[..body]) as u32).to_le_bytes() != bytes[body..] {
            return Err(Malformed { at: body, what: "a checksum that matches" });
        }
        let patient = PatientId::from_bytes(input.array()?);
        let identity = BatchId {
            device: DeviceId::from_bytes(input.array()?),
            stream: StreamId::from_bytes(input.array()?),
            sequence: u64::from_le_bytes(input.array()?),
            digest: u64::from_le_bytes(input.array()?),
        };
        if i64::try_from(identity.sequence).is_err() {
            return Err(input.malformed("a sequence below 2^63"));
        }
        let received_at = Nanos(i64::from_le_bytes(input.array()?));
        let clock = ClockQuality::from_code(input.byte()?).ok_or_else(|| input.malformed("a clock quality"))?;
        let acked_through = input.varint()?;
        let n = input.count(2)?;
        let mut slices = Vec::with_capacity(n);
        for _ in 0..n {
            let hour = i32::try_from(input.signed()?).map_err(|_| input.malformed("an hour"))?;
            let len = input.count(1)?;
            let start = input.at();
            input.take(len)?;
            slices.push(Slice { hour: Hour(hour), block: bytes.slice(start..start + len) });
        }
        if input.at() != body {
            return Err(input.malformed("the checksum"));
        }
        Ok(Self { patient, identity, received_at, clock, acked_through, slices })
    }

    /// The rows that the record becomes; fails when one of its blocks cannot be read.
    pub fn rows(self) -> Result<Vec<Row>, Malformed> {
        let mut scratch = Column::scratch();
        let row = |slice: Slice| {
            let metrics = block::metrics(slice.hour, &slice.block, &mut scratch)?;
            Ok(Row {
                patient: self.patient,
                hour: slice.hour,
                identity: self.identity,
                received_at: self.received_at,
                clock: self.clock,
                metrics,
                block: slice.block,
            })
        };
        self.slices.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Block;
    use uuid::Uuid;

    fn record() -> Record {
        let mut block = Vec::new();
        Block::default().encode(Hour(7), &mut block);
        let id = Uuid::from_u128(7);
        Record {
            patient: PatientId::new(id),
            identity: BatchId { device: DeviceId::new(id), stream: StreamId::new(id), sequence: 9, digest: 1 },
            received_at: Nanos(5),
            clock: ClockQuality::Free,
            acked_through: 300,
            slices: vec![
                Slice { hour: Hour(7), block: block.clone().into() },
                Slice { hour: Hour(-8), block: block.into() },
            ],
        }
    }

    #[test]
    fn a_record_comes_back() {
        let record = record();
        assert_eq!(Record::decode(&record.encode()), Ok(record.clone()));
        assert_eq!(record.rows().unwrap().len(), 2);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = record().encode();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.to_vec();
                bad[at] ^= 1 << bit;
                assert!(Record::decode(&bad.into()).is_err(), "bit {bit} of byte {at}");
            }
            assert!(Record::decode(&good.slice(..at)).is_err(), "cut at {at}");
        }
    }
}
