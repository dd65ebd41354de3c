//! Page tokens: where a page ended, encrypted, bound to caller and question, for a quarter of an hour.

use crate::readings::Key;
use auth::CursorCipher;
use model::{BatchId, DeviceId, Nanos, Range, StreamId, access::Principal, access::Subject};
use proto::{problem, prost_types::Timestamp};
use tonic::Status;

/// How long a page token can be used, in nanoseconds.
const VALID_NS: i64 = 15 * 60 * Nanos::SECOND;
const BYTES: usize = 8 * 3 + 8 + 8 + 16 + 16 + 8 + 8 + 4;

/// Where the next page begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cursor {
    /// The range of the first page, in which "now" was settled.
    pub range: Range,
    /// The last reading that was given out.
    pub after: Key,
}

/// What was asked: a token serves for nothing else, and for nobody else.
pub(crate) struct Question<'a> {
    /// What the pages are of: one word for each that a token could be taken for.
    pub of: &'static str,
    /// `patient_id`, as in the request.
    pub patient_id: &'a str,
    /// `metrics`, as in the request.
    pub metrics: &'a [String],
    /// `start_time` and `end_time`, as in the request; `None`: the request has none.
    pub bounds: (Option<&'a Timestamp>, Option<&'a Timestamp>),
}

impl Question<'_> {
    /// The question and who asks it, in bytes.
    pub(crate) fn context(&self, principal: &Principal) -> Vec<u8> {
        let mut text = match principal.subject {
            Subject::User(user) => user.as_bytes().to_vec(),
            Subject::Device(device) => device.as_bytes().to_vec(),
        };
        let stamp = |at: Option<&Timestamp>| at.map(|at| (at.seconds, at.nanos));
        let (from, to) = (stamp(self.bounds.0), stamp(self.bounds.1));
        let Self { of, patient_id, metrics, .. } = self;
        text.extend_from_slice(format!("{patient_id}|{metrics:?}|{from:?}|{to:?}|{of}").as_bytes());
        text
    }
}

impl Cursor {
    /// The token of the next page.
    pub(crate) fn encrypt(&self, cipher: &CursorCipher, context: &[u8], now: Nanos) -> Result<String, Status> {
        let Key { at, received_at, identity, index } = self.after;
        let mut text = Vec::with_capacity(BYTES);
        for time in [now.plus(VALID_NS), self.range.from(), self.range.to(), at, received_at] {
            text.extend_from_slice(&time.0.to_le_bytes());
        }
        text.extend_from_slice(identity.device.as_bytes());
        text.extend_from_slice(identity.stream.as_bytes());
        text.extend_from_slice(&identity.sequence.to_le_bytes());
        text.extend_from_slice(&identity.digest.to_le_bytes());
        text.extend_from_slice(&index.to_le_bytes());
        cipher.encrypt(&text, context).ok_or_else(|| Status::unavailable("the page token could not be encrypted"))
    }

    pub(crate) fn decrypt(token: &str, cipher: &CursorCipher, context: &[u8], now: Nanos) -> Result<Self, Status> {
        let bad = || {
            let text = "not a token of this request, or older than 15 minutes; start again without it";
            problem::invalid("INVALID_PAGE_TOKEN", "page_token", text)
        };
        let text = cipher.decrypt(token, context).filter(|text| text.len() == BYTES).ok_or_else(bad)?;
        let mut rest = &text[..];
        let mut next = |n: usize| {
            let (head, tail) = rest.split_at(n);
            rest = tail;
            head
        };
        let mut eight = [[0u8; 8]; 5];
        eight.iter_mut().for_each(|bytes| bytes.copy_from_slice(next(8)));
        let [ends, from, to, at, received_at] = eight.map(|bytes| Nanos(i64::from_le_bytes(bytes)));
        let mut sixteen = [[0u8; 16]; 2];
        sixteen.iter_mut().for_each(|bytes| bytes.copy_from_slice(next(16)));
        let mut numbers = [[0u8; 8]; 2];
        numbers.iter_mut().for_each(|bytes| bytes.copy_from_slice(next(8)));
        let [sequence, digest] = numbers.map(u64::from_le_bytes);
        let mut index = [0; 4];
        index.copy_from_slice(next(4));
        let identity = BatchId {
            device: DeviceId::from_bytes(sixteen[0]),
            stream: StreamId::from_bytes(sixteen[1]),
            sequence,
            digest,
        };
        let range = Range::new(from, to).filter(|_| now < ends).ok_or_else(bad)?;
        Ok(Self { range, after: Key { at, received_at, identity, index: u32::from_le_bytes(index) } })
    }
}
