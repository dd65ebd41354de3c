//! The kind `insights`: plain sentences about the data, as an object.

use crate::{
    jobs::{
        kinds::{Done, Failure, Kind, Parameter, Parameters},
        work::Work,
    },
    reporting::Runner,
    reports::{insights, output::Format},
    results,
};
use async_trait::async_trait;
use model::access::Action;
use serde_json::json;

/// Name of the kind.
pub const NAME: &str = "insights";

/// Writes what [`insights`] finds as JSON.
pub struct InsightsKind {
    /// What asks the questions.
    pub runner: Runner,
}

#[async_trait]
impl Kind for InsightsKind {
    fn name(&self) -> &str {
        NAME
    }

    fn about(&self) -> &str {
        "writes plain sentences about the data, each with its report and the numbers behind it"
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    fn needs(&self) -> Action {
        Action::ReadAnalytics
    }

    async fn run(&self, work: &Work, _: &Parameters) -> Result<Done, Failure> {
        work.progress("asking", 0, 0, "questions");
        // what fails is a disk that was full, a file that was being replaced
        let snapshot = self.runner.snapshot(&insights::tables()).await.map_err(Failure::again)?;
        let found = self.runner.insights(&snapshot).await.map_err(Failure::again)?;
        for left in &found.left_out {
            work.say(format!("left out: {}", left.why));
        }
        let (n_found, n_left_out) = (found.found.len(), found.left_out.len());
        let text = json!({ "insights": found.found, "left_out": found.left_out }).to_string();
        let (key, bytes) = (results::key(work.job(), work.attempt_id(), Format::Json), text.len());
        self.runner.objects().put(&key, text.into()).await.map_err(Failure::again)?;
        let what = json!({ "insights": n_found, "left_out": n_left_out });
        let result = results::naming(what, &key, bytes as u64, Format::Json);
        work.progress("asking", n_found as u64, n_found as u64, "sentences");
        let data_versions = snapshot.versions().clone();
        Ok(Done { result, rows: (snapshot.n_rows(), n_found as u64), data_versions, seed: 0 })
    }
}
