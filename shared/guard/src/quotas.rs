//! How many calls may be made in a time: by each caller, and, where no token is needed, from each address.
//!
//! One caller's calls, over all connections and both ports, are counted by what they cost ([`Class`]): a write of the registry
//! is a change that all nodes follow and that is kept for good, a reading's batch is a record. Who is over a limit is told which
//! (`ErrorInfo.metadata`), and when to try again (`RetryInfo`, in JSON `Retry-After`); nothing of the call is done. What is sent
//! in a time, whatever the number of calls, is limited by `ingest`.
//!
//! Bounded: `CALLERS_MAX` callers and addresses are remembered, the longest unused goes first. Time is from a clock that
//! never goes back.

use crate::Caller;
use lru::LruCache;
use model::{Bucket, Rate, access::Subject};
use proto::problem;
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::time::Instant;
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use futures::future::{Either, Ready, ready};

mod classes;

pub use classes::{Class, class};

/// Callers and addresses remembered, at about 100 bytes each.
const CALLERS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
/// What may come at once: so many seconds' worth.
const SECONDS_AT_ONCE: u64 = 5;

/// Calls a second; 0: no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Claims and refreshes of devices, of an address.
    pub claims_a_second: u64,
    /// Health and reflection, of an address.
    pub probes_a_second: u64,
    /// What is shown to a caller.
    pub reads_a_second: u64,
    /// Calls a second that change something, of one caller; 0: no limit.
    pub writes_a_second: u64,
    /// What a device says of itself.
    pub device_calls_a_second: u64,
    /// Batches of readings, and streams that are opened.
    pub batches_a_second: u64,
}

/// Counts calls. Clones count together.
#[derive(Clone)]
pub struct Quotas(Arc<Inner>);

struct Inner {
    settings: Settings,
    began: Instant,
    taken: Mutex<LruCache<(Who, Class), Bucket>>,
}

/// The caller or the address whose calls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// A person, a program or a device, by its token or certificate.
    Caller(Subject),
    /// Whoever calls from an address; of IPv6, from one network.
    Address(IpAddr),
}

impl Quotas {
    /// No call counted yet; limits of the settings.
    pub fn new(settings: &Settings) -> Self {
        let taken = Mutex::new(LruCache::new(CALLERS_MAX));
        Self(Arc::new(Inner { settings: *settings, began: Instant::now(), taken }))
    }

    /// Counts a call of the rpc at a path.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED with `RetryInfo`: there have been too many.
    pub fn take(&self, path: &str, who: Who) -> Result<(), Status> {
        // what does not exist is answered before anything is checked
        let Some(class) = class(path) else { return Ok(()) };
        let (limit, a_second) = class.limit(&self.0.settings);
        let Some(rate) = rate(a_second) else { return Ok(()) };
        let now = self.0.began.elapsed();
        let taken = {
            let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.get_or_insert((who, class), Bucket::default).take(rate, 1, now)
        };
        taken.map_err(|wait| {
            crate::metrics::rate_limited(limit);
            problem::rate_limited(limit, a_second, wait)
        })
    }

    /// Puts itself before a service that is open to all: calls are counted by address.
    pub fn before<S>(&self, service: S) -> Limited<S> {
        Limited { service, quotas: self.clone() }
    }
}

/// So much a second; `None` for 0: no limit.
pub fn rate(a_second: u64) -> Option<Rate> {
    Rate::new(a_second, a_second.saturating_mul(SECONDS_AT_ONCE))
}

/// A service whose calls are counted by address.
#[derive(Clone)]
pub struct Limited<S> {
    service: S,
    quotas: Quotas,
}

impl<S: NamedService> NamedService for Limited<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Limited<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<http::Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // every connection of ours has one; those without count together
        let address = request.extensions().get::<Caller>().map_or(Ipv4Addr::UNSPECIFIED.into(), Caller::address);
        match self.quotas.take(request.uri().path(), Who::Address(address)) {
            Ok(()) => Either::Left(self.service.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::UserId;
    use tonic_types::StatusExt;
    use uuid::Uuid;

    fn user(n: u128) -> Who {
        Who::Caller(Subject::User(UserId::new(Uuid::from_u128(n))))
    }

    #[tokio::test(start_paused = true)]
    async fn each_caller_and_each_kind_of_call_counts_alone_and_says_its_limit() {
        let quotas = Quotas::new(&Settings { writes_a_second: 10, ..Settings::default() });
        let (write, read) = (
            "/wardline.registry.v1.RegistryService/UpdateUser",
            "/wardline.telemetry.v1.TimelineService/LatestReadings",
        );
        let taken = |who, path| (0..10_000).take_while(|_| quotas.take(path, who).is_ok()).count();
        assert_eq!(taken(user(1), write), 50);
        let status = quotas.take(write, user(1)).unwrap_err();
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str()), (tonic::Code::ResourceExhausted, "RATE_LIMITED"));
        assert_eq!((&*info.metadata["limit"], &*info.metadata["limit_value"]), ("quotas.writes_a_second", "10"));
        let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert_eq!(wait.as_millis(), 100);
        assert_eq!(taken(user(2), write), 50);
        assert_eq!(taken(user(1), read), 10_000, "0 is no limit");
        tokio::time::advance(wait).await;
        assert_eq!(taken(user(1), write), 1);
    }

    #[test]
    fn who_is_remembered_is_bounded() {
        let quotas = Quotas::new(&Settings { claims_a_second: 1, ..Settings::default() });
        let path = "/wardline.registry.v1.EnrolmentService/ClaimDevice";
        for n in 0..CALLERS_MAX.get() as u32 + 100 {
            quotas.take(path, Who::Address(Ipv4Addr::from_bits(n).into())).unwrap();
        }
        assert_eq!(quotas.0.taken.lock().unwrap().len(), CALLERS_MAX.get());
    }
}
