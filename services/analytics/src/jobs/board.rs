//! All jobs, as far as this process has followed them, and the one way to change them.
//!
//! What counts is in the store: a step that is put at the number after the last one that this process knows either takes that
//! number, or somebody else was first, and the job is read again. Nothing here decides by a clock who may write.

use super::{
    job::{Job, State},
    step::{Step, Submission},
};
use crate::steps;
use futures::{StreamExt, TryStreamExt, stream};
use model::Clock;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use store::{Histories, Thing, ThingKind};
use tokio::sync::watch;
use uuid::Uuid;

/// Jobs that are read at once.
const AT_ONCE: usize = 16;
/// Names the ids of idempotency keys.
const KEYS: Uuid = Uuid::from_u128(0x7d1c_3f0a_51d2_4d7e_9a52_0f9b_6c3e_8a41);

/// The jobs. Clones are the same.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    store: Arc<dyn Histories>,
    clock: Clock,
    jobs: Mutex<HashMap<Uuid, Followed>>,
    changed: watch::Sender<u64>,
}

/// A job, and since when it is known to stand so.
struct Followed {
    job: Arc<Job>,
    seen: Instant,
}

/// Why a job was not submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The caller's idempotency key stands for another job.
    #[error("this request id was used for another job")]
    KeyTaken,
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A job as it stands, and for how long it is known to stand so.
pub(super) type Standing = (Arc<Job>, Duration);

impl Board {
    /// Of what is in a store.
    pub fn new(store: Arc<dyn Histories>, clock: Clock) -> Self {
        let (changed, _) = watch::channel(0);
        Self(Arc::new(Inner { store, clock, jobs: Mutex::default(), changed }))
    }

    /// The time, in nanoseconds since 1970.
    pub fn now(&self) -> i64 {
        (self.0.clock)().0
    }

    /// Tells of every change that this process makes or sees.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Reads what others did: jobs that are new, and what became of those that waited, that had ended or that somebody else runs.
    pub async fn follow(&self) -> Result<(), store::Error> {
        let announced = self.0.store.announced(ThingKind::Job).await?;
        let behind: Vec<_> = {
            let mut jobs = self.jobs();
            let ids: HashSet<_> = announced.iter().map(|(id, _)| *id).collect();
            // others have cleared them
            jobs.retain(|id, followed| ids.contains(id) || !followed.job.state.has_ended());
            let is_behind = |(id, number): &&(Uuid, u32)| match jobs.get(id) {
                Some(followed) => followed.job.number < *number || followed.job.state == State::Running,
                None => true,
            };
            announced.iter().filter(is_behind).map(|(id, _)| *id).collect()
        };
        let reading = stream::iter(behind).map(|id| async move { self.read(id).await });
        reading.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(())
    }

    /// A job as it is now; `None`: there is none of this id.
    pub async fn get(&self, id: Uuid) -> Result<Option<Job>, store::Error> {
        self.read(id).await
    }

    /// What is asked of each job that is known here, in no order.
    pub fn select<T>(&self, mut what: impl FnMut(&Job) -> Option<T>) -> Vec<T> {
        self.jobs().values().filter_map(|followed| what(&followed.job)).collect()
    }

    /// All jobs that are known here, in no order.
    pub(super) fn standing(&self) -> Vec<Standing> {
        self.jobs().values().map(|followed| (Arc::clone(&followed.job), followed.seen.elapsed())).collect()
    }

    /// Makes a job, durably. With a key of the submitter's, a job that was made with the same key is answered instead.
    ///
    /// # Errors
    /// The key was used for something else; the store.
    pub async fn submit(&self, submission: Submission, key: Option<&str>) -> Result<Job, SubmitError> {
        let id = self.id_for(&submission.submitter, key).await?;
        self.submit_as(id, submission, key).await
    }

    /// The id of a job that is to be submitted: a new one, or the one for which the submitter's key stands.
    pub(super) async fn id_for(&self, submitter: &str, key: Option<&str>) -> Result<Uuid, store::Error> {
        let id = Uuid::now_v7();
        match key {
            Some(key) => self.claim(key_id(submitter, key), id).await,
            None => Ok(id),
        }
    }

    /// As [`Self::submit`], under the id of [`Self::id_for`].
    pub(super) async fn submit_as(
        &self,
        id: Uuid,
        mut submission: Submission,
        key: Option<&str>,
    ) -> Result<Job, SubmitError> {
        if let Some(key) = key {
            submission.key = Some(key_id(&submission.submitter, key));
        }
        if let Some(there) = self.read(id).await? {
            return if is_the_same(&there.submission, &submission) { Ok(there) } else { Err(SubmitError::KeyTaken) };
        }
        let job = Job::new(id, submission.clone());
        let thing = thing(id);
        self.0.store.announce(thing, 1).await?;
        if self.0.store.put_step(thing, 1, &Step::Submitted(submission).encode()).await? {
            self.note(job.clone());
            return Ok(job);
        }
        // the same submission, twice at once
        self.read(id).await?.ok_or(SubmitError::KeyTaken)
    }

