//! What was refused of a batch: the first readings by name, the others by number.

use crate::metrics;
use model::access::Subject;
use proto::{problem, telemetry::v1::Refusal};
use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tonic::Status;

/// Readings of one batch whose refusal is written out.
pub const NAMED_MAX: usize = 100;
/// Refusals of one stream, in bytes, between the judge and the device that reads them: a batch waits for room.
pub const WAITING_BYTES: usize = 64 << 10;
/// When a device that has too many streams may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Refusals of a batch, or of several.
#[derive(Default, Clone)]
pub(crate) struct Refused {
    /// In their order, at most [`NAMED_MAX`] of a batch.
    pub(crate) named: Vec<Refusal>,
    /// How many there are besides.
    pub(crate) n_more: u64,
    /// How many there are in all, by reason: a handful.
    reasons: Vec<(&'static str, u64)>,
}

impl Refused {
    /// One more; `refusal` is asked for only when it will be named.
    pub(crate) fn push(&mut self, reason: &'static str, refusal: impl FnOnce() -> Refusal) {
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, n)) => *n += 1,
            None => self.reasons.push((reason, 1)),
        }
        if self.named.len() < NAMED_MAX {
            self.named.push(Refusal { reason: reason.to_owned(), ..refusal() });
        } else {
            self.n_more += 1;
        }
    }

    /// How many there are in all.
    pub(crate) fn n(&self) -> u64 {
        self.named.len() as u64 + self.n_more
    }

    /// How many there are, by reason.
    #[cfg(test)]
    pub(crate) fn reasons(&self) -> &[(&'static str, u64)] {
        &self.reasons
    }

    /// Adds the refusals to the metrics, by reason.
    pub(crate) fn count(&self) {
        for (reason, n) in &self.reasons {
            metrics::refused(reason, *n);
        }
    }

    /// What they take while they wait, in bytes: at most what one stream has room for.
    pub(crate) fn n_bytes(&self) -> u32 {
        let text = |refusal: &Refusal| refusal.field.len() + refusal.reason.len() + refusal.description.len();
        let n: usize = self.named.iter().map(|refusal| mem::size_of::<Refusal>() + text(refusal)).sum();
        // fits
        n.min(WAITING_BYTES) as u32
    }
}

/// How many streams each device has open.
#[derive(Clone, Default)]
pub(crate) struct Open(Arc<Mutex<HashMap<Subject, u32>>>);

/// A stream that is open, until it is dropped.
pub(crate) struct Opened {
    open: Open,
    whose: Subject,
}

impl Open {
    /// Counts a stream as open until the value is dropped; RESOURCE_EXHAUSTED when the device has `max` open.
    pub(crate) fn enter(&self, whose: Subject, max: u32) -> Result<Opened, Status> {
        let mut open = self.lock();
        let n = open.entry(whose).or_default();
        if *n >= max {
            let text = format!("the device has {max} streams open; use one, or end those that are not used any more");
            return Err(problem::exhausted("STREAMS_OF_DEVICE", &text, RETRY_AFTER));
        }
        *n += 1;
        Ok(Opened { open: self.clone(), whose })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(n) = open.get_mut(&self.whose) {
            *n -= 1;
            if *n == 0 {
                open.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::DeviceId;

    #[test]
    fn a_hundred_are_named_and_all_are_counted() {
        let mut refused = Refused::default();
        for index in 0..4_096 {
            let reason = if index % 2 == 0 { "NOT_FINITE" } else { "UNKNOWN_UNIT" };
            refused.push(reason, || Refusal { index: Some(index), description: "x".repeat(900), ..Default::default() });
        }
        assert_eq!((refused.named.len(), refused.n_more), (100, 3_996));
        assert_eq!(refused.reasons(), [("NOT_FINITE", 2_048), ("UNKNOWN_UNIT", 2_048)]);
        assert_eq!(refused.named[99].index, Some(99));
        assert_eq!(refused.n_bytes(), WAITING_BYTES as u32, "more than there is room for is all of it");
    }

    #[test]
    fn a_device_has_so_many_streams_and_may_open_another_when_one_has_ended() {
        let open = Open::default();
        let whose = |n: u8| Subject::Device(DeviceId::from_bytes([n; 16]));
        let mut streams: Vec<_> = (0..3).map(|_| open.enter(whose(1), 3).unwrap()).collect();
        assert_eq!(open.enter(whose(1), 3).err().unwrap().code(), tonic::Code::ResourceExhausted);
        assert!(open.enter(whose(2), 3).is_ok());
        streams.pop();
        drop(open.enter(whose(1), 3).unwrap());
        drop(streams);
        assert!(open.lock().is_empty());
    }
}
