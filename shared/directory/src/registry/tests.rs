//! What changes amount to, and which are refused.

mod new_relations;

use super::*;
use crate::{Directory, Identity, NoDevice};
use model::{
    DeviceId, PatientId, UserId,
    access::{Action, Denied, Permission, Scope, decide},
};

const NURSE: Uuid = Uuid::from_u128(1);
const PATIENT: Uuid = Uuid::from_u128(2);
const MONITOR: Uuid = Uuid::from_u128(3);
const NOW: Nanos = Nanos(1_000);

fn user(id: Uuid, patient: Option<Uuid>) -> Change {
    Change::User(User { id, patient, ward: patient.map(|_| "icu".into()), suspended: false, revision: Uuid::nil() })
}

fn grant(number: u128, role: &str, ward: Option<&str>) -> Change {
    let ward = ward.map(str::to_owned);
    Change::Grant(Grant { id: Uuid::from_u128(number), user: NURSE, role: role.into(), ward, study: None })
}

fn care_team(from: i64, to: i64) -> Change {
    let (id, kind) = (Uuid::from_u128(20), "care-team".to_owned());
    Change::Relation(Relation { id, user: NURSE, kind, patient: Some(PATIENT), ward: None, study: None, from, to })
}

fn device(id: Uuid, mac: Option<&str>, status: DeviceStatus) -> Device {
    Device {
        id,
        name: "monitor".into(),
        mac: mac.map(str::to_owned),
        model: String::new(),
        mdc_type: String::new(),
        firmware: String::new(),
        software: String::new(),
        registered_by: NURSE,
        status,
        claim: None,
        refresh: None,
        credentials_from: 500,
        first_used_at: None,
    }
}

fn assignment(number: u128, patient: Uuid, from: i64, to: i64) -> Change {
    let id = Uuid::from_u128(number);
    Change::Assignment(Assignment { id, device: MONITOR, patient, from, to, by: NURSE })
}

/// A directory in which these changes were made, one entry each; every one of them fits, or did in an older version. Who makes
/// a change comes to what those come to who read its bytes.
fn after(changes: &[Change]) -> Directory {
    let mut state = State::default();
    for change in changes {
        let mut draft = state.draft(NOW, None);
        let made = draft.add([change.clone()]).ok().map(|()| draft.finish());
        let entry = Entry::new(NOW, None, vec![change.clone()]).encode();
        let bytes = made.as_ref().map_or(&entry, |(_, bytes, _)| bytes);
        state.follow(state.sequence() + 1, &Entry::decode(bytes).unwrap()).unwrap();
        assert!(made.is_none_or(|(sequence, _, made)| sequence == state.sequence() && made == state));
    }
    Directory::default().with_registry(state)
}

/// Why one more change does not fit; nothing of it is in force.
fn refused(changes: &[Change], one_more: Change) -> &'static str {
    let directory = after(changes);
    let mut draft = directory.registry().draft(NOW, None);
    let reason = draft.add([one_more]).expect_err("a refusal").reason;
    assert!(draft.changes().is_empty());
    reason
}

fn reads(directory: &Directory, now: i64) -> Result<(), Denied> {
    let subject = Subject::User(UserId::new(NURSE));
    let identity = Identity { subject, scope: None, issued_at: Nanos(0), expires_at: Nanos::MAX };
    let principal = directory.principal(&identity, None);
    let patient = PatientId::new(PATIENT);
    let facts = directory.facts(&principal, patient);
    decide(&principal, Action::ReadTimeline, patient, &facts, Nanos(now)).map(|_| ())
}

