//! What a process holds while it is attacked: memory and descriptors, from `/proc`; the lines that it logs.

use anyhow::Context;
use std::{fs, io, path::Path, process::Command, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Between two samples.
const EVERY: Duration = Duration::from_millis(50);
/// What a trial needs for both ends of all connections.
const DESCRIPTORS: usize = 8_192;

/// What was seen of a process.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Held {
    /// Resident memory: the most that was seen, in MiB.
    pub rss_mib: f64,
    /// The most that the kernel saw since its start (VmHWM), in MiB.
    pub peak_mib: f64,
    /// The most open descriptors.
    pub descriptors: usize,
}

/// Samples until `stop`; when the process holds more than `enough_mib`, it is stopped at once: the machine is needed.
pub async fn watch(pid: u32, enough_mib: f64, stop: &CancellationToken) -> Held {
    let mut held = Held::default();
    while !stop.is_cancelled() {
        // a process that has ended is found out elsewhere
        let Ok(now) = sample(pid) else { break };
        held.rss_mib = held.rss_mib.max(now.rss_mib);
        held.peak_mib = held.peak_mib.max(now.peak_mib);
        held.descriptors = held.descriptors.max(now.descriptors);
        if now.rss_mib > enough_mib {
            stop.cancel();
        }
        let _ = stop.run_until_cancelled(sleep(EVERY)).await;
    }
    held
}

/// What a process holds now.
///
/// # Errors
/// The process has ended.
pub fn sample(pid: u32) -> anyhow::Result<Held> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_owned())?;
        anyhow::Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    Ok(Held { rss_mib: mib("VmRSS:")?, peak_mib: mib("VmHWM:")?, descriptors })
}

/// Lines in a file; 0 while it is not there.
///
/// # Errors
/// It cannot be read.
pub fn lines(path: &Path) -> io::Result<u64> {
    match fs::read(path) {
        Ok(text) => Ok(text.iter().filter(|byte| **byte == b'\n').count() as u64),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// How many descriptors a process may have now: its soft limit.
///
/// # Errors
/// It has ended.
pub fn descriptors_max(pid: u32) -> anyhow::Result<usize> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("no limit of open files")?;
    let soft = line.split_whitespace().nth(3).context("no soft limit")?;
    Ok(if soft == "unlimited" { usize::MAX } else { soft.parse()? })
}

/// Makes room for the trial's own connections.
///
/// # Errors
/// The hard limit is too low.
pub fn raise_descriptors() -> anyhow::Result<()> {
    let pid = std::process::id();
    if descriptors_max(pid)? >= DESCRIPTORS {
        return Ok(());
    }
    let pid = pid.to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={DESCRIPTORS}:")]).output();
    let raised = raised.context("prlimit, of util-linux")?;
    let said = String::from_utf8_lossy(&raised.stderr);
    anyhow::ensure!(
        raised.status.success(),
        "{DESCRIPTORS} descriptors are needed; raise the hard limit (ulimit -Hn): {}",
        said.trim()
    );
    Ok(())
}
