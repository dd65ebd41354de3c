//! Timelines, trends, latest values and studies out; and the audit log.

use crate::wiring::{Need, Service, Wiring};
use anyhow::Context;
use auth::{CursorCipher, Pseudonyms};
use query::{AuditRpcs, Query, StudyRpcs};
use std::sync::Arc;

/// How it is put into a node.
pub const SERVICE: Service = Service {
    name: "query",
    about: "timelines, trends, latest values and studies out; the audit log",
    needs: &[Need::Store, Need::Directory, Need::Audit],
    metrics: query::metrics::METRICS,
    check: None,
    wire,
};

fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (config, store, (auth, decisions)) = (wiring.config, &wiring.backends.store, wiring.audited()?);
    let cipher = match config.cursor_key() {
        Some(key) => CursorCipher::new(&key),
        None => CursorCipher::random(),
    };
    let cipher = cipher.context("query.cursor_key")?;
    let query = Query::new(store.timeline.clone(), store.registry.clone(), cipher, decisions);
    let query = Arc::new(query.with_tolerance(config.tolerance()));
    let audit = AuditRpcs::new(Arc::clone(&query), store.audit.clone());
    wiring.serve(auth.before(audit.service()));
    if let Some(key) = config.study_key_file() {
        let pseudonyms = Pseudonyms::open(&key, config.study.max_days).context("study.key_file")?;
        let studies = StudyRpcs::new(Arc::clone(&query), pseudonyms);
        wiring.serve(auth.before(studies.service()));
    }
    wiring.serve(auth.before(query.service()));
    Ok(())
}
