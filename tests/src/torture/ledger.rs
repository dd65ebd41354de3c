//! The ledger: what was sent and what was acknowledged, on disk, outside the process that is killed.
//!
//! A line a fact: `S device sequence` before a batch is handed over, `A device through` when the device hears of it. What
//! was acknowledged counts from the moment its line is durable.

use anyhow::Context;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::mpsc,
    thread::JoinHandle,
};

/// Lines that wait for the disk: some seconds of a busy ward; then the devices wait.
const WAITING_LINES: usize = 65_536;

/// The way in. Cheap to clone; the file is complete when all clones are gone and [`Ledger::close`] has returned.
#[derive(Clone)]
pub struct Pen(mpsc::SyncSender<String>);

impl Pen {
    /// A batch is about to be handed over.
    pub fn sent(&self, device: u32, sequence: u64) -> anyhow::Result<()> {
        self.0.send(format!("S {device} {sequence}\n")).ok().context("the ledger is closed")
    }

    /// The device has heard that all up to `through` is durable.
    pub fn acknowledged(&self, device: u32, through: u64) -> anyhow::Result<()> {
        self.0.send(format!("A {device} {through}\n")).ok().context("the ledger is closed")
    }
}

/// A ledger of what was acknowledged, kept in a file.
pub struct Ledger {
    path: PathBuf,
    writing: JoinHandle<std::io::Result<()>>,
}

/// What a ledger says of one device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// The last batch that may have left.
    pub sent: u64,
    /// The last batch that was acknowledged.
    pub acknowledged: u64,
}

impl Ledger {
    /// Opens a ledger in a file, and a pen to write into it.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Pen)> {
        let mut file = File::create_new(path)?;
        let (pen, lines) = mpsc::sync_channel::<String>(WAITING_LINES);
        let writing = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || {
            while let Ok(first) = lines.recv() {
                let mut text = first;
                lines.try_iter().for_each(|line| text.push_str(&line));
                file.write_all(text.as_bytes())?;
                file.sync_data()?;
            }
            Ok(())
        })?;
        Ok((Self { path: path.to_owned(), writing }, Pen(pen)))
    }

    /// Waits until all is on disk, and reads it back. All pens must be gone.
    pub fn close(self) -> anyhow::Result<BTreeMap<u32, Account>> {
        let written = self.writing.join().map_err(|_| anyhow::anyhow!("the ledger's thread panicked"))?;
        written.context("the ledger")?;
        read(&fs::read_to_string(&self.path)?)
    }
}

fn read(text: &str) -> anyhow::Result<BTreeMap<u32, Account>> {
    let mut accounts: BTreeMap<u32, Account> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().with_context(|| format!("ledger: {line:?}"));
        let (kind, device, number) = (word()?, word()?.parse()?, word()?.parse()?);
        let account = accounts.entry(device).or_default();
        match kind {
            "S" => account.sent = account.sent.max(number),
            "A" => account.acknowledged = account.acknowledged.max(number),
            _ => anyhow::bail!("ledger: {line:?}"),
        }
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let (ledger, pen) = Ledger::open(&dir.path().join("ledger"))?;
        for sequence in 1..=1_000 {
            pen.sent(7, sequence)?;
        }
        pen.acknowledged(7, 998)?;
        pen.sent(8, 1)?;
        drop(pen);
        let accounts = ledger.close()?;
        assert_eq!(accounts[&7], Account { sent: 1_000, acknowledged: 998 });
        assert_eq!(accounts[&8], Account { sent: 1, acknowledged: 0 });
        assert!(read("X 1 1").is_err());
        Ok(())
    }
}
