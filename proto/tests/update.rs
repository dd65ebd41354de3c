//! What updates change, for every resource and every field that its descriptor has.

use proto::{
    prost_types::{FieldMask, Timestamp},
    registry::v1::{Assignment, Billing, Contact, ContactPerson, Device, Medical, Person, Role, User},
    resource::{self, Resource},
    update::Update,
};
use tonic::Status;
use tonic_types::StatusExt;

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() })
}

/// A person with a text of its own in every field that can be set.
fn person(text: &str, number: f64) -> User {
    let some = |field: &str| Some(format!("{field} {text}"));
    let relative =
        || vec![ContactPerson { name: format!("relative {text}"), relationship: String::new(), phone: String::new() }];
    User {
        patient_id: some("patient"),
        ward: some("ward"),
        suspended: Some(number > 100.0),
        person: Some(Person { name: some("name"), birth_date: some("born") }),
        contact: Some(Contact {
            address: some("address"),
            phone: some("phone"),
            email: some("email"),
            primary_care_provider: some("provider"),
            family_members: relative(),
            emergency_contacts: relative(),
            county: some("county"),
        }),
        medical: Some(Medical {
            height_cm: Some(number),
            weight_kg: Some(number / 2.0),
            gender: some("gender"),
            medications: vec![format!("medication {text}")],
            allergies: vec![format!("allergy {text}")],
            medical_card: some("card"),
        }),
        billing: Some(Billing { address: some("billing"), insurer: some("insurer"), policy_number: some("policy") }),
        ..User::default()
    }
}

fn role(text: &str) -> Role {
    let list = || vec![text.to_owned()];
    Role { category: Some(text.to_owned()), permissions: list(), may_grant: list(), ..Role::default() }
}

fn device(text: &str) -> Device {
    let some = || Some(text.to_owned());
    Device { name: some(), mac: some(), model: some(), mdc_type: some(), ..Device::default() }
}

/// One field of a resource, by itself.
fn only<R: Resource>(of: &R, field: &str) -> R {
    Update::new(of, mask(&[field]).as_ref()).and_then(|update| update.apply(&R::default())).unwrap()
}

/// With and without a mask, with a value and without: what is not named stays in every byte.
fn each_field_changes_alone<R: Resource + PartialEq>(before: &R, other: &R) {
    let fields = resource::fields::<R>().unwrap();
    let nothing = R::default();
    for field in &fields {
        assert!(only(other, field) != nothing, "this test knows no value for {field}");
        let cases = [
            (only(other, field), None, only(other, field)),
            (again(other), mask(&[field]), only(other, field)),
            (R::default(), mask(&[field]), only(&nothing, field)),
        ];
        for (sent, mask, expected) in cases {
            let update = Update::new(&sent, mask.as_ref()).unwrap();
            assert_eq!(update.fields().collect::<Vec<_>>(), std::slice::from_ref(field));
            let after = update.apply(before).unwrap();
            let encoded = update.apply_encoded(&before.encode_to_vec()).unwrap();
            assert!(R::decode(encoded.as_slice()).unwrap() == after);
            assert!(only(&after, field) == expected, "{field}");
            for same in fields.iter().filter(|same| *same != field) {
                assert!(only(&after, same) == only(before, same), "{field} changed {same}");
            }
        }
    }
    let all = Update::new(other, None).unwrap();
    assert_eq!(all.fields().collect::<Vec<_>>(), fields);
    assert!(all.apply(before).unwrap() == *other);
}

fn again<R: Resource>(resource: &R) -> R {
    R::decode(resource.encode_to_vec().as_slice()).unwrap()
}

#[test]
fn what_is_not_named_stays() {
    each_field_changes_alone(&person("before", 50.0), &person("after", 150.0));
    each_field_changes_alone(&role("before"), &role("after"));
    each_field_changes_alone(&device("before"), &device("after"));
}

