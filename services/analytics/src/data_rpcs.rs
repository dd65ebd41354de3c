//! `DataService`: which data sets there are, which version counts, and files on their way to an import.

use crate::{
    callers::{caller_id, done_to, permit},
    catalogue::{Catalogue, DataSet, Error, Version},
    datasets::{self, Kind},
    import,
    jobs::submit::Submit,
    metrics, objects_failed,
    sources::Sources,
    uploads::{self, NAME_BYTES, Uploads, is_plain_name},
    versions::no_version,
};
use async_trait::async_trait;
use futures::StreamExt;
use guard::{convert, decisions::Decisions, errors, ids};
use model::{Nanos, access::Action};
use proto::{
    analytics::v1::{
        self as v1, ColumnDifference, CompareVersionsRequest, CompareVersionsResponse, DeleteDataRequest,
        DeleteDataResponse, DeleteVersionRequest, DeleteVersionResponse, GetDataSetRequest, GetDataSetResponse,
        GetImportReportRequest, GetImportReportResponse, GetUploadRequest, GetUploadResponse, ListDataSetsRequest,
        ListDataSetsResponse, ReloadDataRequest, ReloadDataResponse, SetCurrentVersionRequest,
        SetCurrentVersionResponse, UploadFileRequest, UploadFileResponse,
        data_service_server::{DataService, DataServiceServer},
    },
    problem,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Semaphore, time};
use tonic::{Code, Extensions, Request, Response, Status, Streaming};

/// Files that are received at once: each holds a part in memory.
const UPLOADS: usize = 4;
/// How long nothing may come of a file.
const IDLE: Duration = Duration::from_secs(30);
/// Largest piece of a file.
const PIECE_BYTES: usize = 1 << 20;

/// Answers `DataService`: data sets, their versions, and files that are uploaded, four at once.
pub struct DataRpcs {
    catalogue: Catalogue,
    uploads: Uploads,
    sources: Sources,
    submit: Submit,
    decisions: Decisions,
    receiving: Arc<Semaphore>,
}

impl DataRpcs {
    /// Over a catalogue; imports are submitted by `submit`, for whom `decisions` permit it.
    pub fn new(catalogue: Catalogue, uploads: Uploads, sources: Sources, submit: Submit, decisions: Decisions) -> Self {
        Self { catalogue, uploads, sources, submit, decisions, receiving: Arc::new(Semaphore::new(UPLOADS)) }
    }

    /// The gRPC service, to be put behind the auth layer.
    pub fn service(self) -> DataServiceServer<Self> {
        DataServiceServer::new(self).max_decoding_message_size(PIECE_BYTES + 4_096)
    }

    /// Permission for an action, written down when this returns; the caller's name.
    async fn permit(&self, extensions: &Extensions, action: Action, detail: &str) -> Result<String, Status> {
        permit(&self.decisions, extensions, action, detail).await
    }

    async fn data_set(&self, kind: &Kind) -> Result<DataSet, Status> {
        self.catalogue.get(&kind.name).await.map_err(errors::store)
    }

    /// A version of a kind; the current one for an empty id.
    async fn version(&self, kind: &Kind, field: &str, id: &str) -> Result<Version, Status> {
        let data_set = self.data_set(kind).await?;
        let found = match id {
            "" => data_set.current(),
            id => data_set.version(ids::uuid(field, id)?),
        };
        found.cloned().ok_or_else(|| no_version(field))
    }

