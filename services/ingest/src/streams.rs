//! What is remembered of each device stream: how far it is durable, and what its last batches were.
//!
//! Memory only. After a restart nothing is remembered, batches are published again, and land on themselves; the store
//! tells where an unknown stream had come to.

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

/// All streams.
pub(crate) struct Streams(Mutex<LruCache<(DeviceId, StreamId), Shared>>);

/// One stream, shared by the connections that use it.
pub(crate) type Shared = Arc<Mutex<State>>;

impl Default for Streams {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_STREAMS)))
    }
}

impl Streams {
    pub(crate) fn get(&self, device: DeviceId, stream: StreamId) -> Shared {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(streams.get_or_insert((device, stream), Arc::default))
    }
}

pub(crate) fn lock(state: &Shared) -> MutexGuard<'_, State> {
    // nothing that can panic runs under this lock
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of one stream.
#[derive(Default)]
pub(crate) struct State {
    /// Every batch up to here is durable, or was refused as a whole.
    durable_through: u64,
    /// Every batch up to here was taken by the connection of `epoch`.
    taken_through: u64,
    /// Counts connections: an older one must not move the stream any more.
    epoch: u64,
    recent: VecDeque<Recent>,
    /// Largest sequence that ever was in `recent`: a larger one need not be looked for.
    highest: u64,
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
    /// It is new: publish it.
    Publish,
    /// It is durable already.
    Duplicate,
    /// Its sequence was used for something else.
    Reused,
    /// Batches before it are missing.
    Gap {
        /// The sequence that must come next.
        expected: u64,
    },
    /// A newer connection has the stream.
    Superseded,
}

impl State {
    /// A connection opens the stream; what the device and the store know of it is added to what is known here.
    /// Returns the connection's epoch and the sequence up to which all is durable.
    pub(crate) fn open(&mut self, known: u64) -> (u64, u64) {
        self.epoch += 1;
        self.durable_through = self.durable_through.max(known);
        self.taken_through = self.durable_through;
        (self.epoch, self.durable_through)
    }

    /// Whether no newer connection has opened the stream.
    pub(crate) fn is_current(&self, epoch: u64) -> bool {
        epoch == self.epoch
    }

    /// Whether the stream has been used since the process started.
    pub(crate) fn is_fresh(&self) -> bool {
        self.epoch == 0
    }

    /// What a batch of a stream is. A batch that is to be published counts as taken from here on.
    pub(crate) fn take(&mut self, epoch: u64, sequence: u64, digest: u64) -> Turn {
        if epoch != self.epoch {
            return Turn::Superseded;
        }
        if sequence > self.taken_through + 1 {
            return Turn::Gap { expected: self.taken_through + 1 };
        }
        let turn = self.recall(sequence, digest);
        if turn == Turn::Publish {
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
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { sequence, digest, durable: false });
        self.highest = self.highest.max(sequence);
        Turn::Publish
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
            self.durable_through = self.durable_through.max(sequence);
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

    /// Every batch up to here is durable.
    pub(crate) fn durable_through(&self) -> u64 {
        self.durable_through
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_in_order_and_repeats_are_known() {
        let mut state = State::default();
        let (epoch, last) = state.open(0);
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
        let (first, _) = state.open(0);
        for sequence in 1..=3 {
            assert_eq!(state.take(first, sequence, sequence), Turn::Publish);
        }
        state.durable(first, 1, true);
        let (second, last) = state.open(0);
        assert_eq!(last, 1);
        assert_eq!(state.take(first, 4, 4), Turn::Superseded);
        state.durable(first, 3, true);
        assert_eq!(state.durable_through(), 1, "an old connection does not move the stream");
        assert_eq!(state.take(second, 2, 2), Turn::Publish, "in flight on the old connection: published again");
        assert_eq!(state.open(7).1, 7, "the device, or the store, knows more");
    }

    #[test]
    fn what_is_forgotten_is_published_again() {
        let mut state = State::default();
        let (epoch, _) = state.open(0);
        for sequence in 1..=REMEMBERED as u64 + 1 {
            state.take(epoch, sequence, sequence);
            state.durable(epoch, sequence, true);
        }
        assert_eq!(state.take(epoch, 1, 1), Turn::Publish);
        assert_eq!(state.take(epoch, 3, 3), Turn::Duplicate);
    }

    #[test]
    fn single_batches_are_known_in_any_order() {
        let mut state = State::default();
        let sequences = [7, 3, 900, 4, 8, 1];
        for sequence in sequences {
            assert_eq!(state.recall(sequence, sequence), Turn::Publish);
            state.durable_alone(sequence);
        }
        for sequence in sequences {
            assert_eq!(state.recall(sequence, sequence), Turn::Duplicate, "{sequence}");
            assert_eq!(state.recall(sequence, 0), Turn::Reused, "{sequence}");
        }
        assert_eq!(state.recall(5, 5), Turn::Publish, "never sent, but smaller than others");
    }
}
