//! Extracts: what a study's subjects measured, as one Parquet file for those who read the study.
//!
//! Subjects go by pseudonyms and at times that are moved as `StudyService` moves them, and all ranges are of moved times: the same
//! range of true times for all would tell by how much each was moved. Who takes part is read from the directory when the job begins, and
//! again before anything is kept. Readings are judged as a timeline judges them: repeats are left out, what was taken back is marked.
//! The same readings and people give the same bytes.

mod asked;
mod card;
mod features;
mod file;
mod judge;
mod readings;
mod rows;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use self::{
    file::{SUBJECT, reading_columns, shown_rows},
    judge::TakenBack,
    readings::Reader,
};
use crate::{
    callers::caller_id,
    jobs::{
        kinds::{Done, Failure, Kind, Parameter, Parameters, Unfit},
        work::Work,
    },
    objects_failed,
    reporting::{Runner, failed},
    reports::{Session, output::Format},
    results,
};
use asked::Asked;
use async_trait::async_trait;
use auth::Pseudonyms;
use card::Card;
use directory::Directory;
use features::Features;
use file::File;
use guard::decisions::Decisions;
use model::{
    ClockTolerance, Nanos, PatientId, Permit, UserId,
    access::{Action, Identity, Principal, Subject},
};
use object_store::path::Path as Key;
use proto::problem;
use readings::SubjectHour;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tonic::{Code, Status};

/// The table of readings, as the extracts' queries call it.
const TABLE: &str = crate::archive::reading::TABLE;
/// Most readings that an extract, or a statement, looks at one after the other.
pub(crate) const READINGS_MAX: usize = 500_000_000;
/// What is beside the rows: the names of all who are in them.
const SUBJECTS: &str = "subjects";

/// What extracts are made from. Clones are the same.
#[derive(Clone)]
pub struct Studies {
    /// Runs queries over the archive.
    pub runner: Runner,
    /// Decides who reads which subjects, and writes it down.
    pub decisions: Decisions,
    /// Names and moves subjects, as `StudyService` does.
    pub names: Arc<Pseudonyms>,
    /// How far a device's clock may be ahead.
    pub tolerance: ClockTolerance,
}

/// What an extract has a row of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Readings,
    Features,
}

/// Extracts as a kind of job.
pub struct Extract {
    what: What,
    studies: Studies,
}

impl Extract {
    /// A row a reading.
    pub fn readings(studies: Studies) -> Self {
        Self { what: What::Readings, studies }
    }

    /// A row for each instant of prediction: what was known by then.
    pub fn features(studies: Studies) -> Self {
        Self { what: What::Features, studies }
    }

    /// The person whose job it is, with all that the directory says of them now.
    fn caller(&self, work: &Work) -> Result<Principal, Failure> {
        let id = caller_id(work.by()).parse().ok().filter(|_| work.by().starts_with("user:"));
        let none = || Failure::Final("an extract is made for the person who submits it".to_owned());
        let (subject, now) = (Subject::User(UserId::new(id.ok_or_else(none)?)), self.studies.decisions.now());
        let identity = Identity { subject, scope: None, issued_at: now, expires_at: Nanos::MAX };
        Ok(self.studies.decisions.directory().principal(&identity, None))
    }

    /// Those of the study who were asked for and may be read now, by their names.
    fn subjects(&self, caller: &Principal, asked: &Asked) -> BTreeMap<String, Permit> {
        let Studies { decisions, names, .. } = &self.studies;
        let mut all = guard::subjects(&decisions.directory(), names, caller, &asked.study, decisions.now());
        all.retain(|name, _| asked.subjects.as_ref().is_none_or(|wanted| wanted.contains(name)));
        all
    }

