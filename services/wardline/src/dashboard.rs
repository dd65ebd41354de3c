//! `wardline insights` and `wardline correlations`: what a dashboard shows, on the terminal.

use crate::operator::{self, Token, ask};
use clap::Args;
use client::{Connection, Remote};
use proto::analytics::v1::{
    Correlation, CorrelationCorrection, CorrelationMethod, GetCorrelationsRequest, GetCorrelationsResponse, Insight,
    ListInsightsRequest, dashboard_service_client::DashboardServiceClient,
};
use std::{cmp::Ordering, io::Write};

/// How sentences are shown.
#[derive(Debug, Args)]
pub struct InsightsArgs {
    /// With each sentence the report that it comes from, and the numbers behind it.
    #[arg(long)]
    pub numbers: bool,
}

/// Between which numbers, by which method, and how p-values are corrected.
#[derive(Debug, Args)]
pub struct CorrelationsArgs {
    /// Names of two or more numbers of the states' profiles, such as poverty_percent; none: all.
    pub variables: Vec<String>,
    /// pearson: of the values; spearman: of the ranks.
    #[arg(long, default_value = "pearson", value_parser = ["pearson", "spearman"])]
    pub method: String,
    /// How p-values are corrected for the number of tests.
    #[arg(long, default_value = "benjamini-hochberg", value_parser = ["benjamini-hochberg", "holm"])]
    pub correction: String,
}

/// Speaks to a node with one token.
pub struct DashboardClient {
    client: DashboardServiceClient<Connection>,
}

impl DashboardClient {
    /// A client of the first node of `remote` that answers; each call carries the token.
    pub async fn connect(remote: impl Into<Remote>, token: impl Into<Token>) -> anyhow::Result<Self> {
        Ok(Self { client: DashboardServiceClient::new(operator::connect(remote, token).await?) })
    }

    /// Prints the sentences, and which questions had no answer.
    pub async fn insights(&mut self, how: &InsightsArgs, out: &mut impl Write) -> anyhow::Result<()> {
        let found = ask!(self.list_insights(ListInsightsRequest {}));
        for insight in &found.insights {
            writeln!(out, "{}", insight.sentence)?;
            if how.numbers {
                numbers(insight, out)?;
            }
        }
        for left in &found.left_out {
            writeln!(out, "Left out: {} ({})", left.report, left.why)?;
        }
        Ok(())
    }

    /// Prints the correlations, the strongest first.
    pub async fn correlations(&mut self, asked: &CorrelationsArgs, out: &mut impl Write) -> anyhow::Result<()> {
        let method = match asked.method.as_str() {
            "spearman" => CorrelationMethod::Spearman,
            _ => CorrelationMethod::Pearson,
        };
        let correction = match asked.correction.as_str() {
            "holm" => CorrelationCorrection::Holm,
            _ => CorrelationCorrection::BenjaminiHochberg,
        };
        let (variables, method, correction) = (asked.variables.clone(), method.into(), correction.into());
        let found = ask!(self.get_correlations(GetCorrelationsRequest { variables, method, correction }));
        table(found, out)
    }
}

fn numbers(insight: &Insight, out: &mut impl Write) -> anyhow::Result<()> {
    let mut asked: Vec<_> = insight.parameters.iter().map(|(name, value)| format!(" --{name} {value}")).collect();
    asked.sort_unstable();
    writeln!(out, "    wardline report {}{}", insight.report, asked.concat())?;
    for number in &insight.numbers {
        let unit = if number.unit == "1" { String::new() } else { format!(" {}", number.unit) };
        writeln!(out, "      {:<16} {:<32} {}{unit}", number.of, number.column, number.value)?;
    }
    Ok(())
}

fn table(found: GetCorrelationsResponse, out: &mut impl Write) -> anyhow::Result<()> {
    let GetCorrelationsResponse { mut correlations, untested, made_sample_data, .. } = found;
    if !made_sample_data.is_empty() {
        writeln!(out, "made sample data: {}", made_sample_data.join(", "))?;
    }
    let strength = |correlation: &Correlation| correlation.coefficient.abs();
    correlations.sort_by(|a, b| strength(b).partial_cmp(&strength(a)).unwrap_or(Ordering::Equal));
    let names = correlations.iter().flat_map(|one| [&one.left, &one.right]).map(|name| name.len());
    let width = names.max().unwrap_or(0).max("RIGHT".len());
    writeln!(
        out,
        "{:<width$}  {:<width$}  {:>6}  {:<16}  {:>8}  {:>9}  {:>3}",
        "LEFT", "RIGHT", "R", "95 % INTERVAL", "P", "CORRECTED", "N"
    )?;
    for one in &correlations {
        let interval = one.low.zip(one.high).map(|(low, high)| format!("{low:.3} to {high:.3}")).unwrap_or_default();
        writeln!(
            out,
            "{:<width$}  {:<width$}  {:>6.3}  {interval:<16}  {:>8.1e}  {:>9.1e}  {:>3}",
            one.left, one.right, one.coefficient, one.p_value, one.corrected_p_value, one.n
        )?;
    }
    for pair in &untested {
        writeln!(out, "Not tested: {} and {}: {}", pair.left, pair.right, pair.why)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::analytics::v1::{InsightNumber, UntestedPair};

    #[test]
    fn correlations_are_a_table_the_strongest_first() {
        let one = |right: &str, coefficient: f64| Correlation {
            left: "population".to_owned(),
            right: right.to_owned(),
            coefficient,
            low: Some(coefficient - 0.1),
            high: Some(coefficient + 0.1),
            p_value: 0.000_123,
            corrected_p_value: 0.04,
            n: 51,
            n_missing: 0,
        };
        let pair = UntestedPair { left: "a".to_owned(), right: "b".to_owned(), why: "nothing varies".to_owned() };
        let found = GetCorrelationsResponse {
            correlations: vec![one("n_hospitals", 0.25), one("poverty_percent", -0.5)],
            untested: vec![pair],
            ..GetCorrelationsResponse::default()
        };
        let mut out = Vec::new();
        table(found.clone(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "LEFT             RIGHT                 R  95 % INTERVAL            P  CORRECTED    N");
        assert_eq!(lines[1], "population       poverty_percent  -0.500  -0.600 to -0.400    1.2e-4     4.0e-2   51");
        assert!(lines[2].starts_with("population       n_hospitals       0.250"), "{text}");
        assert_eq!(lines[3], "Not tested: a and b: nothing varies");
        let mut of_made = Vec::new();
        table(GetCorrelationsResponse { made_sample_data: vec!["premiums".to_owned()], ..found }, &mut of_made)
            .unwrap();
        assert_eq!(String::from_utf8(of_made).unwrap(), format!("made sample data: premiums\n{text}"));
    }

    #[test]
    fn a_sentence_says_how_to_ask_again() {
        let number = InsightNumber {
            of: "TX".to_owned(),
            column: "mean_rating".to_owned(),
            value: "3.5".to_owned(),
            unit: "1".to_owned(),
        };
        let insight = Insight {
            report: "top_states_by_rating".to_owned(),
            parameters: [("n", "1"), ("min_rated", "10")].map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
            numbers: vec![number],
            ..Insight::default()
        };
        let mut out = Vec::new();
        numbers(&insight, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next().unwrap().trim(), "wardline report top_states_by_rating --min_rated 10 --n 1");
        assert_eq!(lines.next().unwrap().split_whitespace().collect::<Vec<_>>(), ["TX", "mean_rating", "3.5"]);
    }
}
