//! People, devices and their relations, arranged by what is asked.

use crate::Assignment;
use imbl::{HashMap, HashSet, OrdMap, OrdSet};
use model::{
    DeviceId, Nanos, PatientId, Retraction, UserId,
    access::{Consent, Enrolment, Permission, Relation, RelationKind, Scope},
};
use std::sync::Arc;
use uuid::Uuid;

/// A range of time, half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
}

impl Span {
    /// A relation of this time.
    pub(crate) fn relation(self, kind: RelationKind) -> Relation {
        Relation { kind, from: self.from, to: self.to }
    }

    /// Whether it has an instant in common with another range, now or later.
    pub(crate) fn meets(self, from: Nanos, to: Nanos, now: Nanos) -> bool {
        from < self.to && self.from.max(now) < to
    }

    /// `None` when it is empty.
    pub(crate) fn new(from: i64, to: i64) -> Option<Self> {
        (from < to).then_some(Self { from: Nanos(from), to: Nanos(to) })
    }
}

/// Who takes part in a study, from when to when.
pub(crate) type Parts = Vec<(PatientId, Span)>;

/// What one source knows: the files, or the registry.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Links {
    pub(crate) roles: HashMap<String, Vec<Permission>>,
    /// Roles of each person, and where each role was granted.
    pub(crate) users: HashMap<UserId, Vec<(String, Scope)>>,
    /// Suspended persons: their tokens open nothing.
    pub(crate) suspended: HashSet<UserId>,
    pub(crate) myself: HashMap<UserId, PatientId>,
    pub(crate) people: HashMap<PatientId, UserId>,
    pub(crate) wards: HashMap<PatientId, Arc<str>>,
    /// In order, as `relations` are: those of a person are found beside each other.
    pub(crate) ward_staff: OrdMap<(UserId, Arc<str>), Vec<Relation>>,
    pub(crate) relations: OrdMap<(UserId, PatientId), Vec<Relation>>,
    /// Who is in a ward: the other way round of `wards`.
    pub(crate) in_ward: OrdSet<(Arc<str>, PatientId)>,
    /// Whom a person studies, by study.
    pub(crate) studies: HashMap<(UserId, Arc<str>), Parts>,
    pub(crate) enrolments: HashMap<PatientId, Vec<Enrolment>>,
    pub(crate) consents: HashMap<PatientId, Vec<Consent>>,
    pub(crate) retractions: HashMap<PatientId, Vec<Retraction>>,
    /// From when on its tokens and certificates must be; `None`: it may not send.
    pub(crate) devices: HashMap<DeviceId, Option<Nanos>>,
    /// Ascending by time, without overlap.
    pub(crate) assignments: HashMap<DeviceId, Vec<Assignment>>,
}

impl Links {
    /// What a person is: a patient, or not; in a ward, or not.
    pub(crate) fn set_person(&mut self, user: UserId, patient: Option<PatientId>, ward: Option<&str>, suspended: bool) {
        self.myself.remove(&user);
        self.suspended.remove(&user);
        if suspended {
            self.suspended.insert(user);
        }
        if let Some(patient) = patient {
            self.myself.insert(user, patient);
            self.people.insert(patient, user);
            self.set_ward(patient, ward);
        }
    }

    /// In which ward a patient is, if in any.
    pub(crate) fn set_ward(&mut self, patient: PatientId, ward: Option<&str>) {
        if let Some(before) = self.wards.remove(&patient) {
            self.in_ward.remove(&(before, patient));
        }
        if let Some(ward) = ward.map(Arc::<str>::from) {
            self.in_ward.insert((Arc::clone(&ward), patient));
            self.wards.insert(patient, ward);
        }
    }

    /// A relation to a patient or, for ward staff, to a ward: one that is in force from now on, or is taken out.
    pub(crate) fn relate(
        &mut self,
        user: UserId,
        patient: Option<Uuid>,
        ward: Option<&str>,
        relation: Relation,
        in_force: bool,
    ) {
        let held = match (patient, ward) {
            (Some(patient), _) => self.relations.entry((user, PatientId::new(patient))).or_default(),
            (None, Some(ward)) => self.ward_staff.entry((user, ward.into())).or_default(),
            (None, None) => return,
        };
        note(held, relation, in_force);
    }

    /// Whether a person has a relation of this kind to a patient or a ward at any instant of this time that is not before `now`.
    pub(crate) fn has_relation(
        &self,
        user: UserId,
        patient: Option<Uuid>,
        ward: Option<&str>,
        (kind, span): (RelationKind, Span),
        now: Nanos,
    ) -> bool {
        let held = match (patient, ward) {
            (Some(patient), _) => self.relations.get(&(user, PatientId::new(patient))),
            (None, Some(ward)) => self.ward_staff.get(&(user, ward.into())),
            (None, None) => None,
        };
        held.into_iter().flatten().any(|one| one.kind == kind && span.meets(one.from, one.to, now))
    }

    /// Whether a patient takes part in this study of a person's at any instant of this time that is not before `now`.
    pub(crate) fn is_enrolled(&self, user: UserId, patient: PatientId, study: &str, span: Span, now: Nanos) -> bool {
        let parts = self.studies.get(&(user, study.into()));
        parts.into_iter().flatten().any(|(who, part)| *who == patient && span.meets(part.from, part.to, now))
    }

    /// A patient's part in a study of a person's: in force from now on, or taken out.
    pub(crate) fn enrol(&mut self, user: UserId, patient: PatientId, study: &str, span: Span, in_force: bool) {
        let study: Arc<str> = study.into();
        note(self.studies.entry((user, Arc::clone(&study))).or_default(), (patient, span), in_force);
        let part = Enrolment { study, from: span.from, to: span.to };
        note(self.enrolments.entry(patient).or_default(), part, in_force);
    }

    /// Assigns a device; `false`, and nothing is changed, when it has another patient in that time.
    pub(crate) fn assign(&mut self, device: DeviceId, patient: PatientId, Span { from, to }: Span) -> bool {
        let held = self.assignments.entry(device).or_default();
        if held.iter().any(|one| one.from < to && from < one.to) {
            return false;
        }
        let place = held.partition_point(|one| one.from < from);
        held.insert(place, Assignment { patient, from, to });
        true
    }
}

/// Puts something among what is in force, or takes it out.
pub(crate) fn note<T: PartialEq>(held: &mut Vec<T>, one: T, in_force: bool) {
    if in_force {
        held.push(one);
    } else if let Some(place) = held.iter().position(|there| *there == one) {
        held.remove(place);
    }
}
