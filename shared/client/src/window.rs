//! What a stream has handed over and what became of it: bookkeeping without IO.

use bytes::Bytes;
use proto::telemetry::v1::{self as wire, Ack, Limits};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// Refusals kept word for word: enough to see what is wrong with a device, bounded whatever it does.
pub const SAMPLE_REFUSALS_MAX: usize = 20;

/// Reason of refused readings that the server only counted: there were too many in one `Ack`.
pub const NOT_NAMED: &str = "NOT_NAMED";

/// Most batches kept unacknowledged, whatever the server allows: at ten readings each about 2 MB a stream, and at
/// 50,000 batches/s an acknowledgement may take 80 ms.
const IN_FLIGHT_MAX: usize = 4_096;

/// Refusals kept for a caller who does not fetch them; the oldest go first, and stay counted.
const UNREAD_REFUSALS_MAX: usize = 1_000;

/// What became of a stream's batches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The last sequence up to which everything is durable or refused.
    pub through: u64,
    /// Readings of acknowledged batches without the refused ones; each batch once, however often it was sent.
    pub accepted: u64,
    /// Part of `accepted`: the server reported these batches as durable at a reconnect. What it had refused in
    /// them was in an `Ack` that was lost.
    pub accepted_unseen: u64,
    /// Readings that the server knew already when they came, as its `Ack`s say.
    pub duplicate: u64,
    /// Readings refused, by reason; a batch refused as a whole counts all its readings.
    pub refused: BTreeMap<String, u64>,
    /// The first refusals, at most [`SAMPLE_REFUSALS_MAX`].
    pub sample: Vec<Refusal>,
}

impl Progress {
    /// Takes over what became of other batches of the stream.
    pub(crate) fn add(&mut self, other: &Self) {
        self.through = self.through.max(other.through);
        self.accepted += other.accepted;
        self.accepted_unseen += other.accepted_unseen;
        self.duplicate += other.duplicate;
        for (reason, n) in &other.refused {
            *self.refused.entry(reason.clone()).or_default() += n;
        }
        let room = SAMPLE_REFUSALS_MAX.saturating_sub(self.sample.len());
        self.sample.extend(other.sample.iter().take(room).cloned());
    }
}

/// One reading or batch that the server did not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Sequence of the batch that the refused reading was in.
    pub sequence: u64,
    /// The reading's place in it; `None`: the whole batch.
    pub index: Option<u32>,
    /// Path of the field at fault, such as `readings[0].unit`.
    pub field: String,
    /// The reason's code, in UPPER_SNAKE_CASE: stable, for programs to go by.
    pub reason: String,
    /// What is allowed, and what to do.
    pub description: String,
}

/// A batch that is not acknowledged.
struct Pending {
    sequence: u64,
    /// The encoded message.
    bytes: Bytes,
    n_readings: u32,
    /// Places of readings that are known to be refused: an `Ack` after a reconnect may say so again.
    refused: Vec<u32>,
    /// Refused as a whole: nothing more will come.
    settled: bool,
    /// Handed over before: sent once more, never counted twice.
    repeat: bool,
}

/// Batches on their way, oldest first; the first `n_sent` went out on this connection.
pub(crate) struct Window {
    pending: VecDeque<Pending>,
    n_sent: usize,
    in_flight_max: usize,
    message_bytes_max: usize,
    last_sequence: u64,
    progress: Progress,
    /// Since the caller fetched them last.
    unread: VecDeque<Refusal>,
}

impl Window {
    /// Nothing sent, everything up to `resume_after` acknowledged, no credits yet.
    pub(crate) fn new(resume_after: u64) -> Self {
        Self {
            pending: VecDeque::new(),
            n_sent: 0,
            in_flight_max: 0,
            message_bytes_max: usize::MAX,
            last_sequence: resume_after,
            progress: Progress { through: resume_after, ..Progress::default() },
            unread: VecDeque::new(),
        }
    }

    /// Every batch up to here is durable or refused: nothing more will come of it.
    pub(crate) fn settled_through(&self) -> u64 {
        match self.pending.front() {
            Some(oldest) => oldest.sequence.saturating_sub(1),
            None => self.last_sequence.max(self.progress.through),
        }
    }

