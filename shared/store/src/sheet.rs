//! A sealed hour, the same bytes in both engines: all its rows in one `model::Sheet`, compressed; and its rollups.
//!
//! Layout: length of the sheet (4, big-endian), one zstd frame with a checksum.
//!
//! A seal is derived: rows stay, and whatever is wrong with sealing an hour, it is read as rows.

use crate::{Error, HourData, HourRollups, StoredRow, metrics};
use bytes::Bytes;
use model::{Batch, ClockTolerance, Hour, Malformed, MetricId, Nanos, Rollup, Sheet};
use std::time::{Duration, SystemTime};
use zstd::{bulk, zstd_safe::CParameter};

/// How long an hour must be over before it is sealed: most late data has come by then. In a cluster it also covers how
/// far the clocks of two machines may differ (see [`crate::cql`]).
pub(crate) const SEAL_AFTER: Duration = Duration::from_secs(3 * 3_600);
/// Most bytes of blocks in an hour that is sealed, far above what devices send in one; bounds what sealing takes in
/// memory, and what a reader of one metric must read of the others.
pub(crate) const MAX_HOUR_BYTES: usize = 8 << 20;
/// Most bytes of a sheet: what reading a seal can at most allocate. Sheets are smaller than their rows; this is four
/// times the most there can be of those.
const MAX_SHEET_BYTES: usize = 4 * MAX_HOUR_BYTES;
/// Better levels take several times longer, and sheets are small by then.
const LEVEL: i32 = 3;
const HEAD: usize = 4;

/// What an hour's rows amount to.
pub(crate) struct Amount {
    /// The hour's sheet, encoded and compressed with zstd.
    pub seal: Vec<u8>,
    /// The hour's rollups, encoded.
    pub rollups: Vec<u8>,
}

/// Puts the rows of an hour into a seal; `None` when there are none, or (counted and logged) when they stay rows.
pub(crate) fn seal(
    engine: &'static str,
    hour: Hour,
    rows: Result<Vec<StoredRow>, Error>,
    tolerance: ClockTolerance,
) -> Result<Option<Amount>, Error> {
    let rows = match rows {
        Err(Error::Corrupt(what)) => {
            left_unreadable(engine, &what);
            return Ok(None);
        }
        other => other?,
    };
    if rows.is_empty() {
        return Ok(None);
    }
    if rows.iter().map(|row| row.block.len()).sum::<usize>() > MAX_HOUR_BYTES {
        metrics::not_sealed(engine, "size");
        return Ok(None);
    }
    let sheet = match collect(hour, &rows, &[]) {
        Ok(sheet) => sheet,
        Err(cause) => {
            left_unreadable(engine, &cause);
            return Ok(None);
        }
    };
    let bytes = sheet.encode().filter(|bytes| bytes.len() <= MAX_SHEET_BYTES);
    // a seal that no reader takes would hide rows that can be read
    let Some(bytes) = bytes.filter(|bytes| Sheet::decode(hour, bytes, &[]).is_ok()) else {
        metrics::not_sealed(engine, "size");
        return Ok(None);
    };
    let seal = compress(&bytes).map_err(|cause| Error::Unavailable(Box::new(cause)))?;
    Ok(Some(Amount { seal, rollups: Rollup::encode(&Rollup::of(&sheet, tolerance), tolerance) }))
}

/// The rollups of an hour that has none stored, or none of the right version.
pub(crate) fn roll_up(data: &HourData, tolerance: ClockTolerance) -> Result<HourRollups, Error> {
    let sheet = data.sheet(&[]).map_err(|cause| Error::Corrupt(cause.to_string()))?;
    Ok(HourRollups { hour: data.hour, rollups: Rollup::of(&sheet, tolerance) })
}

/// The rollups stored of an hour; `None` when they were made under another rule.
pub(crate) fn stored_rollups(
    hour: Hour,
    bytes: &[u8],
    tolerance: ClockTolerance,
) -> Result<Option<HourRollups>, Error> {
    let rollups = Rollup::decode(bytes, tolerance).map_err(|cause| Error::Corrupt(cause.to_string()))?;
    Ok(rollups.map(|rollups| HourRollups { hour, rollups }))
}

/// Puts rows of one hour together.
pub(crate) fn collect(hour: Hour, rows: &[StoredRow], wanted: &[MetricId]) -> Result<Sheet, Malformed> {
    let batch = |row: &StoredRow| Batch { identity: row.identity, received_at: row.received_at, clock: row.clock };
    Sheet::collect(hour, rows.iter().map(|row| (batch(row), &row.block[..])), wanted)
}

fn left_unreadable(engine: &'static str, cause: &dyn std::fmt::Display) {
    // somebody should see to it: its rows cannot be shown either
    tracing::error!(error = %cause, "an hour has a row that cannot be read: it is not sealed");
    metrics::not_sealed(engine, "unreadable");
}

fn compress(sheet: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut compressor = bulk::Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    // at most MAX_SHEET_BYTES
    let mut out = (sheet.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(&compressor.compress(sheet)?);
    Ok(out)
}

/// The encoded sheet that a seal holds, decompressed.
pub(crate) fn open(seal: &[u8]) -> Result<Bytes, Error> {
    let corrupt = |what: &str| Error::Corrupt(format!("a seal of {} bytes: {what}", seal.len()));
    let (length, frame) = seal.split_first_chunk::<HEAD>().ok_or_else(|| corrupt("too short"))?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > MAX_SHEET_BYTES {
        return Err(corrupt("a sheet larger than any"));
    }
    let sheet = bulk::decompress(frame, length).map_err(|cause| corrupt(&cause.to_string()))?;
    if sheet.len() != length {
        return Err(corrupt("a sheet of another length"));
    }
    Ok(sheet.into())
}

/// The first hour that is not yet sealed, because it is not over for long enough.
pub(crate) fn first_open_hour(now: Nanos) -> Hour {
    // three hours fit
    now.plus(-(SEAL_AFTER.as_nanos() as i64)).hour()
}

/// The wall clock of this machine.
pub(crate) fn now() -> Nanos {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_comes_back_and_damage_is_noticed() {
        let sheet: Vec<_> = (0..5_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let good = compress(&sheet).unwrap();
        assert!(good.len() < sheet.len() / 2);
        assert_eq!(open(&good).unwrap(), sheet);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(!matches!(open(&bad), Ok(found) if found != sheet), "byte {at}");
            assert!(matches!(open(&good[..at]), Err(Error::Corrupt(_))), "cut at {at}");
        }
        let mut bomb = good;
        bomb[..HEAD].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(open(&bomb), Err(Error::Corrupt(_))));
    }

    #[test]
    fn an_hour_is_open_until_three_hours_after_its_end() {
        let end = Hour(9).end().plus(3 * 3_600 * Nanos::SECOND);
        assert_eq!([first_open_hour(end.plus(-1)), first_open_hour(end)], [Hour(9), Hour(10)]);
    }
}
