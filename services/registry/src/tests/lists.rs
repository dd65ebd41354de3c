//! Lists that have the newest first: all pages, each item once, to the end.

use super::{
    relations::{changed, relation, somebody},
    *,
};
use directory::registry::{self as kept, Barring, Change};
use prost::Message;

const ME: Uuid = Uuid::from_u128(1);
const PATIENT: Uuid = Uuid::from_u128(3);

/// The ids of a list's items, by pages of the default size, each of which any client takes.
macro_rules! whole {
    ($registry:ident.$rpc:ident($request:ident { $($field:ident: $value:expr),* }).$items:ident.$id:ident) => {{
        let (mut ids, mut n_pages, mut page_token) = (Vec::new(), 0, String::new());
        loop {
            let request = $request { page_token, $($field: $value,)* ..$request::default() };
            let page = $registry.$rpc(&caller(), request).await.unwrap();
            assert!(page.encoded_len() < 4 << 20, "{} bytes", page.encoded_len());
            n_pages += 1;
            ids.extend(page.$items.into_iter().map(|item| item.$id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break (ids, n_pages);
            }
        }
    }};
}

/// All pages of a list as the ids of its items.
macro_rules! pages {
    ($registry:ident.$rpc:ident($request:ident { $($field:ident: $value:expr),* }).$items:ident.$id:ident) => {{
        let (mut pages, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = $request { page_size: 3, page_token, $($field: $value),* };
            let page = $registry.$rpc(&caller(), request).await.unwrap();
            pages.push(page.$items.into_iter().map(|item| item.$id).collect::<Vec<_>>());
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break pages;
            }
        }
    }};
}

fn ids(numbers: &[&[u128]]) -> Vec<Vec<String>> {
    numbers.iter().map(|page| page.iter().map(|id| Uuid::from_u128(*id).to_string()).collect()).collect()
}

