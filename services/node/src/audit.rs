//! The audit log of a node: its key, its checkpoints, and the work behind it.

mod client;

pub(crate) use client::public_key;
pub use client::run;

use crate::{clock, config::Config, engines::Store};
use anyhow::Context;
use auth::AuditKey;
use std::sync::Arc;
use store::{Auditor, Error, FolderCheckpoints, Sign, Work};

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
pub(crate) fn open(config: &Config, store: &Store) -> anyhow::Result<(Auditor, Work)> {
    let dir = config.audit_dir();
    let open = || {
        let key = AuditKey::open_or_create(&dir.join("key.pk8"))?;
        let checkpoints = FolderCheckpoints::open(dir.join("checkpoints"))?;
        anyhow::Ok((key, checkpoints))
    };
    let (key, checkpoints) = open().with_context(|| format!("audit.dir {}", dir.display()))?;
    Ok(Auditor::new(Arc::clone(&store.audit), Arc::new(Signer(key)), Arc::new(checkpoints), clock::now))
}
