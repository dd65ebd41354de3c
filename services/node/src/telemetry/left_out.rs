//! Log lines that are too many: each place in the code that writes them has its own limit, so that a peer who causes one kind
//! of line hides no other. What is left out is counted, and the count is a line.

use crate::metrics;
use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::layer::{Context, Filter};

/// Lines of one place within [`EVERY`].
pub(super) const MAX_LINES: u32 = 5;
/// How often lines of one place are counted anew.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// Places that have written: as many as the code has.
static PLACES: LazyLock<Mutex<HashMap<Identifier, Lines>>> = LazyLock::new(Mutex::default);

/// Lets at most so many lines of a place through.
pub(super) struct AtMost;

/// Lines that were left out of one place in the code.
struct Lines {
    metadata: &'static Metadata<'static>,
    since: Instant,
    n_written: u32,
    n_left_out: u64,
}

impl Lines {
    fn new(metadata: &'static Metadata<'static>, now: Instant) -> Self {
        Self { metadata, since: now, n_written: 0, n_left_out: 0 }
    }

    /// Whether one more is written.
    fn one_more(&mut self, now: Instant) -> bool {
        // what was left out before is told by whoever asks for it, not here: a line from within a line would wait for itself
        if now.duration_since(self.since) >= EVERY {
            (self.since, self.n_written) = (now, 0);
        }
        let is_written = self.n_written < MAX_LINES;
        match is_written {
            true => self.n_written += 1,
            false => self.n_left_out += 1,
        }
        is_written
    }
}

impl<S: Subscriber> Filter<S> for AtMost {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // who turns these on wants all of them
        if *metadata.level() > Level::INFO {
            return true;
        }
        let now = Instant::now();
        let is_written = places().entry(metadata.callsite()).or_insert_with(|| Lines::new(metadata, now)).one_more(now);
        if !is_written {
            metrics::line_left_out(metadata.level().as_str());
        }
        is_written
    }
}

fn places() -> MutexGuard<'static, HashMap<Identifier, Lines>> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says, of each place, how many lines were left out since the last time. To be called every few seconds.
pub(crate) fn tell() {
    let left_out: Vec<_> = places()
        .values_mut()
        .filter(|lines| lines.n_left_out > 0 && lines.since.elapsed() >= EVERY)
        .map(|lines| (lines.metadata, std::mem::take(&mut lines.n_left_out)))
        .collect();
    for (place, n_lines) in left_out {
        tracing::warn!(
            n_lines,
            of = place.target(),
            file = place.file(),
            line_number = place.line(),
            "lines like those before were left out"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tracing_subscriber::{Layer, layer::SubscriberExt, registry};

    /// Counts events by their text's first word.
    #[derive(Clone, Default)]
    struct Counting(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Counting {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            struct Text(String);
            impl tracing::field::Visit for Text {
                fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                    self.0 += &format!("{}={value:?} ", field.name());
                }
            }
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_writes_a_few_lines_and_then_how_many_were_left_out() {
        let seen = Counting::default();
        let guard = tracing::subscriber::set_default(registry().with(seen.clone().with_filter(AtMost)));
        let n_seen = |part: &str| seen.0.lock().unwrap().iter().filter(|line| line.contains(part)).count();
        let reset = || tracing::warn!("reset");
        (0..53).for_each(|_| reset());
        tracing::warn!("another");
        assert_eq!([n_seen("reset"), n_seen("another")], [MAX_LINES as usize, 1]);
        tell();
        assert_eq!(n_seen("left out"), 0, "not while it goes on");
        tokio::time::advance(EVERY).await;
        tell();
        tell();
        assert_eq!([n_seen("left out"), n_seen("n_lines=48")], [1, 1]);
        reset();
        assert_eq!(n_seen("reset"), MAX_LINES as usize + 1, "and it is said again later");
        drop(guard);
    }
}
