//! The settings of the way into an rpc.

use super::{Config, Quotas};
use guard::{methods, quotas};
use std::time::Duration;

impl Config {
    /// Limits of the rpcs that the settings decide.
    pub(crate) fn methods(&self) -> methods::Settings {
        methods::Settings {
            batch_bytes: self.ingest.max_message_kib as usize * 1_024,
            idle: Duration::from_secs(self.ingest.idle_seconds),
            open_calls_per_address: self.server.max_connections_per_address,
        }
    }
}

impl Quotas {
    /// Those of calls; the others are of what is sent.
    pub(crate) fn calls(&self) -> quotas::Settings {
        quotas::Settings {
            claims_a_second: self.claims_a_second,
            probes_a_second: self.probes_a_second,
            reads_a_second: self.reads_a_second,
            writes_a_second: self.writes_a_second,
            device_calls_a_second: self.device_calls_a_second,
            batches_a_second: self.batches_a_second,
        }
    }
}
