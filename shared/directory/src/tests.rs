//! What a directory file says, and each way in which it can be wrong.

use super::*;
use model::access::{Barred, Consent, ROLES};
use std::fs;
use uuid::Uuid;

const USER: Uuid = Uuid::from_u128(1);
const PATIENT: Uuid = Uuid::from_u128(2);
const DEVICE: Uuid = Uuid::from_u128(3);

fn read(text: &str) -> Result<Directory, Error> {
    let mut directory = Directory::default();
    directory.add("test.toml", text).map(|()| directory)
}

fn assigned(from_to: &[(&str, &str)]) -> String {
    let row = |(from, to): &(&str, &str)| {
        let line =
            |name: &str, text: &str| if text.is_empty() { String::new() } else { format!("{name} = \"{text}\"\n") };
        format!(
            "[[assignment]]\ndevice = \"{DEVICE}\"\npatient = \"{PATIENT}\"\n{}{}",
            line("from", from),
            line("to", to)
        )
    };
    format!("[[device]]\nid = \"{DEVICE}\"\nmodel = \"m\"\n{}", from_to.iter().map(row).collect::<String>())
}

/// One person with everything that can be said of one.
fn good() -> String {
    format!(
        r#"
        [[role]]
        name = "patcher"
        permissions = ["readings.write"]
        [[user]]
        id = "{USER}"
        name = "N"
        roles = ["nurse", "nobody-defined-this-one", "patcher"]
        patient = "{USER}"
        [[grant]]
        user = "{USER}"
        role = "administrator"
        ward = "icu"
        [[proxy]]
        user = "{USER}"
        patient = "{PATIENT}"
        [[study]]
        user = "{USER}"
        patient = "{PATIENT}"
        to = "2025-01-01T00:00:00Z"
        [[consent]]
        patient = "{PATIENT}"
        bars = "anyone"
        purpose = "HRESCH"
        [[consent]]
        patient = "{PATIENT}"
        bars = "{USER}"
        from = "2025-01-01T00:00:00Z"
        [[consent]]
        patient = "{PATIENT}"
        bars = "ward-staff"
        to = "2025-01-01T00:00:00Z"
        [[patient]]
        id = "{PATIENT}"
        ward = "icu"
        [[care_team]]
        user = "{USER}"
        ward = "icu"
        to = "2024-01-01T00:00:00+01:00"
        [[care_team]]
        user = "{USER}"
        patient = "{PATIENT}"
        from = "2025-01-01T00:00:00Z"
        "#
    )
}