#[tokio::test]
async fn emergencies_and_notices_of_one_instant_too() {
    let opened = |(id, minutes_ago): (u128, i64)| {
        let from = NOW().plus(-minutes_ago * 60 * Nanos::SECOND).0;
        let (id, to) = (Uuid::from_u128(id), from + 1);
        let (user, reason, text) = (Uuid::from_u128(9), "other".into(), "0123456789".into());
        let (patient, review, notified) = (PATIENT, None, None);
        Change::BreakGlass(kept::BreakGlass { id, user, patient, reason, text, from, to, review, notified })
    };
    let mut changes = vec![somebody(ME, Some(PATIENT))];
    changes.extend([(50, 1), (51, 9), (52, 5), (53, 5), (54, 5), (55, 5), (56, 2)].map(opened));
    let registry = changed(changes);
    directory::follow(registry.decisions.live(), registry.store.as_ref()).await.unwrap();
    let expected = ids(&[&[50, 56, 55], &[54, 53, 52], &[51]]);
    assert_eq!(
        pages!(registry.list_break_glass(ListBreakGlassRequest { unreviewed: false }).break_glass.break_glass_id),
        expected
    );
    assert_eq!(
        pages!(
            registry
                .list_notices(ListNoticesRequest { patient_id: String::new(), start_time: None })
                .notices
                .break_glass_id
        ),
        expected
    );
    let bad = ListBreakGlassRequest { page_token: "x".into(), ..ListBreakGlassRequest::default() };
    assert_eq!(registry.list_break_glass(&caller(), bad).await.err().unwrap().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn consents_by_when_they_were_said_and_assignments_by_their_begin() {
    let store = Arc::new(Memory::default());
    let entry = |changes| store.changes.lock().unwrap().push(kept::Entry::new(NOW(), None, changes).encode().into());
    let made = kept::Device {
        id: Uuid::from_u128(8),
        name: "M".into(),
        mac: None,
        model: String::new(),
        mdc_type: String::new(),
        firmware: String::new(),
        software: String::new(),
        registered_by: ME,
        status: kept::DeviceStatus::Active,
        claim: None,
        refresh: None,
        credentials_from: i64::MIN,
        first_used_at: None,
    };
    entry(vec![
        somebody(ME, Some(PATIENT)),
        Change::Relation(relation(20, ME, "care-team", i64::MIN)),
        Change::Device(made.clone()),
    ]);
    let consent = |id: u128, to| {
        let (id, bars) = (Uuid::from_u128(id), Barring::User(Uuid::from_u128(id)));
        Change::Consent(kept::Consent { id, patient: PATIENT, bars, purpose: None, from: 0, to })
    };
    for id in [33, 31, 34, 32] {
        entry(vec![consent(id, i64::MAX)]);
    }
    // that one is taken back does not move it
    entry(vec![consent(31, NOW().0)]);
    for (id, from) in [(41, 500), (42, 100), (43, 900), (44, 300)] {
        let (id, device, to) = (Uuid::from_u128(id), made.id, from + 50);
        entry(vec![Change::Assignment(kept::Assignment { id, device, patient: PATIENT, from, to, by: ME })]);
    }
    let registry = running(&store);
    directory::follow(registry.decisions.live(), registry.store.as_ref()).await.unwrap();
    let patient = || PATIENT.to_string();
    assert_eq!(
        pages!(registry.list_consents(ListConsentsRequest { patient_id: patient() }).consents.consent_id),
        ids(&[&[32, 34, 31], &[33]])
    );
    let newest_first = ids(&[&[43, 41, 44], &[42]]);
    assert_eq!(
        pages!(
            registry
                .list_assignments(ListAssignmentsRequest { patient_id: patient(), device_id: String::new() })
                .assignments
                .assignment_id
        ),
        newest_first
    );
    let device = || made.id.to_string();
    assert_eq!(
        pages!(
            registry
                .list_assignments(ListAssignmentsRequest { device_id: device(), patient_id: String::new() })
                .assignments
                .assignment_id
        ),
        newest_first
    );
}

#[tokio::test]
async fn every_version_of_a_person_there_ever_was() {
    let registry = running(&Arc::new(Memory::default()));
    let user_id = Uuid::from_u128(7).to_string();
    let named = |number: usize| User {
        user_id: user_id.clone(),
        person: Some(Person { name: Some(format!("Name {number}")), ..Person::default() }),
        ..User::default()
    };
    registry.create_user(&caller(), CreateUserRequest { user: Some(named(0)) }).await.unwrap();
    for number in 1..=120 {
        let request = UpdateUserRequest { user: Some(named(number)), update_mask: None };
        registry.update_user(&caller(), request).await.unwrap();
        // what changes somebody else is no version of this one
        registry.create_device(&caller(), device("")).await.unwrap();
    }
    let user_id = || user_id.clone();
    let pages = pages!(registry.list_user_versions(ListUserVersionsRequest { user_id: user_id() }).versions.person);
    let names: Vec<_> = pages.into_iter().flatten().map(|person| person.unwrap_or_default().name.unwrap()).collect();
    assert_eq!(names, (0..=120).rev().map(|number| format!("Name {number}")).collect::<Vec<_>>());
}

/// A person of whom as much is known as an older version may have kept, as a change of its own.
fn large(store: &Memory, id: u128, revision: u128) {
    let revision = Uuid::from_u128(revision);
    let contact = Some(Contact { address: Some("a".repeat(160_000)), ..Contact::default() });
    let profile = User { contact, ..User::default() }.encode_to_vec();
    store.kept.lock().unwrap().insert(revision.into_bytes(), profile.into());
    let person = kept::User { id: Uuid::from_u128(id), patient: None, ward: None, suspended: false, revision };
    let entry = kept::Entry::new(NOW(), None, vec![Change::User(person)]);
    store.changes.lock().unwrap().push(entry.encode().into());
}

#[tokio::test]
async fn pages_of_large_people_are_such_as_any_client_takes() {
    let store = Arc::new(Memory::default());
    (100..140).for_each(|revision| large(&store, 7, revision));
    (8..40).for_each(|id| large(&store, id, 1_000 + id));
    let registry = running(&store);
    directory::follow(registry.decisions.live(), registry.store.as_ref()).await.unwrap();
    let user_id = || Uuid::from_u128(7).to_string();
    let (etags, n_pages) =
        whole!(registry.list_user_versions(ListUserVersionsRequest { user_id: user_id() }).versions.etag);
    assert_eq!(etags, (1..=40).rev().map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(n_pages, 3, "19 of them have 3 MiB");
    let (people, n_pages) = whole!(registry.list_users(ListUsersRequest { filter: String::new() }).users.user_id);
    assert_eq!(people, (7..40).map(|id| Uuid::from_u128(id).to_string()).collect::<Vec<_>>());
    assert_eq!(n_pages, 2);
}

#[tokio::test]
async fn pages_of_emergencies_with_much_text_are_such_as_any_client_takes() {
    let text = || "\u{1f6d1}".repeat(500);
    let opened = |number: u128| {
        let (id, from) = (Uuid::from_u128(5_000 - number), NOW().plus(-60 * Nanos::SECOND).0);
        let review = kept::Review { by: ME, at: NOW().0, outcome: "unclear".into(), text: text() };
        Change::BreakGlass(kept::BreakGlass {
            id,
            user: Uuid::from_u128(9),
            patient: PATIENT,
            reason: "other".into(),
            text: text(),
            from,
            to: from + 1,
            review: Some(review),
            notified: None,
        })
    };
    let registry = changed((0..1_000).map(opened).collect());
    directory::follow(registry.decisions.live(), registry.store.as_ref()).await.unwrap();
    let (ids, n_pages) =
        whole!(registry.list_break_glass(ListBreakGlassRequest { unreviewed: false }).break_glass.break_glass_id);
    assert_eq!(ids, (0..1_000).map(|number| Uuid::from_u128(5_000 - number).to_string()).collect::<Vec<_>>());
    assert_eq!(n_pages, 2);
}
