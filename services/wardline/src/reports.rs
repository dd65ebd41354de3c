//! `wardline report`: the rows of a report, on the terminal or in a file.

use crate::{
    opening,
    operator::{self, Token, ask, spelled},
};
use anyhow::{Context, bail};
use clap::Args;
use client::{Connection, Remote};
use model::quoted;
use proto::analytics::v1::{
    ListReportsRequest, Report, ReportFormat, RunReportRequest, report_service_client::ReportServiceClient,
};
use std::{
    io::{Write, stderr},
    path::PathBuf,
};

/// Options of the program: behind the report's name they would be taken for parameters of the report, and do nothing.
const OPTIONS: [&str; 11] =
    ["ca", "cert", "config", "endpoint", "format", "help", "key", "out", "set", "token", "token-file"];

/// Which report, and how.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Name of the report; without one, all are listed.
    pub name: Option<String>,
    /// How rows are written: table, csv, json or parquet.
    #[arg(long, default_value = "table", value_parser = ["table", "csv", "json", "parquet"])]
    pub format: String,
    /// File for the rows, instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The report's own parameters, last: --state TX.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PARAMETERS", value_parser = parameter)]
    pub parameters: Vec<String>,
}

/// Speaks to a node with one token.
pub struct ReportClient {
    client: ReportServiceClient<Connection>,
}

impl ReportClient {
    /// A client of the first node of `remote` that answers; each call carries the token.
    pub async fn connect(remote: impl Into<Remote>, token: impl Into<Token>) -> anyhow::Result<Self> {
        let client = ReportServiceClient::new(operator::connect(remote, token).await?);
        Ok(Self { client: client.max_decoding_message_size(operator::MESSAGE_BYTES_MAX) })
    }

    /// Runs what the command line says; rows go to its file, or to `out`.
    pub async fn run(&mut self, args: &ReportArgs, out: &mut impl Write) -> anyhow::Result<()> {
        let Some(name) = &args.name else {
            let reports = ask!(self.list_reports(ListReportsRequest {})).reports;
            return reports.iter().try_for_each(|report| described(report, out));
        };
        let format = match args.format.as_str() {
            "csv" => ReportFormat::Csv,
            "json" => ReportFormat::Json,
            "parquet" => ReportFormat::Parquet,
            _ => ReportFormat::Table,
        };
        let parameters = named(&args.parameters)?;
        let request = RunReportRequest { name: name.clone(), parameters, format: format.into() };
        let answer = ask!(self.run_report(request));
        let content = answer.content;
        // the other formats say it themselves
        if matches!(format, ReportFormat::Csv | ReportFormat::Parquet) && !answer.made_sample_data.is_empty() {
            writeln!(stderr(), "made sample data: {}", answer.made_sample_data.join(", "))?;
        }
        match &args.out {
            Some(path) => {
                opening::create(path).and_then(|mut file| file.write_all(&content)).with_context(|| spelled(path))
            }
            None => Ok(out.write_all(&content)?),
        }
    }
}

/// A word of the parameters; the program's own options are refused here, before anything is asked of a node.
fn parameter(word: &str) -> Result<String, String> {
    let name = word.strip_prefix("--").map(|word| word.split_once('=').map_or(word, |(name, _)| name));
    match name.filter(|name| OPTIONS.contains(name)) {
        Some(name) => {
            Err(format!("put --{name} before the report's name: wardline report --{name} ... NAME --state TX"))
        }
        None => Ok(word.to_owned()),
    }
}

/// A report in a few lines.
fn described(report: &Report, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "{:<26} {}", report.name, report.title)?;
    for parameter in &report.parameters {
        let default = parameter.default_value.as_ref().map(|value| format!(" [default: {value}]")).unwrap_or_default();
        writeln!(out, "  --{:<22} {}: {}{default}", parameter.name, parameter.about, parameter.takes)?;
    }
    Ok(())
}

/// `--name value`, `--name=value` or `name=value`, as NAME=VALUE each.
fn named(words: &[String]) -> anyhow::Result<Vec<String>> {
    let (mut pairs, mut words) = (Vec::new(), words.iter());
    while let Some(word) = words.next() {
        let plain = word.strip_prefix("--");
        match (plain, word.contains('=')) {
            (plain, true) => pairs.push(plain.unwrap_or(word).to_owned()),
            (Some(name), false) => {
                let value = words.next().with_context(|| format!("{}: must be followed by its value", quoted(word)))?;
                pairs.push(format!("{name}={value}"));
            }
            (None, false) => {
                bail!("{}: must be --NAME VALUE; --format and --out stand before the report's name", quoted(word))
            }
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_programs_options_are_refused_among_the_parameters_and_never_ignored() {
        let command = Cli::command();
        let report = command.find_subcommand("report").expect("a command");
        let longs = command.get_arguments().chain(report.get_arguments()).filter_map(clap::Arg::get_long);
        for option in longs.filter(|long| *long != "version") {
            assert!(OPTIONS.contains(&option), "--{option}");
        }
        for option in OPTIONS {
            for words in [vec![format!("--{option}"), "x".to_owned()], vec![format!("--{option}=x")]] {
                let words =
                    ["wardline", "report", "quality", "--state", "TX"].map(str::to_owned).into_iter().chain(words);
                let said = Cli::try_parse_from(words).map(|_| ()).expect_err(option).to_string();
                assert!(said.contains(&format!("put --{option} before the report's name")), "{said}");
            }
        }
        let before = ["wardline", "report", "--format", "csv", "--config", "F", "quality", "--state", "TX", "n=5"];
        assert!(Cli::try_parse_from(before).is_ok());
    }

    #[test]
    fn parameters_are_written_as_people_write_them() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            named(&words("--state TX --n=5 specialty=Family")).unwrap(),
            ["state=TX", "n=5", "specialty=Family"]
        );
        assert_eq!(named(&[]).unwrap(), Vec::<String>::new());
        for wrong in ["--state", "TX"] {
            assert!(named(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
