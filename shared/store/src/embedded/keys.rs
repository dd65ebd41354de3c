//! How keys and small values look on disk: big-endian, so that bytes sort as the things do.

use crate::{Error, LogPosition, Quarantined, Revision, Thing, stretches::Entry};
use bytes::Bytes;
use model::{BatchId, DeviceId, Hour, MetricId, Nanos, PatientId, Row, StreamId, UserId, WriterId};
use uuid::Uuid;

/// Length of a key in `blocks`.
pub(super) const BLOCK: usize = 68;
/// Length of a key in `hours`.
pub(super) const HOUR: usize = 20;
/// Length of a key in `audit`.
pub(super) const AUDIT: usize = 24;
/// Length of a key in `sequences`.
const SEQUENCES: usize = 60;
const SIGN: u32 = 1 << 31;

/// `blocks`: patient (16), hour (4), device (16), stream (16), sequence (8), digest (8).
pub(super) fn block(row: &Row) -> [u8; BLOCK] {
    let mut key = [0; BLOCK];
    key[..HOUR].copy_from_slice(&hour(row.patient, row.hour));
    key[20..36].copy_from_slice(row.identity.device.as_bytes());
    key[36..52].copy_from_slice(row.identity.stream.as_bytes());
    key[52..60].copy_from_slice(&row.identity.sequence.to_be_bytes());
    key[60..].copy_from_slice(&row.identity.digest.to_be_bytes());
    key
}

/// The hour and the identity in a key of `blocks`.
pub(super) fn parse_block(key: &[u8]) -> Result<(Hour, BatchId), Error> {
    if key.len() != BLOCK {
        return Err(Error::Corrupt(format!("a block's key of {} bytes", key.len())));
    }
    let identity = BatchId {
        device: DeviceId::from_bytes(part(key, 20)),
        stream: StreamId::from_bytes(part(key, 36)),
        sequence: u64::from_be_bytes(part(key, 52)),
        digest: u64::from_be_bytes(part(key, 60)),
    };
    Ok((parse_hour(key)?, identity))
}

/// `hours`: patient (16), hour (4, sign bit flipped).
pub(super) fn hour(patient: PatientId, hour: Hour) -> [u8; HOUR] {
    let mut key = [0; HOUR];
    key[..16].copy_from_slice(patient.as_bytes());
    key[16..].copy_from_slice(&(hour.0 as u32 ^ SIGN).to_be_bytes());
    key
}

/// The hour in a key that starts like one of `hours`.
pub(super) fn parse_hour(key: &[u8]) -> Result<Hour, Error> {
    if key.len() < HOUR {
        return Err(Error::Corrupt(format!("an hour's key of {} bytes", key.len())));
    }
    Ok(Hour((u32::from_be_bytes(part(key, 16)) ^ SIGN) as i32))
}

/// The patient and the hour in a key of `hours` or `seals`.
pub(super) fn parse_patient_hour(key: &[u8; HOUR]) -> (PatientId, Hour) {
    (PatientId::from_bytes(part(key, 0)), Hour((u32::from_be_bytes(part(key, 16)) ^ SIGN) as i32))
}

/// `unsealed`: hour (4, sign bit flipped), patient (16), so that the oldest hours come first.
pub(super) fn unsealed(hour: &[u8; HOUR]) -> [u8; HOUR] {
    let mut key = *hour;
    key.rotate_right(4);
    key
}

/// The first key in `unsealed` that an hour can have.
pub(super) fn first_unsealed(of: Hour) -> [u8; HOUR] {
    unsealed(&hour(PatientId::from_bytes([0; 16]), of))
}

/// The key in `hours` and `seals` for a key of `unsealed`.
pub(super) fn parse_unsealed(key: &[u8]) -> Result<[u8; HOUR], Error> {
    let key: [u8; HOUR] =
        key.try_into().map_err(|_| Error::Corrupt(format!("an unsealed hour's key of {} bytes", key.len())))?;
    let mut hour = key;
    hour.rotate_left(4);
    Ok(hour)
}

/// When an unsealed hour was touched: nanoseconds, 8 bytes.
pub(super) fn parse_touched(bytes: &[u8]) -> Result<Nanos, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Corrupt(format!("a touched time of {} bytes", bytes.len())))?;
    Ok(Nanos(i64::from_be_bytes(bytes)))
}

/// The metrics of an hour: two bytes each, ascending.
pub(super) fn metrics(metrics: &[MetricId]) -> Vec<u8> {
    metrics.iter().flat_map(|m| m.0.to_be_bytes()).collect()
}

/// Reads the metrics of an hour back.
pub(super) fn parse_metrics(bytes: &[u8]) -> Result<Vec<MetricId>, Error> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let metrics: Vec<_> = pairs.iter().map(|pair| MetricId(u16::from_be_bytes(*pair))).collect();
    if !rest.is_empty() || !metrics.is_sorted_by(|a, b| a < b) {
        return Err(Error::Corrupt("an hour's metrics out of order".into()));
    }
    Ok(metrics)
}

