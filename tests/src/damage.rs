//! Damaged files: a data folder with a known ledger is damaged in one place, and the node is started on it.
//!
//! Each case copies what a killed node left behind (journals with their unwritten ends, tables, checkpoints, keys), damages
//! one file or folder of the copy, and starts the real binary. It must refuse to start and name what is damaged, or answer
//! with an error, or serve every reading as it was sent: then the damage did no harm, or the rows were written again. A
//! reading that is missing without a word is SILENT, another value is WRONG. What is refused is then repaired by
//! `wardline repair`, after which every reading must be there.

mod case;
mod folder;

use crate::{
    builders,
    torture::{child::Child, engines::Kind, ward::Ward},
    with_token,
};
use anyhow::Context;
use case::{Case, Kind as Damage};
use folder::Folder;
use guard::convert;
use model::Nanos;
use proto::telemetry::v1::{
    ReadTimelineRequest, ingest_service_client::IngestServiceClient, stored_reading::Value,
    timeline_service_client::TimelineServiceClient,
};
use rand::{SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::Path,
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tonic::{Code, transport::Endpoint};

const N_BEDS: u32 = 3;
const N_BATCHES: u64 = 40;
const N_READINGS: u64 = 5;
/// How long the rows that were lost may take to be written again.
const PATIENCE: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_millis(20);
/// What is given to each case's process beside its folder.
const GROUP: &str = "writer";

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Number of folders that are damaged.
    pub cases: u32,
    /// Decides on everything random.
    pub seed: u64,
    /// Of the cases that are refused, every so many is repaired and read.
    pub repair_every: u32,
}

/// What came of it.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Number of folders that are damaged.
    pub cases: u32,
    /// The node did not start, and named what is damaged.
    pub refused: u32,
    /// The node started, and answered with an error.
    pub refused_at_read: u32,
    /// Rows were missing and were written again from the log.
    pub rewritten: u32,
    /// Everything is as it was.
    pub harmless: u32,
    /// Refused folders that `wardline repair` made whole.
    pub repaired: u32,
    /// Refused folders that it could only set aside and begin anew; their readings were all there afterwards.
    pub begun_anew: u32,
    /// By kind of damage, and by the folder that it was in: how many.
    pub tried: BTreeMap<String, u32>,
    /// SILENT or WRONG, or anything else that must not be; empty when the run was good.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "damaged folders                      {}", self.cases)?;
        writeln!(f, "refused at the start, by name        {}", self.refused)?;
        writeln!(f, "refused when read                    {}", self.refused_at_read)?;
        writeln!(f, "written again from the log           {}", self.rewritten)?;
        writeln!(f, "harmless                             {}", self.harmless)?;
        writeln!(f, "repaired, of those begun anew        {}, {}", self.repaired, self.begun_anew)?;
        for (what, n) in &self.tried {
            writeln!(f, "    {what:<32} {n}")?;
        }
        for violation in &self.violations {
            writeln!(f, "VIOLATION: {violation}")?;
        }
        write!(f, "violations                           {}", self.violations.len())
    }
}

/// All readings of all patients: patient, nanoseconds, bits of the value.
type Ledger = BTreeSet<(String, i64, u64)>;

/// What a node said when it was asked for all readings.
enum Answer {
    Readings(Ledger),
    Refused(Code),
}

/// Damages folders, starts nodes on them and judges what they do.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let ward = Ward::new(Kind::Embedded, N_BEDS).await?;
    let ledger = fill(&ward).await?;
    let base = Folder::read(&ward.data_dir())?;
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut report = Report::default();
    report.violations.extend(base.open_to_others().map(|path| format!("{path} is not its owner's alone")));
    let mut bench = Bench { ward, base, ledger };
    for number in 0..plan.cases {
        let case = Case::draw(&mut random, &bench.base, number);
        bench.judge(&case, plan, &mut report).await.with_context(|| format!("case {number}: {case}"))?;
    }
    Ok(report)
}

/// Sends readings, lets some of them be stored and sealed, and kills the node; what must be read from then on.
async fn fill(ward: &Ward) -> anyhow::Result<Ledger> {
    let mut node = ward.start("fill", &[], GROUP)?;
    node.ready().await?;
    let mut ledger = Ledger::new();
    let channel = Endpoint::from_shared(node.endpoint())?.connect().await?;
    let start = guard::clock::now().0 - 3 * 3_600 * Nanos::SECOND;
    for sequence in 1..=N_BATCHES {
        for bed in &ward.beds {
            let reading = |n: u64| {
                let at = start + ((sequence * N_READINGS + n) as i64) * 20 * Nanos::SECOND;
                (Nanos(at), 60.0 + ((sequence * 7 + n) % 50) as f64)
            };
            let readings: Vec<_> = (0..N_READINGS).map(reading).collect();
            let sent = readings.iter().map(|(at, value)| builders::pulse(*value, *at)).collect();
            let token = ward.token(bed.device)?;
            let request = with_token(builders::write(bed, sequence, sent), &token)?;
            IngestServiceClient::new(channel.clone()).write_readings(request).await?;
            let patient = bed.patient.uuid().to_string();
            ledger.extend(readings.iter().map(|(at, value)| (patient.clone(), at.0, value.to_bits())));
        }
        if sequence == N_BATCHES / 2 {
            // half of it goes through a restart: the other half lies in a journal of another kind
            until_read(ward, &node, &ledger).await?;
            node.stop().await?;
            node.restart()?;
            node.ready().await?;
        }
    }
    until_read(ward, &node, &ledger).await?;
    // positions are noted, hours are sealed, the audit log is signed
    node.stop().await?;
    node.restart()?;
    node.ready().await?;
    until_read(ward, &node, &ledger).await?;
    node.kill().await?;
    Ok(ledger)
}

