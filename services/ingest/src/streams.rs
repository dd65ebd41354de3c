//! What is remembered of each device stream: how far it is durable, and what its last batches were.
//!
//! Memory only. After a restart nothing is remembered, batches are published again, and land on themselves; the store
//! tells where a stream had come to, and what those of its sequences were used for that are not remembered.
//!
//! What a device is told to be durable is proven: acknowledged by this process, or stored. What it says itself
//! (`Open.resume_after`) moves only where its next batch may start: it has dropped what it was acknowledged, and the store may
//! lag behind the log, or have lost it. The claim counts as proven as soon as something at or after it is stored.

use crate::Stored;
use lru::LruCache;
use model::{DeviceId, StreamId};
use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Streams remembered: a hospital group's devices twice over, at about 200 bytes each and 24 for each batch below.
pub const MAX_STREAMS: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
/// Batches remembered per stream: twice what may be in flight, so that a reconnecting device finds all of them.
const REMEMBERED: usize = 512;

/// The streams that were used last, at most [`MAX_STREAMS`].
pub(crate) struct Streams(Mutex<LruCache<(DeviceId, StreamId), StreamState>>);

/// One stream, shared by the connections that use it.
pub(crate) type StreamState = Arc<Mutex<State>>;

impl Default for Streams {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_STREAMS)))
    }
}

impl Streams {
    pub(crate) fn get(&self, device: DeviceId, stream: StreamId) -> StreamState {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(streams.get_or_insert((device, stream), Arc::default))
    }

    /// The same, if anything is remembered: who only asks makes nothing that pushes another stream out.
    pub(crate) fn known(&self, device: DeviceId, stream: StreamId) -> Option<StreamState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).peek(&(device, stream)).map(Arc::clone)
    }
}

pub(crate) fn lock(state: &StreamState) -> MutexGuard<'_, State> {
    // nothing that can panic runs under this lock
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of one stream.
#[derive(Default)]
pub(crate) struct State {
    /// Every batch up to here is durable, or was refused as a whole: that is proven.
    proven: u64,
    /// The last batch acknowledged on the connection of `epoch`; above `proven` where the device resumed after more than that.
    acknowledged: u64,
    /// The last batch that this process ever acknowledged.
    ever_acknowledged: u64,
    /// Every batch up to here was taken by the connection of `epoch`, or is the device's own business.
    taken_through: u64,
    /// Counts connections: an older one must not move the stream any more.
    epoch: u64,
    recent: VecDeque<Recent>,
    /// Largest sequence that ever was in `recent`: a larger one need not be searched for.
    highest: u64,
    /// The highest sequence that the store had when it was asked last; `None`: it never was.
    stored: Option<u64>,
}

#[derive(Clone, Copy)]
struct Recent {
    sequence: u64,
    digest: u64,
    durable: bool,
}

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The batch is new and must be published.
    Publish,
    /// The batch is durable already.
    Duplicate,
    /// Its sequence was used for something else.
    Reused,
    /// Its sequence may have been used and is not remembered: ask the store, [`State::learn`] what it says, and come again.
    Ask,
    /// Batches before it are missing.
    Gap {
        /// The sequence that must come next.
        expected: u64,
    },
    /// A newer connection has the stream.
    Superseded,
}

impl State {
    /// A connection opens the stream; the store was just asked, and the device says how far it was acknowledged. Returns the
    /// connection's epoch and the sequence up to which all is durable.
    pub(crate) fn open(&mut self, stored: Stored, resume_after: u64) -> (u64, u64) {
        self.epoch += 1;
        self.note(stored);
        if resume_after <= stored.highest.max(self.ever_acknowledged) {
            self.proven = self.proven.max(resume_after);
        }
        self.acknowledged = self.proven;
        self.taken_through = self.proven.max(resume_after);
        (self.epoch, self.proven)
    }

    /// Takes note of what the store has of the stream.
    pub(crate) fn note(&mut self, stored: Stored) {
        self.proven = self.proven.max(stored.through);
        self.stored = Some(stored.highest.max(self.stored.unwrap_or(0)));
    }

    /// Whether the store was never asked about the stream.
    pub(crate) fn is_unseen(&self) -> bool {
        self.stored.is_none()
    }

    /// Whether no newer connection has opened the stream.
    pub(crate) fn is_current(&self, epoch: u64) -> bool {
        epoch == self.epoch
    }

    /// What a batch of a stream is. A batch that is to be published counts as taken from here on.
    pub(crate) fn take(&mut self, epoch: u64, sequence: u64, digest: u64) -> Turn {
        if epoch != self.epoch {
            return Turn::Superseded;
        }
        if sequence > self.taken_through.saturating_add(1) {
            return Turn::Gap { expected: self.taken_through + 1 };
        }
        let turn = self.recall(sequence, digest);
        if matches!(turn, Turn::Publish | Turn::Reused) {
            // a sequence that was used is none that is missing
            self.taken_through = self.taken_through.max(sequence);
        }
        turn
    }

