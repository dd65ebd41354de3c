//! The policy against a second statement of its rules: every cell of the matrix, and many mixed cases.
//!
//! The second statement shares no table with the first: roles, actions, relations and purposes are named here again.

use model::{
    DeviceId, Nanos, PatientId, UserId,
    access::{
        About, Action, Barred, Consent, Denied, Enrolment, Facts, Grant, Permission, Principal, Purpose, ROLES,
        Relation, RelationKind, Scope, Subject, decide, decide_system, decide_write,
    },
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

const NOW: Nanos = Nanos(1_000);
const HERE: &str = "icu";
const ME: UserId = UserId::from_bytes([1; 16]);
const SOMEBODY: UserId = UserId::from_bytes([2; 16]);
const PATIENT: PatientId = PatientId::from_bytes([3; 16]);

/// What the caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Permitted until that time, in nanoseconds; `i64::MAX`: without an end.
    Yes(i64),
    Expired,
    NotPermitted,
    NoSuchPatient,
}

/// A role, and where it is held: a ward, "study:" and a study, or everywhere.
type Held = (&'static str, Option<&'static str>);

/// Who is barred, for what, from and to.
type Bar = (&'static str, Option<&'static str>, i64, i64);

/// One case, in plain words.
#[derive(Debug, Clone)]
struct Case {
    roles: Vec<Held>,
    /// What the token leaves.
    token_leaves: Option<Vec<&'static str>>,
    token_ends: i64,
    purpose: Option<&'static str>,
    action: Action,
    /// Kind, from, to.
    relations: Vec<(&'static str, i64, i64)>,
    barred: Vec<Bar>,
}

fn permission_of(role: &str) -> &'static [&'static str] {
    match role {
        "patient" => &[
            "accesses.read",
            "readings.read",
            "profile.read",
            "medical.read",
            "billing.read",
            "contact.write",
            "consents.manage",
        ],
        "nurse" | "doctor" => &[
            "readings.read",
            "profile.read",
            "medical.read",
            "medical.write",
            "devices.assign",
            "readings.retract",
            "emergency.open",
            "analytics.read",
        ],
        "auditor" => &["audit.read", "emergency.review", "access.explain"],
        "administrator" => &[
            "quarantine.manage",
            "users.manage",
            "roles.manage",
            "relations.manage",
            "devices.manage",
            "emergency.review",
            "access.explain",
            "jobs.run",
            "jobs.manage",
            "analytics.read",
            "data.manage",
        ],
        "application-developer" => &["jobs.run", "analytics.read"],
        "device-integrator" => &["devices.register"],
        "ml-scientist" => &["deidentified.read", "jobs.run", "analytics.read"],
        _ => &[],
    }
}

fn serves(kind: &str) -> &'static [&'static str] {
    match kind {
        "self" | "proxy" => &["PATRQT"],
        "care-team" | "ward-staff" => &["TREAT", "ETREAT"],
        "emergency" => &["ETREAT"],
        "study" => &["HRESCH"],
        _ => &[],
    }
}

/// What an action needs, and which relations open it; none of them: it is about nobody.
fn rule(action: &str) -> (&str, &'static [&'static str]) {
    let (oneself, treating) = (&["self", "proxy"][..], &["care-team", "ward-staff"][..]);
    let reading = &["self", "proxy", "care-team", "ward-staff", "emergency"][..];
    match action {
        "timeline.read" | "trend.read" | "latest.read" => ("readings.read", reading),
        "profile.read" | "medical.read" => (action, reading),
        "accesses.read" | "billing.read" | "contact.write" | "consents.manage" => (action, oneself),
        "deidentified.read" => (action, &["study"]),
        "notices.read" => ("readings.read", &["self", "proxy", "care-team", "ward-staff"]),
        "medical.write" | "readings.retract" => (action, treating),
        "device.assign" => ("devices.assign", treating),
        "jobs.submit" | "jobs.read" => ("jobs.run", &[]),
        "quarantine.list" | "quarantine.get" | "quarantine.replay" => ("quarantine.manage", &[]),
        _ => (action, &[]),
    }
}

/// Until when a role that is held there reaches the patient.
fn reach(place: Option<&str>) -> Option<i64> {
    match place {
        None | Some(HERE) => Some(i64::MAX),
        Some("study:heart") => Some(3_500),
        Some(_) => None,
    }
}

