//! How far a replay has come: one small JSON file for each recording and order, replaced as a whole.

use anyhow::{Context, Result, bail};
use model::{DeviceId, Nanos};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};
use uuid::Uuid;

const VERSION: u32 = 1;

/// What is remembered of a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    /// Where each patient's last reading lies: nanoseconds since 1970; `None`: times as recorded.
    pub anchor_ns: Option<i64>,
    /// Whether everything is acknowledged: a further run sends nothing.
    pub complete: bool,
    /// Seconds spent sending, over all runs.
    pub seconds: f64,
    /// Progress of each device, by its id.
    pub devices: BTreeMap<Uuid, Progress>,
}

/// What became of one device's readings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The last sequence that was acknowledged; 0: none yet.
    pub through: u64,
    /// Readings in these batches that were accepted.
    pub accepted: u64,
    /// Of these, readings that the server knew already.
    pub duplicate: u64,
    /// Readings in these batches that were refused, by reason.
    pub refused: BTreeMap<String, u64>,
}

impl Progress {
    /// The sum of two runs' progress.
    pub fn plus(&self, more: &Self) -> Self {
        let mut sum = self.clone();
        sum.through = sum.through.max(more.through);
        sum.accepted += more.accepted;
        sum.duplicate += more.duplicate;
        for (reason, count) in &more.refused {
            *sum.refused.entry(reason.clone()).or_default() += count;
        }
        sum
    }
}

impl State {
    /// The state before the first run.
    pub fn new(anchor: Option<Nanos>) -> Self {
        Self {
            version: VERSION,
            anchor_ns: anchor.map(|at| at.0),
            complete: false,
            seconds: 0.0,
            devices: BTreeMap::new(),
        }
    }

    /// How far a device has come.
    pub fn of(&self, device: DeviceId) -> Progress {
        self.devices.get(&device.uuid()).cloned().unwrap_or_default()
    }

    /// Reads a state file; `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let state: Self = serde_json::from_str(&text).with_context(|| {
            format!("{} is no state of a replay; remove it to send everything again", path.display())
        })?;
        if state.version != VERSION {
            bail!("{}: version {} is not known, this program writes {VERSION}", path.display(), state.version);
        }
        Ok(Some(state))
    }

    /// Writes the state to a file beside it, and replaces the file with that.
    pub fn write(&self, path: &Path) -> Result<()> {
        replace(path, &serde_json::to_vec(self)?)
    }
}

/// Writes a file under another name and moves it into place: readers see the old one or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(context)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(name);
    let mut file = File::create(&part).with_context(context)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(context)?;
    fs::rename(&part, path).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("replay/a.json");
        assert_eq!(State::read(&path).unwrap(), None);
        let mut state = State::new(Some(Nanos(5)));
        let progress = Progress { through: 3, accepted: 7, duplicate: 1, refused: [("X".to_owned(), 2)].into() };
        state.devices.insert(Uuid::nil(), progress.clone());
        state.write(&path).unwrap();
        state.write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), Some(state));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no leftovers");
        assert_eq!(progress.plus(&progress).refused["X"], 4);
        fs::write(&path, "{").unwrap();
        assert!(format!("{:#}", State::read(&path).unwrap_err()).contains("a.json is no state"));
    }
}
