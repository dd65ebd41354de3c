//! `wardline timeline`: a patient's readings through the public API, as a plot for people or as rows for programs.
//!
//! Reads all pages and keeps none: rows go out as they come, and a plot keeps two dots a character whatever the range.

mod plot;
mod rows;
pub(crate) mod when;

use crate::{
    ending::is_closed_pipe,
    operator::{self, Token, TokenArgs},
};
use anyhow::Context;
use clap::Args;
use client::{Error, Query, Reader, Remote};
use futures::{StreamExt, stream::BoxStream};
use guard::convert::{nanos, timestamp};
use model::{Comparator, Nanos, PatientId, Quality, Range};
use plot::Plot;
use proto::telemetry::v1::{
    LatestReading, ReadTimelineResponse, ReadingFlag, Series, StoredReading, TimelineLayout, Waveform,
};
use rows::{Format, Rows};
use std::{
    collections::BTreeMap,
    env,
    io::{self, BufWriter, IsTerminal, Write},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};
use tonic::Code;

/// Readings a page, as rows and as columns.
const READINGS_A_PAGE: i32 = 10_000;
const COLUMNS_A_PAGE: i32 = 100_000;
/// Columns of a terminal that does not say how wide it is.
const WIDTH: usize = 100;

/// Which readings, and how to show them.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// UUID of the patient.
    #[arg(value_parser = model::uuid)]
    pub patient: uuid::Uuid,
    /// Metric by LOINC code, repeatable; none means all.
    #[arg(long = "metric", value_name = "LOINC")]
    pub metrics: Vec<String>,
    /// Start: RFC 3339 (2026-01-31T08:00:00Z), `now`, or before now (-24h, -30m, -7d) [default: 24 h before --to].
    #[arg(long, allow_hyphen_values = true)]
    pub from: Option<String>,
    /// First instant after, in the same forms [default: just after the newest reading].
    #[arg(long, allow_hyphen_values = true)]
    pub to: Option<String>,
    /// The newest reading of each metric only.
    #[arg(long)]
    pub latest: bool,
    /// As one JSON array.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// As CSV; the default when the output is not a terminal.
    #[arg(long)]
    pub csv: bool,
    /// Whose token is used.
    #[command(flatten)]
    pub access: TokenArgs,
}

/// How readings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Plots of so many columns, or a table of the latest.
    Terminal(usize),
    /// Comma-separated values, with a line of headings.
    Csv,
    /// One JSON array.
    Json,
}

impl Options {
    /// What was asked for; without a wish a plot on a terminal and CSV elsewhere.
    fn view(&self) -> View {
        match (self.json, self.csv || !io::stdout().is_terminal()) {
            (true, _) => View::Json,
            (_, true) => View::Csv,
            _ => View::Terminal(width()),
        }
    }
}

/// Reads and prints. `token` is used as it is: the caller decides between `--token` and another.
///
/// # Errors
/// The server cannot be reached or refuses, or standard output is gone (a closed pipe is no error).
pub async fn run(options: Options, remote: impl Into<Remote>, token: impl Into<Token>) -> anyhow::Result<()> {
    let view = options.view();
    let mut out = BufWriter::new(io::stdout());
    let n_repeats = read(&options, view, remote, token, &mut out).await;
    let written = n_repeats.and_then(|n_repeats| {
        out.flush()?;
        // beside the readings, which may go into a file
        if n_repeats > 0 {
            writeln!(io::stderr(), "exact repeats left out: {n_repeats} (their device had sent the same before)")?;
        }
        Ok(())
    });
    match written {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        written => written,
    }
}