#[test]
fn a_good_directory_says_who_may_do_what() {
    let directory = read(&good()).unwrap();
    let who = |subject, scope| {
        directory.principal(
            &Identity { subject, scope, issued_at: Nanos(0), expires_at: Nanos::MAX },
            Some(Purpose::Treatment),
        )
    };
    let everywhere = |permission| Grant { permission, scope: Scope::Everywhere };
    let person = Subject::User(UserId::new(USER));
    let principal = who(person, None);
    assert_eq!(principal.purpose, Some(Purpose::Treatment));
    let seeded = |id: &str| ROLES.iter().find(|role| role.id == id).expect("a seeded role").permissions.iter().copied();
    let in_icu = |permission| Grant { permission, scope: Scope::Ward("icu".into()) };
    let expected: Vec<_> = seeded("nurse")
        .map(everywhere)
        .chain([everywhere(Permission::WriteReadings)])
        .chain(seeded("administrator").map(in_icu))
        .collect();
    assert_eq!(principal.grants, expected);
    // the token's scope takes away, and adds nothing
    assert_eq!(who(person, Some(vec![Permission::ManageQuarantine])).grants, [in_icu(Permission::ManageQuarantine)]);
    assert!(who(person, Some(vec![])).grants.is_empty());

    let facts = directory.facts(&principal, PatientId::new(PATIENT));
    assert_eq!(facts.ward.as_deref(), Some("icu"));
    let second = |seconds: i64| Nanos(seconds * Nanos::SECOND);
    let relate = |kind, from, to| Relation { kind, from, to };
    let (ends, begins) = (second(1_704_063_600), second(1_735_689_600));
    assert_eq!(
        facts.relations,
        [
            relate(RelationKind::CareTeam, begins, Nanos::MAX),
            relate(RelationKind::Proxy, Nanos::MIN, Nanos::MAX),
            relate(RelationKind::Study, Nanos::MIN, begins),
            relate(RelationKind::WardStaff, Nanos::MIN, ends),
        ]
    );
    let bars = |barred, purpose, from, to| Consent { barred, purpose, from, to };
    assert_eq!(
        facts.consents,
        [
            bars(Barred::Anyone, Some(Purpose::Research), Nanos::MIN, Nanos::MAX),
            bars(Barred::User(UserId::new(USER)), None, begins, Nanos::MAX),
            bars(Barred::Kind(RelationKind::WardStaff), None, Nanos::MIN, begins),
        ]
    );
    let own = directory.facts(&principal, PatientId::new(USER));
    assert_eq!(
        own,
        Facts { relations: vec![relate(RelationKind::Myself, Nanos::MIN, Nanos::MAX)], ..Facts::default() }
    );
    assert_eq!(directory.facts(&principal, PatientId::new(DEVICE)), Facts::default());
    let device = who(Subject::Device(DeviceId::new(USER)), None);
    assert_eq!(device.grants, [everywhere(Permission::WriteReadings)]);
    let facts = directory.facts(&device, PatientId::new(USER));
    assert!(facts.relations.is_empty(), "a device with a person's id is nobody's");
    assert!(who(Subject::User(UserId::new(DEVICE)), None).grants.is_empty());
}

#[test]
fn assignments_are_in_order_and_do_not_overlap() {
    let device = DeviceId::new(DEVICE);
    let (early, late) = ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    let directory = read(&assigned(&[(late, ""), ("", early), (early, late)])).unwrap();
    let now = Nanos(0);
    let held = directory.assignments(device, now).unwrap();
    assert_eq!(held.len(), 3);
    assert!(held.is_sorted_by(|a, b| a.to <= b.from));
    assert!(read(&assigned(&[])).unwrap().assignments(device, now).unwrap().is_empty());
    assert_eq!(Directory::default().assignments(device, now), Err(NoDevice::Unknown));
    for overlapping in [[("", ""), (early, late)], [("", late), (early, "")], [(early, late), (early, late)]] {
        assert!(read(&assigned(&overlapping)).is_err(), "{overlapping:?}");
    }
}

