//! The kind `import`: files in, a new version of a data set out.

mod outcome;

use crate::{
    catalogue::{Adding, Catalogue, DataSet, REPORT, Version},
    check_quality, cross_references,
    datasets::{
        self, ImportReport, Input, Kind as DataKind, Options, ParquetFile,
        quality::{Quality, References},
    },
    hexadecimal::hexadecimal,
    jobs::{
        kinds::{Done, Failure, Kind, Parameter, Parameters, Range, Route, given},
        work::Work,
    },
    samples,
    sources::{Fetched, Origin, Sources},
    uploads::{self, Uploads},
};
use async_trait::async_trait;
use model::{Clock, access::Action};
use object_store::path::Path as Key;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{BufWriter, Read},
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use uuid::Uuid;

/// Name of the kind.
pub const NAME: &str = "import";
/// Most files of an import.
const FILES_MAX: usize = 64;
const PART: &str = "part-0.parquet";
/// The parameter that says what is done when nothing has changed.
const UNCHANGED: &str = "unchanged";
/// The parameter that says when the new version is in use.
const USE: &str = "use";

/// Imports what was uploaded, or what a source of the settings has.
pub struct Import {
    /// Where versions are kept.
    pub catalogue: Catalogue,
    /// Files that were sent.
    pub uploads: Uploads,
    /// Where the settings say that data comes from.
    pub sources: Sources,
    /// Says when a version was made.
    pub clock: Clock,
}

/// What is imported, on this disk.
struct Files {
    files: Vec<PathBuf>,
    names: Vec<String>,
    sha256: String,
    /// Whether one of them is a sample whose numbers are made.
    made: bool,
    origin: Option<Origin>,
}

/// What there is for an import.
enum ToImport {
    /// Files, in a folder that is theirs.
    New(Files, TempDir),
    /// What a version was made of already; and what fails of it.
    Same(Version, Vec<String>),
}

#[async_trait]
impl Kind for Import {
    fn name(&self) -> &str {
        NAME
    }

    fn about(&self) -> &str {
        "imports files as a new version of a data set, and checks its quality"
    }

    fn parameters(&self) -> Vec<Parameter> {
        let kinds = Range::words(datasets::kinds().iter().map(|kind| &*kind.name));
        let text = |name, most, about| Parameter::new(name, Range::Text(most), Some("-"), about);
        vec![
            Parameter::new("kind", kinds, None, "kind of data set"),
            text("uploads", FILES_MAX * 37, "ids of uploaded files, with commas; - when a source is read"),
            text("source", 64, "name of a source in the settings; - when files were uploaded"),
            text("layout", 64, "name of the layout, where headings and file name do not tell; - when they do"),
            Parameter::new(
                UNCHANGED,
                Range::words(["skip", "import"]),
                Some("skip"),
                "what is done when a source has what the current version was made of",
            ),
            Parameter::new(
                USE,
                Range::words(["passed", "always"]),
                Some("passed"),
                "when the new version is in use: if it passed its checks or there is no other, or always",
            ),
        ]
    }

    fn routes(&self) -> Vec<Route> {
        let word = "reload".to_owned();
        vec![Route { word, fixed: Parameters::new(), positional: vec!["kind".to_owned(), "source".to_owned()] }]
    }

    fn needs(&self) -> Action {
        Action::ManageData
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        let kind = datasets::kind(&parameters["kind"]).map_err(Failure::for_good)?;
        let data_set = self.catalogue.get(&kind.name).await.map_err(Failure::again)?;
        if let Some(version) = data_set.versions.iter().find(|version| version.job == work.job()) {
            // an attempt before this one has added it, and did not come to say so
            let kept = self.catalogue.report(version).await.map_err(Failure::again)?;
            return self.finish(work, parameters, (&data_set, version), &kept).await;
        }
        work.progress("fetching", 0, 0, "files");
        let (fetched, scratch) = match self.find(work, kind, parameters, &data_set).await? {
            ToImport::New(files, scratch) => (files, scratch),
            ToImport::Same(same, faults) => return Ok(outcome::nothing_new(work, kind, (&data_set, &same), &faults)),
        };
        let references = cross_references::references(&self.catalogue, kind).await?;
        let options = Options { layout: given(parameters, "layout").map(str::to_owned), ..Options::default() };
        let made = scratch.path().join("made.parquet");
        let (files, to, telling) = (fetched.files.clone(), made.clone(), work.clone());
        let reading = move || read(kind, &files, options, &references, &to, &telling);
        let read = tokio::task::spawn_blocking(reading).await;
        let (report, quality) =
            read.map_err(|_| Failure::Final("the import failed: operators find more in the log".into()))??;
        if report.n_accepted == 0 {
            return Err(Failure::Final(outcome::nothing_accepted(work, &report)));
        }
        let whole = json!({ "import": report, "quality": quality });
        let version = self.keep(work, kind, &fetched, (&report, quality.passed(), &whole), made).await?;
        // what others see from now on: not by a worker who has lost the job
        work.confirm().await?;
        self.add(work, kind, parameters, version, &whole).await
    }
}

