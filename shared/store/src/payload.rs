//! A row's value, the same bytes in both engines: when it was received, the clock, the block.
//!
//! Layout: `received_at` (8, big-endian, sign bit flipped), clock code (1), block. Because the time leads and sorts
//! as bytes, "the later version stands, of equal ones the larger" is nothing but "the larger bytes stand". CQL
//! decides the same way when write timestamps are equal, as they are within one microsecond.

use crate::Error;
use bytes::Bytes;
use model::{ClockQuality, Nanos, Row};

const HEAD: usize = 9;
const SIGN: u64 = 1 << 63;

/// The bytes of a row's value.
pub(crate) fn encode(row: &Row) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + row.block.len());
    out.extend_from_slice(&(row.received_at.0 as u64 ^ SIGN).to_be_bytes());
    out.push(row.clock.code());
    out.extend_from_slice(&row.block);
    out
}

/// When the row was received, its clock and its block (which shares `bytes`).
pub(crate) fn decode(bytes: &Bytes) -> Result<(Nanos, ClockQuality, Bytes), Error> {
    let Some((time, [clock, ..])) = bytes.split_first_chunk::<8>() else {
        return Err(Error::Corrupt(format!("a row's value of {} bytes", bytes.len())));
    };
    let received_at = Nanos((u64::from_be_bytes(*time) ^ SIGN) as i64);
    let clock =
        ClockQuality::from_code(*clock).ok_or_else(|| Error::Corrupt(format!("a row with clock code {clock}")))?;
    Ok((received_at, clock, bytes.slice(HEAD..)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{BatchId, DeviceId, Hour, PatientId, StreamId};

    fn row(received_at: i64, block: &'static [u8]) -> Row {
        let id = [7; 16];
        let (device, stream) = (DeviceId::from_bytes(id), StreamId::from_bytes(id));
        Row {
            patient: PatientId::from_bytes(id),
            hour: Hour(0),
            identity: BatchId { device, stream, sequence: 1, digest: 1 },
            received_at: Nanos(received_at),
            clock: ClockQuality::Free,
            metrics: vec![],
            block: Bytes::from_static(block),
        }
    }

    #[test]
    fn a_value_comes_back() {
        let bytes = Bytes::from(encode(&row(-5, b"block")));
        assert_eq!(decode(&bytes).unwrap(), (Nanos(-5), ClockQuality::Free, Bytes::from_static(b"block")));
        assert!(matches!(decode(&bytes.slice(..8)), Err(Error::Corrupt(_))));
        assert!(matches!(decode(&Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 9])), Err(Error::Corrupt(_))));
    }

    #[test]
    fn bytes_sort_by_time_received_first() {
        let sorted = [row(i64::MIN, b"z"), row(-1, b"z"), row(0, b"y"), row(255, b"x"), row(256, b"a"), row(256, b"b")];
        assert!(sorted.map(|r| encode(&r)).is_sorted());
    }
}
