//! What a new relation, consent, grant or assignment must not be: one that is there already, or one that never holds.
//!
//! Judged when a change is made, and not when it is followed: entries of older versions that made such ones stay in force.

use super::{Assignment, Change, Consent, DeviceStatus, Refused, Relation, State};
use crate::links::{Links, Span};
use model::{
    Nanos, PatientId, UserId,
    access::{self, Barred, Purpose, RelationKind},
};

/// Refuses a new one that is there already or never holds; one that is changed is not new.
pub(super) fn check(state: &State, change: &Change, now: Nanos) -> Result<(), Refused> {
    match change {
        Change::Relation(relation) if state.relation(&relation.id).is_none() => check_relation(state, relation, now),
        Change::Consent(consent) if state.consent(&consent.id).is_none() => check_consent(state, consent, now),
        Change::Assignment(assignment) if state.assignment(&assignment.id).is_none() => {
            check_assignment(state, assignment)
        }
        _ => Ok(()),
    }
}

/// Refuses a new relation or grant that the directory's files make already, and a consent that by them bars nobody: both sources are in force
/// together, so that to end the one would leave the other.
pub(crate) fn check_files(files: &Links, state: &State, change: &Change, now: Nanos) -> Result<(), Refused> {
    let by_file = |reason, field, what: &str| {
        let advice = "which the registry cannot end; leave it, or take it out of the file first";
        let text = format!("{what}: it stands in the directory's files, {advice}");
        Err(Refused::new(reason, field, text))
    };
    match change {
        Change::Relation(one) if state.relation(&one.id).is_none() && has_relation(files, one, now) => {
            by_file("RELATION_EXISTS", "kind", "the person has this relation in that time already")
        }
        Change::Consent(one) if state.consent(&one.id).is_none() => {
            let (patient, Some(consent)) = (PatientId::new(one.patient), policy(one)) else { return Ok(()) };
            bars_another(files, patient, &consent)?;
            if is_barred(files, patient, &consent, now) {
                return by_file("ALREADY_BARRED", "bars", "this is barred for that time already");
            }
            Ok(())
        }
        Change::Grant(one) if state.grant(&one.id).is_none() => {
            let held = files.users.get(&UserId::new(one.user));
            if held.is_some_and(|held| held.contains(&(one.role.clone(), one.scope()))) {
                return by_file("ALREADY_GRANTED", "role_id", "the person holds this role there already");
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn check_relation(state: &State, relation: &Relation, now: Nanos) -> Result<(), Refused> {
    // what is no relation at all is refused where it is applied
    let Some(span) = RelationKind::from_name(&relation.kind).and(Span::new(relation.from, relation.to)) else {
        return Ok(());
    };
    still_to_come(span, now)?;
    if has_relation(state.links(), relation, now) {
        let text = "the person has this relation in that time already; end that one first, or leave it";
        return Err(Refused::new("RELATION_EXISTS", "kind", text));
    }
    Ok(())
}

/// Whether one source has this relation at any instant of that time that is not over.
fn has_relation(links: &Links, relation: &Relation, now: Nanos) -> bool {
    let Some((kind, span)) = RelationKind::from_name(&relation.kind).zip(Span::new(relation.from, relation.to)) else {
        return false;
    };
    let user = UserId::new(relation.user);
    match (relation.patient, &relation.study) {
        (Some(patient), Some(study)) => links.is_enrolled(user, PatientId::new(patient), study, span, now),
        (patient, _) => links.has_relation(user, patient, relation.ward.as_deref(), (kind, span), now),
    }
}

fn check_consent(state: &State, consent: &Consent, now: Nanos) -> Result<(), Refused> {
    let Some(policy) = policy(consent) else { return Ok(()) };
    still_to_come(Span { from: policy.from, to: policy.to }, now)?;
    against_consent(state.links(), PatientId::new(consent.patient), &policy, now)
}

/// A consent as the policy knows it; `None` for what is none, which is refused where it is applied.
fn policy(consent: &Consent) -> Option<access::Consent> {
    consent.policy().filter(|policy| policy.from < policy.to)
}

/// Refuses a new consent of which a source makes nothing new: it bars nobody, or what is barred already at an instant of that
/// time that is not before `now`.
pub(crate) fn against_consent(
    links: &Links,
    patient: PatientId,
    consent: &access::Consent,
    now: Nanos,
) -> Result<(), Refused> {
    bars_another(links, patient, consent)?;
    if !bars_somebody(consent.barred, consent.purpose) {
        let (field, text) = if bars_somebody(consent.barred, None) {
            ("purpose", "nobody who is barred has a relation that serves this; leave it out, or name another")
        } else {
            ("bars", "nobody is barred from their own readings; name a person, another kind of relation or anyone")
        };
        return Err(Refused::new("BARS_NOBODY", field, text));
    }
    if is_barred(links, patient, consent, now) {
        let text = "the patient has said this for that time already; take that one back first, or leave it";
        return Err(Refused::new("ALREADY_BARRED", "bars", text));
    }
    Ok(())
}

/// Refuses a consent that bars the person who is the patient by this source.
pub(crate) fn bars_another(links: &Links, patient: PatientId, consent: &access::Consent) -> Result<(), Refused> {
    let is_patients = |user| links.myself.get(&user) == Some(&patient);
    if matches!(consent.barred, Barred::User(user) if is_patients(user)) {
        return Err(Refused::new(
            "BARS_NOBODY",
            "bars",
            "nobody bars themselves; name another person, or leave it out",
        ));
    }
    Ok(())
}

/// Whether by this source the same is barred at any instant of that time that is not over.
fn is_barred(links: &Links, patient: PatientId, consent: &access::Consent, now: Nanos) -> bool {
    let span = Span { from: consent.from, to: consent.to };
    let is_one = |one: &access::Consent| {
        (one.barred, one.purpose) == (consent.barred, consent.purpose) && span.meets(one.from, one.to, now)
    };
    links.consents.get(&patient).into_iter().flatten().any(is_one)
}

/// Whether any relation serves the purpose, of those that a consent bars; never the patient's own.
fn bars_somebody(barred: Barred, purpose: Option<Purpose>) -> bool {
    let is_barred = |kind: RelationKind| match barred {
        Barred::Kind(barred) => kind == barred,
        Barred::Anyone | Barred::User(_) => true,
    };
    let mut kinds = RelationKind::ALL.into_iter().filter(|kind| *kind != RelationKind::Myself && is_barred(*kind));
    kinds.any(|kind| purpose.is_none_or(|purpose| kind.purposes().contains(&purpose)))
}

fn check_assignment(state: &State, assignment: &Assignment) -> Result<(), Refused> {
    if state.device(&assignment.device).is_some_and(|kept| kept.value.status == DeviceStatus::Retired) {
        let text = "the device is retired and sends nothing any more; register it anew under another id";
        return Err(Refused::new("RETIRED", "device_id", text));
    }
    Ok(())
}

fn still_to_come(span: Span, now: Nanos) -> Result<(), Refused> {
    if now < span.to {
        return Ok(());
    }
    Err(Refused::new("ALREADY_OVER", "end_time", "must lie in the future: what is over when it is said never holds"))
}