#[test]
fn each_mistake_is_refused_with_the_file_and_what_is_wrong() {
    let role = |permission: &str| format!("[[role]]\nname = \"r\"\npermissions = [\"{permission}\"]");
    let team = |rest: &str| format!("[[care_team]]\nuser = \"{USER}\"\n{rest}");
    let relate = |table: &str, rest: &str| format!("[[{table}]]\nuser = \"{USER}\"\npatient = \"{PATIENT}\"\n{rest}");
    let ward = "ward = \"icu\"\n";
    let bars = |whom: &str, rest: &str| format!("[[consent]]\npatient = \"{PATIENT}\"\nbars = \"{whom}\"\n{rest}\n");
    let is_patient = format!("[[user]]\nid = \"{USER}\"\nname = \"A\"\nroles = []\npatient = \"{PATIENT}\"\n");
    let cases = [
        ("not TOML".to_owned(), "expected"),
        ("[[nurse]]\nname = \"n\"".to_owned(), "unknown field"),
        (format!("{}\nextra = 1", role("readings.read")), "unknown field"),
        (role("readings.delete"), "is none of readings.read"),
        (role("re\u{107}d"), "permission \"re\\u{107}d\" is none of"),
        (format!("[[consent]]\npatient = \"{PATIENT}\"\nbars = \"the neighbours\""), "neither anyone, a user's UUID"),
        (format!("[[consent]]\npatient = \"{PATIENT}\"\nbars = \"anyone\"\npurpose = \"FUN\""), "none of TREAT"),
        (format!("[[grant]]\nuser = \"{USER}\"\nrole = \"nurse\""), "missing field"),
        (format!("[[proxy]]\nuser = \"{USER}\"\npatient = \"{PATIENT}\"\nfrom = \"soon\""), "RFC 3339"),
        ("[[patient]]\nid = \"Mrs. Miller\"\nward = \"icu\"".to_owned(), "UUID"),
        (format!("[[patient]]\nid = \"{}\"\nward = \"icu\"", PATIENT.simple()), "four hyphens"),
        (format!("[[proxy]]\nuser = \"{{{USER}}}\"\npatient = \"{PATIENT}\""), "four hyphens"),
        (format!("[[consent]]\npatient = \"{PATIENT}\"\nbars = \"{}\"", USER.urn()), "neither anyone, a user's UUID"),
        (format!("[[patient]]\nid = \"{PATIENT}\""), "missing field"),
        (format!("[[patient]]\nid = \"{PATIENT}\"\nward = \"ICU x/é\""), "ward = \"ICU x/é\""),
        (team("ward = \"Icu\""), "must be 1 to 64 lower-case letters, digits and hyphens"),
        (role("readings.read").replace("\"r\"", "\"R 2\""), "name = \"R 2\""),
        (format!("[[user]]\nid = \"{USER}\"\nname = \"A\"\nroles = [\"nurse\", \"Nurse\"]"), "roles = "),
        (format!("[[grant]]\nuser = \"{USER}\"\nrole = \"Nurse\"\n{ward}"), "role = \"Nurse\""),
        (format!("[[grant]]\nuser = \"{USER}\"\nrole = \"nurse\"\nward = \"\""), "ward = \"\""),
        (relate("study", "study = \"the heart\""), "study = \"the heart\""),
        (format!("[[device]]\nid = \"{DEVICE}\""), "missing field"),
        (team(""), "either ward or patient"),
        (team(&format!("{ward}patient = \"{PATIENT}\"")), "either ward or patient"),
        (team(&format!("{ward}from = \"yesterday\"")), "RFC 3339"),
        (team(&format!("{ward}from = \"2024-01-01\"")), "RFC 3339"),
        (team(&format!("{ward}to = \"1600-01-01T00:00:00Z\"")), "1678"),
        (team(&format!("{ward}from = \"2024-01-02T00:00:00Z\"\nto = \"2024-01-02T00:00:00Z\"")), "before"),
        (assigned(&[("2025-01-01T00:00:00Z", "2024-01-01T00:00:00Z")]), "before"),
        (
            format!("{0}\n{0}", team(ward)),
            "care_team: user 00000000-0000-0000-0000-000000000001 has ward \"icu\" in that",
        ),
        (
            format!("{}\nto = \"2024-01-02T00:00:00Z\"\n{}from = \"2024-01-01T00:00:00Z\"", team(ward), team(ward)),
            "has ward",
        ),
        (relate("proxy", "").repeat(2), "proxy: user 00000000-0000-0000-0000-000000000001 has patient"),
        (relate("study", "study = \"s\"\n").repeat(2), "in study \"s\" in that time already"),
        (bars("anyone", "").repeat(2), "bars: the patient has said this for that time already"),
        (
            format!(
                "{}{}",
                bars("proxy", "to = \"2024-01-02T00:00:00Z\""),
                bars("proxy", "from = \"2024-01-01T00:00:00Z\"")
            ),
            "has said this for that time already",
        ),
        (bars("self", ""), "bars: nobody is barred from their own readings"),
        (bars("self", "purpose = \"TREAT\""), "bars: nobody is barred from their own readings"),
        (bars("care-team", "purpose = \"HRESCH\""), "purpose: nobody who is barred has a relation that serves this"),
        (bars("anyone", "purpose = \"HPAYMT\""), "nobody who is barred has a relation that serves this"),
        (format!("{}{}", bars(&USER.to_string(), ""), is_patient), "bars: nobody bars themselves"),
    ];
    for (text, what) in cases {
        let error = read(&text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with("test.toml: ") && error.contains(what), "{error:?} does not say {what:?}");
    }
}

