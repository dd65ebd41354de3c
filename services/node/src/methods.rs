//! What each rpc may be asked and how long it may take: the one table of all that this node serves, ours or not.
//!
//! What it promises: an rpc that is not in the table is answered UNIMPLEMENTED, and nothing of its request is read; a message
//! that says it is longer than its rpc's limit is refused before any of it is kept; a call that has not been answered by
//! its deadline is answered DEADLINE_EXCEEDED, whatever its client asked for; calls that need no token are counted, in all
//! and for each address. Limits of messages are on the wire; where compression is taken, the service knows the limit after it.

mod calls;
mod watched;

use crate::{accept::room::Room, config::Config};
pub(crate) use calls::Methods;
use std::time::Duration;

/// Bytes of a message: names and ids.
const SMALL: Size = Size::Bytes(4 << 10);
/// Filters, masks and page tokens, or a document of one thing.
const USUAL: Size = Size::Bytes(64 << 10);
/// A list of people or devices to be taken over.
const LISTS: Size = Size::Bytes(4 << 20);
/// Of an rpc that needs no token and names one service or one file.
const OPEN: Size = Size::Bytes(1 << 10);

/// An answer from memory.
const AT_ONCE: Time = Time::Answer(5);
/// One thing looked up or written down.
const SOON: Time = Time::Answer(20);
/// Many rows read.
const READ: Time = Time::Answer(30);
/// A list taken over, a chain read: each is bounded by its page or its message.
const LONG: Time = Time::Answer(60);

/// Largest message of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Bytes(usize),
    /// `ingest.max_message_kib`.
    Ingest,
}

/// Until when, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    /// One message in, one out, by then.
    Answer(u64),
    /// One message in by the first, answers until the second.
    Watch(u64, u64),
    /// Messages both ways: how long there may be none from the client, and how long in all.
    Talk(u64, u64),
    /// The same for readings: `ingest.idle_seconds`, and as long as its token is good.
    Readings,
}

