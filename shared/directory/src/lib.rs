//! The directory: roles, people, wards, care teams, devices and whom each device is assigned to, from when to when.
//!
//! It has two sources, both in force: the files of a folder (`files.rs`), and the registry's changes ([`registry::State`]).
//! Every service holds all of it in memory ([`LiveDirectory`]) and asks nobody; both sources are followed while the process
//! runs ([`follow`]), so that a change holds within seconds.

mod files;
mod follow;
mod links;
mod live;
pub mod registry;

pub use follow::{Behind, follow};
pub use live::LiveDirectory;

use links::{Links, Span};
use model::{
    DeviceId, Nanos, PatientId, Retraction, UserId,
    access::{Facts, Grant, Identity, Permission, Principal, Purpose, Relation, RelationKind, Scope, Subject},
};
use std::{
    collections::{BTreeSet, HashSet},
    ops::{
        Bound::{Excluded, Included, Unbounded},
        RangeBounds,
    },
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;

/// Why the directory cannot be read or followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{path}")]
    File {
        /// Path of the file, or of the folder of files, that cannot be read.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is wrong.
    #[error("{file}: {what}")]
    Contents {
        /// Path of the file that is wrong.
        file: String,
        /// What is wrong and what is allowed.
        what: String,
    },
    /// A change of the registry cannot be followed.
    #[error("change {sequence} of the registry: {what}")]
    Registry {
        /// Number of the change in the registry, from 1.
        sequence: u64,
        /// Why it cannot be read or applied, or that one is missing before it.
        what: String,
    },
}

/// A device's assignment to a patient, for a time (half-open).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The patient whose readings the device sends.
    pub patient: PatientId,
    /// First instant at which the readings are the patient's, inclusive.
    pub from: Nanos,
    /// First instant at which they no longer are; `Nanos::MAX`: no end.
    pub to: Nanos,
}

impl Assignment {
    pub(crate) fn span(&self) -> Span {
        Span { from: self.from, to: self.to }
    }
}

/// Why a device may not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDevice {
    /// No device is registered under this id.
    Unknown,
    /// It may not send, or its token is from before its key was changed.
    Revoked,
}

/// What is known of people and devices, at one moment.
#[derive(Default)]
pub struct Directory {
    files: Arc<Links>,
    registry: Arc<registry::State>,
}

