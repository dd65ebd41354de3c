//! What the changes amount to, and whether one more fits.

mod devices;
mod people;
mod same;

use super::{
    Assignment, BreakGlass, Change, Consent, Device, Entry, Grant, Refused, Relation, Retraction, Role, User, floor,
};
use crate::links::{Links, Span, note};
use imbl::{HashMap, HashSet, OrdMap, Vector};
use model::{
    Nanos, PatientId, UserId,
    access::{Permission, ROLES, RelationKind},
};
use uuid::Uuid;

/// A resource, and its last change.
#[derive(Clone, PartialEq)]
pub struct Kept<T> {
    /// The resource, as the change left it.
    pub value: T,
    /// The number of the change that made it so.
    pub sequence: u64,
    /// Time of that change, by the clock of the node that made it.
    pub at: Nanos,
    /// Who made that change: "user:UUID", "device:UUID" or "system".
    pub by: String,
    /// The number of the change that made it first.
    pub made: u64,
}

/// All that the registry knows, up to a change. A clone shares what neither has changed since: each change is made in one.
#[derive(Clone, PartialEq)]
pub struct State {
    pub(super) sequence: u64,
    users: OrdMap<Uuid, Kept<User>>,
    /// The numbers of the changes that made each person what they were, oldest first.
    versions: HashMap<Uuid, Vector<u64>>,
    roles: OrdMap<String, Kept<Role>>,
    grants: OrdMap<Uuid, Kept<Grant>>,
    relations: OrdMap<Uuid, Kept<Relation>>,
    consents: OrdMap<Uuid, Kept<Consent>>,
    devices: OrdMap<Uuid, Kept<Device>>,
    assignments: OrdMap<Uuid, Kept<Assignment>>,
    break_glass: OrdMap<Uuid, Kept<BreakGlass>>,
    retractions: OrdMap<Uuid, Kept<Retraction>>,
    macs: HashMap<String, Uuid>,
    /// People who were deleted.
    gone: HashSet<Uuid>,
    /// Whose each patient id is, or was last.
    patients: HashMap<Uuid, Uuid>,
    /// Wards where a patient lies or lay, or somebody works or worked.
    wards: HashSet<String>,
    /// Studies in which somebody takes part or did, or for which somebody has a role or had.
    studies: HashSet<String>,
    links: Links,
}

impl Default for State {
    /// Nobody, and the roles that are there from the start.
    fn default() -> Self {
        let names = |permissions: &[Permission]| permissions.iter().map(|one| one.name().to_owned()).collect();
        let role = |role: &model::access::SeededRole| Role {
            id: role.id.to_owned(),
            category: role.category.to_owned(),
            permissions: names(role.permissions),
            may_grant: names(role.may_grant),
        };
        let kept = |value| Kept { value, sequence: 0, at: Nanos(0), by: "system".to_owned(), made: 0 };
        let roles: OrdMap<_, _> = ROLES.iter().map(role).map(|role| (role.id.clone(), kept(role))).collect();
        let mut links = Links::default();
        for role in ROLES {
            links.roles.insert(role.id.to_owned(), role.permissions.to_vec());
        }
        Self {
            sequence: 0,
            users: OrdMap::new(),
            versions: HashMap::new(),
            roles,
            grants: OrdMap::new(),
            relations: OrdMap::new(),
            consents: OrdMap::new(),
            devices: OrdMap::new(),
            assignments: OrdMap::new(),
            break_glass: OrdMap::new(),
            retractions: OrdMap::new(),
            macs: HashMap::new(),
            gone: HashSet::new(),
            patients: HashMap::new(),
            wards: HashSet::new(),
            studies: HashSet::new(),
            links,
        }
    }
}

