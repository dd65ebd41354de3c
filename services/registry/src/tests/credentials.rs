//! Claims and refreshes: what they leave behind, and a clock that jumps.

use super::{Memory, Quiet, Written, caller, device, readings, running};
use crate::{
    Credentials, Registry,
    wire::{enrolment_service_server::EnrolmentService, *},
};
use auth::{DemoIssuer, Verifier};
use directory::{
    LiveDirectory, NoDevice,
    registry::{Change, DeviceStatus, Entry},
};
use guard::decisions::Decisions;
use model::{
    DeviceId, Nanos,
    access::{Permission, Principal, Subject},
};
use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, SystemTime},
};
use store::{Auditor, Registry as _};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use uuid::Uuid;

thread_local! {
    /// What the node's clock shows beside the true time, in nanoseconds.
    static AHEAD: Cell<i64> = const { Cell::new(0) };
}

fn clock() -> Nanos {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as i64;
    Nanos(now).plus(AHEAD.get())
}

/// A registry with one device, that is not claimed yet.
struct Stage {
    registry: Registry,
    store: Arc<Memory>,
    keys: TempDir,
    id: Uuid,
    claim_code: String,
}

impl Stage {
    async fn new() -> Self {
        let (store, keys) = (Arc::new(Memory::default()), tempfile::tempdir().unwrap());
        let directory = LiveDirectory::open(&keys.path().join("none")).unwrap();
        let tokens = Some(DemoIssuer::open(keys.path()).unwrap().into_devices());
        let (auditor, work) = Auditor::new(Arc::<Written>::default(), Arc::new(Quiet), Arc::new(Quiet), clock);
        tokio::spawn(work.run(CancellationToken::new()));
        let credentials = Credentials { tokens, authority: None };
        let registry = Registry::new(
            Arc::clone(&store) as _,
            readings(),
            Decisions::new(directory, auditor, clock),
            credentials,
            Arc::new(Quiet),
        );
        let made = registry.create_device(&caller(), device("")).await.unwrap();
        let id = made.device.unwrap().device_id.parse().unwrap();
        Self { registry, store, keys, id, claim_code: made.claim_code }
    }

    async fn claim(&self, claim_code: &str) -> Result<ClaimDeviceResponse, Status> {
        let (device_id, claim_code) = (self.id.to_string(), claim_code.to_owned());
        let request = Request::new(ClaimDeviceRequest { device_id, claim_code, csr: String::new() });
        // one that waits for the clock would wait for a day
        let answer = tokio::time::timeout(Duration::from_secs(30), self.registry.claim_device(request)).await;
        answer.expect("an answer").map(tonic::Response::into_inner)
    }

    async fn refresh(&self, refresh_token: &str) -> Result<RefreshDeviceResponse, Code> {
        let (device_id, refresh_token) = (self.id.to_string(), refresh_token.to_owned());
        let request = Request::new(RefreshDeviceRequest { device_id, refresh_token, csr: String::new() });
        let answer = self.registry.refresh_device(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| status.code())
    }

    async fn rotate(&self) -> String {
        let request = RotateDeviceRequest { device_id: self.id.to_string(), ..Default::default() };
        self.registry.rotate_device(&caller(), request).await.unwrap().claim_code
    }

    /// Whether the device may send with a token.
    fn counts(&self, token: &str) -> Result<(), NoDevice> {
        let issuer = DemoIssuer::open(self.keys.path()).unwrap().issuer();
        let identity = Verifier::new([issuer]).verify_now(token).unwrap().expect("good by its times");
        let directory = self.registry.decisions.directory();
        directory.assignments(DeviceId::new(self.id), identity.issued_at).map(|_| ())
    }

    fn status(&self) -> DeviceStatus {
        self.registry.decisions.directory().registry().device(&self.id).unwrap().value.status
    }

    /// The device, with a token that is alive.
    fn itself(&self) -> Principal {
        let subject = Subject::Device(DeviceId::new(self.id));
        let everywhere = Principal::everywhere(subject, &[Permission::WriteReadings], Nanos::MAX);
        Principal { issued_at: clock().plus(Nanos::DAY * 9), ..everywhere }
    }

    fn n_changes(&self) -> usize {
        self.store.changes.lock().unwrap().len()
    }
}