impl Directory {
    /// Reads all `*.toml` files of a folder, in the order of their names. No folder: an empty directory.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        Ok(Self { files: Arc::new(files::read(dir)?), ..Self::default() })
    }

    /// Adds the tables of one file.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Error> {
        files::add(Arc::make_mut(&mut self.files), file, text)
    }

    /// The same files with another registry.
    pub fn with_registry(&self, registry: registry::State) -> Self {
        Self { files: Arc::clone(&self.files), registry: Arc::new(registry) }
    }

    /// The state of the registry that the directory was made with.
    pub fn registry(&self) -> &Arc<registry::State> {
        &self.registry
    }

    /// Refuses a new change of the registry that the files make already, or by which nobody would be barred. The registry judges
    /// by its own alone, and cannot end what is in a file.
    ///
    /// # Errors
    /// What the files have against it.
    pub fn check_files(&self, change: &registry::Change, now: Nanos) -> Result<(), registry::Refused> {
        registry::check_files(&self.files, &self.registry, change, now)
    }

    fn sources(&self) -> [&Links; 2] {
        [&self.files, self.registry.links()]
    }

    /// The principal for a token: what all its roles grant, as far as the token's scope leaves it. A device may write, a
    /// person what the roles say.
    pub fn principal(&self, identity: &Identity, purpose: Option<Purpose>) -> Principal {
        let mut grants = match identity.subject {
            Subject::Device(_) => vec![Grant { permission: Permission::WriteReadings, scope: Scope::Everywhere }],
            Subject::User(user) => self.grants(user),
        };
        if let Some(scope) = &identity.scope {
            grants.retain(|grant| scope.contains(&grant.permission));
        }
        let Identity { subject, issued_at, expires_at, .. } = *identity;
        Principal { subject, grants, purpose, issued_at, expires_at }
    }

    /// What a role grants; what a file says of it counts before what the registry says.
    fn permissions(&self, role: &str) -> Option<&Vec<Permission>> {
        self.sources().into_iter().find_map(|links| links.roles.get(role))
    }

    /// Whether anybody manages roles: somebody who holds, everywhere, a role that grants it, and is not suspended. A
    /// person whom a file of this node names counts like any other, for as long as it does.
    pub fn is_administered(&self) -> bool {
        let manages = |(role, scope): &(String, Scope)| {
            *scope == Scope::Everywhere
                && self.permissions(role).is_some_and(|granted| granted.contains(&Permission::ManageRoles))
        };
        let mut people = self.sources().into_iter().flat_map(|links| links.users.keys());
        people.any(|user| self.roles_of(*user).any(manages))
    }

    /// What a person's roles grant.
    fn grants(&self, user: UserId) -> Vec<Grant> {
        let grants = self.roles_of(user).filter_map(|(role, scope)| Some((self.permissions(role)?, scope)));
        let grant = |permission: &Permission, scope: &Scope| Grant { permission: *permission, scope: scope.clone() };
        grants.flat_map(|(permissions, scope)| permissions.iter().map(move |one| grant(one, scope))).collect()
    }

    /// Which roles a person holds, and where; none while the person is suspended.
    pub fn roles_of(&self, user: UserId) -> impl Iterator<Item = &(String, Scope)> {
        let suspended = self.sources().iter().any(|links| links.suspended.contains(&user));
        let sources = self.sources().into_iter().filter(move |_| !suspended);
        sources.flat_map(move |links| links.users.get(&user).into_iter().flatten())
    }

    /// What a person may let others do, and where: what the person may do, and what the roles add to that.
    pub fn may_grant(&self, user: UserId) -> Vec<Grant> {
        let mut grants = self.grants(user);
        for (role, scope) in self.roles_of(user) {
            let role = self.registry.role(role).and_then(|role| role.value.may_grant().ok());
            let grant = |permission| Grant { permission, scope: scope.clone() };
            grants.extend(role.into_iter().flatten().map(grant));
        }
        grants
    }

    /// Whether anybody holds a role, by a file or by the registry.
    pub fn is_held(&self, role: &str) -> bool {
        self.sources().iter().any(|links| links.users.values().flatten().any(|(held, _)| held == role))
    }

    /// Whether anybody has this id.
    pub fn knows(&self, user: UserId) -> bool {
        self.files.users.contains_key(&user) || self.registry.user(&user.uuid()).is_some()
    }

    /// Whether there is a patient with this id.
    pub fn is_patient(&self, patient: PatientId) -> bool {
        self.sources().iter().any(|links| links.people.contains_key(&patient) || links.wards.contains_key(&patient))
    }

    /// Whether somebody was a patient under this id and was deleted, or is one no more: neither a person nor a file has it now.
    pub fn is_patient_no_more(&self, patient: PatientId) -> bool {
        self.registry.was_patient(&patient.uuid()).is_some() && !self.is_patient(patient)
    }

    /// Whether a file of the directory says that a patient is another person.
    pub fn is_anothers(&self, patient: PatientId, user: UserId) -> bool {
        self.files.people.get(&patient).is_some_and(|holder| *holder != user)
    }

    /// Whether the files of the directory name a person, a patient or a device by this id.
    pub fn is_in_files(&self, id: Uuid) -> bool {
        self.is_user_of_files(id) || self.is_patient_of_files(id) || self.is_device_of_files(id)
    }

    /// Whether the files of the directory name a person by this id.
    pub fn is_user_of_files(&self, id: Uuid) -> bool {
        self.files.users.contains_key(&UserId::new(id))
    }

    /// Whether the files of the directory name a patient by this id.
    pub fn is_patient_of_files(&self, id: Uuid) -> bool {
        let (links, patient) = (&self.files, PatientId::new(id));
        links.people.contains_key(&patient) || links.wards.contains_key(&patient)
    }

    /// Whether the files of the directory name a device by this id.
    pub fn is_device_of_files(&self, id: Uuid) -> bool {
        self.files.devices.contains_key(&DeviceId::new(id))
    }

    /// Whether a file of the directory has a patient of whom nobody has said who it is in another ward than this.
    pub fn is_in_another_ward(&self, patient: PatientId, ward: &str) -> bool {
        let in_file = self.files.wards.get(&patient).is_some_and(|there| **there != *ward);
        in_file && !self.sources().iter().any(|links| links.people.contains_key(&patient))
    }

    /// Whether there is a ward: a patient lies or lay there, or somebody works or worked there.
    pub fn has_ward(&self, ward: &str) -> bool {
        let is_it = |place: &str| place == ward;
        let in_files = |links: &Links| {
            links.in_ward.iter().any(|(place, _)| is_it(place))
                || links.ward_staff.keys().any(|(_, place)| is_it(place))
        };
        self.registry.has_ward(ward) || in_files(&self.files)
    }

    /// Whether there is a study: somebody takes part in it or did, or has a role for it or had.
    pub fn has_study(&self, study: &str) -> bool {
        self.registry.has_study(study) || self.files.studies.keys().any(|(_, one)| **one == *study)
    }

    /// What matters of a patient to a principal, at any time.
    pub fn facts(&self, principal: &Principal, patient: PatientId) -> Facts {
        let sources = self.sources();
        let ward = sources.iter().rev().find_map(|links| links.wards.get(&patient)).cloned();
        let mut facts = Facts { ward, ..Facts::default() };
        for links in sources {
            facts.enrolments.extend(links.enrolments.get(&patient).into_iter().flatten().cloned());
            facts.consents.extend(links.consents.get(&patient).into_iter().flatten());
            let Subject::User(user) = principal.subject else { continue };
            if links.myself.get(&user) == Some(&patient) {
                facts.relations.push(Relation { kind: RelationKind::Myself, from: Nanos::MIN, to: Nanos::MAX });
            }
            facts.relations.extend(links.relations.get(&(user, patient)).into_iter().flatten());
            if let Some(ward) = &facts.ward {
                facts.relations.extend(links.ward_staff.get(&(user, Arc::clone(ward))).into_iter().flatten());
            }
        }
        facts
    }

    /// Who takes part in a study of a person's at an instant, in no order, each once.
    pub fn studied(&self, user: UserId, study: &str, now: Nanos) -> Vec<PatientId> {
        let key = (user, Arc::from(study));
        let parts = self.sources().into_iter().flat_map(|links| links.studies.get(&key).into_iter().flatten());
        let holding = parts.filter(|(_, span)| span.from <= now && now < span.to);
        holding.map(|(patient, _)| *patient).collect::<HashSet<_>>().into_iter().collect()
    }

    /// The studies in which somebody takes part whom a person reads or read, ascending.
    pub fn studies_of(&self, user: UserId) -> Vec<String> {
        let studies = self.sources().into_iter().flat_map(|links| links.studies.keys());
        let own: BTreeSet<_> =
            studies.filter(|(whose, _)| *whose == user).map(|(_, study)| study.to_string()).collect();
        own.into_iter().collect()
    }

    /// The patients after one to whom a person has or had any relation, ascending: whether one opens anything now is decided one
    /// by one ([`Self::facts`]).
    pub fn related(&self, subject: Subject, after: Option<PatientId>) -> BTreeSet<PatientId> {
        let Subject::User(user) = subject else { return BTreeSet::new() };
        let after = after.map_or(Included(PatientId::from_bytes([0; 16])), Excluded);
        let mut related = BTreeSet::new();
        for links in self.sources() {
            let held_by = links.relations.range((after.map(|patient| (user, patient)), Unbounded)).map(|(key, _)| key);
            related.extend(held_by.take_while(|(whose, _)| *whose == user).map(|(_, patient)| *patient));
            let myself = links.myself.get(&user);
            related.extend(myself.filter(|patient| (after, Unbounded).contains(*patient)));
            let wards = links.ward_staff.range((user, Arc::from(""))..).map(|(key, _)| key);
            let wards = wards.take_while(|(whose, _)| *whose == user);
            // one source may know of the ward, the other of the patient in it
            for (ward, links) in wards.flat_map(|(_, ward)| self.sources().map(|links| (ward, links))) {
                let there = links.in_ward.range((after.map(|patient| (Arc::clone(ward), patient)), Unbounded));
                related.extend(there.take_while(|(place, _)| place == ward).map(|(_, patient)| *patient));
            }
        }
        related
    }

    /// Who treats a patient at an instant: care team and ward staff, ascending.
    pub fn team(&self, patient: PatientId, now: Nanos) -> Vec<UserId> {
        let holds = |relations: &[Relation], kind| {
            relations.iter().any(|relation| relation.kind == kind && relation.from <= now && now < relation.to)
        };
        let sources = self.sources();
        let ward = sources.iter().rev().find_map(|links| links.wards.get(&patient));
        let mut team = BTreeSet::new();
        for links in sources {
            let held_by = links.relations.iter().filter(|((_, whom), _)| *whom == patient);
            team.extend(held_by.filter(|(_, held)| holds(held, RelationKind::CareTeam)).map(|((user, _), _)| *user));
            let staff = links.ward_staff.iter().filter(|((_, place), _)| Some(place) == ward);
            team.extend(staff.filter(|(_, held)| holds(held, RelationKind::WardStaff)).map(|((user, _), _)| *user));
        }
        team.into_iter().collect()
    }

    /// What was taken back of a patient's readings, and is in force.
    pub fn retractions(&self, patient: PatientId) -> &[Retraction] {
        // files say nothing of readings
        self.registry.links().retractions.get(&patient).map_or(&[], Vec::as_slice)
    }

    /// Whether a device is or was a patient's, by a file or by the registry.
    pub fn was_assigned(&self, device: DeviceId, patient: PatientId) -> bool {
        self.assigned(device, patient).next().is_some()
    }

    /// Whether a device was a patient's from an instant until another, which is the same for what does not last, by files or by the
    /// registry; without a gap between assignments.
    pub fn was_assigned_during(&self, device: DeviceId, patient: PatientId, (at, end): (Nanos, Nanos)) -> bool {
        let mut until = at;
        while let Some(one) = self.assigned(device, patient).find(|one| one.from <= until && until < one.to) {
            until = one.to;
            if until >= end {
                return true;
            }
        }
        false
    }

    /// When a device was or is a patient's, by both sources.
    fn assigned(&self, device: DeviceId, patient: PatientId) -> impl Iterator<Item = &Assignment> {
        let held = self.sources().into_iter().flat_map(move |links| links.assignments.get(&device)).flatten();
        held.filter(move |one| one.patient == patient)
    }

    /// A device's assignments, ascending by time and without overlap, for a token or a certificate issued then.
    pub fn assignments(&self, device: DeviceId, issued_at: Nanos) -> Result<&[Assignment], NoDevice> {
        // what the registry says of a device counts before what the files say
        let links = self.sources().into_iter().rev().find(|links| links.devices.contains_key(&device));
        let links = links.ok_or(NoDevice::Unknown)?;
        match links.devices[&device] {
            Some(from) if from <= issued_at => Ok(links.assignments.get(&device).map_or(&[], Vec::as_slice)),
            _ => Err(NoDevice::Revoked),
        }
    }
}

#[cfg(test)]
mod tests;
