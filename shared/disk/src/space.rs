//! Free space: the engine refuses everything for good after one write that the disk did not take, so it must never try.
//!
//! Below the reserve nothing new is written, while the engine may still bring what it has in memory into tables. What must
//! be written for reading to go on (the audit log) may use nearly all of it; and when others have filled the disk to the last
//! byte, a file that was kept for that is given up ([`Space::hold`]).

use crate::{Error, manifest::beside};
use std::{
    fmt,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// On a small disk the reserve is this part of it.
const PART: u64 = 8;

/// Free and total space of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes of the disk.
    pub total_bytes: u64,
}

/// Asks how much space the disk of a folder has.
pub type Measure = Arc<dyn Fn(&Path) -> io::Result<Room> + Send + Sync>;

/// Why space is needed: some writes go on when others are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// New data: refused first when space runs out.
    Data,
    /// Without it nothing can be read.
    Audit,
    /// What frees space, or was asked for before.
    Asked,
}

/// The space of one folder.
#[derive(Clone)]
pub struct Space {
    dir: PathBuf,
    reserve_bytes: u64,
    measure: Measure,
    /// The file that is given up when the disk is full; `None`: there is none.
    held: Option<PathBuf>,
    /// Whether it was said that there is none.
    is_low: Arc<AtomicBool>,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").field("dir", &self.dir).field("reserve_bytes", &self.reserve_bytes).finish()
    }
}

impl Space {
    /// That of the disk on which `dir` is, of which so many bytes, or an eighth of a small disk, are kept free.
    pub fn new(dir: &Path, reserve_bytes: u64) -> Self {
        Self::measured(dir, reserve_bytes, Arc::new(statvfs))
    }

    /// The same, with another way to ask.
    pub fn measured(dir: &Path, reserve_bytes: u64, measure: Measure) -> Self {
        Self { dir: dir.to_owned(), reserve_bytes, measure, held: None, is_low: Arc::default() }
    }

    /// Keeps a file of a sixteenth of the reserve beside the folder, whose bytes are really taken, for [`Need::Audit`].
    pub fn hold(mut self) -> Self {
        self.held = Some(beside(&self.dir, "reserve"));
        if let Ok(room) = self.room() {
            self.hold_again(room);
        }
        self
    }

    /// Whether there is space for a write.
    ///
    /// # Errors
    /// `NoSpace` when there is less than the reserve.
    pub fn check(&self, need: Need) -> Result<(), Error> {
        if need == Need::Asked {
            return Ok(());
        }
        let mut room = self.room()?;
        let reserve_bytes = self.reserve(room);
        let wanted = match need {
            Need::Data => reserve_bytes,
            Need::Audit | Need::Asked => reserve_bytes / 32,
        };
        if need == Need::Audit && room.free_bytes < wanted && self.give_up() {
            room = self.room()?;
        }
        let is_low = room.free_bytes < reserve_bytes;
        if self.is_low.swap(is_low, Ordering::Relaxed) != is_low {
            let (dir, free_bytes) = (self.dir.display(), room.free_bytes);
            match is_low {
                true => {
                    tracing::error!(%dir, free_bytes, reserve_bytes, "the disk is full: what is written is refused")
                }
                false => tracing::info!(%dir, free_bytes, "the disk has space again"),
            }
        }
        if !is_low {
            self.hold_again(room);
        }
        match room.free_bytes < wanted {
            true => Err(Error::NoSpace { dir: self.dir.clone(), free_bytes: room.free_bytes, reserve_bytes: wanted }),
            false => Ok(()),
        }
    }

    fn room(&self) -> Result<Room, Error> {
        (self.measure)(&self.dir).map_err(Error::io(&self.dir))
    }

    fn reserve(&self, room: Room) -> u64 {
        self.reserve_bytes.min(room.total_bytes / PART)
    }

    /// Gives up the file that was kept; whether there was one.
    fn give_up(&self) -> bool {
        let Some(held) = &self.held else { return false };
        let gone = fs::remove_file(held).is_ok();
        if gone {
            tracing::error!(file = %held.display(), "the disk is full to the last byte: the space kept for the audit log is used");
        }
        gone
    }

    /// Takes the file's bytes when there are plenty.
    fn hold_again(&self, room: Room) {
        let Some(held) = &self.held else { return };
        let bytes = self.reserve(room) / 16;
        if bytes == 0 || held.exists() || room.free_bytes < self.reserve(room).saturating_add(2 * bytes) {
            return;
        }
        let open = OpenOptions::new().create_new(true).write(true).mode(0o600).open(held);
        let taken =
            open.and_then(|file| Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?));
        if let Err(error) = taken {
            let _ = fs::remove_file(held);
            tracing::warn!(file = %held.display(), %error, "no space could be kept for the audit log");
        }
    }
}

fn statvfs(dir: &Path) -> io::Result<Room> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(Room {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn data_stops_at_the_reserve_and_the_audit_log_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(2_000));
        let asked = free.clone();
        let measure = move |_: &Path| Ok(Room { free_bytes: asked.load(Ordering::SeqCst), total_bytes: 80_000 });
        let engine = dir.path().join("store");
        let space = Space::measured(&engine, 1_600, Arc::new(measure)).hold();
        let held = dir.path().join("store.reserve");
        assert_eq!(fs::metadata(&held).unwrap().len(), 100);
        space.check(Need::Data).unwrap();
        free.store(1_599, Ordering::SeqCst);
        assert!(matches!(space.check(Need::Data), Err(Error::NoSpace { free_bytes: 1_599, reserve_bytes: 1_600, .. })));
        space.check(Need::Audit).unwrap();
        assert!(held.exists());
        free.store(0, Ordering::SeqCst);
        assert!(space.check(Need::Audit).is_err());
        assert!(!held.exists(), "given up");
        free.store(1_800, Ordering::SeqCst);
        space.check(Need::Data).unwrap();
        assert!(held.exists(), "kept again");
    }

    #[test]
    fn the_reserve_is_a_part_of_a_small_disk() {
        let room = |free_bytes| Arc::new(move |_: &Path| Ok(Room { free_bytes, total_bytes: 800 })) as Measure;
        let at = Path::new("/");
        assert!(Space::measured(at, 1 << 40, room(100)).check(Need::Data).is_ok());
        assert!(Space::measured(at, 1 << 40, room(99)).check(Need::Data).is_err());
    }
}
