//! A server for replays that lives in memory, and folders to run in.

use anyhow::{Result, bail};
use async_trait::async_trait;
use clap::Parser;
use model::{DeviceId, StreamId};
use proto::telemetry::v1::{Reading, reading::Value};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tokio_util::sync::CancellationToken;
use wardline::{
    demo_ward::Bed,
    replay::{Connect, Options, Outlet, Progress, Report, Target, run_with},
};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

/// Options as from the command line.
pub fn options(format: &str, path: &Path, more: &[&str]) -> Options {
    let words = ["replay", format, path.to_str().unwrap()].into_iter().chain(more.iter().copied());
    Command::try_parse_from(words).unwrap().options
}

/// Folders of one test, removed with it.
pub struct ReplayFolders {
    pub folder: tempfile::TempDir,
    pub target: Target,
}

impl ReplayFolders {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let target = Target::new("http://127.0.0.1:1".into(), path.join("demo"), path.join("data"));
        Self { folder, target }
    }

    /// Writes a file into the folder of recordings; returns its path.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The only state file.
    pub fn state(&self) -> PathBuf {
        let mut files: Vec<_> =
            std::fs::read_dir(self.target.data_dir.join("replay")).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "one replay, one state file");
        files.remove(0)
    }

    pub async fn run(&self, options: Options, server: &Server) -> Result<Report> {
        run_with(options, &self.target, Arc::new(server.clone()), server.stop()).await
    }
}

/// A reading in a form that can be compared; the value says how long it lasts.
pub type Plain = (String, i64, String, String, bool);

#[derive(Default)]
struct Memory {
    streams: HashMap<StreamId, BTreeMap<u64, Vec<Plain>>>,
    devices: HashMap<StreamId, DeviceId>,
    /// Every batch in the order in which it came: stream, sequence, first time.
    log: Vec<(StreamId, u64, i64)>,
    beds: Vec<Bed>,
    opened: u64,
    repeated: u64,
    refuse_metric: Option<String>,
    stop_after: Option<usize>,
    fail_after: Option<usize>,
    stop: CancellationToken,
}

/// Takes batches, strictly in sequence.
#[derive(Clone, Default)]
pub struct Server(Arc<Mutex<Memory>>);

impl Server {
    pub fn stop(&self) -> CancellationToken {
        self.0.lock().unwrap().stop.clone()
    }

    /// Presses Ctrl-C after so many batches.
    pub fn stop_after(&self, batches: usize) {
        self.0.lock().unwrap().stop_after = Some(batches);
    }

    /// Fails after so many batches.
    pub fn fail_after(&self, batches: Option<usize>) {
        self.0.lock().unwrap().fail_after = batches;
    }

    pub fn go_on(&self) {
        let mut memory = self.0.lock().unwrap();
        (memory.stop_after, memory.fail_after, memory.stop) = (None, None, CancellationToken::new());
    }

    pub fn refuse(&self, metric: &str) {
        self.0.lock().unwrap().refuse_metric = Some(metric.to_owned());
    }

    /// Who was admitted, with which devices.
    pub fn beds(&self) -> Vec<Bed> {
        self.0.lock().unwrap().beds.clone()
    }

    pub fn opened(&self) -> u64 {
        self.0.lock().unwrap().opened
    }

    pub fn repeated(&self) -> u64 {
        self.0.lock().unwrap().repeated
    }

    pub fn log(&self) -> Vec<(StreamId, u64, i64)> {
        self.0.lock().unwrap().log.clone()
    }

    /// All readings by device and sequence, refused ones included.
    pub fn readings(&self) -> BTreeMap<DeviceId, Vec<Vec<Plain>>> {
        let memory = self.0.lock().unwrap();
        let streams = memory.streams.iter().filter(|(_, batches)| !batches.is_empty());
        streams.map(|(stream, batches)| (memory.devices[stream], batches.values().cloned().collect())).collect()
    }