#[tokio::test]
async fn a_claim_after_the_clock_was_put_back_a_day_is_answered_and_old_tokens_stay_old() {
    let stage = Stage::new().await;
    let first = stage.claim(&stage.claim_code).await.unwrap();
    assert_eq!(stage.counts(&first.token), Ok(()));
    AHEAD.set(Nanos::DAY);
    let code = stage.rotate().await;
    AHEAD.set(0);
    let second = stage.claim(&code).await.unwrap();
    assert_eq!(stage.counts(&second.token), Ok(()));
    assert_eq!(stage.counts(&first.token), Err(NoDevice::Revoked));
    // another one, by a clock that is now behind the first: it ends what came before it all the same
    let code = stage.rotate().await;
    assert_eq!(stage.counts(&second.token), Err(NoDevice::Revoked));
    let third = stage.claim(&code).await.unwrap();
    assert_eq!(stage.counts(&third.token), Ok(()));
}

#[tokio::test]
async fn a_device_that_was_away_comes_back_and_a_lost_answer_does_not_lock_it_out() {
    let stage = Stage::new().await;
    let first = stage.claim(&stage.claim_code).await.unwrap().refresh_token;
    let lost = stage.refresh(&first).await.unwrap();
    let second = stage.refresh(&first).await.unwrap();
    assert!(stage.counts(&second.token).is_ok() && lost.refresh_token != second.refresh_token);
    let third = stage.refresh(&second.refresh_token).await.unwrap();
    for wrong in ["", "x", &stage.claim_code] {
        assert_eq!(stage.refresh(wrong).await.err(), Some(Code::Unauthenticated), "{wrong}");
    }
    assert_eq!(stage.counts(&third.token), Ok(()), "who guesses wrong takes nothing away");
    let kept = String::from_utf8(stage.store.changes.lock().unwrap().concat()).unwrap();
    assert!([&first, &third.refresh_token].iter().all(|secret| secret.len() == 64 && !kept.contains(secret.as_str())));
    // somebody copied the first
    assert_eq!(stage.refresh(&first).await.err(), Some(Code::Unauthenticated));
    assert_eq!((stage.status(), stage.counts(&third.token)), (DeviceStatus::Revoked, Err(NoDevice::Revoked)));
    assert_eq!(stage.refresh(&third.refresh_token).await.err(), Some(Code::Unauthenticated));
    let code = stage.rotate().await;
    assert_eq!(stage.counts(&stage.claim(&code).await.unwrap().token), Ok(()));
}

#[tokio::test]
async fn rotation_and_revocation_end_the_refresh_token() {
    let stage = Stage::new().await;
    let first = stage.claim(&stage.claim_code).await.unwrap().refresh_token;
    let code = stage.rotate().await;
    assert_eq!(stage.refresh(&first).await.err(), Some(Code::Unauthenticated));
    let second = stage.claim(&code).await.unwrap().refresh_token;
    let revoke = || RevokeDeviceRequest { device_id: stage.id.to_string(), retire: false, ..Default::default() };
    stage.registry.revoke_device(&caller(), revoke()).await.unwrap();
    assert_eq!(stage.refresh(&second).await.err(), Some(Code::Unauthenticated));
    let n_changes = stage.n_changes();
    stage.registry.revoke_device(&caller(), revoke()).await.unwrap();
    assert_eq!(stage.n_changes(), n_changes, "it is revoked");
}

#[tokio::test]
async fn a_device_is_rotated_and_revoked_in_the_version_that_was_read() {
    let stage = Stage::new().await;
    let device_id = stage.id.to_string();
    let read = GetDeviceRequest { device_id: device_id.clone() };
    let etag = stage.registry.get_device(&caller(), read).await.unwrap().device.unwrap().etag;
    let rotate = async |etag: &str| {
        let request = RotateDeviceRequest { device_id: device_id.clone(), etag: etag.to_owned() };
        stage.registry.rotate_device(&caller(), request).await.map(drop).map_err(|status| status.code())
    };
    let revoke = async |etag: &str| {
        let request = RevokeDeviceRequest { device_id: device_id.clone(), retire: false, etag: etag.to_owned() };
        stage.registry.revoke_device(&caller(), request).await.map(drop).map_err(|status| status.code())
    };
    assert_eq!([rotate("999").await, rotate(&etag).await], [Err(Code::Aborted), Ok(())]);
    assert_eq!([rotate(&etag).await, revoke(&etag).await], [Err(Code::Aborted); 2], "another version is there");
    assert_eq!([rotate("*").await, revoke("*").await, revoke(&etag).await], [Ok(()); 3], "it is revoked already");
}