    async fn take(
        &self,
        extensions: &Extensions,
        mut pieces: Streaming<UploadFileRequest>,
    ) -> Result<UploadFileResponse, Status> {
        let no_room =
            || problem::exhausted("UPLOADS", "as many files as may be are on their way; try again", IDLE / 10);
        let _room = self.receiving.clone().try_acquire_owned().map_err(|_| no_room())?;
        let first =
            next(&mut pieces).await?.ok_or_else(|| problem::invalid("NO_PIECE", "upload_id", "must be there"))?;
        let id = ids::uuid("upload_id", &first.upload_id)?;
        let name = file_name(&first.file_name)?;
        if first.bytes > uploads::FILE_BYTES {
            let text =
                format!("at most {} bytes; send the file in parts that are files of their own", uploads::FILE_BYTES);
            return Err(problem::invalid("TOO_LARGE", "bytes", text));
        }
        let by = self.permit(extensions, Action::ManageData, &format!("upload {id}")).await?;
        let receiving = self.uploads.receive(id, &by, (name, first.bytes), first.offset).await;
        let mut receiving = receiving.map_err(failed_upload)?;
        let mut piece = Some(first);
        while let Some(UploadFileRequest { data, .. }) = piece {
            receiving.add(&data).await.map_err(failed_upload)?;
            metrics::uploaded(data.len());
            piece = next(&mut pieces).await?;
        }
        let (received, sha256) = receiving.finish().await.map_err(failed_upload)?;
        Ok(UploadFileResponse { received, sha256 })
    }
}

/// The next piece; a client that says nothing for long is let go of, and can go on later.
async fn next(pieces: &mut Streaming<UploadFileRequest>) -> Result<Option<UploadFileRequest>, Status> {
    let waited = time::timeout(IDLE, pieces.next()).await;
    let late = || problem::status(Code::DeadlineExceeded, "IDLE", "nothing came for long; go on where GetUpload says");
    waited.map_err(|_| late())?.transpose()
}

#[async_trait]
impl DataService for DataRpcs {
    async fn list_data_sets(
        &self,
        request: Request<ListDataSetsRequest>,
    ) -> Result<Response<ListDataSetsResponse>, Status> {
        self.permit(request.extensions(), Action::ReadAnalytics, "datasets").await?;
        let mut data_sets = Vec::new();
        for kind in datasets::kinds() {
            data_sets.push(shown(kind, &self.data_set(kind).await?));
        }
        Ok(Response::new(ListDataSetsResponse { data_sets }))
    }

    async fn get_data_set(&self, request: Request<GetDataSetRequest>) -> Result<Response<GetDataSetResponse>, Status> {
        let kind = &request.get_ref().kind;
        self.permit(request.extensions(), Action::ReadAnalytics, "dataset").await?;
        let kind = known(kind)?;
        let data_set = self.data_set(kind).await?;
        let versions = data_set.versions.iter().rev().map(shown_version).collect();
        Ok(Response::new(GetDataSetResponse { data_set: Some(shown(kind, &data_set)), versions }))
    }

    async fn get_import_report(
        &self,
        request: Request<GetImportReportRequest>,
    ) -> Result<Response<GetImportReportResponse>, Status> {
        self.permit(request.extensions(), Action::ReadAnalytics, "import report").await?;
        let GetImportReportRequest { kind, version_id } = request.into_inner();
        let version = self.version(known(&kind)?, "version_id", &version_id).await?;
        let report = self.catalogue.report(&version).await.map_err(Error::status)?;
        Ok(Response::new(GetImportReportResponse { report: report.to_string() }))
    }

    async fn set_current_version(
        &self,
        request: Request<SetCurrentVersionRequest>,
    ) -> Result<Response<SetCurrentVersionResponse>, Status> {
        let done = done_to("set current version", &request.get_ref().version_id);
        let by = self.permit(request.extensions(), Action::ManageData, &done).await?;
        let SetCurrentVersionRequest { kind, version_id } = request.into_inner();
        let (kind, id) = (known(&kind)?, ids::uuid("version_id", &version_id)?);
        let data_set = self.catalogue.set_current(&kind.name, id, &by).await.map_err(Error::status)?;
        Ok(Response::new(SetCurrentVersionResponse { data_set: Some(shown(kind, &data_set)) }))
    }

