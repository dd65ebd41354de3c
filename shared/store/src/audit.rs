//! From what an index of the audit log says to the entry itself: the log is the truth, and an index that disagrees is
//! reported, not believed.

use crate::{AuditQuery, Error, FoundEntries};
use model::{Nanos, WriterId, audit::Entry};

/// Where an index says that an entry is, and of what time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Indexed {
    pub(crate) at: Nanos,
    pub(crate) writer: WriterId,
    pub(crate) sequence: u64,
}

impl FoundEntries {
    /// Takes what became of an indexed entry; an error only when the store did not answer.
    pub(crate) fn take(&mut self, entry: Result<Entry, Error>) -> Result<(), Error> {
        match entry {
            Ok(entry) => self.entries.push(entry),
            Err(error @ Error::Corrupt(_)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the audit log was changed, or its index");
                self.unreadable += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Indexed {
    /// The entry, from the bytes that the log has there.
    pub(crate) fn entry(&self, query: &AuditQuery, stored: Option<&[u8]>) -> Result<Entry, Error> {
        let place = || format!("entry {} of writer {}", self.sequence, self.writer.uuid());
        let stored = stored.ok_or_else(|| Error::Corrupt(format!("the audit log lacks {}", place())))?;
        let entry = Entry::decode(stored).map_err(|cause| Error::Corrupt(format!("{}: {cause}", place())))?;
        let is_it = (entry.event.at, entry.writer, entry.sequence) == (self.at, self.writer, self.sequence);
        if !is_it || query.patient.is_some_and(|patient| entry.event.patient != Some(patient)) {
            return Err(Error::Corrupt(format!("the index of the audit log is wrong about {}", place())));
        }
        Ok(entry)
    }
}
