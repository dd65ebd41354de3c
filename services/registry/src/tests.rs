//! What only shows from inside: two nodes on one store, what is kept, and an audit log that does not answer.

mod credentials;
mod emergencies;
mod floor;
mod imports;
mod limits;
mod lists;
mod newer;
mod relations;

use crate::{
    Credentials, Readings, Registry,
    wire::{enrolment_service_server::EnrolmentService, *},
};
use async_trait::async_trait;
use auth::DemoIssuer;
use bus::{Outgoing, Publish, Receipt};
use bytes::Bytes;
use directory::LiveDirectory;
use guard::decisions::Decisions;
use model::{
    DeviceId, Nanos, StreamId, UserId, WriterId,
    access::{Permission, Principal, Subject},
    audit::{Checkpoint, Entry, Event, Outcome},
};
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use store::{AuditQuery, Auditor, Error, FoundEntries, Revision, Work};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

const NOW: fn() -> Nanos = || Nanos(1_700_000_000 * Nanos::SECOND);

/// A store in memory.
#[derive(Default)]
struct Memory {
    changes: Mutex<Vec<Bytes>>,
    /// People whose profiles were put, in that order, an entry for each time.
    profiles: Mutex<Vec<UserId>>,
    /// Contents of those profiles, by revision.
    kept: Mutex<HashMap<Revision, Bytes>>,
    /// Whether its disk is full.
    is_full: AtomicBool,
}

#[async_trait]
impl store::Profiles for Memory {
    async fn profile(&self, _: UserId, revision: Revision) -> Result<Option<Bytes>, Error> {
        Ok(self.kept.lock().unwrap().get(&revision).cloned())
    }
}

#[async_trait]
impl store::Registry for Memory {
    async fn put_change(&self, sequence: u64, change: &[u8]) -> Result<bool, Error> {
        // others come in between, as with a store elsewhere
        tokio::task::yield_now().await;
        if self.is_full.load(Ordering::SeqCst) {
            return Err(Error::NoSpace("the test says so".into()));
        }
        let mut changes = self.changes.lock().unwrap();
        let free = changes.len() as u64 + 1 == sequence;
        if free {
            changes.push(Bytes::copy_from_slice(change));
        }
        Ok(free)
    }

    async fn changes(&self, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        let changes = self.changes.lock().unwrap().clone();
        Ok((1..).zip(changes).filter(|(number, _)| *number >= from).take(limit).collect())
    }

    async fn put_profile(&self, user: UserId, revision: Revision, profile: &[u8]) -> Result<(), Error> {
        self.profiles.lock().unwrap().push(user);
        self.kept.lock().unwrap().insert(revision, Bytes::copy_from_slice(profile));
        Ok(())
    }
}

/// Takes everything, and keeps nothing.
struct Quiet;

#[async_trait]
impl store::Positions for Quiet {
    async fn position(&self, _: DeviceId, _: StreamId) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    async fn note(&self, _: &[(DeviceId, StreamId, u64)]) -> Result<(), Error> {
        Ok(())
    }

    async fn last_seen(&self, devices: &[DeviceId]) -> Result<Vec<Option<Nanos>>, Error> {
        Ok(vec![None; devices.len()])
    }

    async fn last_stream(&self, _: DeviceId) -> Result<Option<(StreamId, Nanos)>, Error> {
        Ok(None)
    }

    async fn note_seen(&self, _: &[store::Sighting]) -> Result<(), Error> {
        Ok(())
    }
}

#[async_trait]
impl store::Timeline for Quiet {
    async fn hours(
        &self,
        _: &model::Permit,
        _: model::HourRange,
        _: store::Order,
        _: usize,
    ) -> Result<Vec<store::HourEntry>, Error> {
        Ok(Vec::new())
    }

    async fn read(&self, _: &model::Permit, _: &[store::HourEntry]) -> Result<Vec<store::HourData>, Error> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Publish for Quiet {
    async fn publish(&self, _: Outgoing) -> Result<Receipt, bus::Error> {
        Ok(Box::pin(async { Ok(()) }))
    }

    fn has_room(&self) -> bool {
        true
    }

    async fn flush(&self, _: Duration) -> Result<(), bus::Error> {
        Ok(())
    }

    fn fatal(&self) -> Option<String> {
        None
    }
}

/// An audit log that keeps what was written down.
#[derive(Default)]
struct Written(Mutex<Vec<Event>>);

#[async_trait]
impl store::Audit for Written {
    async fn append(&self, entries: &[Entry]) -> Result<(), Error> {
        self.0.lock().unwrap().extend(entries.iter().map(|entry| entry.event.clone()));
        Ok(())
    }

    async fn entries(&self, _: WriterId, _: u64, _: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        Ok(vec![])
    }

    async fn writers(&self) -> Result<Vec<WriterId>, Error> {
        Ok(vec![])
    }

    async fn search(&self, _: &AuditQuery) -> Result<FoundEntries, Error> {
        Ok(FoundEntries::default())
    }
}

#[async_trait]
impl store::Checkpoints for Quiet {
    async fn keep(&self, _: &Checkpoint) -> Result<(), Error> {
        Ok(())
    }

