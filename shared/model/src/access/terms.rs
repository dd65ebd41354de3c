//! The words of the policy: what can be done, what a role can grant, what a request is for.

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Read a range of a patient's timeline.
    ReadTimeline,
    /// Read what each hour of a patient came to.
    ReadTrend,
    /// Read a patient's latest values.
    ReadLatest,
    /// Send readings as a device, and say what one is.
    SendReadings,
    /// List records that could not be stored.
    ListQuarantined,
    /// Read one of them.
    GetQuarantined,
    /// Publish one of them again.
    ReplayQuarantined,
    /// Read who accessed a patient's data.
    ReadAccesses,
    /// Read and verify the audit log.
    ReadAudit,
    /// Read who a patient is, and where reached.
    ReadProfile,
    /// Read a patient's medical history.
    ReadMedical,
    /// Read who pays for a patient.
    ReadBilling,
    /// Change where a patient is reached.
    WriteContact,
    /// Change a patient's medical history.
    WriteMedical,
    /// Say what a patient does not want, and read it.
    ManageConsents,
    /// Assign a device to a patient, and end that.
    AssignDevice,
    /// Say that a patient's readings must not count, and take that back.
    RetractReadings,
    /// Add, change and remove people.
    ManageUsers,
    /// Add and change roles, and say who holds them.
    ManageRoles,
    /// Manage relations of people to patients.
    ManageRelations,
    /// Register devices, and manage those.
    RegisterDevices,
    /// Manage the devices of everybody.
    ManageDevices,
    /// See one patient for at most an hour, in an emergency.
    OpenBreakGlass,
    /// Review an emergency access (break-glass) after it was opened.
    ReviewBreakGlass,
    /// Ask why somebody can or cannot see a patient.
    ExplainAccess,
    /// Read a patient's readings without learning who that is.
    ReadDeidentified,
    /// Read who broke the glass to see a patient.
    ReadNotices,
    /// Submit a job, and cancel, retry and clear one's own.
    SubmitJobs,
    /// Read one's own jobs.
    ReadJobs,
    /// Read, cancel, retry and clear the jobs of everybody.
    ManageJobs,
    /// Read data sets, reports and models of reference data: nothing of a patient's.
    ReadAnalytics,
    /// Import data sets, change which version counts, and delete them.
    ManageData,
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
    /// Every action, each once.
    pub const ALL: [Self; 32] = [
        Self::ReadTimeline,
        Self::ReadTrend,
        Self::ReadLatest,
        Self::SendReadings,
        Self::ListQuarantined,
        Self::GetQuarantined,
        Self::ReplayQuarantined,
        Self::ReadAccesses,
        Self::ReadAudit,
        Self::ReadProfile,
        Self::ReadMedical,
        Self::ReadBilling,
        Self::WriteContact,
        Self::WriteMedical,
        Self::ManageConsents,
        Self::AssignDevice,
        Self::RetractReadings,
        Self::ManageUsers,
        Self::ManageRoles,
        Self::ManageRelations,
        Self::RegisterDevices,
        Self::ManageDevices,
        Self::OpenBreakGlass,
        Self::ReviewBreakGlass,
        Self::ExplainAccess,
        Self::ReadDeidentified,
        Self::ReadNotices,
        Self::SubmitJobs,
        Self::ReadJobs,
        Self::ManageJobs,
        Self::ReadAnalytics,
        Self::ManageData,
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
            Self::ReadProfile => "profile.read",
            Self::ReadMedical => "medical.read",
            Self::ReadBilling => "billing.read",
            Self::WriteContact => "contact.write",
            Self::WriteMedical => "medical.write",
            Self::ManageConsents => "consents.manage",
            Self::AssignDevice => "device.assign",
            Self::RetractReadings => "readings.retract",
            Self::ManageUsers => "users.manage",
            Self::ManageRoles => "roles.manage",
            Self::ManageRelations => "relations.manage",
            Self::RegisterDevices => "devices.register",
            Self::ManageDevices => "devices.manage",
            Self::OpenBreakGlass => "emergency.open",
            Self::ReviewBreakGlass => "emergency.review",
            Self::ExplainAccess => "access.explain",
            Self::ReadDeidentified => "deidentified.read",
            Self::ReadNotices => "notices.read",
            Self::SubmitJobs => "jobs.submit",
            Self::ReadJobs => "jobs.read",
            Self::ManageJobs => "jobs.manage",
            Self::ReadAnalytics => "analytics.read",
            Self::ManageData => "data.manage",
        }
    }

    /// The action with a name as in [`Self::name`]; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// Whether it concerns one patient, the device that acts, or the system.
    pub fn about(self) -> About {
        match self {
            Self::ReadTimeline
            | Self::ReadTrend
            | Self::ReadLatest
            | Self::ReadAccesses
            | Self::ReadProfile
            | Self::ReadMedical
            | Self::ReadBilling
            | Self::WriteContact
            | Self::WriteMedical
            | Self::ManageConsents
            | Self::AssignDevice
            | Self::RetractReadings
            | Self::ReadDeidentified
            | Self::ReadNotices => About::Patient,
            Self::SendReadings => About::Device,
            Self::ListQuarantined
            | Self::GetQuarantined
            | Self::ReplayQuarantined
            | Self::ReadAudit
            | Self::ManageUsers
            | Self::ManageRoles
            | Self::ManageRelations
            | Self::RegisterDevices
            | Self::ManageDevices
            | Self::OpenBreakGlass
            | Self::ReviewBreakGlass
            | Self::ExplainAccess
            | Self::SubmitJobs
            | Self::ReadJobs
            | Self::ManageJobs
            | Self::ReadAnalytics
            | Self::ManageData => About::System,
        }
    }

    /// The permission that it needs.
    pub fn needs(self) -> Permission {
        match self {
            Self::ReadTimeline | Self::ReadTrend | Self::ReadLatest | Self::ReadNotices => Permission::ReadReadings,
            Self::SendReadings => Permission::WriteReadings,
            Self::ListQuarantined | Self::GetQuarantined | Self::ReplayQuarantined => Permission::ManageQuarantine,
            Self::ReadAccesses => Permission::ReadAccesses,
            Self::ReadAudit => Permission::ReadAudit,
            Self::ReadProfile => Permission::ReadProfile,
            Self::ReadMedical => Permission::ReadMedical,
            Self::ReadBilling => Permission::ReadBilling,
            Self::WriteContact => Permission::WriteContact,
            Self::WriteMedical => Permission::WriteMedical,
            Self::ManageConsents => Permission::ManageConsents,
            Self::AssignDevice => Permission::AssignDevices,
            Self::RetractReadings => Permission::RetractReadings,
            Self::ManageUsers => Permission::ManageUsers,
            Self::ManageRoles => Permission::ManageRoles,
            Self::ManageRelations => Permission::ManageRelations,
            Self::RegisterDevices => Permission::RegisterDevices,
            Self::ManageDevices => Permission::ManageDevices,
            Self::OpenBreakGlass => Permission::OpenBreakGlass,
            Self::ReviewBreakGlass => Permission::ReviewBreakGlass,
            Self::ExplainAccess => Permission::ExplainAccess,
            Self::ReadDeidentified => Permission::ReadDeidentified,
            Self::SubmitJobs | Self::ReadJobs => Permission::RunJobs,
            Self::ManageJobs => Permission::ManageJobs,
            Self::ReadAnalytics => Permission::ReadAnalytics,
            Self::ManageData => Permission::ManageData,
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
    /// List, read and replay records that could not be stored.
    ManageQuarantine,
    /// Read who accessed one's own data, or that of the patient for whom one acts.
    ReadAccesses,
    /// Read and verify the audit log.
    ReadAudit,
    /// Read name, date of birth and contact of patients to whom one has a relation.
    ReadProfile,
    /// Read their medical history.
    ReadMedical,
    /// Read who pays for oneself, or for the patient for whom one acts.
    ReadBilling,
    /// Change one's own contact, or that of the patient for whom one acts.
    WriteContact,
    /// Change the medical history of patients whom one treats.
    WriteMedical,
    /// Say what oneself, or the patient for whom one acts, does not want.
    ManageConsents,
    /// Assign devices to patients whom one treats.
    AssignDevices,
    /// Say that readings of patients whom one treats must not count.
    RetractReadings,
    /// Add, change and remove people; see all of them but medical history.
    ManageUsers,
    /// Add and change roles, and say who holds them.
    ManageRoles,
    /// Manage relations of people to patients.
    ManageRelations,
    /// Register devices, and manage those.
    RegisterDevices,
    /// Manage the devices of everybody.
    ManageDevices,
    /// See one patient for at most an hour, in an emergency.
    OpenBreakGlass,
    /// Review emergency accesses (break-glass).
    ReviewBreakGlass,
    /// Ask why somebody can or cannot see a patient.
    ExplainAccess,
    /// Read readings of those who take part in one's study, without learning who they are.
    ReadDeidentified,
    /// Submit jobs of analytics, and manage one's own.
    RunJobs,
    /// Manage the jobs of everybody.
    ManageJobs,
    /// Read data sets, reports and models of reference data.
    ReadAnalytics,
    /// Import and delete data sets.
    ManageData,
}

impl Permission {
    /// Every permission, each once.
    pub const ALL: [Self; 26] = [
        Self::ReadReadings,
        Self::WriteReadings,
        Self::ManageQuarantine,
        Self::ReadAccesses,
        Self::ReadAudit,
        Self::ReadProfile,
        Self::ReadMedical,
        Self::ReadBilling,
        Self::WriteContact,
        Self::WriteMedical,
        Self::ManageConsents,
        Self::AssignDevices,
        Self::RetractReadings,
        Self::ManageUsers,
        Self::ManageRoles,
        Self::ManageRelations,
        Self::RegisterDevices,
        Self::ManageDevices,
        Self::OpenBreakGlass,
        Self::ReviewBreakGlass,
        Self::ExplainAccess,
        Self::ReadDeidentified,
        Self::RunJobs,
        Self::ManageJobs,
        Self::ReadAnalytics,
        Self::ManageData,
    ];

    /// Its name in role tables and tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadReadings => "readings.read",
            Self::WriteReadings => "readings.write",
            Self::ManageQuarantine => "quarantine.manage",
            Self::ReadAccesses => "accesses.read",
            Self::ReadAudit => "audit.read",
            Self::ReadProfile => "profile.read",
            Self::ReadMedical => "medical.read",
            Self::ReadBilling => "billing.read",
            Self::WriteContact => "contact.write",
            Self::WriteMedical => "medical.write",
            Self::ManageConsents => "consents.manage",
            Self::AssignDevices => "devices.assign",
            Self::RetractReadings => "readings.retract",
            Self::ManageUsers => "users.manage",
            Self::ManageRoles => "roles.manage",
            Self::ManageRelations => "relations.manage",
            Self::RegisterDevices => "devices.register",
            Self::ManageDevices => "devices.manage",
            Self::OpenBreakGlass => "emergency.open",
            Self::ReviewBreakGlass => "emergency.review",
            Self::ExplainAccess => "access.explain",
            Self::ReadDeidentified => "deidentified.read",
            Self::RunJobs => "jobs.run",
            Self::ManageJobs => "jobs.manage",
            Self::ReadAnalytics => "analytics.read",
            Self::ManageData => "data.manage",
        }
    }

    /// The permission with a name as in [`Self::name`]; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// What a request is for (HL7 v3 PurposeOfUse).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Treatment of the patient (TREAT).
    Treatment,
    /// Treating the patient in an emergency.
    Emergency,
    /// The patient asked, or somebody for the patient.
    PatientRequest,
    /// Payment for the patient's care (HPAYMT).
    Payment,
    /// Running the place: quality, support, audit.
    Operations,
    /// Research on patients who take part in a study (HRESCH).
    Research,
}

impl Purpose {
    /// Every purpose, each once; its place here is what entries of the audit log hold.
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

    /// The purpose with this HL7 v3 PurposeOfUse code; `None` for any other text.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.code() == code)
    }
}