/// Like [`run`], with the view given and the output anywhere; how many readings were left out as exact repeats.
///
/// # Errors
/// As [`run`].
pub async fn read(
    options: &Options,
    view: View,
    remote: impl Into<Remote>,
    token: impl Into<Token>,
    out: &mut impl Write,
) -> anyhow::Result<u64> {
    let now = now();
    let reader = Patient::new(options, remote.into(), token).await?;
    let latest = reader.latest().await?;
    if options.latest {
        match view {
            View::Terminal(_) => write!(out, "{}", rows::table(&latest))?,
            View::Csv | View::Json => {
                let mut rows = Rows::new(format(view), out)?;
                latest.iter().filter_map(|latest| latest.reading.as_ref()).try_for_each(|r| rows.write(r))?;
                rows.end()?;
            }
        }
        return Ok(0);
    }
    // of a clock that was never set, the time of measurement may lie ahead
    let credible = latest.iter().filter_map(|latest| latest.reading.as_ref()).filter(|reading| !is_ahead(reading));
    let newest = credible.filter_map(measured).max();
    let range = range(options, newest, now)?;
    let is_present = options.to.is_none();
    match view {
        View::Terminal(width) => {
            let (plots, n_repeats) = plots(&reader, range, width, is_present).await?;
            show(&plots, range, &latest, out)?;
            Ok(n_repeats)
        }
        View::Csv | View::Json => {
            let mut rows = Rows::new(format(view), out)?;
            let mut n_repeats = 0_u64;
            let mut pages = reader.pages(range, TimelineLayout::Readings);
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| reader.explain(error))?;
                n_repeats = n_repeats.saturating_add(page.n_repeats);
                let mut shown = page.readings.iter().filter(|reading| !(is_present && is_ahead(reading)));
                shown.try_for_each(|reading| rows.write(reading))?;
            }
            rows.end()?;
            Ok(n_repeats)
        }
    }
}

fn format(view: View) -> Format {
    if view == View::Json { Format::Json } else { Format::Csv }
}

/// Both ends: what was given, else up to the newest reading, and 24 hours.
fn range(options: &Options, newest: Option<Nanos>, now: Nanos) -> anyhow::Result<Range> {
    let parse = |text: &Option<String>| text.as_deref().map(|text| when::parse(text, now)).transpose();
    let (from, to) = (parse(&options.from)?, parse(&options.to)?);
    let default_to = if from.is_some() { now } else { newest.map_or(now, |newest| newest.plus(1)) };
    let to = to.unwrap_or(default_to);
    let from = from.unwrap_or(to.plus(-Nanos::DAY));
    Range::new(from, to).context("--from lies after --to")
}

/// A plot of each metric, and how many exact repeats were left out; where the range is the present, without what was measured
/// ahead of its receipt.
async fn plots(
    reader: &Patient,
    range: Range,
    width: usize,
    is_present: bool,
) -> anyhow::Result<(BTreeMap<String, Plot>, u64)> {
    let (mut found, mut n_repeats) = (BTreeMap::<String, Plot>::new(), 0_u64);
    let mut pages = reader.pages(range, TimelineLayout::Columns);
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| reader.explain(error))?;
        n_repeats = n_repeats.saturating_add(page.n_repeats);
        for series in &page.series {
            let plot = found.entry(series.metric.clone()).or_insert_with(|| Plot::new(range, width, &series.unit));
            add(plot, series, is_present);
        }
    }
    Ok((found, n_repeats))
}

