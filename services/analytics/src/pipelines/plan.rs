//! What a pipeline comes to: which jobs there are to be, and what is skipped because there is nothing for it.

use super::definition::{Each, Of, Pipeline, StepDefinition};
use crate::{
    check_quality, datasets,
    jobs::kinds::{Kinds, Parameters, Unfit, checked},
    models,
    reports::Reports,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most jobs of a run.
pub const JOBS_MAX: usize = 500;

/// What there is for a run.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Sources of the settings, each with the kind of data set that it has.
    pub sources: Vec<(String, String)>,
    /// Kinds of data sets of which something was imported.
    pub imported: BTreeSet<String>,
    /// Ways in which somebody is told.
    pub channels: Vec<String>,
    /// What `{date}`, `{run_id}` and `{notify}` stand for.
    pub words: BTreeMap<String, String>,
}

/// A job that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Name of its step.
    pub step: String,
    /// What it does.
    pub kind: String,
    /// Its parameters, checked against the kind, with defaults.
    pub parameters: Parameters,
    /// Those before it that must have succeeded, by their place.
    pub depends_on: Vec<usize>,
    /// Those before it that must have ended.
    pub after: Vec<usize>,
    /// It comes after what it waits for, however that ends, the job that submits all of them included.
    pub is_last: bool,
    /// The data set that it is for.
    data_set: Option<String>,
    /// The step of the file.
    of: String,
}

/// A run that is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Each after those for which it waits.
    pub jobs: Vec<Planned>,
    /// Steps for which there is nothing, and why.
    pub skipped: Vec<(String, String)>,
}

/// What a pipeline comes to here.
///
/// # Errors
/// There is no such kind of job, or it takes something else; too many jobs.
pub fn plan(pipeline: &Pipeline, given: &Given, kinds: &Kinds) -> Result<Plan, Unfit> {
    let mut plan = Plan::default();
    for step in &pipeline.steps {
        match items(step, given) {
            Ok(items) => items.into_iter().try_for_each(|item| plan.add(step, &item, given, kinds))?,
            Err(why) => plan.skipped.push((step.name.clone(), why)),
        }
    }
    match plan.jobs.len() <= JOBS_MAX {
        true => Ok(plan),
        false => Err(Unfit { field: "name".to_owned(), text: format!("more than {JOBS_MAX} jobs in a run") }),
    }
}

/// What one job of a step is for: words for its parameters, what is put after the step's name, and its data set.
#[derive(Default)]
struct Item {
    words: BTreeMap<&'static str, String>,
    label: Option<String>,
    data_set: Option<String>,
}

/// What a step is done for; or why there is nothing.
fn items(step: &StepDefinition, given: &Given) -> Result<Vec<Item>, String> {
    let of_kind = |kind: &String, words: &[(&'static str, &String)], label: String| Item {
        words: words.iter().map(|(name, word)| (*name, (*word).clone())).collect(),
        label: Some(label),
        data_set: Some(kind.clone()),
    };
    let of_word = |name: &'static str, word: &String| Item {
        words: [(name, word.clone())].into(),
        label: Some(word.clone()),
        data_set: None,
    };
    let (items, none): (Vec<_>, _) = match &step.each {
        None => return Ok(vec![Item::default()]),
        Some(Each::Words(words)) => return Ok(words.iter().map(|word| of_word("each", word)).collect()),
        Some(Each::Of(Of::Source)) => {
            let item = |(name, kind): &(String, String)| {
                of_kind(kind, &[("kind", kind), ("source", name)], format!("{kind}/{name}"))
            };
            (given.sources.iter().map(item).collect(), "the settings have no source (analytics.sources)")
        }
        Some(Each::Of(Of::DataSet)) => {
            let kinds: BTreeSet<_> = given.sources.iter().map(|(_, kind)| kind).chain(&given.imported).collect();
            let item = |kind: &&String| of_kind(kind, &[("kind", kind)], (*kind).clone());
            (kinds.iter().map(item).collect(), "no source has a data set, and nothing was imported")
        }
        Some(Each::Of(Of::Channel)) => {
            if given.words.get("notify").is_some_and(|when| when == "never") {
                return Err("nobody is to be told".to_owned());
            }
            let items = given.channels.iter().map(|channel| of_word("channel", channel)).collect();
            (items, "the settings have neither a webhook nor mail (analytics.notify)")
        }
    };
    if items.is_empty() { Err(none.to_owned()) } else { Ok(items) }
}

