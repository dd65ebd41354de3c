//! Relations that are there twice, or never hold; ids that were somebody's.

use super::*;

const DOCTOR: Uuid = Uuid::from_u128(4);
const LATE: Uuid = Uuid::from_u128(21);
const NEXT: Uuid = Uuid::from_u128(22);
const BED: Uuid = Uuid::from_u128(23);

fn relation(id: u128, kind: &str, (from, to): (i64, i64)) -> Relation {
    let (id, kind) = (Uuid::from_u128(id), kind.to_owned());
    Relation { id, user: NURSE, kind, patient: Some(PATIENT), ward: None, study: None, from, to }
}

fn consent(id: u128, bars: Barring, purpose: Option<&str>) -> Consent {
    let purpose = purpose.map(str::to_owned);
    Consent { id: Uuid::from_u128(id), patient: PATIENT, bars, purpose, from: 0, to: i64::MAX }
}

fn base() -> Vec<Change> {
    vec![user(NURSE, None), user(PATIENT, Some(PATIENT)), Change::Device(device(MONITOR, None, DeviceStatus::Active))]
}

fn with(more: &[Change]) -> Vec<Change> {
    [&base()[..], more].concat()
}

/// Whether one more change fits.
fn fits(changes: &[Change], one_more: Change) -> Result<(), &'static str> {
    after(changes).registry().draft(NOW, None).add([one_more]).map_err(|refused| refused.reason)
}

#[test]
fn the_same_relation_twice_in_a_time_is_refused() {
    let ward = |id, user| {
        let (patient, ward) = (None, Some("icu".to_owned()));
        Change::Relation(Relation { user, patient, ward, ..relation(id, "ward-staff", (i64::MIN, i64::MAX)) })
    };
    let study = |id, study: &str| {
        let study = Some(study.to_owned());
        Change::Relation(Relation { study, ..relation(id, "study", (i64::MIN, i64::MAX)) })
    };
    let team = |id, span| Change::Relation(relation(id, "care-team", span));
    let there = with(&[team(20, (0, 5_000)), ward(22, NURSE), study(24, "heart")]);
    for twin in [
        team(21, (0, 5_000)),
        team(21, (i64::MIN, i64::MAX)),
        team(21, (4_999, 6_000)),
        ward(23, NURSE),
        study(25, "heart"),
    ] {
        assert_eq!(fits(&there, twin), Err("RELATION_EXISTS"));
    }
    let others = [
        team(21, (5_000, 6_000)),
        Change::Relation(relation(21, "proxy", (0, 5_000))),
        ward(23, DOCTOR),
        study(25, "lung"),
    ];
    for other in others {
        assert_eq!(fits(&there, other), Ok(()));
    }
    // what is over is over, however long ago the next one is said to begin
    let over = with(&[team(20, (0, 5_000)), team(20, (0, 1_000))]);
    assert_eq!(fits(&over, team(21, (i64::MIN, i64::MAX))), Ok(()));

    let barred = with(&[Change::Consent(consent(30, Barring::User(NURSE), Some("TREAT")))]);
    for (bars, purpose, fit) in [
        (Barring::User(NURSE), Some("TREAT"), Err("ALREADY_BARRED")),
        (Barring::User(NURSE), None, Ok(())),
        (Barring::User(DOCTOR), Some("TREAT"), Ok(())),
    ] {
        assert_eq!(fits(&barred, Change::Consent(consent(31, bars, purpose))), fit);
    }
    let assigned = with(&[assignment(40, PATIENT, 0, i64::MAX)]);
    assert_eq!(fits(&assigned, assignment(41, PATIENT, 500, i64::MAX)), Err("ASSIGNMENT_OVERLAPS"));
}

#[test]
fn what_a_file_says_already_is_refused() {
    let mut directory = after(&base());
    let (nurse, patient) = (format!("user = \"{NURSE}\""), format!("patient = \"{PATIENT}\""));
    let file = format!(
        "[[user]]\nid = \"{NURSE}\"\nname = \"A\"\nroles = [\"nurse\"]\n\
         [[user]]\nid = \"{DOCTOR}\"\nname = \"B\"\nroles = []\n{patient}\n\
         [[care_team]]\n{nurse}\n{patient}\nto = \"2100-01-01T00:00:00Z\"\n\
         [[study]]\n{nurse}\n{patient}\nstudy = \"heart\"\n\
         [[consent]]\n{patient}\nbars = \"study\"\n"
    );
    directory.add("files.toml", &file).unwrap();
    let fits =
        |directory: &Directory, change: Change| directory.check_files(&change, NOW).map_err(|refused| refused.reason);
    let later = 5_000_000_000 * Nanos::SECOND;
    let team = |span| Change::Relation(relation(20, "care-team", span));
    let study =
        |study: &str| Change::Relation(Relation { study: Some(study.into()), ..relation(21, "study", (0, i64::MAX)) });
    let bars = |bars, purpose| Change::Consent(consent(30, bars, purpose));
    let kind = || Barring::Kind("study".to_owned());
    let cases = [
        (team((i64::MIN, i64::MAX)), Err("RELATION_EXISTS")),
        (team((later, i64::MAX)), Ok(())),
        (Change::Relation(relation(20, "proxy", (0, i64::MAX))), Ok(())),
        (study("heart"), Err("RELATION_EXISTS")),
        (study("lung"), Ok(())),
        (bars(kind(), None), Err("ALREADY_BARRED")),
        (bars(kind(), Some("HRESCH")), Ok(())),
        (bars(Barring::User(DOCTOR), None), Err("BARS_NOBODY")),
        (bars(Barring::User(NURSE), None), Ok(())),
        (grant(10, "nurse", None), Err("ALREADY_GRANTED")),
        (grant(10, "nurse", Some("icu")), Ok(())),
    ];
    for (place, (change, expected)) in cases.into_iter().enumerate() {
        assert_eq!(fits(&directory, change), expected, "case {place}");
    }
    // one that the registry has beside it can be ended
    let related = after(&with(&[team((0, i64::MAX))]));
    let both = Directory { files: directory.files, registry: related.registry };
    assert_eq!(fits(&both, team((0, NOW.0))), Ok(()));
}