#[test]
fn roles_and_relations_open_what_they_should_and_close_it_again() {
    let base = [user(NURSE, None), user(PATIENT, Some(PATIENT)), grant(10, "nurse", Some("icu")), care_team(0, 5_000)];
    assert_eq!(reads(&after(&base), 1_000), Ok(()));
    assert_eq!(reads(&after(&base), 5_000), Err(Denied::NoRelation));
    let with = |change: Change| after(&[&base[..], &[change]].concat());
    assert_eq!(reads(&with(care_team(0, 900)), 1_000), Err(Denied::NoRelation), "the relation has another end");
    assert_eq!(
        reads(&with(Change::GrantRemoved(Uuid::from_u128(10))), 1_000),
        Err(Denied::Permission(Permission::ReadReadings))
    );
    let Change::User(person) = user(NURSE, None) else { unreachable!() };
    let suspended = with(Change::User(User { suspended: true, ..person.clone() }));
    assert_eq!(reads(&suspended, 1_000), Err(Denied::Permission(Permission::ReadReadings)));
    assert_eq!(reads(&with(Change::UserRemoved(NURSE)), 1_000), Err(Denied::Permission(Permission::ReadReadings)));
    assert_eq!(suspended.registry().versions(&NURSE).count(), 2);

    let id = Uuid::from_u128(30);
    let bar = |to| Consent { id, patient: PATIENT, bars: Barring::User(NURSE), purpose: None, from: 0, to };
    assert_eq!(reads(&with(Change::Consent(bar(9_000))), 1_000), Err(Denied::Consent));
    let revoked = after(&[&base[..], &[Change::Consent(bar(9_000)), Change::Consent(bar(900))]].concat());
    assert_eq!(reads(&revoked, 1_000), Ok(()));

    // a changed role counts for those who hold it; a ward that the patient has left does not
    let none = Role { id: "nurse".into(), category: "clinician".into(), permissions: vec![], may_grant: vec![] };
    assert_eq!(reads(&with(Change::Role(none)), 1_000), Err(Denied::Permission(Permission::ReadReadings)));
    let moved = User { id: PATIENT, patient: Some(PATIENT), ward: Some("ward-7".into()), ..person };
    assert_eq!(reads(&with(Change::User(moved)), 1_000), Err(Denied::Scope(Permission::ReadReadings)));
}

#[test]
fn who_is_gone_leaves_nothing_in_force() {
    let own = Uuid::from_u128(5);
    let base = [user(PATIENT, Some(PATIENT)), user(NURSE, Some(own)), grant(10, "nurse", None), care_team(0, 5_000)];
    let gone = after(&[&base[..], &[Change::UserRemoved(NURSE)]].concat());
    assert!(gone.registry().grant(&Uuid::from_u128(10)).is_none());
    assert_eq!(gone.registry().relation(&Uuid::from_u128(20)).map(|kept| kept.value.to), Some(NOW.0));
    let identity = Identity {
        subject: Subject::User(UserId::new(NURSE)),
        scope: None,
        issued_at: Nanos(0),
        expires_at: Nanos::MAX,
    };
    let facts = gone.facts(&gone.principal(&identity, None), PatientId::new(own));
    assert_eq!(facts, model::access::Facts::default(), "neither oneself nor a ward");
    assert!(!gone.is_patient(PatientId::new(own)));
    // whoever has the id next gets nothing with it
    let next = [Change::UserRemoved(NURSE), user(NURSE, None), grant(11, "nurse", None)];
    assert_eq!(reads(&after(&[&base[..], &next].concat()), NOW.0), Err(Denied::NoRelation));
    let other = [Change::UserRemoved(NURSE), user(Uuid::from_u128(6), Some(own))];
    assert_eq!(
        after(&[&base[..], &other].concat()).registry().person_of(PatientId::new(own)),
        Some(UserId::new(Uuid::from_u128(6)))
    );
}

#[test]
fn what_devices_send_for_a_patient_ends_with_the_patient() {
    let (other, bed) = (Uuid::from_u128(5), Uuid::from_u128(6));
    let planned =
        Assignment { id: Uuid::from_u128(53), device: bed, patient: PATIENT, from: 2_000, to: 3_000, by: NURSE };
    let base = [
        user(PATIENT, Some(PATIENT)),
        user(other, Some(other)),
        Change::Device(device(MONITOR, None, DeviceStatus::Active)),
        Change::Device(device(bed, None, DeviceStatus::Active)),
        assignment(50, PATIENT, 0, 500),
        assignment(51, PATIENT, 500, i64::MAX),
        Change::Assignment(Assignment {
            id: Uuid::from_u128(52),
            patient: other,
            from: 0,
            to: 2_000,
            ..planned.clone()
        }),
        Change::Assignment(planned.clone()),
    ];
    let open = after(&base).registry().open_assignments(PatientId::new(PATIENT), NOW);
    assert_eq!(open.into_iter().collect::<Vec<_>>(), [Uuid::from_u128(51), planned.id]);
    let gone = [&base[..], &[Change::UserRemoved(PATIENT)]].concat();
    let directory = after(&gone);
    assert!(directory.registry().open_assignments(PatientId::new(PATIENT), NOW).is_empty());
    let ends: Vec<_> = directory.registry().assignments(None).map(|(_, kept)| kept.value.to).collect();
    assert_eq!(ends, [500, NOW.0, 2_000, 2_000], "one that has not begun ends where it begins");
    let held = |device| directory.assignments(DeviceId::new(device), Nanos::MAX).unwrap();
    let of_monitor: Vec<_> = held(MONITOR).iter().map(|one| (one.from.0, one.to.0)).collect();
    assert_eq!(of_monitor, [(0, 500), (500, NOW.0)]);
    assert!(held(bed).iter().all(|one| one.patient == PatientId::new(other)), "another's stays");
    // the devices are free, also by what an older version could still say of such an assignment
    after(&[&gone[..], &[assignment(54, other, NOW.0, i64::MAX), Change::Assignment(planned.clone())]].concat());
    let later = Assignment { id: Uuid::from_u128(55), patient: other, from: 2_000, to: i64::MAX, ..planned };
    after(&[&gone[..], &[Change::Assignment(later)]].concat());
}

