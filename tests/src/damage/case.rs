//! One damage: to which file or folder, and what.

use super::{below, folder::Folder};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use std::{
    fmt, fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// What is damaged: everything that a node keeps, but what people write (`directory`).
const DAMAGED: [&str; 5] = ["store", "log", "notices", "audit", "demo"];
/// What `wardline repair` checks.
const ENGINES: [&str; 3] = ["store", "log", "notices"];
const PAGE: u64 = 4_096;

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One bit is flipped.
    Flip,
    /// A page that was never written.
    Zeros,
    /// The end is missing.
    Cut,
    /// The file is missing.
    File,
    /// A folder is missing.
    Folder,
}

/// A damage of one file.
pub struct Case {
    number: u32,
    /// Kind of damage.
    pub kind: Kind,
    /// To which file or folder, below the data folder.
    pub path: PathBuf,
    /// Where in it.
    at: u64,
    bit: u8,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "case {}: {} in {} at byte {} (bit {})",
            self.number,
            self.kind,
            self.path.display(),
            self.at,
            self.bit
        )
    }
}

impl Case {
    /// Draws one; every file is as likely as every other, and a place in it as every other that was written.
    pub fn draw(random: &mut StdRng, base: &Folder, number: u32) -> Self {
        let files: Vec<_> = base.files.iter().filter(|file| below(&file.path, &DAMAGED)).collect();
        let folders: Vec<_> = base.folders.iter().filter(|path| below(path, &DAMAGED)).collect();
        // half of all flips goes where the most is: into journals
        let journals: Vec<_> = files.iter().filter(|file| file.path.extension().is_some_and(|e| e == "jnl")).collect();
        let kind = *[Kind::Flip, Kind::Flip, Kind::Flip, Kind::Zeros, Kind::Cut, Kind::Cut, Kind::File, Kind::Folder]
            .choose(random)
            .unwrap_or(&Kind::Flip);
        let bit = random.random_range(0..8);
        if let (Kind::Folder, Some(path)) = (kind, folders.choose(random)) {
            return Self { number, kind, path: (*path).clone(), at: 0, bit };
        }
        let file = match kind {
            Kind::Flip | Kind::Zeros if random.random_bool(0.5) => journals.choose(random).copied(),
            _ => None,
        };
        let Some(file) = file.or_else(|| files.choose(random)) else {
            return Self { number, kind, path: PathBuf::new(), at: 0, bit };
        };
        let at = random.random_range(0..(file.bytes.len() as u64).max(1));
        Self { number, kind, path: file.path.clone(), at, bit }
    }

    /// Damages the file below this folder.
    pub fn damage(&self, data: &Path) -> anyhow::Result<()> {
        let path = data.join(&self.path);
        match self.kind {
            Kind::Folder => return Ok(fs::remove_dir_all(path)?),
            Kind::File => return Ok(fs::remove_file(path)?),
            _ => {}
        }
        let file = fs::File::options().read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        match self.kind {
            Kind::Cut => file.set_len(self.at)?,
            Kind::Zeros => {
                let from = self.at / PAGE * PAGE;
                file.write_all_at(&vec![0; (length - from).min(PAGE) as usize], from)?;
            }
            _ if length > 0 => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, self.at)?;
                file.write_all_at(&[byte[0] ^ 1 << self.bit], self.at)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The first folder it is in.
    pub fn place(&self) -> String {
        let first = self.path.components().next();
        first.map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whether a log names what is damaged, or the folder of the engine that it belongs to.
    pub fn is_named(&self, said: &str) -> bool {
        let place = self.place();
        let engine = place.split('.').next().unwrap_or_default();
        said.contains(engine)
    }

    /// Whether it is in a folder of an embedded engine.
    pub fn is_of_engines(&self) -> bool {
        below(&self.path, &ENGINES)
    }
}
