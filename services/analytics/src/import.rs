//! The kind `import`: files in, a new version of a data set out.

use crate::{
    catalogue::{Catalogue, DataSet, REPORT, Version},
    datasets::{
        self, ImportReport, Input, Kind as DataKind, Options, ParquetFile,
        quality::{Quality, References},
    },
    hexadecimal::hexadecimal,
    jobs::{
        kinds::{Done, Failure, Kind, Parameter, Parameters, Range, Route, given},
        work::Work,
    },
    sources::{Fetched, Origin, Sources},
    tables,
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
    origin: Option<Origin>,
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
            return self.finish(work, kind, parameters, version, &kept["import"]).await;
        }
        let scratch = self.catalogue.objects().scratch().map_err(Failure::again)?;
        work.progress("fetching", 0, 0, "files");
        let before = before(&data_set, parameters);
        let Some(fetched) = self.fetch(work, kind, parameters, before.as_ref(), &scratch).await? else {
            return Ok(nothing_new(work, kind, before));
        };
        let references = self.references(kind).await?;
        let options = Options { layout: given(parameters, "layout").map(str::to_owned), ..Options::default() };
        let made = scratch.path().join("made.parquet");
        let (files, to, telling) = (fetched.files.clone(), made.clone(), work.clone());
        let reading = move || read(kind, &files, options, &references, &to, &telling);
        let read = tokio::task::spawn_blocking(reading).await;
        let (report, quality) =
            read.map_err(|_| Failure::Final("the import failed: operators find more in the log".into()))??;
        let version = self.keep(work, kind, &fetched, (&report, &quality), made).await?;
        // what others see from now on: not by a worker who has lost the job
        work.confirm().await?;
        self.catalogue.add(&kind.name, version.clone()).await.map_err(Failure::again)?;
        self.finish(work, kind, parameters, &version, &json!(report)).await
    }
}

impl Import {
    /// What is left to do when the version is added, and what the submitter is told. `report`: the import's, as JSON.
    async fn finish(
        &self,
        work: &Work,
        kind: &DataKind,
        parameters: &Parameters,
        version: &Version,
        report: &Value,
    ) -> Result<Done, Failure> {
        for id in ids(parameters)? {
            // a file that stays is swept after a day; the version counts all the same
            if let Err(error) = self.uploads.remove(id).await {
                work.say(format!("the uploaded file {id} is removed later: {error}"));
            }
        }
        let n = |name: &str| report[name].as_u64().unwrap_or_default();
        let (read, accepted, refused) = (n("n_read"), n("n_accepted"), n("n_refused"));
        work.say(format!("{accepted} of {read} rows accepted, {refused} refused"));
        let result = json!({
            "kind": kind.name, "version_id": version.id, "read": read, "accepted": accepted, "repaired": n("n_repaired"),
            "refused": refused, "passed": version.passed, "nothing_new": false,
        });
        let data_versions = [(kind.name.clone(), version.id.to_string())].into();
        Ok(Done { result, rows: (read, accepted), data_versions, seed: 0 })
    }

    /// Brings the files to this disk; nothing if they are what `before` was made of.
    async fn fetch(
        &self,
        work: &Work,
        kind: &DataKind,
        parameters: &Parameters,
        before: Option<&Version>,
        scratch: &TempDir,
    ) -> Result<Option<Files>, Failure> {
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
            let (to, last) = (folder.join("source"), before.and_then(|version| version.origin.as_ref()));
            fs::create_dir(&to).map_err(Failure::again)?;
            let fetched = self.sources.fetch((source, &kind.name), last, &to, work).await?;
            let Fetched::Files(fetched, now) = fetched else { return Ok(None) };
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
        let sha256 = hexadecimal(digest.finalize());
        let is_same = before.is_some_and(|version| {
            let is_of_it = version.origin.as_ref().zip(origin.as_ref()).is_some_and(|(then, now)| then.is_of(now));
            is_of_it && version.source_sha256 == sha256 && version.source_files == names
        });
        Ok((!is_same).then_some(Files { files, names, sha256, origin }))
    }

    /// Keys of the tables that the kind refers to, of their current versions.
    async fn references(&self, kind: &DataKind) -> Result<References, Failure> {
        let mut references = References::default();
        for reference in &kind.references {
            let data_set = self.catalogue.get(&reference.kind).await.map_err(Failure::again)?;
            let Some(version) = data_set.current() else { continue };
            let (files, name) = (self.catalogue.files(version), reference.kind.clone());
            let columns = reference.to.clone();
            let adding = move || {
                tables::each_batch(&files, &columns, |batch| references.add(&name, batch))?;
                Ok::<_, datasets::Error>(references)
            };
            references = tokio::task::spawn_blocking(adding).await.map_err(Failure::again)?.map_err(Failure::again)?;
        }
        Ok(references)
    }

    /// Puts what was made among the objects, with its report; not yet known to others.
    async fn keep(
        &self,
        work: &Work,
        kind: &DataKind,
        fetched: &Files,
        (report, quality): (&ImportReport, &Quality),
        made: PathBuf,
    ) -> Result<Version, Failure> {
        let prefix = Key::from_iter(["datasets", &kind.name, &work.attempt_id().to_string()]);
        let bytes = fs::metadata(&made).map_err(Failure::again)?.len();
        let objects = self.catalogue.objects();
        objects.adopt(&prefix.clone().join(PART), made).await.map_err(Failure::again)?;
        let whole = json!({ "import": report, "quality": quality }).to_string();
        objects.put(&prefix.clone().join(REPORT), whole.into()).await.map_err(Failure::again)?;
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
            passed: quality.passed(),
            filled,
            origin: fetched.origin.clone(),
        })
    }
}

/// The current version, if an import of the same would be left out: of a source, read as always.
fn before(data_set: &DataSet, parameters: &Parameters) -> Option<Version> {
    let is_as_always = given(parameters, "uploads").is_none() && given(parameters, "layout").is_none();
    if !is_as_always || parameters.get(UNCHANGED).is_some_and(|what| what == "import") {
        return None;
    }
    data_set.current().filter(|version| version.origin.is_some()).cloned()
}

/// The source has what the current version was made of.
fn nothing_new(work: &Work, kind: &DataKind, before: Option<Version>) -> Done {
    work.say("nothing new: the current version stays");
    let id = before.map(|version| version.id.to_string()).unwrap_or_default();
    let result = json!({ "kind": kind.name, "version_id": id, "nothing_new": true });
    Done { result, data_versions: [(kind.name.clone(), id)].into(), ..Done::default() }
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
