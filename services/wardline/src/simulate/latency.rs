//! Latencies in buckets of fixed relative width: no more memory for a longer run.

use std::time::Duration;

/// Buckets to a doubling: a quantile is at most 4.4 % too high.
const PER_DOUBLING: f64 = 16.0;
/// Up to 2^32 us, more than an hour.
const N_BUCKETS: usize = 32 * 16;

/// How many batches took how long.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Box<[u64]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; N_BUCKETS].into() }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, latency: Duration) {
        let us = latency.as_micros().max(1) as f64;
        // saturates: a latency beyond the last bucket is in the last bucket
        let bucket = (us.log2() * PER_DOUBLING) as usize;
        self.counts[bucket.min(N_BUCKETS - 1)] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    /// The upper end of the bucket in which that share of all is reached; zero when nothing was recorded.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total as f64 * share).ceil();
        let mut so_far = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            so_far += count;
            if *count > 0 && so_far as f64 >= wanted {
                let us = ((bucket as f64 + 1.0) / PER_DOUBLING).exp2();
                return Duration::from_secs_f64(us / 1e6);
            }
        }
        Duration::ZERO
    }

    pub(super) fn milliseconds(latency: Duration) -> f64 {
        (latency.as_secs_f64() * 1e5).round() / 1e2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_close() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        for ms in 1..=100 {
            histogram.record(Duration::from_millis(ms));
        }
        for (share, ms) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = Histogram::milliseconds(histogram.quantile(share));
            assert!((ms..ms * 1.05).contains(&found), "{share}: {found}");
        }
    }
}
