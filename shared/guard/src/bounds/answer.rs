//! An answer that is held until the transport has taken it, counted for as long as it is in memory.
//!
//! It lies in pieces, each with its own part of the permit: a piece's bytes come back when the transport drops it, after it was
//! written. Of an answer of which no piece is taken for a while everything is let go of, whether or not the transport
//! ever asks for it again: HTTP/2 asks for nothing while the peer's window is closed.

use super::budget::Permit;
use axum::http::HeaderMap;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Code, Status};

/// Largest piece: what HTTP/1.1 copies into its own buffer, and what HTTP/2 keeps beyond the peer's window.
pub const PIECE_BYTES: usize = 16 << 10;

/// A body whose bytes are counted.
pub struct Answer(SharedContent);

type SharedContent = Arc<Mutex<Option<Content>>>;

struct Content {
    pieces: VecDeque<Bytes>,
    n_bytes: u64,
    trailers: Option<HeaderMap>,
    taken_at: Instant,
}

/// A piece and its part of the permit.
struct Piece {
    bytes: Bytes,
    _permit: Permit,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Answers that are not yet taken.
#[derive(Default)]
pub struct Untaken(Mutex<Vec<Weak<Mutex<Option<Content>>>>>);

impl Answer {
    /// Of `whole`, which `permit` is for.
    pub fn new(whole: Vec<Bytes>, trailers: Option<HeaderMap>, mut permit: Permit, untaken: &Untaken) -> Self {
        let mut pieces = VecDeque::new();
        for mut frame in whole {
            // a piece that shared its memory with the others would keep all of it
            let is_small = frame.len() <= PIECE_BYTES;
            while !frame.is_empty() {
                let piece = frame.split_to(frame.len().min(PIECE_BYTES));
                let bytes = if is_small { piece } else { Bytes::copy_from_slice(&piece) };
                // a piece is small
                let permit = permit.split(bytes.len() as u32);
                pieces.push_back(Bytes::from_owner(Piece { bytes, _permit: permit }));
            }
        }
        let n_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let content = Content { pieces, n_bytes, trailers, taken_at: Instant::now() };
        let shared = Arc::new(Mutex::new(Some(content)));
        untaken.lock().push(Arc::downgrade(&shared));
        Self(shared)
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut content = lock(&self.0);
        let Some(content) = content.as_mut() else {
            let text = "nothing of the answer was taken for too long; ask again";
            return Poll::Ready(Some(Err(Status::new(Code::DeadlineExceeded, text))));
        };
        content.taken_at = Instant::now();
        if let Some(piece) = content.pieces.pop_front() {
            content.n_bytes -= piece.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        Poll::Ready(content.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).as_ref().is_some_and(|content| content.pieces.is_empty() && content.trailers.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(lock(&self.0).as_ref().map_or(0, |content| content.n_bytes))
    }
}

impl Untaken {
    /// Lets go of what nobody took anything of for `patience`.
    pub fn sweep(&self, patience: Duration) {
        let mut gone = Vec::new();
        self.lock().retain(|answer| {
            let Some(answer) = answer.upgrade() else { return false };
            let mut content = lock(&answer);
            match &*content {
                // what is taken needs no watching: it only ends
                Some(held) if held.pieces.is_empty() => false,
                Some(held) if held.taken_at.elapsed() < patience => true,
                Some(_) => {
                    gone.extend(content.take());
                    false
                }
                None => false,
            }
        });
        crate::metrics::untaken(gone.len());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Mutex<Option<Content>>>>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::budget::{Budget, Shares},
        *,
    };
    use std::future::poll_fn;

    const KIB: usize = 1 << 10;

    fn answer(untaken: &Untaken, n_bytes: usize) -> (Answer, Budget) {
        let budget = Budget::new("answers", Shares { node: 64 << 10, address: 0, caller: 0 });
        let permit = budget.account(None, None).take_now(n_bytes as u32).unwrap();
        (Answer::new(vec![Bytes::from(vec![7; n_bytes])], None, permit, untaken), budget)
    }

    async fn next(answer: &mut Answer) -> Option<Result<Bytes, Status>> {
        let frame = poll_fn(|context| Pin::new(&mut *answer).poll_frame(context)).await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    #[tokio::test]
    async fn bytes_come_back_when_the_transport_drops_them_and_not_before() {
        let untaken = Untaken::default();
        let (mut answer, budget) = answer(&untaken, 40 * KIB);
        assert_eq!((budget.out(), answer.size_hint().exact()), (40 * KIB, Some(40 << 10)));
        let first = next(&mut answer).await.unwrap().unwrap();
        assert_eq!((first.len(), budget.out()), (16 * KIB, 40 * KIB), "taken, but not yet written");
        drop(first);
        assert_eq!(budget.out(), 24 * KIB);
        let (second, third) = (next(&mut answer).await.unwrap(), next(&mut answer).await.unwrap());
        assert!(answer.is_end_stream() && next(&mut answer).await.is_none());
        drop((answer, second));
        assert_eq!(budget.out(), 8 * KIB);
        assert!(third.unwrap().iter().all(|byte| *byte == 7));
        assert_eq!(budget.out(), 0);
    }

    #[tokio::test]
    async fn more_than_there_is_comes_back_whole() {
        let budget = Budget::new("answers", Shares { node: 20 << 10, address: 0, caller: 0 });
        let permit = budget.account(None, None).take_now(100 << 10).unwrap();
        let mut answer = Answer::new(vec![Bytes::from(vec![7; 100 * KIB])], None, permit, &Untaken::default());
        assert_eq!(budget.out(), 20 * KIB);
        while let Some(piece) = next(&mut answer).await {
            drop(piece.unwrap());
        }
        drop(answer);
        assert_eq!(budget.out(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_which_nothing_is_taken_is_let_go_of_though_nobody_asks_for_it() {
        let untaken = Untaken::default();
        let (mut answer, budget) = answer(&untaken, 40 * KIB);
        let patience = Duration::from_secs(30);
        tokio::time::advance(Duration::from_secs(29)).await;
        untaken.sweep(patience);
        let first = next(&mut answer).await.unwrap().unwrap();
        tokio::time::advance(Duration::from_secs(29)).await;
        untaken.sweep(patience);
        assert_eq!(budget.out(), 40 * KIB, "something was taken");
        tokio::time::advance(Duration::from_secs(1)).await;
        untaken.sweep(patience);
        assert_eq!(budget.out(), first.len(), "only what the transport holds is left");
        assert_eq!(next(&mut answer).await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
        assert!(untaken.lock().is_empty());
    }

    #[tokio::test]
    async fn what_was_taken_or_dropped_is_watched_no_more() {
        let untaken = Untaken::default();
        let (mut taken, _) = answer(&untaken, KIB);
        let (dropped, _) = answer(&untaken, KIB);
        drop((next(&mut taken).await, dropped));
        untaken.sweep(Duration::ZERO);
        assert!(untaken.lock().is_empty() && next(&mut taken).await.is_none());
    }
}