    /// Those of the study of a job who may be read now, by their names. A refusal is written down.
    ///
    /// # Errors
    /// The caller may read nobody of it.
    async fn readable(
        &self,
        caller: &Principal,
        parameters: &Parameters,
        detail: &str,
    ) -> Result<BTreeMap<String, Permit>, Status> {
        let Studies { decisions, names, .. } = &self.studies;
        decisions.anywhere(caller, Action::ReadDeidentified).refusal_recorded(detail).await?;
        let study = parameters.get(asked::STUDY).map_or("", String::as_str);
        let subjects = guard::subjects(&decisions.directory(), names, caller, study, decisions.now());
        if subjects.is_empty() {
            let text = "there is no such study, or nobody in it whom you may read";
            return Err(problem::field(Code::NotFound, "NO_SUCH_STUDY", "parameters.study", text));
        }
        Ok(subjects)
    }

    async fn read(
        &self,
        work: &Work,
        (asked, subjects): (&Asked, &BTreeMap<String, Permit>),
        (session, file): (&Session, &mut File),
    ) -> Result<Card, Failure> {
        let Studies { decisions, names, tolerance, .. } = &self.studies;
        let (taken_back, mut card) = (taken_back(&decisions.directory()), Card::default());
        for (done, (name, permit)) in (0..).zip(subjects) {
            work.progress("reading", done, subjects.len() as u64, "subjects");
            let (patient, moved_by) = (permit.patient(), names.moved_by(&asked.study, permit.patient()));
            let reader = Reader {
                patient,
                moved_by,
                ended_before: asked.shown_until.plus(moved_by),
                metrics: asked.metrics.clone(),
                taken_back: taken_back.get(&patient).map_or(&[][..], Vec::as_slice).into(),
                tolerance: *tolerance,
            };
            card.subject(name);
            let read = match self.what {
                What::Readings => {
                    let range = (asked.from.plus(moved_by), asked.to.plus(moved_by));
                    let each = |hour: SubjectHour| {
                        card.saw(hour.rows.len());
                        file.readings(name, &hour, &mut card)
                    };
                    reader.each(session, range, each).await
                }
                What::Features => {
                    let mut features = Features::new(asked, moved_by);
                    let range = features.reads();
                    let each = |hour: SubjectHour| {
                        card.saw(hour.rows.len());
                        features.add(&hour, |one| file.features(name, one, &mut card))
                    };
                    match reader.each(session, range, each).await {
                        Ok(()) => features.end(|one| file.features(name, one, &mut card)),
                        Err(error) => Err(error),
                    }
                }
            };
            read.map_err(|error| failed(error.into()))?;
        }
        Ok(card)
    }

    /// Nobody is given who has left the study, or barred it, while it was read.
    fn still_there(&self, caller: &Principal, asked: &Asked, before: &BTreeMap<String, Permit>) -> Result<(), Failure> {
        let now = self.subjects(caller, asked);
        let gone = before
            .iter()
            .filter(|(name, permit)| now.get(*name).is_none_or(|there| there.patient() != permit.patient()));
        match gone.count() {
            0 => Ok(()),
            n => Err(Failure::Again(format!("{n} subjects may not be read any more: it is made anew without them"))),
        }
    }
}

/// What people took back of whose readings, also what was ended since.
pub(crate) fn taken_back(directory: &Directory) -> HashMap<PatientId, Vec<TakenBack>> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for (_, kept) in directory.registry().retractions(None) {
        let Some(what) = kept.value.mark() else { continue };
        let ended_at = kept.value.ended.as_ref().map_or(Nanos::MAX, |ended| Nanos(ended.at));
        all.entry(PatientId::new(kept.value.patient)).or_default().push(TakenBack { what, ended_at });
    }
    all
}

#[async_trait]
impl Kind for Extract {
    fn name(&self) -> &str {
        match self.what {
            What::Readings => "extract",
            What::Features => "features",
        }
    }

