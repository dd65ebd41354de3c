//! `wardline pipeline` and `wardline schedules`: work that comes again.

use crate::{
    ending::No,
    jobs::{of_notify, word},
    operator::{self, Token, ask, ask_all, change, on_one_line, shown},
};
use anyhow::{Context, bail};
use clap::Subcommand;
use client::{Connection, Remote};
use proto::analytics::v1::{
    BackfillScheduleRequest, GetPipelineRunRequest, JobState, ListPipelineRunsRequest, ListSchedulesRequest, Missed,
    PipelineRun, RetryPipelineRunRequest, RunPipelineRequest, Schedule, schedule_service_client::ScheduleServiceClient,
};
use std::{io::Write, time::Duration};

/// How often a run that is watched is asked for.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// What to do with pipelines.
#[derive(Debug, Subcommand)]
pub enum Pipelines {
    /// Run one for a date; there is one run for each date, which this completes when it is there.
    Run {
        /// Name of the pipeline.
        #[arg(default_value = "daily")]
        name: String,
        /// For which date [default: today, where its schedule is].
        #[arg(long, value_name = "YYYY-MM-DD")]
        date: Option<String>,
        /// When somebody is told how it ended.
        #[arg(long, default_value = "failure", value_parser = ["never", "failure", "always"])]
        notify: String,
        /// Wait for its end; exit 1 when it fails.
        #[arg(long)]
        watch: bool,
    },
    /// A run: its steps, and its log.
    Show {
        /// Its id or its date [default: the latest].
        run: Option<String>,
        /// Of which pipeline.
        #[arg(long, default_value = "daily")]
        name: String,
    },
    /// All runs, the latest date first.
    List {
        /// Of which pipeline.
        #[arg(default_value = "daily")]
        name: String,
    },
    /// Run again what failed or was cancelled in a run, and what waited for it.
    Retry {
        /// Its id or its date [default: the latest].
        run: Option<String>,
        /// Of which pipeline.
        #[arg(long, default_value = "daily")]
        name: String,
        /// Wait for its end; exit 1 when it fails.
        #[arg(long)]
        watch: bool,
    },
    /// Submit the firings of a schedule for a range of dates; what is there already is not submitted again.
    Backfill {
        /// Name of the schedule.
        schedule: String,
        /// The first date.
        #[arg(value_name = "YYYY-MM-DD")]
        start_date: String,
        /// The last date.
        #[arg(value_name = "YYYY-MM-DD")]
        end_date: String,
    },
}

/// Speaks to a node with one token.
pub struct PipelineClient {
    client: ScheduleServiceClient<Connection>,
}

impl PipelineClient {
    /// A client of the first node of `remote` that answers; each call carries the token.
    pub async fn connect(remote: impl Into<Remote>, token: impl Into<Token>) -> anyhow::Result<Self> {
        let client = ScheduleServiceClient::new(operator::connect(remote, token).await?);
        Ok(Self { client: client.max_decoding_message_size(operator::MESSAGE_BYTES_MAX) })
    }

    /// Does what the command line says; what it finds goes to `out`.
    pub async fn act(&mut self, what: Pipelines, out: &mut impl Write) -> anyhow::Result<()> {
        match what {
            Pipelines::Run { name, date, notify, watch } => {
                let date = date.unwrap_or_default();
                let notify = of_notify(&notify).into();
                // sent again after an answer that was lost, it is the same run
                let run = there(ask!(self.run_pipeline(RunPipelineRequest { name, date, notify })).run)?;
                self.say_or_watch(run, watch, out).await
            }
            Pipelines::Show { run, name } => {
                let run_id = self.run_id(&name, run).await?;
                let run = there(ask!(self.get_pipeline_run(GetPipelineRunRequest { name, run_id })).run)?;
                say(&run, out)
            }
            Pipelines::List { name } => {
                for run in self.runs(&name).await? {
                    writeln!(out, "{}", line(&run))?;
                }
                Ok(())
            }
            Pipelines::Retry { run, name, watch } => {
                let run_id = self.run_id(&name, run).await?;
                let request = RetryPipelineRunRequest { name, run_id };
                let run = there(change!(self.retry_pipeline_run(request)).run)?;
                self.say_or_watch(run, watch, out).await
            }
            Pipelines::Backfill { schedule, start_date, end_date } => {
                let request = BackfillScheduleRequest { name: schedule, start_date, end_date };
                let jobs = ask!(self.backfill_schedule(request)).jobs;
                writeln!(out, "{} firings", jobs.len())?;
                for job in jobs {
                    let date = job.pipeline_step.as_ref().map_or(job.date.as_str(), |step| step.date.as_str());
                    writeln!(out, "{}  {date}  {:<9}  {}", job.job_id, word(job.state()), job.kind)?;
                }
                Ok(())
            }
        }
    }

