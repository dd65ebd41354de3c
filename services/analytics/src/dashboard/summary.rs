//! How much there is of everything.

use super::{Dashboard, of_report, report};
use crate::{answers::failed, data_rpcs, datasets, reports::Row};
use guard::errors;
use proto::analytics::v1::GetSummaryResponse;
use std::collections::BTreeMap;
use tonic::Status;

const SUMMARY: &str = "summary";

impl Dashboard {
    pub(super) async fn get_summary(&self) -> Result<GetSummaryResponse, Status> {
        let report = report(SUMMARY)?;
        let snapshot = self.runner.snapshot(&report.tables).await.map_err(failed)?;
        let (snapshot, missing) = snapshot.with_empty(&report.tables).map_err(of_report)?;
        let numbers = |row: &Row<'_>| summary(row, &missing);
        let mut summary = self.rows(&snapshot, report, &BTreeMap::new(), numbers).await?.pop().unwrap_or_default();
        for kind in datasets::kinds() {
            let data_set = self.runner.catalogue().get(&kind.name).await.map_err(errors::store)?;
            summary.data_sets.push(data_rpcs::shown(kind, &data_set));
        }
        let dated = summary.data_sets.iter().filter_map(|data_set| data_set.current.as_ref()?.create_time);
        summary.update_time = dated.max_by_key(|time| (time.seconds, time.nanos));
        Ok(summary)
    }
}

/// The report's row. Of a table that is missing it counts none: nothing is known.
fn summary(row: &Row<'_>, missing: &[String]) -> GetSummaryResponse {
    let of = |table: &str| !missing.iter().any(|missing| missing == table);
    let count = |table: &str, column: &str| row.count(column).filter(|_| of(table));
    GetSummaryResponse {
        n_hospitals: count("hospitals", "n_hospitals"),
        n_rated_hospitals: count("hospitals", "n_rated_hospitals"),
        mean_rating: row.number("mean_rating"),
        n_staffed_beds: count("hospital_locations", "n_staffed_beds"),
        n_states: count("state_population", "n_states"),
        population: count("state_population", "population"),
        n_cities: count("cities", "n_cities"),
        n_prescribers: count("prescribers", "n_prescribers"),
        n_sites: count("sites", "n_sites"),
        ..GetSummaryResponse::default()
    }
}
