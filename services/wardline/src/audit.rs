//! `wardline audit`: search the log, export it, and prove that nobody changed it.

mod fhir;

use crate::{
    cli::Audit,
    operator::{self, Token, ask, on_one_line, shown},
    timeline::when,
};
use anyhow::{Context, bail};
use auth::{AuditKey, audit_key};
use client::{Connection, Remote};
use guard::convert;
use model::{
    WriterId,
    audit::{Checkpoint, Interaction, Verifier},
    quoted,
};
use proto::operations::v1::{
    AuditRecord, ListAuditWritersRequest, ReadAuditChainRequest, SearchAuditLogRequest,
    audit_service_client::AuditServiceClient,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{Write, stderr},
    path::Path,
};
use store::{Checkpoints, FolderCheckpoints};

/// Pages of entries are at most so large.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Entries of a search that says nothing, and of a page of it.
const SEARCHED: u32 = 1_000;
/// The most that the server gives at once.
const ENTRIES_A_PAGE: usize = 1_000;

/// Does what the command line says, as the auditor whose token it is; `dir` is `audit.dir`.
///
/// # Errors
/// The server cannot be reached or refuses; a log that was changed is an error, too.
pub async fn run(
    what: &Audit,
    remote: impl Into<Remote>,
    token: impl Into<Token>,
    dir: &Path,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let connection = operator::connect(remote, token).await?;
    let client = AuditServiceClient::new(connection).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut auditor = AuditClient { client };
    match what {
        Audit::Search { asked, json } => {
            let mut records = Vec::new();
            auditor
                .search(asked, asked.limit.unwrap_or(SEARCHED), |some| {
                    records.extend(some);
                    Ok(())
                })
                .await?;
            if *json {
                let records: Vec<_> = records.iter().map(as_json).collect();
                serde_json::to_writer_pretty(&mut *out, &records)?;
                writeln!(out)?;
                return Ok(());
            }
            records.iter().try_for_each(|record| writeln!(out, "{}", line(record)))?;
        }
        Audit::Export { asked } => {
            let export = |some: Vec<AuditRecord>| {
                for record in &some {
                    serde_json::to_writer(&mut *out, &fhir::event(record))?;
                    writeln!(out)?;
                }
                anyhow::Ok(())
            };
            auditor.search(asked, asked.limit.unwrap_or(u32::MAX), export).await?;
        }
        Audit::Verify { checkpoints, public_keys } => {
            let folder = checkpoints.clone().unwrap_or_else(|| dir.join("checkpoints"));
            let keys = trusted(public_keys, dir)?;
            auditor.verify(&folder, &keys, out).await?;
        }
        Audit::Key => bail!("needs no server"),
    }
    Ok(())
}

