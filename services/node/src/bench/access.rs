//! `bench access`: what it costs to decide who may see a patient.

use super::{quantile, report::Report};
use auth::{Directory, Identity};
use model::{
    Nanos, PatientId, UserId,
    access::{Action, Subject, decide},
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
    /// Requests decided.
    #[arg(long, default_value = "500000")]
    pub decisions: NonZeroU32,
    /// Seed of the order in which patients are asked for.
    #[arg(long, default_value = "1")]
    pub seed: u64,
}

pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let n_patients = options.patients.get();
    let mut directory = Directory::default();
    directory.add("bench", &text(n_patients)?)?;
    let identity =
        Identity { subject: Subject::User(CLINICIAN), scope: None, issued_at: Nanos(0), expires_at: Nanos::MAX };
    let now = crate::clock::now();
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut report = Report::new("access", &["asked for", "decisions", "allowed", "p50 us", "p99 us", "wanted p99 us"]);
    for (name, first) in [("patients in a relation", 0), ("other patients", n_patients)] {
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
        let (p50, p99) = (quantile(&microseconds, 0.5), quantile(&microseconds, 0.99));
        report.row([
            json!(name),
            json!(options.decisions.get()),
            json!(n_allowed),
            json!(p50),
            json!(p99),
            json!(WANTED_MICROSECONDS),
        ]);
    }
    report.note(
        "from the token's identity to the permit: grants of all roles, relations and consents looked up and judged",
    );
    Ok(report)
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
