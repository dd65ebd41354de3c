//! Who may do what to whom. Pure: facts in, a [`Permit`] or a reason out.
//!
//! Code asks "may this principal do this action on this patient, for this purpose?" and never names a role: roles are
//! data and arrive here as the permissions they grant. Access is permitted when all of these hold at once:
//!
//! - the token has not ended, and a role grants the permission, and the token's scope does not take it away;
//! - the grant's [`Scope`] reaches the patient;
//! - one and the same relation holds now, opens the action, serves the purpose and is not barred by the patient
//!   ([`Consent`]).
//!
//! A principal for whom the last two do not hold cannot learn that the patient exists: [`Denied::hides`].

mod relations;
mod roles;
mod table;
mod terms;
mod usual;
mod why;

pub use relations::RelationKind;
pub use roles::{ROLES, SeededRole};
pub use table::table;
pub use terms::{About, Action, Permission, Purpose};
pub use why::{place, why};

use crate::{
    id::{DeviceId, PatientId, UserId},
    time::Nanos,
};
use std::sync::Arc;

/// Who a token or a certificate speaks for, how far and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The person or device.
    pub subject: Subject,
    /// The permissions that it leaves; `None`: all.
    pub scope: Option<Vec<Permission>>,
    /// When it was issued (`iat`, or `nbf` without it).
    pub issued_at: Nanos,
    /// When it ends, exclusive, with what clocks may differ by; `Nanos::MAX`: never.
    pub expires_at: Nanos,
}

/// Who sent a request, after the token was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The person or device.
    pub subject: Subject,
    /// What all its roles grant and its token does not take away.
    pub grants: Vec<Grant>,
    /// What the request says it is for; `None`: it does not say.
    pub purpose: Option<Purpose>,
    /// When the token was issued.
    pub issued_at: Nanos,
    /// When the token ends: what outlives it must ask again.
    pub expires_at: Nanos,
}

impl Principal {
    /// A principal whose permissions hold for all patients.
    pub fn everywhere(subject: Subject, permissions: &[Permission], expires_at: Nanos) -> Self {
        let grant = |permission: &Permission| Grant { permission: *permission, scope: Scope::Everywhere };
        let grants = permissions.iter().map(grant).collect();
        Self { subject, grants, purpose: None, issued_at: Nanos::MAX, expires_at }
    }
}

/// A person or a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A person (or a program), by the registry's id.
    User(UserId),
    /// A monitoring device, by the registry's id.
    Device(DeviceId),
}

/// A permission, and where it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The permission that is granted.
    pub permission: Permission,
    /// For which patients the permission counts.
    pub scope: Scope,
}

/// Where a role was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// For all patients, and for actions that concern no patient.
    Everywhere,
    /// For patients in one ward.
    Ward(Arc<str>),
    /// For patients who take part in one study.
    Study(Arc<str>),
}

/// Why a person may see a patient, from when to when (half-open).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// The kind of relation, such as treating or being the patient.
    pub kind: RelationKind,
    /// The first instant at which it holds.
    pub from: Nanos,
    /// The first instant at which it holds no more.
    pub to: Nanos,
}

/// What a patient does not want, from when to when (half-open). Never denies access to the patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    /// To whom access is denied while the consent holds.
    pub barred: Barred,
    /// For what; nothing means for anything.
    pub purpose: Option<Purpose>,
    /// The first instant at which it holds.
    pub from: Nanos,
    /// The first instant at which it holds no more: its end, or when it was taken back.
    pub to: Nanos,
}

/// Who is barred by a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// Everybody but the patient.
    Anyone,
    /// The person with this id.
    User(UserId),
    /// Whoever has no other relation than this.
    Kind(RelationKind),
}

/// A patient's part in a study, from when to when (half-open).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Id of the study.
    pub study: Arc<str>,
    /// The first instant at which it holds.
    pub from: Nanos,
    /// The first instant at which it holds no more.
    pub to: Nanos,
}

