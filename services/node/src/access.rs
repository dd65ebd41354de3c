//! `wardline access`: the policy as people read it, and which rpc and route follows which rule.

use crate::gateway::{OPENAPI, routes};
use model::access::{Action, table};
use std::fmt::Write;

/// Each rpc and the action that its handler asks leave for; nothing: open to all.
pub const RPCS: [(&str, Option<Action>); 16] = [
    ("grpc.health.v1.Health/Check", None),
    ("grpc.health.v1.Health/Watch", None),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", None),
    ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", None),
    ("wardline.operations.v1.AuditService/ListAccesses", Some(Action::ReadAccesses)),
    ("wardline.operations.v1.AuditService/ListAuditWriters", Some(Action::ReadAudit)),
    ("wardline.operations.v1.AuditService/ReadAuditChain", Some(Action::ReadAudit)),
    ("wardline.operations.v1.AuditService/SearchAuditLog", Some(Action::ReadAudit)),
    ("wardline.operations.v1.QuarantineService/GetQuarantined", Some(Action::GetQuarantined)),
    ("wardline.operations.v1.QuarantineService/ListQuarantined", Some(Action::ListQuarantined)),
    ("wardline.operations.v1.QuarantineService/ReplayQuarantined", Some(Action::ReplayQuarantined)),
    ("wardline.telemetry.v1.IngestService/StreamReadings", Some(Action::SendReadings)),
    ("wardline.telemetry.v1.IngestService/WriteReadings", Some(Action::SendReadings)),
    ("wardline.telemetry.v1.TimelineService/LatestReadings", Some(Action::ReadLatest)),
    ("wardline.telemetry.v1.TimelineService/ReadTimeline", Some(Action::ReadTimeline)),
    ("wardline.telemetry.v1.TimelineService/ReadTrend", Some(Action::ReadTrend)),
];

/// The routes of the internal port, where there is no patient data.
const ROUTES: [&str; 3] = ["/live", "/metrics", "/ready"];

/// All of it, as `wardline access matrix` prints it.
pub fn matrix() -> String {
    let mut text = table();
    text += "\nEach rpc, and the action for which its caller needs leave\n";
    for (rpc, action) in RPCS {
        // writing to a string cannot fail
        let _ = writeln!(text, "  {rpc:<66} {}", action.map_or("open to all", Action::name));
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

/// Whether an rpc (`package.Service/Rpc`) needs no token.
pub(crate) fn is_open(rpc: &str) -> bool {
    RPCS.iter().any(|(name, action)| *name == rpc && action.is_none())
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
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
            .flat_map(|(package, service)| {
                service.method.iter().map(move |method| format!("{package}.{}/{}", service.name(), method.name()))
            })
            .collect();
        let listed: BTreeSet<_> =
            RPCS.iter().filter(|(_, action)| action.is_some()).map(|(rpc, _)| (*rpc).to_owned()).collect();
        assert_eq!(rpcs, listed);
        let used: BTreeSet<_> = RPCS.iter().filter_map(|(_, action)| *action).collect();
        assert!(Action::ALL.iter().all(|action| used.contains(action)));
    }
}