    /// The refusals since the last call.
    pub(crate) fn take_refusals(&mut self) -> Vec<Refusal> {
        self.unread.drain(..).collect()
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether something went out on this connection and has not been acknowledged.
    pub(crate) fn has_in_flight(&self) -> bool {
        self.n_sent > 0
    }

    pub(crate) fn has_credit(&self) -> bool {
        self.pending.len() < self.in_flight_max
    }

    /// `Limits.max_message_bytes`, when `bytes` is more than that.
    pub(crate) fn limit_exceeded_by(&self, bytes: usize) -> Option<usize> {
        (bytes > self.message_bytes_max).then_some(self.message_bytes_max)
    }

    /// Sets how many batches may be under way, as the server grants it.
    pub(crate) fn allow(&mut self, max_in_flight: u32) {
        self.in_flight_max = usize::try_from(max_in_flight).unwrap_or(usize::MAX).min(IN_FLIGHT_MAX);
    }

    pub(crate) fn push(&mut self, sequence: u64, bytes: Bytes, n_readings: u32) {
        let repeat = sequence <= self.last_sequence;
        self.last_sequence = self.last_sequence.max(sequence);
        self.pending.push_back(Pending { sequence, bytes, n_readings, refused: Vec::new(), settled: false, repeat });
    }

    /// The next message to go out, if there is a credit for it.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        if self.n_sent >= self.in_flight_max {
            return None;
        }
        let bytes = self.pending.get(self.n_sent)?.bytes.clone();
        self.n_sent += 1;
        Some(bytes)
    }

    /// A new connection: what is durable is done, the rest goes out again. Answers whether the server can prove less than it
    /// has acknowledged: then its store lags, or it has lost data.
    pub(crate) fn opened(&mut self, last_durable: u64, limits: Option<&Limits>) -> bool {
        self.n_sent = 0;
        self.pending.retain(|batch| !batch.settled && !batch.repeat);
        self.last_sequence = self.last_sequence.max(last_durable);
        let before = self.progress.accepted;
        self.cover(last_durable);
        self.progress.accepted_unseen += self.progress.accepted - before;
        if let Some(limits) = limits {
            self.allow(limits.max_in_flight);
            if limits.max_message_bytes > 0 {
                self.message_bytes_max = usize::try_from(limits.max_message_bytes).unwrap_or(usize::MAX);
            }
        }
        last_durable < self.progress.through
    }

    /// Takes note of an acknowledgement.
    pub(crate) fn ack(&mut self, ack: Ack) {
        self.progress.duplicate += ack.duplicate_readings;
        for refusal in ack.refused {
            self.refuse(refusal);
        }
        let before = self.progress.accepted;
        self.cover(ack.through);
        // of which batch they are is not said: of those that this covers
        let more = ack.refused_more.min(self.progress.accepted - before);
        if more > 0 {
            self.progress.accepted -= more;
            *self.progress.refused.entry(NOT_NAMED.to_owned()).or_default() += more;
        }
    }

    fn refuse(&mut self, refusal: wire::Refusal) {
        let n_readings = match self.pending.iter_mut().find(|batch| batch.sequence == refusal.sequence) {
            // counted when it was sent for the first time
            Some(batch) if batch.repeat && refusal.index.is_some() => return,
            Some(batch) => match refusal.index {
                Some(index) if batch.settled || batch.refused.contains(&index) => return,
                Some(index) => {
                    batch.refused.push(index);
                    1
                }
                None if batch.settled => return,
                None => {
                    batch.settled = true;
                    u64::from(batch.n_readings) - batch.refused.len().min(batch.n_readings as usize) as u64
                }
            },
            None => return,
        };
        *self.progress.refused.entry(refusal.reason.clone()).or_default() += n_readings;
        let wire::Refusal { sequence, index, field, reason, description } = refusal;
        let refusal = Refusal { sequence, index, field, reason, description };
        if self.progress.sample.len() < SAMPLE_REFUSALS_MAX {
            self.progress.sample.push(refusal.clone());
        }
        keep_unread(&mut self.unread, refusal);
    }

    /// Everything up to `through` is dealt with.
    fn cover(&mut self, through: u64) {
        while let Some(batch) = self.pending.front() {
            if !batch.settled && batch.sequence > through {
                break;
            }
            if !batch.settled && !batch.repeat {
                self.progress.accepted += u64::from(batch.n_readings).saturating_sub(batch.refused.len() as u64);
            }
            self.pending.pop_front();
            // a batch of an earlier connection may become durable before it is sent again
            self.n_sent = self.n_sent.saturating_sub(1);
        }
        self.progress.through = self.progress.through.max(through);
    }
}