#[test]
fn what_never_holds_is_refused() {
    let over = |to| Change::Relation(relation(20, "care-team", (0, to)));
    assert_eq!([fits(&base(), over(NOW.0)), fits(&base(), over(NOW.0 + 1))], [Err("ALREADY_OVER"), Ok(())]);
    let over = Consent { to: NOW.0, ..consent(30, Barring::Anyone, None) };
    assert_eq!(fits(&base(), Change::Consent(over)), Err("ALREADY_OVER"));
    let kind = |kind: &str| Barring::Kind(kind.to_owned());
    for (bars, purpose, fit) in [
        (Barring::User(PATIENT), None, Err("BARS_NOBODY")),
        (kind("self"), None, Err("BARS_NOBODY")),
        (kind("care-team"), Some("HRESCH"), Err("BARS_NOBODY")),
        (kind("study"), Some("TREAT"), Err("BARS_NOBODY")),
        (Barring::Anyone, Some("HPAYMT"), Err("BARS_NOBODY")),
        (Barring::User(NURSE), Some("HOPERAT"), Err("BARS_NOBODY")),
        (kind("care-team"), Some("TREAT"), Ok(())),
        (kind("emergency"), Some("ETREAT"), Ok(())),
        (Barring::Anyone, Some("PATRQT"), Ok(())),
        (Barring::User(NURSE), None, Ok(())),
    ] {
        assert_eq!(fits(&base(), Change::Consent(consent(30, bars, purpose))), fit, "{purpose:?}");
    }
    let retired = with(&[Change::Device(device(MONITOR, None, DeviceStatus::Retired))]);
    assert_eq!(fits(&retired, assignment(40, PATIENT, 0, i64::MAX)), Err("RETIRED"));
}

#[test]
fn relations_of_older_versions_are_followed_as_they_were() {
    let twice = with(&[
        Change::Grant(Grant { id: LATE, user: NURSE, role: "nurse".into(), ward: None, study: None }),
        Change::Relation(relation(20, "care-team", (0, 5_000))),
        Change::Relation(relation(21, "care-team", (0, 5_000))),
        Change::Relation(relation(22, "care-team", (0, 900))),
    ]);
    let directory = after(&twice);
    assert_eq!((directory.registry().relations(None).count(), reads(&directory, 1_000)), (3, Ok(())));
    let ended = after(&[&twice[..], &[Change::Relation(relation(20, "care-team", (0, 900)))]].concat());
    assert_eq!(reads(&ended, 1_000), Ok(()), "the other one holds");
}

#[test]
fn an_emergency_that_ends_early_opens_nothing_more() {
    let emergency = |to| BreakGlass {
        id: LATE,
        user: NURSE,
        patient: PATIENT,
        reason: "other".into(),
        text: "0123456789".into(),
        from: 0,
        to,
        review: None,
        notified: None,
    };
    let opened = with(&[grant(10, "nurse", None), Change::BreakGlass(emergency(5_000))]);
    let opens = |changes: &[Change]| {
        let directory = after(changes);
        let facts = directory.facts(
            &directory.principal(
                &Identity {
                    subject: Subject::User(UserId::new(NURSE)),
                    scope: None,
                    issued_at: Nanos(0),
                    expires_at: Nanos::MAX,
                },
                None,
            ),
            PatientId::new(PATIENT),
        );
        facts.relations.iter().map(|relation| relation.to.0).collect::<Vec<_>>()
    };
    assert_eq!(opens(&opened), [5_000]);
    assert_eq!(opens(&[&opened[..], &[Change::BreakGlass(emergency(1_000))]].concat()), [1_000]);
}

