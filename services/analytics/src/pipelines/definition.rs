//! A pipeline as its file has it: steps, what each does, and for what it waits.

use crate::datasets;
use serde::Deserialize;
use std::{collections::BTreeMap, sync::LazyLock};

/// Most steps of a file.
const STEPS_MAX: usize = 64;

/// Name and text of each pipeline.
const FILES: &[(&str, &str)] = &[("daily", include_str!("../../pipelines/daily.toml"))];

static PIPELINES: LazyLock<Vec<Pipeline>> = LazyLock::new(|| {
    let read = |(name, text): &(&str, &str)| Pipeline::read(name, text).expect("a test reads every pipeline");
    FILES.iter().map(read).collect()
});

/// A pipeline as its file in `pipelines/` defines it; compiled in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Name of the pipeline, which is that of its file.
    #[serde(skip)]
    pub name: String,
    /// In a word.
    pub title: String,
    /// In a line.
    pub about: String,
    /// Its steps: each after those for which it waits.
    #[serde(rename = "step")]
    pub(super) steps: Vec<StepDefinition>,
}

/// A step, which is one job or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepDefinition {
    /// Unlike that of all others.
    pub(super) name: String,
    /// For each of what it is a job of its own; absent: it is one job.
    pub(super) each: Option<Each>,
    /// The kind of job; a word in braces is put in, as in `parameters`: `{kind}` and `{source}` of a source, `{kind}` of a data set,
    /// `{channel}`, `{each}` of a list, and everywhere `{date}`, `{run_id}` and `{notify}`.
    pub(super) kind: String,
    /// The job's parameters by name, with words put in; its kind has defaults for others.
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, String>,
    /// Steps before it that must have succeeded: of jobs for a data set only those of the data sets that this one reads.
    #[serde(default)]
    pub(super) depends_on: Vec<String>,
    /// Steps before it that must have ended, however they did.
    #[serde(default)]
    pub(super) after: Vec<String>,
    /// Data sets that it reads; empty: what its report or its model (`parameters.model`) reads, or else any.
    #[serde(default)]
    pub(super) data: Vec<String>,
    /// It is skipped where this node has no such kind of job.
    #[serde(default)]
    pub(super) optional: bool,
}

/// For each of what a step is a job of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Each {
    Of(Of),
    Words(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Of {
    /// A source of the settings.
    Source,
    /// A data set that a source has, or of which something was imported.
    DataSet,
    /// A way in which somebody is told.
    Channel,
}

/// Every pipeline that is compiled in.
pub fn all() -> &'static [Pipeline] {
    &PIPELINES
}

/// The names of all.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().iter().map(|pipeline| pipeline.name.as_str())
}

/// The pipeline of a name; `None`: there is none.
pub fn find(name: &str) -> Option<&'static Pipeline> {
    all().iter().find(|pipeline| pipeline.name == name)
}

impl Pipeline {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(name: &str, text: &str) -> Result<Self, String> {
        let mut pipeline: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        name.clone_into(&mut pipeline.name);
        if pipeline.steps.len() > STEPS_MAX {
            return Err(format!("at most {STEPS_MAX} steps"));
        }
        for (n, step) in pipeline.steps.iter().enumerate() {
            let before = &pipeline.steps[..n];
            if before.iter().any(|other| other.name == step.name) {
                return Err(format!("{}: there are two of this name", step.name));
            }
            let is_there = |name: &&String| before.iter().any(|other| other.name == **name);
            if let Some(name) = step.depends_on.iter().chain(&step.after).find(|name| !is_there(name)) {
                return Err(format!("{}: there is no step {name} before it", step.name));
            }
            if let Some(kind) = step.data.iter().find(|kind| datasets::kind(kind).is_err()) {
                return Err(format!("{}: {kind} is no data set", step.name));
            }
        }
        Ok(pipeline)
    }
}
