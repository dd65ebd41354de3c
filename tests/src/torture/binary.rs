//! The `wardline` binary that is put to the test: that of this build's profile, made by cargo when it is not up to date.

use anyhow::Context;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// What the binary is made of.
const SOURCES: [&str; 5] = ["Cargo.lock", "proto", "shared", "services", "deploy/demo"];

/// Path of the root of the workspace.
pub fn workspace() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where the binary is; builds it when a source is newer.
///
/// # Errors
/// Cargo cannot build it, or this program lies in no target folder.
pub fn fresh() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    // target/<profile>/{deps,examples}/<program>
    let profile = program.parent().and_then(Path::parent).context("an odd place for a test")?;
    let target = profile.parent().context("an odd place for a test")?;
    let binary = profile.join("wardline");
    let root = workspace();
    if is_fresh(&binary, &root)? {
        return Ok(binary);
    }
    let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned()));
    match profile.file_name().and_then(|name| name.to_str()) {
        // with the suites, whose dependencies have other features: alone it would be built from nothing
        Some("debug") => build.args(["test", "--workspace", "--no-run"]),
        Some(name) => build.args(["build", "--bin", "wardline", "--profile", name]),
        None => anyhow::bail!("an odd place for a test"),
    };
    // what cargo tells this program of its package; build scripts that look at it would run again, and all that needs them
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.as_encoded_bytes().starts_with(own.as_bytes())) {
            build.env_remove(name);
        }
    }
    build.current_dir(&root).arg("--locked").arg("--target-dir").arg(target);
    let built = build.status().context("cargo")?;
    anyhow::ensure!(built.success(), "cargo could not build the binary");
    Ok(binary)
}

fn is_fresh(binary: &Path, root: &Path) -> anyhow::Result<bool> {
    let built = match fs::metadata(binary) {
        Ok(found) => found.modified()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    for source in SOURCES {
        if newest(&root.join(source))? > built {
            return Ok(false);
        }
    }
    Ok(true)
}

/// When the youngest file below `path` was written; tests do not count.
fn newest(path: &Path) -> io::Result<SystemTime> {
    if !path.is_dir() {
        return fs::metadata(path)?.modified();
    }
    let mut youngest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() != "tests" {
            youngest = youngest.max(newest(&entry.path())?);
        }
    }
    Ok(youngest)
}