#[test]
fn an_emergency_opens_one_patient_for_its_time_and_the_purpose_is_that() {
    let emergency = BreakGlass {
        id: Uuid::from_u128(40),
        user: NURSE,
        patient: PATIENT,
        reason: "life-threat".into(),
        text: String::new(),
        from: 1_000,
        to: 2_000,
        review: None,
        notified: None,
    };
    let base = [user(PATIENT, Some(PATIENT)), grant(10, "nurse", None)];
    let directory = after(&[&base[..], &[Change::BreakGlass(emergency.clone())]].concat());
    assert_eq!(reads(&directory, 1_500), Ok(()));
    assert_eq!(reads(&directory, 2_000), Err(Denied::NoRelation));
    // its review does not open it once more
    let review = Some(Review { by: NURSE, at: 1_600, outcome: "justified".into(), text: String::new() });
    let reviewed = Change::BreakGlass(BreakGlass { review, to: 9_000, ..emergency });
    let mut draft = directory.registry().draft(NOW, None);
    assert!(draft.add([reviewed]).is_ok());
    let (.., state) = draft.finish();
    assert_eq!(reads(&directory.with_registry(state), 3_000), Err(Denied::NoRelation));
}

#[test]
fn devices_send_for_the_patient_of_the_time_with_credentials_that_count() {
    let base = [
        Change::Device(device(MONITOR, Some("00:00:5e:00:53:01"), DeviceStatus::Active)),
        assignment(50, PATIENT, 0, 1_000),
        assignment(51, NURSE, 1_000, i64::MAX),
    ];
    let directory = after(&base);
    let held = directory.assignments(DeviceId::new(MONITOR), Nanos(500)).unwrap();
    assert_eq!(held.iter().map(|one| one.patient.uuid()).collect::<Vec<_>>(), [PATIENT, NURSE]);
    assert_eq!(directory.assignments(DeviceId::new(MONITOR), Nanos(499)), Err(NoDevice::Revoked), "an old token");
    assert_eq!(directory.assignments(DeviceId::new(NURSE), Nanos(500)), Err(NoDevice::Unknown));
    for status in [DeviceStatus::Registered, DeviceStatus::Revoked, DeviceStatus::Retired] {
        let off = after(&[&base[..], &[Change::Device(device(MONITOR, None, status))]].concat());
        assert_eq!(off.assignments(DeviceId::new(MONITOR), Nanos::MAX), Err(NoDevice::Revoked), "{status:?}");
    }
    let ended =
        after(&[&base[..], &[assignment(51, NURSE, 1_000, 2_000), assignment(52, PATIENT, 2_000, 3_000)]].concat());
    assert_eq!(ended.assignments(DeviceId::new(MONITOR), NOW).unwrap().len(), 3);
}

#[test]
fn what_the_registry_says_of_a_device_counts_before_what_a_file_says() {
    let mut directory = after(&[Change::Device(device(MONITOR, None, DeviceStatus::Revoked))]);
    directory.add("beds.toml", &format!("[[device]]\nid = \"{MONITOR}\"\nmodel = \"m\"\n")).unwrap();
    assert_eq!(directory.assignments(DeviceId::new(MONITOR), Nanos::MAX), Err(NoDevice::Revoked));
}

