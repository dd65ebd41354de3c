//! Memory that a report's operators share. DataFusion's fair pool gives each of them its part from the beginning, used or not, and
//! one that could have stayed in memory goes to disk; here they share fairly once it gets narrow.

use std::fmt;

use datafusion::{
    error::DataFusionError,
    execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
};

/// A bounded pool: three quarters are for whoever asks first, the rest is for those who have less than a fair part of the whole.
#[derive(Debug)]
pub(super) struct SharedMemory {
    fair: FairSpillPool,
    limit_bytes: usize,
}

impl SharedMemory {
    /// So much for all operators together.
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { fair: FairSpillPool::new(limit_bytes), limit_bytes }
    }
}

impl MemoryPool for SharedMemory {
    fn name(&self) -> &str {
        "shared"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.fair.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.fair.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.fair.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.fair.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<(), DataFusionError> {
        let then = self.fair.reserved().saturating_add(additional);
        if then <= self.limit_bytes / 4 * 3 {
            self.fair.grow(reservation, additional);
            return Ok(());
        }
        if then > self.limit_bytes {
            let name = reservation.consumer().name();
            let text =
                format!("{name} asks for {additional} bytes more, and {then} of {} would be used", self.limit_bytes);
            return Err(DataFusionError::ResourcesExhausted(text));
        }
        self.fair.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.fair.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.fair.memory_limit()
    }
}

impl fmt::Display for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({} bytes)", self.name(), self.limit_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn one_alone_has_most_of_it_and_what_is_left_is_for_those_who_have_little() {
        let pool: Arc<dyn MemoryPool> = Arc::new(SharedMemory::new(400));
        let [first, second, third] =
            ["first", "second", "third"].map(|name| MemoryConsumer::new(name).with_can_spill(true).register(&pool));
        first.try_grow(300).unwrap(); // a fair part would be 133
        first.try_grow(1).unwrap_err();
        second.try_grow(60).unwrap();
        third.try_grow(50).unwrap_err();
        third.try_grow(40).unwrap();
        let text = third.try_grow(1).unwrap_err().to_string();
        assert!(text.contains("third asks for 1 bytes more, and 401 of 400"), "{text}");
        first.shrink(200);
        second.try_grow(100).unwrap();
        assert_eq!(pool.reserved(), 300);
        // what cannot go to disk has what nobody else has
        let held = MemoryConsumer::new("held").register(&pool);
        held.try_grow(100).unwrap();
        held.try_grow(1).unwrap_err();
    }
}
