//! Two processes on one registry: what the other one entered a moment ago is not known here yet.

use super::*;
use crate::{
    auth_layer::{AuthLayer, Authenticated},
    bounds::{Bounds, Settings},
    clock,
};
use async_trait::async_trait;
use auth::{DemoIssuer, Verifier};
use bytes::Bytes;
use directory::registry::{Change, Device, DeviceStatus, Entry, Grant, User};
use futures::future::{BoxFuture, FutureExt, join_all};
use model::{DeviceId, UserId, access::Principal};
use std::{
    convert::Infallible,
    sync::{
        Mutex as Held,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use store::{Error, Revision};
use tempfile::TempDir;
use tonic::{
    Code,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};
use tonic_types::StatusExt;
use uuid::Uuid;

/// How the store answers.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Good,
    Away,
    Silent,
}

/// A registry that another process writes to.
struct Elsewhere {
    changes: Held<Vec<Bytes>>,
    mood: Held<Mood>,
    n_reads: AtomicUsize,
}

impl Elsewhere {
    fn enters(&self, changes: Vec<Change>) {
        self.changes.lock().unwrap().push(Entry::new(clock::now(), None, changes).encode().into());
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

#[async_trait]
impl store::Profiles for Elsewhere {
    async fn profile(&self, _: UserId, _: Revision) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }
}

#[async_trait]
impl Registry for Elsewhere {
    async fn put_change(&self, _: u64, _: &[u8]) -> Result<bool, Error> {
        Ok(false)
    }

    async fn changes(&self, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        self.n_reads.fetch_add(1, Ordering::SeqCst);
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Good => {}
            Mood::Away => return Err(Error::Unavailable("the test says so".into())),
            Mood::Silent => std::future::pending().await,
        }
        let changes = self.changes.lock().unwrap().clone();
        Ok((1..).zip(changes).filter(|(number, _)| *number >= from).take(limit).collect())
    }

    async fn put_profile(&self, _: UserId, _: Revision, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}

/// A service that says how many permissions its caller has, and whether the device is known.
#[derive(Clone)]
struct Within(LiveDirectory);

impl NamedService for Within {
    const NAME: &'static str = "within";
}

impl Service<http::Request<Body>> for Within {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let principal = request.extensions().get::<Principal>().unwrap();
        let is_known = match principal.subject {
            Subject::Device(device) => self.0.get().assignments(device, principal.issued_at).is_ok(),
            Subject::User(_) => !principal.grants.is_empty(),
        };
        let code = if is_known { Code::Ok } else { Code::PermissionDenied };
        async move { Ok(Status::new(code, "").into_http()) }.boxed()
    }
}

struct Process {
    issuer: DemoIssuer,
    directory: LiveDirectory,
    registry: Arc<Elsewhere>,
    way_in: Authenticated<Within>,
    _keys: TempDir,
}

impl Process {
    fn new() -> Self {
        let keys = tempfile::tempdir().unwrap();
        let issuer = DemoIssuer::open(keys.path()).unwrap();
        let directory = LiveDirectory::open(&keys.path().join("none")).unwrap();
        let registry =
            Elsewhere { changes: Held::default(), mood: Held::new(Mood::Good), n_reads: AtomicUsize::new(0) };
        let registry = Arc::new(registry);
        let bounds = Bounds::new(&Settings::even(64));
        let auth = AuthLayer::new(Arc::new(Verifier::new([issuer.issuer()])), directory.clone(), bounds);
        let way_in = auth.following(Arc::clone(&registry) as _).before(Within(directory.clone()));
        Self { issuer, directory, registry, way_in, _keys: keys }
    }

    async fn asks(&self, token: &str) -> Status {
        let request = http::Request::post("/wardline.registry.v1.RegistryService/GetUser");
        let request = request.header("authorization", format!("Bearer {token}")).body(Body::default()).unwrap();
        let answer = self.way_in.clone().call(request).await.unwrap();
        Status::from_header_map(answer.headers()).unwrap_or_else(|| Status::ok(""))
    }

    fn n_reads(&self) -> usize {
        self.registry.n_reads.load(Ordering::SeqCst)
    }
}

fn claimed(id: Uuid) -> Change {
    let now = clock::now().0;
    Change::Device(Device {
        id,
        name: "monitor".into(),
        mac: None,
        model: String::new(),
        mdc_type: String::new(),
        firmware: String::new(),
        software: String::new(),
        registered_by: Uuid::nil(),
        status: DeviceStatus::Active,
        claim: None,
        refresh: None,
        // whole seconds, as tokens have
        credentials_from: now - now % Nanos::SECOND,
        first_used_at: Some(now),
    })
}

fn nurse(id: Uuid) -> Vec<Change> {
    let user = User { id, patient: None, ward: None, suspended: false, revision: Uuid::nil() };
    let grant = Grant { id: Uuid::from_u128(9), user: id, role: "nurse".into(), ward: None, study: None };
    vec![Change::User(user), Change::Grant(grant)]
}

#[tokio::test]
async fn who_was_entered_elsewhere_a_moment_ago_comes_in_at_the_first_try() {
    let process = Process::new();
    let (device, user) = (Uuid::from_u128(1), Uuid::from_u128(2));
    directory::follow(&process.directory, process.registry.as_ref()).await.unwrap();
    process.registry.enters(vec![claimed(device)]);
    let token = process.issuer.device_token(DeviceId::new(device)).unwrap();
    assert_eq!(process.asks(&token).await.code(), Code::Ok);
    process.registry.enters(nurse(user));
    let token = process.issuer.user_token(UserId::new(user)).unwrap();
    assert_eq!(process.asks(&token).await.code(), Code::Ok);
    let n_reads = process.n_reads();
    assert_eq!(process.asks(&token).await.code(), Code::Ok);
    assert_eq!(process.n_reads(), n_reads, "who is known waits for nothing");
    // nobody has entered it: that is final
    let stranger = process.issuer.device_token(DeviceId::new(Uuid::from_u128(3))).unwrap();
    assert_eq!(process.asks(&stranger).await.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn who_may_be_known_elsewhere_is_told_to_try_again() {
    let process = Process::new();
    let device = Uuid::from_u128(1);
    let token = process.issuer.device_token(DeviceId::new(device)).unwrap();
    process.registry.enters(vec![claimed(device)]);
    process.registry.is(Mood::Away);
    let refused = process.asks(&token).await;
    let reason = refused.get_details_error_info().unwrap().reason;
    assert_eq!((refused.code(), reason.as_str()), (Code::Unavailable, "REGISTRY_BEHIND"));
    assert!(refused.get_details_retry_info().is_some());
    process.registry.is(Mood::Good);
    assert_eq!(process.asks(&token).await.code(), Code::Ok);
}

#[tokio::test]
async fn a_token_older_than_what_is_known_is_refused_at_once_and_for_good() {
    let process = Process::new();
    let (now, subject) = (clock::now(), Subject::Device(DeviceId::new(Uuid::from_u128(1))));
    let news = News::new(process.directory.clone(), Arc::clone(&process.registry) as _);
    let issued = |ago: i64| model::access::Identity {
        subject,
        scope: None,
        issued_at: now.plus(-ago * Nanos::SECOND),
        expires_at: Nanos::MAX,
    };
    assert!(news.may_change(&issued(3_600)), "nothing is known yet");
    directory::follow(&process.directory, process.registry.as_ref()).await.unwrap();
    assert!(!news.may_change(&issued(3_600)));
    assert!(news.may_change(&issued(0)));
    let unsaid = model::access::Identity { issued_at: Nanos::MIN, ..issued(0) };
    assert!(news.may_change(&unsaid), "it may be new");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_and_not_all_wait() {
    let process = Process::new();
    let token = process.issuer.device_token(DeviceId::new(Uuid::from_u128(1))).unwrap();
    process.registry.is(Mood::Silent);
    let begun = Instant::now();
    let answers = join_all((0..WAITERS + 10).map(|_| async {
        let status = process.asks(&token).await;
        (status.code(), begun.elapsed())
    }))
    .await;
    assert!(answers.iter().all(|(code, took)| *code == Code::Unavailable && *took <= WAIT + GAP));
    assert_eq!(answers.iter().filter(|(_, took)| took.is_zero()).count(), 10, "those for whom there is no place");
}

#[tokio::test]
async fn one_reading_answers_all_who_came_before_it() {
    let process = Process::new();
    let stranger = process.issuer.device_token(DeviceId::new(Uuid::from_u128(3))).unwrap();
    let answers = join_all((0..100).map(|_| process.asks(&stranger))).await;
    assert!(answers.iter().all(|status| status.code() == Code::PermissionDenied));
    assert!(process.n_reads() <= 3, "{} readings", process.n_reads());
}
