//! Bounds of the settings that are numbers.

use super::Config;
use guard::bounds::Settings as Memory;

/// Name, value, least and most of each setting.
pub(super) fn of(config: &Config) -> [(&'static str, u64, u64, u64); 16] {
    [
        ("server.max_streams", config.server.max_streams.into(), 1, 65_536),
        ("server.max_connections", config.server.max_connections as u64, 1, 1_000_000),
        ("server.write_timeout_seconds", config.server.write_timeout_seconds, 1, 600),
        ("tls.handshake_timeout_seconds", config.tls.handshake_timeout_seconds, 1, 300),
        ("tls.reload_seconds", config.tls.reload_seconds, 1, 3_600),
        ("ingest.max_in_flight", config.ingest.max_in_flight.into(), 1, 65_536),
        ("ingest.max_readings", config.ingest.max_readings.into(), 1, 65_536),
        ("ingest.max_clock_ahead_seconds", config.ingest.max_clock_ahead_seconds, 0, 86_400),
        ("ingest.idle_seconds", config.ingest.idle_seconds, 1, 86_400),
        ("ingest.max_message_kib", config.ingest.max_message_kib.into(), 1, 1_024),
        ("ingest.max_streams_per_device", config.ingest.max_streams_per_device.into(), 1, 65_536),
        ("writer.seal_every_seconds", config.writer.seal_every_seconds, 1, 86_400),
        ("devices.token_minutes", config.devices.token_minutes.into(), 1, 1_440),
        ("study.max_days", config.study.max_days.into(), 1, 3_650),
        ("auth.keys_every_seconds", config.auth.keys_every_seconds, 1, 86_400),
        ("auth.unknown_key_every_seconds", config.auth.unknown_key_every_seconds, 1, 86_400),
    ]
}

/// The same of what callers may make a node hold.
pub(super) fn of_memory(memory: &Memory) -> [(&'static str, u64, u64, u64); 9] {
    // a budget counts bytes in 32 bits
    const MOST_MIB: u64 = 4_095;
    [
        ("memory.requests_mib", memory.requests_mib.into(), 1, MOST_MIB),
        ("memory.requests_mib_per_address", memory.requests_mib_per_address.into(), 0, MOST_MIB),
        ("memory.requests_mib_per_caller", memory.requests_mib_per_caller.into(), 0, MOST_MIB),
        ("memory.calls_mib", memory.calls_mib.into(), 1, MOST_MIB),
        ("memory.calls_mib_per_caller", memory.calls_mib_per_caller.into(), 0, MOST_MIB),
        ("memory.answers_mib", memory.answers_mib.into(), 1, MOST_MIB),
        ("memory.answers_mib_per_caller", memory.answers_mib_per_caller.into(), 0, MOST_MIB),
        ("memory.wait_seconds", memory.wait_seconds, 0, 60),
        ("memory.stall_seconds", memory.stall_seconds, 1, 3_600),
    ]
}
