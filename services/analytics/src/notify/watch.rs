//! Sees jobs end, and submits what tells of it.

use super::{Message, NAME};
use crate::jobs::{
    board::SubmitError,
    job::Job,
    orders::Orders,
    step::{Notify, Submission},
};
use std::{collections::HashSet, time::Duration};
use tokio::time;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Who submits what tells of jobs.
const SUBMITTER: &str = "system:notify";
/// Attempts at telling somebody: with pauses that double from a tenth of the usual one, over three hours and more.
const ATTEMPTS: u32 = 10;
/// How often is looked at least.
const EVERY: Duration = Duration::from_secs(5);

/// Watches the jobs that this process knows.
pub struct Watcher {
    orders: Orders,
    channels: Vec<String>,
    /// Jobs, each with the number of the step by which it ended.
    told: HashSet<(Uuid, u32)>,
}

impl Watcher {
    /// Submits to `orders` for each of these ways.
    pub fn new(orders: Orders, channels: Vec<String>) -> Self {
        Self { orders, channels, told: HashSet::new() }
    }

    /// Watches until told to stop. A store that is away is waited for.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.orders.board.changes();
        let mut ticks = time::interval(EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                _ = changes.changed() => {}
            }
            changes.mark_unchanged();
            if let Err(error) = self.tell().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "how jobs ended cannot be told, tried again");
            }
        }
    }

    /// Submits what tells of each job that has ended and is to be told of, once for each end.
    ///
    /// # Errors
    /// The store; what was not submitted is submitted the next time.
    pub(super) async fn tell(&mut self) -> Result<(), store::Error> {
        let wanted = self.orders.board.select(|job| is_wanted(job).then_some((job.id, job.number)));
        let wanted: HashSet<_> = wanted.into_iter().collect();
        self.told.retain(|told| wanted.contains(told));
        let is_new = |job: &Job| is_wanted(job) && !self.told.contains(&(job.id, job.number));
        for job in self.orders.board.select(|job| is_new(job).then(|| job.clone())) {
            let message = Message::of_job(&job);
            for channel in &self.channels {
                self.submit(channel, &job, &message).await?;
            }
            self.told.insert((job.id, job.number));
        }
        Ok(())
    }

    async fn submit(&self, channel: &str, job: &Job, message: &Message) -> Result<(), store::Error> {
        let parameters = [
            ("by", channel.to_owned()),
            ("event", message.body.to_string()),
            ("run", "-".to_owned()),
            ("when", "always".to_owned()),
        ];
        let submission = Submission {
            kind: NAME.to_owned(),
            parameters: parameters.map(|(name, text)| (name.to_owned(), text)).into(),
            max_attempts: ATTEMPTS,
            pause_seconds: self.orders.pause_seconds.div_ceil(10),
            pause_doubles: true,
            ..self.orders.plain(SUBMITTER)
        };
        let key = format!("notify {} {} {channel}", job.id, job.number);
        match self.orders.board.submit(submission, Some(&key)).await {
            // by another version, which says it in other words
            Ok(_) | Err(SubmitError::KeyTaken) => Ok(()),
            Err(SubmitError::Store(error)) => Err(error),
        }
    }
}

/// Whether somebody wants to know how a job ended, and it has.
fn is_wanted(job: &Job) -> bool {
    match job.submission.notify {
        Notify::Never => false,
        Notify::Failure => job.state.has_failed(),
        Notify::Always => job.state.has_ended(),
    }
}
