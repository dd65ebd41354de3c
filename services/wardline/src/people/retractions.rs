//! `wardline retractions`: readings that must not count.

use super::{RegistryCli, rows::Rows};
use crate::{
    operator::{Id, ask_all, change, shown},
    timeline::when,
};
use anyhow::Context;
use clap::Subcommand;
use guard::convert;
use proto::registry::v1::{CreateRetractionRequest, EndRetractionRequest, ListRetractionsRequest, Retraction};
use std::io::Write;

/// What to do with retractions.
#[derive(Debug, Subcommand)]
pub enum Retractions {
    /// All of a patient's, newest first.
    List {
        /// UUID of the patient.
        patient: Id,
    },
    /// Says that readings must not count: what was received up to now.
    Create {
        /// UUID of the patient.
        patient: Id,
        /// Measured from: RFC 3339 (2026-01-31T08:00:00Z), `now`, or before now (-24h, -30m, -7d).
        #[arg(long, allow_hyphen_values = true)]
        from: String,
        /// First instant after, in the same forms; at most 31 days later.
        #[arg(long, allow_hyphen_values = true)]
        to: String,
        /// Why, in words: 10 to 500 characters.
        #[arg(long)]
        reason: String,
        /// UUID of the device whose readings they are; without it, of all devices.
        #[arg(long)]
        device: Option<Id>,
        /// Metric by LOINC code, repeatable; none means all.
        #[arg(long = "metric", value_name = "LOINC")]
        metrics: Vec<String>,
    },
    /// Lets the readings count again.
    End {
        /// UUID of the patient.
        patient: Id,
        /// UUID of the retraction.
        retraction: Id,
    },
}

impl RegistryCli {
    /// Runs a command of `wardline retractions` and prints the result.
    pub async fn retractions(&mut self, what: &Retractions, out: &mut impl Write) -> anyhow::Result<()> {
        let found = match what {
            Retractions::List { patient } => {
                ask_all!(self.list_retractions(ListRetractionsRequest { patient_id: patient.to_string() }).retractions)
            }
            Retractions::Create { patient, from, to, reason, device, metrics } => {
                let now = guard::clock::now();
                let time = |name: &'static str, text: &str| when::parse(text, now).context(name);
                let retraction = Retraction {
                    patient_id: patient.to_string(),
                    device_id: device.map(|device| device.to_string()).unwrap_or_default(),
                    metrics: metrics.clone(),
                    start_time: Some(convert::timestamp(time("--from", from)?)),
                    end_time: Some(convert::timestamp(time("--to", to)?)),
                    reason: reason.clone(),
                    ..Retraction::default()
                };
                let request = CreateRetractionRequest { retraction: Some(retraction) };
                change!(self.create_retraction(request)).retraction.into_iter().collect()
            }
            Retractions::End { patient, retraction } => {
                let (patient_id, retraction_id) = (patient.to_string(), retraction.to_string());
                let request = EndRetractionRequest { patient_id, retraction_id, ..Default::default() };
                change!(self.end_retraction(request)).retraction.into_iter().collect()
            }
        };
        let mut rows = Rows::new(&[
            "retraction",
            "device",
            "metrics",
            "from",
            "to",
            "reason",
            "by",
            "created",
            "ended_by",
            "ended",
        ]);
        for one in found {
            let times = [one.start_time, one.end_time, one.created_at, one.ended_at];
            let [from, to, created, ended] = times.map(|at| shown(at).unwrap_or_default());
            let metrics = one.metrics.join(" ");
            rows.push([
                &one.retraction_id,
                &one.device_id,
                &metrics,
                &from,
                &to,
                &one.reason,
                &one.user_id,
                &created,
                &one.ended_by,
                &ended,
            ]);
        }
        rows.print(self.format, out)
    }
}