    /// Lists the schedules of the settings.
    pub async fn schedules(&mut self, out: &mut impl Write) -> anyhow::Result<()> {
        let schedules = ask!(self.list_schedules(ListSchedulesRequest {})).schedules;
        if schedules.is_empty() {
            writeln!(out, "no schedules; the settings' [[analytics.schedules]] are them")?;
        }
        schedules.iter().try_for_each(|schedule| say_schedule(schedule, out))
    }

    async fn runs(&mut self, name: &str) -> anyhow::Result<Vec<PipelineRun>> {
        Ok(ask_all!(self.list_pipeline_runs(ListPipelineRunsRequest { name: name.to_owned() }).runs))
    }

    /// The id of a run that is named by its id, by its date, or not at all.
    async fn run_id(&mut self, name: &str, run: Option<String>) -> anyhow::Result<String> {
        if let Some(id) = run.as_ref().filter(|text| model::uuid(text).is_ok()) {
            return Ok(id.clone());
        }
        let mut runs = self.runs(name).await?.into_iter();
        let found = runs.find(|known| run.as_ref().is_none_or(|date| known.date == *date));
        let of = run.map(|date| format!(" for {date}")).unwrap_or_default();
        Ok(found.with_context(|| format!("the pipeline {name} has no run{of}"))?.run_id)
    }

    async fn say_or_watch(&mut self, mut run: PipelineRun, watch: bool, out: &mut impl Write) -> anyhow::Result<()> {
        if !watch {
            writeln!(out, "{}", line(&run))?;
            return Ok(());
        }
        while run.end_time.is_none() {
            tokio::time::sleep(WATCH_EVERY).await;
            let request = GetPipelineRunRequest { name: run.pipeline.clone(), run_id: run.run_id.clone() };
            run = there(ask!(self.get_pipeline_run(request)).run)?;
        }
        say(&run, out)?;
        match run.state() {
            JobState::Succeeded => Ok(()),
            state => bail!(No(format!("pipeline {} for {}: {}", run.pipeline, run.date, word(state)))),
        }
    }
}

fn there(run: Option<PipelineRun>) -> anyhow::Result<PipelineRun> {
    run.context("the answer holds no run")
}

fn line(run: &PipelineRun) -> String {
    let (at, state) = (shown(run.submit_time).unwrap_or_default(), word(run.state()));
    format!("{}  {}  {state:<9}  {}/{} steps  {at}", run.run_id, run.date, run.n_succeeded, run.n_steps)
}

fn say(run: &PipelineRun, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "{}", line(run))?;
    for step in &run.steps {
        let error = step.error.lines().next().unwrap_or_default();
        writeln!(out, "  {:<9}  {:<36} {}  {}", word(step.state()), step.name, step.job_id, on_one_line(error))?;
    }
    for step in &run.skipped {
        writeln!(out, "  skipped    {:<36} {}", step.name, step.reason)?;
    }
    run.log.iter().try_for_each(|line| writeln!(out, "  | {}", on_one_line(line)))?;
    Ok(())
}

fn say_schedule(schedule: &Schedule, out: &mut impl Write) -> anyhow::Result<()> {
    let Schedule { name, cron, time_zone, pipeline, kind, last, n_left_out, .. } = schedule;
    let what = if pipeline.is_empty() { format!("job {kind}") } else { format!("pipeline {pipeline}") };
    let missed = if schedule.missed() == Missed::CatchUp { "caught up" } else { "skipped" };
    writeln!(out, "{name}  {cron:?} {time_zone}  {what}; missed ones are {missed}")?;
    let next = shown(schedule.next_time).unwrap_or_else(|| "never".to_owned());
    writeln!(out, "  next   {next}")?;
    if let Some(last) = last {
        let job = if last.job_id.is_empty() { &last.error } else { &last.job_id };
        writeln!(out, "  last   {}  {}", shown(last.due_time).unwrap_or_default(), on_one_line(job))?;
    }
    if *n_left_out > 0 {
        writeln!(out, "  {n_left_out} firings were missed and left out")?;
    }
    Ok(())
}
