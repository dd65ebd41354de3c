//! Emergencies: how many, what a review does, and reasons that nobody can read.

use super::{relations::changed, *};
use directory::registry::{self as kept, Change};
use model::PatientId;

const ME: Uuid = Uuid::from_u128(1);
const PATIENT: Uuid = Uuid::from_u128(3);
const MINUTE: i64 = 60 * Nanos::SECOND;

fn opened(id: u128, user: Uuid, patient: Uuid, minutes_ago: i64) -> kept::BreakGlass {
    let from = NOW().plus(-minutes_ago * MINUTE).0;
    kept::BreakGlass {
        id: Uuid::from_u128(id),
        user,
        patient,
        reason: "other".into(),
        text: "0123456789".into(),
        from,
        to: from + 60 * MINUTE,
        review: None,
        notified: None,
    }
}

async fn open(registry: &Registry, patient: Uuid, text: &str) -> Result<BreakGlass, tonic::Status> {
    let (patient_id, reason, text) = (patient.to_string(), "other".to_owned(), text.to_owned());
    let request = OpenBreakGlassRequest { patient_id, reason, text, minutes: 60 };
    Ok(registry.open_break_glass(&caller(), request).await?.break_glass.unwrap())
}

#[tokio::test]
async fn ten_in_an_hour_are_the_most_of_one_person_on_all_nodes() {
    let store = Arc::new(Memory::default());
    let (one, other) = (running(&store), running(&store));
    for number in 0..10 {
        let node = if number % 2 == 0 { &one } else { &other };
        open(node, Uuid::from_u128(100 + number), "no pulse, alone on the ward").await.unwrap();
    }
    let refused = open(&one, PATIENT, "no pulse, alone on the ward").await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "TOO_MANY_EMERGENCIES");
    assert_eq!(refused.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(3_600)));
    // of one who has opened none, and of one whose first was an hour ago
    let others = (0..10).map(|number| opened(100 + number, PATIENT, ME, 0));
    let old = (0..10).map(|number| opened(200 + number, ME, PATIENT, 60 - i64::from(number != 0)));
    let registry = changed(others.chain(old).map(Change::BreakGlass).collect());
    open(&registry, PATIENT, "no pulse, alone on the ward").await.unwrap();
    let refused = open(&registry, PATIENT, "no pulse, alone on the ward").await.err().unwrap();
    assert_eq!(refused.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn a_review_as_unjustified_ends_the_access_and_bars_the_next_for_a_day() {
    let (someone, else_patient) = (Uuid::from_u128(5), Uuid::from_u128(6));
    let all = [
        opened(50, someone, PATIENT, 10),
        opened(51, someone, PATIENT, 5),
        opened(52, someone, else_patient, 5),
        opened(53, ME, PATIENT, 5),
    ];
    let registry = changed(all.iter().cloned().map(Change::BreakGlass).collect());
    let (break_glass_id, text) = (Uuid::from_u128(50).to_string(), "only curious,\nas was said".to_owned());
    let review = ReviewBreakGlassRequest { break_glass_id, outcome: "unjustified".into(), text };
    let answer = registry.review_break_glass(&caller(), review).await.unwrap().break_glass.unwrap();
    assert_eq!(answer.end_time, answer.reviewed_at);
    let directory = registry.decisions.directory();
    let ends: Vec<_> = directory.registry().break_glass(None).map(|(_, kept)| kept.value.to).collect();
    assert_eq!(ends, [NOW().0, NOW().0, all[2].to, all[3].to], "what else of the same patient, and nothing else");

    let reviewed = |hours_ago: i64, outcome: &str| {
        let (at, outcome) = (NOW().plus(-hours_ago * 60 * MINUTE).0, outcome.to_owned());
        let review = Some(kept::Review { by: someone, at, outcome, text: String::new() });
        changed(vec![Change::BreakGlass(kept::BreakGlass { review, ..opened(50, ME, PATIENT, 3_000) })])
    };
    let refused = open(&reviewed(23, "unjustified"), else_patient, "no pulse, alone here").await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "BARRED_BY_REVIEW");
    for registry in [reviewed(24, "unjustified"), reviewed(1, "justified"), reviewed(1, "unclear")] {
        open(&registry, PATIENT, "no pulse, alone here").await.unwrap();
    }
}

