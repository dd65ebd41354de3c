//! Analytics: long work as jobs; data sets, reports and models of the health system's reference data.

mod answers;
pub mod archive;
mod callers;
pub mod catalogue;
pub mod check_quality;
mod cross_references;
pub mod dashboard;
pub mod data_rpcs;
pub mod datasets;
mod days;
pub mod extracts;
mod hexadecimal;
pub mod import;
pub mod insights;
pub mod jobs;
pub mod metrics;
pub mod modelling;
pub mod models;
pub mod notify;
pub mod objects;
pub mod pipelines;
pub mod postgres;
pub mod report_rpcs;
pub mod reporting;
pub mod reports;
pub mod residences;
mod results;
mod samples;
pub mod schedule_rpcs;
pub mod schedules;
pub mod sources;
pub mod sql;
pub mod statistics;
mod steps;
pub mod tables;
mod tls;
pub mod uploads;
pub mod versions;

use proto::problem;
use std::time::Duration;
use tonic::Status;

/// UNAVAILABLE: the folder or the object store.
pub(crate) fn objects_failed(error: &objects::Error) -> Status {
    tracing::warn!(error = error as &dyn std::error::Error, "objects cannot be read or written");
    let text = "the files of analytics cannot be reached; try again";
    problem::unavailable("OBJECTS_UNAVAILABLE", text, Duration::from_secs(1))
}