/// Keeps a refusal until the caller fetches it.
pub(crate) fn keep_unread(unread: &mut VecDeque<Refusal>, refusal: Refusal) {
    if unread.len() == UNREAD_REFUSALS_MAX {
        unread.pop_front();
    }
    unread.push_back(refusal);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(n: u64) -> Window {
        let mut window = Window::new(0);
        window.opened(
            0,
            Some(&Limits { max_in_flight: 100, max_readings: 10, max_message_bytes: 1_000, ..Default::default() }),
        );
        for sequence in 1..=n {
            window.push(sequence, Bytes::from(vec![sequence as u8]), 10);
        }
        window
    }

    fn sent(window: &mut Window) -> Vec<u8> {
        std::iter::from_fn(|| window.next()).map(|bytes| bytes[0]).collect()
    }

    fn refusal(sequence: u64, index: Option<u32>, reason: &str) -> wire::Refusal {
        wire::Refusal { sequence, index, reason: reason.to_owned(), ..Default::default() }
    }

    #[test]
    fn refused_readings_that_are_only_counted_are_not_taken_for_accepted() {
        let mut window = window(3);
        window.ack(Ack {
            through: 2,
            refused: vec![refusal(1, Some(0), "NOT_FINITE")],
            refused_more: 8,
            ..Default::default()
        });
        let progress = window.progress();
        assert_eq!(progress.accepted, 20 - 1 - 8);
        assert_eq!(progress.refused, [("NOT_FINITE".into(), 1), (NOT_NAMED.into(), 8)].into());
    }

    #[test]
    fn a_batch_is_counted_once_over_reconnects() {
        let mut window = window(4);
        assert_eq!(sent(&mut window), [1, 2, 3, 4]);
        window.ack(Ack { through: 1, refused: vec![refusal(2, Some(3), "UNKNOWN_UNIT")], ..Default::default() });
        assert!(!window.opened(3, None));
        assert_eq!((window.progress().accepted, window.progress().accepted_unseen), (29, 19));
        assert_eq!(sent(&mut window), [4]);
        window.ack(Ack { through: 4, duplicate_readings: 10, ..Default::default() });
        window.ack(Ack { through: 4, ..Default::default() });
        assert_eq!((window.progress().accepted, window.progress().duplicate), (39, 10));
        assert!(window.is_empty());
        window.push(5, Bytes::from_static(&[5]), 10);
        assert!(window.opened(3, None), "the server cannot prove batch 4");
        assert_eq!(sent(&mut window), [5], "what is still here");
        assert_eq!(window.progress().through, 4);
    }

    #[test]
    fn a_refusal_is_counted_once() {
        let mut window = window(2);
        sent(&mut window);
        let refused = || vec![refusal(1, Some(0), "NOT_FINITE"), refusal(2, None, "SEQUENCE_GAP")];
        window.ack(Ack { through: 0, refused: refused(), ..Default::default() });
        window.ack(Ack { through: 0, refused: refused(), ..Default::default() });
        assert_eq!(window.progress().refused, [("NOT_FINITE".into(), 1), ("SEQUENCE_GAP".into(), 10)].into());
        assert_eq!(window.progress().sample.len(), 2);
        window.opened(0, None);
        assert_eq!(sent(&mut window), [1], "a batch refused as a whole is not sent again");
        window.ack(Ack { through: 1, ..Default::default() });
        assert_eq!((window.progress().accepted, window.is_empty()), (9, true));
    }

    #[test]
    fn a_whole_refusal_does_not_wait_for_through() {
        let mut window = window(0);
        window.push(5, Bytes::from_static(b"5"), 10);
        sent(&mut window);
        window.ack(Ack { through: 0, refused: vec![refusal(5, None, "SEQUENCE_GAP")], ..Default::default() });
        assert!(window.is_empty());
        assert_eq!((window.progress().accepted, window.progress().through), (0, 0));
    }

    #[test]
    fn credits_bound_what_goes_out_and_what_is_kept() {
        let mut window = window(4);
        window.allow(2);
        assert_eq!(sent(&mut window), [1, 2]);
        assert!(!window.has_credit());
        window.ack(Ack { through: 1, ..Default::default() });
        assert_eq!(sent(&mut window), [3]);
        window.ack(Ack { through: 4, ..Default::default() });
        assert!(window.has_credit() && !window.has_in_flight());
        window.allow(u32::MAX);
        assert_eq!(window.in_flight_max, IN_FLIGHT_MAX);
    }

    #[test]
    fn a_repetition_is_sent_and_not_counted() {
        let mut window = window(2);
        sent(&mut window);
        window.ack(Ack { through: 2, ..Default::default() });
        window.push(1, Bytes::from_static(&[1]), 10);
        assert_eq!(sent(&mut window), [1]);
        assert!(!window.is_empty());
        window.ack(Ack { through: 2, accepted_readings: 10, duplicate_readings: 10, ..Default::default() });
        assert_eq!((window.progress().accepted, window.progress().duplicate), (20, 10));
        assert!(window.is_empty());
    }
}
