//! What a directory file says, and each way in which it can be wrong.

use super::*;
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

#[test]
fn a_good_directory_says_who_may_do_what() {
    let text = format!(
        r#"
        [[role]]
        name = "nurse"
        permissions = ["readings.read"]
        [[user]]
        id = "{USER}"
        name = "N"
        roles = ["nurse", "a role that nobody defined"]
        patient = "{USER}"
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
    );
    let directory = read(&text).unwrap();
    let principal = directory.principal(Subject::User(UserId::new(USER)), Nanos::MAX);
    assert_eq!(principal.permissions, [Permission::ReadReadings]);
    let mut spans: Vec<_> =
        directory.relations(&principal, PatientId::new(PATIENT)).iter().map(|r| (r.from, r.to)).collect();
    spans.sort();
    let second = |seconds: i64| Nanos(seconds * Nanos::SECOND);
    assert_eq!(spans, [(Nanos::MIN, second(1_704_063_600)), (second(1_735_689_600), Nanos::MAX)]);
    assert_eq!(directory.relations(&principal, PatientId::new(USER))[0].kind, RelationKind::Myself);
    assert!(directory.relations(&principal, PatientId::new(DEVICE)).is_empty());
    let device = directory.principal(Subject::Device(DeviceId::new(USER)), Nanos::MAX);
    assert_eq!(device.permissions, [Permission::WriteReadings]);
    assert!(directory.relations(&device, PatientId::new(USER)).is_empty(), "a device with a person's id is nobody's");
    let stranger = directory.principal(Subject::User(UserId::new(DEVICE)), Nanos::MAX);
    assert!(stranger.permissions.is_empty());
}

#[test]
fn assignments_are_in_order_and_do_not_overlap() {
    let device = DeviceId::new(DEVICE);
    let (early, late) = ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
    let directory = read(&assigned(&[(late, ""), ("", early), (early, late)])).unwrap();
    let held = directory.assignments(device).unwrap();
    assert_eq!(held.len(), 3);
    assert!(held.is_sorted_by(|a, b| a.to <= b.from));
    assert!(read(&assigned(&[])).unwrap().assignments(device).unwrap().is_empty());
    assert_eq!(Directory::default().assignments(device), None);
    for overlapping in [[("", ""), (early, late)], [("", late), (early, "")], [(early, late), (early, late)]] {
        assert!(read(&assigned(&overlapping)).is_err(), "{overlapping:?}");
    }
}

#[test]
fn each_mistake_is_refused_with_the_file_and_what_is_wrong() {
    let role = |permission: &str| format!("[[role]]\nname = \"r\"\npermissions = [\"{permission}\"]");
    let team = |rest: &str| format!("[[care_team]]\nuser = \"{USER}\"\n{rest}");
    let ward = "ward = \"icu\"\n";
    let cases = [
        ("not TOML".to_owned(), "expected"),
        ("[[nurse]]\nname = \"n\"".to_owned(), "unknown field"),
        (format!("{}\nextra = 1", role("readings.read")), "unknown field"),
        (role("readings.delete"), "is none of readings.read"),
        ("[[patient]]\nid = \"Mrs. Miller\"\nward = \"icu\"".to_owned(), "UUID"),
        (format!("[[patient]]\nid = \"{PATIENT}\""), "missing field"),
        (format!("[[device]]\nid = \"{DEVICE}\""), "missing field"),
        (team(""), "either ward or patient"),
        (team(&format!("{ward}patient = \"{PATIENT}\"")), "either ward or patient"),
        (team(&format!("{ward}from = \"yesterday\"")), "RFC 3339"),
        (team(&format!("{ward}from = \"2024-01-01\"")), "RFC 3339"),
        (team(&format!("{ward}to = \"1600-01-01T00:00:00Z\"")), "1678"),
        (team(&format!("{ward}from = \"2024-01-02T00:00:00Z\"\nto = \"2024-01-02T00:00:00Z\"")), "before"),
        (assigned(&[("2025-01-01T00:00:00Z", "2024-01-01T00:00:00Z")]), "before"),
    ];
    for (text, what) in cases {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.starts_with("test.toml: ") && error.contains(what), "{error:?} does not say {what:?}");
    }
}

#[test]
fn a_folder_is_read_again_when_it_changes_and_kept_when_it_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let device = DeviceId::new(DEVICE);
    let known = |shared: &Shared| shared.get().assignments(device).is_some();
    let shared = Shared::open(&dir.path().join("not there")).unwrap();
    assert!(!known(&shared));
    let shared = Shared::open(dir.path()).unwrap();
    assert!(!shared.refresh().unwrap());
    fs::write(dir.path().join("a.toml"), assigned(&[])).unwrap();
    fs::write(dir.path().join("b.tmp"), "not TOML, and not read").unwrap();
    assert!(shared.refresh().unwrap() && known(&shared));
    assert!(!shared.refresh().unwrap());
    fs::write(dir.path().join("c.toml"), "not TOML").unwrap();
    assert!(shared.refresh().is_err() && known(&shared), "the old one stays");
    assert!(Shared::open(dir.path()).is_err(), "nobody starts with half a directory");
    fs::remove_file(dir.path().join("c.toml")).unwrap();
    fs::remove_file(dir.path().join("a.toml")).unwrap();
    assert!(shared.refresh().unwrap() && !known(&shared));
}