#[test]
fn what_is_there_and_empty_empties() {
    let sent = User {
        ward: Some(String::new()),
        suspended: Some(false),
        medical: Some(Medical { weight_kg: Some(0.0), ..Medical::default() }),
        ..User::default()
    };
    let update = Update::new(&sent, None).unwrap();
    assert_eq!(update.fields().collect::<Vec<_>>(), ["ward", "suspended", "medical.weight_kg"]);
    let after = update.apply(&person("before", 150.0)).unwrap();
    let medical = after.medical.as_ref().unwrap();
    assert_eq!((after.ward(), after.suspended(), medical.weight_kg(), medical.height_cm()), ("", false, 0.0, 150.0));
    // a section stands for all of its fields, and a path that is there twice for one
    let update = Update::new(&User::default(), mask(&["contact", "contact.phone"]).as_ref()).unwrap();
    assert_eq!(update.fields().count(), 7);
    assert!(update.apply(&person("before", 1.0)).unwrap().contact == Some(Contact::default()));
}

fn refused<T>(answer: Result<T, Status>) -> (String, Vec<String>) {
    let Err(status) = answer else { panic!("it was taken") };
    let details = status.get_error_details();
    let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    (reason, fields.into_iter().map(|violation| violation.field).collect())
}

#[test]
fn a_change_of_nothing_and_a_mask_of_nothing_are_refused() {
    let key = || User { user_id: "u".into(), etag: "7".into(), ..User::default() };
    let empty_section = User { medical: Some(Medical::default()), ..key() };
    for (sent, mask) in [(key(), None), (key(), mask(&[])), (empty_section, None)] {
        let answer = Update::new(&sent, mask.as_ref());
        let text = answer.as_ref().err().map(|status| status.message().to_owned()).unwrap();
        assert!(text.contains("medical.weight_kg"), "{text}");
        assert_eq!(refused(answer), ("EMPTY_CHANGE".into(), vec!["update_mask".into()]));
    }
    for bad in ["shoe_size", "*", "", "medical.", "medical.shoe_size", "user_id", "etag", "medical.weight_kg.x", "Ward"]
    {
        let answer = Update::new(&person("x", 1.0), mask(&["ward", bad]).as_ref());
        assert_eq!(refused(answer), ("INVALID_FIELD".into(), vec!["update_mask.paths[1]".into()]), "{bad}");
    }
}

#[test]
fn what_the_server_sets_is_refused_by_name() {
    let at = Some(Timestamp::default());
    let user = User { hidden: vec!["x".into()], updated_at: at, updated_by: "x".into(), ..person("x", 1.0) };
    let fields: Vec<String> = ["user.hidden", "user.updated_at", "user.updated_by"].map(str::to_owned).into();
    let expected = ("OUTPUT_ONLY".to_owned(), fields);
    assert_eq!(refused(Update::new(&user, None)), expected);
    assert_eq!(refused(Update::new(&user, mask(&["ward"]).as_ref())), expected);
    assert_eq!(refused(resource::check_sent(&user)), expected);
    let masked = Update::new(&person("x", 1.0), mask(&["updated_by"]).as_ref());
    assert_eq!(refused(masked), ("OUTPUT_ONLY".into(), vec!["user.updated_by".into()]));
    let device = Device {
        firmware_version: "1".into(),
        software_version: "1".into(),
        first_used_at: at,
        status: "active".into(),
        registered_by: "x".into(),
        last_seen_at: at,
        ..device("x")
    };
    assert_eq!(refused(resource::check_sent(&device)).1.len(), 6);
    let assignment = Assignment { assigned_by: "x".into(), ..Assignment::default() };
    assert_eq!(refused(resource::check_sent(&assignment)).1, ["assignment.assigned_by"]);
    let keys = Assignment { assignment_id: "x".into(), etag: "7".into(), ..Assignment::default() };
    assert!(resource::check_sent(&keys).is_ok());
}