macro_rules! reads {
    ($($(#[$doc:meta])* $one:ident, $all:ident: $key:ty => $value:ty;)+) => {$(
        $(#[$doc])*
        pub fn $one(&self, id: &$key) -> Option<&Kept<$value>> {
            self.$all.get(id)
        }

        /// All of them, ascending by id, from one on (not included).
        pub fn $all(&self, after: Option<$key>) -> impl DoubleEndedIterator<Item = (&$key, &Kept<$value>)> {
            use std::ops::Bound::{Excluded, Unbounded};
            self.$all.range((after.map_or(Unbounded, Excluded), Unbounded))
        }
    )+};
}

impl State {
    reads! {
        /// The person with this id; `None`: there is none.
        user, users: Uuid => User;
        /// The role with this id; `None`: there is none.
        role, roles: String => Role;
        /// The grant of a role with this id; `None`: there is none.
        grant, grants: Uuid => Grant;
        /// The relation with this id; `None`: there is none.
        relation, relations: Uuid => Relation;
        /// The consent with this id; `None`: there is none.
        consent, consents: Uuid => Consent;
        /// The device with this id; `None`: there is none.
        device, devices: Uuid => Device;
        /// The assignment of a device with this id; `None`: there is none.
        assignment, assignments: Uuid => Assignment;
        /// The emergency access with this id; `None`: there is none.
        emergency, break_glass: Uuid => BreakGlass;
        /// The retraction of readings with this id; `None`: there is none.
        retraction, retractions: Uuid => Retraction;
    }

    /// The number of the last change.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// By which changes a person came to be as now: their numbers, oldest first.
    pub fn versions(&self, user: &Uuid) -> impl DoubleEndedIterator<Item = u64> {
        self.versions.get(user).into_iter().flatten().copied()
    }

    /// The person whose readings are kept under this id.
    pub fn person_of(&self, patient: PatientId) -> Option<UserId> {
        self.links.people.get(&patient).copied()
    }

    /// The device that has a MAC address, if one has.
    pub fn device_with_mac(&self, mac: &str) -> Option<Uuid> {
        self.macs.get(mac).copied()
    }

    /// Whether somebody had this id and was deleted.
    pub(super) fn is_gone(&self, user: &Uuid) -> bool {
        self.gone.contains(user)
    }

    /// Whose a patient id is, or was last.
    pub(crate) fn was_patient(&self, patient: &Uuid) -> Option<Uuid> {
        self.patients.get(patient).copied()
    }

    /// Whether a patient lies or lay in a ward of this name, or somebody works or worked there.
    pub(crate) fn has_ward(&self, ward: &str) -> bool {
        self.wards.contains(ward)
    }

    /// Whether somebody takes part in a study of this name or did, or has a role for it or had.
    pub(crate) fn has_study(&self, study: &str) -> bool {
        self.studies.contains(study)
    }

    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// Applies the changes of an entry that is stored under the number after the last one.
    ///
    /// # Errors
    /// An entry that does not follow the last one, or that this version cannot apply: throw the state away then.
    pub fn follow(&mut self, sequence: u64, entry: &Entry) -> Result<(), String> {
        if sequence != self.sequence + 1 {
            return Err(format!("change {sequence} does not follow change {}", self.sequence));
        }
        self.sequence = sequence;
        for change in &entry.changes {
            self.apply(change, entry).map_err(|refused| format!("change {sequence}: {refused}"))?;
        }
        Ok(())
    }

    fn kept<T>(&self, before: Option<&Kept<T>>, value: T, entry: &Entry) -> Kept<T> {
        let made = before.map_or(self.sequence, |before| before.made);
        Kept { value, sequence: self.sequence, at: entry.at(), by: entry.by.clone(), made }
    }

    /// Applies one change, or changes nothing.
    pub(super) fn apply(&mut self, change: &Change, entry: &Entry) -> Result<(), Refused> {
        match change {
            Change::User(user) => self.apply_user(user, entry),
            Change::UserRemoved(id) => self.remove_user(*id, entry),
            Change::Role(role) => self.apply_role(role, entry),
            Change::RoleRemoved(id) => self.remove_role(id),
            Change::Grant(grant) => self.apply_grant(grant, entry),
            Change::GrantRemoved(id) => self.remove_grant(*id),
            Change::Relation(relation) => self.apply_relation(relation, entry),
            Change::Consent(consent) => self.apply_consent(consent, entry),
            Change::Device(device) => self.apply_device(device, entry),
            Change::Assignment(assignment) => self.apply_assignment(assignment, entry),
            Change::BreakGlass(emergency) => self.apply_break_glass(emergency, entry),
            Change::Retraction(retraction) => self.apply_retraction(retraction, entry),
        }
    }

    fn apply_role(&mut self, role: &Role, entry: &Entry) -> Result<(), Refused> {
        let unknown = |field, name: &str| {
            let names: Vec<_> = Permission::ALL.iter().map(|permission| permission.name()).collect();
            Refused::new(
                "UNKNOWN_PERMISSION",
                field,
                format!("{} is none of {}", model::quoted(name), names.join(", ")),
            )
        };
        let role = floor::at_least(role);
        let permissions = role.permissions().map_err(|name| unknown("permissions", name))?;
        role.may_grant().map_err(|name| unknown("may_grant", name))?;
        self.links.roles.insert(role.id.clone(), permissions);
        self.roles.insert(role.id.clone(), self.kept(self.roles.get(&role.id), role, entry));
        Ok(())
    }

    fn remove_role(&mut self, id: &str) -> Result<(), Refused> {
        if self.grants.values().any(|kept| kept.value.role == id) {
            return Err(Refused::new("ROLE_IN_USE", "role_id", "somebody holds this role; delete those grants first"));
        }
        if floor::stays(id) {
            return Ok(());
        }
        if self.roles.remove(id).is_none() {
            return Err(no_such_role());
        }
        self.links.roles.remove(id);
        Ok(())
    }

    fn apply_grant(&mut self, grant: &Grant, entry: &Entry) -> Result<(), Refused> {
        if !self.roles.contains_key(&grant.role) {
            return Err(no_such_role());
        }
        let held = self.links.users.entry(UserId::new(grant.user)).or_default();
        let one = (grant.role.clone(), grant.scope());
        if held.contains(&one) {
            return Err(Refused::new("ALREADY_GRANTED", "role_id", "the person holds this role there already"));
        }
        held.push(one);
        self.wards.extend(grant.ward.clone());
        self.studies.extend(grant.study.clone());
        self.grants.insert(grant.id, self.kept(None, grant.clone(), entry));
        Ok(())
    }

    fn remove_grant(&mut self, id: Uuid) -> Result<(), Refused> {
        let Some(Kept { value: grant, .. }) = self.grants.remove(&id) else {
            return Err(Refused::new("NO_SUCH_GRANT", "grant_id", "there is no grant with this id"));
        };
        if let Some(held) = self.links.users.get_mut(&UserId::new(grant.user)) {
            let scope = grant.scope();
            held.retain(|(role, place)| *role != grant.role || *place != scope);
        }
        Ok(())
    }

    fn apply_relation(&mut self, relation: &Relation, entry: &Entry) -> Result<(), Refused> {
        let Some((kind, span)) = RelationKind::from_name(&relation.kind).zip(Span::new(relation.from, relation.to))
        else {
            return Err(Refused::new("BAD_RELATION", "kind", "a kind of relation, and `from` before `to`"));
        };
        if let Some(before) = self.relations.get(&relation.id).map(|kept| kept.value.clone())
            && let Some(span) = Span::new(before.from, before.to)
        {
            self.relate(kind, &before, span, false);
        }
        self.relate(kind, relation, span, true);
        self.wards.extend(relation.ward.clone());
        self.studies.extend(relation.study.clone());
        self.relations.insert(relation.id, self.kept(self.relations.get(&relation.id), relation.clone(), entry));
        Ok(())
    }

    /// Notes a relation, and a patient's part in a study, or forgets them.
    fn relate(&mut self, kind: RelationKind, relation: &Relation, span: Span, in_force: bool) {
        let (user, ward) = (UserId::new(relation.user), relation.ward.as_deref());
        self.links.relate(user, relation.patient, ward, span.relation(kind), in_force);
        let (Some(study), Some(patient)) = (&relation.study, relation.patient) else { return };
        self.links.enrol(user, PatientId::new(patient), study, span, in_force);
    }

    fn apply_consent(&mut self, consent: &Consent, entry: &Entry) -> Result<(), Refused> {
        let policy = consent.policy().filter(|_| consent.from < consent.to);
        let bad = || Refused::new("BAD_CONSENT", "bars", "known words, and `from` before `to`");
        let policy = policy.ok_or_else(bad)?;
        let before = self.consents.get(&consent.id).and_then(|kept| kept.value.policy());
        let held = self.links.consents.entry(PatientId::new(consent.patient)).or_default();
        if let Some(before) = before {
            note(held, before, false);
        }
        note(held, policy, true);
        self.consents.insert(consent.id, self.kept(self.consents.get(&consent.id), consent.clone(), entry));
        Ok(())
    }

    fn apply_retraction(&mut self, retraction: &Retraction, entry: &Entry) -> Result<(), Refused> {
        let bad = || Refused::new("BAD_RETRACTION", "metrics", "metrics of the catalogue, and `from` before `to`");
        let mark = retraction.mark().ok_or_else(bad)?;
        let before = self.retractions.get(&retraction.id).map(|kept| &kept.value);
        let before = before.filter(|before| before.ended.is_none()).and_then(Retraction::mark);
        let held = self.links.retractions.entry(PatientId::new(retraction.patient)).or_default();
        if let Some(before) = before {
            note(held, before, false);
        }
        if retraction.ended.is_none() {
            note(held, mark, true);
        }
        let kept = self.kept(self.retractions.get(&retraction.id), retraction.clone(), entry);
        self.retractions.insert(retraction.id, kept);
        Ok(())
    }

    fn apply_break_glass(&mut self, emergency: &BreakGlass, entry: &Entry) -> Result<(), Refused> {
        let mut emergency = emergency.clone();
        let before = self.break_glass.get(&emergency.id).map(|kept| &kept.value);
        let before = before.and_then(|one| Span::new(one.from, one.to));
        if let Some(before) = before {
            // its review may end it, and does not open it once more
            (emergency.from, emergency.to) = (before.from.0, emergency.to.min(before.to.0));
        }
        let Some(span) = Span::new(emergency.from, emergency.to) else {
            return Err(Refused::new("TIMES_REVERSED", "end_time", "must lie after `start_time`"));
        };
        let (user, patient) = (UserId::new(emergency.user), Some(emergency.patient));
        if let Some(before) = before {
            self.links.relate(user, patient, None, before.relation(RelationKind::Emergency), false);
        }
        self.links.relate(user, patient, None, span.relation(RelationKind::Emergency), true);
        let kept = self.kept(self.break_glass.get(&emergency.id), emergency.clone(), entry);
        self.break_glass.insert(emergency.id, kept);
        Ok(())
    }
}

fn no_such_role() -> Refused {
    Refused::new("NO_SUCH_ROLE", "role_id", "no role has this id; `wardline roles list` shows all")
}
