//! How much somebody may do in a time: a token bucket that is one number.
//!
//! Nothing here reads a clock: the caller brings the time since an instant of its own, from a clock that never goes back. A
//! wall clock that jumps would lock somebody out, or let everything in.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// So much a second, and so much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    a_second: NonZeroU64,
    at_once: u64,
}

impl Rate {
    /// `a_second` units on average, of which `at_once` (at least one) may come together. `None` when `a_second` is 0: no
    /// limit.
    pub fn new(a_second: u64, at_once: u64) -> Option<Self> {
        Some(Self { a_second: NonZeroU64::new(a_second)?, at_once: at_once.max(1) })
    }

    /// Units a second that the rate allows in the long run, at least 1.
    pub fn a_second(&self) -> u64 {
        self.a_second.get()
    }

    /// In how many nanoseconds so many units come back.
    fn nanos(&self, n: u64) -> u64 {
        let nanos = u128::from(n) * 1_000_000_000 / u128::from(self.a_second.get());
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// What somebody has taken. A new one is full.
///
/// It holds the instant at which all that was taken has come back, in nanoseconds (the generic cell rate algorithm of ITU-T
/// I.371 in its form with a virtual clock). More may be taken than there is: then nothing can be taken until it has come back.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// How long until a unit can be taken; zero: now.
    pub fn wait(&self, rate: Rate, now: Duration) -> Duration {
        wait(self.0.load(Ordering::Relaxed), rate, nanos(now))
    }

    /// Takes `n` units in any case.
    pub fn charge(&self, rate: Rate, n: u64, now: Duration) {
        let (now, cost) = (nanos(now), rate.nanos(n));
        // the closure always gives a value
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| Some(full_at.max(now).saturating_add(cost)));
    }

    /// Takes `n` units if there is at least one.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&self, rate: Rate, n: u64, now: Duration) -> Result<(), Duration> {
        let (at, cost) = (nanos(now), rate.nanos(n));
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            wait(full_at, rate, at).is_zero().then(|| full_at.max(at).saturating_add(cost))
        });
        taken.map(|_| ()).map_err(|full_at| wait(full_at, rate, at))
    }
}

fn wait(full_at: u64, rate: Rate, now: u64) -> Duration {
    let wanted = full_at.saturating_sub(now).saturating_add(rate.nanos(1));
    Duration::from_nanos(wanted.saturating_sub(rate.nanos(rate.at_once)))
}

fn nanos(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Duration = Duration::ZERO;

    fn taken(bucket: &Bucket, rate: Rate, now: Duration) -> usize {
        (0..10_000).take_while(|_| bucket.take(rate, 1, now).is_ok()).count()
    }

    #[test]
    fn so_many_at_once_and_so_many_a_second() {
        let (bucket, rate) = (Bucket::default(), Rate::new(20, 100).unwrap());
        assert_eq!(taken(&bucket, rate, ZERO), 100);
        assert_eq!(bucket.take(rate, 1, ZERO), Err(Duration::from_millis(50)));
        assert_eq!(bucket.wait(rate, Duration::from_millis(20)), Duration::from_millis(30));
        assert_eq!(taken(&bucket, rate, Duration::from_millis(500)), 10);
        assert_eq!(taken(&bucket, rate, Duration::from_secs(3_600)), 100, "no more than that is saved up");
    }

    #[test]
    fn what_was_taken_too_much_is_waited_for() {
        let (bucket, rate) = (Bucket::default(), Rate::new(10, 20).unwrap());
        assert_eq!(bucket.take(rate, 50, ZERO), Ok(()), "a batch is taken whole");
        assert_eq!(bucket.take(rate, 1, ZERO), Err(Duration::from_millis(3_100)));
        bucket.charge(rate, 10, Duration::from_secs(1));
        assert_eq!(bucket.wait(rate, Duration::from_secs(1)), Duration::from_millis(3_100));
        assert_eq!(bucket.wait(rate, Duration::from_millis(4_100)), ZERO);
    }

    #[test]
    fn zero_is_no_rate_and_large_numbers_end() {
        assert_eq!(Rate::new(0, 5), None);
        let (bucket, rate) = (Bucket::default(), Rate::new(1, 0).unwrap());
        bucket.charge(rate, u64::MAX, Duration::MAX);
        bucket.charge(rate, u64::MAX, ZERO);
        assert!(bucket.wait(rate, ZERO) > Duration::from_secs(3_600));
        assert_eq!(taken(&Bucket::default(), rate, ZERO), 1);
    }
}
