//! The demo's directory of patients and devices: a replay writes who its devices belong to before it sends.

use super::{plan::Plan, state::replace};
use anyhow::{Context, Result};
use jiff::Timestamp;
use model::{DeviceId, Nanos};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, fs, path::Path};
use uuid::Uuid;

const WARD: &str = "icu";

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(default)]
    patient: Vec<Patient>,
    #[serde(default)]
    device: Vec<Device>,
    #[serde(default)]
    assignment: Vec<Assignment>,
}

#[derive(Serialize, Deserialize)]
struct Patient {
    id: Uuid,
    ward: String,
}

#[derive(Serialize, Deserialize)]
struct Device {
    id: Uuid,
    model: String,
}

#[derive(Serialize, Deserialize)]
struct Assignment {
    device: Uuid,
    patient: Uuid,
    from: Option<String>,
    to: Option<String>,
}

/// Writes `replay-<fingerprint>.toml`. Answers a device that is new in it, if anything changed: once the server knows
/// that one, it knows all of the file.
pub fn write(folder: &Path, plan: &Plan) -> Result<Option<DeviceId>> {
    let name = format!("replay-{}.toml", plan.fingerprint);
    let known = others(folder, &name)?;
    let mut file = File { patient: Vec::new(), device: Vec::new(), assignment: Vec::new() };
    for (patient, _) in &plan.patients {
        file.patient.push(Patient { id: patient.uuid(), ward: WARD.to_owned() });
    }
    for device in &plan.devices {
        let (patient, from) = plan.patients[device.patient];
        let id = device.device.uuid();
        file.device.push(Device { id, model: device.model.clone() });
        // another replay of the same patient assigns the same device: one time may be in one file only
        let to = known.get(&id).copied();
        if to.is_none_or(|to| from.0 < to) {
            let to = to.map(instant).transpose()?;
            file.assignment.push(Assignment { device: id, patient: patient.uuid(), from: Some(instant(from.0)?), to });
        }
    }
    let path = folder.join(&name);
    let text = toml::to_string(&file)?;
    let mark = Uuid::new_v5(&plan.fingerprint, text.as_bytes());
    file.device.push(Device { id: mark, model: "replay: shows that this file was read".to_owned() });
    let text = toml::to_string(&file)?;
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(None);
    }
    replace(&path, text.as_bytes())?;
    Ok(Some(DeviceId::new(mark)))
}

/// From when on other replays' files assign a device.
fn others(folder: &Path, mine: &str) -> Result<HashMap<Uuid, i64>> {
    let mut known = HashMap::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(known),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name == mine || !name.starts_with("replay-") || !name.ends_with(".toml") {
            continue;
        }
        let context = || format!("cannot read {}", path.display());
        let file: File = toml::from_str(&fs::read_to_string(&path).with_context(context)?).with_context(context)?;
        for assignment in file.assignment {
            let from = match assignment.from {
                Some(text) => {
                    let from: Timestamp = text.parse().with_context(context)?;
                    i64::try_from(from.as_nanosecond()).with_context(context)?
                }
                None => Nanos::MIN.0,
            };
            let earliest = known.entry(assignment.device).or_insert(from);
            *earliest = from.min(*earliest);
        }
    }
    Ok(known)
}

fn instant(at: i64) -> Result<String> {
    Ok(Timestamp::from_nanosecond(i128::from(at))?.to_string())
}
