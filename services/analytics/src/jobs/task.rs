//! The kind `task`: two seconds of nothing, to try that jobs are done.

use super::{
    kinds::{Done, Failure, Kind, Parameter, Parameters, Range},
    work::Work,
};
use async_trait::async_trait;
use model::access::Action;
use serde_json::json;
use std::time::Duration;

/// Name of the kind.
pub const NAME: &str = "task";
/// How long it takes, in twenty parts.
const PART: Duration = Duration::from_millis(100);

/// Takes two seconds, and gives its number and one.
pub struct Task;

#[async_trait]
impl Kind for Task {
    fn name(&self) -> &str {
        NAME
    }

    fn about(&self) -> &str {
        "takes two seconds, and gives the number that it was given, and one"
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::new("n", Range::Integer(i64::MIN, i64::MAX), Some("0"), "a number")]
    }

    fn needs(&self) -> Action {
        Action::SubmitJobs
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        let n: i64 = parameters["n"].parse().map_err(|_| Failure::Final("n: must be a whole number".to_owned()))?;
        work.say(format!("counting from {n}"));
        for part in 0..20 {
            work.progress("waiting", part, 20, "parts");
            tokio::time::sleep(PART).await;
        }
        work.progress("waiting", 20, 20, "parts");
        let next = n.checked_add(1).ok_or_else(|| Failure::Final("n: there is no number after it".to_owned()))?;
        Ok(Done { result: json!({ "n": next }), ..Done::default() })
    }
}
