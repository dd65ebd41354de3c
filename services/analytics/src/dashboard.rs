//! `DashboardService`: what a dashboard shows of the current versions of the data sets.
//!
//! Each answer is the rows of reports, so what a dashboard shows is what `wardline report` prints. What an answer puts together of
//! several reports is read from the same versions. What is not known is absent, and never 0.

mod correlations;
mod filters;
mod hospitals;
mod states;
mod summary;
#[cfg(test)]
mod tests;
mod token;

use crate::{
    answers::{failed, in_time},
    callers::permit,
    reporting::{RunError, Runner, Snapshot},
    reports::{
        Error, Report, Reports, Row,
        insights::{self, Insights},
    },
};
use async_trait::async_trait;
use guard::decisions::Decisions;
use model::access::Action;
use proto::{
    analytics::v1::{
        self as v1, ExportHospitalsRequest, GetCorrelationsRequest, GetCorrelationsResponse, GetHospitalRequest,
        GetHospitalResponse, GetStateRequest, GetStateResponse, GetSummaryRequest, GetSummaryResponse,
        ListHospitalsRequest, ListHospitalsResponse, ListInsightsRequest, ListInsightsResponse, ListStatesRequest,
        ListStatesResponse,
        dashboard_service_server::{DashboardService, DashboardServiceServer},
    },
    google::api::HttpBody,
};
use std::collections::{BTreeMap, HashMap};
use tonic::{Extensions, Request, Response, Status};

/// Largest request that is decoded, in bytes.
const REQUEST_BYTES: usize = 16 << 10;

/// Answers `DashboardService` from the reports, for whom `decisions` permit it.
pub struct DashboardRpcs {
    dashboard: Dashboard,
    decisions: Decisions,
}

/// What is shown, to whoever may see it.
struct Dashboard {
    runner: Runner,
}

impl DashboardRpcs {
    /// By the reports of `runner`, for whom `decisions` permit it.
    pub fn new(runner: Runner, decisions: Decisions) -> Self {
        Self { dashboard: Dashboard { runner }, decisions }
    }

    /// The gRPC service, to be put behind the auth layer.
    pub fn service(self) -> DashboardServiceServer<Self> {
        DashboardServiceServer::new(self).max_decoding_message_size(REQUEST_BYTES)
    }

    /// Permission to read, written down when this returns.
    async fn permit(&self, extensions: &Extensions, detail: &str) -> Result<&Dashboard, Status> {
        permit(&self.decisions, extensions, Action::ReadAnalytics, detail).await?;
        Ok(&self.dashboard)
    }
}

#[async_trait]
impl DashboardService for DashboardRpcs {
    async fn list_hospitals(
        &self,
        request: Request<ListHospitalsRequest>,
    ) -> Result<Response<ListHospitalsResponse>, Status> {
        let dashboard = self.permit(request.extensions(), "hospitals").await?;
        in_time(dashboard.list_hospitals(request.into_inner())).await
    }

    async fn get_hospital(
        &self,
        request: Request<GetHospitalRequest>,
    ) -> Result<Response<GetHospitalResponse>, Status> {
        let dashboard = self.permit(request.extensions(), "hospital").await?;
        in_time(dashboard.get_hospital(&request.get_ref().facility_id)).await
    }

    async fn export_hospitals(&self, request: Request<ExportHospitalsRequest>) -> Result<Response<HttpBody>, Status> {
        let dashboard = self.permit(request.extensions(), "export of hospitals").await?;
        let (_, _, request) = request.into_parts();
        let mut response = in_time(dashboard.export_hospitals(&request)).await?;
        hospitals::name_file(&request, response.metadata_mut());
        Ok(response)
    }

    async fn list_states(&self, request: Request<ListStatesRequest>) -> Result<Response<ListStatesResponse>, Status> {
        let dashboard = self.permit(request.extensions(), "states").await?;
        in_time(dashboard.list_states()).await
    }

    async fn get_state(&self, request: Request<GetStateRequest>) -> Result<Response<GetStateResponse>, Status> {
        let dashboard = self.permit(request.extensions(), "state").await?;
        in_time(dashboard.get_state(&request.get_ref().state)).await
    }

    async fn get_correlations(
        &self,
        request: Request<GetCorrelationsRequest>,
    ) -> Result<Response<GetCorrelationsResponse>, Status> {
        let dashboard = self.permit(request.extensions(), "correlations").await?;
        in_time(dashboard.get_correlations(request.into_inner())).await
    }

    async fn list_insights(
        &self,
        request: Request<ListInsightsRequest>,
    ) -> Result<Response<ListInsightsResponse>, Status> {
        let dashboard = self.permit(request.extensions(), "insights").await?;
        in_time(dashboard.list_insights()).await
    }

    async fn get_summary(&self, request: Request<GetSummaryRequest>) -> Result<Response<GetSummaryResponse>, Status> {
        let dashboard = self.permit(request.extensions(), "summary").await?;
        in_time(dashboard.get_summary()).await
    }
}

impl Dashboard {
    async fn list_insights(&self) -> Result<ListInsightsResponse, Status> {
        let snapshot = self.runner.snapshot(&insights::tables()).await.map_err(failed)?;
        let Insights { found, left_out } = self.runner.insights(&snapshot).await.map_err(of_report)?;
        let number = |number: insights::Number| {
            let insights::Number { of, column, value, unit } = number;
            v1::InsightNumber { of, column, value, unit }
        };
        let insight = |insight: insights::Insight| v1::Insight {
            sentence: insight.sentence,
            report: insight.report,
            parameters: insight.parameters.into_iter().collect(),
            numbers: insight.numbers.into_iter().map(number).collect(),
        };
        let left_out = left_out.into_iter().map(|left| v1::UnansweredQuestion { report: left.report, why: left.why });
        Ok(ListInsightsResponse {
            insights: found.into_iter().map(insight).collect(),
            left_out: left_out.collect(),
            data_versions: versions(&snapshot),
        })
    }

    /// All rows of a report over these versions, each made into something.
    async fn rows<T>(
        &self,
        snapshot: &Snapshot,
        report: &'static Report,
        given: &BTreeMap<String, String>,
        make: impl Fn(&Row<'_>) -> T,
    ) -> Result<Vec<T>, Status> {
        let parameters = report.check(given).map_err(of_report)?;
        let mut answer = self.runner.run_on(snapshot, report, parameters, None).await.map_err(of_report)?;
        let mut made = Vec::new();
        while let Some(batch) = answer.next().await.map_err(of_report)? {
            made.extend(Row::all(report, &batch).map(|row| make(&row)));
        }
        Ok(made)
    }
}

/// A report that there is.
fn report(name: &str) -> Result<&'static Report, Status> {
    Reports::find(name).map_err(of_report)
}

fn of_report(error: Error) -> Status {
    failed(RunError::Report(error))
}

fn versions(snapshot: &Snapshot) -> HashMap<String, String> {
    snapshot.versions().clone().into_iter().collect()
}
