//! The audit log under SIGKILL: whatever a client was answered is in it after the node comes back.
//!
//! The real binary runs on the embedded engines; people read patients' data, some without permission, and the node is killed at
//! seeded random times. After each restart an auditor searches the log: every answer and every refusal that a client got
//! must be there once, as what it was, and `wardline audit verify` must find nothing. At the end all of it is compared
//! once more, and nothing may be in the log that nobody asked for.

mod access;

use crate::{
    builders::{reading, write},
    torture::{child::Child, engines::Kind, ward::Ward},
    wait::{PATIENCE, until},
    with_token,
};
use access::{Access, Accesses, Person, access};
use anyhow::Context;
use auth::demo_person;
use guard::{clock::now, convert};
use model::Nanos;
use proto::{
    operations::v1::{AuditRecord, SearchAuditLogRequest, audit_service_client::AuditServiceClient},
    telemetry::v1::{ingest_service_client::IngestServiceClient, timeline_service_client::TimelineServiceClient},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::atomic::Ordering,
    time::Duration,
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Code, transport::Channel};
use wardline::{cli::Audit, simulate::DEFAULT_METRICS};

const N_BEDS: u32 = 4;
/// From the first answer of a life to its end.
const ALIVE_MS: std::ops::Range<u64> = 20..600;
/// A reader whose node is dead waits so long before it tries again.
const PAUSE: Duration = Duration::from_millis(10);
/// Records in one page of a search.
const PAGE: usize = 10_000;
/// Violations that are kept as texts.
const TEXTS_MAX: usize = 20;
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// SIGKILLs of the node.
    pub kills: u32,
    /// Decides on everything random.
    pub seed: u64,
    /// People who read at the same time.
    pub readers: u32,
}

/// What came of it.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Number of SIGKILLs.
    pub kills: u32,
    /// Requests that clients sent.
    pub sent: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Readings and hours in the answers.
    pub rows: u64,
    /// Records of the accesses at the end; more than were answered, as some answers did not arrive.
    pub records: u64,
    /// Answers and refusals of which the log knows nothing.
    pub missing: u64,
    /// Accesses that are in the log more than once.
    pub doubled: u64,
    /// Records that are not what was asked or answered.
    pub wrong: u64,
    /// How often `wardline audit verify` found nothing.
    pub verified: u32,
    /// Anything that must not be; empty when the run was good.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "killed                               {}", self.kills)?;
        writeln!(f, "accesses sent, answered, refused     {}, {}, {}", self.sent, self.answered, self.refused)?;
        writeln!(f, "rows seen                            {}", self.rows)?;
        writeln!(f, "records                              {}", self.records)?;
        writeln!(f, "missing, twice, wrong                {}, {}, {}", self.missing, self.doubled, self.wrong)?;
        writeln!(f, "verified                             {}", self.verified)?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "VIOLATION: {violation}"))?;
        write!(f, "{}", if self.violations.is_empty() { "PASS" } else { "FAIL" })
    }
}

