//! The reports' files, compiled in. A test compares the list with the folder.

/// Name and text of each file in `reports/`.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../reports/", $name, ".sql")))),*]
    };
}

/// Name and text of each report.
pub(super) const FILES: &[(&str, &str)] = files![
    "audit_activity",
    "city_report",
    "correlations_input",
    "cost_efficiency",
    "cost_trends",
    "data_completeness",
    "demographics",
    "device_fleet",
    "disparities",
    "drugs_by_city",
    "glucose_in_range",
    "hospital_access",
    "hospital_beds",
    "hospital_list",
    "hospital_measures",
    "hospital_ratings",
    "hospital_readmissions",
    "hospital_releases",
    "hospitals_by_state",
    "hospitals_by_type",
    "income_and_spending",
    "length_of_stay",
    "outbreak_signal",
    "patient_days",
    "premium_trends",
    "quality",
    "site_count_by_state",
    "site_distance",
    "site_growth",
    "site_releases",
    "sites_by_state",
    "sites_per_100000",
    "social_determinants",
    "specialties_by_city",
    "state_profile",
    "summary",
    "top_prescribers",
    "top_states_by_hospitals",
    "top_states_by_rating",
];
