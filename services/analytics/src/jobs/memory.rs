//! How much memory this process holds.

use std::fs;

/// What is resident now, in bytes; 0 where the system does not say (Linux does).
pub(super) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_holds_something() {
        let held = super::resident_bytes();
        assert!((1 << 20..1 << 40).contains(&held), "{held}");
    }
}