/// Does all of it. An error means that the run could not be finished; what it found is in the report.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let ward = Ward::new(Kind::Embedded, N_BEDS).await?;
    let mut node = ward.start("node", &[], "writer")?;
    node.ready().await?;
    let (accesses, stop) = (Accesses::default(), CancellationToken::new());
    let mut report = Report::default();
    fill(&ward, &node, &accesses).await?;
    let mut reading = JoinSet::new();
    for number in 0..plan.readers {
        let (person, client) = (person(&ward, number)?, TimelineServiceClient::new(client::channel(node.endpoint())?));
        let random = StdRng::seed_from_u64(plan.seed.rotate_left(32) ^ u64::from(number));
        reading.spawn(read(accesses.clone(), person, ward.beds.clone(), client, random, stop.clone()));
    }
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut began = Nanos::MIN;
    for _ in 0..plan.kills {
        let known = accesses.n_answered.load(Ordering::Relaxed);
        let answered = async || Ok(accesses.n_answered.load(Ordering::Relaxed));
        until("an answer", answered, |answered| *answered > known).await?;
        sleep(Duration::from_millis(random.random_range(ALIVE_MS))).await;
        node.kill().await?;
        let killed = now();
        report.kills += 1;
        node.restart()?;
        node.ready().await?;
        let life: Vec<_> =
            accesses.all().into_iter().filter(|access| began <= access.sent && access.sent < killed).collect();
        let records = records(&ward, &node, began, now()).await?;
        report.judge(&life, &records, false);
        report.verify(&ward, &node).await?;
        began = killed;
    }
    stop.cancel();
    while let Some(ended) = reading.join_next().await {
        if let Err(error) = ended? {
            report.violates(format!("{error:#}"));
        }
    }
    let all = accesses.all();
    let records = records(&ward, &node, Nanos::MIN, now()).await?;
    report.judge(&all, &records, true);
    report.verify(&ward, &node).await?;
    report.rows = accesses.n_rows.load(Ordering::Relaxed);
    node.stop().await?;
    Ok(report)
}

/// One reading of each metric for each patient, and waits until it can be seen.
async fn fill(ward: &Ward, node: &Child, accesses: &Accesses) -> anyhow::Result<()> {
    let channel = client::channel(node.endpoint())?;
    for bed in &ward.beds {
        let at = now().plus(-Nanos::SECOND);
        let readings = DEFAULT_METRICS.iter().map(|metric| reading(metric, "", 40.0, at)).collect();
        let request = with_token(write(bed, 1, readings), &ward.token(bed.device)?)?;
        let answer = IngestServiceClient::new(channel.clone()).write_readings(request).await?.into_inner();
        anyhow::ensure!(answer.refused.is_empty(), "a reading is refused: {}", answer.refused[0].reason);
        // these accesses are in the log as all others
        let (doctor, mut random) = (person(ward, 0)?, StdRng::from_os_rng());
        let mut client = TimelineServiceClient::new(channel.clone());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while access(accesses, &doctor, &[*bed], &mut client, &mut random).await?.is_none_or(|rows| rows == 0) {
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "no reading can be seen");
        }
    }
    Ok(())
}

/// Two of three may see the patients.
fn person(ward: &Ward, number: u32) -> anyhow::Result<Person> {
    let (role, refusal) =
        [("doctor", None), ("nurse", None), ("administrator", Some(Code::PermissionDenied))][number as usize % 3];
    let id = demo_person(role).context("no such role")?.uuid();
    Ok(Person { subject: format!("user:{id}"), token: ward.person(role)?, refusal })
}