/// What is known of a patient that matters to one principal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The ward in which the patient is.
    pub ward: Option<Arc<str>>,
    /// The studies in which the patient takes part, at any time.
    pub enrolments: Vec<Enrolment>,
    /// Relations of the principal to the patient, at any time.
    pub relations: Vec<Relation>,
    /// What the patient does not want, at any time, of anybody.
    pub consents: Vec<Consent>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token has ended.
    #[error("the token has expired")]
    Expired,
    /// No role grants the permission, or the token takes it away.
    #[error("no role grants {}, or the token's scope leaves it out", .0.name())]
    Permission(Permission),
    /// The permission does not reach so far.
    #[error("{} is granted for another ward or study", .0.name())]
    Scope(Permission),
    /// No relation that opens this holds now.
    #[error("no relation to the patient that opens this")]
    NoRelation,
    /// None of the relations serves the purpose.
    #[error("no relation to the patient serves the purpose {}", .0.code())]
    Purpose(Purpose),
    /// The patient does not want it.
    #[error("the patient has barred it")]
    Consent,
    /// A device acts for another.
    #[error("a device may act only as itself")]
    NotItself,
    /// A review of an emergency found it unjustified.
    #[error("a review bars the person from emergencies")]
    BarredByReview,
    /// The person has opened as many emergencies as anybody may.
    #[error("the person has opened too many emergencies")]
    TooManyEmergencies,
}

impl Denied {
    /// Its code in the audit log.
    pub fn code(self) -> &'static str {
        match self {
            Self::Expired => "EXPIRED",
            Self::Permission(_) => "PERMISSION",
            Self::Scope(_) => "SCOPE",
            Self::NoRelation => "NO_RELATION",
            Self::Purpose(_) => "PURPOSE",
            Self::Consent => "CONSENT",
            Self::NotItself => "NOT_ITSELF",
            Self::BarredByReview => "BARRED_BY_REVIEW",
            Self::TooManyEmergencies => "TOO_MANY_EMERGENCIES",
        }
    }

    /// Whether the answer must be that of a patient who does not exist.
    pub fn hides(self) -> bool {
        match self {
            Self::Scope(_) | Self::NoRelation | Self::Purpose(_) | Self::Consent => true,
            Self::Expired | Self::Permission(_) | Self::NotItself => false,
            Self::BarredByReview | Self::TooManyEmergencies => false,
        }
    }
}

/// Permission to do one action on one patient. Only [`decide`] makes one; the stores read the patient from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    patient: PatientId,
    action: Action,
    purpose: Purpose,
    expires_at: Nanos,
}

impl Permit {
    /// The patient whose data may be accessed.
    pub fn patient(&self) -> PatientId {
        self.patient
    }

    /// The action that is permitted.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The purpose for which access was permitted, as the audit log records it.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// When the permission ends.
    pub fn expires_at(&self) -> Nanos {
        self.expires_at
    }
}

/// Permission for one device to send its own readings. Only [`decide_write`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritePermit {
    device: DeviceId,
    issued_at: Nanos,
    expires_at: Nanos,
}

impl WritePermit {
    /// The device that sends.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// When the token was issued: a device whose key was changed later must get a new one.
    pub fn issued_at(&self) -> Nanos {
        self.issued_at
    }

    /// When the permission ends.
    pub fn expires_at(&self) -> Nanos {
        self.expires_at
    }
}

/// Decides one request about one patient.
pub fn decide(
    principal: &Principal,
    action: Action,
    patient: PatientId,
    facts: &Facts,
    now: Nanos,
) -> Result<Permit, Denied> {
    granted(principal, action, now)?;
    let reaches = scopes(principal, action).filter_map(|scope| reaches(scope, facts, now)).max();
    let reaches = reaches.ok_or(Denied::Scope(action.needs()))?;
    let holding = facts.relations.iter().filter(|r| r.from <= now && now < r.to && r.kind.opens(action));
    let mut denied = Denied::NoRelation;
    let mut best: Option<(Purpose, Nanos)> = None;
    for relation in holding {
        let usual = relation.kind.purposes()[0];
        let purpose = principal.purpose.unwrap_or(usual);
        if !relation.kind.purposes().contains(&purpose) {
            // barred by the patient says more
            if denied == Denied::NoRelation {
                denied = Denied::Purpose(purpose);
            }
            continue;
        }
        match bars(principal, relation, purpose, &facts.consents, now) {
            Bars::Now => denied = Denied::Consent,
            Bars::From(instant) => {
                let ends = relation.to.min(instant);
                if best.is_none_or(|(_, latest)| latest < ends) {
                    best = Some((purpose, ends));
                }
            }
        }
    }
    let (purpose, ends) = best.ok_or(denied)?;
    Ok(Permit { patient, action, purpose, expires_at: principal.expires_at.min(ends).min(reaches) })
}

