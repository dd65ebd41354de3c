//! What a process has used, from `/proc`; what a folder takes on disk.

use anyhow::Context;
use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// `USER_HZ`: the kernel's unit for CPU time in `/proc`, the same on every Linux that we run on.
const TICKS_A_SECOND: f64 = 100.0;

/// CPU seconds, user and kernel, of all threads so far.
pub(super) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} has ended"))?;
    // the name may have spaces: count from the parenthesis behind it
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let mut fields = after.split_whitespace().skip(11).map(|ticks| ticks.parse::<f64>());
    let (Some(Ok(user)), Some(Ok(kernel))) = (fields.next(), fields.next()) else {
        anyhow::bail!("/proc/{pid}/stat has another form");
    };
    Ok((user + kernel) / TICKS_A_SECOND)
}

/// Resident bytes: now, and at most so far.
pub(super) fn resident_bytes(pid: u32) -> anyhow::Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} has ended"))?;
    let bytes = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<u64>().ok());
        kib.map(|kib| kib * 1_024).with_context(|| format!("/proc/{pid}/status has no {name}"))
    };
    Ok((bytes("VmRSS:")?, bytes("VmHWM:")?))
}

/// Begins to measure the most resident bytes anew.
pub(super) fn peak_since(pid: u32) -> anyhow::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").with_context(|| format!("process {pid} has ended"))
}

/// Bytes of the disk's blocks that a folder's files take, those with a name that `wanted` takes.
pub(super) fn disk_bytes(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => sum += disk_bytes(&path, wanted)?,
            Ok(found) if wanted(&path) => sum += found.blocks() * 512,
            Ok(_) => {}
            // compacted away meanwhile
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        let (now, most) = resident_bytes(pid).unwrap();
        assert!(now > 0 && most >= now && cpu_seconds(pid).unwrap() >= 0.0);
        assert!(cpu_seconds(u32::MAX).is_err());
    }

    #[test]
    fn a_folder_takes_what_its_files_take() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/a"), [7; 10_000]).unwrap();
        fs::write(folder.path().join("b.jnl"), [7; 10_000]).unwrap();
        let all = disk_bytes(folder.path(), &|_| true).unwrap();
        let some = disk_bytes(folder.path(), &|path| path.extension().is_none()).unwrap();
        assert!(some >= 10_000 && all >= some + 10_000, "{some} {all}");
    }
}
