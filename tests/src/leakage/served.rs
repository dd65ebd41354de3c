//! The query service in this process, asked as the server would ask it, and the audit log behind it.

use super::question::{Asker, Kind, Page, Question, of_accesses, of_latest, of_subject, of_timeline, of_trend};
use super::world::World;
use anyhow::Context;
use async_trait::async_trait;
use auth::{CursorCipher, Pseudonyms};
use bytes::Bytes;
use directory::LiveDirectory;
use guard::decisions::Decisions;
use model::{
    Nanos, PatientId, UserId, WriterId,
    audit::{Checkpoint, Entry, Verifier},
};
use proto::{
    operations::v1::audit_service_server::AuditService,
    telemetry::v1::{
        ListPatientsRequest, study_service_server::StudyService, timeline_service_server::TimelineService,
    },
};
use query::{AuditRpcs, Query, StudyRpcs};
use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use store::{Audit, AuditQuery, Auditor, Checkpoints, Error, FoundEntries, Profiles, Revision, Rollups, Sign};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(0) };
}

/// Turns the clock of this thread's services.
pub fn turn(now: i64) {
    NOW.set(now);
}

fn now() -> Nanos {
    Nanos(NOW.get())
}

/// Longest that times of subjects are moved, in days.
pub const MOVED_DAYS: u16 = 2;

/// What studies call patients.
pub fn names() -> Pseudonyms {
    Pseudonyms::new(&[7; 32], MOVED_DAYS).expect("a key of 32 bytes")
}

/// Signs nothing and keeps nothing: the chain itself is what is checked.
struct Nothing;

impl Sign for Nothing {
    fn sign(&self, _: &[u8]) -> Result<[u8; 64], Error> {
        Ok([0; 64])
    }

    fn key_id(&self) -> [u8; 8] {
        [0; 8]
    }
}

#[async_trait]
impl Profiles for Nothing {
    async fn profile(&self, _: UserId, _: Revision) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }
}

#[async_trait]
impl Checkpoints for Nothing {
    async fn keep(&self, _: &Checkpoint) -> Result<(), Error> {
        Ok(())
    }

    async fn kept(&self) -> Result<Vec<Checkpoint>, Error> {
        Ok(Vec::new())
    }
}

/// An audit log in memory, of one writer.
#[derive(Default)]
pub struct MemoryLog(Mutex<Vec<Entry>>);

impl MemoryLog {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Audit for MemoryLog {
    async fn append(&self, entries: &[Entry]) -> Result<(), Error> {
        self.all().extend_from_slice(entries);
        Ok(())
    }

    async fn entries(&self, _: WriterId, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        let all = self.all();
        let first = all.partition_point(|entry| entry.sequence < from);
        let entry = |entry: &Entry| (entry.sequence, entry.encode().into());
        Ok(all[first..].iter().take(limit).map(entry).collect())
    }

    async fn writers(&self) -> Result<Vec<WriterId>, Error> {
        Ok(self.all().first().map(|entry| entry.writer).into_iter().collect())
    }

    async fn search(&self, query: &AuditQuery) -> Result<FoundEntries, Error> {
        let all = self.all();
        let is_meant = |entry: &&Entry| {
            let event = &entry.event;
            (query.patient.is_none() || event.patient == query.patient) && query.from <= event.at && event.at < query.to
        };
        let mut entries: Vec<_> = all.iter().filter(is_meant).cloned().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.event.at, entry.sequence)));
        entries.truncate(query.limit);
        Ok(FoundEntries { entries, unreadable: 0 })
    }
}

/// A query service and its audit log, for one world.
pub struct Served {
    query: Arc<Query>,
    audits: AuditRpcs,
    studies: StudyRpcs,
    log: Arc<dyn Audit>,
    writer: WriterId,
    directory: LiveDirectory,
    folder: PathBuf,
    /// Directory files written; each has a name of its own, so that none is taken for the one before.
    n_files: u64,
    n_entries: u64,
    stop: CancellationToken,
    work: JoinHandle<Result<(), Error>>,
}

