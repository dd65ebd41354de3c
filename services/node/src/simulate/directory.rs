//! The simulated patients and devices, written to the node's directory folder before the first batch.

use super::Identity;
use anyhow::Context;
use std::{fmt::Write as _, fs, path::Path};

/// The demo's people work there.
const WARD: &str = "icu";
/// Devices are assigned from long before the first run, so that late readings and slow clocks find their patient.
const FROM: &str = "2000-01-01T00:00:00Z";

/// Writes `simulate-<seed>.toml` as a whole; never with fewer devices than it had, their patients would disappear.
pub(super) fn write(folder: &Path, seed: u64, n_devices: u32) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("directory {}", folder.display()))?;
    let path = folder.join(format!("simulate-{seed}.toml"));
    let known = fs::read_to_string(&path).map_or(0, |text| text.matches("[[device]]").count());
    if known >= n_devices as usize {
        return Ok(());
    }
    let mut text = format!("# Patients and devices of `wardline simulate --seed {seed}`.\n");
    for number in 0..n_devices {
        let Identity { patient, device, .. } = Identity::new(seed, number);
        let (patient, device) = (patient.uuid(), device.uuid());
        writeln!(text, "\n[[patient]]\nid = \"{patient}\"\nward = \"{WARD}\"")?;
        writeln!(text, "\n[[device]]\nid = \"{device}\"\nmodel = \"simulated monitor\"")?;
        writeln!(text, "\n[[assignment]]\ndevice = \"{device}\"\npatient = \"{patient}\"\nfrom = \"{FROM}\"")?;
    }
    // not *.toml: the node must not read half a file
    let unfinished = folder.join(format!("simulate-{seed}.{}.tmp", std::process::id()));
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, &path))
        .with_context(|| format!("simulated devices in {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::Directory;

    #[test]
    fn the_node_can_read_it_and_it_never_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        for n_devices in [3, 1] {
            write(folder.path(), 7, n_devices).unwrap();
            let directory = Directory::read(folder.path()).unwrap();
            let Identity { patient, device, .. } = Identity::new(7, 2);
            assert_eq!(directory.assignments(device, model::Nanos(0)).unwrap()[0].patient, patient);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
