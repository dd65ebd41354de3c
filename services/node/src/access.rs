//! `wardline access`: the policy as people read it, and which rpc and route follows which rule.

use crate::gateway::{OPENAPI, routes};
use model::access::{Action, table};
use std::{collections::HashMap, fmt::Write, sync::LazyLock};

/// Each rpc and the actions for one of which its handler asks leave; none: open to all.
pub const RPCS: [(&str, &[Action]); 58] = [
    ("grpc.health.v1.Health/Check", &[]),
    ("grpc.health.v1.Health/Watch", &[]),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[]),
    ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &[]),
    ("wardline.operations.v1.AuditService/ListAccesses", &[Action::ReadAccesses]),
    ("wardline.operations.v1.AuditService/ListAuditWriters", &[Action::ReadAudit]),
    ("wardline.operations.v1.AuditService/ReadAuditChain", &[Action::ReadAudit]),
    ("wardline.operations.v1.AuditService/SearchAuditLog", &[Action::ReadAudit]),
    ("wardline.operations.v1.QuarantineService/GetQuarantined", &[Action::GetQuarantined]),
    ("wardline.operations.v1.QuarantineService/ListQuarantined", &[Action::ListQuarantined]),
    ("wardline.operations.v1.QuarantineService/ReplayQuarantined", &[Action::ReplayQuarantined]),
    ("wardline.registry.v1.EnrolmentService/ClaimDevice", &[]),
    ("wardline.registry.v1.EnrolmentService/RefreshDevice", &[]),
    ("wardline.registry.v1.RegistryService/CreateAssignment", &[Action::AssignDevice]),
    ("wardline.registry.v1.RegistryService/CreateConsent", &[Action::ManageConsents]),
    ("wardline.registry.v1.RegistryService/CreateDevice", &[Action::RegisterDevices, Action::ManageDevices]),
    ("wardline.registry.v1.RegistryService/CreateGrant", &[Action::ManageRoles]),
    ("wardline.registry.v1.RegistryService/CreateRelation", &[Action::ManageRelations]),
    ("wardline.registry.v1.RegistryService/CreateRole", &[Action::ManageRoles]),
    ("wardline.registry.v1.RegistryService/CreateUser", &[Action::ManageUsers]),
    ("wardline.registry.v1.RegistryService/DeleteGrant", &[Action::ManageRoles]),
    ("wardline.registry.v1.RegistryService/DeleteRole", &[Action::ManageRoles]),
    ("wardline.registry.v1.RegistryService/DeleteUser", &[Action::ManageUsers]),
    ("wardline.registry.v1.RegistryService/EndAssignment", &[Action::AssignDevice]),
    ("wardline.registry.v1.RegistryService/EndRelation", &[Action::ManageRelations]),
    ("wardline.registry.v1.RegistryService/ExplainAccess", &[Action::ExplainAccess]),
    ("wardline.registry.v1.RegistryService/GetDevice", &[Action::RegisterDevices, Action::ManageDevices]),
    ("wardline.registry.v1.RegistryService/GetRole", &[Action::ManageRoles]),
    (
        "wardline.registry.v1.RegistryService/GetUser",
        &[Action::ReadProfile, Action::ReadMedical, Action::ReadBilling, Action::ManageUsers],
    ),
    ("wardline.registry.v1.RegistryService/ImportDevices", &[Action::RegisterDevices, Action::ManageDevices]),
    ("wardline.registry.v1.RegistryService/ImportUsers", &[Action::ManageUsers]),
    (
        "wardline.registry.v1.RegistryService/ListAssignments",
        &[Action::AssignDevice, Action::RegisterDevices, Action::ManageDevices],
    ),
    ("wardline.registry.v1.RegistryService/ListBreakGlass", &[Action::ReviewBreakGlass]),
    ("wardline.registry.v1.RegistryService/ListConsents", &[Action::ManageConsents]),
    ("wardline.registry.v1.RegistryService/ListDevices", &[Action::RegisterDevices, Action::ManageDevices]),
    ("wardline.registry.v1.RegistryService/ListGrants", &[Action::ManageRoles]),
    ("wardline.registry.v1.RegistryService/ListNotices", &[Action::ReadNotices]),
    ("wardline.registry.v1.RegistryService/ListRelations", &[Action::ManageRelations]),
    ("wardline.registry.v1.RegistryService/ListRoles", &[Action::ManageRoles]),
    (
        "wardline.registry.v1.RegistryService/ListUserVersions",
        &[Action::ReadProfile, Action::ReadMedical, Action::ReadBilling, Action::ManageUsers],
    ),
    ("wardline.registry.v1.RegistryService/ListUsers", &[Action::ManageUsers]),
    ("wardline.registry.v1.RegistryService/OpenBreakGlass", &[Action::OpenBreakGlass]),
    ("wardline.registry.v1.RegistryService/RenewDeviceToken", &[Action::SendReadings]),
    ("wardline.registry.v1.RegistryService/ReportDevice", &[Action::SendReadings]),
    ("wardline.registry.v1.RegistryService/ReviewBreakGlass", &[Action::ReviewBreakGlass]),
    ("wardline.registry.v1.RegistryService/RevokeConsent", &[Action::ManageConsents]),
    ("wardline.registry.v1.RegistryService/RevokeDevice", &[Action::RegisterDevices, Action::ManageDevices]),
    ("wardline.registry.v1.RegistryService/RotateDevice", &[Action::RegisterDevices, Action::ManageDevices]),
    ("wardline.registry.v1.RegistryService/UpdateDevice", &[Action::RegisterDevices, Action::ManageDevices]),
    ("wardline.registry.v1.RegistryService/UpdateRole", &[Action::ManageRoles]),
    (
        "wardline.registry.v1.RegistryService/UpdateUser",
        &[Action::WriteContact, Action::WriteMedical, Action::ManageUsers],
    ),
    ("wardline.telemetry.v1.IngestService/StreamReadings", &[Action::SendReadings]),
    ("wardline.telemetry.v1.IngestService/WriteReadings", &[Action::SendReadings]),
    ("wardline.telemetry.v1.StudyService/ListSubjects", &[Action::ReadDeidentified]),
    ("wardline.telemetry.v1.StudyService/ReadSubject", &[Action::ReadDeidentified]),
    ("wardline.telemetry.v1.TimelineService/LatestReadings", &[Action::ReadLatest]),
    ("wardline.telemetry.v1.TimelineService/ReadTimeline", &[Action::ReadTimeline]),
    ("wardline.telemetry.v1.TimelineService/ReadTrend", &[Action::ReadTrend]),
];