impl Served {
    /// Its directory file is in `folder`, which must be empty.
    pub fn open(store: Arc<dyn Rollups>, log: Arc<dyn Audit>, folder: PathBuf) -> anyhow::Result<Self> {
        let directory = LiveDirectory::open(&folder)?;
        let (auditor, work) = Auditor::new(Arc::clone(&log), Arc::new(Nothing), Arc::new(Nothing), now);
        let stop = CancellationToken::new();
        let work = tokio::spawn(work.run(stop.clone()));
        let writer = auditor.writer();
        let cipher = CursorCipher::random().context("a key for page tokens")?;
        let query =
            Arc::new(Query::new(store, Arc::new(Nothing), cipher, Decisions::new(directory.clone(), auditor, now)));
        let audits = AuditRpcs::new(Arc::clone(&query), Arc::clone(&log));
        let studies = StudyRpcs::new(Arc::clone(&query), names());
        Ok(Self { query, audits, studies, log, writer, directory, folder, n_files: 0, n_entries: 0, stop, work })
    }

    /// Has the directory say what the world is like now.
    pub fn know(&mut self, world: &World) -> anyhow::Result<()> {
        let path = |number: u64| self.folder.join(format!("world-{number}.toml"));
        if self.n_files > 0 {
            fs::remove_file(path(self.n_files))?;
        }
        self.n_files += 1;
        fs::write(path(self.n_files), world.toml())?;
        anyhow::ensure!(self.directory.refresh()?, "the directory does not see that it changed");
        Ok(())
    }

    /// Asks, and gives what is shown.
    pub async fn ask(&self, world: &World, asker: &Asker, question: &Question) -> Result<Page, Status> {
        let principal = asker.principal(world, &self.directory.get());
        match question.kind {
            Kind::Readings | Kind::Columns => {
                let mut request = Request::new(question.timeline());
                request.extensions_mut().insert(principal);
                self.query.read_timeline(request).await.map(Response::into_inner).map(|page| of_timeline(&page))
            }
            Kind::Trend => {
                let mut request = Request::new(question.trend());
                request.extensions_mut().insert(principal);
                self.query.read_trend(request).await.map(Response::into_inner).map(|page| of_trend(&page))
            }
            Kind::Latest => {
                let mut request = Request::new(question.latest());
                request.extensions_mut().insert(principal);
                self.query.latest_readings(request).await.map(Response::into_inner).map(|page| of_latest(&page))
            }
            Kind::Subject => {
                let subject = names().subject(question.study, PatientId::new(question.patient));
                let mut request = Request::new(question.subject(subject));
                request.extensions_mut().insert(principal);
                self.studies.read_subject(request).await.map(Response::into_inner).map(|page| of_subject(&page))
            }
            Kind::Accesses => {
                let own = self.n_entries + 1;
                let mut request = Request::new(question.accesses());
                request.extensions_mut().insert(principal);
                self.audits.list_accesses(request).await.map(Response::into_inner).map(|page| of_accesses(&page, own))
            }
        }
    }

    /// Lists patients, page by page: their ids in the order of the answers.
    pub async fn list(&self, world: &World, asker: &Asker, ward: &str, size: i32) -> Result<Vec<Uuid>, Status> {
        let mut listed = Vec::new();
        let mut request = ListPatientsRequest { ward: ward.into(), page_size: size, ..Default::default() };
        loop {
            let mut sent = Request::new(request.clone());
            sent.extensions_mut().insert(asker.principal(world, &self.directory.get()));
            let page = self.query.list_patients(sent).await?.into_inner();
            for patient in page.patients {
                listed.push(patient.patient_id.parse().map_err(|_| Status::internal("no id"))?);
            }
            if page.next_page_token.is_empty() {
                return Ok(listed);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The entries of the audit log since the last time.
    pub async fn written(&mut self) -> anyhow::Result<Vec<Entry>> {
        let entries = self.log.entries(self.writer, self.n_entries + 1, 100).await?;
        self.n_entries += entries.len() as u64;
        entries.iter().map(|(_, bytes)| Ok(Entry::decode(bytes)?)).collect()
    }

    /// Ends it; what is wrong with the chain of its audit log, and how many entries there are.
    pub async fn close(self) -> anyhow::Result<(usize, u64)> {
        self.stop.cancel();
        self.work.await??;
        let mut verifier = Verifier::new(self.writer, [], |_| false);
        let (mut from, mut n) = (1, 0);
        loop {
            let entries = self.log.entries(self.writer, from, 1_000).await?;
            let Some((last, _)) = entries.last() else { break };
            from = last + 1;
            n += entries.len() as u64;
            entries.iter().for_each(|(sequence, bytes)| verifier.take(*sequence, bytes));
        }
        Ok((verifier.close().len(), n))
    }
}
