//! Forgetting: records that every group has committed and that are older, or further back, than the log keeps.

use super::{
    folder::Folder,
    layout, on_disk,
    segments::{Segment, now_ms},
    shared::LogState,
    unwritable,
};
use crate::{Error, metrics};
use disk::Need;
use std::{
    sync::{PoisonError, atomic::Ordering, mpsc},
    time::Duration,
};

/// Often enough for any retention worth setting, seldom enough to cost nothing.
const TRIM_EVERY: Duration = Duration::from_secs(30);

/// Trims now and then, until the log is closed.
pub(super) fn run(shared: &LogState, closed: &mpsc::Receiver<()>) {
    while closed.recv_timeout(TRIM_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        match trim(shared) {
            Ok(0) => {}
            Ok(n_records) => tracing::debug!(n_records, "trimmed the log"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot trim the log"),
        }
    }
}

/// Drops the segments that may go; returns how many records went.
pub(super) fn trim(shared: &LogState) -> Result<u64, Error> {
    let _one_at_a_time = shared.trimming.lock().unwrap_or_else(PoisonError::into_inner);
    let mut n_trimmed = 0;
    while let [first, next, ..] = &shared.segments()[..]
        && may_go(shared, next)
    {
        let Folder { database, meta, chain, .. } = &shared.folder;
        let mut batch = database.batch();
        batch.remove(meta, layout::segment(first.number));
        chain.commit(batch, Need::Asked).and_then(|()| chain.sync()).map_err(on_disk)?;
        // A reader that is in the middle of it keeps its files until it is done.
        shared.change_segments(|segments| drop(segments.remove(0)));
        chain.forget(&first.records).map_err(on_disk)?;
        database.delete_keyspace(first.records.clone()).map_err(unwritable)?;
        n_trimmed += next.starts.iter().zip(&first.starts).map(|(next, first)| (next - first) as u64).sum::<u64>();
    }
    metrics::trimmed(n_trimmed);
    Ok(n_trimmed)
}

/// Whether everything before `next` has been committed by every group and is old, or far back.
fn may_go(shared: &LogState, next: &Segment) -> bool {
    let Some(committed) = shared.committed_by_all() else { return false };
    let age_ms = now_ms().saturating_sub(next.since_ms);
    let newer_bytes = shared.bytes.load(Ordering::Acquire).saturating_sub(next.bytes);
    let passed =
        u128::from(age_ms) > shared.settings.retention_age.as_millis() || newer_bytes > shared.settings.retention_bytes;
    passed && next.starts.iter().zip(&committed).all(|(start, committed)| committed >= start)
}
