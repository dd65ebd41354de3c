//! What each rpc may be asked and how long it may take: what the descriptors say of ours, and a table of what else is served.
//!
//! What it promises: an rpc of which neither says anything is answered UNIMPLEMENTED, and nothing of its request is read; a message
//! that says it is longer than its rpc's limit is refused before any of it is kept; a call that has not been answered by
//! its deadline is answered DEADLINE_EXCEEDED, whatever its client asked for; a message that cannot be read is its caller's fault,
//! with a reason; calls that need no token are counted, in all and for each address. Limits of messages are on the wire; where compression is taken, the service knows the limit after it.

mod calls;
mod watched;

use crate::{connection_limit::ConnectionLimit, metrics};
pub use calls::Methods;
use proto::rpc::{self, Rpc};
use std::time::Duration;

/// An rpc that is served for other tools: no descriptor of ours says what it is.
pub struct Foreign {
    /// Path of the rpc on the wire: `/package.Service/Method`.
    pub path: &'static str,
    time: Time,
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
}

/// Health and reflection: open to all, and asked for one service or one file.
pub static FOREIGN: [Foreign; 4] = [
    Foreign { path: "/grpc.health.v1.Health/Check", time: Time::Answer(5) },
    Foreign { path: "/grpc.health.v1.Health/Watch", time: Time::Watch(5, 3_600) },
    Foreign { path: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", time: Time::Talk(10, 60) },
    Foreign { path: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", time: Time::Talk(10, 60) },
];

/// Largest message to them.
const FOREIGN_BYTES: usize = 1 << 10;

impl Foreign {
    /// That of a path, if it is one.
    pub fn find(path: &str) -> Option<&'static Self> {
        FOREIGN.iter().find(|foreign| foreign.path == path)
    }

    /// The service that it is of, `package.Service`.
    pub fn service(&self) -> &'static str {
        self.path[1..].split_once('/').map_or(self.path, |(service, _)| service)
    }

    /// Whether it answers with more than one message.
    pub fn is_stream(&self) -> bool {
        !matches!(self.time, Time::Answer(_))
    }
}

/// What stands in the settings of a node.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Most bytes of a message with readings.
    pub batch_bytes: usize,
    /// How long nothing may come on a stream of readings.
    pub idle: Duration,
    /// Calls without a token under way at once, of one address; 0: as many as of all.
    pub open_calls_per_address: usize,
}

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
    fn of(rpc: &Rpc, settings: &Settings) -> Self {
        let max_message_bytes = rpc.max_bytes.unwrap_or(settings.batch_bytes);
        // of a stream the service, which knows whole messages, speaks first
        let idle = rpc.streams.0.then(|| settings.idle + Duration::from_secs(10));
        let (is_single, answer, is_open) = (!rpc.streams.0, rpc.answered_in, rpc.is_open);
        Self { max_message_bytes, is_single, answer, idle, lifetime: rpc.lasts, is_open }
    }

    fn of_foreign(rpc: &Foreign) -> Self {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let (answer, idle, lifetime) = match rpc.time {
            Time::Answer(answer) => (seconds(answer), None, None),
            Time::Watch(answer, lifetime) => (seconds(answer), None, seconds(lifetime)),
            Time::Talk(idle, lifetime) => (None, seconds(idle), seconds(lifetime)),
        };
        Self { max_message_bytes: FOREIGN_BYTES, is_single: idle.is_none(), answer, idle, lifetime, is_open: true }
    }
}

/// Every rpc by its path, `/package.Service/Method`.
fn bounds(settings: &Settings) -> impl Iterator<Item = (String, Bounds)> + '_ {
    let ours = rpc::all().iter().map(|rpc| (rpc.path.clone(), Bounds::of(rpc, settings)));
    ours.chain(FOREIGN.iter().map(|rpc| (rpc.path.to_owned(), Bounds::of_foreign(rpc))))
}

/// The limit of calls that need no token.
fn open_calls(settings: &Settings) -> std::sync::Arc<ConnectionLimit> {
    let open = metrics::tokenless(MAX_OPEN_CALLS);
    ConnectionLimit::new(MAX_OPEN_CALLS, settings.open_calls_per_address, open)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use prost_reflect::DescriptorPool;
    use std::collections::BTreeMap;

    pub(crate) fn settings() -> Settings {
        Settings { batch_bytes: 512 << 10, idle: Duration::from_secs(300), open_calls_per_address: 256 }
    }

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
        let settings = settings();
        let (served, known) = (served(), bounds(&settings).collect::<BTreeMap<_, _>>());
        assert!(served.len() > 55, "{}", served.len());
        assert!(served.keys().eq(known.keys()), "rpcs: {:#?}\nrows: {:#?}", served.keys(), known.keys());
        assert_eq!(bounds(&settings).count(), known.len(), "a row stands there twice");
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
        let settings = settings();
        let open = bounds(&settings).filter(|(_, bounds)| bounds.is_open);
        assert_eq!(open.map(|(_, bounds)| bounds.max_message_bytes).max(), Some(4 << 10));
    }
}
