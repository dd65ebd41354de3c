//! Page tokens: where a page ended, sealed, bound to caller and question, for a quarter of an hour.

use crate::readings::Key;
use auth::Sealer;
use model::{DeviceId, Identity, Nanos, Range, StreamId, access::Principal, access::Subject};
use proto::{
    problem,
    telemetry::v1::{ReadTimelineRequest, TimelineLayout},
};
use tonic::Status;

/// How long a page token can be used, in nanoseconds.
const VALID_NS: i64 = 15 * 60 * Nanos::SECOND;
const BYTES: usize = 8 * 3 + 8 + 16 + 16 + 8 + 8 + 4;

/// Where the next page begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cursor {
    /// The range of the first page, in which "now" was settled.
    pub range: Range,
    /// The last reading that was given out.
    pub after: Key,
}

/// Who asks, and what: a token serves for nothing else.
pub(crate) fn context(principal: &Principal, request: &ReadTimelineRequest) -> Vec<u8> {
    let mut text = Vec::new();
    match principal.subject {
        Subject::User(user) => text.extend_from_slice(user.as_bytes()),
        Subject::Device(device) => text.extend_from_slice(device.as_bytes()),
    }
    let stamp = |at: &Option<proto::prost_types::Timestamp>| at.map(|at| (at.seconds, at.nanos));
    let ReadTimelineRequest { patient_id, metrics, from, to, layout, .. } = request;
    let columns = *layout == TimelineLayout::Columns as i32;
    text.extend_from_slice(format!("{patient_id}|{metrics:?}|{:?}|{:?}|{columns}", stamp(from), stamp(to)).as_bytes());
    text
}

impl Cursor {
    pub(crate) fn seal(&self, sealer: &Sealer, context: &[u8], now: Nanos) -> Option<String> {
        let Key { at, identity, index } = self.after;
        let mut text = Vec::with_capacity(BYTES);
        for time in [now.plus(VALID_NS), self.range.from(), self.range.to(), at] {
            text.extend_from_slice(&time.0.to_le_bytes());
        }
        text.extend_from_slice(identity.device.as_bytes());
        text.extend_from_slice(identity.stream.as_bytes());
        text.extend_from_slice(&identity.sequence.to_le_bytes());
        text.extend_from_slice(&identity.digest.to_le_bytes());
        text.extend_from_slice(&index.to_le_bytes());
        sealer.seal(&text, context)
    }

    pub(crate) fn open(token: &str, sealer: &Sealer, context: &[u8], now: Nanos) -> Result<Self, Status> {
        let bad = || {
            let text = "not a token of this request, or older than 15 minutes; start again without it";
            problem::invalid("INVALID_PAGE_TOKEN", "page_token", text)
        };
        let text = sealer.open(token, context).filter(|text| text.len() == BYTES).ok_or_else(bad)?;
        let mut rest = &text[..];
        let mut next = |n: usize| {
            let (head, tail) = rest.split_at(n);
            rest = tail;
            head
        };
        let mut eight = [[0u8; 8]; 4];
        eight.iter_mut().for_each(|bytes| bytes.copy_from_slice(next(8)));
        let [ends, from, to, at] = eight.map(|bytes| Nanos(i64::from_le_bytes(bytes)));
        let mut sixteen = [[0u8; 16]; 2];
        sixteen.iter_mut().for_each(|bytes| bytes.copy_from_slice(next(16)));
        let mut numbers = [[0u8; 8]; 2];
        numbers.iter_mut().for_each(|bytes| bytes.copy_from_slice(next(8)));
        let [sequence, digest] = numbers.map(u64::from_le_bytes);
        let mut index = [0; 4];
        index.copy_from_slice(next(4));
        let identity = Identity {
            device: DeviceId::from_bytes(sixteen[0]),
            stream: StreamId::from_bytes(sixteen[1]),
            sequence,
            digest,
        };
        let range = Range::new(from, to).filter(|_| now < ends).ok_or_else(bad)?;
        Ok(Self { range, after: Key { at, identity, index: u32::from_le_bytes(index) } })
    }
}