/// The public keys that are believed: those given, or that of `dir`.
fn trusted(given: &[String], dir: &Path) -> anyhow::Result<Vec<[u8; 32]>> {
    if given.is_empty() {
        return Ok(vec![public_key(dir)?]);
    }
    let key = |text: &String| {
        let wrong = || {
            format!("--public-key {}: must be 64 hexadecimal digits, as `wardline audit key` prints them", quoted(text))
        };
        let byte = |at: usize| text.get(2 * at..2 * at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
        let bytes = bytes.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
        bytes.with_context(wrong)
    };
    given.iter().map(key).collect()
}

/// The public half of the key in `dir`.
pub(crate) fn public_key(dir: &Path) -> anyhow::Result<[u8; 32]> {
    let path = dir.join("key.pk8");
    anyhow::ensure!(path.exists(), "{}: there is no key; give --public-key", path.display());
    Ok(AuditKey::open_or_create(&path)?.public_key())
}

struct AuditClient {
    client: AuditServiceClient<Connection>,
}

impl AuditClient {
    /// Gives the entries page by page, newest first, until there are `most`; where there are more, that is said.
    async fn search(
        &mut self,
        asked: &crate::cli::AuditSearch,
        most: u32,
        mut take: impl FnMut(Vec<AuditRecord>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let now = guard::clock::now();
        let instant = |text: &Option<String>| {
            let at = text.as_deref().map(|text| when::parse(text, now)).transpose()?;
            anyhow::Ok(at.map(convert::timestamp))
        };
        let mut request = SearchAuditLogRequest {
            patient_id: asked.patient.map(|patient| patient.to_string()).unwrap_or_default(),
            start_time: instant(&asked.from)?,
            end_time: instant(&asked.to)?,
            ..SearchAuditLogRequest::default()
        };
        let mut left = most;
        loop {
            request.limit = i32::try_from(left).unwrap_or(i32::MAX).min(SEARCHED as i32);
            let found = ask!(self.search_audit_log(request.clone()));
            // beside what is asked for, which may go into a file
            if found.unreadable > 0 {
                let n = found.unreadable;
                writeln!(stderr(), "{n} more entries cannot be read: `wardline audit verify` says what happened")?;
            }
            left = left.saturating_sub(u32::try_from(found.records.len()).unwrap_or(u32::MAX));
            take(found.records)?;
            request.page_token = found.next_page_token;
            if request.page_token.is_empty() {
                return Ok(());
            }
            if left == 0 {
                writeln!(stderr(), "there are older ones: give a greater --limit, or --to")?;
                return Ok(());
            }
        }
    }

    /// Reads every chain and says what is wrong with it.
    async fn verify(&mut self, folder: &Path, keys: &[[u8; 32]], out: &mut impl Write) -> anyhow::Result<()> {
        // before the entries: what was signed must be there
        let kept = FolderCheckpoints::open(folder)?.kept().await?;
        let listed = ask!(self.list_audit_writers(ListAuditWritersRequest {})).writer_ids;
        let mut writers: BTreeSet<WriterId> = kept.iter().map(|checkpoint| checkpoint.writer).collect();
        for id in &listed {
            writers.insert(id.parse().with_context(|| format!("writer {id}"))?);
        }
        let signed = |checkpoint: &Checkpoint| {
            let key = keys.iter().find(|key| audit_key::key_id(key) == checkpoint.key_id);
            key.is_some_and(|key| audit_key::verify(key, &checkpoint.signed_bytes(), &checkpoint.signature))
        };
        let (mut n_entries, mut n_findings) = (0, 0);
        for writer in writers {
            let own: Vec<_> = kept.iter().filter(|checkpoint| checkpoint.writer == writer).cloned().collect();
            let mut verifier = Verifier::new(writer, own, signed);
            let n = self.read_chain(writer, &mut verifier).await?;
            let covered = verifier.covered();
            let findings = verifier.close();
            let id = writer.uuid();
            writeln!(out, "writer {id}: {n} entries, signed up to {covered}, {} findings", findings.len())?;
            for finding in &findings {
                writeln!(out, "  entry {} {}", finding.sequence, finding.fault)?;
            }
            n_entries += n;
            n_findings += findings.len();
        }
        writeln!(out, "{n_entries} entries, {n_findings} findings")?;
        if n_findings > 0 {
            return Err(crate::ending::No("the audit log is not what was written".into()).into());
        }
        Ok(())
    }

    async fn read_chain(&mut self, writer: WriterId, verifier: &mut Verifier) -> anyhow::Result<u64> {
        let (mut from_sequence, mut n) = (0, 0);
        loop {
            let writer_id = writer.uuid().to_string();
            let request = ReadAuditChainRequest { writer_id, from_sequence, limit: ENTRIES_A_PAGE as i32 };
            let page = ask!(self.read_audit_chain(request)).entries;
            for entry in &page {
                verifier.take(entry.sequence, &entry.entry);
                n += 1;
                from_sequence = entry.sequence.saturating_add(1);
            }
            // a page that is not full is the last: each call of ours adds an entry, so that the end is never reached
            if page.len() < ENTRIES_A_PAGE {
                return Ok(n);
            }
        }
    }
}

/// An entry in a line; who proved nothing may claim any name.
fn line(record: &AuditRecord) -> String {
    let outcome = if record.denied.is_empty() { "allowed" } else { &record.denied };
    let AuditRecord { patient_id, action, purpose, detail, .. } = record;
    let subject = match record.claimed_subject.as_str() {
        "" if record.subject.is_empty() => "unknown".to_owned(),
        "" => record.subject.clone(),
        claimed => format!("{claimed}?"),
    };
    let at = shown(record.at).unwrap_or_default();
    let text = format!("{at:<30} {subject:<44} {action:<17} {purpose:<7} {outcome:<11} {patient_id} {detail}");
    on_one_line(&text).into_owned()
}

fn as_json(record: &AuditRecord) -> Value {
    json!({
        "at": shown(record.at), "subject": record.subject, "claimed_subject": record.claimed_subject,
        "patient_id": record.patient_id, "action": record.action,
        "interaction": Interaction::of(&record.action, &record.detail).code(),
        "purpose": record.purpose, "denied": record.denied, "detail": record.detail,
        "writer_id": record.writer_id, "sequence": record.sequence, "request_id": record.request_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_claims_a_name_forges_no_entry() {
        let claimed_subject = "user:1\n2026-01-01T00:00:00Z  user:2\u{1b}[1A".to_owned();
        let line = line(&AuditRecord { claimed_subject, detail: "login".into(), ..AuditRecord::default() });
        assert!(
            line.contains("user:1\\n2026-01-01T00:00:00Z  user:2\\u{1b}[1A?") && line.lines().count() == 1,
            "{line}"
        );
    }
}
