//! Relations that older versions took twice end together, and what names nothing that is there is refused.

use super::*;
use directory::registry::{self as kept, Barring, Change};

const ADMIN: Uuid = Uuid::from_u128(1);
const NURSE: Uuid = Uuid::from_u128(2);
const PATIENT: Uuid = Uuid::from_u128(3);

/// A registry where all of this was changed before, at once.
pub(super) fn changed(changes: Vec<Change>) -> Registry {
    let store = Arc::new(Memory::default());
    let entry = kept::Entry::new(NOW(), None, changes).encode();
    store.changes.lock().unwrap().push(entry.into());
    running(&store)
}

pub(super) fn somebody(id: Uuid, patient: Option<Uuid>) -> Change {
    let ward = patient.map(|_| "icu".to_owned());
    Change::User(kept::User { id, patient, ward, suspended: false, revision: Uuid::nil() })
}

pub(super) fn relation(id: u128, user: Uuid, kind: &str, from: i64) -> kept::Relation {
    let (id, kind) = (Uuid::from_u128(id), kind.to_owned());
    kept::Relation { id, user, kind, patient: Some(PATIENT), ward: None, study: None, from, to: i64::MAX }
}

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn who_ends_a_relation_ends_the_same_one_beside_it() {
    let later = NOW().plus(Nanos::DAY).0;
    let registry = changed(vec![
        somebody(NURSE, None),
        somebody(PATIENT, Some(PATIENT)),
        Change::Relation(relation(20, NURSE, "care-team", i64::MIN)),
        Change::Relation(relation(21, NURSE, "care-team", 0)),
        Change::Relation(relation(22, NURSE, "care-team", later)),
        Change::Relation(relation(23, NURSE, "proxy", 0)),
    ]);
    let relation_id = Uuid::from_u128(20).to_string();
    registry.end_relation(&caller(), EndRelationRequest { relation_id, ..Default::default() }).await.unwrap();
    let directory = registry.decisions.directory();
    let ends: Vec<_> = directory.registry().relations(None).map(|(_, kept)| kept.value.to).collect();
    assert_eq!(ends, [NOW().0, NOW().0, i64::MAX, i64::MAX], "one that has not begun stays, and another kind");
}

#[tokio::test]
async fn what_has_not_begun_ends_alone() {
    let later = NOW().plus(Nanos::DAY).0;
    let consent = |id: u128, (from, to)| {
        let (id, purpose) = (Uuid::from_u128(id), None);
        Change::Consent(kept::Consent { id, patient: PATIENT, bars: Barring::User(NURSE), purpose, from, to })
    };
    let registry = changed(vec![
        somebody(ADMIN, Some(PATIENT)),
        somebody(NURSE, None),
        Change::Relation(kept::Relation { to: later, ..relation(20, NURSE, "care-team", 0) }),
        Change::Relation(relation(21, NURSE, "care-team", later)),
        consent(30, (0, later)),
        consent(31, (later, i64::MAX)),
    ]);
    directory::follow(registry.decisions.live(), registry.store.as_ref()).await.unwrap();
    let relation_id = Uuid::from_u128(21).to_string();
    registry.end_relation(&caller(), EndRelationRequest { relation_id, ..Default::default() }).await.unwrap();
    let (patient_id, consent_id) = (PATIENT.to_string(), Uuid::from_u128(31).to_string());
    registry
        .revoke_consent(&caller(), RevokeConsentRequest { patient_id, consent_id, ..Default::default() })
        .await
        .unwrap();
    let directory = registry.decisions.directory();
    let ends: Vec<_> = directory.registry().relations(None).map(|(_, kept)| kept.value.to).collect();
    assert_eq!(ends, [later, NOW().0], "the relation that holds now goes on");
    let ends: Vec<_> = directory.registry().consents(None).map(|(_, kept)| kept.value.to).collect();
    assert_eq!(ends, [later, NOW().0], "and so does the consent");
}

#[tokio::test]
async fn who_takes_a_consent_back_takes_the_same_one_back() {
    let consent = |id: u128, bars| {
        let (id, purpose, from, to) = (Uuid::from_u128(id), Some("TREAT".to_owned()), 0, i64::MAX);
        Change::Consent(kept::Consent { id, patient: PATIENT, bars, purpose, from, to })
    };
    let registry = changed(vec![
        somebody(ADMIN, Some(PATIENT)),
        consent(30, Barring::Anyone),
        consent(31, Barring::Anyone),
        consent(32, Barring::User(NURSE)),
    ]);
    directory::follow(registry.decisions.live(), registry.store.as_ref()).await.unwrap();
    let (patient_id, consent_id) = (PATIENT.to_string(), Uuid::from_u128(31).to_string());
    registry
        .revoke_consent(&caller(), RevokeConsentRequest { patient_id, consent_id, ..Default::default() })
        .await
        .unwrap();
    let directory = registry.decisions.directory();
    let ends: Vec<_> = directory.registry().consents(None).map(|(_, kept)| kept.value.to).collect();
    assert_eq!(ends, [NOW().0, NOW().0, i64::MAX]);
}

