//! `wardline jobs`: submit long work, and follow it.

use crate::{
    ending::No,
    opening,
    operator::{self, Token, ask, ask_all, change, on_one_line, shown, spelled},
};
use anyhow::{Context, bail};
use clap::Subcommand;
use client::{Connection, Remote};
use indicatif::{ProgressBar, ProgressStyle};
use model::quoted;
use proto::analytics::v1::{
    CancelJobRequest, ClearJobsRequest, GetJobRequest, GetJobResultRequest, Job, JobNotify, JobPriority, JobState,
    ListJobKindsRequest, ListJobsRequest, RetryJobRequest, SubmitJobRequest, job_service_client::JobServiceClient,
};
use std::{
    collections::HashMap,
    io::{IsTerminal, Write, stderr},
    path::PathBuf,
    time::Duration,
};

/// How often a job that is watched is asked for.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// What jobs can do, and what each takes.
    Kinds,
    /// Submit one; prints its id.
    Submit {
        /// What is to be done.
        kind: String,
        /// With what: NAME=VALUE, repeatable.
        parameters: Vec<String>,
        /// Idempotency key: submitted again with the same, no second job is made.
        #[arg(long, value_name = "TEXT")]
        request_id: Option<String>,
        /// Which comes first.
        #[arg(long, default_value = "normal", value_parser = ["low", "normal", "high"])]
        priority: String,
        /// Fails when it has not ended so many seconds from now.
        #[arg(long, value_name = "SECONDS")]
        deadline: Option<u32>,
        /// Attempts that it has, 1 to 10 [default: 3].
        #[arg(long, value_name = "N")]
        attempts: Option<u32>,
        /// Jobs that must have succeeded before it begins, repeatable.
        #[arg(long = "after", value_name = "JOB")]
        depends_on: Vec<String>,
        /// When somebody is told how it ended.
        #[arg(long, default_value = "never", value_parser = ["never", "failure", "always"])]
        notify: String,
        /// Wait for its end; exit 1 when it fails or is cancelled.
        #[arg(long)]
        watch: bool,
    },
    /// All that one may see, newest first.
    List {
        /// Those in a state.
        #[arg(long, value_parser = ["queued", "running", "succeeded", "failed", "cancelled"])]
        state: Option<String>,
        /// Those of a kind.
        #[arg(long)]
        kind: Option<String>,
    },
    /// One, whole, as JSON.
    Get {
        /// UUID of the job, as `jobs submit` and `jobs list` print it.
        job: String,
    },
    /// The rows of one, as its format says.
    Result {
        /// UUID of the job, as `jobs submit` and `jobs list` print it.
        job: String,
        /// File for the rows, instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Follow one to its end; exit 1 when it fails or is cancelled.
    Watch {
        /// UUID of the job, as `jobs submit` and `jobs list` print it.
        job: String,
    },
    /// Cancel one that has not ended; nothing that its worker still writes counts.
    Cancel {
        /// UUID of the job, as `jobs submit` and `jobs list` print it.
        job: String,
    },
    /// Queue one again that failed or was cancelled.
    Retry {
        /// UUID of the job, as `jobs submit` and `jobs list` print it.
        job: String,
    },
    /// Forget those that have ended; those of the last 30 runs of each pipeline stay.
    Clear,
}

/// Speaks to a node with one token.
pub struct JobsClient {
    client: JobServiceClient<Connection>,
}

impl JobsClient {
    /// A client of the first node of `remote` that answers; each call carries the token.
    pub async fn connect(remote: impl Into<Remote>, token: impl Into<Token>) -> anyhow::Result<Self> {
        Ok(Self { client: JobServiceClient::new(operator::connect(remote, token).await?) })
    }

    /// On a connection that there is.
    pub(crate) fn on(connection: Connection) -> Self {
        Self { client: JobServiceClient::new(connection) }
    }

    /// Submits a job; its id.
    pub(crate) async fn submit(
        &mut self,
        kind: &str,
        parameters: impl IntoIterator<Item = (&str, String)>,
    ) -> anyhow::Result<String> {
        let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        // sent again after an answer that was lost, it must not make another one
        let request_id = uuid::Uuid::new_v4().to_string();
        let request = SubmitJobRequest { kind: kind.to_owned(), parameters, request_id, ..Default::default() };
        Ok(there(ask!(self.submit_job(request)).job)?.job_id)
    }