#[test]
fn relations_that_do_not_meet_and_those_of_two_studies_are_taken() {
    let relate = |table: &str, rest: &str| format!("[[{table}]]\nuser = \"{USER}\"\npatient = \"{PATIENT}\"\n{rest}\n");
    let (until, from) = ("to = \"2024-01-01T00:00:00Z\"", "from = \"2024-01-01T00:00:00Z\"");
    let twice = |table: &str| relate(table, until) + &relate(table, from);
    let studies = relate("study", "study = \"a\"") + &relate("study", "study = \"b\"");
    for text in
        [twice("care_team"), twice("proxy"), twice("study"), studies, relate("proxy", "") + &relate("care_team", "")]
    {
        read(&text).unwrap();
    }
}

#[test]
fn a_device_is_a_patients_for_all_of_a_time_or_not() {
    let days = |from: u8, to: u8| (format!("2024-01-{from:02}T00:00:00Z"), format!("2024-01-{to:02}T00:00:00Z"));
    let held = [days(1, 3), days(3, 5), days(6, 8)];
    let directory = read(&assigned(&held.each_ref().map(|(from, to)| (from.as_str(), to.as_str())))).unwrap();
    // 2024-01-01, and hours after it
    let at = |hours: i64| Nanos(1_704_067_200 * Nanos::SECOND).plus(hours * 3_600 * Nanos::SECOND);
    let during =
        |from, to| directory.was_assigned_during(DeviceId::new(DEVICE), PatientId::new(PATIENT), (at(from), at(to)));
    for (from, to) in [(0, 0), (47, 48), (24, 72), (0, 96), (95, 95), (120, 168)] {
        assert!(during(from, to), "{from} to {to}");
    }
    for (from, to) in [(-1, 1), (95, 97), (96, 96), (72, 144), (167, 169)] {
        assert!(!during(from, to), "{from} to {to}");
    }
}

#[test]
fn who_is_the_patient_may_stand_in_another_file_than_the_consent() {
    let consent = format!("[[consent]]\npatient = \"{PATIENT}\"\nbars = \"{USER}\"\n");
    let person = format!("[[user]]\nid = \"{USER}\"\nname = \"A\"\nroles = []\npatient = \"{PATIENT}\"\n");
    // whom it bars may be a person of the registry
    let mut directory = read(&consent).unwrap();
    let refused = directory.add("people.toml", &person).unwrap_err().to_string();
    assert!(refused.starts_with(&format!("people.toml: consent of patient {PATIENT}: bars: nobody bars")), "{refused}");
    let (until, from) = ("to = \"2024-01-01T00:00:00Z\"\n", "from = \"2024-01-01T00:00:00Z\"\n");
    read(&format!("{consent}{until}{consent}{from}")).unwrap();
}

#[test]
fn a_folder_is_read_again_when_it_changes_and_kept_when_it_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let device = DeviceId::new(DEVICE);
    let known = |shared: &LiveDirectory| shared.get().assignments(device, Nanos(0)).is_ok();
    let shared = LiveDirectory::open(&dir.path().join("not there")).unwrap();
    assert!(!known(&shared));
    let shared = LiveDirectory::open(dir.path()).unwrap();
    assert!(!shared.refresh().unwrap());
    fs::write(dir.path().join("a.toml"), assigned(&[])).unwrap();
    fs::write(dir.path().join("b.tmp"), "not TOML, and not read").unwrap();
    assert!(shared.refresh().unwrap() && known(&shared));
    assert!(!shared.refresh().unwrap());
    fs::write(dir.path().join("c.toml"), "not TOML").unwrap();
    assert!(shared.refresh().is_err() && known(&shared), "the old one stays");
    assert!(LiveDirectory::open(dir.path()).is_err(), "nobody starts with half a directory");
    fs::remove_file(dir.path().join("c.toml")).unwrap();
    fs::remove_file(dir.path().join("a.toml")).unwrap();
    assert!(shared.refresh().unwrap() && !known(&shared));
}