/// Until when a scope reaches the patient; `None` when it does not.
fn reaches(scope: &Scope, facts: &Facts, now: Nanos) -> Option<Nanos> {
    match scope {
        Scope::Everywhere => Some(Nanos::MAX),
        Scope::Ward(ward) => (facts.ward.as_ref() == Some(ward)).then_some(Nanos::MAX),
        Scope::Study(study) => {
            let holding =
                facts.enrolments.iter().filter(|part| part.study == *study && part.from <= now && now < part.to);
            holding.map(|part| part.to).max()
        }
    }
}

/// When a relation is barred.
enum Bars {
    Now,
    /// From then on; [`Nanos::MAX`] when never.
    From(Nanos),
}

fn bars(principal: &Principal, relation: &Relation, purpose: Purpose, consents: &[Consent], now: Nanos) -> Bars {
    if relation.kind == RelationKind::Myself {
        return Bars::From(Nanos::MAX);
    }
    let concerns = |consent: &&Consent| {
        consent.purpose.is_none_or(|barred| barred == purpose)
            && match consent.barred {
                // an emergency is barred by what names it or the person, not by what was meant for quiet times
                Barred::Anyone => relation.kind != RelationKind::Emergency || consent.purpose.is_some(),
                Barred::User(user) => principal.subject == Subject::User(user),
                Barred::Kind(kind) => kind == relation.kind,
            }
    };
    let mut from = Nanos::MAX;
    for consent in consents.iter().filter(concerns).filter(|consent| now < consent.to) {
        if consent.from <= now {
            return Bars::Now;
        }
        from = from.min(consent.from);
    }
    Bars::From(from)
}

/// Decides whether a principal may do an action to anybody at all: for a list, whose every entry is decided by itself.
pub fn decide_any(principal: &Principal, action: Action, now: Nanos) -> Result<(), Denied> {
    granted(principal, action, now)
}

/// Decides a request about the system: the permission must hold everywhere.
pub fn decide_system(principal: &Principal, action: Action, now: Nanos) -> Result<(), Denied> {
    granted(principal, action, now)?;
    if action.about() == About::System && scopes(principal, action).any(|scope| *scope == Scope::Everywhere) {
        Ok(())
    } else {
        Err(Denied::Permission(action.needs()))
    }
}

/// Decides whether a principal may send readings as `device`.
pub fn decide_write(principal: &Principal, device: DeviceId, now: Nanos) -> Result<WritePermit, Denied> {
    granted(principal, Action::SendReadings, now)?;
    if principal.subject != Subject::Device(device) {
        return Err(Denied::NotItself);
    }
    Ok(WritePermit { device, issued_at: principal.issued_at, expires_at: principal.expires_at })
}

/// A live token, and the permission somewhere.
fn granted(principal: &Principal, action: Action, now: Nanos) -> Result<(), Denied> {
    if now >= principal.expires_at {
        return Err(Denied::Expired);
    }
    match scopes(principal, action).next() {
        Some(_) => Ok(()),
        None => Err(Denied::Permission(action.needs())),
    }
}

/// Where the permission that an action needs holds.
fn scopes(principal: &Principal, action: Action) -> impl Iterator<Item = &Scope> {
    let needed = action.needs();
    principal.grants.iter().filter(move |grant| grant.permission == needed).map(|grant| &grant.scope)
}
