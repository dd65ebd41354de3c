//! States: their profiles, as far as they are known.

use super::{Dashboard, of_report, report, versions};
use crate::{answers::failed, datasets, reporting::Snapshot, reports::Row};
use proto::{
    analytics::v1::{GetStateResponse, ListStatesResponse, StateProfile},
    problem,
};
use std::collections::BTreeMap;
use tonic::{Code, Status};

const PROFILE: &str = "state_profile";
/// The kind of data set whose states have a profile; what the others do not say is absent.
pub(super) const STATES: &str = "county_population";

impl Dashboard {
    pub(super) async fn list_states(&self) -> Result<ListStatesResponse, Status> {
        let (states, snapshot, not_imported) = self.profiles().await?;
        let (data_versions, made_sample_data) = (versions(&snapshot), snapshot.made());
        Ok(ListStatesResponse { states, data_versions, not_imported, made_sample_data })
    }

    pub(super) async fn get_state(&self, state: &str) -> Result<GetStateResponse, Status> {
        let (states, snapshot, not_imported) = self.profiles().await?;
        let state = states.into_iter().find(|profile| profile.state.eq_ignore_ascii_case(state)).ok_or_else(|| {
            let text = "there is no profile of it: give the postal code of a state, such as TX";
            problem::field(Code::NotFound, "NOT_FOUND", "state", text)
        })?;
        let (data_versions, made_sample_data) = (versions(&snapshot), snapshot.made());
        Ok(GetStateResponse { state: Some(state), data_versions, not_imported, made_sample_data })
    }

    /// All profiles, what they were read from, and what was missing.
    async fn profiles(&self) -> Result<(Vec<StateProfile>, Snapshot, Vec<String>), Status> {
        let report = report(PROFILE)?;
        let snapshot = self.runner.snapshot(&report.tables).await.map_err(failed)?;
        let others = report.tables.iter().filter(|kind| *kind != STATES);
        let (snapshot, not_imported) = snapshot.with_empty(others).map_err(of_report)?;
        let states = self.rows(&snapshot, report, &BTreeMap::new(), profile).await?;
        Ok((states, snapshot, not_imported))
    }
}

/// Names of the numbers of a profile, in their order: the variables of correlations.
pub(super) fn variables() -> Result<Vec<&'static str>, Status> {
    let columns = report(PROFILE)?.columns.iter().filter(|column| column.kind.is_number());
    Ok(columns.map(|column| column.name.as_str()).collect())
}

fn profile(row: &Row<'_>) -> StateProfile {
    let state = row.text("state");
    StateProfile {
        name: datasets::find_state(&state).map(|known| known.name.clone()).unwrap_or_default(),
        state,
        population: row.count("population"),
        female_percent: row.number("female_percent"),
        under_18_percent: row.number("under_18_percent"),
        over_64_percent: row.number("over_64_percent"),
        black_percent: row.number("black_percent"),
        hispanic_percent: row.number("hispanic_percent"),
        median_household_income: row.known("median_household_income"),
        poverty_percent: row.number("poverty_percent"),
        no_high_school_percent: row.number("no_high_school_percent"),
        unemployed_percent: row.number("unemployed_percent"),
        uninsured_percent: row.number("uninsured_percent"),
        disability_percent: row.number("disability_percent"),
        no_internet_percent: row.number("no_internet_percent"),
        life_expectancy: row.number("life_expectancy"),
        infant_deaths_per_1000: row.number("infant_deaths_per_1000"),
        preventable_stays_per_100000: row.number("preventable_stays_per_100000"),
        overdose_deaths_per_100000: row.number("overdose_deaths_per_100000"),
        mean_readmission_ratio: row.number("mean_readmission_ratio"),
        medicare_payments_per_person: row.known("medicare_payments_per_person"),
        payments_per_stay: row.known("payments_per_stay"),
        monthly_premium: row.known("monthly_premium"),
        n_hospitals: row.count("n_hospitals"),
        mean_rating: row.number("mean_rating"),
        staffed_beds_per_1000: row.number("staffed_beds_per_1000"),
        sites_per_100000: row.number("sites_per_100000"),
    }
}
