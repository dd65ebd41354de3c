//! Who may do what to whom. Pure: facts in, a [`Permit`] or a reason out.
//!
//! Code asks "may this principal do this action on this patient?" and never names a role: roles are data and
//! arrive here as the permissions they grant. A principal without a relation to a patient cannot learn that
//! the patient exists.

use crate::{
    id::{DeviceId, PatientId, UserId},
    time::Nanos,
};

/// What a request wants to do to a patient's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Read a range of a timeline.
    ReadTimeline,
    /// Read what each hour came to.
    ReadTrend,
    /// Read the latest values.
    ReadLatest,
}

/// What a role lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Read readings of patients to whom one has a relation.
    ReadReadings,
    /// Send readings as oneself, a device.
    WriteReadings,
    /// List, look at and replay records that could not be stored.
    ManageQuarantine,
}

impl Action {
    /// The permission that the action needs.
    pub fn needs(self) -> Permission {
        match self {
            Self::ReadTimeline | Self::ReadTrend | Self::ReadLatest => Permission::ReadReadings,
        }
    }
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 3] = [Self::ReadReadings, Self::WriteReadings, Self::ManageQuarantine];

    /// Its name in role tables and tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadReadings => "readings.read",
            Self::WriteReadings => "readings.write",
            Self::ManageQuarantine => "quarantine.manage",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// Who sent a request, after the token was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The person or device.
    pub subject: Subject,
    /// What its roles grant and its token does not take away.
    pub permissions: Vec<Permission>,
    /// When the token ends: what outlives it must ask again.
    pub expires_at: Nanos,
}

/// A person or a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A person.
    User(UserId),
    /// A device.
    Device(DeviceId),
}

/// Why a person may see a patient, from when to when (half-open).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// What ties them.
    pub kind: RelationKind,
    /// The first instant at which it holds.
    pub from: Nanos,
    /// The first instant at which it holds no more.
    pub to: Nanos,
}

/// What ties a person to a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// The patient is that person.
    Myself,
    /// The person treats the patient.
    CareTeam,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token has ended.
    #[error("the token has expired")]
    Expired,
    /// No role grants the permission.
    #[error("no role grants {}", .0.name())]
    Permission(Permission),
    /// No relation holds now: the patient does not exist for this principal.
    #[error("no such patient")]
    NoRelation,
    /// A device acts for another.
    #[error("a device may act only as itself")]
    NotItself,
}

/// Leave to do one action on one patient. Only [`decide`] makes one; the stores read the patient from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    patient: PatientId,
    action: Action,
    expires_at: Nanos,
}

impl Permit {
    /// Whose data may be touched.
    pub fn patient(&self) -> PatientId {
        self.patient
    }

    /// What may be done.
    pub fn action(&self) -> Action {
        self.action
    }

    /// When the leave ends.
    pub fn expires_at(&self) -> Nanos {
        self.expires_at
    }
}

/// Leave for one device to send its own readings. Only [`decide_write`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritePermit {
    device: DeviceId,
    expires_at: Nanos,
}

impl WritePermit {
    /// The device that sends.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// When the leave ends.
    pub fn expires_at(&self) -> Nanos {
        self.expires_at
    }
}

/// Decides one request about one patient, from the relations between that patient and the principal.
pub fn decide(
    principal: &Principal,
    action: Action,
    patient: PatientId,
    relations: &[Relation],
    now: Nanos,
) -> Result<Permit, Denied> {
    if now >= principal.expires_at {
        return Err(Denied::Expired);
    }
    let needed = action.needs();
    if !principal.permissions.contains(&needed) {
        return Err(Denied::Permission(needed));
    }
    let holding = relations.iter().filter(|r| r.from <= now && now < r.to);
    let Some(ends) = holding.map(|r| r.to).max() else {
        return Err(Denied::NoRelation);
    };
    Ok(Permit { patient, action, expires_at: principal.expires_at.min(ends) })
}

/// Decides whether a principal may send readings as `device`.
pub fn decide_write(principal: &Principal, device: DeviceId, now: Nanos) -> Result<WritePermit, Denied> {
    if now >= principal.expires_at {
        return Err(Denied::Expired);
    }
    if !principal.permissions.contains(&Permission::WriteReadings) {
        return Err(Denied::Permission(Permission::WriteReadings));
    }
    if principal.subject != Subject::Device(device) {
        return Err(Denied::NotItself);
    }
    Ok(WritePermit { device, expires_at: principal.expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const NOW: Nanos = Nanos(100);

    fn principal(permissions: &[Permission]) -> Principal {
        let subject = Subject::User(UserId::new(Uuid::from_u128(1)));
        Principal { subject, permissions: permissions.to_vec(), expires_at: Nanos(200) }
    }

    fn ask(principal: &Principal, from: i64, to: i64, now: Nanos) -> Result<Permit, Denied> {
        let relation = Relation { kind: RelationKind::CareTeam, from: Nanos(from), to: Nanos(to) };
        decide(principal, Action::ReadTimeline, PatientId::new(Uuid::from_u128(2)), &[relation], now)
    }

    #[test]
    fn a_permit_needs_permission_relation_and_a_live_token() {
        let doctor = principal(&[Permission::ReadReadings]);
        assert_eq!(ask(&doctor, 0, 150, NOW).unwrap().expires_at(), Nanos(150));
        assert_eq!(ask(&doctor, 0, 100, NOW), Err(Denied::NoRelation));
        assert_eq!(ask(&doctor, 101, 150, NOW), Err(Denied::NoRelation));
        assert_eq!(ask(&doctor, 0, 500, Nanos(200)), Err(Denied::Expired));
        assert_eq!(ask(&principal(&[]), 0, 150, NOW), Err(Denied::Permission(Permission::ReadReadings)));
        assert_eq!(decide(&doctor, Action::ReadLatest, PatientId::new(Uuid::nil()), &[], NOW), Err(Denied::NoRelation));
    }

    #[test]
    fn a_device_writes_only_as_itself() {
        let (mine, other) = (DeviceId::new(Uuid::from_u128(1)), DeviceId::new(Uuid::from_u128(2)));
        let mut device = principal(&[Permission::WriteReadings]);
        assert_eq!(decide_write(&device, mine, NOW), Err(Denied::NotItself), "a user with a device's id is no device");
        device.subject = Subject::Device(mine);
        assert_eq!(decide_write(&device, mine, NOW).unwrap().device(), mine);
        assert_eq!(decide_write(&device, other, NOW), Err(Denied::NotItself));
        assert_eq!(decide_write(&device, mine, Nanos(200)), Err(Denied::Expired));
    }
}
