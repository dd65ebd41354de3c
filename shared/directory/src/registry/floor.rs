//! What no change takes away: the roles that are there from the start.
//!
//! They can be changed, but none of them becomes empty or goes, and [`ADMINISTRATOR`] keeps all that it has from the start:
//! whoever is made an administrator (by a file, when nobody else is left) can then do what that takes. Entries of older
//! versions that took more than this are followed as far as this.

use super::{Change, Refused, Role};
use model::access::{Permission, ROLES, SeededRole};

/// The role of those who administer everything else.
const ADMINISTRATOR: &str = "administrator";

/// Whether a role is there from the start.
pub fn is_built_in(role: &str) -> bool {
    seeded(role).is_some()
}

fn seeded(role: &str) -> Option<&'static SeededRole> {
    ROLES.iter().find(|seeded| seeded.id == role)
}

/// Refuses a change that takes away what stays.
pub(super) fn check(change: &Change) -> Result<(), Refused> {
    match change {
        Change::Role(role) => check_role(role),
        Change::RoleRemoved(id) if is_built_in(id) => {
            let text = "this role is there from the start, and stays; delete its grants, or take permissions out of it";
            Err(Refused::new("BUILT_IN_ROLE", "role_id", text))
        }
        _ => Ok(()),
    }
}

fn check_role(role: &Role) -> Result<(), Refused> {
    let Some(seeded) = seeded(&role.id) else { return Ok(()) };
    if role.id == ADMINISTRATOR {
        let lists = [
            ("permissions", missing(&role.permissions, seeded.permissions)),
            ("may_grant", missing(&role.may_grant, seeded.may_grant)),
        ];
        return match lists.into_iter().find(|(_, missing)| !missing.is_empty()) {
            Some((field, missing)) => {
                let missing = missing.join(", ");
                let text = format!("this role keeps what it has from the start; add {missing}, or make another role");
                Err(Refused::new("BUILT_IN_ROLE", field, text))
            }
            None => Ok(()),
        };
    }
    if role.permissions.is_empty() && !seeded.permissions.is_empty() {
        let text =
            "a role that is there from the start keeps at least one; to take it from people, delete their grants";
        return Err(Refused::new("BUILT_IN_ROLE", "permissions", text));
    }
    Ok(())
}

/// The role with what it keeps, whatever an older version left of it.
pub(super) fn at_least(role: &Role) -> Role {
    let mut role = role.clone();
    if let Some(seeded) = seeded(&role.id).filter(|seeded| seeded.id == ADMINISTRATOR) {
        let add = missing(&role.permissions, seeded.permissions).into_iter().map(str::to_owned).collect::<Vec<_>>();
        role.permissions.extend(add);
        let add = missing(&role.may_grant, seeded.may_grant).into_iter().map(str::to_owned).collect::<Vec<_>>();
        role.may_grant.extend(add);
    }
    role
}

/// What a file says that a role grants, with what it keeps.
pub(crate) fn at_least_granted(role: &str, mut permissions: Vec<Permission>) -> Vec<Permission> {
    if let Some(seeded) = seeded(role).filter(|seeded| seeded.id == ADMINISTRATOR) {
        let add: Vec<_> = seeded.permissions.iter().filter(|one| !permissions.contains(one)).copied().collect();
        permissions.extend(add);
    }
    permissions
}

/// Whether a role's removal, as older versions made it, changes nothing.
pub(super) fn stays(role: &str) -> bool {
    role == ADMINISTRATOR
}

fn missing(held: &[String], wanted: &[Permission]) -> Vec<&'static str> {
    let names = wanted.iter().map(|permission| permission.name());
    names.filter(|name| !held.iter().any(|held| held == name)).collect()
}
