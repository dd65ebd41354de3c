//! The registry's resources as they are kept: facts that decide, no personal data. Times are nanoseconds since 1970.

use super::Refresh;
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use model::{
    DeviceId, Nanos, Range, UserId,
    access::{Barred, Permission, Purpose, RelationKind, Scope},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A person or a program that may sign in, a patient, or both.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Id of the person: the subject of their tokens.
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
    /// Id of the role, lower-case with hyphens.
    pub id: String,
    /// What kind of people hold it.
    pub category: String,
    /// Names of the permissions that the role grants, as in `model::access::Permission`.
    pub permissions: Vec<String>,
    /// Names of permissions that its holders may let others have.
    pub may_grant: Vec<String>,
}

/// A role that a person holds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Id of the grant.
    pub id: Uuid,
    /// The person who holds the role.
    pub user: Uuid,
    /// Id of the role.
    pub role: String,
    /// The ward that the role is limited to; `None`: all wards.
    pub ward: Option<String>,
    /// The study that the role is limited to; `None`: no study.
    pub study: Option<String>,
}

/// A relation of a person to a patient, or to a ward.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relation {
    /// Id of the relation.
    pub id: Uuid,
    /// The person who has the relation.
    pub user: Uuid,
    /// "proxy", "care-team", "ward-staff" or "study".
    pub kind: String,
    /// To whom; none for ward staff.
    pub patient: Option<Uuid>,
    /// To which ward; ward staff alone.
    pub ward: Option<String>,
    /// The study, for relations of the kind "study" alone.
    pub study: Option<String>,
    /// First instant at which it holds, in nanoseconds since 1970.
    pub from: i64,
    /// First instant at which it no longer does, in nanoseconds since 1970; `i64::MAX`: no end.
    pub to: i64,
}

/// What a patient does not want.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Id of the consent.
    pub id: Uuid,
    /// The patient whose wish it is.
    pub patient: Uuid,
    /// To whom access is denied.
    pub bars: Barring,
    /// A purpose's code; none: for anything.
    pub purpose: Option<String>,
    /// First instant at which it holds, in nanoseconds since 1970.
    pub from: i64,
    /// First instant at which it no longer does, in nanoseconds since 1970; `i64::MAX`: no end.
    pub to: i64,
}

/// To whom a consent denies access.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Barring {
    /// Everybody but the patient.
    Anyone,
    /// The person with this id.
    User(Uuid),
    /// Whoever has no other relation than this kind.
    Kind(String),
}

/// A monitoring device, as it is registered.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Id of the device: the subject of its tokens.
    pub id: Uuid,
    /// Name of the device, as people call it; 1 to 128 characters.
    pub name: String,
    /// MAC address in lower case with colons, unique among devices; none when unknown.
    pub mac: Option<String>,
    /// The manufacturer's name of the model; may be empty.
    pub model: String,
    /// A code of MDC, or nothing.
    pub mdc_type: String,
    /// Firmware version, as the device reported it; may be empty.
    pub firmware: String,
    /// Software version, as the device reported it; may be empty.
    pub software: String,
    /// The person who registered it.
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
    /// Registered and not claimed yet.
    Registered,
    /// It was claimed and may send.
    Active,
    /// It may not, until it is claimed anew.
    Revoked,
    /// Retired for good: it can never be claimed again.
    Retired,
}

/// A claim code or a refresh token, as its SHA-256: whoever reads the registry cannot speak for a device.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Hashed(String);

/// A device's patient, for a time.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Id of the assignment.
    pub id: Uuid,
    /// The device that is assigned.
    pub device: Uuid,
    /// The patient whose readings the device sends.
    pub patient: Uuid,
    /// First instant at which it holds, in nanoseconds since 1970.
    pub from: i64,
    /// First instant at which it no longer does, in nanoseconds since 1970; `i64::MAX`: no end.
    pub to: i64,
    /// The person who made the assignment.
    pub by: Uuid,
}

/// Readings of a patient that must not count, because they were measured or sent by mistake.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retraction {
    /// Id of the retraction.
    pub id: Uuid,
    /// The patient whose readings they are.
    pub patient: Uuid,
    /// Those of this device; none: of all.
    pub device: Option<Uuid>,
    /// Those of metrics with these keys of the catalogue; none: of all.
    pub metrics: Option<Vec<String>>,
    /// First instant at which they were measured, in nanoseconds since 1970.
    pub from: i64,
    /// First instant at which they were no more, in nanoseconds since 1970.
    pub to: i64,
    /// In words, of the person who made it.
    pub reason: String,
    /// The person who made it.
    pub by: Uuid,
    /// When it was made, in nanoseconds since 1970: what was received later counts.
    pub at: i64,
    /// Who took it back, and when; none while it is in force.
    pub ended: Option<Ended>,
}

/// Who ended something.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// The person who did.
    pub by: Uuid,
    /// When, in nanoseconds since 1970.
    pub at: i64,
}

/// Access to one patient in an emergency.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// Id of the emergency access.
    pub id: Uuid,
    /// The person who opened it.
    pub user: Uuid,
    /// The patient whose data it opens.
    pub patient: Uuid,
    /// Code of the reason, such as "other".
    pub reason: String,
    /// In words, of the person who opened it.
    pub text: String,
    /// First instant at which it holds, in nanoseconds since 1970.
    pub from: i64,
    /// First instant at which it no longer does, in nanoseconds since 1970: an hour later at most.
    pub to: i64,
    /// What its review found; `None` until there was one.
    pub review: Option<Review>,
    /// When those who treat the patient were told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notified: Option<i64>,
}

/// The review of an emergency access.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// The person who reviewed the access.
    pub by: Uuid,
    /// When it was reviewed, in nanoseconds since 1970.
    pub at: i64,
    /// "justified", "unjustified" or "unclear".
    pub outcome: String,
    /// The reviewer's own words; may be empty.
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
    /// For which patients the grant counts.
    pub fn scope(&self) -> Scope {
        match (&self.ward, &self.study) {
            (Some(ward), _) => Scope::Ward(ward.as_str().into()),
            (None, Some(study)) => Scope::Study(study.as_str().into()),
            (None, None) => Scope::Everywhere,
        }
    }
}

impl Relation {
    /// Whether another one is the same relation of the same person, at any instant of its time.
    pub fn is_twin(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.user, one.patient, one.kind.clone(), one.ward.clone(), one.study.clone());
        of(self) == of(other) && self.from < other.to && other.from < self.to
    }
}

impl Consent {
    /// Whether another one bars the same, at any instant of its time.
    pub fn is_twin(&self, other: &Self) -> bool {
        let is_same = (self.patient, &self.bars, &self.purpose) == (other.patient, &other.bars, &other.purpose);
        is_same && self.from < other.to && other.from < self.to
    }

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

impl Retraction {
    /// As whoever reads the rows knows it; `None` when its range is none, or names of it are not in the catalogue.
    pub fn mark(&self) -> Option<model::Retraction> {
        let metrics = match &self.metrics {
            None => None,
            Some(keys) => {
                let mut metrics: Vec<_> =
                    keys.iter().map(|key| Some(model::by_code(key)?.id)).collect::<Option<_>>()?;
                metrics.sort_unstable();
                Some(metrics)
            }
        };
        let (device, received_until) = (self.device.map(DeviceId::new), Nanos(self.at));
        let range = Range::new(Nanos(self.from), Nanos(self.to)).filter(|_| self.from < self.to)?;
        Some(model::Retraction { device, metrics, range, received_until })
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