    /// What a single batch is: as `take`, without an order.
    pub(crate) fn recall(&mut self, sequence: u64, digest: u64) -> Turn {
        if let Some(known) = self.place(sequence).map(|place| self.recent[place]) {
            return match (known.digest == digest, known.durable) {
                (false, _) => Turn::Reused,
                (true, true) => Turn::Duplicate,
                (true, false) => Turn::Publish,
            };
        }
        if sequence <= self.highest.max(self.stored.unwrap_or(u64::MAX)) {
            return Turn::Ask;
        }
        self.remember(sequence, digest);
        Turn::Publish
    }

    /// Remembers what the store says that a sequence was used for, or, where it knows nothing, that it is used for this batch
    /// now. That the batch itself is stored does not say that it is whole, if it was of two patients: it is published again.
    pub(crate) fn learn(&mut self, sequence: u64, digest: u64, stored: &[u64]) {
        if self.place(sequence).is_none() {
            let other = stored.first().filter(|_| !stored.contains(&digest));
            self.remember(sequence, other.copied().unwrap_or(digest));
        }
    }

    fn remember(&mut self, sequence: u64, digest: u64) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { sequence, digest, durable: false });
        self.highest = self.highest.max(sequence);
    }

    /// Where a batch is in `recent`. A stream's sequences follow each other, so that is nearly always known at once.
    fn place(&self, sequence: u64) -> Option<usize> {
        if sequence > self.highest {
            return None;
        }
        let is_at = |&place: &usize| self.recent.get(place).is_some_and(|recent| recent.sequence == sequence);
        let first = self.recent.front()?.sequence;
        let likely = usize::try_from(sequence.wrapping_sub(first)).ok().filter(is_at);
        likely.or_else(|| self.recent.iter().rposition(|recent| recent.sequence == sequence))
    }

    /// A batch of this connection, and all before it, is durable. One that is not `settled` would be judged otherwise
    /// another time: it is not a repetition when it comes again.
    pub(crate) fn durable(&mut self, epoch: u64, sequence: u64, settled: bool) {
        if epoch == self.epoch {
            self.acknowledged = self.acknowledged.max(sequence);
            self.ever_acknowledged = self.ever_acknowledged.max(sequence);
            // what lies between is the device's word
            if sequence <= self.proven.saturating_add(1) {
                self.proven = self.proven.max(sequence);
            }
        }
        if settled {
            self.durable_alone(sequence);
        }
    }

    /// A batch is durable; nothing is said of those before it.
    pub(crate) fn durable_alone(&mut self, sequence: u64) {
        if let Some(place) = self.place(sequence) {
            self.recent[place].durable = true;
        }
    }

    /// Every batch up to here is proven to be durable.
    pub(crate) fn proven(&self) -> u64 {
        self.proven
    }

    /// How far the device has been acknowledged on its connection: what it resumed after is its own word.
    pub(crate) fn durable_through(&self) -> u64 {
        self.proven.max(self.acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(through: u64, highest: u64) -> Stored {
        Stored { through, highest }
    }

    #[test]
    fn who_only_asks_makes_no_stream() {
        let (streams, device) = (Streams::default(), DeviceId::new(uuid::Uuid::from_u128(1)));
        let stream = StreamId::new(uuid::Uuid::from_u128(2));
        assert!(streams.known(device, stream).is_none() && streams.known(device, stream).is_none());
        let state = streams.get(device, stream);
        assert!(streams.known(device, stream).is_some_and(|known| Arc::ptr_eq(&known, &state)));
    }

    #[test]
    fn a_stream_goes_in_order_and_repeats_are_known() {
        let mut state = State::default();
        let (epoch, last) = state.open(stored(0, 0), 0);
        assert_eq!(last, 0);
        assert_eq!(state.take(epoch, 2, 22), Turn::Gap { expected: 1 });
        assert_eq!(state.take(epoch, 1, 11), Turn::Publish);
        assert_eq!(state.take(epoch, 1, 11), Turn::Publish, "not yet durable: its ack must wait for the log");
        state.durable(epoch, 1, false);
        assert_eq!(state.take(epoch, 1, 11), Turn::Publish, "not settled: it may be taken by now");
        state.durable(epoch, 1, true);
        assert_eq!(state.take(epoch, 1, 11), Turn::Duplicate);
        assert_eq!(state.take(epoch, 1, 99), Turn::Reused);
        assert_eq!(state.take(epoch, 2, 22), Turn::Publish);
    }

    #[test]
    fn a_new_connection_goes_on_from_what_is_durable() {
        let mut state = State::default();
        let (first, _) = state.open(stored(0, 0), 0);
        for sequence in 1..=3 {
            assert_eq!(state.take(first, sequence, sequence), Turn::Publish);
        }
        state.durable(first, 1, true);
        let (second, last) = state.open(stored(0, 0), 0);
        assert_eq!(last, 1);
        assert_eq!(state.take(first, 4, 4), Turn::Superseded);
        state.durable(first, 3, true);
        assert_eq!(state.durable_through(), 1, "an old connection does not move the stream");
        assert_eq!(state.take(second, 2, 2), Turn::Publish, "in flight on the old connection: published again");
        assert_eq!(state.open(stored(7, 8), 0).1, 7, "the store knows more");
    }

    #[test]
    fn a_claim_counts_as_proven_only_with_something_stored_at_or_after_it() {
        let mut state = State::default();
        let (epoch, last) = state.open(stored(3, 5), 9);
        assert_eq!(last, 3, "the store does not have it, or not yet");
        assert_eq!(state.take(epoch, 11, 0), Turn::Gap { expected: 10 });
        // the device has 8 and 9 left, and goes on: nothing it dropped is asked for
        for sequence in 8..=11 {
            assert_eq!(state.take(epoch, sequence, sequence), Turn::Publish);
            state.durable(epoch, sequence, true);
            assert_eq!((state.proven(), state.durable_through()), (3, sequence));
        }
        assert_eq!(state.open(stored(3, 5), 0).1, 3, "nobody says that 4 to 7 were ever here");
        assert_eq!(state.open(stored(3, 5), 11).1, 11, "acknowledged by this process");
        let mut other = State::default();
        assert_eq!(other.open(stored(3, 12), 11).1, 11, "something after it is stored");
        assert_eq!(State::default().open(stored(0, 0), 5_000).1, 0);
    }

    #[test]
    fn what_a_device_sends_again_after_a_low_answer_is_proven_one_by_one() {
        let mut state = State::default();
        let (epoch, _) = state.open(stored(3, 3), 5);
        for sequence in 4..=6 {
            assert_eq!(state.take(epoch, sequence, sequence), Turn::Publish);
            state.durable(epoch, sequence, true);
            assert_eq!(state.proven(), sequence);
        }
    }

    #[test]
    fn what_is_forgotten_or_was_before_is_asked_for() {
        let mut state = State::default();
        let (epoch, _) = state.open(stored(0, 0), 0);
        for sequence in 1..=REMEMBERED as u64 + 1 {
            state.take(epoch, sequence, sequence);
            state.durable(epoch, sequence, true);
        }
        assert_eq!(state.take(epoch, 1, 99), Turn::Ask);
        state.learn(1, 99, &[1]);
        assert_eq!(state.take(epoch, 1, 99), Turn::Reused);
        assert_eq!(state.take(epoch, 1, 1), Turn::Publish, "stored, and perhaps not all of it");
        assert_eq!(state.take(epoch, 4, 4), Turn::Duplicate);

        let mut restarted = State::default();
        let (epoch, _) = restarted.open(stored(0, 2), 0);
        assert_eq!(restarted.take(epoch, 1, 11), Turn::Ask);
        restarted.learn(1, 11, &[]);
        restarted.learn(1, 99, &[99]);
        assert_eq!(restarted.take(epoch, 1, 11), Turn::Publish, "the first answer counts");
        assert_eq!(restarted.take(epoch, 2, 22), Turn::Ask);
        restarted.learn(2, 22, &[5, 22]);
        assert_eq!(restarted.take(epoch, 2, 22), Turn::Publish, "stored twice before that was refused");
        assert_eq!(restarted.take(epoch, 3, 33), Turn::Publish, "above all that is stored");
    }

    #[test]
    fn a_reused_sequence_does_not_hold_up_the_stream() {
        let mut state = State::default();
        let (epoch, _) = state.open(stored(1, 2), 1);
        state.learn(2, 99, &[22]);
        assert_eq!(state.take(epoch, 2, 99), Turn::Reused);
        assert_eq!(state.take(epoch, 3, 33), Turn::Publish);
        state.durable(epoch, 3, true);
        assert_eq!((state.proven(), state.durable_through()), (1, 3), "who sent the second is not known");
    }

    #[test]
    fn single_batches_are_known_in_any_order() {
        let mut state = State::default();
        assert!(state.is_unseen());
        assert_eq!(state.recall(1, 1), Turn::Ask);
        state.note(stored(0, 0));
        let sequences = [7, 3, 900, 4, 8, 1];
        for sequence in sequences {
            if state.recall(sequence, sequence) == Turn::Ask {
                state.learn(sequence, sequence, &[]);
            }
            assert_eq!(state.recall(sequence, sequence), Turn::Publish);
            state.durable_alone(sequence);
        }
        for sequence in sequences {
            assert_eq!(state.recall(sequence, sequence), Turn::Duplicate, "{sequence}");
            assert_eq!(state.recall(sequence, 0), Turn::Reused, "{sequence}");
        }
        assert_eq!(state.recall(5, 5), Turn::Ask, "never sent, but smaller than others");
    }
}
