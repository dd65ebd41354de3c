//! A data folder in memory: each case begins with the same one.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A file: where, how long, and what is in it up to the zeros at its end.
pub struct Content {
    /// Below the data folder.
    pub path: PathBuf,
    /// Length of the whole file, in bytes.
    pub length: u64,
    /// Without the zeros at its end.
    pub bytes: Vec<u8>,
    mode: u32,
}

/// Everything below a folder.
pub struct Folder {
    /// Its files, ascending by path.
    pub files: Vec<Content>,
    /// Its folders, ascending by path.
    pub folders: Vec<PathBuf>,
}

impl Folder {
    /// Reads a folder with all files in it.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let mut this = Self { files: Vec::new(), folders: Vec::new() };
        this.add(root, Path::new(""))?;
        this.files.sort_by(|a, b| a.path.cmp(&b.path));
        this.folders.sort();
        Ok(this)
    }

    fn add(&mut self, root: &Path, below: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(root.join(below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.add(root, &path)?;
                self.folders.push(path);
                continue;
            }
            let mut bytes = fs::read(root.join(&path))?;
            let length = bytes.len() as u64;
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            let mode = entry.metadata()?.permissions().mode();
            self.files.push(Content { path, length, bytes, mode });
        }
        Ok(())
    }

    /// Files that others than their owner may read or write.
    pub fn open_to_others(&self) -> impl Iterator<Item = String> {
        let open = self.files.iter().filter(|file| file.mode & 0o077 != 0 && !file.path.starts_with("directory"));
        open.map(|file| file.path.display().to_string())
    }

    /// Makes it anew in the place of whatever is there.
    pub fn write(&self, root: &Path) -> anyhow::Result<()> {
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        fs::create_dir_all(root)?;
        for folder in &self.folders {
            fs::create_dir_all(root.join(folder))?;
        }
        for Content { path, length, bytes, mode } in &self.files {
            let mut file = File::create(root.join(path))?;
            file.write_all(bytes)?;
            file.set_len(*length)?;
            file.set_permissions(fs::Permissions::from_mode(*mode))?;
        }
        Ok(())
    }
}
