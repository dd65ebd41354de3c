//! When a stream of HTTP/2 ends: known where its rpc is, done where its task runs.

use std::{cell::Cell, future::poll_fn, pin::pin, task::Poll, time::Duration};
use tokio::time::{Instant, sleep_until};

/// How long a client may take for an answer that is there; an HTTP/2 stream that lasts longer is reset.
pub const TAKEN_WITHIN: Duration = Duration::from_secs(60);

tokio::task_local! {
    /// When the stream of this task ends.
    static END: Cell<Option<Instant>>;
}

/// The HTTP/2 stream whose task this is will be reset at `end`, whether its peer has taken the answer or not: one that never
/// opens its window would keep what was sent for ever. On HTTP/1.1 nothing happens: there a peer's socket tells.
pub fn end_stream_at(end: Instant) {
    // outside such a task there is nothing to end
    let _ = END.try_with(|at| at.set(Some(end)));
}

/// Runs a stream until it ends, or until the time that was said within it.
pub async fn run(stream: impl Future<Output = ()>) {
    END.scope(Cell::new(None), within_its_time(stream)).await;
}

async fn within_its_time(stream: impl Future<Output = ()>) {
    let mut stream = pin!(stream);
    let mut end = pin!(None);
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(at) = END.with(Cell::get) else { return Poll::Pending };
        if end.is_none() {
            end.set(Some(sleep_until(at)));
        }
        let Some(due) = end.as_mut().as_pin_mut() else { return Poll::Pending };
        let outcome = due.poll(context);
        if outcome.is_ready() {
            crate::metrics::stream_cut();
        }
        outcome
    })
    .await;
}