#[test]
fn what_contradicts_the_rest_is_refused_and_changes_nothing() {
    let mac = Some("00:00:5e:00:53:01");
    let base = [
        user(PATIENT, Some(PATIENT)),
        grant(10, "nurse", None),
        Change::Device(device(MONITOR, mac, DeviceStatus::Active)),
        assignment(50, PATIENT, 0, 1_000),
        assignment(51, PATIENT, 2_000, 3_000),
    ];
    let role = |names: &[&str]| {
        let permissions = names.iter().map(|&name| name.to_owned()).collect();
        Change::Role(Role { id: "r".into(), category: String::new(), permissions, may_grant: vec![] })
    };
    let lets = |name: &str| {
        let (permissions, may_grant) = (vec![], vec![name.to_owned()]);
        Change::Role(Role { id: "r".into(), category: String::new(), permissions, may_grant })
    };
    let cases = [
        (user(NURSE, Some(PATIENT)), "PATIENT_TAKEN"),
        (Change::UserRemoved(NURSE), "NO_SUCH_USER"),
        (role(&["readings.read", "readings.delete"]), "UNKNOWN_PERMISSION"),
        (lets("readings.delete"), "UNKNOWN_PERMISSION"),
        (Change::RoleRemoved("nurse".into()), "BUILT_IN_ROLE"),
        (Change::RoleRemoved("pilot".into()), "NO_SUCH_ROLE"),
        (grant(11, "pilot", None), "NO_SUCH_ROLE"),
        (grant(11, "nurse", None), "ALREADY_GRANTED"),
        (Change::GrantRemoved(NURSE), "NO_SUCH_GRANT"),
        (care_team(5, 5), "BAD_RELATION"),
        (Change::Device(device(NURSE, mac, DeviceStatus::Registered)), "MAC_TAKEN"),
        (assignment(52, NURSE, 999, 1_001), "ASSIGNMENT_OVERLAPS"),
        (assignment(50, PATIENT, 0, 2_001), "ASSIGNMENT_OVERLAPS"),
        (assignment(52, NURSE, 9, 9), "TIMES_REVERSED"),
    ];
    for (change, reason) in cases {
        assert_eq!(refused(&base, change), reason);
    }
    // an overlap that was refused leaves the old end in force
    let directory = after(&base);
    let mut draft = directory.registry().draft(NOW, None);
    assert!(draft.add([assignment(50, PATIENT, 0, 2_001)]).is_err());
    let (.., state) = draft.finish();
    let held = directory.with_registry(state);
    let held = held.assignments(DeviceId::new(MONITOR), NOW).unwrap();
    assert_eq!(held.iter().map(|one| one.to.0).collect::<Vec<_>>(), [1_000, 3_000]);
    // a retired device's address is free
    let retired = [
        Change::Device(device(MONITOR, mac, DeviceStatus::Active)),
        Change::Device(device(MONITOR, mac, DeviceStatus::Retired)),
    ];
    assert_eq!(after(&retired).registry().device_with_mac("00:00:5e:00:53:01"), None);
    // and stays the next one's, whatever becomes of the retired one
    let next = [
        Change::Device(device(NURSE, mac, DeviceStatus::Active)),
        Change::Device(device(MONITOR, None, DeviceStatus::Retired)),
    ];
    let changes = [&retired[..], &next].concat();
    assert_eq!(after(&changes).registry().device_with_mac("00:00:5e:00:53:01"), Some(NURSE));
}

#[test]
fn a_draft_takes_what_fits_all_of_it_or_none_and_leaves_out_what_is_so() {
    let mac = Some("00:00:5e:00:53:01");
    let monitor = || Change::Device(device(MONITOR, mac, DeviceStatus::Active));
    let mut draft = State::default().draft(NOW, None);
    assert!(draft.add([monitor()]).is_ok());
    let taken = draft.add([Change::Device(device(NURSE, mac, DeviceStatus::Active))]);
    assert!(taken.is_err_and(|refused| refused.reason == "MAC_TAKEN"));
    let spare = [device(NURSE, None, DeviceStatus::Active), device(PATIENT, mac, DeviceStatus::Active)];
    assert!(draft.add(spare.map(Change::Device)).is_err());
    assert!(draft.state().device(&NURSE).is_none());
    assert!(draft.add([monitor()]).is_ok());
    assert_eq!(draft.changes().len(), 1);
}

