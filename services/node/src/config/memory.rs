//! Bounds of the settings of what callers may make a node hold.

use super::Memory;

/// Name, value, least and most of each setting.
pub(super) fn limits(memory: &Memory) -> [(&'static str, u64, u64, u64); 9] {
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
