//! What a new tie must not be: one that is there already, or one that never holds.
//!
//! Judged when a change is made, and not when it is followed: entries of older versions that made such ties stay in force.

use super::{Assignment, Change, Consent, DeviceStatus, Refused, Relation, State};
use crate::links::Span;
use model::{
    Nanos, PatientId, UserId,
    access::{Barred, Purpose, RelationKind},
};

/// Refuses a new tie that is there already or never holds; one that is changed is not new.
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

fn check_relation(state: &State, relation: &Relation, now: Nanos) -> Result<(), Refused> {
    // what is no relation at all is refused where it is applied
    let Some((kind, span)) = RelationKind::from_name(&relation.kind).zip(Span::new(relation.from, relation.to)) else {
        return Ok(());
    };
    still_to_come(span, now)?;
    let (links, user) = (state.links(), UserId::new(relation.user));
    let is_there = match (relation.patient, &relation.study) {
        (Some(patient), Some(study)) => links.is_enrolled(user, PatientId::new(patient), study, span, now),
        (patient, _) => links.is_tied(user, patient, relation.ward.as_deref(), (kind, span), now),
    };
    if is_there {
        let text = "the person has this relation in that time already; end that one first, or leave it";
        return Err(Refused::new("ALREADY_TIED", "kind", text));
    }
    Ok(())
}

fn check_consent(state: &State, consent: &Consent, now: Nanos) -> Result<(), Refused> {
    let Some((policy, span)) = consent.policy().zip(Span::new(consent.from, consent.to)) else { return Ok(()) };
    still_to_come(span, now)?;
    let patient = PatientId::new(consent.patient);
    let is_patients = |user| state.links().myself.get(&user) == Some(&patient);
    if matches!(policy.barred, Barred::User(user) if is_patients(user)) {
        return Err(Refused::new("BARS_NOBODY", "bars", "nobody bars themselves"));
    }
    if !bars_somebody(policy.barred, policy.purpose) {
        let text = "nobody who is barred has a relation that serves this; leave it out, or name another";
        return Err(Refused::new("BARS_NOBODY", "purpose", text));
    }
    let held = state.links().consents.get(&patient);
    let is_one = |one: &model::access::Consent| {
        (one.barred, one.purpose) == (policy.barred, policy.purpose) && span.meets(one.from, one.to, now)
    };
    if held.into_iter().flatten().any(is_one) {
        let text = "the patient has said this for that time already; revoke that one first, or leave it";
        return Err(Refused::new("ALREADY_BARRED", "bars", text));
    }
    Ok(())
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
