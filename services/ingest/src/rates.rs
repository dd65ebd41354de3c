//! How much a device, and an organisation with all its devices, may send in a time.
//!
//! A batch that was received is always dealt with: one over the rate only makes the next wait. On a stream the device is told
//! (`Throttle`), and is not read until it may go on, whether it heeds that or not; a single write is refused before anything of
//! it is done. So nothing that was acknowledged is touched, and nothing is refused that was sent by the rules.
//!
//! An organisation is whoever registered the device: one integrator's devices count together. A device of the directory's
//! files has none.

use directory::Directory;
use lru::LruCache;
use model::{Bucket, DeviceId, Rate};
use proto::problem;
use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

/// Devices and organisations remembered, at about 100 bytes each. One that is forgotten may send at once what it may send at
/// once; open streams keep what they count by.
const METERS_MAX: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// How much devices may send: each by itself, and those of one integrator together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// By one device, over all its streams and calls.
    pub device: Allowed,
    /// By all devices that one integrator registered.
    pub organisation: Allowed,
}

/// How much may be sent; `None`: as much as comes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// Readings a second; `None`: no limit.
    pub readings: Option<Rate>,
    /// Bytes of messages a second, after decompression; `None`: no limit.
    pub bytes: Option<Rate>,
}

/// A limit of rate was exceeded, and for how long nothing more may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over {
    /// Key of the setting that was exceeded, such as `quotas.device_readings_a_second`.
    limit: &'static str,
    a_second: u64,
    /// How long nothing more may be sent.
    pub(crate) wait: Duration,
}

impl Over {
    pub(crate) fn status(self) -> Status {
        problem::rate_limited(self.limit, self.a_second, self.wait)
    }
}

/// What devices and organisations have sent. Clones are the same.
#[derive(Clone)]
pub(crate) struct Meters(Arc<Inner>);

struct Inner {
    rates: Rates,
    began: Instant,
    kept: Mutex<LruCache<Sender, Arc<Counted>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Sender {
    Device(DeviceId),
    Organisation(Uuid),
}

#[derive(Default)]
struct Counted {
    readings: Bucket,
    bytes: Bucket,
}

/// The counters that a device's readings count against: its own and its organisation's.
pub(crate) struct Meter {
    meters: Meters,
    device: Arc<Counted>,
    organisation: Option<Arc<Counted>>,
}

impl Meters {
    pub(crate) fn new(rates: Rates) -> Self {
        Self(Arc::new(Inner { rates, began: Instant::now(), kept: Mutex::new(LruCache::new(METERS_MAX)) }))
    }

    /// A device's, and that of whoever registered it.
    pub(crate) fn of(&self, directory: &Directory, device: DeviceId) -> Meter {
        let registered_by = directory.registry().device(&device.uuid()).map(|kept| kept.value.registered_by);
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = |sender| Arc::clone(kept.get_or_insert(sender, Arc::default));
        let organisation = registered_by.map(|by| counted(Sender::Organisation(by)));
        let device = counted(Sender::Device(device));
        Meter { meters: self.clone(), device, organisation }
    }
}

impl Meter {
    /// Counts a batch that was taken; says whether the next must wait.
    pub(crate) fn count(&self, n_readings: usize, n_bytes: usize) -> Result<(), Over> {
        self.count_at(self.now(), n_readings, n_bytes)
    }

    /// Counts a batch, if one may be taken now.
    pub(crate) fn take(&self, n_readings: usize, n_bytes: usize) -> Result<(), Over> {
        self.take_at(self.now(), n_readings, n_bytes)
    }

    fn count_at(&self, now: Duration, n_readings: usize, n_bytes: usize) -> Result<(), Over> {
        for (bucket, rate, _, n) in self.buckets(n_readings, n_bytes) {
            bucket.charge(rate, n, now);
        }
        self.check(now)
    }

    fn take_at(&self, now: Duration, n_readings: usize, n_bytes: usize) -> Result<(), Over> {
        self.check(now)?;
        // what makes it too much, others' batches that came meanwhile included, makes the next wait
        let _ = self.count_at(now, n_readings, n_bytes);
        Ok(())
    }