#[tokio::test]
async fn a_ward_a_study_and_a_person_must_be_there() {
    let held = kept::Grant { id: ADMIN, user: ADMIN, role: "administrator".into(), ward: None, study: None };
    let registry = changed(vec![somebody(ADMIN, Some(PATIENT)), somebody(NURSE, None), Change::Grant(held)]);
    directory::follow(registry.decisions.live(), registry.store.as_ref()).await.unwrap();
    let user_id = NURSE.to_string();
    let relation = |ward: &str| {
        let (user_id, kind, ward) = (user_id.clone(), "ward-staff".to_owned(), ward.to_owned());
        CreateRelationRequest { relation: Some(Relation { user_id, kind, ward, ..Relation::default() }) }
    };
    let refused = registry.create_relation(&caller(), relation("icuu")).await.err().unwrap();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::NotFound, "NO_SUCH_WARD"));
    registry.create_relation(&caller(), relation("icu")).await.unwrap();
    let refused = registry.create_relation(&caller(), relation("icu")).await.err().unwrap();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::AlreadyExists, "RELATION_EXISTS"));

    let grant = |ward: &str, study: &str| {
        let (user_id, role_id) = (user_id.clone(), "nurse".to_owned());
        let (ward, study) = (ward.to_owned(), study.to_owned());
        CreateGrantRequest { grant: Some(Grant { user_id, role_id, ward, study, ..Grant::default() }) }
    };
    for (ward, study, expected) in [("icuu", "", "NO_SUCH_WARD"), ("", "hart", "NO_SUCH_STUDY")] {
        let refused = registry.create_grant(&caller(), grant(ward, study)).await.err().unwrap();
        assert_eq!((refused.code(), &*reason(&refused)), (Code::NotFound, expected));
    }
    let consent = Consent { patient_id: PATIENT.to_string(), bars: Uuid::new_v4().to_string(), ..Consent::default() };
    let request = CreateConsentRequest { consent: Some(consent) };
    let refused = registry.create_consent(&caller(), request).await.err().unwrap();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::NotFound, "NO_SUCH_USER"));
    let permissions = ["jobs.run", "jobs.run"].map(str::to_owned).to_vec();
    let role = Role { role_id: "helper".into(), permissions, ..Role::default() };
    let refused = registry.create_role(&caller(), CreateRoleRequest { role: Some(role) }).await.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_relation_of_a_file_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[user]]\nid = \"{NURSE}\"\nname = \"A\"\nroles = [\"nurse\"]\n\
         [[user]]\nid = \"{ADMIN}\"\nname = \"B\"\nroles = [\"administrator\"]\npatient = \"{PATIENT}\"\n\
         [[care_team]]\nuser = \"{NURSE}\"\npatient = \"{PATIENT}\"\n"
    );
    std::fs::write(folder.path().join("people.toml"), text).unwrap();
    let store = Arc::new(Memory::default());
    let (registry, work) = node_with(&store, folder.path(), Arc::<Written>::default());
    tokio::spawn(work.run(CancellationToken::new()));
    let (user_id, patient_id) = (NURSE.to_string(), PATIENT.to_string());
    let relation = |kind: &str| {
        let (user_id, patient_id, kind) = (user_id.clone(), patient_id.clone(), kind.to_owned());
        CreateRelationRequest { relation: Some(Relation { user_id, kind, patient_id, ..Relation::default() }) }
    };
    let refused = registry.create_relation(&caller(), relation("care-team")).await.err().unwrap();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::AlreadyExists, "RELATION_EXISTS"));
    assert!(refused.message().contains("directory's files"), "{}", refused.message());
    registry.create_relation(&caller(), relation("proxy")).await.unwrap();

    let grant = Grant { user_id, role_id: "nurse".into(), ..Grant::default() };
    let refused = registry.create_grant(&caller(), CreateGrantRequest { grant: Some(grant) }).await.err().unwrap();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::AlreadyExists, "ALREADY_GRANTED"));
    let consent = Consent { patient_id, bars: ADMIN.to_string(), ..Consent::default() };
    let request = CreateConsentRequest { consent: Some(consent) };
    let refused = registry.create_consent(&caller(), request).await.err().unwrap();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::InvalidArgument, "BARS_NOBODY"));
    assert_eq!(store.changes.lock().unwrap().len(), 1, "the proxy");
}

