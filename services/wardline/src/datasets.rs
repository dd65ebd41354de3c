//! `wardline import` and `wardline datasets`: files to a node, and which version of a data set counts.

use crate::{
    jobs::JobsClient,
    operator::{self, Token, ask, change, on_one_line, shown, spelled},
};
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use client::{Connection, Remote};
use futures::stream;
use indicatif::{ProgressBar, ProgressStyle};
use proto::analytics::v1::{
    CompareVersionsRequest, DataVersion, DeleteVersionRequest, GetDataSetRequest, GetImportReportRequest,
    GetUploadRequest, ListDataSetsRequest, SetCurrentVersionRequest, UploadFileRequest,
    data_service_client::DataServiceClient,
};
use std::{
    fs::{self, File},
    io::{IsTerminal, Read, Seek, SeekFrom, Write, stderr},
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Bytes of a piece of a file.
const PIECE_BYTES: usize = 512 << 10;
/// How often a file is gone on with after its stream broke.
const TRIES: usize = 5;

/// What is imported.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Kind of data set; `wardline datasets list` shows all.
    pub kind: String,
    /// A file, or a folder whose files are imported together, in the order of their names.
    pub path: PathBuf,
    /// Name of the layout, where headings and file name do not tell.
    #[arg(long)]
    pub layout: Option<String>,
    /// Put the new version into use even if it fails its checks and another one is in use.
    #[arg(long)]
    pub always: bool,
    /// Do not wait for the import's end.
    #[arg(long)]
    pub no_wait: bool,
}

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub enum DataSets {
    /// Every kind, and its current version.
    List,
    /// One kind, with all versions.
    Show {
        /// Name of the kind.
        kind: String,
    },
    /// What the import of a version read, accepted, repaired and refused, as JSON.
    Report {
        /// Name of the kind.
        kind: String,
        /// Which version [default: the current one].
        version: Option<String>,
    },
    /// Make a version the one that reports read.
    Use {
        /// Name of the kind.
        kind: String,
        /// UUID of the version, as `datasets show` prints it.
        version: String,
    },
    /// What is different between two versions.
    Compare {
        /// Name of the kind.
        kind: String,
        /// The version before.
        before: String,
        /// The version after [default: the current one].
        after: Option<String>,
    },
    /// Delete a version that is not the current one.
    Delete {
        /// Name of the kind.
        kind: String,
        /// UUID of the version, as `datasets show` prints it.
        version: String,
    },
}

/// Speaks to a node with one token.
pub struct DataClient {
    client: DataServiceClient<Connection>,
    jobs: JobsClient,
}

impl DataClient {
    /// A client of the first node of `remote` that answers; each call carries the token.
    pub async fn connect(remote: impl Into<Remote>, token: impl Into<Token>) -> anyhow::Result<Self> {
        let connection = operator::connect(remote, token).await?;
        let jobs = JobsClient::on(connection.clone());
        Ok(Self { client: DataServiceClient::new(connection), jobs })
    }

    /// Sends the files and imports them.
    pub async fn import(&mut self, import: &ImportArgs, out: &mut impl Write) -> anyhow::Result<()> {
        let mut uploads = Vec::new();
        for path in files(&import.path)? {
            uploads.push(self.upload(&path).await.with_context(|| spelled(&path))?.to_string());
        }
        let layout = import.layout.iter().map(|layout| ("layout", layout.clone()));
        let always = import.always.then(|| ("use", "always".to_owned()));
        let parameters = [("kind", import.kind.clone()), ("uploads", uploads.join(","))].into_iter();
        let job = self.jobs.submit("import", parameters.chain(layout).chain(always)).await?;
        self.jobs.tell(job, !import.no_wait, out).await
    }