    async fn kept(&self) -> Result<Vec<Checkpoint>, Error> {
        Ok(vec![])
    }
}

impl store::Sign for Quiet {
    fn sign(&self, _: &[u8]) -> Result<[u8; 64], Error> {
        Ok([0; 64])
    }

    fn key_id(&self) -> [u8; 8] {
        [0; 8]
    }
}

#[async_trait]
impl bus::Progress for Quiet {
    async fn progress(&self, _: model::PatientId) -> Result<(bus::NextOffset, bus::NextOffset), bus::Error> {
        Ok((bus::NextOffset::START, bus::NextOffset::START))
    }
}

fn readings() -> Readings {
    Readings { positions: Arc::new(Quiet), timeline: Arc::new(Quiet), written: Arc::new(Quiet) }
}

/// A node's registry, and the work of its audit log: nothing is written down unless it runs.
fn node(store: &Arc<Memory>) -> (Registry, Work) {
    node_with(store, Path::new("none"), Arc::<Written>::default())
}

/// The same, with the files of a folder, and a log of its own.
fn node_with(store: &Arc<Memory>, files: &Path, log: Arc<dyn store::Audit>) -> (Registry, Work) {
    let dir = tempfile::tempdir().unwrap();
    let directory = LiveDirectory::open(&dir.path().join(files)).unwrap();
    let tokens = Some(DemoIssuer::open(dir.path()).unwrap().into_devices());
    let credentials = Credentials { tokens, authority: None };
    let store = Arc::clone(store) as _;
    let (auditor, work) = Auditor::new(log, Arc::new(Quiet), Arc::new(Quiet), NOW);
    let decisions = Decisions::new(directory, auditor, NOW);
    (Registry::new(store, readings(), decisions, credentials, Arc::new(Quiet)), work)
}

fn running(store: &Arc<Memory>) -> Registry {
    let (registry, work) = node(store);
    tokio::spawn(work.run(CancellationToken::new()));
    registry
}

/// Somebody who may do everything; nobody of the directory, and so with nothing to pass on.
fn caller() -> Principal {
    Principal::everywhere(Subject::User(UserId::new(Uuid::from_u128(1))), &Permission::ALL, Nanos::MAX)
}

fn device(mac: &str) -> CreateDeviceRequest {
    CreateDeviceRequest {
        device: Some(Device { name: Some("Monitor".into()), mac: Some(mac.into()), ..Device::default() }),
    }
}

#[tokio::test]
async fn of_two_nodes_each_decides_by_what_the_other_changed() {
    let store = Arc::new(Memory::default());
    let (one, other) = (running(&store), running(&store));
    one.create_device(&caller(), device("00:00:5e:00:53:01")).await.unwrap();
    let taken = other.create_device(&caller(), device("00:00:5e:00:53:01")).await.err().unwrap();
    assert_eq!(taken.code(), Code::AlreadyExists, "{taken}");
    let made = other.create_device(&caller(), device("00:00:5e:00:53:02")).await.unwrap().device.unwrap();
    let (device_id, etag) = (made.device_id, made.etag);
    let moved = Device { device_id, etag, mac: Some("00:00:5e:00:53:03".into()), ..Device::default() };
    one.update_device(&caller(), UpdateDeviceRequest { device: Some(moved.clone()), update_mask: None }).await.unwrap();
    let stale = UpdateDeviceRequest { device: Some(moved), update_mask: None };
    assert_eq!(other.update_device(&caller(), stale).await.err().unwrap().code(), Code::Aborted);
    // at once: each change has a place of its own
    let many = |node: Registry| async move {
        for _ in 0..20 {
            node.create_device(&caller(), device("")).await.unwrap();
        }
    };
    tokio::join!(many(one.clone()), many(other.clone()));
    assert_eq!(store.changes.lock().unwrap().len(), 43);
    for node in [&one, &other] {
        directory::follow(node.decisions.live(), store.as_ref()).await.unwrap();
        assert_eq!(node.decisions.directory().registry().devices(None).count(), 42);
    }
}

#[tokio::test]
async fn a_refused_row_of_an_import_leaves_nothing_of_the_person_behind() {
    let store = Arc::new(Memory::default());
    let registry = running(&store);
    let (id, patient) = (Uuid::from_u128(7), Uuid::from_u128(8));
    let csv = format!(
        "user_id,name,birth_date,role,patient_id\n{id},A,,,{patient}\n,B,2999-01-01,,\n,C,,nurse,\n,D,,pilot,\n{id},E,,,\n,F,,,{patient}\n"
    );
    for imported in [1, 0] {
        let answer = registry.import_users(&caller(), ImportUsersRequest { csv: csv.clone() }).await.unwrap();
        assert_eq!((answer.imported, answer.refused.len()), (imported, 6 - imported as usize));
        assert_eq!(*store.profiles.lock().unwrap(), [UserId::new(id)]);
    }
}

/// A person who is a patient.
fn user(id: u128, patient: u128) -> User {
    User {
        user_id: Uuid::from_u128(id).to_string(),
        patient_id: Some(Uuid::from_u128(patient).to_string()),
        person: Some(Person { name: Some("A".into()), ..Person::default() }),
        ..User::default()
    }
}

#[tokio::test]
async fn a_refused_change_leaves_nothing_of_the_person_behind() {
    let store = Arc::new(Memory::default());
    let registry = running(&store);
    let create = async |user| registry.create_user(&caller(), CreateUserRequest { user: Some(user) }).await;
    let update = async |user| {
        let update_mask = Some(proto::prost_types::FieldMask { paths: vec!["patient_id".into(), "person".into()] });
        registry.update_user(&caller(), UpdateUserRequest { user: Some(user), update_mask }).await
    };
    create(user(7, 1)).await.unwrap();
    create(user(8, 2)).await.unwrap();
    // the id is taken, the patient id is taken, twice
    for refused in [create(user(7, 3)).await.err(), create(user(9, 1)).await.err(), update(user(8, 1)).await.err()] {
        assert_eq!(refused.map(|status| status.code()), Some(Code::AlreadyExists));
    }
    assert_eq!(*store.profiles.lock().unwrap(), [7, 8].map(|id| UserId::new(Uuid::from_u128(id))));
    update(user(8, 3)).await.unwrap();
    assert_eq!(store.profiles.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let store = Arc::new(Memory::default());
    let (registry, work) = node(&store);
    // the audit log is closed
    drop(work);
    let caller = caller();
    let some = || Uuid::from_u128(9).to_string();
    let (grant, role) = (Grant { user_id: some(), role_id: "nurse".into(), ..Grant::default() }, "helper".to_owned());
    let relation = Relation { user_id: some(), kind: "proxy".into(), patient_id: some(), ..Relation::default() };
    let emergency = OpenBreakGlassRequest {
        patient_id: some(),
        reason: "life-threat".into(),
        text: "no pulse, alone on the ward".into(),
        minutes: 1,
    };
    let role = Some(Role { role_id: role, ..Role::default() });
    let user = Some(User { user_id: some(), ..User::default() });
    let update_mask = Some(proto::prost_types::FieldMask { paths: vec!["suspended".into()] });
    let codes = [
        registry.create_user(&caller, CreateUserRequest { user: user.clone() }).await.err(),
        registry.update_user(&caller, UpdateUserRequest { user, update_mask }).await.err(),
        registry.import_users(&caller, ImportUsersRequest { csv: "name\nA\n".into() }).await.err(),
        registry.create_role(&caller, CreateRoleRequest { role }).await.err(),
        registry.create_grant(&caller, CreateGrantRequest { grant: Some(grant) }).await.err(),
        registry.create_relation(&caller, CreateRelationRequest { relation: Some(relation) }).await.err(),
        registry.open_break_glass(&caller, emergency).await.err(),
        registry.create_device(&caller, device("")).await.err(),
        registry.import_devices(&caller, ImportDevicesRequest { csv: "name\nA\n".into() }).await.err(),
        registry.list_roles(&caller, ListRolesRequest {}).await.err(),
    ]
    .map(|status| status.map(|status| status.code()));
    assert_eq!(codes, [Some(Code::Unavailable); 10]);
    assert!(store.changes.lock().unwrap().is_empty() && store.profiles.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_claim_that_cannot_be_written_down_does_not_use_up_the_code() {
    let store = Arc::new(Memory::default());
    let registry = running(&store);
    let made = registry.create_device(&caller(), device("")).await.unwrap();
    let device_id = made.device.unwrap().device_id;
    let claim = async |registry: &Registry| {
        let (device_id, claim_code) = (device_id.clone(), made.claim_code.clone());
        let request = ClaimDeviceRequest { device_id, claim_code, csr: String::new() };
        registry.claim_device(tonic::Request::new(request)).await.map(|_| ()).map_err(|status| status.code())
    };
    let (silent, work) = node(&store);
    drop(work);
    assert_eq!(claim(&silent).await, Err(Code::Unavailable));
    assert_eq!(claim(&registry).await, Ok(()));
    assert_eq!(claim(&registry).await, Err(Code::Unauthenticated), "once");
}

#[tokio::test]
async fn a_full_disk_is_called_that_and_reading_goes_on() {
    let store = Arc::new(Memory::default());
    let registry = running(&store);
    registry.create_device(&caller(), device("00:00:5e:00:53:01")).await.unwrap();
    store.is_full.store(true, Ordering::SeqCst);
    let refused = registry.create_device(&caller(), device("00:00:5e:00:53:02")).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "NO_SPACE");
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    let listed = registry.list_devices(&caller(), ListDevicesRequest::default()).await.unwrap();
    assert_eq!(listed.devices.len(), 1);
    store.is_full.store(false, Ordering::SeqCst);
    registry.create_device(&caller(), device("00:00:5e:00:53:02")).await.unwrap();
}
