//! What an attempt is told, and what it tells.

use super::{
    job::Job,
    kinds::Failure,
    step::{LINES, Progress},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Asks whether the job is still this worker's.
pub(super) type Question = oneshot::Sender<bool>;

/// Lines that wait for the next step: of more, the first are kept, and how many were left out is said.
const WAITING_LINES: usize = LINES.0;

/// An attempt at a job. Clones are the same attempt.
#[derive(Clone)]
pub struct Work {
    job: Uuid,
    by: String,
    attempt: Uuid,
    stop: CancellationToken,
    told: Arc<Mutex<Told>>,
    questions: mpsc::Sender<Question>,
}

#[derive(Default)]
struct Told {
    progress: Progress,
    lines: Vec<String>,
    left_out: usize,
    peak_memory_bytes: u64,
}

impl Work {
    /// An attempt at a job, which ends early when `stop` is cancelled; and what it asks of its worker.
    pub(super) fn new(of: &Job, stop: CancellationToken) -> (Self, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(1);
        let (job, by, attempt) = (of.id, of.submission.submitter.clone(), Uuid::new_v4());
        (Self { job, by, attempt, stop, told: Arc::default(), questions }, asked)
    }

    /// An attempt at a job that there is not, for tests of kinds; `is_ours`: what is answered to [`Work::confirm`].
    #[cfg(test)]
    pub(crate) fn alone(is_ours: bool) -> Self {
        let (questions, mut asked) = mpsc::channel::<Question>(1);
        tokio::spawn(async move {
            while let Some(question) = asked.recv().await {
                let _ = question.send(is_ours);
            }
        });
        let (job, by, attempt) = (Uuid::now_v7(), "user:a".to_owned(), Uuid::new_v4());
        Self { job, by, attempt, stop: CancellationToken::new(), told: Arc::default(), questions }
    }

    /// The same at a job of somebody's.
    #[cfg(test)]
    pub(crate) fn submitted_by(mut self, name: &str) -> Self {
        name.clone_into(&mut self.by);
        self
    }

    /// Whether the job is still this attempt's, as the store says now. To be asked right before something is made known that
    /// others see.
    ///
    /// # Errors
    /// It is somebody else's by now, or nobody's.
    pub async fn confirm(&self) -> Result<(), Failure> {
        let (question, answer) = oneshot::channel();
        let is_ours = self.questions.send(question).await.is_ok() && answer.await.unwrap_or(false);
        let lost = || Failure::Again("the job is not this worker's any more".to_owned());
        is_ours.then_some(()).ok_or_else(lost)
    }

    /// Id of the job that is attempted.
    pub fn job(&self) -> Uuid {
        self.job
    }

    /// Who submitted it, as in its submission.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Unlike that of any other attempt, at this job too: what the attempt makes goes by this name until it is finished.
    pub fn attempt_id(&self) -> Uuid {
        self.attempt
    }

    /// Cancelled when nobody wants the result any more: the job was cancelled, or is somebody else's by now.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// How far it has come; `total` 0: not known.
    pub fn progress(&self, stage: &str, done: u64, total: u64, unit: &str) {
        self.told().progress = Progress { done, total, unit: unit.to_owned(), stage: stage.to_owned() };
    }

    /// A line of the job's log: no personal data, cut at 256 bytes.
    pub fn say(&self, line: impl Into<String>) {
        let (mut told, mut line) = (self.told(), line.into());
        if told.lines.len() >= WAITING_LINES {
            told.left_out += 1;
            return;
        }
        line.truncate(line.floor_char_boundary(LINES.1));
        told.lines.push(line);
    }

    /// What is to be written down next: progress, and the lines since the last time.
    pub(super) fn take(&self) -> (Progress, Vec<String>) {
        let memory = super::memory::resident_bytes();
        let mut told = self.told();
        told.peak_memory_bytes = told.peak_memory_bytes.max(memory);
        let mut lines = std::mem::take(&mut told.lines);
        let mut left_out = std::mem::take(&mut told.left_out);
        if left_out > 0 {
            // what says so is one of the lines that a step may have
            let n_told = lines.len();
            lines.truncate(WAITING_LINES - 1);
            left_out += n_told - lines.len();
            lines.push(format!("({left_out} lines more)"));
        }
        (told.progress.clone(), lines)
    }

    /// Lines that could not be written down: they come before those of since.
    pub(super) fn give_back(&self, mut lines: Vec<String>) {
        let mut told = self.told();
        lines.append(&mut told.lines);
        told.left_out += lines.len().saturating_sub(WAITING_LINES);
        lines.truncate(WAITING_LINES);
        told.lines = lines;
    }

    pub(super) fn peak_memory_bytes(&self) -> u64 {
        self.told().peak_memory_bytes
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_never_has_more_lines_than_it_may_and_says_how_many_are_left_out() {
        let work = Work::alone(true);
        for (n_said, last) in [(49, "line 49"), (50, "line 50"), (51, "(2 lines more)"), (80, "(31 lines more)")] {
            (1..=n_said).for_each(|n| work.say(format!("line {n}")));
            let (_, lines) = work.take();
            assert_eq!((lines.len(), lines.last().map(String::as_str)), (LINES.0.min(n_said), Some(last)));
            assert!(lines.iter().zip(1..50).all(|(line, n)| *line == format!("line {n}")), "{lines:?}");
        }
        assert!(work.take().1.is_empty());
    }

    #[tokio::test]
    async fn lines_that_could_not_be_written_down_come_before_those_of_since() {
        let work = Work::alone(true);
        work.say("first");
        let (_, lines) = work.take();
        work.say("second");
        work.give_back(lines);
        assert_eq!(work.take().1, ["first", "second"]);
        (0..50).for_each(|_| work.say("more"));
        work.give_back(vec!["first".to_owned()]);
        let (_, lines) = work.take();
        assert_eq!((lines.len(), &*lines[0], &*lines[49]), (50, "first", "(2 lines more)"));
    }
}