#[test]
fn entries_follow_each_other_and_what_is_not_understood_is_an_error() {
    let mut state = State::default();
    let entry = Entry::new(NOW, Some(Subject::User(UserId::new(NURSE))), vec![user(NURSE, None)]);
    assert!(state.follow(2, &entry).is_err());
    state.follow(1, &entry).unwrap();
    assert!(state.follow(1, &entry).is_err());
    let kept = state.user(&NURSE).unwrap();
    assert_eq!((kept.sequence, kept.at, kept.by.as_str()), (1, NOW, format!("user:{NURSE}").as_str()));
    for bytes in [
        &b""[..],
        b"{}",
        br#"{"at":1,"by":"x","request":"00000000-0000-0000-0000-000000000000","changes":[{"colour":1}]}"#,
    ] {
        assert!(Entry::decode(bytes).is_err());
    }
    assert_eq!(state.roles(None).count(), 8);
}

#[test]
fn who_may_grant_what() {
    let directory = after(&[grant(10, "administrator", Some("icu")), grant(11, "nurse", None)]);
    let may = directory.may_grant(UserId::new(NURSE));
    let has = |permission, scope: Scope| may.iter().any(|grant| grant.permission == permission && grant.scope == scope);
    assert!(has(Permission::ReadAudit, Scope::Ward("icu".into())));
    assert!(has(Permission::ReadReadings, Scope::Everywhere), "what one may do one may pass on");
    assert!(!has(Permission::ReadAudit, Scope::Everywhere));
}

#[test]
fn a_claim_code_is_known_only_by_its_hash() {
    let code = Hashed::of("one-two-three");
    assert!(code.is("one-two-three") && !code.is("one-two-four") && !code.is(""));
    assert!(!serde_json::to_string(&code).unwrap().contains("one-two"));
}

fn role(id: &str, permissions: &[&str]) -> Role {
    let permissions = permissions.iter().map(|&name| name.to_owned()).collect();
    Role { id: id.into(), category: String::new(), permissions, may_grant: vec![] }
}

/// What older versions let happen does not close the way back: whoever a file makes an administrator is one.
#[test]
fn a_file_makes_an_administrator_whatever_older_entries_took() {
    let emptied = Change::Role(role("administrator", &[]));
    let removed = Change::RoleRemoved("administrator".into());
    for older in [vec![emptied.clone()], vec![removed.clone()], vec![emptied, removed.clone(), removed]] {
        let mut directory = after(&older);
        assert!(!directory.is_administered());
        let file = format!("[[user]]\nid = \"{NURSE}\"\nname = \"A\"\nroles = [\"administrator\"]\n");
        directory.add("recovery.toml", &file).unwrap();
        assert!(directory.is_administered());
        let identity = Identity {
            subject: model::access::Subject::User(UserId::new(NURSE)),
            scope: None,
            issued_at: NOW,
            expires_at: Nanos::MAX,
        };
        let principal = directory.principal(&identity, None);
        for action in [Action::ManageRoles, Action::ManageUsers, Action::ManageRelations] {
            assert_eq!(model::access::decide_system(&principal, action, NOW), Ok(()));
        }
        let passes_on = directory.may_grant(UserId::new(NURSE));
        assert!(Permission::ALL.iter().all(|one| passes_on.iter().any(|grant| grant.permission == *one)));
    }
}

#[test]
fn a_file_cannot_make_administrators_less() {
    let mut directory = after(&[user(NURSE, None), grant(10, "administrator", None)]);
    assert!(directory.is_administered());
    directory.add("odd.toml", "[[role]]\nname = \"administrator\"\npermissions = []\n").unwrap();
    assert!(directory.is_administered());
}

#[test]
fn who_is_suspended_or_bound_to_a_ward_does_not_administer() {
    let suspended = Change::User(User { id: NURSE, patient: None, ward: None, suspended: true, revision: Uuid::nil() });
    assert!(!after(&[]).is_administered());
    assert!(!after(&[user(NURSE, None), grant(10, "administrator", Some("icu"))]).is_administered());
    assert!(!after(&[user(NURSE, None), grant(10, "nurse", None)]).is_administered());
    assert!(!after(&[user(NURSE, None), grant(10, "administrator", None), suspended]).is_administered());
}
