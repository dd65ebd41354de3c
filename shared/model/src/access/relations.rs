//! Relations of people to patients, and what that opens.

use super::{Action, Purpose};

/// A relation of a person to a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RelationKind {
    /// The patient is that person.
    Myself,
    /// The person acts for the patient, who is family.
    Proxy,
    /// The person treats the patient.
    CareTeam,
    /// The person works in the patient's ward.
    WardStaff,
    /// The patient takes part in the person's study. Opens nothing from which the patient can be recognised.
    Study,
    /// The person broke the glass: an emergency, without another relation, for an hour at most.
    Emergency,
}

impl RelationKind {
    /// All kinds of relation.
    pub const ALL: [Self; 6] =
        [Self::Myself, Self::Proxy, Self::CareTeam, Self::WardStaff, Self::Study, Self::Emergency];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Myself => "self",
            Self::Proxy => "proxy",
            Self::CareTeam => "care-team",
            Self::WardStaff => "ward-staff",
            Self::Study => "study",
            Self::Emergency => "emergency",
        }
    }

    /// The kind with a name as in [`Self::name`]; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it serves for; the first is meant when a request does not say.
    pub fn purposes(self) -> &'static [Purpose] {
        match self {
            Self::Myself | Self::Proxy => &[Purpose::PatientRequest],
            Self::CareTeam | Self::WardStaff => &[Purpose::Treatment, Purpose::Emergency],
            Self::Study => &[Purpose::Research],
            Self::Emergency => &[Purpose::Emergency],
        }
    }

    /// Whether it can open an action about the patient.
    pub fn opens(self, action: Action) -> bool {
        match action {
            Action::ReadTimeline
            | Action::ReadTrend
            | Action::ReadLatest
            | Action::ReadProfile
            | Action::ReadMedical => self != Self::Study,
            Action::ReadAccesses | Action::ReadBilling | Action::WriteContact | Action::ManageConsents => {
                matches!(self, Self::Myself | Self::Proxy)
            }
            Action::ReadNotices => !matches!(self, Self::Study | Self::Emergency),
            Action::ReadDeidentified => self == Self::Study,
            Action::WriteMedical | Action::AssignDevice | Action::RetractReadings => {
                matches!(self, Self::CareTeam | Self::WardStaff)
            }
            _ => false,
        }
    }
}
