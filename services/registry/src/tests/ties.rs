//! Ties that older versions took twice end together, and what names nothing that is there is refused.

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

pub(super) fn tied(id: u128, user: Uuid, kind: &str, from: i64) -> kept::Relation {
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
        Change::Relation(tied(20, NURSE, "care-team", i64::MIN)),
        Change::Relation(tied(21, NURSE, "care-team", 0)),
        Change::Relation(tied(22, NURSE, "care-team", later)),
        Change::Relation(tied(23, NURSE, "proxy", 0)),
    ]);
    let relation_id = Uuid::from_u128(20).to_string();
    registry.end_relation(&caller(), EndRelationRequest { relation_id }).await.unwrap();
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
        Change::Relation(kept::Relation { to: later, ..tied(20, NURSE, "care-team", 0) }),
        Change::Relation(tied(21, NURSE, "care-team", later)),
        consent(30, (0, later)),
        consent(31, (later, i64::MAX)),
    ]);
    directory::follow(registry.decisions.live(), registry.store.as_ref()).await.unwrap();
    let relation_id = Uuid::from_u128(21).to_string();
    registry.end_relation(&caller(), EndRelationRequest { relation_id }).await.unwrap();
    let (patient_id, consent_id) = (PATIENT.to_string(), Uuid::from_u128(31).to_string());
    registry.revoke_consent(&caller(), RevokeConsentRequest { patient_id, consent_id }).await.unwrap();
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
    registry.revoke_consent(&caller(), RevokeConsentRequest { patient_id, consent_id }).await.unwrap();
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
    assert_eq!((refused.code(), &*reason(&refused)), (Code::AlreadyExists, "ALREADY_TIED"));

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
async fn what_a_file_ties_is_not_tied_again() {
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
    assert_eq!((refused.code(), &*reason(&refused)), (Code::AlreadyExists, "ALREADY_TIED"));
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
