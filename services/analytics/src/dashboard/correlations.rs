//! Correlations of the numbers of the states' profiles.

use super::{
    Dashboard, of_report, report,
    states::{STATES, variables},
    versions,
};
use crate::{
    answers::failed,
    reports::Row,
    statistics::{Correction, Method, Tested, Untested, correlation_table},
};
use proto::{
    analytics::v1::{
        Correlation, CorrelationCorrection, CorrelationMethod, GetCorrelationsRequest, GetCorrelationsResponse,
        UntestedPair,
    },
    problem,
};
use std::collections::BTreeMap;
use tonic::Status;

const INPUT: &str = "correlations_input";

impl Dashboard {
    pub(super) async fn get_correlations(
        &self,
        request: GetCorrelationsRequest,
    ) -> Result<GetCorrelationsResponse, Status> {
        let wanted = wanted(&request.variables)?;
        let (method, correction) = (method(request.method)?, correction(request.correction)?);
        let report = report(INPUT)?;
        let snapshot = self.runner.snapshot(&report.tables).await.map_err(failed)?;
        let others = report.tables.iter().filter(|kind| *kind != STATES);
        let (snapshot, not_imported) = snapshot.with_empty(others).map_err(of_report)?;
        let value = |row: &Row<'_>| (row.text("feature"), row.text("state"), row.number("value"));
        let rows = self.rows(&snapshot, report, &BTreeMap::new(), value).await?;
        // a state has a place in each column, whether its value is known or not
        let mut places: BTreeMap<&str, usize> = rows.iter().map(|(_, state, _)| (state.as_str(), 0)).collect();
        places.values_mut().zip(0..).for_each(|(place, n)| *place = n);
        let mut columns: BTreeMap<&str, Vec<Option<f64>>> =
            wanted.iter().map(|name| (*name, vec![None; places.len()])).collect();
        for (feature, state, value) in &rows {
            if let (Some(column), Some(place)) = (columns.get_mut(feature.as_str()), places.get(state.as_str())) {
                column[*place] = *value;
            }
        }
        let in_order: Vec<_> = wanted.iter().filter_map(|name| Some((*name, columns.get(name)?.as_slice()))).collect();
        let (tested, untested) = correlation_table(&in_order, method.0, correction.0);
        Ok(GetCorrelationsResponse {
            correlations: tested.into_iter().map(correlation).collect(),
            untested: untested.into_iter().map(pair).collect(),
            method: method.1.into(),
            correction: correction.1.into(),
            data_versions: versions(&snapshot),
            not_imported,
            made_sample_data: snapshot.made(),
        })
    }
}

/// The variables that are asked for, each once; all where none is.
fn wanted(sent: &[String]) -> Result<Vec<&'static str>, Status> {
    let all = variables()?;
    if sent.is_empty() {
        return Ok(all);
    }
    let (mut wanted, mut wrong) = (Vec::new(), Vec::new());
    for (n, name) in sent.iter().take(all.len() + 1).enumerate() {
        match all.iter().find(|known| *known == name) {
            Some(known) if wanted.contains(known) => wrong.push((n, "is there twice".to_owned())),
            Some(known) => wanted.push(*known),
            None => wrong.push((n, format!("must be one of {}", all.join(", ")))),
        }
    }
    let mut fields: Vec<_> = wrong.into_iter().map(|(n, text)| (format!("variables[{n}]"), text)).collect();
    if sent.len() < 2 {
        fields.push(("variables".to_owned(), "two or more, or none for all".to_owned()));
    }
    if fields.is_empty() { Ok(wanted) } else { Err(problem::invalid_fields("INVALID_VARIABLES", &fields)) }
}

fn method(sent: i32) -> Result<(Method, CorrelationMethod), Status> {
    match CorrelationMethod::try_from(sent) {
        Ok(CorrelationMethod::Unspecified | CorrelationMethod::Pearson) => {
            Ok((Method::Pearson, CorrelationMethod::Pearson))
        }
        Ok(CorrelationMethod::Spearman) => Ok((Method::Spearman, CorrelationMethod::Spearman)),
        Err(_) => Err(problem::invalid("INVALID_METHOD", "method", "must be Pearson's or Spearman's")),
    }
}

fn correction(sent: i32) -> Result<(Correction, CorrelationCorrection), Status> {
    use CorrelationCorrection::{BenjaminiHochberg, Holm, Unspecified};
    match CorrelationCorrection::try_from(sent) {
        Ok(Unspecified | BenjaminiHochberg) => Ok((Correction::BenjaminiHochberg, BenjaminiHochberg)),
        Ok(Holm) => Ok((Correction::Holm, Holm)),
        Err(_) => {
            Err(problem::invalid("INVALID_CORRECTION", "correction", "must be Benjamini and Hochberg's or Holm's"))
        }
    }
}

fn correlation(tested: Tested) -> Correlation {
    let Tested { left, right, correlation, adjusted_p_value } = tested;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Correlation {
        left,
        right,
        coefficient: correlation.coefficient,
        low: correlation.interval.map(|interval| interval.low),
        high: correlation.interval.map(|interval| interval.high),
        p_value: correlation.p_value,
        corrected_p_value: adjusted_p_value,
        n: count(correlation.n),
        n_missing: count(correlation.missing),
    }
}

fn pair(untested: Untested) -> UntestedPair {
    let Untested { left, right, reason } = untested;
    UntestedPair { left, right, why: reason.to_string() }
}