impl Import {
    /// Makes a version known, unless one was made of the same meanwhile. `report`: what is kept with the version.
    async fn add(
        &self,
        work: &Work,
        kind: &DataKind,
        parameters: &Parameters,
        version: Version,
        report: &Value,
    ) -> Result<Done, Failure> {
        let how = adding(parameters);
        let data_set = self.catalogue.add(&kind.name, version.clone(), how).await.map_err(Failure::again)?;
        let kept = data_set.version(version.id);
        if kept.is_none_or(|kept| kept.prefix != version.prefix) {
            // an attempt that was thought lost, or another import of the same, was faster
            let prefix = Key::from(version.prefix.as_str());
            self.catalogue.objects().remove_all(&prefix).await.map_err(Failure::again)?;
        }
        if let Some(kept) = kept {
            return self.finish(work, parameters, (&data_set, kept), report).await;
        }
        let same = how.compared(&data_set).find(|other| other.is_same(&version));
        let same = same.ok_or_else(|| Failure::Final("the version was deleted at once".to_owned()))?;
        Ok(outcome::nothing_new(work, kind, (&data_set, same), &check_quality::faults_of(report)))
    }

    /// What is left to do when the version is added, and what the submitter is told. `report`: what is kept with the version.
    async fn finish(
        &self,
        work: &Work,
        parameters: &Parameters,
        (data_set, version): (&DataSet, &Version),
        report: &Value,
    ) -> Result<Done, Failure> {
        for id in ids(parameters)? {
            // a file that stays is swept after a day; the version counts all the same
            if let Err(error) = self.uploads.remove(id).await {
                work.say(format!("the uploaded file {id} is removed later: {error}"));
            }
        }
        let (kind, n) = (&parameters["kind"], |name: &str| report["import"][name].as_u64().unwrap_or_default());
        let (read, accepted, refused) = (n("n_read"), n("n_accepted"), n("n_refused"));
        work.say(format!("{accepted} of {read} rows accepted, {refused} refused"));
        let result = json!({
            "kind": kind, "version_id": version.id, "read": read, "accepted": accepted, "repaired": n("n_repaired"),
            "refused": refused, "passed": version.passed, "nothing_new": false,
            "files_not_whole": outcome::tell_files(work, report),
        });
        let result = outcome::tell(work, (data_set, version), &check_quality::faults_of(report), result);
        let data_versions = [(kind.clone(), version.id.to_string())].into();
        Ok(Done { result, rows: (read, accepted), data_versions, seed: 0 })
    }

    /// Finds what there is to import. What a version was made of is imported again if its checks come out otherwise by now,
    /// because of other tables.
    async fn find(
        &self,
        work: &Work,
        kind: &'static DataKind,
        parameters: &Parameters,
        data_set: &DataSet,
    ) -> Result<ToImport, Failure> {
        let mut before: Vec<_> = adding(parameters).compared(data_set).cloned().collect();
        loop {
            let scratch = self.catalogue.objects().scratch().map_err(Failure::again)?;
            let same = match self.fetch(work, kind, parameters, &before, &scratch).await? {
                Ok(files) => return Ok(ToImport::New(files, scratch)),
                Err(same) => same,
            };
            let faults = check_quality::faults_now(&self.catalogue, kind, &same).await?;
            if faults.is_empty() == same.passed {
                return Ok(ToImport::Same(same, faults));
            }
            work.say("nothing new, but its checks come out otherwise by now: it is imported again");
            before.clear();
        }
    }

    /// Brings the files to this disk; or says which of `before` was made of them.
    async fn fetch(
        &self,
        work: &Work,
        kind: &DataKind,
        parameters: &Parameters,
        before: &[Version],
        scratch: &TempDir,
    ) -> Result<Result<Files, Version>, Failure> {
        let (mut files, mut names, mut digest, mut origin) = (Vec::new(), Vec::new(), Sha256::new(), None);
        let folder = scratch.path().join("files");
        fs::create_dir(&folder).map_err(Failure::again)?;
        for (n, id) in ids(parameters)?.into_iter().enumerate() {
            let to = folder.join(format!("{n:03}"));
            fs::create_dir(&to).map_err(Failure::again)?;
            let (begun, _) = self.uploads.find(id, work.by()).await.map_err(|error| unfetched(id, error))?;
            // its ending says how it is packed; a name with folders was not taken
            let to = to.join(&begun.file_name);
            let (name, sha256) = self.uploads.fetch(id, work.by(), &to).await.map_err(|error| unfetched(id, error))?;
            digest.update(sha256);
            files.push(to);
            names.push(name);
        }
        if let Some(source) = given(parameters, "source") {
            let (to, last) = (folder.join("source"), before.first());
            fs::create_dir(&to).map_err(Failure::again)?;
            let had = last.and_then(|version| version.origin.as_ref());
            let (fetched, now) = match (self.sources.fetch((source, &kind.name), had, &to, work).await?, last) {
                (Fetched::Files(fetched, now), _) => (fetched, now),
                (Fetched::Unchanged, Some(last)) => return Ok(Err(last.clone())),
                (Fetched::Unchanged, None) => return Err(Failure::again("the source says that nothing has changed")),
            };
            origin = Some(now).filter(|_| files.is_empty());
            for path in fetched {
                digest.update(sha256(&path).map_err(Failure::again)?);
                names.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
                files.push(path);
            }
        }
        if files.is_empty() {
            return Err(Failure::Final("uploads: give ids of uploaded files, or the name of a source".to_owned()));
        }
        let made = files.iter().any(|file| samples::is_made(file));
        let sha256 = hexadecimal(digest.finalize());
        let same = before.iter().find(|version| version.is_made_of(origin.as_ref(), &sha256, &names)).cloned();
        Ok(same.map_or(Ok(Files { files, names, sha256, made, origin }), Err))
    }