/// How a batch's keys in `blocks` start, but for the digest.
pub(super) fn batches(
    patient: PatientId,
    of: Hour,
    device: DeviceId,
    stream: StreamId,
    sequence: u64,
) -> [u8; BLOCK - 8] {
    let mut key = [0; BLOCK - 8];
    key[..HOUR].copy_from_slice(&hour(patient, of));
    key[20..52].copy_from_slice(&position(device, stream));
    key[52..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// `sequences`: device (16), stream (16), stretch (8), patient (16), hour (4, sign bit flipped).
pub(super) fn sequences(entry: &Entry) -> [u8; SEQUENCES] {
    let mut key = [0; SEQUENCES];
    key[..40].copy_from_slice(&stretch(entry.device, entry.stream, entry.stretch));
    key[40..].copy_from_slice(&hour(entry.patient, entry.hour));
    key
}

/// How the keys in `sequences` of one stretch start.
pub(super) fn stretch(device: DeviceId, stream: StreamId, stretch: u64) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(&position(device, stream));
    key[32..].copy_from_slice(&stretch.to_be_bytes());
    key
}

/// The stretch, patient and hour in a key of `sequences`.
pub(super) fn parse_sequences(key: &[u8]) -> Result<(u64, PatientId, Hour), Error> {
    let Some((head, place)) = key.split_last_chunk().filter(|(head, _)| head.len() == 40) else {
        return Err(Error::Corrupt(format!("a key of the index of sequences of {} bytes", key.len())));
    };
    let (patient, hour) = parse_patient_hour(place);
    Ok((u64::from_be_bytes(part(head, 32)), patient, hour))
}

/// `positions`: device (16), stream (16).
pub(super) fn position(device: DeviceId, stream: StreamId) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(device.as_bytes());
    key[16..].copy_from_slice(stream.as_bytes());
    key
}

/// Reads a sequence noted in `positions`.
pub(super) fn parse_position(bytes: &[u8]) -> Result<u64, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Corrupt(format!("a position of {} bytes", bytes.len())))?;
    Ok(u64::from_be_bytes(bytes))
}

/// `positions`, too: device (16); when it was heard last.
pub(super) fn sighting(device: DeviceId) -> [u8; 16] {
    *device.as_bytes()
}

/// Its value: a time (8), and the stream that was used then (16).
pub(super) fn sighting_value(at: Nanos, stream: StreamId) -> [u8; 24] {
    let mut value = [0; 24];
    value[..8].copy_from_slice(&at.0.to_be_bytes());
    value[8..].copy_from_slice(stream.as_bytes());
    value
}

/// Reads a time noted in `positions`, and the stream; what was noted before streams were has none.
pub(super) fn parse_sighting(bytes: &[u8]) -> Result<(Nanos, Option<StreamId>), Error> {
    let wrong = || Error::Corrupt(format!("a device's time of {} bytes", bytes.len()));
    let (at, stream) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
    let stream = match stream {
        [] => None,
        stream => Some(StreamId::from_bytes(stream.try_into().map_err(|_| wrong())?)),
    };
    Ok((Nanos(i64::from_be_bytes(*at)), stream))
}

/// `quarantine`: topic, a zero (no topic's name has one), partition (4, sign flipped), offset (8, sign flipped).
pub(super) fn log_position(position: &LogPosition) -> Vec<u8> {
    let mut key = Vec::with_capacity(position.topic.len() + 13);
    key.extend_from_slice(position.topic.as_bytes());
    key.push(0);
    key.extend_from_slice(&(position.partition as u32 ^ SIGN).to_be_bytes());
    key.extend_from_slice(&(position.offset as u64 ^ (u64::from(SIGN) << 32)).to_be_bytes());
    key
}

/// A record put aside: at (8), replayed at (1 + 8), length of the reason (4), reason, payload.
pub(super) fn quarantined(record: &Quarantined) -> Vec<u8> {
    let mut out = Vec::with_capacity(21 + record.reason.len() + record.payload.len());
    out.extend_from_slice(&record.at.0.to_be_bytes());
    out.push(u8::from(record.replayed_at.is_some()));
    out.extend_from_slice(&record.replayed_at.unwrap_or(Nanos(0)).0.to_be_bytes());
    // a reason is one line
    out.extend_from_slice(&(record.reason.len() as u32).to_be_bytes());
    out.extend_from_slice(record.reason.as_bytes());
    out.extend_from_slice(&record.payload);
    out
}