/// A folder of the directory with a device, a patient of the ward `icu` and a person; their ids.
fn one_of_each() -> (tempfile::TempDir, [String; 3]) {
    let ids @ [device_id, patient_id, user_id] = &[40, 41, 42].map(|id| Uuid::from_u128(id).to_string());
    let text = format!(
        "[[device]]\nid = \"{device_id}\"\nmodel = \"m\"\n[[patient]]\nid = \"{patient_id}\"\nward = \"icu\"\n\
         [[user]]\nid = \"{user_id}\"\nname = \"A\"\nroles = []\n"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("beds.toml"), text).unwrap();
    (folder, ids.clone())
}

#[tokio::test]
async fn what_a_file_has_is_not_registered_beside_it() {
    let (folder, [device_id, patient_id, user_id]) = one_of_each();
    let store = Arc::new(Memory::default());
    let (registry, work) = node_with(&store, folder.path(), Arc::<Written>::default());
    tokio::spawn(work.run(CancellationToken::new()));
    for id in [&device_id, &patient_id, &user_id] {
        let device = Some(Device { device_id: id.clone(), name: Some("M".into()), ..Device::default() });
        let refused = registry.create_device(&caller(), CreateDeviceRequest { device }).await.err().unwrap();
        assert_eq!((refused.code(), &*reason(&refused)), (Code::AlreadyExists, "EXISTS"), "{id}");
        assert!(refused.message().contains("directory's files"), "{}", refused.message());
    }
    let csv = format!("device_id,name\n{device_id},M\n,N\n");
    let answer = registry.import_devices(&caller(), ImportDevicesRequest { csv }).await.unwrap();
    assert_eq!((answer.imported, answer.refused.len(), answer.refused[0].line), (1, 1, 2));
    assert!(answer.refused[0].reason.contains("directory's files"), "{}", answer.refused[0].reason);

    // whose staff would lose the patient
    let in_ward = |ward: &str| CreateUserRequest { user: Some(User { ward: Some(ward.into()), ..user(7, 41) }) };
    let refused = registry.create_user(&caller(), in_ward("two")).await.err().unwrap();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::AlreadyExists, "PATIENT_TAKEN"));
    assert!(refused.message().contains("directory's files"), "{}", refused.message());
    let csv = format!("name,patient_id,ward\nA,{patient_id},two\n");
    let answer = registry.import_users(&caller(), ImportUsersRequest { csv }).await.unwrap();
    assert_eq!((answer.imported, &*answer.refused[0].field), (0, "patient_id"));
    registry.create_user(&caller(), in_ward("icu")).await.unwrap();
    // who the patient is is known now, and may move
    let moved = Some(User { user_id: Uuid::from_u128(7).to_string(), ward: Some("two".into()), ..User::default() });
    let update_mask = Some(proto::prost_types::FieldMask { paths: vec!["ward".into()] });
    registry.update_user(&caller(), UpdateUserRequest { user: moved, update_mask }).await.unwrap();
}

#[tokio::test]
async fn an_id_of_a_file_is_nobodys_in_another_role() {
    let (folder, [device_id, patient_id, user_id]) = one_of_each();
    let (registry, work) = node_with(&Arc::new(Memory::default()), folder.path(), Arc::<Written>::default());
    tokio::spawn(work.run(CancellationToken::new()));
    let create = async |user| registry.create_user(&caller(), CreateUserRequest { user: Some(user) }).await;
    for (crossing, field) in
        [(user(7, 40), "patient_id"), (user(7, 42), "patient_id"), (user(40, 1), "user_id"), (user(41, 1), "user_id")]
    {
        let refused = create(crossing).await.err().unwrap();
        assert_eq!((refused.code(), &*reason(&refused)), (Code::AlreadyExists, "ID_TAKEN"));
        let violations = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
        assert!(refused.message().contains("directory's files"), "{}", refused.message());
    }
    let csv = format!("user_id,name,patient_id\n,A,{device_id}\n,B,{user_id}\n{device_id},C,\n{patient_id},D,\n,E,\n");
    let answer = registry.import_users(&caller(), ImportUsersRequest { csv }).await.unwrap();
    let refused: Vec<_> = answer.refused.iter().map(|row| (row.line, row.field.as_str())).collect();
    assert_eq!(
        (answer.imported, &refused[..]),
        (1, &[(2, "patient_id"), (3, "patient_id"), (4, "user_id"), (5, "user_id")][..])
    );

    // one who is there already gets none of them, and keeps what is not changed
    create(user(7, 1)).await.unwrap();
    let update = async |patient_id: &str, name: &str| {
        let user = User {
            user_id: Uuid::from_u128(7).to_string(),
            patient_id: (!patient_id.is_empty()).then(|| patient_id.to_owned()),
            person: (!name.is_empty()).then(|| Person { name: Some(name.to_owned()), ..Person::default() }),
            ..User::default()
        };
        let path = if name.is_empty() { "patient_id" } else { "person.name" };
        let update_mask = Some(proto::prost_types::FieldMask { paths: vec![path.to_owned()] });
        registry.update_user(&caller(), UpdateUserRequest { user: Some(user), update_mask }).await
    };
    for id in [&device_id, &user_id] {
        let refused = update(id, "").await.err().unwrap();
        assert_eq!((refused.code(), &*reason(&refused)), (Code::AlreadyExists, "ID_TAKEN"));
    }
    update("", "B").await.unwrap();
    // the file's patient becomes known, as a person under the same id too
    create(user(41, 41)).await.unwrap();
}