#[test]
fn an_id_is_never_given_to_another() {
    let there = with(&[user(DOCTOR, None)]);
    let own =
        |id, patient| Change::User(User { id, patient, ward: None, suspended: false, revision: Uuid::from_u128(99) });
    let gone = [&there[..], &[Change::UserRemoved(PATIENT)]].concat();
    assert_eq!(fits(&gone, own(PATIENT, None)), Err("USER_GONE"));
    assert_eq!(fits(&gone, own(LATE, Some(PATIENT))), Err("PATIENT_TAKEN"));
    assert_eq!(fits(&gone, own(LATE, Some(LATE))), Ok(()));
    let monitor = |id| Change::Device(device(id, None, DeviceStatus::Registered));
    for (state, id) in [(&gone, PATIENT), (&there, PATIENT), (&there, DOCTOR)] {
        assert_eq!(fits(state, monitor(id)), Err("ID_TAKEN"));
    }
    assert_eq!(fits(&gone, monitor(LATE)), Ok(()));
    // nor in the other role: a patient's to a person, a person's to a patient, a device's to either
    let as_another = [&there[..], &[own(LATE, Some(BED))]].concat();
    let both_gone = [&as_another[..], &[Change::UserRemoved(LATE)]].concat();
    for state in [&as_another, &both_gone] {
        assert_eq!(fits(state, own(BED, None)), Err("ID_TAKEN"));
        assert_eq!(fits(state, own(NEXT, Some(LATE))), Err("ID_TAKEN"));
        assert_eq!(fits(state, own(NEXT, Some(MONITOR))), Err("ID_TAKEN"));
        assert_eq!(fits(state, own(MONITOR, None)), Err("ID_TAKEN"));
        assert_eq!(fits(state, own(NEXT, Some(NEXT))), Ok(()));
    }
    assert_eq!(fits(&as_another, own(LATE, Some(BED))), Ok(()), "the same as before");
    // one who is a patient no more comes back as the same, and nobody else does
    let left = [&there[..], &[own(PATIENT, None)]].concat();
    assert_eq!(fits(&left, own(PATIENT, Some(PATIENT))), Ok(()));
    assert_eq!(fits(&left, own(DOCTOR, Some(PATIENT))), Err("PATIENT_TAKEN"));
    // an older version did: what was known of the first is not known of the second
    let again = after(&[&gone[..], &[own(PATIENT, None), own(DOCTOR, Some(PATIENT))]].concat());
    assert_eq!(again.registry().versions(&PATIENT).count(), 1);
    assert_eq!(again.registry().person_of(PatientId::new(PATIENT)), Some(UserId::new(DOCTOR)));
}

#[test]
fn wards_and_studies_are_there_from_their_first_patient_on() {
    let moved = |ward: &str| {
        let ward = Some(ward.to_owned());
        Change::User(User { id: PATIENT, patient: Some(PATIENT), ward, suspended: false, revision: Uuid::from_u128(9) })
    };
    let study = Relation { study: Some("heart".into()), ..relation(24, "study", (0, i64::MAX)) };
    let directory = after(&with(&[moved("two"), Change::Relation(study)]));
    assert!(directory.has_ward("icu") && directory.has_ward("two") && directory.has_study("heart"));
    assert!(!directory.has_ward("Two") && !directory.has_ward("heart") && !directory.has_study("two"));
    let mut files = Directory::default();
    files.add("demo.toml", &format!("[[patient]]\nid = \"{PATIENT}\"\nward = \"three\"\n")).unwrap();
    assert!(files.has_ward("three") && !files.has_ward("thre"));
}

#[test]
fn what_devices_send_for_a_patient_id_ends_when_it_is_nobodys() {
    let other = Uuid::from_u128(5);
    let base = [
        user(NURSE, Some(PATIENT)),
        user(other, Some(other)),
        Change::Device(device(MONITOR, None, DeviceStatus::Active)),
        assignment(50, PATIENT, 0, i64::MAX),
    ];
    let open = |directory: &Directory| directory.registry().open_assignments(PatientId::new(PATIENT), NOW).len();
    let Change::User(person) = user(NURSE, Some(PATIENT)) else { unreachable!() };
    let moved = Change::User(User { ward: Some("ward-7".into()), suspended: true, ..person });
    assert_eq!(open(&after(&[&base[..], &[moved]].concat())), 1, "the same patient elsewhere");
    for patient in [None, Some(Uuid::from_u128(6))] {
        let left = [&base[..], &[user(NURSE, patient)]].concat();
        let directory = after(&left);
        assert_eq!(open(&directory), 0, "{patient:?}");
        let held = directory.assignments(DeviceId::new(MONITOR), Nanos::MAX).unwrap();
        assert_eq!(held.iter().map(|one| (one.from.0, one.to.0)).collect::<Vec<_>>(), [(0, NOW.0)]);
        // the device is free, and an older version could still end such an assignment later
        after(&[&left[..], &[assignment(51, other, NOW.0, i64::MAX)]].concat());
        after(&[&left[..], &[assignment(50, PATIENT, 0, 2_000)]].concat());
    }
}