/// Reads a record put aside back.
pub(super) fn parse_quarantined(key: &[u8], value: &[u8]) -> Result<Quarantined, Error> {
    let corrupt = || Error::Corrupt("a record put aside that cannot be read".into());
    let (topic, position) =
        key.split_last_chunk::<13>().map(|(topic, position)| (topic, *position)).ok_or_else(corrupt)?;
    let (head, rest) = value.split_first_chunk::<21>().ok_or_else(corrupt)?;
    let (reason, payload) = rest.split_at_checked(u32::from_be_bytes(part(head, 17)) as usize).ok_or_else(corrupt)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| corrupt());
    Ok(Quarantined {
        position: LogPosition {
            topic: text(topic)?,
            partition: (u32::from_be_bytes(part(&position, 1)) ^ SIGN) as i32,
            offset: (u64::from_be_bytes(part(&position, 5)) ^ (u64::from(SIGN) << 32)) as i64,
        },
        at: Nanos(i64::from_be_bytes(part(head, 0))),
        reason: text(reason)?,
        payload: Bytes::copy_from_slice(payload),
        replayed_at: (head[8] == 1).then(|| Nanos(i64::from_be_bytes(part(head, 9)))),
    })
}

/// `audit`: writer (16), sequence (8).
pub(super) fn audit(writer: WriterId, sequence: u64) -> [u8; AUDIT] {
    let mut key = [0; AUDIT];
    key[..16].copy_from_slice(writer.as_bytes());
    key[16..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// The writer and the sequence in a key of `audit`.
pub(super) fn parse_audit(key: &[u8]) -> Result<(WriterId, u64), Error> {
    if key.len() != AUDIT {
        return Err(Error::Corrupt(format!("an audit entry's key of {} bytes", key.len())));
    }
    Ok((WriterId::from_bytes(part(key, 0)), u64::from_be_bytes(part(key, 16))))
}

/// `audit_by_time`: at (8, sign bit flipped), key in `audit` (24). `audit_by_patient`: patient (16), the same.
pub(super) fn audit_index(patient: Option<PatientId>, at: Nanos, entry: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(24 + AUDIT);
    key.extend_from_slice(patient.as_ref().map_or(&[], |patient| patient.as_bytes()));
    key.extend_from_slice(&(at.0 as u64 ^ (u64::from(SIGN) << 32)).to_be_bytes());
    key.extend_from_slice(entry);
    key
}

/// The time, and the key in `audit`, that a key of an index ends with.
pub(super) fn parse_audit_index(key: &[u8]) -> Result<(Nanos, [u8; AUDIT]), Error> {
    let (head, entry) = key.split_last_chunk().ok_or_else(|| bad_audit_index(key))?;
    let (_, at) = head.split_last_chunk().ok_or_else(|| bad_audit_index(key))?;
    Ok((Nanos((u64::from_be_bytes(*at) ^ (u64::from(SIGN) << 32)) as i64), *entry))
}

fn bad_audit_index(key: &[u8]) -> Error {
    Error::Corrupt(format!("a key of the audit index of {} bytes", key.len()))
}

/// Key in `registry_changes`: the sequence, 8 bytes, big-endian.
pub(super) fn change(sequence: u64) -> [u8; 8] {
    sequence.to_be_bytes()
}

/// The sequence in a key of `registry_changes`.
pub(super) fn parse_change(key: &[u8]) -> Result<u64, Error> {
    let key = key.try_into().map_err(|_| Error::Corrupt(format!("a change's key of {} bytes", key.len())))?;
    Ok(u64::from_be_bytes(key))
}

/// `profiles`: user (16), revision (16).
pub(super) fn profile(user: UserId, revision: Revision) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(user.as_bytes());
    key[16..].copy_from_slice(&revision);
    key
}

/// `things`: kind (1), id (16).
pub(super) fn thing(thing: Thing) -> [u8; 17] {
    let mut key = [0; 17];
    key[..1].copy_from_slice(&thing.kind.code().to_be_bytes());
    key[1..].copy_from_slice(thing.id.as_bytes());
    key
}

/// The id in a key of `things`.
pub(super) fn parse_thing(key: &[u8]) -> Result<Uuid, Error> {
    let key: &[u8; 17] = key.try_into().map_err(|_| Error::Corrupt(format!("a thing's key of {} bytes", key.len())))?;
    Ok(Uuid::from_bytes(part(key, 1)))
}

/// `steps`: kind (1), id (16), number (4).
pub(super) fn step(of: Thing, number: u32) -> [u8; 21] {
    let mut key = [0; 21];
    key[..17].copy_from_slice(&thing(of));
    key[17..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The number in a key of `steps`.
pub(super) fn parse_step(key: &[u8]) -> Result<u32, Error> {
    let (_, number) = key
        .split_last_chunk()
        .filter(|(head, _)| head.len() == 17)
        .ok_or_else(|| Error::Corrupt(format!("a step's key of {} bytes", key.len())))?;
    Ok(u32::from_be_bytes(*number))
}

/// Reads a number kept in `things`.
pub(super) fn parse_number(bytes: &[u8]) -> Result<u32, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Corrupt(format!("a step's number of {} bytes", bytes.len())))?;
    Ok(u32::from_be_bytes(bytes))
}

/// `N` bytes from `at`; the caller has checked the length.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}