    /// Sends a file, and goes on with it when the stream breaks.
    async fn upload(&mut self, path: &Path) -> anyhow::Result<Uuid> {
        let (id, bytes) = (Uuid::new_v4(), fs::metadata(path)?.len());
        let bar = stderr().is_terminal().then(|| {
            let style = "{wide_msg} [{bar:30}] {bytes}/{total_bytes}";
            let bar = ProgressBar::new(bytes).with_message(spelled(path));
            ProgressStyle::with_template(style).map_or(bar.clone(), |style| bar.with_style(style))
        });
        for last in 1..=TRIES {
            let request = GetUploadRequest { upload_id: id.to_string() };
            let offset = ask!(self.get_upload(request)).received;
            bar.as_ref().inspect(|bar| bar.set_position(offset));
            let sent = self.client.clone().upload_file(pieces(path, id, bytes, offset, bar.clone())?).await;
            match sent {
                Ok(_) => {
                    bar.inspect(ProgressBar::finish_and_clear);
                    return Ok(id);
                }
                Err(status) if last == TRIES || !is_worth_a_try(status.code()) => {
                    bail!("{} ({:?})", status.message(), status.code());
                }
                Err(status) => tracing::info!(reason = status.message(), "the stream broke, the file is gone on with"),
            }
        }
        bail!("it was tried {TRIES} times")
    }

    /// Does what the command line says; what it finds goes to `out`.
    pub async fn act(&mut self, what: DataSets, out: &mut impl Write) -> anyhow::Result<()> {
        match what {
            DataSets::List => {
                for data_set in ask!(self.list_data_sets(ListDataSetsRequest {})).data_sets {
                    let current = data_set.current.as_ref().map_or("nothing imported".to_owned(), line);
                    writeln!(out, "{:<22} {current}  {}", data_set.kind, data_set.title)?;
                }
            }
            DataSets::Show { kind } => {
                let found = ask!(self.get_data_set(GetDataSetRequest { kind }));
                let data_set = found.data_set.context("the answer holds no data set")?;
                writeln!(out, "{}: {} ({}; {})", data_set.kind, data_set.title, data_set.publisher, data_set.licence)?;
                for version in found.versions {
                    let is_in_use = data_set.current.as_ref() == Some(&version);
                    let mark = if is_in_use { "*" } else { " " };
                    // the others were in use once, or somebody chose
                    let unused = if is_in_use || version.passed { "" } else { "  not in use" };
                    let files = version.source_files.join(", ");
                    writeln!(out, "{mark} {}{unused}  {}", line(&version), on_one_line(&files))?;
                }
            }
            DataSets::Report { kind, version } => {
                let version_id = match version {
                    Some(version) => version,
                    None => self.current(&kind).await?,
                };
                let report = ask!(self.get_import_report(GetImportReportRequest { kind, version_id })).report;
                let report: serde_json::Value = serde_json::from_str(&report)?;
                writeln!(out, "{report:#}")?;
            }
            DataSets::Use { kind, version } => {
                let request = SetCurrentVersionRequest { kind, version_id: version };
                let data_set = change!(self.set_current_version(request)).data_set;
                let current = data_set.and_then(|data_set| data_set.current).context("the answer holds no version")?;
                writeln!(out, "{}", line(&current))?;
            }
            DataSets::Compare { kind, before, after } => {
                let request = CompareVersionsRequest { kind, before_id: before, after_id: after.unwrap_or_default() };
                let found = ask!(self.compare_versions(request));
                writeln!(out, "rows  {:+}", found.rows_more)?;
                for column in found.columns {
                    let (before, after) = (column.before * 100.0, column.after * 100.0);
                    writeln!(out, "{:<28} filled {before:.2} % before, {after:.2} % after", column.name)?;
                }
            }
            DataSets::Delete { kind, version } => {
                change!(self.delete_version(DeleteVersionRequest { kind, version_id: version }));
            }
        }
        Ok(())
    }

    /// Whether something was imported of a kind.
    pub(crate) async fn has(&mut self, kind: &str) -> anyhow::Result<bool> {
        let found = ask!(self.get_data_set(GetDataSetRequest { kind: kind.to_owned() }));
        Ok(found.data_set.is_some_and(|data_set| data_set.current.is_some()))
    }

