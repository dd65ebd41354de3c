//! The roles that are there from the start. Roles are data: others are added beside these, and these can be changed.

use super::Permission;

/// A role that is there from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeededRole {
    /// Id of the role, lower-case with hyphens.
    pub id: &'static str,
    /// What kind of people hold it.
    pub category: &'static str,
    /// The permissions that the role grants.
    pub permissions: &'static [Permission],
    /// What its holders may let others do without doing it themselves.
    pub may_grant: &'static [Permission],
}

const CLINICIAN: &[Permission] = &[
    Permission::ReadReadings,
    Permission::ReadProfile,
    Permission::ReadMedical,
    Permission::WriteMedical,
    Permission::AssignDevices,
    Permission::RetractReadings,
    Permission::OpenBreakGlass,
    Permission::ReadAnalytics,
];

/// The roles that are there from the start.
pub const ROLES: [SeededRole; 8] = [
    SeededRole {
        id: "patient",
        category: "patient",
        permissions: &[
            Permission::ReadReadings,
            Permission::ReadAccesses,
            Permission::ReadProfile,
            Permission::ReadMedical,
            Permission::ReadBilling,
            Permission::WriteContact,
            Permission::ManageConsents,
        ],
        may_grant: &[],
    },
    SeededRole { id: "nurse", category: "clinician", permissions: CLINICIAN, may_grant: &[] },
    SeededRole { id: "doctor", category: "clinician", permissions: CLINICIAN, may_grant: &[] },
    SeededRole {
        id: "administrator",
        category: "operator",
        permissions: &[
            Permission::ManageQuarantine,
            Permission::ManageUsers,
            Permission::ManageRoles,
            Permission::ManageRelations,
            Permission::ManageDevices,
            Permission::ReviewBreakGlass,
            Permission::ExplainAccess,
            Permission::RunJobs,
            Permission::ManageJobs,
            Permission::ReadAnalytics,
            Permission::ManageData,
        ],
        may_grant: &Permission::ALL,
    },
    SeededRole {
        id: "application-developer",
        category: "builder",
        permissions: &[Permission::RunJobs, Permission::ReadAnalytics],
        may_grant: &[],
    },
    SeededRole {
        id: "device-integrator",
        category: "builder",
        permissions: &[Permission::RegisterDevices],
        may_grant: &[],
    },
    SeededRole {
        id: "ml-scientist",
        category: "researcher",
        permissions: &[Permission::ReadDeidentified, Permission::RunJobs, Permission::ReadAnalytics],
        may_grant: &[],
    },
    SeededRole {
        id: "auditor",
        category: "operator",
        permissions: &[Permission::ReadAudit, Permission::ReviewBreakGlass, Permission::ExplainAccess],
        may_grant: &[],
    },
];