/// A row: package and service, and of each of its rpcs the name, the largest message, the time.
type Service = (&'static str, bool, &'static [(&'static str, Size, Time)]);

/// Needs a token.
const GATED: bool = false;
/// Open to all.
const FOR_ALL: bool = true;

/// Every rpc. A test compares it with the descriptors.
const TABLE: &[Service] = &[
    ("grpc.health.v1.Health", FOR_ALL, &[("Check", OPEN, AT_ONCE), ("Watch", OPEN, Time::Watch(5, 3_600))]),
    ("grpc.reflection.v1.ServerReflection", FOR_ALL, &[("ServerReflectionInfo", OPEN, Time::Talk(10, 60))]),
    ("grpc.reflection.v1alpha.ServerReflection", FOR_ALL, &[("ServerReflectionInfo", OPEN, Time::Talk(10, 60))]),
    (
        "wardline.telemetry.v1.IngestService",
        GATED,
        &[("StreamReadings", Size::Ingest, Time::Readings), ("WriteReadings", Size::Ingest, READ)],
    ),
    (
        "wardline.telemetry.v1.TimelineService",
        GATED,
        &[("ReadTimeline", USUAL, READ), ("ReadTrend", USUAL, READ), ("LatestReadings", USUAL, READ)],
    ),
    ("wardline.telemetry.v1.StudyService", GATED, &[("ListSubjects", USUAL, READ), ("ReadSubject", USUAL, LONG)]),
    (
        "wardline.operations.v1.QuarantineService",
        GATED,
        &[("ListQuarantined", USUAL, READ), ("GetQuarantined", SMALL, SOON), ("ReplayQuarantined", USUAL, LONG)],
    ),
    (
        "wardline.operations.v1.AuditService",
        GATED,
        &[
            ("SearchAuditLog", USUAL, LONG),
            ("ListAccesses", USUAL, LONG),
            ("ListAuditWriters", USUAL, READ),
            ("ReadAuditChain", USUAL, LONG),
        ],
    ),
    ("wardline.registry.v1.EnrolmentService", FOR_ALL, &[("ClaimDevice", SMALL, SOON), ("RefreshDevice", SMALL, SOON)]),
    (
        "wardline.registry.v1.RegistryService",
        GATED,
        &[
            ("GetUser", SMALL, SOON),
            ("ListUsers", USUAL, READ),
            ("CreateUser", USUAL, SOON),
            ("UpdateUser", USUAL, SOON),
            ("DeleteUser", SMALL, SOON),
            ("ListUserVersions", USUAL, READ),
            ("ImportUsers", LISTS, LONG),
            ("GetRole", SMALL, SOON),
            ("ListRoles", USUAL, READ),
            ("CreateRole", USUAL, SOON),
            ("UpdateRole", USUAL, SOON),
            ("DeleteRole", SMALL, SOON),
            ("ListGrants", USUAL, READ),
            ("CreateGrant", USUAL, SOON),
            ("DeleteGrant", SMALL, SOON),
            ("ListRelations", USUAL, READ),
            ("CreateRelation", USUAL, SOON),
            ("EndRelation", SMALL, SOON),
            ("ListConsents", USUAL, READ),
            ("CreateConsent", USUAL, SOON),
            ("RevokeConsent", SMALL, SOON),
            ("OpenBreakGlass", USUAL, SOON),
            ("ListBreakGlass", USUAL, READ),
            ("ReviewBreakGlass", USUAL, SOON),
            ("ListNotices", USUAL, READ),
            ("ExplainAccess", USUAL, SOON),
            ("GetDevice", SMALL, SOON),
            ("ListDevices", USUAL, READ),
            ("CreateDevice", USUAL, SOON),
            ("UpdateDevice", USUAL, SOON),
            ("ImportDevices", LISTS, LONG),
            ("RenewDeviceToken", USUAL, SOON),
            ("RotateDevice", SMALL, SOON),
            ("RevokeDevice", USUAL, SOON),
            ("ReportDevice", USUAL, SOON),
            ("ListAssignments", USUAL, READ),
            ("CreateAssignment", USUAL, SOON),
            ("EndAssignment", SMALL, SOON),
        ],
    ),
];

/// Calls that need no token and are under way at once: of the node, and of an address as many as it may have connections.
const MAX_OPEN_CALLS: usize = 1_024;

/// What one rpc may be asked, with the settings filled in.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    max_message_bytes: usize,
    /// Whether there may be one message only.
    is_single: bool,
    /// Until the answer begins.
    answer: Option<Duration>,
    /// How long nothing may come from the client.
    idle: Option<Duration>,
    /// How long it may last in all, when it is more than one answer.
    lifetime: Option<Duration>,
    is_open: bool,
}

impl Bounds {
    fn new(size: Size, time: Time, is_open: bool, config: &Config) -> Self {
        let max_message_bytes = match size {
            Size::Bytes(n_bytes) => n_bytes,
            Size::Ingest => config.ingest.max_message_kib as usize * 1_024,
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let (is_single, answer, idle, lifetime) = match time {
            Time::Answer(answer) => (true, seconds(answer), None, None),
            Time::Watch(answer, lifetime) => (true, seconds(answer), None, seconds(lifetime)),
            Time::Talk(idle, lifetime) => (false, None, seconds(idle), seconds(lifetime)),
            // the service, which knows whole messages, speaks first
            Time::Readings => (false, None, seconds(config.ingest.idle_seconds + 10), None),
        };
        Self { max_message_bytes, is_single, answer, idle, lifetime, is_open }
    }
}

/// Every rpc of the table by its path, `/package.Service/Method`.
fn bounds(config: &Config) -> impl Iterator<Item = (String, Bounds)> + '_ {
    TABLE.iter().flat_map(move |&(service, is_open, rpcs)| {
        rpcs.iter()
            .map(move |&(rpc, size, time)| (format!("/{service}/{rpc}"), Bounds::new(size, time, is_open, config)))
    })
}

/// Room for calls that need no token.
fn open_calls(config: &Config) -> std::sync::Arc<Room> {
    let open = metrics::gauge!("wardline_open_calls");
    Room::new(MAX_OPEN_CALLS, config.server.max_connections_per_address, open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::DescriptorPool;
    use std::collections::BTreeMap;

    /// All that this node can serve: rpc, and whether its client and its server stream.
    fn served() -> BTreeMap<String, (bool, bool)> {
        use tonic_reflection::pb::{v1, v1alpha};
        let mut served = BTreeMap::new();
        let sets = [
            proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            v1::FILE_DESCRIPTOR_SET,
            v1alpha::FILE_DESCRIPTOR_SET,
        ];
        for set in sets {
            let pool = DescriptorPool::decode(set).unwrap();
            for rpc in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
                let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
                served.insert(path, (rpc.is_client_streaming(), rpc.is_server_streaming()));
            }
        }
        served
    }

    #[test]
    fn every_rpc_has_a_limit_and_a_deadline_and_every_row_is_an_rpc() {
        let config = Config::load(&Default::default()).unwrap();
        let (served, known) = (served(), bounds(&config).collect::<BTreeMap<_, _>>());
        assert!(served.len() > 55, "{}", served.len());
        assert!(served.keys().eq(known.keys()), "rpcs: {:#?}\nrows: {:#?}", served.keys(), known.keys());
        assert_eq!(bounds(&config).count(), known.len(), "a row stands there twice");
        for (path, bounds) in known {
            let (client, server) = served[&path];
            assert!((1..=4 << 20).contains(&bounds.max_message_bytes), "{path}: {bounds:?}");
            assert_eq!(bounds.is_single, !client, "{path}: {bounds:?}");
            assert_eq!(bounds.answer.is_some(), !client, "{path}: {bounds:?}");
            assert_eq!(bounds.idle.is_some(), client, "{path}: {bounds:?}");
            // readings end with their token
            assert_eq!(
                bounds.lifetime.is_some(),
                server && path != "/wardline.telemetry.v1.IngestService/StreamReadings"
            );
            if path.starts_with("/grpc.") {
                assert_eq!((bounds.max_message_bytes, bounds.is_open), (1_024, true), "{path}");
            }
        }
    }

    #[test]
    fn who_has_no_token_may_send_little() {
        let config = Config::load(&Default::default()).unwrap();
        let open = bounds(&config).filter(|(_, bounds)| bounds.is_open);
        assert_eq!(open.map(|(_, bounds)| bounds.max_message_bytes).max(), Some(4 << 10));
    }
}