    async fn delete_version(
        &self,
        request: Request<DeleteVersionRequest>,
    ) -> Result<Response<DeleteVersionResponse>, Status> {
        let done = done_to("delete version", &request.get_ref().version_id);
        let by = self.permit(request.extensions(), Action::ManageData, &done).await?;
        let DeleteVersionRequest { kind, version_id } = request.into_inner();
        let (kind, id) = (known(&kind)?, ids::uuid("version_id", &version_id)?);
        self.catalogue.delete(&kind.name, id, &by, false).await.map_err(Error::status)?;
        Ok(Response::new(DeleteVersionResponse {}))
    }

    async fn compare_versions(
        &self,
        request: Request<CompareVersionsRequest>,
    ) -> Result<Response<CompareVersionsResponse>, Status> {
        self.permit(request.extensions(), Action::ReadAnalytics, "compare versions").await?;
        let CompareVersionsRequest { kind, before_id, after_id } = request.into_inner();
        let kind = known(&kind)?;
        ids::uuid("before_id", &before_id)?;
        let before = self.version(kind, "before_id", &before_id).await?;
        let after = self.version(kind, "after_id", &after_id).await?;
        let columns = differences(&before.filled, &after.filled);
        // a table has less than 2^63 rows
        let rows_more = after.rows as i64 - before.rows as i64;
        let (before, after) = (Some(shown_version(&before)), Some(shown_version(&after)));
        Ok(Response::new(CompareVersionsResponse { before, after, rows_more, columns }))
    }

    async fn upload_file(
        &self,
        request: Request<Streaming<UploadFileRequest>>,
    ) -> Result<Response<UploadFileResponse>, Status> {
        let (_, extensions, pieces) = request.into_parts();
        // which file it is stands in the first piece: of who may not send it nothing is read
        let may = self.decisions.on_system(guard::principal(&extensions)?, Action::ManageData, None);
        may.refusal_recorded("upload").await?;
        self.take(&extensions, pieces).await.map(Response::new)
    }

    async fn get_upload(&self, request: Request<GetUploadRequest>) -> Result<Response<GetUploadResponse>, Status> {
        let done = done_to("get upload", &request.get_ref().upload_id);
        let by = self.permit(request.extensions(), Action::ManageData, &done).await?;
        let id = ids::uuid("upload_id", &request.get_ref().upload_id)?;
        let answer = match self.uploads.find(id, &by).await {
            Ok((begun, received)) => GetUploadResponse { received, bytes: begun.bytes },
            Err(uploads::Error::Unknown) => GetUploadResponse::default(),
            Err(error) => return Err(failed_upload(error)),
        };
        Ok(Response::new(answer))
    }

    async fn reload_data(&self, request: Request<ReloadDataRequest>) -> Result<Response<ReloadDataResponse>, Status> {
        self.permit(request.extensions(), Action::ManageData, "reload").await?;
        let (_, extensions, ReloadDataRequest { kind }) = request.into_parts();
        let kind = Some(kind.as_str()).filter(|kind| !kind.is_empty());
        kind.map(known).transpose()?;
        let mut jobs = Vec::new();
        for source in self.sources.of(kind) {
            let parameters = [("kind", source.kind.as_str()), ("source", source.name.as_str())];
            jobs.push(self.submit.for_caller(&extensions, import::NAME, &parameters).await?);
        }
        if jobs.is_empty() {
            let text = "no source of the settings (analytics.sources) has it; upload files, or add one";
            return Err(problem::field(Code::FailedPrecondition, "NO_SOURCE", "kind", text));
        }
        Ok(Response::new(ReloadDataResponse { jobs }))
    }

    async fn delete_data(&self, request: Request<DeleteDataRequest>) -> Result<Response<DeleteDataResponse>, Status> {
        let by = self.permit(request.extensions(), Action::ManageData, "delete data").await?;
        let mut deleted = 0;
        for kind in datasets::kinds() {
            for version in self.data_set(kind).await?.versions {
                let done = format!("delete version {}", version.id);
                self.permit(request.extensions(), Action::ManageData, &done).await?;
                match self.catalogue.delete(&kind.name, version.id, &by, true).await {
                    Ok(_) => deleted += 1,
                    // by somebody else, at the same time
                    Err(Error::NoVersion) => {}
                    Err(error) => return Err(error.status()),
                }
            }
        }
        Ok(Response::new(DeleteDataResponse { deleted }))
    }
}