    fn now(&self) -> Duration {
        self.meters.0.began.elapsed()
    }

    fn check(&self, now: Duration) -> Result<(), Over> {
        let over = self.buckets(0, 0).map(|(bucket, rate, limit, _)| Over {
            limit,
            a_second: rate.a_second(),
            wait: bucket.wait(rate, now),
        });
        match over.max_by_key(|over| over.wait) {
            Some(over) if !over.wait.is_zero() => Err(over),
            _ => Ok(()),
        }
    }

    fn buckets(&self, n_readings: usize, n_bytes: usize) -> impl Iterator<Item = (&Bucket, Rate, &'static str, u64)> {
        let Rates { device, organisation } = self.meters.0.rates;
        let (own, all) = (Some(&self.device), self.organisation.as_ref());
        let (n_readings, n_bytes) = (n_readings as u64, n_bytes as u64);
        [
            own.map(|one| &one.readings)
                .zip(device.readings)
                .zip(Some(("quotas.device_readings_a_second", n_readings))),
            own.map(|one| &one.bytes).zip(device.bytes).zip(Some(("quotas.device_bytes_a_second", n_bytes))),
            all.map(|one| &one.readings)
                .zip(organisation.readings)
                .zip(Some(("quotas.organisation_readings_a_second", n_readings))),
            all.map(|one| &one.bytes)
                .zip(organisation.bytes)
                .zip(Some(("quotas.organisation_bytes_a_second", n_bytes))),
        ]
        .into_iter()
        .flatten()
        .map(|((bucket, rate), (limit, n))| (bucket, rate, limit, n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::registry::{Change, Device, DeviceStatus, Entry, State};
    use model::Nanos;

    fn device(n: u128, registered_by: u128) -> Change {
        Change::Device(Device {
            id: Uuid::from_u128(n),
            name: "monitor".into(),
            mac: None,
            model: String::new(),
            mdc_type: String::new(),
            firmware: String::new(),
            software: String::new(),
            registered_by: Uuid::from_u128(registered_by),
            status: DeviceStatus::Active,
            claim: None,
            refresh: None,
            credentials_from: 0,
            first_used_at: None,
        })
    }

    fn directory(changes: Vec<Change>) -> Directory {
        let mut state = State::default();
        state.follow(1, &Entry::new(Nanos(1), None, changes)).unwrap();
        Directory::default().with_registry(state)
    }

    #[test]
    fn devices_count_alone_and_those_of_one_integrator_together() {
        let directory = directory(vec![device(1, 9), device(2, 9), device(3, 8)]);
        let rate = |a_second| Allowed { readings: Rate::new(a_second, a_second), bytes: None };
        let meters = Meters::new(Rates { device: rate(100), organisation: rate(150) });
        let of = |n| meters.of(&directory, DeviceId::new(Uuid::from_u128(n)));
        let limit =
            |counted: Result<(), Over>| counted.err().map(|over| (over.limit, over.wait.as_micros().div_ceil(1_000)));
        let now = Duration::ZERO;
        assert_eq!(limit(of(1).take_at(now, 99, 1_000)), None);
        assert_eq!(limit(of(1).take_at(now, 1, 0)), None);
        assert_eq!(limit(of(1).take_at(now, 1, 0)), Some(("quotas.device_readings_a_second", 10)));
        assert_eq!(limit(of(2).count_at(now, 70, 0)), Some(("quotas.organisation_readings_a_second", 140)));
        assert_eq!(limit(of(3).take_at(now, 50, 0)), None, "another organisation's");
        assert_eq!(limit(of(4).take_at(now, 50, 0)), None, "of no organisation");
        assert_eq!(limit(of(2).take_at(Duration::from_millis(141), 1, 0)), None);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let meters = Meters::new(Rates::default());
        let meter = meters.of(&directory(vec![]), DeviceId::new(Uuid::from_u128(1)));
        assert!((0..1_000).all(|_| meter.take(usize::MAX, usize::MAX).is_ok()));
    }
}
