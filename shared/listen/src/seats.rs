//! How many streams of one connection are worked on: one more waits a little, and is then told, where HTTP/2 alone would leave
//! its client waiting for a stream that may never end.
//!
//! HTTP/2 is told of [`WAITING`] streams more than there are seats. Those wait [`PATIENCE`] for one that ends; clients keep what
//! they have beyond that to themselves, and as each of the waiting is answered in that time, so are they.

use crate::fault::Fault;
use std::{cell::RefCell, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Streams of a connection that may wait for a seat: no more than a head of each is held.
const WAITING: u32 = 16;
/// How long: calls that are answered at once are over by then, a stream for life is not.
const PATIENCE: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// The seat of the HTTP/2 stream whose task this is.
    static SEAT: RefCell<Option<OwnedSemaphorePermit>>;
}

/// The seats of one connection.
#[derive(Clone)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    max_streams: u32,
}

impl Seats {
    /// Seats for so many streams at once, all of them free.
    pub(crate) fn new(max_streams: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(max_streams as usize)), max_streams }
    }

    /// Takes one for the HTTP/2 stream whose task this is, until it has ended; a fault when none is free in time.
    pub(crate) async fn take(&self) -> Result<(), Fault> {
        let seat = timeout(PATIENCE, Arc::clone(&self.free).acquire_owned()).await;
        let seat = seat.ok().and_then(Result::ok).ok_or(Fault::TooManyStreams(self.max_streams))?;
        // outside such a task nobody has more than one
        let _ = SEAT.try_with(|place| place.replace(Some(seat)));
        Ok(())
    }
}

/// Streams that HTTP/2 is told of, for so many seats.
pub(crate) fn announced(max_streams: u32) -> u32 {
    max_streams.saturating_add(WAITING)
}

/// Runs a stream, whose seat is free when it has ended.
pub(crate) async fn run(stream: impl Future<Output = ()>) {
    SEAT.scope(RefCell::new(None), stream).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_stream_more_waits_a_little_and_is_told_how_many_there_may_be() {
        let seats = Seats::new(2);
        let stream = |lasts: u64| {
            let seats = seats.clone();
            tokio::spawn(async move {
                let mut taken = Ok(());
                run(async {
                    taken = seats.take().await;
                    if taken.is_ok() {
                        tokio::time::sleep(Duration::from_secs(lasts)).await;
                    }
                })
                .await;
                taken
            })
        };
        let first = [stream(1_000), stream(3)];
        tokio::task::yield_now().await;
        // the first of them gets the place of who ends after three seconds
        let (second, third) = (stream(1_000), stream(1));
        tokio::task::yield_now().await;
        assert_eq!(third.await.unwrap(), Err(Fault::TooManyStreams(2)));
        assert_eq!(second.await.unwrap(), Ok(()));
        for stream in first {
            assert_eq!(stream.await.unwrap(), Ok(()));
        }
        assert_eq!(stream(0).await.unwrap(), Ok(()));
    }
}