/// The routes of the internal port, where there is no patient data.
const ROUTES: [&str; 3] = ["/live", "/metrics", "/ready"];

/// All of it, as `wardline access matrix` prints it.
pub fn matrix() -> String {
    let mut text = table();
    text += "\nEach rpc, and the action for which its caller needs leave; of several one is enough\n";
    for (rpc, actions) in RPCS {
        let names: Vec<_> = actions.iter().map(|action| action.name()).collect();
        let names = if names.is_empty() { "open to all".to_owned() } else { names.join(", ") };
        // writing to a string cannot fail
        let _ = writeln!(text, "  {rpc:<66} {names}");
    }
    text += &api();
    text += "\nRoutes of the internal port, open to all who reach it: no patient data\n";
    for route in ROUTES {
        let _ = writeln!(text, "  {route}");
    }
    text
}

/// The routes of the JSON API, each with the rpc whose rule it follows.
fn api() -> String {
    let mut text = String::from("\nRoutes of the JSON API, and the rpc that each calls: the same rule\n");
    for (service, routes::Route { method, path, rpc, .. }) in routes::all() {
        // writing to a string cannot fail
        let _ = writeln!(text, "  {method:<6} {path:<59} {service}/{rpc}");
    }
    let _ = writeln!(text, "  {:<6} {OPENAPI:<59} open to all", "GET");
    text
}

/// Rpcs that answer with more than one message. Every other call is bounded as a whole.
const STREAMS: [&str; 4] = [
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "wardline.telemetry.v1.IngestService/StreamReadings",
];

/// Whether the rpc at a path (`/package.Service/Rpc`) is a stream.
pub(crate) fn is_stream(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rpc| STREAMS.contains(&rpc))
}

/// The actions of the rpc at a path (`/package.Service/Rpc`); none for one that is open or unknown.
pub(crate) fn actions(path: &str) -> &'static [Action] {
    static BY_RPC: LazyLock<HashMap<&str, &[Action]>> = LazyLock::new(|| RPCS.into_iter().collect());
    path.strip_prefix('/').and_then(|rpc| BY_RPC.get(rpc)).copied().unwrap_or_default()
}

/// Whether an rpc (`package.Service/Rpc`) needs no token.
pub(crate) fn is_open(rpc: &str) -> bool {
    RPCS.iter().any(|(name, action)| *name == rpc && action.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use proto::prost_types::FileDescriptorSet;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_that_is_checked_in_is_the_policy() {
        assert!(
            matrix() == include_str!("../access-matrix.txt"),
            "wardline access matrix > services/node/access-matrix.txt, and have the change reviewed"
        );
    }

    #[test]
    fn every_rpc_is_in_it_and_every_action_has_one() {
        let ours = FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
        let files = ours.file.iter();
        let rpcs: BTreeSet<_> = files
            .clone()
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
            .flat_map(|(package, service)| {
                service.method.iter().map(move |method| format!("{package}.{}/{}", service.name(), method.name()))
            })
            .collect();
        let ours = |rpc: &str| rpc.starts_with("wardline.");
        let listed: BTreeSet<_> = RPCS.iter().filter(|(rpc, _)| ours(rpc)).map(|(rpc, _)| (*rpc).to_owned()).collect();
        let open: Vec<_> =
            RPCS.iter().filter(|(rpc, actions)| ours(rpc) && actions.is_empty()).map(|(rpc, _)| *rpc).collect();
        assert_eq!(
            open,
            [
                "wardline.registry.v1.EnrolmentService/ClaimDevice",
                "wardline.registry.v1.EnrolmentService/RefreshDevice",
            ],
            "anything else open to all needs a reason"
        );
        assert_eq!(rpcs, listed);
        let streams: Vec<_> = files
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
            .flat_map(|(package, service)| {
                let streams =
                    service.method.iter().filter(|method| method.client_streaming() || method.server_streaming());
                streams.map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
            })
            .collect();
        assert_eq!(streams.len(), STREAMS.iter().filter(|rpc| ours(rpc)).count());
        assert!(streams.iter().all(|path| is_stream(path)), "{streams:?}");
        let used: BTreeSet<_> = RPCS.iter().flat_map(|(_, actions)| actions.iter().copied()).collect();
        assert!(Action::ALL.iter().all(|action| used.contains(action)));
    }
}