fn known(kind: &str) -> Result<&'static Kind, Status> {
    datasets::kind(kind).map_err(|error| problem::field(Code::NotFound, "NO_SUCH_KIND", "kind", &error.to_string()))
}

/// Columns of either version that are filled otherwise, by name; a column that a version does not have is not filled there.
fn differences(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Vec<ColumnDifference> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let difference = |name: &String| {
        let [before, after] = [before, after].map(|filled| filled.get(name).copied().unwrap_or_default());
        let is_otherwise = (before - after).abs() > f64::EPSILON;
        is_otherwise.then(|| ColumnDifference { name: name.clone(), before, after })
    };
    names.into_iter().filter_map(difference).collect()
}

/// A data set, as callers see it.
pub(crate) fn shown(kind: &Kind, data_set: &DataSet) -> v1::DataSet {
    v1::DataSet {
        kind: kind.name.clone(),
        title: kind.title.clone(),
        publisher: kind.publisher.clone(),
        licence: kind.licence.clone(),
        current: data_set.current().map(shown_version),
    }
}

fn shown_version(version: &Version) -> v1::DataVersion {
    v1::DataVersion {
        version_id: version.id.to_string(),
        create_time: Some(convert::timestamp(Nanos(version.at))),
        created_by: caller_id(&version.by),
        job_id: version.job.to_string(),
        rows: version.rows,
        bytes: version.bytes,
        source_sha256: version.source_sha256.clone(),
        source_files: version.source_files.clone(),
        passed: version.passed,
        made: version.made,
    }
}

/// The name of a file.
fn file_name(name: &str) -> Result<&str, Status> {
    let text = format!("1 to {NAME_BYTES} bytes, without folders, and not beginning with a point");
    is_plain_name(name).then_some(name).ok_or_else(|| problem::invalid("INVALID_FILE_NAME", "file_name", text))
}

fn failed_upload(error: uploads::Error) -> Status {
    let text = error.to_string();
    match error {
        uploads::Error::Objects(error) => objects_failed(&error),
        uploads::Error::Unknown => problem::status(Code::NotFound, "NOT_FOUND", text),
        uploads::Error::Offset(_) => problem::status(Code::FailedPrecondition, "WRONG_OFFSET", text),
        uploads::Error::Otherwise(field) => problem::field(Code::AlreadyExists, "BEGUN_OTHERWISE", field, &text),
        uploads::Error::Length { .. } => problem::status(Code::InvalidArgument, "WRONG_LENGTH", text),
        uploads::Error::Unfinished { .. } => problem::status(Code::FailedPrecondition, "UNFINISHED", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_either_version_are_compared() {
        let filled = |columns: &[(&str, f64)]| -> BTreeMap<String, f64> {
            columns.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()
        };
        let before = filled(&[("dropped", 0.75), ("less", 1.0), ("same", 0.5)]);
        let after = filled(&[("added", 0.25), ("less", 0.5), ("same", 0.5), ("never", 0.0)]);
        let found = differences(&before, &after);
        let found: Vec<_> = found.iter().map(|column| (column.name.as_str(), column.before, column.after)).collect();
        assert_eq!(found, [("added", 0.0, 0.25), ("dropped", 0.75, 0.0), ("less", 1.0, 0.5)]);
        assert!(differences(&after, &after).is_empty());
    }

    #[test]
    fn names_of_files_have_no_folders() {
        for name in ["sites.csv", "a b.csv.zst", "\u{e9}.parquet"] {
            assert_eq!(file_name(name).unwrap(), name);
        }
        for name in
            ["", ".", "..", ".hidden", "../a.csv", "a/b.csv", "a\\b.csv", "a\0.csv", "a\n.csv", &"x".repeat(256)]
        {
            assert!(file_name(name).is_err(), "{name:?}");
        }
    }
}
