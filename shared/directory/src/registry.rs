//! What the registry knows: changes in one order, and what they amount to.
//!
//! Whoever follows the changes (`State::apply`) comes to the same state, and so to the same answers. A change is judged
//! against the state before it; one that contradicts it is refused and changes nothing. Names, addresses and all that tells
//! who somebody is are not in here: a person is an id, and the id of a revision that only the registry reads.

mod draft;
mod floor;
mod new_relations;
mod refresh;
mod resources;
mod spent;
mod state;

pub use draft::Draft;
pub(crate) use floor::at_least_granted;
pub use floor::is_built_in;
pub(crate) use new_relations::{against_consent, bars_another, check_files};
pub use refresh::{Refresh, Unusable};
pub use resources::{
    Assignment, Barring, BreakGlass, Consent, Device, DeviceStatus, Ended, Grant, Hashed, Relation, Retraction, Review,
    Role, User,
};
pub use state::{Kept, State};

use model::{Nanos, access::Subject};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The most changes in one entry.
pub const CHANGES_MAX: usize = 500;

/// Changes that somebody made at once.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, in nanoseconds since 1970.
    at: i64,
    /// "user:UUID", "device:UUID" or "system".
    by: String,
    /// Makes the entry unlike any other.
    request: Uuid,
    /// The changes, in the order in which they are applied.
    pub changes: Vec<Change>,
}

/// Something that is otherwise from now on.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A person, new or changed.
    User(User),
    /// A person who is gone, with what that person held.
    UserRemoved(Uuid),
    /// A role, new or changed.
    Role(Role),
    /// A role that nobody holds.
    RoleRemoved(String),
    /// A role that a person holds.
    Grant(Grant),
    /// A role that a person holds no more.
    GrantRemoved(Uuid),
    /// A relation, new or with another end.
    Relation(Relation),
    /// A consent, new or with another end.
    Consent(Consent),
    /// A device, new or changed.
    Device(Device),
    /// An assignment, new or with another end.
    Assignment(Assignment),
    /// An emergency, new or reviewed.
    BreakGlass(BreakGlass),
    /// A retraction of readings, new or ended.
    Retraction(Retraction),
}

impl Change {
    /// The field at fault when, by this change, nobody is left who manages roles; `None` when it takes nothing from anybody.
    pub fn takes_from(&self) -> Option<&'static str> {
        match self {
            Self::GrantRemoved(_) => Some("grant_id"),
            Self::UserRemoved(_) => Some("user_id"),
            Self::User(user) if user.suspended => Some("suspended"),
            Self::Role(_) => Some("permissions"),
            Self::RoleRemoved(_) => Some("role_id"),
            _ => None,
        }
    }
}

/// Why a change cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text}")]
pub struct Refused {
    /// A stable code, such as `MAC_TAKEN`.
    pub reason: &'static str,
    /// Path of the field at fault, as in the resource's message.
    pub field: &'static str,
    /// What is wrong, and what to do; without personal data.
    pub text: String,
}

impl Refused {
    /// A reason, the field at fault, and what to do.
    pub fn new(reason: &'static str, field: &'static str, text: impl Into<String>) -> Self {
        Self { reason, field, text: text.into() }
    }
}

impl Entry {
    /// An entry of its own kind.
    pub fn new(at: Nanos, by: Option<Subject>, changes: Vec<Change>) -> Self {
        let by = by.map_or_else(|| "system".to_owned(), named);
        Self { at: at.0, by, request: Uuid::new_v4(), changes }
    }

    /// When the change was made, by the clock of who made it.
    pub fn at(&self) -> Nanos {
        Nanos(self.at)
    }

    /// The entry's bytes: JSON, so that an operator can read it.
    pub fn encode(&self) -> Vec<u8> {
        // strings, numbers and ids: nothing that JSON cannot hold
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an entry back. A kind of change or a field that this version does not know is an error: to leave it out
    /// could mean to leave access open.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

/// "user:UUID" or "device:UUID".
fn named(subject: Subject) -> String {
    match subject {
        Subject::User(user) => format!("user:{}", user.uuid()),
        Subject::Device(device) => format!("device:{}", device.uuid()),
    }
}

#[cfg(test)]
mod tests;