    async fn current(&mut self, kind: &str) -> anyhow::Result<String> {
        let found = ask!(self.get_data_set(GetDataSetRequest { kind: kind.to_owned() }));
        let current = found.data_set.and_then(|data_set| data_set.current);
        Ok(current.with_context(|| format!("nothing was imported of {kind}"))?.version_id)
    }
}

/// A version in a line.
fn line(version: &DataVersion) -> String {
    let at = shown(version.create_time).unwrap_or_default();
    let quality = if version.passed { "passed" } else { "FAILED its checks" };
    let made = if version.made { "  made sample data" } else { "" };
    format!("{}  {at}  {} rows  {} bytes  {quality}{made}", version.version_id, version.rows, version.bytes)
}

/// A file, or those of a folder in the order of their names.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let meta = fs::metadata(path).with_context(|| spelled(path))?;
    if !meta.is_dir() {
        // a pipe may never open, and of neither it nor a device is known how long it is
        ensure!(meta.is_file(), "{}: is no plain file; give a plain file, or a folder of them", spelled(path));
        return Ok(vec![path.to_owned()]);
    }
    let listed: Result<Vec<_>, _> = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files = listed?;
    // a link may lead anywhere, and a folder in the folder is not what was asked for: neither is left out without a word
    let odd = files.iter().find(|file| !fs::symlink_metadata(file).is_ok_and(|meta| meta.is_file()));
    if let Some(odd) = odd {
        bail!("{}: is no plain file; move it elsewhere, or import it by itself", spelled(odd));
    }
    ensure!(!files.is_empty(), "{}: has no files", spelled(path));
    files.sort_unstable();
    Ok(files)
}

/// The pieces of a file from an offset on, read as they are sent.
fn pieces(
    path: &Path,
    id: Uuid,
    bytes: u64,
    offset: u64,
    bar: Option<ProgressBar>,
) -> anyhow::Result<impl futures::Stream<Item = UploadFileRequest> + Send + 'static> {
    let name = path.file_name().and_then(|name| name.to_str()).context("its name is not UTF-8")?.to_owned();
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let first = UploadFileRequest { upload_id: id.to_string(), file_name: name, bytes, offset, data: Vec::new() };
    let rest = stream::iter(std::iter::from_fn(move || {
        let mut data = Vec::new();
        // a file that cannot be read on ends the stream early, which the node says
        let n = (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut data).unwrap_or_default();
        bar.as_ref().inspect(|bar| bar.inc(n as u64));
        (n > 0).then(|| UploadFileRequest { data, ..UploadFileRequest::default() })
    }));
    Ok(futures::StreamExt::chain(stream::iter([first]), rest))
}

fn is_worth_a_try(code: tonic::Code) -> bool {
    use tonic::Code::{Aborted, Cancelled, DeadlineExceeded, Internal, ResourceExhausted, Unavailable, Unknown};
    matches!(code, Aborted | Cancelled | DeadlineExceeded | Internal | ResourceExhausted | Unavailable | Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_plain_files_are_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let refused = |path: &Path| files(path).unwrap_err().to_string();
        fs::write(path("b.csv"), "b").unwrap();
        fs::write(path("a.csv"), "a").unwrap();
        assert_eq!(files(dir.path()).unwrap(), [path("a.csv"), path("b.csv")]);
        assert_eq!(files(&path("a.csv")).unwrap(), [path("a.csv")]);
        assert!(Command::new("mkfifo").arg(path("pipe.csv")).status().unwrap().success());
        for unfit in [path("pipe.csv"), PathBuf::from("/dev/zero")] {
            let error = refused(&unfit);
            assert!(error.starts_with(&format!("{}: is no plain file; give", unfit.display())), "{error}");
        }
        assert!(refused(dir.path()).contains("pipe.csv: is no plain file; move it elsewhere"));
    }
}
