//! Telling people how work ended: a webhook, or mail.
//!
//! A job that wants it is told of by a job of the kind `notify` for each way, under a key that is the job's and its last step's: it
//! is told at least once, whoever is killed when, tried again with growing pauses, and never told of itself. What is sent holds
//! no parameters and no results: ids, kinds, states, times, and what a failure says.

mod kind;
mod mail;
mod message;
mod watch;
mod webhook;

pub use kind::{NAME, Notifier};
pub use mail::{Encryption, Mail, MailSettings};
pub use message::Message;
pub use watch::Watcher;
pub use webhook::Webhook;

use std::{error::Error, iter, sync::Arc};

/// The ways, as parameters and steps name them.
pub const WAYS: [&str; 2] = ["webhook", "smtp"];

/// In which ways somebody is told here. Clones are the same.
#[derive(Clone, Default)]
pub struct Channels {
    /// By a request.
    pub webhook: Option<Arc<Webhook>>,
    /// By mail; `None`: the settings name no mail server.
    pub mail: Option<Arc<Mail>>,
}

impl Channels {
    /// Those that are set.
    pub fn names(&self) -> Vec<String> {
        let set = [self.webhook.is_some(), self.mail.is_some()];
        WAYS.iter().zip(set).filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned()).collect()
    }

    /// Sends a message in one way.
    ///
    /// # Errors
    /// That way is not set here, or nobody took it.
    pub(crate) async fn send(&self, by: &str, message: &Message) -> Result<(), String> {
        match (by, &self.webhook, &self.mail) {
            ("webhook", Some(webhook), _) => webhook.send(message).await,
            ("smtp", _, Some(mail)) => mail.send(message).await,
            _ => Err(format!("{by}: the settings have none (analytics.notify)")),
        }
    }
}

/// An error with its causes, each said once.
fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(error.source(), |cause| (*cause).source()).map(ToString::to_string);
    causes.fold(error.to_string(), |text, cause| if text.ends_with(&cause) { text } else { format!("{text}: {cause}") })
}

#[cfg(test)]
mod tests;
