//! The audit log of a node: its key, its checkpoints, and the work behind it.

use crate::{config::Config, engines::Store};
use anyhow::{Context, bail, ensure};
use auth::{AuditKey, audit_key};
use guard::clock;
use model::{WriterId, audit::Checkpoint};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
use store::{Auditor, Checkpoints, Error, FolderCheckpoints, Sign, Work};

/// Signs with the key of this node's folder.
struct Signer(AuditKey);

impl Sign for Signer {
    fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], Error> {
        self.0.sign(bytes).map_err(|error| Error::Unavailable(Box::new(error)))
    }

    fn key_id(&self) -> [u8; 8] {
        self.0.key_id()
    }
}

/// This node's auditor, and the work that must run as long as anything is shown.
///
/// # Errors
/// The folder cannot be used, or the audit log lacks entries that were signed: names the writer and the entry.
pub(crate) async fn open(config: &Config, store: &Store) -> anyhow::Result<(Auditor, Work)> {
    let dir = config.audit_dir();
    let (key, kept) = (dir.join("key.pk8"), dir.join("checkpoints"));
    let is_there = [key.exists(), kept.exists()];
    let open = async || {
        whole(store, &dir, is_there).await?;
        let checkpoints = FolderCheckpoints::open(&kept)?;
        let key = AuditKey::open_or_create(&key)?;
        signed_is_there(store, &key, &checkpoints.kept().await?).await?;
        anyhow::Ok((key, checkpoints))
    };
    let (key, checkpoints) = open().await.with_context(|| format!("audit.dir {}", dir.display()))?;
    Ok(Auditor::new(Arc::clone(&store.audit), Arc::new(Signer(key)), Arc::new(checkpoints), clock::now))
}

/// A folder that is missing is not an empty one: key and checkpoints come together, and with the entries of the store beside
/// them. (Where the store is elsewhere, other nodes' entries are in it, and this may be a new node.)
async fn whole(store: &Store, dir: &Path, is_there: [bool; 2]) -> anyhow::Result<()> {
    let restore = "put back what was there; without it nobody can prove what was signed. To begin anew, move the folder away and \
                   make it again with an empty folder `checkpoints` in it";
    match is_there {
        [true, true] => Ok(()),
        [false, true] if fs::read_dir(dir.join("checkpoints"))?.next().is_none() => Ok(()),
        [false, true] => bail!("the key key.pk8 is missing, which signed what is in checkpoints: {restore}"),
        [_, false] if store.embedded.is_some() && !store.audit.writers().await?.is_empty() => {
            bail!("the folder checkpoints is missing, and the store has an audit log: {restore}")
        }
        [_, false] => Ok(()),
    }
}

/// Signatures that are checked at most, from the newest on: a second's work.
const MAX_SIGNATURES: usize = 10_000;

/// What was signed must be there, and the signatures, too.
async fn signed_is_there(store: &Store, key: &AuditKey, kept: &[Checkpoint]) -> anyhow::Result<()> {
    let name = |writer: WriterId| format!("checkpoints/{}.checkpoints", writer.uuid());
    for one in kept.iter().rev().take(MAX_SIGNATURES).filter(|one| one.key_id == key.key_id()) {
        let is_whole = audit_key::verify(&key.public_key(), &one.signed_bytes(), &one.signature);
        ensure!(is_whole, "{}: the signature of entry {} is wrong", name(one.writer), one.sequence);
    }
    // ascending: the last of each writer stays
    let lasts: BTreeMap<_, _> = kept.iter().map(|one| (one.writer, one.sequence)).collect();
    for (writer, sequence) in store.audit.signed().await? {
        let found = lasts.get(&writer).copied().unwrap_or(0);
        ensure!(found >= sequence, "{}: ends at entry {found}, and entry {sequence} was signed", name(writer));
    }
    for (writer, sequence) in lasts {
        let found = store.audit.entries(writer, sequence, 1).await?;
        ensure!(
            found.first().is_some_and(|(number, _)| *number == sequence),
            "the audit log lacks entry {sequence} of writer {}, which was signed: put the store back that has it, or move \
             the folder away and make it again with an empty folder `checkpoints` in it",
            writer.uuid()
        );
    }
    Ok(())
}
