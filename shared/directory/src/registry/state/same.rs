//! Which changes change nothing: they are not worth a place in the order of all changes, nor a version of anything.

use super::{Change, Kept, State};
use imbl::OrdMap;

impl State {
    /// Whether a change would change nothing: what it brings is there already. What removes something is never so.
    pub(in crate::registry) fn is_so(&self, change: &Change) -> bool {
        fn has<K: Ord, T: PartialEq>(kept: &OrdMap<K, Kept<T>>, id: &K, value: &T) -> bool {
            kept.get(id).is_some_and(|kept| kept.value == *value)
        }
        match change {
            Change::User(user) => has(&self.users, &user.id, user),
            Change::Role(role) => has(&self.roles, &role.id, role),
            Change::Grant(grant) => has(&self.grants, &grant.id, grant),
            Change::Relation(relation) => has(&self.relations, &relation.id, relation),
            Change::Consent(consent) => has(&self.consents, &consent.id, consent),
            Change::Device(device) => has(&self.devices, &device.id, device),
            Change::Assignment(assignment) => has(&self.assignments, &assignment.id, assignment),
            Change::BreakGlass(emergency) => has(&self.break_glass, &emergency.id, emergency),
            Change::Retraction(retraction) => has(&self.retractions, &retraction.id, retraction),
            Change::UserRemoved(_) | Change::RoleRemoved(_) | Change::GrantRemoved(_) => false,
        }
    }
}
