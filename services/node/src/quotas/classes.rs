//! What each rpc costs: one row each, and a test that none is missing.

use crate::config;

/// What a call costs, and so which limit it counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Health and reflection, which anybody may ask: of an address.
    Probe,
    /// Claims and refreshes, which need no token, and leave an entry in the audit log: of an address.
    Claim,
    /// Something is shown, and that is written into the audit log.
    Read,
    /// Something is changed for good.
    Write,
    /// A device's calls about itself: each may be a change, and no device has reason for many.
    Device,
    /// A batch of readings, or a stream that is opened.
    Batch,
}

impl Class {
    /// Its setting, and how many calls a second that is; 0: no limit.
    pub(super) fn limit(self, settings: &config::Quotas) -> (&'static str, u64) {
        match self {
            Self::Probe => ("quotas.probes_a_second", settings.probes_a_second),
            Self::Claim => ("quotas.claims_a_second", settings.claims_a_second),
            Self::Read => ("quotas.reads_a_second", settings.reads_a_second),
            Self::Write => ("quotas.writes_a_second", settings.writes_a_second),
            Self::Device => ("quotas.device_calls_a_second", settings.device_calls_a_second),
            Self::Batch => ("quotas.batches_a_second", settings.batches_a_second),
        }
    }
}

/// The class of the rpc at a path (`/package.Service/Rpc`); `None`: there is no such rpc.
pub(crate) fn class(path: &str) -> Option<Class> {
    let rpc = path.strip_prefix('/')?;
    CLASSES.binary_search_by_key(&rpc, |(rpc, _)| rpc).ok().map(|at| CLASSES[at].1)
}

/// Each rpc, ascending.
const CLASSES: [(&str, Class); 58] = [
    ("grpc.health.v1.Health/Check", Class::Probe),
    ("grpc.health.v1.Health/Watch", Class::Probe),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Class::Probe),
    ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Class::Probe),
    ("wardline.operations.v1.AuditService/ListAccesses", Class::Read),
    ("wardline.operations.v1.AuditService/ListAuditWriters", Class::Read),
    ("wardline.operations.v1.AuditService/ReadAuditChain", Class::Read),
    ("wardline.operations.v1.AuditService/SearchAuditLog", Class::Read),
    ("wardline.operations.v1.QuarantineService/GetQuarantined", Class::Read),
    ("wardline.operations.v1.QuarantineService/ListQuarantined", Class::Read),
    ("wardline.operations.v1.QuarantineService/ReplayQuarantined", Class::Write),
    ("wardline.registry.v1.EnrolmentService/ClaimDevice", Class::Claim),
    ("wardline.registry.v1.EnrolmentService/RefreshDevice", Class::Claim),
    ("wardline.registry.v1.RegistryService/CreateAssignment", Class::Write),
    ("wardline.registry.v1.RegistryService/CreateConsent", Class::Write),
    ("wardline.registry.v1.RegistryService/CreateDevice", Class::Write),
    ("wardline.registry.v1.RegistryService/CreateGrant", Class::Write),
    ("wardline.registry.v1.RegistryService/CreateRelation", Class::Write),
    ("wardline.registry.v1.RegistryService/CreateRole", Class::Write),
    ("wardline.registry.v1.RegistryService/CreateUser", Class::Write),
    ("wardline.registry.v1.RegistryService/DeleteGrant", Class::Write),
    ("wardline.registry.v1.RegistryService/DeleteRole", Class::Write),
    ("wardline.registry.v1.RegistryService/DeleteUser", Class::Write),
    ("wardline.registry.v1.RegistryService/EndAssignment", Class::Write),
    ("wardline.registry.v1.RegistryService/EndRelation", Class::Write),
    ("wardline.registry.v1.RegistryService/ExplainAccess", Class::Read),
    ("wardline.registry.v1.RegistryService/GetDevice", Class::Read),
    ("wardline.registry.v1.RegistryService/GetRole", Class::Read),
    ("wardline.registry.v1.RegistryService/GetUser", Class::Read),
    ("wardline.registry.v1.RegistryService/ImportDevices", Class::Write),
    ("wardline.registry.v1.RegistryService/ImportUsers", Class::Write),
    ("wardline.registry.v1.RegistryService/ListAssignments", Class::Read),
    ("wardline.registry.v1.RegistryService/ListBreakGlass", Class::Read),
    ("wardline.registry.v1.RegistryService/ListConsents", Class::Read),
    ("wardline.registry.v1.RegistryService/ListDevices", Class::Read),
    ("wardline.registry.v1.RegistryService/ListGrants", Class::Read),
    ("wardline.registry.v1.RegistryService/ListNotices", Class::Read),
    ("wardline.registry.v1.RegistryService/ListRelations", Class::Read),
    ("wardline.registry.v1.RegistryService/ListRoles", Class::Read),
    ("wardline.registry.v1.RegistryService/ListUserVersions", Class::Read),
    ("wardline.registry.v1.RegistryService/ListUsers", Class::Read),
    ("wardline.registry.v1.RegistryService/OpenBreakGlass", Class::Write),
    ("wardline.registry.v1.RegistryService/RenewDeviceToken", Class::Device),
    ("wardline.registry.v1.RegistryService/ReportDevice", Class::Device),
    ("wardline.registry.v1.RegistryService/ReviewBreakGlass", Class::Write),
    ("wardline.registry.v1.RegistryService/RevokeConsent", Class::Write),
    ("wardline.registry.v1.RegistryService/RevokeDevice", Class::Write),
    ("wardline.registry.v1.RegistryService/RotateDevice", Class::Write),
    ("wardline.registry.v1.RegistryService/UpdateDevice", Class::Write),
    ("wardline.registry.v1.RegistryService/UpdateRole", Class::Write),
    ("wardline.registry.v1.RegistryService/UpdateUser", Class::Write),
    ("wardline.telemetry.v1.IngestService/StreamReadings", Class::Batch),
    ("wardline.telemetry.v1.IngestService/WriteReadings", Class::Batch),
    ("wardline.telemetry.v1.StudyService/ListSubjects", Class::Read),
    ("wardline.telemetry.v1.StudyService/ReadSubject", Class::Read),
    ("wardline.telemetry.v1.TimelineService/LatestReadings", Class::Read),
    ("wardline.telemetry.v1.TimelineService/ReadTimeline", Class::Read),
    ("wardline.telemetry.v1.TimelineService/ReadTrend", Class::Read),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{RPCS, is_open};

    #[test]
    fn every_rpc_has_a_class_and_those_open_to_all_count_by_address() {
        assert!(CLASSES.is_sorted_by_key(|(rpc, _)| *rpc));
        let classes: Vec<_> = CLASSES.iter().map(|(rpc, _)| *rpc).collect();
        assert_eq!(classes, RPCS.map(|(rpc, _)| rpc));
        for (rpc, class) in CLASSES {
            assert_eq!(self::class(&format!("/{rpc}")), Some(class));
            assert_eq!(is_open(rpc), matches!(class, Class::Probe | Class::Claim), "{rpc}");
        }
        assert_eq!(class("/wardline.registry.v1.RegistryService/NoSuchRpc"), None);
        assert_eq!(class(""), None);
    }
}
