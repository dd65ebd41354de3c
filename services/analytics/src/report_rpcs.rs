//! `ReportService`: what reports there are, and their rows.

use crate::{
    answers::{self, failed},
    callers::permit,
    jobs::wire,
    reporting::{Runner, parameters},
    reports::{self, Report, Reports, output},
    results,
};
use async_trait::async_trait;
use guard::decisions::Decisions;
use model::access::Action;
use proto::{
    analytics::v1::{
        self as v1, ListReportsRequest, ListReportsResponse, ReportColumn, ReportFormat, RunReportRequest,
        RunReportResponse,
        report_service_server::{ReportService, ReportServiceServer},
    },
    problem,
};
use std::collections::BTreeMap;
use tonic::{Request, Response, Status};

/// Most rows of an answer.
const ROWS: usize = 10_000;
/// Most parameters of a request: with more it is refused.
const PARAMETERS_MAX: usize = 16;

/// Answers `ReportService` by running reports, for whom `decisions` permit it.
pub struct ReportRpcs {
    runner: Runner,
    decisions: Decisions,
}

impl ReportRpcs {
    /// Run by `runner`, for whom `decisions` permit it.
    pub fn new(runner: Runner, decisions: Decisions) -> Self {
        Self { runner, decisions }
    }

    /// The gRPC service, to be put behind the auth layer.
    pub fn service(self) -> ReportServiceServer<Self> {
        ReportServiceServer::new(self).max_decoding_message_size(64 * 1024)
    }

    async fn run(&self, request: RunReportRequest) -> Result<RunReportResponse, Status> {
        let report = Reports::find(&request.name).map_err(|error| failed(error.into()))?;
        let format = format(request.format)?;
        let given = named(&request.parameters)?;
        let (answer, read) = self.runner.run(report, &given, Some(ROWS)).await.map_err(failed)?;
        let made_sample_data = answer.made().to_vec();
        let (content, rows) = answers::written(answer, format).await?;
        Ok(RunReportResponse {
            content,
            content_type: results::media_type(format).to_owned(),
            rows: rows as u64,
            data_versions: read.versions().clone().into_iter().collect(),
            made_sample_data,
        })
    }
}

#[async_trait]
impl ReportService for ReportRpcs {
    async fn list_reports(
        &self,
        request: Request<ListReportsRequest>,
    ) -> Result<Response<ListReportsResponse>, Status> {
        permit(&self.decisions, request.extensions(), Action::ReadAnalytics, "reports").await?;
        Ok(Response::new(ListReportsResponse { reports: Reports::all().map(shown).collect() }))
    }

    async fn run_report(&self, request: Request<RunReportRequest>) -> Result<Response<RunReportResponse>, Status> {
        permit(&self.decisions, request.extensions(), Action::ReadAnalytics, "report").await?;
        answers::in_time(self.run(request.into_inner())).await
    }
}

fn shown(report: &Report) -> v1::Report {
    let column = |column: &reports::Column| ReportColumn {
        name: column.name.clone(),
        r#type: column.kind.name(),
        unit: column.unit.clone(),
        about: column.about.clone(),
    };
    v1::Report {
        name: report.name.clone(),
        title: report.title.clone(),
        about: report.about.clone(),
        data_sets: report.tables.iter().cloned().collect(),
        parameters: parameters(report).map(wire::parameter).collect(),
        columns: report.columns.iter().map(column).collect(),
        sources: report.sources.iter().cloned().collect(),
    }
}

fn format(sent: i32) -> Result<output::Format, Status> {
    match ReportFormat::try_from(sent) {
        Ok(ReportFormat::Unspecified | ReportFormat::Json) => Ok(output::Format::Json),
        Ok(ReportFormat::Csv) => Ok(output::Format::Csv),
        Ok(ReportFormat::Table) => Ok(output::Format::Text),
        Ok(ReportFormat::Parquet) => Ok(output::Format::Parquet),
        Err(_) => Err(problem::invalid("INVALID_FORMAT", "format", "must be JSON, CSV, table or Parquet")),
    }
}

/// Parameters by name, from `NAME=VALUE` each; of a name given twice the last counts.
fn named(pairs: &[String]) -> Result<BTreeMap<String, String>, Status> {
    if pairs.len() > PARAMETERS_MAX {
        return Err(problem::invalid("TOO_MANY", "parameters", format!("at most {PARAMETERS_MAX}")));
    }
    let pair = |text: &String| {
        let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.ok_or_else(|| problem::invalid("INVALID_PARAMETER", "parameters", "must be NAME=VALUE each"))
    };
    pairs.iter().map(pair).collect()
}