async fn until_read(ward: &Ward, node: &Child, ledger: &Ledger) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let n = match read(ward, node).await? {
            Answer::Readings(read) if read == *ledger => return Ok(()),
            Answer::Readings(read) => read.len(),
            Answer::Refused(_) => 0,
        };
        anyhow::ensure!(Instant::now() < deadline, "{n} readings of {}", ledger.len());
        sleep(ASK_EVERY).await;
    }
}

/// All readings of all patients, through the public API.
async fn read(ward: &Ward, node: &Child) -> anyhow::Result<Answer> {
    let channel = Endpoint::from_shared(node.endpoint())?.connect().await?;
    let mut client = TimelineServiceClient::new(channel).max_decoding_message_size(16 << 20);
    let (doctor, mut ledger) = (ward.person("doctor")?, Ledger::new());
    for bed in &ward.beds {
        let request: ReadTimelineRequest = builders::everything(bed);
        let page = match client.read_timeline(with_token(request, &doctor)?).await {
            Ok(page) => page.into_inner(),
            Err(status) => return Ok(Answer::Refused(status.code())),
        };
        for reading in page.readings {
            let at = reading.measured_at.as_ref().and_then(convert::nanos).context("a reading without a time")?;
            let Some(Value::Number(value)) = reading.value else { anyhow::bail!("a reading without a number") };
            ledger.insert((bed.patient.uuid().to_string(), at.0, value.to_bits()));
        }
    }
    Ok(Answer::Readings(ledger))
}

struct Bench {
    ward: Ward,
    base: Folder,
    ledger: Ledger,
}

impl Bench {
    async fn judge(&mut self, case: &Case, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
        let data = self.ward.data_dir();
        self.base.write(&data)?;
        case.damage(&data)?;
        report.cases += 1;
        *report.tried.entry(format!("{} in {}", case.kind, case.place())).or_default() += 1;
        let log = self.ward.dir.path().join("case.log");
        let _ = fs::remove_file(&log);
        let mut node = self.ward.start("case", &[], GROUP)?;
        if !node.ready_or_ended().await? {
            let said = fs::read_to_string(&log)?;
            report.refused += 1;
            if !case.is_named(&said) {
                report.violations.push(format!("{case}: refused, and not named: {}", node.tail()));
            }
            if report.refused.is_multiple_of(plan.repair_every.max(1)) {
                self.repair(case, report).await?;
            }
            return Ok(());
        }
        let outcome = self.settled(&node).await?;
        node.stop().await.or_else(|error| if outcome.is_ok() { Err(error) } else { Ok(()) })?;
        let said = fs::read_to_string(&log)?;
        match outcome {
            Ok(()) if said.contains("written again from the log") => report.rewritten += 1,
            Ok(()) => report.harmless += 1,
            Err(None) => report.refused_at_read += 1,
            Err(Some(what)) => report.violations.push(format!("{case}: {what}")),
        }
        Ok(())
    }

    /// Reads until everything is there; `Err(None)`: reading is refused.
    async fn settled(&self, node: &Child) -> anyhow::Result<Result<(), Option<String>>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match read(&self.ward, node).await? {
                Answer::Refused(Code::DataLoss | Code::Unavailable | Code::Internal | Code::Unauthenticated) => {
                    return Ok(Err(None));
                }
                Answer::Refused(code) => return Ok(Err(Some(format!("SILENT: reading answers {code:?}")))),
                Answer::Readings(read) if read == self.ledger => return Ok(Ok(())),
                Answer::Readings(read) => {
                    if let Some((_, at, _)) = read.difference(&self.ledger).next() {
                        return Ok(Err(Some(format!("WRONG: the reading at {at} was never sent"))));
                    }
                    let (n, of) = (read.len(), self.ledger.len());
                    if Instant::now() > deadline {
                        return Ok(Err(Some(format!("SILENT: {n} readings of {of}"))));
                    }
                    sleep(ASK_EVERY).await;
                }
            }
        }
    }

    /// Repairs what was refused: then everything must be there, for one damage is never in log and store at once.
    async fn repair(&mut self, case: &Case, report: &mut Report) -> anyhow::Result<()> {
        if !case.is_of_engines() {
            return Ok(());
        }
        let mended = self.ward.wardline(&["repair", "--write"], GROUP).await?;
        if !mended.status.success() {
            let anew = self.ward.wardline(&["repair", "--write", "--begin-anew"], GROUP).await?;
            if !anew.status.success() {
                let said = String::from_utf8_lossy(&anew.stderr).into_owned();
                report.violations.push(format!("{case}: cannot be repaired: {said}"));
                return Ok(());
            }
            report.begun_anew += 1;
        }
        let mut node = self.ward.start("repaired", &[], GROUP)?;
        if !node.ready_or_ended().await? {
            report.violations.push(format!("{case}: does not start after the repair: {}", node.tail()));
            return Ok(());
        }
        match self.settled(&node).await? {
            Ok(()) => report.repaired += 1,
            Err(what) => report.violations.push(format!("{case}: after the repair: {what:?}")),
        }
        node.stop().await
    }
}

/// Whether a path lies in what is damaged.
fn below(path: &Path, names: &[&str]) -> bool {
    let first = path.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned());
    first.is_some_and(|first| names.iter().any(|name| first == *name || first.starts_with(&format!("{name}."))))
}

/// Kinds of damage, as they are named in the report.
impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flip => "a flipped bit",
            Self::Zeros => "a page of zeros",
            Self::Cut => "a cut",
            Self::File => "a missing file",
            Self::Folder => "a missing folder",
        })
    }
}