/// Reads all the time.
async fn read(
    accesses: Accesses,
    person: Person,
    beds: Vec<crate::Bed>,
    mut client: TimelineServiceClient<Channel>,
    mut random: StdRng,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        if access(&accesses, &person, &beds, &mut client, &mut random).await?.is_none() {
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// All records of a time, but those of the auditor's own work.
async fn records(ward: &Ward, node: &Child, from: Nanos, to: Nanos) -> anyhow::Result<Vec<AuditRecord>> {
    let client = AuditServiceClient::new(client::channel(node.endpoint())?);
    let mut client = client.max_decoding_message_size(MESSAGE_BYTES_MAX);
    let auditor = ward.person("auditor")?;
    let (mut to, mut known, mut all) = (to, BTreeSet::new(), Vec::new());
    loop {
        let request = SearchAuditLogRequest {
            start_time: Some(convert::timestamp(from)),
            end_time: Some(convert::timestamp(to)),
            limit: PAGE as i32,
            ..Default::default()
        };
        let found = client.search_audit_log(with_token(request, &auditor)?).await?.into_inner();
        anyhow::ensure!(found.unreadable == 0, "{} entries cannot be read", found.unreadable);
        let n_found = found.records.len();
        // pages share the instant at which they meet
        let oldest = found.records.last().and_then(|record| record.at.as_ref()).and_then(convert::nanos);
        let is_new = |record: &AuditRecord| known.insert((record.writer_id.clone(), record.sequence));
        all.extend(found.records.into_iter().filter(is_new));
        match oldest {
            Some(oldest) if n_found == PAGE && oldest.plus(1) < to => to = oldest.plus(1),
            _ => break,
        }
    }
    all.retain(|record| record.action != "audit.read");
    Ok(all)
}

impl Report {
    fn violates(&mut self, text: String) {
        if self.violations.len() < TEXTS_MAX {
            self.violations.push(text);
        }
    }

    /// Compares accesses with records; `all`: there are no other accesses.
    fn judge(&mut self, accesses: &[Access], records: &[AuditRecord], all: bool) {
        let (logins, records): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.action == "login");
        // the first of each person at each process
        let mut came: HashMap<(&str, &str), u64> = HashMap::new();
        for login in logins.iter().filter(|login| login.denied.is_empty()) {
            let first = came.entry((&login.writer_id, &login.subject)).or_insert(u64::MAX);
            *first = login.sequence.min(*first);
        }
        let mut by_key: HashMap<&str, Vec<&AuditRecord>> = HashMap::new();
        for record in &records {
            let key = if record.denied.is_empty() { &record.detail } else { &record.patient_id };
            by_key.entry(key).or_default().push(record);
        }
        for access in accesses {
            let found = by_key.remove(access.key()).unwrap_or_default();
            match (&found[..], access.answered) {
                ([], Some(_)) => {
                    self.missing += 1;
                    self.violates(format!("an answered access is not in the log: {access:?}"));
                }
                ([], None) => {}
                ([record], _) if is_record_of(record, access) => {
                    let first = came.get(&(record.writer_id.as_str(), record.subject.as_str()));
                    if first.is_none_or(|first| *first > record.sequence) {
                        self.missing += 1;
                        self.violates(format!("an access without a login before it: {access:?}"));
                    }
                }
                ([record], _) => {
                    self.wrong += 1;
                    let (action, denied) = (&record.action, &record.denied);
                    self.violates(format!("{access:?} is in the log as {action}, {denied:?} of {}", record.patient_id));
                }
                (several, _) => {
                    self.doubled += 1;
                    self.violates(format!("an access is in the log {} times: {access:?}", several.len()));
                }
            }
        }
        if all {
            self.sent = accesses.len() as u64;
            let answered = || accesses.iter().filter(|access| access.answered.is_some());
            self.answered = answered().filter(|access| access.refusal.is_none()).count() as u64;
            self.refused = answered().count() as u64 - self.answered;
            self.records = records.len() as u64;
            self.wrong += by_key.len() as u64;
            for record in by_key.into_values().flatten() {
                self.violates(format!("nobody asked for what is in the log as {}", record.action));
            }
        }
    }

    /// `wardline audit verify`, with its default checkpoints and key.
    async fn verify(&mut self, ward: &Ward, node: &Child) -> anyhow::Result<()> {
        let what = Audit::Verify { checkpoints: None, public_keys: vec![] };
        let (auditor, mut out) = (ward.person("auditor")?, Vec::new());
        match wardline::audit::run(&what, &node.endpoint(), &auditor, &ward.audit_dir, &mut out).await {
            Ok(()) => self.verified += 1,
            Err(error) => {
                self.violates(format!("audit verify: {error:#}\n{}", String::from_utf8_lossy(&out)));
            }
        }
        Ok(())
    }
}

fn is_record_of(record: &AuditRecord, access: &Access) -> bool {
    let at = record.at.as_ref().and_then(convert::nanos).unwrap_or(Nanos::MIN);
    let denied: &[&str] = match access.refusal {
        None => &[""],
        Some(Code::NotFound) => &["NO_RELATION"],
        Some(_) => &["PERMISSION"],
    };
    record.subject == access.subject
        && record.patient_id == access.patient
        && record.action == access.action
        && denied.contains(&record.denied.as_str())
        && access.sent <= at
        && access.answered.is_none_or(|answered| at <= answered)
}