/// The rules, once more.
fn expected(case: &Case) -> Answer {
    let now = NOW.0;
    if case.token_ends <= now {
        return Answer::Expired;
    }
    let (wanted, kinds) = rule(case.action.name());
    let token_allows = case.token_leaves.as_ref().is_none_or(|left| left.contains(&wanted));
    let wards: Vec<_> =
        case.roles.iter().filter(|(role, _)| permission_of(role).contains(&wanted)).map(|(_, ward)| *ward).collect();
    if case.action.name() == "readings.send" || !token_allows || wards.is_empty() {
        return Answer::NotPermitted;
    }
    if kinds.is_empty() {
        return if wards.contains(&None) { Answer::Yes(i64::MAX) } else { Answer::NotPermitted };
    }
    let Some(reaches) = wards.iter().filter_map(|ward| reach(*ward)).max() else {
        return Answer::NoSuchPatient;
    };
    let mut until = None;
    for (kind, from, to) in &case.relations {
        let Some(usual) = serves(kind).first().filter(|_| kinds.contains(kind)) else { continue };
        let purpose = case.purpose.unwrap_or(usual);
        let mut to = *to;
        let mut open = *from <= now && now < to && serves(kind).contains(&purpose);
        for (who, what, from, end) in &case.barred {
            let anyone = *who == "anyone" && (*kind != "emergency" || what.is_some());
            let meant = (anyone || *who == "me" || who == kind) && what.is_none_or(|what| what == purpose);
            if *kind == "self" || !meant || *end <= now {
                continue;
            }
            open &= *from > now;
            to = to.min(*from);
        }
        if open {
            until = until.max(Some(to));
        }
    }
    until.map_or(Answer::NoSuchPatient, |until| Answer::Yes(until.min(case.token_ends).min(reaches)))
}

/// The policy's own answer.
fn found(case: &Case) -> Answer {
    let scope = |place: &Option<&str>| match place.map(|place| (place, place.strip_prefix("study:"))) {
        None => Scope::Everywhere,
        Some((_, Some(study))) => Scope::Study(study.into()),
        Some((ward, None)) => Scope::Ward(ward.into()),
    };
    let left =
        |permission: &Permission| case.token_leaves.as_ref().is_none_or(|left| left.contains(&permission.name()));
    let grants = case.roles.iter().flat_map(|(role, ward)| {
        let role = ROLES.iter().find(|seeded| seeded.id == *role).expect("a seeded role");
        let permissions = role.permissions.iter().filter(|permission| left(permission));
        permissions.map(move |permission| Grant { permission: *permission, scope: scope(ward) })
    });
    let purpose = case.purpose.map(|code| Purpose::from_code(code).expect("a purpose"));
    let (grants, expires_at) = (grants.collect(), Nanos(case.token_ends));
    let principal = Principal { subject: Subject::User(ME), grants, purpose, issued_at: Nanos(0), expires_at };
    let kind = |name: &str| RelationKind::from_name(name).expect("a kind");
    let relation =
        |(name, from, to): &(&str, i64, i64)| Relation { kind: kind(name), from: Nanos(*from), to: Nanos(*to) };
    let consent = |(who, what, from, to): &(&str, Option<&str>, i64, i64)| Consent {
        barred: match *who {
            "anyone" => Barred::Anyone,
            "me" => Barred::User(ME),
            "somebody" => Barred::User(SOMEBODY),
            name => Barred::Kind(kind(name)),
        },
        purpose: what.map(|code| Purpose::from_code(code).expect("a purpose")),
        from: Nanos(*from),
        to: Nanos(*to),
    };
    let part = |study: &str, from, to| Enrolment { study: study.into(), from: Nanos(from), to: Nanos(to) };
    let facts = Facts {
        ward: Some(HERE.into()),
        enrolments: vec![part("lungs", 0, 1_000), part("heart", 0, 3_500), part("heart", 500, 2_000)],
        relations: case.relations.iter().map(relation).collect(),
        consents: case.barred.iter().map(consent).collect(),
    };
    let answer = match case.action.about() {
        About::Patient => decide(&principal, case.action, PATIENT, &facts, NOW).map(|permit| {
            assert_eq!((permit.patient(), permit.action()), (PATIENT, case.action));
            assert!(case.purpose.is_none_or(|code| permit.purpose().code() == code));
            permit.expires_at().0
        }),
        About::Device => decide_write(&principal, DeviceId::from_bytes(*ME.as_bytes()), NOW).map(|_| i64::MAX),
        About::System => decide_system(&principal, case.action, NOW).map(|()| i64::MAX),
    };
    match answer {
        Ok(until) => Answer::Yes(until),
        Err(Denied::Expired) => Answer::Expired,
        Err(denied) if denied.hides() => Answer::NoSuchPatient,
        Err(_) => Answer::NotPermitted,
    }
}

const PLACES: [Option<&str>; 5] = [None, Some(HERE), Some("ward-7"), Some("study:heart"), Some("study:lungs")];
const KINDS: [&str; 6] = ["self", "proxy", "care-team", "ward-staff", "study", "emergency"];
/// Holding, holding for a while, over, to come.
const SPANS: [(i64, i64); 4] = [(i64::MIN, i64::MAX), (1_000, 5_000), (0, 1_000), (1_001, 9_000)];
const PURPOSES: [Option<&str>; 7] =
    [None, Some("TREAT"), Some("ETREAT"), Some("PATRQT"), Some("HPAYMT"), Some("HOPERAT"), Some("HRESCH")];