    /// Does what the command line says; what it finds goes to `out`.
    pub async fn act(&mut self, what: Jobs, out: &mut impl Write) -> anyhow::Result<()> {
        match what {
            Jobs::Kinds => self.kinds(out).await,
            Jobs::Submit { kind, parameters, request_id, priority, deadline, attempts, depends_on, notify, watch } => {
                let request = SubmitJobRequest {
                    kind,
                    parameters: named(&parameters)?,
                    // sent again after an answer that was lost, it must not make another one
                    request_id: request_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
                    priority: of_priority(&priority).into(),
                    deadline: deadline
                        .map(|seconds| proto::prost_types::Duration { seconds: seconds.into(), nanos: 0 }),
                    max_attempts: attempts.unwrap_or_default(),
                    depends_on,
                    notify: of_notify(&notify).into(),
                };
                let job = there(ask!(self.submit_job(request)).job)?;
                self.tell(job.job_id, watch, out).await
            }
            Jobs::List { state, kind } => self.list(state.as_deref(), kind.unwrap_or_default(), out).await,
            Jobs::Get { job } => {
                let job = there(ask!(self.get_job(GetJobRequest { job_id: job })).job)?;
                writeln!(out, "{:#}", as_json(&job))?;
                Ok(())
            }
            Jobs::Result { job, out: None } => self.result(job, out).await,
            Jobs::Result { job, out: Some(path) } => {
                let mut file = opening::create(&path).with_context(|| spelled(&path))?;
                self.result(job, &mut file).await
            }
            Jobs::Watch { job } => self.watch(job, out).await,
            Jobs::Cancel { job } => say(there(change!(self.cancel_job(CancelJobRequest { job_id: job })).job)?, out),
            Jobs::Retry { job } => say(there(change!(self.retry_job(RetryJobRequest { job_id: job })).job)?, out),
            Jobs::Clear => {
                let cleared = ask!(self.clear_jobs(ClearJobsRequest {})).cleared;
                writeln!(out, "{cleared} jobs forgotten")?;
                Ok(())
            }
        }
    }

    /// Writes the rows of a job, part by part.
    async fn result(&mut self, id: String, out: &mut impl Write) -> anyhow::Result<()> {
        let mut offset = 0;
        loop {
            let part = ask!(self.get_job_result(GetJobResultRequest { job_id: id.clone(), offset }));
            out.write_all(&part.content)?;
            offset += part.content.len() as u64;
            if offset >= part.bytes || part.content.is_empty() {
                return Ok(());
            }
        }
    }

    async fn kinds(&mut self, out: &mut impl Write) -> anyhow::Result<()> {
        for kind in ask!(self.list_job_kinds(ListJobKindsRequest {})).kinds {
            writeln!(out, "{:<24} {}", kind.name, kind.about)?;
            for parameter in kind.parameters {
                let default = parameter.default_value.map(|value| format!(" [default: {value}]")).unwrap_or_default();
                let about = if parameter.about.is_empty() {
                    parameter.takes
                } else {
                    parameter.about + ": " + &parameter.takes
                };
                writeln!(out, "  {:<22} {about}{default}", parameter.name + "=")?;
            }
        }
        Ok(())
    }

    async fn list(&mut self, state: Option<&str>, kind: String, out: &mut impl Write) -> anyhow::Result<()> {
        let state = state.map_or(0, |state| of_state(state).into());
        let jobs = ask_all!(self.list_jobs(ListJobsRequest { state: state, kind: kind.clone() }).jobs);
        writeln!(out, "{} jobs", jobs.len())?;
        jobs.iter().try_for_each(|job| writeln!(out, "{}", line(job)))?;
        Ok(())
    }

    /// Says the id of a job that was submitted, and follows it where that is wanted.
    ///
    /// # Errors
    /// [`No`] when it was followed and did not succeed.
    pub(crate) async fn tell(&mut self, id: String, watch: bool, out: &mut impl Write) -> anyhow::Result<()> {
        writeln!(out, "{id}")?;
        if watch { self.watch(id, out).await } else { Ok(()) }
    }