    /// Puts what was made among the objects, with its report; not yet known to others.
    async fn keep(
        &self,
        work: &Work,
        kind: &DataKind,
        fetched: &Files,
        (report, passed, whole): (&ImportReport, bool, &Value),
        made: PathBuf,
    ) -> Result<Version, Failure> {
        let prefix = Key::from_iter(["datasets", &kind.name, &work.attempt_id().to_string()]);
        let bytes = fs::metadata(&made).map_err(Failure::again)?.len();
        let objects = self.catalogue.objects();
        objects.adopt(&prefix.clone().join(PART), made).await.map_err(Failure::again)?;
        objects.put(&prefix.clone().join(REPORT), whole.to_string().into()).await.map_err(Failure::again)?;
        let filled =
            report.completeness.iter().map(|one| (one.column.clone(), share(one.n, report.n_accepted))).collect();
        Ok(Version {
            // one of a job, whoever does it
            id: work.job(),
            at: (self.clock)().0,
            by: work.by().to_owned(),
            job: work.job(),
            files: vec![PART.to_owned()],
            prefix: prefix.to_string(),
            rows: report.n_accepted,
            bytes,
            source_sha256: fetched.sha256.clone(),
            source_files: fetched.names.clone(),
            passed,
            made: fetched.made,
            filled,
            origin: fetched.origin.clone(),
        })
    }
}

/// How the new version is added: a source that is read as always makes nothing twice.
fn adding(parameters: &Parameters) -> Adding {
    let is = |name: &str, word: &str| parameters.get(name).is_some_and(|text| text == word);
    let is_as_always = given(parameters, "uploads").is_none() && given(parameters, "layout").is_none();
    Adding { is_forced: is(USE, "always"), is_repeated: !is_as_always || is(UNCHANGED, "import") }
}

/// Reads the files into a Parquet file; the report and what the checks found.
fn read(
    kind: &DataKind,
    files: &[PathBuf],
    options: Options,
    references: &References,
    to: &Path,
    work: &Work,
) -> Result<(ImportReport, Quality), Failure> {
    let total = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.len()).sum::<u64>();
    work.say(format!("{} files, {total} bytes", files.len()));
    let writer = BufWriter::new(File::create(to).map_err(Failure::again)?);
    let mut table = ParquetFile::create(kind, writer).map_err(Failure::for_good)?;
    let inputs: Vec<_> = files.iter().map(|file| Input::file(file)).collect();
    let mut rows = 0;
    let done = datasets::import(kind, inputs, options, references, |batch| {
        if work.stop().is_cancelled() {
            return Err(datasets::Error::Sink("nobody wants the result any more".into()));
        }
        rows += batch.num_rows() as u64;
        work.progress("reading", rows, 0, "rows");
        table.write(batch)
    });
    let done = done.map_err(failed)?;
    table.finish().map_err(failed)?.into_inner().map_err(Failure::again)?;
    Ok(done)
}

/// What an error means for the job: a disk that was full may have room next time.
fn failed(error: datasets::Error) -> Failure {
    match error {
        error @ datasets::Error::Sink(_) => Failure::again(error),
        error => Failure::for_good(error),
    }
}

/// The ids of uploads.
fn ids(parameters: &Parameters) -> Result<Vec<Uuid>, Failure> {
    let ids = given(parameters, "uploads").into_iter().flat_map(|ids| ids.split(','));
    let ids: Result<Vec<Uuid>, _> = ids.map(|id| id.trim().parse()).collect();
    let ids = ids.map_err(|_| Failure::Final("uploads: must be UUIDs, with commas".to_owned()))?;
    match ids.len() <= FILES_MAX {
        true => Ok(ids),
        false => Err(Failure::Final(format!("uploads: at most {FILES_MAX} files; import the rest by itself"))),
    }
}

fn unfetched(id: Uuid, error: uploads::Error) -> Failure {
    match error {
        uploads::Error::Objects(error) => Failure::again(error),
        error => Failure::Final(format!("uploads: {id}: {error}")),
    }
}

/// Share of rows, 0 to 1.
fn share(n: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { n as f64 / of as f64 }
}

fn sha256(path: &Path) -> std::io::Result<[u8; 32]> {
    let (mut digest, mut file, mut piece) = (Sha256::new(), File::open(path)?, vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(digest.finalize().into()),
            n => digest.update(&piece[..n]),
        }
    }
}