fn tokens() -> [(Option<Vec<&'static str>>, i64); 5] {
    [
        (None, i64::MAX),
        (None, 4_000),
        (None, 1_000),
        (
            Some(vec![
                "readings.read",
                "quarantine.manage",
                "accesses.read",
                "audit.read",
                "medical.write",
                "users.manage",
                "deidentified.read",
            ]),
            i64::MAX,
        ),
        (Some(vec!["readings.write"]), i64::MAX),
    ]
}

fn consents() -> Vec<Vec<Bar>> {
    let always = (i64::MIN, i64::MAX);
    let one = |who, what, (from, to): (i64, i64)| vec![(who, what, from, to)];
    let mut all = vec![vec![]];
    all.extend(SPANS.map(|span| one("anyone", None, span)));
    all.extend(
        ["me", "somebody", "care-team", "ward-staff", "proxy", "self", "emergency", "study"]
            .map(|who| one(who, None, always)),
    );
    all.extend([Some("TREAT"), Some("PATRQT"), Some("ETREAT"), Some("HRESCH")].map(|what| one("anyone", what, always)));
    all
}

#[test]
fn every_cell_of_the_matrix_is_as_the_rules_say() {
    let mut relations = vec![vec![]];
    relations.extend(KINDS.iter().flat_map(|kind| SPANS.map(|(from, to)| vec![(*kind, from, to)])));
    let (mut n_cells, mut n_yes) = (0, 0);
    for role in ROLES.map(|role| role.id) {
        for (place, action) in PLACES.iter().flat_map(|place| Action::ALL.map(|action| (*place, action))) {
            // relations and consents matter to what is about a patient
            let (relations, consents) = match action.about() {
                About::Patient => (&relations[..], consents()),
                About::Device | About::System => (&relations[..2], vec![vec![]]),
            };
            for (token_leaves, token_ends) in tokens() {
                for purpose in PURPOSES {
                    for relations in relations {
                        for barred in consents.clone() {
                            let (roles, relations) = (vec![(role, place)], relations.clone());
                            let token_leaves = token_leaves.clone();
                            let case = Case { roles, token_leaves, token_ends, purpose, action, relations, barred };
                            let answer = found(&case);
                            assert_eq!(answer, expected(&case), "{case:?}");
                            n_cells += 1;
                            n_yes += u32::from(matches!(answer, Answer::Yes(_)));
                        }
                    }
                }
            }
        }
    }
    assert!(n_cells >= 50_000 && n_yes > n_cells / 1_000, "{n_yes} of {n_cells} cells open something");
}

#[test]
fn several_roles_relations_and_consents_at_once_are_as_the_rules_say() {
    let mut random = StdRng::seed_from_u64(7);
    let role_ids = ROLES.map(|role| role.id);
    let any_consent: Vec<_> = consents().concat();
    for _ in 0..300_000 {
        let (token_leaves, token_ends) = tokens().choose(&mut random).unwrap().clone();
        let mut some = |most: usize| random.random_range(0..=most);
        let (n_roles, n_relations, n_barred) = (some(3), some(4), some(2));
        let role = |random: &mut StdRng| (*role_ids.choose(random).unwrap(), *PLACES.choose(random).unwrap());
        let relation = |random: &mut StdRng| {
            let (from, to) = *SPANS.choose(random).unwrap();
            (*KINDS.choose(random).unwrap(), from, to)
        };
        let case = Case {
            roles: (0..n_roles).map(|_| role(&mut random)).collect(),
            token_leaves,
            token_ends,
            purpose: *PURPOSES.choose(&mut random).unwrap(),
            action: *Action::ALL.choose(&mut random).unwrap(),
            relations: (0..n_relations).map(|_| relation(&mut random)).collect(),
            barred: (0..n_barred).map(|_| *any_consent.choose(&mut random).unwrap()).collect(),
        };
        assert_eq!(found(&case), expected(&case), "{case:?}");
    }
}

#[test]
fn a_device_writes_only_as_itself() {
    let (mine, other) = (DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]));
    let device = Principal::everywhere(Subject::Device(mine), &[Permission::WriteReadings], Nanos(2_000));
    assert_eq!(decide_write(&device, mine, NOW).unwrap().device(), mine);
    assert_eq!(decide_write(&device, other, NOW), Err(Denied::NotItself));
    assert_eq!(decide_write(&device, mine, Nanos(2_000)), Err(Denied::Expired));
    let person = Principal { subject: Subject::User(UserId::from_bytes([1; 16])), ..device };
    assert_eq!(decide_write(&person, mine, NOW), Err(Denied::NotItself), "a user with a device's id is no device");
}
