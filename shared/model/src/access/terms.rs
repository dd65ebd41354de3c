//! The words of the policy: what can be done, what a role can grant, what a request is for, what ties people together.

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Read a range of a patient's timeline.
    ReadTimeline,
    /// Read what each hour of a patient came to.
    ReadTrend,
    /// Read a patient's latest values.
    ReadLatest,
    /// Send readings as a device.
    SendReadings,
    /// List records that could not be stored.
    ListQuarantined,
    /// Look at one of them.
    GetQuarantined,
    /// Publish one of them again.
    ReplayQuarantined,
    /// Read who looked at a patient.
    ReadAccesses,
    /// Read and verify the audit log.
    ReadAudit,
}

/// Whom or what an action is about, and so which rules it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// One patient: permission, relation, purpose and consent.
    Patient,
    /// The device that acts: permission, and it may act only as itself.
    Device,
    /// The system: a permission that holds everywhere.
    System,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 9] = [
        Self::ReadTimeline,
        Self::ReadTrend,
        Self::ReadLatest,
        Self::SendReadings,
        Self::ListQuarantined,
        Self::GetQuarantined,
        Self::ReplayQuarantined,
        Self::ReadAccesses,
        Self::ReadAudit,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadTimeline => "timeline.read",
            Self::ReadTrend => "trend.read",
            Self::ReadLatest => "latest.read",
            Self::SendReadings => "readings.send",
            Self::ListQuarantined => "quarantine.list",
            Self::GetQuarantined => "quarantine.get",
            Self::ReplayQuarantined => "quarantine.replay",
            Self::ReadAccesses => "accesses.read",
            Self::ReadAudit => "audit.read",
        }
    }

    /// Whom it is about.
    pub fn about(self) -> About {
        match self {
            Self::ReadTimeline | Self::ReadTrend | Self::ReadLatest | Self::ReadAccesses => About::Patient,
            Self::SendReadings => About::Device,
            Self::ListQuarantined | Self::GetQuarantined | Self::ReplayQuarantined | Self::ReadAudit => About::System,
        }
    }

    /// The permission that it needs.
    pub fn needs(self) -> Permission {
        match self {
            Self::ReadTimeline | Self::ReadTrend | Self::ReadLatest => Permission::ReadReadings,
            Self::SendReadings => Permission::WriteReadings,
            Self::ListQuarantined | Self::GetQuarantined | Self::ReplayQuarantined => Permission::ManageQuarantine,
            Self::ReadAccesses => Permission::ReadAccesses,
            Self::ReadAudit => Permission::ReadAudit,
        }
    }
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
    /// Read who looked at oneself, or at the patient for whom one acts.
    ReadAccesses,
    /// Read and verify the audit log.
    ReadAudit,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 5] =
        [Self::ReadReadings, Self::WriteReadings, Self::ManageQuarantine, Self::ReadAccesses, Self::ReadAudit];

    /// Its name in role tables and tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadReadings => "readings.read",
            Self::WriteReadings => "readings.write",
            Self::ManageQuarantine => "quarantine.manage",
            Self::ReadAccesses => "accesses.read",
            Self::ReadAudit => "audit.read",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// A role that is there from the start. Roles are data: others are added beside these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeededRole {
    /// Its id.
    pub id: &'static str,
    /// What kind of people hold it.
    pub category: &'static str,
    /// What it grants.
    pub permissions: &'static [Permission],
}

/// The roles that are there from the start.
pub const ROLES: [SeededRole; 8] = [
    SeededRole {
        id: "patient",
        category: "patient",
        permissions: &[Permission::ReadReadings, Permission::ReadAccesses],
    },
    SeededRole { id: "nurse", category: "clinician", permissions: &[Permission::ReadReadings] },
    SeededRole { id: "doctor", category: "clinician", permissions: &[Permission::ReadReadings] },
    SeededRole { id: "administrator", category: "operator", permissions: &[Permission::ManageQuarantine] },
    SeededRole { id: "application-developer", category: "builder", permissions: &[] },
    SeededRole { id: "device-integrator", category: "builder", permissions: &[] },
    SeededRole { id: "ml-scientist", category: "researcher", permissions: &[] },
    SeededRole { id: "auditor", category: "operator", permissions: &[Permission::ReadAudit] },
];

/// What a request is for (HL7 v3 PurposeOfUse).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Treating the patient.
    Treatment,
    /// Treating the patient in an emergency.
    Emergency,
    /// The patient asked, or somebody for the patient.
    PatientRequest,
    /// Paying for care.
    Payment,
    /// Running the place: quality, support, audit.
    Operations,
    /// Research.
    Research,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 6] =
        [Self::Treatment, Self::Emergency, Self::PatientRequest, Self::Payment, Self::Operations, Self::Research];

    /// Its code in HL7 v3 PurposeOfUse.
    pub fn code(self) -> &'static str {
        match self {
            Self::Treatment => "TREAT",
            Self::Emergency => "ETREAT",
            Self::PatientRequest => "PATRQT",
            Self::Payment => "HPAYMT",
            Self::Operations => "HOPERAT",
            Self::Research => "HRESCH",
        }
    }

    /// From its code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.code() == code)
    }
}

/// What ties a person to a patient.
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
}

impl RelationKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Myself, Self::Proxy, Self::CareTeam, Self::WardStaff, Self::Study];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Myself => "self",
            Self::Proxy => "proxy",
            Self::CareTeam => "care-team",
            Self::WardStaff => "ward-staff",
            Self::Study => "study",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it serves for; the first is meant when a request does not say.
    pub fn purposes(self) -> &'static [Purpose] {
        match self {
            Self::Myself | Self::Proxy => &[Purpose::PatientRequest],
            Self::CareTeam | Self::WardStaff => &[Purpose::Treatment, Purpose::Emergency],
            Self::Study => &[Purpose::Research],
        }
    }

    /// Whether it can open an action about the patient.
    pub fn opens(self, action: Action) -> bool {
        match (action.about(), action) {
            (About::Patient, Action::ReadAccesses) => matches!(self, Self::Myself | Self::Proxy),
            (About::Patient, _) => self != Self::Study,
            (About::Device | About::System, _) => false,
        }
    }
}