#[tokio::test]
async fn one_that_is_not_opened_is_written_down_as_refused() {
    let unjustified = kept::Review { by: PATIENT, at: NOW().0, outcome: "unjustified".into(), text: String::new() };
    let barred = kept::BreakGlass { review: Some(unjustified), ..opened(50, ME, PATIENT, 3_000) };
    let many = (0..10).map(|number| opened(100 + number, ME, PATIENT, 0)).collect();
    for (before, expected) in [
        (vec![barred], Outcome::Denied("BARRED_BY_REVIEW".into())),
        (many, Outcome::Denied("TOO_MANY_EMERGENCIES".into())),
        (vec![], Outcome::Allowed),
    ] {
        let (store, log) = (Arc::new(Memory::default()), Arc::new(Written::default()));
        if !before.is_empty() {
            let changes = before.into_iter().map(Change::BreakGlass).collect();
            store.changes.lock().unwrap().push(kept::Entry::new(NOW(), None, changes).encode().into());
        }
        let (registry, work) = node_with(&store, Path::new("none"), log.clone());
        tokio::spawn(work.run(CancellationToken::new()));
        let opened = open(&registry, PATIENT, "no pulse, alone on the ward").await;
        assert_eq!(opened.is_ok(), expected == Outcome::Allowed);
        let outcomes: Vec<_> = log.0.lock().unwrap().iter().map(|event| event.outcome.clone()).collect();
        assert_eq!(outcomes, [expected]);
    }
}

#[tokio::test]
async fn a_reason_is_one_that_others_can_read() {
    let registry = running(&Arc::new(Memory::default()));
    for bad in ["\u{200b}".repeat(20), "\u{2060}\u{feff}".repeat(10), " ".repeat(20), "\n".repeat(20)] {
        assert_eq!(open(&registry, PATIENT, &bad).await.err().unwrap().code(), Code::InvalidArgument, "{bad:?}");
    }
    let text = "no pulse,\r\nalone on the ward\n";
    assert_eq!(open(&registry, PATIENT, text).await.unwrap().text, text);
}

#[tokio::test]
async fn one_for_who_is_a_patient_no_more_opens_nothing_and_is_answered_as_any() {
    let there = || {
        Change::User(kept::User {
            id: PATIENT,
            patient: Some(PATIENT),
            ward: None,
            suspended: false,
            revision: Uuid::nil(),
        })
    };
    let is_open = |registry: &Registry| {
        let facts = registry.decisions.directory().facts(&caller(), PatientId::new(PATIENT));
        facts.relations.iter().any(|relation| relation.from <= NOW() && NOW() < relation.to)
    };
    let store = Arc::new(Memory::default());
    store.changes.lock().unwrap().push(kept::Entry::new(NOW(), None, vec![there()]).encode().into());
    let registry = running(&store);
    let text = "no pulse, alone on the ward";
    let before = open(&registry, PATIENT, text).await.unwrap();
    let (user_id, etag) = (PATIENT.to_string(), String::new());
    registry.delete_user(&caller(), DeleteUserRequest { user_id, etag }).await.unwrap();
    assert!(is_open(&registry), "what was open before stays so");
    let kept = |registry: &Registry| {
        let directory = registry.decisions.directory();
        let all = directory.registry().break_glass(None);
        all.map(|(id, kept)| (id.to_string(), kept.value.to > NOW().0)).collect::<Vec<_>>()
    };

    let gone = changed(vec![there(), Change::UserRemoved(PATIENT)]);
    let opened = open(&gone, PATIENT, text).await.unwrap();
    assert_eq!((&opened.start_time, &opened.end_time), (&before.start_time, &before.end_time));
    assert!(!is_open(&gone));
    assert_eq!(kept(&gone), [(opened.break_glass_id, false)], "it is there to be reviewed");
    // of whom nobody has said who it is, as a file's patient
    let unknown = running(&Arc::new(Memory::default()));
    open(&unknown, PATIENT, text).await.unwrap();
    assert!(is_open(&unknown));
}
