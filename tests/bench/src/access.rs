//! `bench access`: what it costs to decide who may see a patient, and how long a change takes to be in force.

mod registry;
mod revocation;

use super::{quantile, report::Report, workspace::Where};
use directory::Directory;
use model::{
    Nanos, PatientId, UserId,
    access::{Action, Identity, Subject, decide},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{fmt::Write, num::NonZeroU32, time::Instant};
use uuid::Uuid;

const CLINICIAN: UserId = UserId::new(Uuid::from_u128(0xc11_0000_0000_4000_8000_0000_0000_0001));
const WANTED_MICROSECONDS: f64 = 20.0;
/// One patient in so many has barred somebody.
const CONSENT_EVERY: u32 = 4;

/// How much is known and asked.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Patients to whom the clinician has a relation; as many others are known.
    #[arg(long, default_value = "1000")]
    pub patients: NonZeroU32,
    /// Number of requests that are decided.
    #[arg(long, default_value = "500000")]
    pub decisions: NonZeroU32,
    /// Seed of the order in which patients are asked for.
    #[arg(long, default_value = "1")]
    pub seed: u64,
    /// People in the registry, each with a relation and a device, when a start and a change are timed.
    #[arg(long, default_value = "100000")]
    pub people: NonZeroU32,
    /// Streams of devices that are open when their devices are taken out of the directory.
    #[arg(long, default_value = "50")]
    pub streams: NonZeroU32,
    /// How often that is done.
    #[arg(long, default_value = "10")]
    pub rounds: NonZeroU32,
}

/// A line of the table.
pub(super) struct Row {
    pub(super) what: &'static str,
    /// How many of the decisions allowed the request.
    pub(super) n_allowed: u32,
    /// Median, 99th percentile and maximum, in `unit`.
    pub(super) figures: Vec<f64>,
    pub(super) unit: &'static str,
    /// What the 99th percentile should be at most; `None`: nothing is asked of it.
    pub(super) wanted: Option<f64>,
}

pub(super) async fn run(options: &Options, at: &Where) -> anyhow::Result<Report> {
    let columns = ["what", "samples", "allowed", "p50", "p99", "most", "wanted p99", "unit"];
    let mut report = Report::new("access", &columns);
    let mut rows = decisions(options)?;
    rows.extend(registry::rows(options.people.get())?);
    rows.extend(revocation::rows(options.streams.get(), options.rounds.get(), at).await?);
    for Row { what, n_allowed, figures, unit, wanted } in rows {
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| json!(quantile(&figures, share)));
        report.row([json!(what), json!(figures.len()), json!(n_allowed), p50, p99, most, json!(wanted), json!(unit)]);
    }
    report.note(
        "a decision: from the token's identity to the permit: grants of all roles, relations and consents looked up and judged",
    );
    report.note(format!("start and change: {} people in the registry", options.people));
    report.note("an end: from the change of the directory's file until the stream's refusal, or that of the next read");
    Ok(report)
}

fn decisions(options: &Options) -> anyhow::Result<Vec<Row>> {
    let n_patients = options.patients.get();
    let mut directory = Directory::default();
    directory.add("bench", &text(n_patients)?)?;
    let identity =
        Identity { subject: Subject::User(CLINICIAN), scope: None, issued_at: Nanos(0), expires_at: Nanos::MAX };
    let now = guard::clock::now();
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut rows = Vec::new();
    for (what, first) in [("decision, patient in a relation", 0), ("decision, other patient", n_patients)] {
        let mut microseconds = Vec::with_capacity(options.decisions.get() as usize);
        let mut n_allowed = 0u32;
        for _ in 0..options.decisions.get() {
            let patient = patient(first + random.random_range(0..n_patients));
            let started = Instant::now();
            let principal = directory.principal(&identity, None);
            let facts = directory.facts(&principal, patient);
            let permit = decide(&principal, Action::ReadTimeline, patient, &facts, now);
            microseconds.push(started.elapsed().as_nanos() as f64 / 1_000.0);
            n_allowed += u32::from(permit.is_ok());
        }
        let expected = if first == 0 { options.decisions.get() } else { 0 };
        anyhow::ensure!(n_allowed == expected, "{n_allowed} decisions allow it instead of {expected}");
        rows.push(Row { what, n_allowed, figures: microseconds, unit: "us", wanted: Some(WANTED_MICROSECONDS) });
    }
    Ok(rows)
}

fn patient(number: u32) -> PatientId {
    PatientId::new(Uuid::from_u128(0xbed_0000_0000_4000_8000_0000_0000_0000 + u128::from(number)))
}

/// A clinician with two roles, a care relation to each of the first patients and, for half of them, a ward in common.
fn text(n_patients: u32) -> anyhow::Result<String> {
    let clinician = CLINICIAN.uuid();
    let mut text = format!(
        "[[user]]\nid = \"{clinician}\"\nname = \"c\"\nroles = [\"nurse\", \"doctor\"]\n\
         [[care_team]]\nuser = \"{clinician}\"\nward = \"1\"\n"
    );
    for number in 0..2 * n_patients {
        let id = patient(number).uuid();
        let ward = if number < n_patients { number % 2 } else { 2 };
        writeln!(text, "[[patient]]\nid = \"{id}\"\nward = \"{ward}\"")?;
        if number < n_patients {
            writeln!(text, "[[care_team]]\nuser = \"{clinician}\"\npatient = \"{id}\"")?;
        }
        if number % CONSENT_EVERY == 0 {
            writeln!(text, "[[consent]]\npatient = \"{id}\"\nbars = \"proxy\"")?;
        }
    }
    Ok(text)
}
