//! The kind `notify`: tells of one thing in one way.

use super::{Channels, Message, WAYS};
use crate::{
    jobs::{
        board::Board,
        kinds::{Done, Failure, Kind, Parameter, Parameters, Range, given},
        work::Work,
    },
    pipelines,
};
use async_trait::async_trait;
use model::access::Action;
use serde_json::json;
use uuid::Uuid;

/// Name of the kind.
pub const NAME: &str = "notify";
/// Most characters of a message that is written down.
const EVENT_CHARS: usize = 8_192;

/// Tells how a job or a run ended.
pub struct Notifier {
    /// Where runs are read.
    pub board: Board,
    /// In which ways.
    pub channels: Channels,
}

#[async_trait]
impl Kind for Notifier {
    fn name(&self) -> &str {
        NAME
    }

    fn about(&self) -> &str {
        "tells how a job or a run of a pipeline ended, by the webhook or the mail of the settings"
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::new("by", Range::words(WAYS), None, "in which way"),
            Parameter::new("event", Range::Text(EVENT_CHARS), Some("-"), "what is told, as JSON; - when it is a run"),
            Parameter::new("run", Range::Text(36), Some("-"), "id of a run; - when it is a job"),
            Parameter::new(
                "when",
                Range::words(["failure", "always"]),
                Some("always"),
                "whether a run that succeeded is told of",
            ),
        ]
    }

    fn needs(&self) -> Action {
        // what is told in the operator's name is not anybody's to choose
        Action::ManageJobs
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        let done = |told: bool| Done { result: json!({ "told": told }), ..Done::default() };
        let message = match given(parameters, "run") {
            None => {
                let body = serde_json::from_str(&parameters["event"]);
                Message::read(body.map_err(|_| Failure::Final("event: must be JSON".to_owned()))?)
            }
            Some(run) => {
                let run = run.parse::<Uuid>().map_err(|_| Failure::Final("run: must be a UUID".to_owned()))?;
                self.board.follow().await.map_err(Failure::again)?;
                let run = pipelines::get(&self.board, run);
                let run = run.ok_or_else(|| Failure::Final("run: there is no such run any more".to_owned()))?;
                let message = Message::of_run(&run, work.job());
                if parameters["when"] == "failure" && message.body["state"] == "succeeded" {
                    work.say("all steps succeeded: nobody is to be told");
                    return Ok(done(false));
                }
                message
            }
        };
        self.channels.send(&parameters["by"], &message).await.map_err(Failure::Again)?;
        work.say(format!("told of {}", message.id));
        Ok(done(true))
    }
}
