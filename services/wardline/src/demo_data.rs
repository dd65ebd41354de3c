//! What the demo imports: the samples of reference data; the daily pipeline and three reports over them.

use crate::{
    datasets::{DataClient, ImportArgs},
    operator::Token,
    pipeline::{PipelineClient, Pipelines},
    reports::{ReportArgs, ReportClient},
};
use anyhow::Context;
use client::Remote;
use std::{collections::BTreeMap, fs, io::Write, path::Path};

/// A file of the samples, and the kind of data set that it is.
struct Sample {
    kind: &'static str,
    name: &'static str,
    bytes: &'static [u8],
}

macro_rules! sample {
    ($kind:literal, $name:literal) => {
        Sample { kind: $kind, name: $name, bytes: include_bytes!(concat!("../../analytics/samples/", $name)) }
    };
}

/// Where they come from stands in services/analytics/samples/README.md. Those to which others refer come first.
const SAMPLES: [Sample; 31] = [
    sample!("cities", "cities.csv.zst"),
    sample!("state_population", "state_population.csv"),
    sample!("county_population", "county_population.csv.zst"),
    sample!("county_rurality", "county_rurality.csv.zst"),
    sample!("coverage", "coverage.2020.csv.zst"),
    sample!("coverage", "coverage.2022.csv.zst"),
    sample!("education", "education.2019-2023.csv.zst"),
    sample!("hospital_locations", "hospital_locations.csv.zst"),
    sample!("hospitals", "hospitals.2020-07.csv.zst"),
    sample!("hospitals", "hospitals.2025.csv.zst"),
    sample!("infant_mortality", "infant_mortality.csv"),
    sample!("inpatient_costs", "inpatient_costs.2023.csv.zst"),
    sample!("life_expectancy", "life_expectancy.2021.csv"),
    sample!("medicaid_enrolment", "medicaid_enrolment.csv.zst"),
    sample!("medicare_spending", "medicare_spending.csv.zst"),
    sample!("poverty_income", "poverty_income.csv.zst"),
    sample!("premiums", "premiums.csv"),
    sample!("prescribers", "prescribers.publisher.csv"),
    sample!("prescribers", "prescribers.year-exp.csv.zst"),
    sample!("prescribers", "prescribers.years-of-exp.csv.zst"),
    sample!("preventable_stays", "preventable_stays.county.csv.zst"),
    sample!("preventable_stays", "preventable_stays.state.csv.zst"),
    sample!("readmissions", "readmissions.csv.zst"),
    sample!("sites", "sites.2020.csv.zst"),
    sample!("sites", "sites.daily.csv"),
    sample!("social_vulnerability", "social_vulnerability.2020.csv.zst"),
    sample!("social_vulnerability", "social_vulnerability.2022.csv.zst"),
    sample!("state_panel", "state_panel.csv"),
    sample!("unemployment", "unemployment.csv.zst"),
    sample!("zip_county", "zip_county.csv.zst"),
    sample!("zip_rurality", "zip_rurality.csv.zst"),
];

/// Reports that are shown, with their parameters.
const REPORTS: [(&str, &[&str]); 3] =
    [("summary", &[]), ("site_count_by_state", &[]), ("top_prescribers", &["state=FL", "n=5"])];

/// Lines of a report that are shown.
const LINES: usize = 14;

/// Imports the samples into a node whose data sets are empty, runs the daily pipeline once a day, and shows three reports.
pub async fn run(dir: &Path, remote: &Remote, token: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let mut data = DataClient::connect(remote.clone(), Token::from(token)).await?;
    let mut folders = BTreeMap::new();
    for (n, sample) in SAMPLES.iter().enumerate() {
        let folder = dir.join(sample.kind);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        fs::write(folder.join(sample.name), sample.bytes)?;
        folders.entry(sample.kind).or_insert((n, folder));
    }
    let mut in_order: Vec<_> = folders.into_iter().collect();
    in_order.sort_unstable_by_key(|(_, (n, _))| *n);
    for (kind, (_, path)) in in_order {
        if data.has(kind).await? {
            continue;
        }
        let import = ImportArgs { kind: kind.to_owned(), path, layout: None, always: false, no_wait: false };
        data.import(&import, &mut std::io::sink()).await.with_context(|| format!("sample of {kind}"))?;
    }
    pipeline(remote, token, out).await?;
    writeln!(out, "\n  Reports over the samples, which are excerpts: the first one says how much there is.")?;
    let mut reports = ReportClient::connect(remote.clone(), Token::from(token)).await?;
    for (name, parameters) in REPORTS {
        let mut rows = Vec::new();
        let args = ReportArgs {
            name: Some(name.to_owned()),
            format: "table".to_owned(),
            out: None,
            parameters: parameters.iter().map(|pair| (*pair).to_owned()).collect(),
        };
        reports.run(&args, &mut rows).await.with_context(|| format!("report {name}"))?;
        writeln!(out, "\n  $ wardline report {name} {}", parameters.join(" "))?;
        let text = String::from_utf8_lossy(&rows);
        text.lines().take(LINES).try_for_each(|line| writeln!(out, "  {line}"))?;
        let more = text.lines().count().saturating_sub(LINES);
        if more > 0 {
            writeln!(out, "  ... {more} lines more")?;
        }
    }
    Ok(())
}

/// Runs the pipeline, and shows how that ended: a step that failed does not end the demo.
async fn pipeline(remote: &Remote, token: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let mut pipelines = PipelineClient::connect(remote.clone(), Token::from(token)).await?;
    let run = Pipelines::Run { name: "daily".to_owned(), date: None, notify: "never".to_owned(), watch: true };
    writeln!(out, "\n  $ wardline pipeline run --watch")?;
    let mut said = Vec::new();
    let ended = pipelines.act(run, &mut said).await;
    let said = String::from_utf8_lossy(&said);
    summed_up(&said).try_for_each(|line| writeln!(out, "  {line}"))?;
    if let Err(error) = ended {
        writeln!(out, "  {error:#}")?;
    }
    Ok(())
}

/// Of what is said of a run: the line with how many steps succeeded, and the steps that did not. The rest would bury the reports.
fn summed_up(said: &str) -> impl Iterator<Item = &str> {
    let is_left_out = |line: &&str| ["  | ", "  succeeded ", "  skipped "].iter().any(|begin| line.starts_with(begin));
    said.lines().filter(move |line| !is_left_out(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_run_the_demo_shows_one_line_and_what_failed() {
        let said = "0190  2027-03-14  failed     2/3 steps  10:00\n  succeeded  plan   1  \n  failed     check  2  it is late\n  \
                    skipped    load   no server\n  | plan: succeeded in attempt 1\n  | check: failed: it is late\n";
        let shown: Vec<_> = summed_up(said).collect();
        assert_eq!(shown, ["0190  2027-03-14  failed     2/3 steps  10:00", "  failed     check  2  it is late"]);
    }
}
