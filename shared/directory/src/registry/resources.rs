//! The registry's resources as they are kept: facts that decide, no personal data. Times are nanoseconds since 1970.

use super::Refresh;
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use model::{
    Nanos, UserId,
    access::{Barred, Permission, Purpose, RelationKind, Scope},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A person.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The person.
    pub id: Uuid,
    /// Under which id the person's readings are; none for one who is no patient.
    pub patient: Option<Uuid>,
    /// In which ward the patient is.
    pub ward: Option<String>,
    /// No token of the person's opens anything.
    pub suspended: bool,
    /// Which revision of what else is known counts.
    pub revision: Uuid,
}

/// A set of permissions.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its id.
    pub id: String,
    /// What kind of people hold it.
    pub category: String,
    /// Names of permissions.
    pub permissions: Vec<String>,
    /// Names of permissions that its holders may let others have.
    pub may_grant: Vec<String>,
}

/// A role that a person holds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Its id.
    pub id: Uuid,
    /// Who.
    pub user: Uuid,
    /// Which role.
    pub role: String,
    /// In this ward only.
    pub ward: Option<String>,
    /// For this study's patients only.
    pub study: Option<String>,
}

/// What ties a person to a patient, or to a ward.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relation {
    /// Its id.
    pub id: Uuid,
    /// Who.
    pub user: Uuid,
    /// "proxy", "care-team", "ward-staff" or "study".
    pub kind: String,
    /// To whom; none for ward staff.
    pub patient: Option<Uuid>,
    /// To which ward; ward staff alone.
    pub ward: Option<String>,
    /// In which study; study alone.
    pub study: Option<String>,
    /// First instant.
    pub from: i64,
    /// First instant after.
    pub to: i64,
}

/// What a patient does not want.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub patient: Uuid,
    /// Who is barred.
    pub bars: Barring,
    /// A purpose's code; none: for anything.
    pub purpose: Option<String>,
    /// First instant.
    pub from: i64,
    /// First instant after.
    pub to: i64,
}

/// Who is barred.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Barring {
    /// Everybody else.
    Anyone,
    /// One person.
    User(Uuid),
    /// Whoever has no other relation than this kind.
    Kind(String),
}

/// A monitoring device.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The device.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// Lower-case, with colons.
    pub mac: Option<String>,
    /// Manufacturer's model.
    pub model: String,
    /// A code of MDC, or nothing.
    pub mdc_type: String,
    /// As reported.
    pub firmware: String,
    /// As reported.
    pub software: String,
    /// Who registered it.
    pub registered_by: Uuid,
    /// Whether it may send.
    pub status: DeviceStatus,
    /// What it can be claimed with.
    pub claim: Option<Hashed>,
    /// What it comes back with after its token has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
    /// Tokens and certificates from before open nothing.
    pub credentials_from: i64,
    /// When it was claimed for the first time.
    pub first_used_at: Option<i64>,
}

/// Whether a device may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceStatus {
    /// It was not claimed yet.
    Registered,
    /// It may.
    Active,
    /// It may not, until it is claimed anew.
    Revoked,
    /// It never will again.
    Retired,
}

/// A claim code or a refresh token, as its SHA-256: whoever reads the registry cannot speak for a device.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Hashed(String);

/// A device's patient, for a time.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Its id.
    pub id: Uuid,
    /// Which device.
    pub device: Uuid,
    /// Whose readings.
    pub patient: Uuid,
    /// First instant.
    pub from: i64,
    /// First instant after.
    pub to: i64,
    /// Who assigned it.
    pub by: Uuid,
}

/// Access to one patient in an emergency.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// Its id.
    pub id: Uuid,
    /// Who.
    pub user: Uuid,
    /// To whom.
    pub patient: Uuid,
    /// A code.
    pub reason: String,
    /// In words, of the person who opened it.
    pub text: String,
    /// First instant.
    pub from: i64,
    /// First instant after.
    pub to: i64,
    /// What was found when somebody looked at it.
    pub review: Option<Review>,
    /// When those who treat the patient were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notified: Option<i64>,
}

/// What a review found.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Who looked.
    pub by: Uuid,
    /// When.
    pub at: i64,
    /// A code.
    pub outcome: String,
    /// In words.
    pub text: String,
}

impl Role {
    /// What it grants; a name that nobody knows is `Err`.
    pub fn permissions(&self) -> Result<Vec<Permission>, &str> {
        known(&self.permissions)
    }

    /// What its holders may let others have.
    pub fn may_grant(&self) -> Result<Vec<Permission>, &str> {
        known(&self.may_grant)
    }
}

fn known(names: &[String]) -> Result<Vec<Permission>, &str> {
    names.iter().map(|name| Permission::from_name(name).ok_or(name.as_str())).collect()
}

impl Grant {
    /// Where it holds.
    pub fn scope(&self) -> Scope {
        match (&self.ward, &self.study) {
            (Some(ward), _) => Scope::Ward(ward.as_str().into()),
            (None, Some(study)) => Scope::Study(study.as_str().into()),
            (None, None) => Scope::Everywhere,
        }
    }
}

impl Consent {
    /// As the policy knows it; `None` when a word of it is not known.
    pub fn policy(&self) -> Option<model::access::Consent> {
        let barred = match &self.bars {
            Barring::Anyone => Barred::Anyone,
            Barring::User(user) => Barred::User(UserId::new(*user)),
            Barring::Kind(kind) => Barred::Kind(RelationKind::from_name(kind)?),
        };
        let purpose = match &self.purpose {
            None => None,
            Some(code) => Some(Purpose::from_code(code)?),
        };
        Some(model::access::Consent { barred, purpose, from: Nanos(self.from), to: Nanos(self.to) })
    }
}

impl Hashed {
    /// Of a secret that only its holder knows.
    pub fn of(secret: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, secret.as_bytes());
        Self(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whether this is the secret; takes as long for any.
    pub fn is(&self, secret: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), Self::of(secret).0.as_bytes()).is_ok()
    }
}