    /// The job that a submitter made with a key; `None`: there is none, or none any more.
    pub async fn submitted(&self, submitter: &str, key: &str) -> Result<Option<Job>, store::Error> {
        let thing = Thing { kind: ThingKind::SubmissionKey, id: key_id(submitter, key) };
        let first = self.0.store.steps(thing, 1, 1).await?;
        match first.first().and_then(|bytes| Uuid::from_slice(bytes).ok()) {
            Some(id) => self.read(id).await,
            None => Ok(None),
        }
    }

    /// The job for which a key stands: this one, or that of whoever was first.
    async fn claim(&self, key: Uuid, id: Uuid) -> Result<Uuid, store::Error> {
        let thing = Thing { kind: ThingKind::SubmissionKey, id: key };
        if self.0.store.put_step(thing, 1, id.as_bytes()).await? {
            return Ok(id);
        }
        let first = self.0.store.steps(thing, 1, 1).await?;
        let stored = first.first().and_then(|bytes| Uuid::from_slice(bytes).ok());
        stored.ok_or_else(|| store::Error::Corrupt("a key of a submission that names no job".into()))
    }

    /// Puts the next step of a job. `None`: somebody else put one, and the job stands otherwise by now.
    pub async fn put(&self, job: &Job, step: Step) -> Result<Option<Job>, store::Error> {
        let number = job.number + 1;
        if job.state != State::Running {
            // those who have seen it wait or end do not read it again by themselves
            self.0.store.announce(thing(job.id), number).await?;
        }
        if !self.0.store.put_step(thing(job.id), number, &step.encode()).await? {
            self.read(job.id).await?;
            return Ok(None);
        }
        let mut next = job.clone();
        next.apply(step);
        self.note(next.clone());
        Ok(Some(next))
    }

    /// Forgets a job that has ended, its key first: who submits with that key again makes a new job.
    pub async fn forget(&self, job: &Job) -> Result<(), store::Error> {
        if let Some(key) = job.submission.key {
            self.0.store.forget(Thing { kind: ThingKind::SubmissionKey, id: key }, 1).await?;
        }
        self.0.store.forget(thing(job.id), job.number).await?;
        self.jobs().remove(&job.id);
        self.0.changed.send_modify(|n| *n += 1);
        Ok(())
    }

    /// Reads the steps of a job that are not known yet.
    async fn read(&self, id: Uuid) -> Result<Option<Job>, store::Error> {
        let known = self.jobs().get(&id).map(|followed| Arc::clone(&followed.job));
        let from = known.as_ref().map_or(1, |job| job.number + 1);
        let mut steps = steps::all(&*self.0.store, thing(id), from).await?.into_iter().peekable();
        if steps.peek().is_none() {
            return Ok(known.map(Arc::unwrap_or_clone));
        }
        let mut job = match known {
            Some(job) => Arc::unwrap_or_clone(job),
            None => {
                let first = steps.next().map(|first| decode(id, &first)).transpose()?;
                let Some(Step::Submitted(submission)) = first else {
                    return Err(store::Error::Corrupt(format!("job {id} does not begin with its submission")));
                };
                Job::new(id, submission)
            }
        };
        for step in steps {
            job.apply(decode(id, &step)?);
        }
        self.note(job.clone());
        Ok(Some(job))
    }

    /// Takes over what a job has become, unless more is known already.
    fn note(&self, job: Job) {
        {
            let mut jobs = self.jobs();
            if jobs.get(&job.id).is_some_and(|known| known.job.number >= job.number) {
                return;
            }
            jobs.insert(job.id, Followed { job: Arc::new(job), seen: Instant::now() });
        }
        self.0.changed.send_modify(|n| *n += 1);
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<Uuid, Followed>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_id(submitter: &str, key: &str) -> Uuid {
    Uuid::new_v5(&KEYS, format!("{submitter} {key}").as_bytes())
}

fn thing(id: Uuid) -> Thing {
    Thing { kind: ThingKind::Job, id }
}

fn decode(id: Uuid, bytes: &[u8]) -> Result<Step, store::Error> {
    Step::decode(bytes).map_err(|error| store::Error::Corrupt(format!("a step of job {id}: {error}")))
}

/// Whether two submissions are one that was sent twice.
fn is_the_same(one: &Submission, other: &Submission) -> bool {
    (&one.kind, &one.parameters, one.priority, &one.depends_on, &one.after, &one.run)
        == (&other.kind, &other.parameters, other.priority, &other.depends_on, &other.after, &other.run)
}
