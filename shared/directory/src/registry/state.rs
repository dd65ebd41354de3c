//! What the changes amount to, and whether one more fits.

mod same;

use super::{
    Assignment, BreakGlass, Change, Consent, Device, DeviceStatus, Entry, Grant, Refused, Relation, Role, User, floor,
};
use crate::links::{Links, Span, note};
use imbl::{HashMap, OrdMap};
use model::{
    DeviceId, Nanos, PatientId, UserId,
    access::{Permission, ROLES, RelationKind},
};
use uuid::Uuid;

/// Versions of a person that are remembered.
const VERSIONS_MAX: usize = 100;

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
}

/// A person, as one change left it.
pub type Version = Kept<User>;

/// All that the registry knows, up to a change. A clone shares what neither has changed since: each change is made in one.
#[derive(Clone, PartialEq)]
pub struct State {
    pub(super) sequence: u64,
    users: OrdMap<Uuid, Kept<User>>,
    /// Oldest first, the present one last.
    versions: HashMap<Uuid, Vec<Version>>,
    roles: OrdMap<String, Kept<Role>>,
    grants: OrdMap<Uuid, Kept<Grant>>,
    relations: OrdMap<Uuid, Kept<Relation>>,
    consents: OrdMap<Uuid, Kept<Consent>>,
    devices: OrdMap<Uuid, Kept<Device>>,
    assignments: OrdMap<Uuid, Kept<Assignment>>,
    break_glass: OrdMap<Uuid, Kept<BreakGlass>>,
    macs: HashMap<String, Uuid>,
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
        let kept = |value| Kept { value, sequence: 0, at: Nanos(0), by: "system".to_owned() };
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
            macs: HashMap::new(),
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
        /// A person.
        user, users: Uuid => User;
        /// A role.
        role, roles: String => Role;
        /// A role that somebody holds.
        grant, grants: Uuid => Grant;
        /// A relation.
        relation, relations: Uuid => Relation;
        /// A consent.
        consent, consents: Uuid => Consent;
        /// A device.
        device, devices: Uuid => Device;
        /// An assignment.
        assignment, assignments: Uuid => Assignment;
        /// An emergency.
        emergency, break_glass: Uuid => BreakGlass;
    }

    /// The number of the last change.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What a person was like, oldest first, the present last.
    pub fn versions(&self, user: &Uuid) -> &[Version] {
        self.versions.get(user).map_or(&[], Vec::as_slice)
    }

    /// The person whose readings are kept under this id.
    pub fn person_of(&self, patient: PatientId) -> Option<UserId> {
        self.links.people.get(&patient).copied()
    }

    /// The device that has a MAC address, if one has.
    pub fn device_with_mac(&self, mac: &str) -> Option<Uuid> {
        self.macs.get(mac).copied()
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

    fn kept<T>(&self, value: T, entry: &Entry) -> Kept<T> {
        Kept { value, sequence: self.sequence, at: entry.at(), by: entry.by.clone() }
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
        }
    }

    fn apply_user(&mut self, user: &User, entry: &Entry) -> Result<(), Refused> {
        let id = UserId::new(user.id);
        if let Some(patient) = user.patient.map(PatientId::new)
            && self.links.people.get(&patient).is_some_and(|holder| *holder != id)
        {
            return Err(Refused::new("PATIENT_TAKEN", "patient_id", "another person has this patient id"));
        }
        if let Some(before) = self.users.get(&user.id).and_then(|kept| kept.value.patient).map(PatientId::new) {
            self.links.people.remove(&before);
            self.links.set_ward(before, None);
        }
        self.links.set_person(id, user.patient.map(PatientId::new), user.ward.as_deref(), user.suspended);
        let kept = self.kept(user.clone(), entry);
        let versions = self.versions.entry(user.id).or_default();
        if versions.len() == VERSIONS_MAX {
            versions.remove(0);
        }
        versions.push(kept.clone());
        self.users.insert(user.id, kept);
        Ok(())
    }

    fn remove_user(&mut self, id: Uuid, entry: &Entry) -> Result<(), Refused> {
        let Some(user) = self.users.remove(&id) else {
            return Err(Refused::new("NO_SUCH_USER", "user_id", "nobody has this id"));
        };
        let held: Vec<_> =
            self.grants.values().filter(|kept| kept.value.user == id).map(|kept| kept.value.id).collect();
        for grant in held {
            self.remove_grant(grant)?;
        }
        let at = entry.at().0;
        let tied = self.relations.values().map(|kept| &kept.value);
        let tied: Vec<_> = tied.filter(|relation| relation.user == id && relation.to > at).cloned().collect();
        for relation in tied {
            let from = relation.from.min(at - 1);
            self.apply_relation(&Relation { from, to: at, ..relation }, entry)?;
        }
        let user_id = UserId::new(id);
        self.links.set_person(user_id, None, None, false);
        if let Some(patient) = user.value.patient.map(PatientId::new) {
            self.links.people.remove(&patient);
            self.links.set_ward(patient, None);
        }
        Ok(())
    }

    fn apply_role(&mut self, role: &Role, entry: &Entry) -> Result<(), Refused> {
        let unknown = |field, name: &str| {
            let names: Vec<_> = Permission::ALL.iter().map(|permission| permission.name()).collect();
            Refused::new("UNKNOWN_PERMISSION", field, format!("{name:?} is none of {}", names.join(", ")))
        };
        let role = floor::at_least(role);
        let permissions = role.permissions().map_err(|name| unknown("permissions", name))?;
        role.may_grant().map_err(|name| unknown("may_grant", name))?;
        self.links.roles.insert(role.id.clone(), permissions);
        self.roles.insert(role.id.clone(), self.kept(role, entry));
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
        self.grants.insert(grant.id, self.kept(grant.clone(), entry));
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
            self.tie(kind, &before, span, false);
        }
        self.tie(kind, relation, span, true);
        self.relations.insert(relation.id, self.kept(relation.clone(), entry));
        Ok(())
    }

    /// Notes a relation, and a patient's part in a study, or forgets them.
    fn tie(&mut self, kind: RelationKind, relation: &Relation, span: Span, in_force: bool) {
        let (user, ward) = (UserId::new(relation.user), relation.ward.as_deref());
        self.links.tie(user, relation.patient, ward, span.relation(kind), in_force);
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
        self.consents.insert(consent.id, self.kept(consent.clone(), entry));
        Ok(())
    }

    fn apply_device(&mut self, device: &Device, entry: &Entry) -> Result<(), Refused> {
        if let Some(mac) = &device.mac
            && self.macs.get(mac).is_some_and(|holder| *holder != device.id)
        {
            return Err(Refused::new("MAC_TAKEN", "mac", "another device has this MAC address; retire that one first"));
        }
        // that of a retired one may be another's by now
        if let Some(mac) = self.devices.get(&device.id).and_then(|kept| kept.value.mac.as_ref())
            && self.macs.get(mac) == Some(&device.id)
        {
            self.macs.remove(mac);
        }
        if let Some(mac) = device.mac.as_ref().filter(|_| device.status != DeviceStatus::Retired) {
            self.macs.insert(mac.clone(), device.id);
        }
        let id = DeviceId::new(device.id);
        let sends = device.status == DeviceStatus::Active;
        self.links.devices.insert(id, sends.then_some(Nanos(device.credentials_from)));
        self.devices.insert(device.id, self.kept(device.clone(), entry));
        Ok(())
    }

    fn apply_assignment(&mut self, assignment: &Assignment, entry: &Entry) -> Result<(), Refused> {
        let Some(span) = Span::new(assignment.from, assignment.to) else {
            return Err(Refused::new("TIMES_REVERSED", "end_time", "must lie after `start_time`"));
        };
        let device = DeviceId::new(assignment.device);
        if !self.links.devices.contains_key(&device) {
            return Err(Refused::new("NO_SUCH_DEVICE", "device_id", "no device has this id; register it first"));
        }
        if let Some(before) = self.assignments.get(&assignment.id).map(|kept| &kept.value) {
            let before = Span::new(before.from, before.to);
            let held = self.links.assignments.entry(device).or_default();
            if let Some(place) = held.iter().position(|one| Some(one.span()) == before) {
                let taken = held.remove(place);
                if !self.links.assign(device, PatientId::new(assignment.patient), span) {
                    self.links.assign(device, taken.patient, taken.span());
                    return Err(overlapping());
                }
            }
        } else if !self.links.assign(device, PatientId::new(assignment.patient), span) {
            return Err(overlapping());
        }
        self.assignments.insert(assignment.id, self.kept(assignment.clone(), entry));
        Ok(())
    }

    fn apply_break_glass(&mut self, emergency: &BreakGlass, entry: &Entry) -> Result<(), Refused> {
        let Some(span) = Span::new(emergency.from, emergency.to) else {
            return Err(Refused::new("TIMES_REVERSED", "end_time", "must lie after `start_time`"));
        };
        if !self.break_glass.contains_key(&emergency.id) {
            let (user, relation) = (UserId::new(emergency.user), span.relation(RelationKind::Emergency));
            self.links.tie(user, Some(emergency.patient), None, relation, true);
        }
        self.break_glass.insert(emergency.id, self.kept(emergency.clone(), entry));
        Ok(())
    }
}

fn no_such_role() -> Refused {
    Refused::new("NO_SUCH_ROLE", "role_id", "no role has this id; `wardline roles list` shows all")
}

fn overlapping() -> Refused {
    let text = "the device has another patient in that time; end that assignment first";
    Refused::new("ASSIGNMENT_OVERLAPS", "start_time", text)
}
