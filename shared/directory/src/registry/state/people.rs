//! People: who there is, and what goes with one who goes.

use super::{Kept, State};
use crate::registry::{Change, Entry, Refused, Relation, User};
use model::{PatientId, UserId};
use uuid::Uuid;

impl State {
    pub(super) fn apply_user(&mut self, user: &User, entry: &Entry) -> Result<(), Refused> {
        let id = UserId::new(user.id);
        if let Some(patient) = user.patient.map(PatientId::new)
            && self.links.people.get(&patient).is_some_and(|holder| *holder != id)
        {
            return Err(Refused::new("PATIENT_TAKEN", "patient_id", "another person has this patient id"));
        }
        if let Some(before) = self.users.get(&user.id).and_then(|kept| kept.value.patient) {
            self.links.people.remove(&PatientId::new(before));
            self.links.set_ward(PatientId::new(before), None);
            if user.patient != Some(before) {
                // nobody could end them any more
                self.end_assignments(PatientId::new(before), entry);
            }
        }
        self.links.set_person(id, user.patient.map(PatientId::new), user.ward.as_deref(), user.suspended);
        let kept = self.kept(self.users.get(&user.id), user.clone(), entry);
        self.wards.extend(user.ward.clone());
        self.gone.remove(&user.id);
        self.patients.extend(user.patient.map(|patient| (patient, user.id)));
        let versions = self.versions.entry(user.id).or_default();
        if versions.last() != Some(&self.sequence) {
            versions.push_back(self.sequence);
        }
        self.users.insert(user.id, kept);
        Ok(())
    }

    pub(super) fn remove_user(&mut self, id: Uuid, entry: &Entry) -> Result<(), Refused> {
        let Some(user) = self.users.remove(&id) else {
            return Err(Refused::new("NO_SUCH_USER", "user_id", "nobody has this id"));
        };
        let held: Vec<_> =
            self.grants.values().filter(|kept| kept.value.user == id).map(|kept| kept.value.id).collect();
        for grant in held {
            self.remove_grant(grant)?;
        }
        let at = entry.at().0;
        let relations = self.relations.values().map(|kept| &kept.value);
        let relations: Vec<_> = relations.filter(|relation| relation.user == id && relation.to > at).cloned().collect();
        for relation in relations {
            let from = relation.from.min(at - 1);
            self.apply_relation(&Relation { from, to: at, ..relation }, entry)?;
        }
        // what the person was like is not what another with this id was
        self.versions.remove(&id);
        self.gone.insert(id);
        let user_id = UserId::new(id);
        self.links.set_person(user_id, None, None, false);
        if let Some(patient) = user.value.patient.map(PatientId::new) {
            self.links.people.remove(&patient);
            self.links.set_ward(patient, None);
            // nobody could end them any more
            self.end_assignments(patient, entry);
        }
        Ok(())
    }
}

impl Entry {
    /// A person as this entry left the person, if it did; `number`: of the entry.
    pub fn user(&self, id: &Uuid, number: u64) -> Option<Kept<User>> {
        let users = self.changes.iter().rev().filter_map(|change| match change {
            Change::User(user) => Some(user),
            _ => None,
        });
        let user = users.into_iter().find(|user| user.id == *id)?;
        Some(Kept { value: user.clone(), sequence: number, at: self.at(), by: self.by.clone(), made: number })
    }
}