#[tokio::test]
async fn a_deleted_persons_id_is_nobody_elses() {
    let registry = running(&Arc::new(Memory::default()));
    let create = async |user| registry.create_user(&caller(), CreateUserRequest { user: Some(user) }).await;
    create(user(7, 1)).await.unwrap();
    let user_id = Uuid::from_u128(7).to_string();
    registry.delete_user(&caller(), DeleteUserRequest { user_id, etag: String::new() }).await.unwrap();
    for (again, expected) in [
        (user(7, 2), "USER_GONE"),
        (user(8, 1), "PATIENT_TAKEN"),
        // as the other one of the two, too
        (user(1, 2), "ID_TAKEN"),
        (user(8, 7), "ID_TAKEN"),
    ] {
        let refused = create(again).await.err().unwrap();
        assert_eq!((refused.code(), &*reason(&refused)), (Code::AlreadyExists, expected));
    }
    let csv = format!("user_id,name,patient_id\n{},A,\n,B,{}\n", Uuid::from_u128(7), Uuid::from_u128(1));
    let answer = registry.import_users(&caller(), ImportUsersRequest { csv }).await.unwrap();
    let refused: Vec<_> = answer.refused.iter().map(|row| (row.line, row.field.as_str())).collect();
    assert_eq!((answer.imported, &refused[..]), (0, &[(2, "user_id"), (3, "patient_id")][..]));
}

#[tokio::test]
async fn what_is_ended_is_of_the_version_that_was_read() {
    let (id, purpose) = (Uuid::from_u128(30), Some("TREAT".to_owned()));
    let consent = kept::Consent { id, patient: PATIENT, bars: Barring::Anyone, purpose, from: 0, to: i64::MAX };
    let held = kept::Grant { id: Uuid::from_u128(40), user: NURSE, role: "nurse".into(), ward: None, study: None };
    let registry = changed(vec![
        somebody(ADMIN, Some(PATIENT)),
        somebody(NURSE, None),
        Change::Relation(relation(20, NURSE, "care-team", 0)),
        Change::Consent(consent),
        Change::Grant(held),
    ]);
    directory::follow(registry.decisions.live(), registry.store.as_ref()).await.unwrap();
    let end = async |etag: &str| {
        let request = EndRelationRequest { relation_id: Uuid::from_u128(20).to_string(), etag: etag.to_owned() };
        registry.end_relation(&caller(), request).await.map(drop)
    };
    let revoke = async |etag: &str| {
        let (patient_id, consent_id) = (PATIENT.to_string(), Uuid::from_u128(30).to_string());
        let request = RevokeConsentRequest { patient_id, consent_id, etag: etag.to_owned() };
        registry.revoke_consent(&caller(), request).await.map(drop)
    };
    let delete = async |etag: &str| {
        let request = DeleteGrantRequest { grant_id: Uuid::from_u128(40).to_string(), etag: etag.to_owned() };
        registry.delete_grant(&caller(), request).await.map(drop)
    };
    for refused in [end("2").await, revoke("2").await, delete("2").await] {
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), &*reason(&refused)), (Code::Aborted, "ETAG_MISMATCH"));
    }
    end("1").await.unwrap();
    // its answer was lost, and it is sent again
    end("1").await.unwrap();
    revoke("*").await.unwrap();
    delete("1").await.unwrap();
    assert_eq!(delete("*").await.unwrap_err().code(), Code::NotFound);
}