#[tokio::test]
async fn what_changes_nothing_is_no_change() {
    let stage = Stage::new().await;
    stage.claim(&stage.claim_code).await.unwrap();
    let report = |version: &str| ReportDeviceRequest { firmware_version: version.into(), ..Default::default() };
    stage.registry.report_device(&stage.itself(), report("1.0")).await.unwrap();
    let n_changes = stage.n_changes();
    for _ in 0..3 {
        stage.registry.report_device(&stage.itself(), report("1.0")).await.unwrap();
        let renewed = RenewDeviceTokenRequest::default();
        let renewed = stage.registry.renew_device_token(&stage.itself(), renewed).await.unwrap();
        assert_eq!(renewed.refresh_token, "", "it has one");
        let device = Device { device_id: stage.id.to_string(), name: Some("Monitor".into()), ..Default::default() };
        let update_mask = Some(proto::prost_types::FieldMask { paths: vec!["name".into()] });
        let request = UpdateDeviceRequest { device: Some(device), update_mask };
        stage.registry.update_device(&caller(), request).await.unwrap();
    }
    assert_eq!(stage.n_changes(), n_changes);
    stage.registry.report_device(&stage.itself(), report("1.1")).await.unwrap();
    assert_eq!(stage.n_changes(), n_changes + 1);
}

#[tokio::test]
async fn a_person_who_is_set_to_what_is_known_gets_no_new_version() {
    let store = Arc::new(Memory::default());
    let registry = running(&store);
    let id = Uuid::from_u128(7);
    let user = |name: &str| {
        let person = Some(Person { name: Some(name.into()), ..Default::default() });
        Some(User { user_id: id.to_string(), person, ..Default::default() })
    };
    registry.create_user(&caller(), CreateUserRequest { user: user("") }).await.unwrap();
    let update = async |name: &str, path: &str| {
        let update_mask = Some(proto::prost_types::FieldMask { paths: vec![path.into()] });
        let request = UpdateUserRequest { user: user(name), update_mask };
        registry.update_user(&caller(), request).await.unwrap().user.unwrap().etag
    };
    let n_versions = || registry.decisions.directory().registry().versions(&id).count();
    let etag = update("", "person.name").await;
    assert_eq!((update("", "contact.phone").await, n_versions()), (etag.clone(), 1));
    assert_ne!(update("Nina", "person.name").await, etag);
    assert_eq!((n_versions(), store.profiles.lock().unwrap().len()), (2, 2), "nothing was kept for the others");
}

#[tokio::test]
async fn a_refresh_token_opens_its_own_device_alone() {
    let mut stage = Stage::new().await;
    let other = stage.registry.create_device(&caller(), device("")).await.unwrap();
    let own = stage.claim(&stage.claim_code).await.unwrap();
    let own_id = std::mem::replace(&mut stage.id, other.device.unwrap().device_id.parse().unwrap());
    let theirs = stage.claim(&other.claim_code).await.unwrap();
    assert_eq!(stage.refresh(&own.refresh_token).await.err(), Some(Code::Unauthenticated));
    assert_eq!((stage.status(), stage.counts(&theirs.token)), (DeviceStatus::Active, Ok(())), "nobody's was copied");
    assert!(stage.refresh(&theirs.refresh_token).await.is_ok());
    stage.id = own_id;
    assert!(stage.refresh(&own.refresh_token).await.is_ok());
}

#[tokio::test]
async fn a_device_from_before_there_were_refresh_tokens_gets_one_when_it_renews() {
    let stage = Stage::new().await;
    stage.claim(&stage.claim_code).await.unwrap();
    // as an older version has left it
    let claimed = stage.registry.decisions.directory().registry().device(&stage.id).unwrap().value.clone();
    let change = Change::Device(directory::registry::Device { refresh: None, ..claimed });
    let entry = Entry::new(clock(), None, vec![change]).encode();
    assert!(stage.store.put_change(stage.n_changes() as u64 + 1, &entry).await.unwrap());
    directory::follow(stage.registry.decisions.live(), stage.store.as_ref()).await.unwrap();
    let renew = async || {
        let (itself, request) = (stage.itself(), RenewDeviceTokenRequest::default());
        stage.registry.renew_device_token(&itself, request).await.unwrap().refresh_token
    };
    let first = renew().await;
    assert_eq!((first.len(), renew().await), (64, String::new()), "once");
    assert!(stage.refresh(&first).await.is_ok());
}