    fn about(&self) -> &str {
        match self.what {
            What::Readings => "readings of a study's subjects as one Parquet file, without names and true times",
            What::Features => "what was known of a study's subjects at instants of prediction, as one Parquet file",
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        asked::parameters(self.what)
    }

    fn needs(&self) -> Action {
        Action::SubmitJobs
    }

    fn fits(&self, parameters: &Parameters) -> Result<(), Unfit> {
        Asked::of(self.what, parameters).map(|_| ())
    }

    async fn admits(&self, caller: &Principal, parameters: &Parameters, detail: &str) -> Result<(), Status> {
        self.readable(caller, parameters, detail).await.map(drop)
    }

    /// Who has left the study since, or barred it, is in no file that is handed out.
    async fn gives(
        &self,
        caller: &Principal,
        (parameters, result): (&Parameters, &Value),
        detail: &str,
    ) -> Result<(), Status> {
        let there = self.readable(caller, parameters, detail).await?;
        let objects = self.studies.runner.objects();
        let rows = Key::from(result["object"].as_str().unwrap_or_default());
        let named = objects.get(&results::beside(&rows, SUBJECTS)).await.map_err(|error| objects_failed(&error))?;
        let named: Vec<String> = serde_json::from_slice(&named).unwrap_or_default();
        match named.iter().filter(|name| !there.contains_key(*name)).count() {
            0 if !named.is_empty() => Ok(()),
            n => {
                let text = format!("{n} of its {} subjects may not be read any more: make it anew", named.len());
                Err(problem::status(Code::FailedPrecondition, "SUBJECTS_LEFT", text))
            }
        }
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        let Studies { runner, decisions, names, .. } = &self.studies;
        let asked = Asked::of(self.what, parameters).map_err(Failure::for_good)?;
        let asked = asked.shown(decisions.now().plus(-names.longest())).map_err(Failure::for_good)?;
        let caller = self.caller(work)?;
        let subjects = self.subjects(&caller, &asked);
        if subjects.is_empty() {
            let who =
                if asked.subjects.is_some() { "none of `subjects` is in the study" } else { "nobody is in the study" };
            return Err(Failure::Final(format!("{who}, as far as you may read it")));
        }
        let snapshot = runner.snapshot(&[TABLE.to_owned()]).await.map_err(failed)?;
        let limits = crate::reports::Limits { n_rows: READINGS_MAX, ..runner.limits().clone() };
        let session = Session::open(self.name(), snapshot.tables(), &limits).await;
        let session = session.map_err(|error| failed(error.into()))?;
        let scratch = runner.objects().scratch().map_err(Failure::again)?;
        let path = scratch.path().join("rows");
        let mut file = File::create(&path, self.what, &asked).map_err(Failure::again)?;
        let card = self.read(work, (&asked, &subjects), (&session, &mut file)).await?;
        let rows = card.n_in_and_out();
        let card = card.told(&asked, names.longest(), file.columns());
        let sha256 = file.end(&card).await.map_err(Failure::again)?;
        self.still_there(&caller, &asked, &subjects)?;
        let patients = subjects.values().map(Permit::patient);
        let purpose = subjects.values().next().map(Permit::purpose);
        let detail = format!("{} {}", self.name(), work.job());
        let written = decisions.shows(&caller, (Action::ReadDeidentified, purpose), patients, &detail).await;
        written.map_err(|status| Failure::again(status.message()))?;
        let key = results::key(work.job(), work.attempt_id(), Format::Parquet);
        let bytes = std::fs::metadata(&path).map_err(Failure::again)?.len();
        let named = json!(subjects.keys().collect::<Vec<_>>()).to_string();
        runner.objects().put(&results::beside(&key, SUBJECTS), named.into()).await.map_err(Failure::again)?;
        runner.objects().adopt(&key, path).await.map_err(Failure::again)?;
        let what = json!({ "study": asked.study, "sha256": sha256, "card": card });
        let result = results::naming(what, &key, bytes, Format::Parquet);
        Ok(Done { result, rows, data_versions: snapshot.versions().clone(), seed: 0 })
    }
}
