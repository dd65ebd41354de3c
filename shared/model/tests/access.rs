//! The policy against a second statement of its rules: every cell of the matrix, and many mixed cases.
//!
//! The second statement shares no table with the first: roles, actions, relations and purposes are named here again.

use model::{
    DeviceId, Nanos, PatientId, UserId,
    access::{
        Action, Barred, Consent, Denied, Facts, Grant, Permission, Principal, Purpose, ROLES, Relation, RelationKind,
        Scope, Subject, decide, decide_system, decide_write,
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
    /// Until then.
    Yes(i64),
    Expired,
    NotPermitted,
    NoSuchPatient,
}

/// A role, and the ward in which it is held.
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
        "patient" => &["accesses.read", "readings.read"],
        "nurse" | "doctor" => &["readings.read"],
        "auditor" => &["audit.read"],
        "administrator" => &["quarantine.manage"],
        _ => &[],
    }
}

fn serves(kind: &str) -> &'static [&'static str] {
    match kind {
        "self" | "proxy" => &["PATRQT"],
        "care-team" | "ward-staff" => &["TREAT", "ETREAT"],
        _ => &[],
    }
}

/// The rules, once more.
fn expected(case: &Case) -> Answer {
    let now = NOW.0;
    if case.token_ends <= now {
        return Answer::Expired;
    }
    let (about_patient, wanted) = match case.action.name() {
        "timeline.read" | "trend.read" | "latest.read" => (true, "readings.read"),
        "accesses.read" => (true, "accesses.read"),
        "audit.read" => (false, "audit.read"),
        _ => (false, "quarantine.manage"),
    };
    let for_oneself = wanted == "accesses.read";
    let token_allows = case.token_leaves.as_ref().is_none_or(|left| left.contains(&wanted));
    let wards: Vec<_> =
        case.roles.iter().filter(|(role, _)| permission_of(role).contains(&wanted)).map(|(_, ward)| *ward).collect();
    if case.action.name() == "readings.send" || !token_allows || wards.is_empty() {
        return Answer::NotPermitted;
    }
    if !about_patient {
        return if wards.contains(&None) { Answer::Yes(i64::MAX) } else { Answer::NotPermitted };
    }
    if !wards.iter().any(|ward| ward.is_none_or(|ward| ward == HERE)) {
        return Answer::NoSuchPatient;
    }
    let mut until = None;
    for (kind, from, to) in &case.relations {
        let Some(usual) = serves(kind).first().filter(|usual| !for_oneself || **usual == "PATRQT") else { continue };
        let purpose = case.purpose.unwrap_or(usual);
        let mut to = *to;
        let mut open = *from <= now && now < to && serves(kind).contains(&purpose);
        for (who, what, from, end) in &case.barred {
            let meant = (*who == "anyone" || *who == "me" || who == kind) && what.is_none_or(|what| what == purpose);
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
    until.map_or(Answer::NoSuchPatient, |until| Answer::Yes(until.min(case.token_ends)))
}

/// The policy's own answer.
fn found(case: &Case) -> Answer {
    let scope = |ward: &Option<&str>| ward.map_or(Scope::Everywhere, |ward| Scope::Ward(ward.into()));
    let left =
        |permission: &Permission| case.token_leaves.as_ref().is_none_or(|left| left.contains(&permission.name()));
    let grants = case.roles.iter().flat_map(|(role, ward)| {
        let role = ROLES.iter().find(|seeded| seeded.id == *role).expect("a seeded role");
        let permissions = role.permissions.iter().filter(|permission| left(permission));
        permissions.map(move |permission| Grant { permission: *permission, scope: scope(ward) })
    });
    let purpose = case.purpose.map(|code| Purpose::from_code(code).expect("a purpose"));
    let principal =
        Principal { subject: Subject::User(ME), grants: grants.collect(), purpose, expires_at: Nanos(case.token_ends) };
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
    let facts = Facts {
        ward: Some(HERE.into()),
        relations: case.relations.iter().map(relation).collect(),
        consents: case.barred.iter().map(consent).collect(),
    };
    let answer = match case.action {
        Action::ReadTimeline | Action::ReadTrend | Action::ReadLatest | Action::ReadAccesses => {
            decide(&principal, case.action, PATIENT, &facts, NOW).map(|permit| {
                assert_eq!((permit.patient(), permit.action()), (PATIENT, case.action));
                assert!(case.purpose.is_none_or(|code| permit.purpose().code() == code));
                permit.expires_at().0
            })
        }
        Action::SendReadings => decide_write(&principal, DeviceId::from_bytes(*ME.as_bytes()), NOW).map(|_| i64::MAX),
        Action::ListQuarantined | Action::GetQuarantined | Action::ReplayQuarantined | Action::ReadAudit => {
            decide_system(&principal, case.action, NOW).map(|()| i64::MAX)
        }
    };
    match answer {
        Ok(until) => Answer::Yes(until),
        Err(Denied::Expired) => Answer::Expired,
        Err(denied) if denied.hides() => Answer::NoSuchPatient,
        Err(_) => Answer::NotPermitted,
    }
}

const WARDS: [Option<&str>; 3] = [None, Some(HERE), Some("ward 7")];
const KINDS: [&str; 5] = ["self", "proxy", "care-team", "ward-staff", "study"];
/// Holding, holding for a while, over, to come.
const SPANS: [(i64, i64); 4] = [(i64::MIN, i64::MAX), (1_000, 5_000), (0, 1_000), (1_001, 9_000)];
const PURPOSES: [Option<&str>; 7] =
    [None, Some("TREAT"), Some("ETREAT"), Some("PATRQT"), Some("HPAYMT"), Some("HOPERAT"), Some("HRESCH")];

fn tokens() -> [(Option<Vec<&'static str>>, i64); 5] {
    [
        (None, i64::MAX),
        (None, 4_000),
        (None, 1_000),
        (Some(vec!["readings.read", "quarantine.manage", "accesses.read", "audit.read"]), i64::MAX),
        (Some(vec!["readings.write"]), i64::MAX),
    ]
}

fn consents() -> Vec<Vec<Bar>> {
    let always = (i64::MIN, i64::MAX);
    let one = |who, what, (from, to): (i64, i64)| vec![(who, what, from, to)];
    let mut all = vec![vec![]];
    all.extend(SPANS.map(|span| one("anyone", None, span)));
    all.extend(["me", "somebody", "care-team", "ward-staff", "proxy", "self"].map(|who| one(who, None, always)));
    all.extend([Some("TREAT"), Some("PATRQT")].map(|what| one("anyone", what, always)));
    all
}

#[test]
fn every_cell_of_the_matrix_is_as_the_rules_say() {
    let mut relations = vec![vec![]];
    relations.extend(KINDS.iter().flat_map(|kind| SPANS.map(|(from, to)| vec![(*kind, from, to)])));
    let (mut n_cells, mut n_yes) = (0, 0);
    for role in ROLES.map(|role| role.id) {
        for (ward, action) in WARDS.iter().flat_map(|ward| Action::ALL.map(|action| (*ward, action))) {
            for (token_leaves, token_ends) in tokens() {
                for purpose in PURPOSES {
                    for relations in &relations {
                        for barred in consents() {
                            let (roles, relations) = (vec![(role, ward)], relations.clone());
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
        let role = |random: &mut StdRng| (*role_ids.choose(random).unwrap(), *WARDS.choose(random).unwrap());
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
