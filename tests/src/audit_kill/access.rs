//! Accesses that can be told from each other in the audit log: answered ones by the metrics they ask for, in an order that
//! says their number; refused ones by a patient nobody else asks for.

use crate::Bed;
use guard::convert;
use model::Nanos;
use proto::telemetry::v1::{
    LatestReadingsRequest, ReadTimelineRequest, ReadTrendRequest, timeline_service_client::TimelineServiceClient,
};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use tonic::{Code, Request, Status, transport::Channel};
use uuid::Uuid;
use wardline::simulate::DEFAULT_METRICS;

/// One access to a patient, before and after.
#[derive(Debug, Clone)]
pub struct Access {
    /// Subject as the audit log names it: `user:UUID`.
    pub subject: String,
    pub patient: String,
    pub action: &'static str,
    /// What it must be refused with; `None`: it must be answered.
    pub refusal: Option<Code>,
    /// The metrics asked for.
    pub detail: String,
    pub sent: Nanos,
    /// When the answer, or the refusal, was there; never, when the node died meanwhile.
    pub answered: Option<Nanos>,
}

impl Access {
    /// What no other access shares: of an answered one the metrics, of a refused one the patient.
    pub fn key(&self) -> &str {
        if self.refusal.is_some() { &self.patient } else { &self.detail }
    }
}

/// All accesses of a run.
#[derive(Clone, Default)]
pub struct Accesses {
    all: Arc<Mutex<Vec<Access>>>,
    /// Of them, those with an answer.
    pub n_answered: Arc<AtomicU64>,
    /// Readings and hours that were shown.
    pub n_rows: Arc<AtomicU64>,
}

impl Accesses {
    pub fn all(&self) -> Vec<Access> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Access>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for an access that is about to be sent, and its number.
    fn begin(&self, access: impl FnOnce(usize) -> Access) -> (usize, Access) {
        let mut all = self.lock();
        let access = access(all.len());
        all.push(access.clone());
        (all.len() - 1, access)
    }

    fn end(&self, number: usize, n_rows: u64) {
        self.lock()[number].answered = Some(guard::clock::now());
        self.n_answered.fetch_add(1, Ordering::Relaxed);
        self.n_rows.fetch_add(n_rows, Ordering::Relaxed);
    }
}

/// A number as metrics, which the audit log keeps in the order of the request.
fn metrics(mut number: usize) -> Vec<String> {
    let mut digits = Vec::new();
    loop {
        digits.push(DEFAULT_METRICS[number % DEFAULT_METRICS.len()].to_owned());
        number /= DEFAULT_METRICS.len();
        if number == 0 {
            return digits;
        }
        // each number has one form: the next digit counts from the next number on
        number -= 1;
    }
}

/// A person who reads.
#[derive(Clone)]
pub struct Person {
    /// Subject as the audit log names it: `user:UUID`.
    pub subject: String,
    pub token: String,
    /// What answers to all of their requests, when that is a refusal.
    pub refusal: Option<Code>,
}

/// Reads once, by any of the rpcs. How many rows were shown; `None` when no answer came.
///
/// # Errors
/// The answer is none that this access can have.
pub async fn access(
    accesses: &Accesses,
    person: &Person,
    beds: &[Bed],
    client: &mut TimelineServiceClient<Channel>,
    random: &mut StdRng,
) -> anyhow::Result<Option<u64>> {
    // a stranger's id is a patient who does not exist
    let stranger = random.random_ratio(1, 4);
    let refusal = person.refusal.or(stranger.then_some(Code::NotFound));
    let bed = beds.choose(random).filter(|_| refusal.is_none()).map(|bed| bed.patient.uuid());
    let patient = bed.unwrap_or_else(|| Uuid::from_u128(random.random())).to_string();
    let (kind, action) = [(0, "latest.read"), (1, "timeline.read"), (2, "trend.read")][random.random_range(0..3)];
    let subject = person.subject.clone();
    let (number, asked) = accesses.begin(|number| Access {
        subject,
        patient: patient.clone(),
        action,
        refusal,
        detail: metrics(number).join(" "),
        sent: guard::clock::now(),
        answered: None,
    });
    let (patient_id, metrics) = (patient, metrics(number));
    let from = Some(convert::timestamp(guard::clock::now().plus(-Nanos::DAY)));
    let answer: Result<u64, Status> = match kind {
        0 => {
            let request = with(LatestReadingsRequest { patient_id, metrics }, person)?;
            client.latest_readings(request).await.map(|answer| answer.get_ref().readings.len() as u64)
        }
        1 => {
            let request =
                with(ReadTimelineRequest { patient_id, metrics, start_time: from, ..Default::default() }, person)?;
            client.read_timeline(request).await.map(|answer| answer.get_ref().readings.len() as u64)
        }
        _ => {
            let request =
                with(ReadTrendRequest { patient_id, metrics, start_time: from, ..Default::default() }, person)?;
            client.read_trend(request).await.map(|answer| answer.get_ref().trends.len() as u64)
        }
    };
    match (answer, asked.refusal) {
        (Ok(n_rows), None) => {
            accesses.end(number, n_rows);
            Ok(Some(n_rows))
        }
        (Err(status), Some(code)) if status.code() == code => {
            accesses.end(number, 0);
            Ok(Some(0))
        }
        // the node is dead, or was killed before it answered
        (Err(status), _) if matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled) => Ok(None),
        (Ok(_), Some(code)) => anyhow::bail!("an access was answered that must be refused with {code:?}"),
        (Err(status), _) => anyhow::bail!("an access failed with {:?}: {}", status.code(), status.message()),
    }
}

fn with<T>(message: T, person: &Person) -> anyhow::Result<Request<T>> {
    crate::with_token(message, &person.token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_numbers_have_the_same_metrics() {
        let all: BTreeSet<_> = (0..20_000).map(metrics).collect();
        assert_eq!(all.len(), 20_000);
    }
}