fn show(
    found: &BTreeMap<String, Plot>,
    range: Range,
    latest: &[LatestReading],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    writeln!(out, "{} to {} (UTC)", when::show(range.from()), when::show(range.to()))?;
    if found.is_empty() {
        writeln!(out, "no readings in this range")?;
    }
    for (metric, plot) in found {
        let newest = latest.iter().find(|latest| latest.reading.as_ref().is_some_and(|r| r.metric == *metric));
        writeln!(out, "\n{}", rows::heading(metric, plot.n_readings(), &plot.others(), newest))?;
        for line in plot.lines() {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Puts a page's columns into a plot: numbers as they are, of a waveform its lowest and highest sample in the range, bounds by
/// their sign. Codes, what has no value, and what may be in another unit, cannot be or was a mistake have no place on an axis and are
/// only counted.
fn add(plot: &mut Plot, series: &Series, is_present: bool) {
    let mut at = 0_i64;
    for (i, delta) in series.measured_at_delta_ticks.iter().enumerate() {
        // of a node that says what cannot be, no time that it did not say
        let Some(next) = delta.checked_mul(series.tick_ns).and_then(|delta| at.checked_add(delta)) else { break };
        at = next;
        let quality = series.flags.get(i).map_or(Quality::GOOD, |flags| Quality::from_bits(*flags));
        if is_present && quality.has(Quality::FUTURE) || plot.count_doubts(quality) {
            continue;
        }
        let lasting = series.lasting_ns.get(i).copied().unwrap_or_default();
        let place = plot.place(Nanos(at), Nanos(at).plus(lasting));
        if let Some(value) = series.numbers.get(i) {
            plot.add(place, *value);
        } else if let Some(number) = series.bounds.get(i) {
            let comparator = series.comparators.get(i).copied().and_then(Comparator::from_code);
            plot.add_bound(place, comparator, *number);
        } else if i < series.absent_reasons.len() {
            plot.count_absent();
        } else if let Some(wave) = series.waveforms.get(i) {
            let is_shown = |n| plot.shows(Nanos(at).plus(wave.period_ns.saturating_mul(n)));
            match ends(wave, is_shown) {
                // some of its samples are in the range, whenever it began
                Some((low, high)) => plot.add_between(plot.place(Nanos(at), Nanos::MAX), low, high),
                None => plot.count(),
            }
        } else {
            plot.count_code();
        }
    }
}

/// Lowest and highest sample, of those that are not missing and are shown.
fn ends(wave: &Waveform, is_shown: impl Fn(i64) -> bool) -> Option<(f64, f64)> {
    let shown = (0..).zip(rows::samples(wave)).filter(|(n, _)| is_shown(*n));
    let ends = shown.filter_map(|(_, sample)| sample).map(|sample| (sample, sample));
    ends.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))
}

/// Reads one patient's readings.
struct Patient {
    reader: Reader,
    patient: PatientId,
    metrics: Vec<String>,
    remote: Remote,
}

impl Patient {
    async fn new(options: &Options, remote: Remote, token: impl Into<Token>) -> anyhow::Result<Self> {
        let connection = operator::connection(&remote, token)?;
        let reader = Reader::new(connection.clone()).with_patience(operator::PATIENCE);
        let (patient, metrics) = (PatientId::new(options.patient), options.metrics.clone());
        let this = Self { reader, patient, metrics, remote };
        connection.ready().await.map_err(|error| this.explain(error))?;
        Ok(this)
    }

    async fn latest(&self) -> anyhow::Result<Vec<LatestReading>> {
        self.reader.latest(self.patient.uuid(), &self.metrics).await.map_err(|error| self.explain(error))
    }

    fn pages(&self, range: Range, layout: TimelineLayout) -> BoxStream<'static, Result<ReadTimelineResponse, Error>> {
        let (patient, metrics) = (self.patient.uuid(), self.metrics.clone());
        let (from, to) = (Some(timestamp(range.from())), Some(timestamp(range.to())));
        let page_size = if layout == TimelineLayout::Columns { COLUMNS_A_PAGE } else { READINGS_A_PAGE };
        self.reader.timeline_pages(Query { patient, metrics, from, to, page_size }, layout)
    }

    fn explain(&self, error: Error) -> anyhow::Error {
        if let Some(text) = operator::put_off(&error) {
            return anyhow::anyhow!(text);
        }
        let hint = match error.code() {
            Some(Code::NotFound) => "no such patient, or none of yours".to_owned(),
            Some(Code::Unauthenticated) => "the token is not accepted".to_owned(),
            Some(_) => "the node refuses".to_owned(),
            None if matches!(error, Error::Unreachable { .. } | Error::NoAnswer { .. }) => {
                format!("no node answers at {}; start one with `wardline run`", self.remote)
            }
            None => "the readings could not be read".to_owned(),
        };
        anyhow::Error::new(error).context(hint)
    }
}

/// Whether it was measured ahead of its receipt, which is no part of the present.
fn is_ahead(reading: &StoredReading) -> bool {
    reading.flags().any(|flag| flag == ReadingFlag::Future)
}

fn measured(reading: &StoredReading) -> Option<Nanos> {
    nanos(reading.measured_at.as_ref()?)
}

fn now() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Columns of the terminal: what the shell exports, else what the terminal says through `stty` (calling it directly
/// takes a system call that needs unsafe code).
fn width() -> usize {
    let from_shell = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let ask = || {
        let output = Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
    };
    from_shell.or_else(ask).filter(|width| *width > 0).unwrap_or(WIDTH)
}