impl Plan {
    /// Adds one job of a step, or says why there is nothing for it.
    fn add(&mut self, step: &StepDefinition, item: &Item, given: &Given, kinds: &Kinds) -> Result<(), Unfit> {
        let name = item.label.as_ref().map_or_else(|| step.name.clone(), |label| format!("{} {label}", step.name));
        let filled = |text: &String| filled(text, item, given);
        let kind_name = filled(&step.kind);
        let kind = match kinds.find(&kind_name) {
            Err(_) if step.optional => {
                self.skipped.push((name, format!("{kind_name} is not set up here")));
                return Ok(());
            }
            found => found.map_err(|unfit| named(&name, unfit))?,
        };
        let parameters: Parameters = step.parameters.iter().map(|(name, text)| (name.clone(), filled(text))).collect();
        let reads = reads(step, &kind_name, &parameters);
        if let Some(missing) = reads.iter().find(|kind| !is_there(kind, given)) {
            self.skipped.push((name, format!("nothing was imported of {missing}, and no source has it")));
            return Ok(());
        }
        let parameters = checked(&kind.parameters(), &parameters).map_err(|unfit| named(&name, unfit))?;
        let data_sets: BTreeSet<_> = reads.iter().chain(&item.data_set).collect();
        let before = |words: &[String], of_all: bool| -> Vec<usize> {
            let is_meant = |job: &Planned| {
                let is_of = data_sets.is_empty() || job.data_set.as_ref().is_none_or(|kind| data_sets.contains(kind));
                words.contains(&job.of) && (of_all || is_of)
            };
            self.jobs.iter().enumerate().filter(|(_, job)| is_meant(job)).map(|(n, _)| n).collect()
        };
        let refers = refers(&kind_name, &parameters);
        let is_referred = |job: &Planned| {
            step.depends_on.contains(&job.of) && job.data_set.as_ref().is_some_and(|kind| refers.contains(kind))
        };
        let referred = self.jobs.iter().enumerate().filter(|(_, job)| is_referred(job)).map(|(n, _)| n);
        let after = before(&step.after, true).into_iter().chain(referred).collect();
        let depends_on = before(&step.depends_on, false);
        let (data_set, of, is_last) = (item.data_set.clone(), step.name.clone(), !step.after.is_empty());
        self.jobs.push(Planned { step: name, kind: kind_name, parameters, depends_on, after, is_last, data_set, of });
        Ok(())
    }
}

/// Data sets that a step reads, as far as it says so, or its report or its model does.
fn reads(step: &StepDefinition, kind: &str, parameters: &Parameters) -> Vec<String> {
    if !step.data.is_empty() {
        return step.data.clone();
    }
    let report = Reports::find(kind).ok().map(|report| report.tables.iter().cloned().collect());
    let model = || Some(models::Pipeline::named(parameters.get("model")?).ok()?.sources);
    report.or_else(model).unwrap_or_default()
}

/// Data sets that what a step checks refers to: it is checked against what they have by then, whether they are new or not.
fn refers(kind: &str, parameters: &Parameters) -> Vec<String> {
    let checked = parameters.get("kind").filter(|_| kind == check_quality::NAME);
    let checked = checked.and_then(|name| datasets::kind(name).ok());
    let references = checked.into_iter().flat_map(|kind| &kind.references);
    references.map(|reference| reference.kind.clone()).collect()
}

fn is_there(kind: &str, given: &Given) -> bool {
    given.imported.contains(kind) || given.sources.iter().any(|(_, of)| of == kind)
}

/// A text with its words put in.
fn filled(text: &str, item: &Item, given: &Given) -> String {
    let own = item.words.iter().map(|(name, word)| (*name, word));
    let words = own.chain(given.words.iter().map(|(name, word)| (name.as_str(), word)));
    words.fold(text.to_owned(), |text, (name, word)| text.replace(&format!("{{{name}}}"), word))
}

fn named(step: &str, unfit: Unfit) -> Unfit {
    Unfit { field: format!("step {step}: {}", unfit.field), text: unfit.text }
}