    /// Follows a job to its end.
    ///
    /// # Errors
    /// [`No`] when it did not succeed.
    async fn watch(&mut self, id: String, out: &mut impl Write) -> anyhow::Result<()> {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            match ProgressStyle::with_template("{elapsed_precise} [{wide_bar}] {human_pos}/{human_len} {msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        loop {
            let job = there(ask!(self.get_job(GetJobRequest { job_id: id.clone() })).job)?;
            let progress = job.progress.clone().unwrap_or_default();
            if let Some(bar) = &bar {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                bar.set_message(format!("{} {} {}", progress.unit, word(job.state()), progress.stage));
            }
            if has_ended(&job) {
                if let Some(bar) = bar {
                    bar.finish_and_clear();
                }
                let ending = ending(&job);
                return say(job, out).and(ending);
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }
}

/// How a job stands.
fn say(job: Job, out: &mut impl Write) -> anyhow::Result<()> {
    let state = word(job.state());
    writeln!(out, "{}  {}  {state}", job.job_id, job.kind)?;
    job.log.iter().try_for_each(|line| writeln!(out, "  {}", on_one_line(line)))?;
    if !job.result.is_empty() {
        writeln!(out, "{}", job.result)?;
    }
    Ok(())
}

/// Fails for a job that has ended and has not succeeded.
fn ending(job: &Job) -> anyhow::Result<()> {
    match job.state() {
        JobState::Succeeded => Ok(()),
        JobState::Failed => bail!(No(format!("job {}: {}", job.job_id, job.error))),
        state => bail!(No(format!("job {}: {}", job.job_id, word(state)))),
    }
}

fn there(job: Option<Job>) -> anyhow::Result<Job> {
    job.context("the answer holds no job")
}

/// Names and values of NAME=VALUE words, parted at the first equals sign; an error for one without, and for a name given twice.
pub(crate) fn named(pairs: &[String]) -> anyhow::Result<HashMap<String, String>> {
    let mut found = HashMap::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').with_context(|| format!("{}: must be NAME=VALUE", quoted(pair)))?;
        if found.insert(name.to_owned(), value.to_owned()).is_some() {
            bail!("{}: is given twice; give it once", quoted(name));
        }
    }
    Ok(found)
}

fn has_ended(job: &Job) -> bool {
    matches!(job.state(), JobState::Succeeded | JobState::Failed | JobState::Cancelled)
}

/// A state as people type and read it.
pub(crate) fn word(state: JobState) -> String {
    state.as_str_name().trim_start_matches("JOB_STATE_").to_lowercase()
}

fn of_state(word: &str) -> JobState {
    JobState::from_str_name(&format!("JOB_STATE_{}", word.to_uppercase())).unwrap_or_default()
}

fn of_priority(word: &str) -> JobPriority {
    JobPriority::from_str_name(&format!("JOB_PRIORITY_{}", word.to_uppercase())).unwrap_or_default()
}

pub(crate) fn of_notify(word: &str) -> JobNotify {
    JobNotify::from_str_name(&format!("JOB_NOTIFY_{}", word.to_uppercase())).unwrap_or_default()
}

/// A job of a list.
fn line(job: &Job) -> String {
    let (state, submitted) = (word(job.state()), shown(job.submit_time).unwrap_or_default());
    let error = job.error.lines().next().unwrap_or_default();
    let text = format!("{}  {submitted}  {state:<9}  {:<20} {}  {error}", job.job_id, job.kind, given(job));
    on_one_line(&text).into_owned()
}

/// What it was given, in one line.
fn given(job: &Job) -> String {
    let mut pairs: Vec<_> = job.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort_unstable();
    pairs.join(" ")
}

fn as_json(job: &Job) -> serde_json::Value {
    let mut json = serde_json::json!({
        "job_id": job.job_id,
        "kind": job.kind,
        "parameters": job.parameters,
        "state": word(job.state()),
        "submitter": job.submitter,
        "submit_time": shown(job.submit_time),
        "start_time": shown(job.start_time),
        "end_time": shown(job.end_time),
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "log": job.log,
        "error": job.error,
        "result": serde_json::from_str::<serde_json::Value>(&job.result).ok(),
        "depends_on": job.depends_on,
    });
    if let Some(run) = &job.run {
        let took = run.took.map(|took| took.seconds as f64 + f64::from(took.nanos) / 1e9);
        json["run"] = serde_json::json!({
            "data_versions": run.data_versions, "code_version": run.code_version, "seed": run.seed, "rows_in": run.rows_in,
            "rows_out": run.rows_out, "seconds": took, "peak_memory_bytes": run.peak_memory_bytes,
        });
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_succeeded_is_no_failure_of_a_command_that_waits() {
        let ending = |state: JobState| ending(&Job { state: state.into(), ..Job::default() });
        assert!(ending(JobState::Succeeded).is_ok());
        for state in [JobState::Failed, JobState::Cancelled] {
            assert!(ending(state).err().is_some_and(|error| error.is::<No>()), "{}", word(state));
        }
    }

    #[test]
    fn what_a_job_was_given_makes_no_row_of_a_list() {
        let parameters = HashMap::from([("note".to_owned(), "a\nb".to_owned())]);
        let line = line(&Job { parameters, error: "bad\u{1b}[2J\nmore".into(), ..Job::default() });
        assert!(line.ends_with("note=a\\nb  bad\\u{1b}[2J"), "{line}");
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        let named = |words: [&str; 2]| named(&words.map(str::to_owned));
        assert_eq!(named(["a=1", "b=x=y"]).unwrap()["b"], "x=y");
        assert!(named(["a=1", "a=1"]).is_err() && named(["a=1", "b"]).is_err());
    }
}