    fn take(&self, stream: StreamId, sequence: u64, readings: Vec<Reading>) -> Result<Progress> {
        let mut memory = self.0.lock().unwrap();
        if memory.fail_after.is_some_and(|after| memory.log.len() >= after) {
            bail!("the server says no");
        }
        let plain: Vec<_> = readings.iter().map(plain).collect();
        memory.log.push((stream, sequence, plain[0].1));
        if memory.stop_after.is_some_and(|after| memory.log.len() >= after) {
            memory.stop.cancel();
        }
        let mut progress = Progress { through: sequence, ..Progress::default() };
        for (metric, ..) in &plain {
            if memory.refuse_metric.as_ref() == Some(metric) {
                *progress.refused.entry("UNKNOWN_METRIC".to_owned()).or_default() += 1;
            } else {
                progress.accepted += 1;
            }
        }
        let batches = memory.streams.get_mut(&stream).unwrap();
        match batches.get(&sequence) {
            Some(known) => {
                assert!(*known == plain, "a batch came again with other content");
                progress.duplicate = progress.accepted;
            }
            None => {
                assert_eq!(batches.len() as u64 + 1, sequence, "a batch was left out");
                batches.insert(sequence, plain);
            }
        }
        Ok(progress)
    }
}

fn plain(reading: &Reading) -> Plain {
    let nanos = |stamp| guard::convert::nanos(stamp).unwrap().0;
    let at = nanos(reading.measured_at.as_ref().unwrap());
    let mut value = match reading.value.as_ref().unwrap() {
        Value::Number(number) => number.to_string(),
        Value::Code(code) => code.clone(),
        Value::Bound(bound) => {
            let comparator = model::Comparator::from_code(bound.comparator);
            format!("{}{}", comparator.map_or("", model::Comparator::sign), bound.number.unwrap())
        }
        Value::AbsentReason(reason) => model::Absence::from_code(*reason).unwrap().name().to_owned(),
        Value::Waveform(_) => unreachable!("no recording has such"),
    };
    if reading.entered_in_error {
        value += ", entered in error";
    }
    if let Some(until) = &reading.measured_until {
        value += &format!(" in {} s", (nanos(until) - at) / model::Nanos::SECOND);
    }
    (reading.metric.clone(), at, reading.unit.clone(), value, reading.questionable)
}

#[async_trait]
impl Connect for Server {
    async fn admit(&self, beds: &[Bed]) -> Result<()> {
        self.0.lock().unwrap().beds.extend_from_slice(beds);
        Ok(())
    }

    async fn open(&self, device: DeviceId, stream: StreamId, resume_after: u64) -> Result<Box<dyn Outlet>> {
        let mut memory = self.0.lock().unwrap();
        memory.opened += 1;
        memory.devices.insert(stream, device);
        let known = memory.streams.entry(stream).or_default().len() as u64;
        assert!(known >= resume_after, "the replay believes more than was acknowledged");
        let progress = Mutex::new(Progress { through: known, ..Progress::default() });
        Ok(Box::new(Open { server: self.clone(), stream, known, progress }))
    }
}

struct Open {
    server: Server,
    stream: StreamId,
    known: u64,
    progress: Mutex<Progress>,
}

#[async_trait]
impl Outlet for Open {
    fn last_durable(&self) -> u64 {
        self.known
    }

    async fn send(&self, sequence: u64, readings: Vec<Reading>) -> Result<()> {
        assert!(sequence > self.known, "known batches are for repeat");
        let answer = self.server.take(self.stream, sequence, readings)?;
        let mut progress = self.progress.lock().unwrap();
        *progress = progress.plus(&answer);
        Ok(())
    }

    async fn repeat(&self, sequence: u64, readings: Vec<Reading>) -> Result<Progress> {
        self.server.0.lock().unwrap().repeated += 1;
        self.server.take(self.stream, sequence, readings)
    }

    fn progress(&self) -> Progress {
        self.progress.lock().unwrap().clone()
    }

    async fn close(self: Box<Self>) -> Result<Progress> {
        Ok(self.progress())
    }
}

/// The public recordings, where they are at hand.
pub fn recordings() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vitals");
    path.is_dir().then_some(path)
}
