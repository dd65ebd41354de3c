//! What a person sees while a replay runs: a bar on a terminal, a line of log now and then elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

/// How often the notes for resuming are written at most.
pub const WRITE_EVERY: Duration = Duration::from_secs(1);
const LOG_EVERY: Duration = Duration::from_secs(5);

/// While the recording is read.
pub struct Reading(Option<ProgressBar>);

impl Reading {
    /// Shows a spinner on a terminal, with the format that is read.
    pub fn start(format: &str) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(format!("reading {format}"));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self(bar)
    }

    /// Says what was read.
    pub fn end(self, read: u64, mapped: u64) {
        match self.0 {
            Some(bar) => bar.finish_and_clear(),
            None => tracing::info!(read, mapped, "recording read"),
        }
    }
}

/// The progress bar while devices send; log lines where there is no terminal.
pub struct Sending {
    bar: Option<ProgressBar>,
    total: u64,
    logged: Instant,
}

impl Sending {
    /// `done` readings have their answer from an earlier run.
    pub fn start(total: u64, done: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let style = "{elapsed_precise} [{wide_bar}] {human_pos}/{human_len} readings {per_sec} eta {eta}";
            // without it the plain bar does
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.with_position(done)
        });
        if let Some(bar) = &bar {
            bar.reset_eta();
        } else {
            tracing::info!(readings = total, done, "replay starts");
        }
        Self { bar, total, logged: Instant::now() }
    }

    /// So many have their answer now.
    pub fn show(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.logged.elapsed() >= LOG_EVERY {
            tracing::info!(readings = self.total, done, "replay goes on");
            self.logged = Instant::now();
        }
    }

    /// Shows the last number and stops: `done` readings have their answer.
    pub fn end(self, done: u64) {
        match self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.abandon();
            }
            None => tracing::info!(readings = self.total, done, "replay ends"),
        }
    }
}
