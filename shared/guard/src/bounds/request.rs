//! A request's body, counted while it is read and as long as what it became is worked on.

use super::budget::{Account, Full, Permit};
use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::body::{Body, Frame};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tonic::Status;

/// What is held for a request; it comes back when it is dropped.
pub type Held = Arc<Mutex<Option<Permit>>>;

/// Room that is waited for.
type Taking = BoxFuture<'static, Result<Permit, Full>>;

/// A body whose bytes wait until there is room for them.
pub struct Counted<B> {
    body: Pin<Box<B>>,
    account: Account,
    /// Bytes of memory for each byte that comes.
    weight: u32,
    wait: Duration,
    held: Held,
    waiting: Option<(Frame<Bytes>, Taking)>,
}

impl<B> Counted<B> {
    /// Of `account`; what is taken from it is put to `held`.
    pub fn new(body: B, account: Account, weight: u32, wait: Duration, held: Held) -> Self {
        Self { body: Box::pin(body), account, weight, wait, held, waiting: None }
    }

    fn held(&self) -> MutexGuard<'_, Option<Permit>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Body for Counted<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<tonic::codegen::StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some((_, taking)) = &mut this.waiting {
                let taken = ready!(taking.as_mut().poll(context));
                let Some((frame, _)) = this.waiting.take() else { continue };
                return Poll::Ready(Some(match taken {
                    Ok(permit) => {
                        *this.held() = Some(permit);
                        Ok(frame)
                    }
                    Err(full) => Err(full.status()),
                }));
            }
            let frame = match ready!(this.body.as_mut().poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error.into())))),
                None => return Poll::Ready(None),
            };
            let Some(data) = frame.data_ref() else { return Poll::Ready(Some(Ok(frame))) };
            let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX).saturating_mul(this.weight);
            let held = this.held().take();
            let mut permit = held.unwrap_or_else(|| this.account.none());
            if permit.grow_now(bytes) {
                *this.held() = Some(permit);
                return Poll::Ready(Some(Ok(frame)));
            }
            this.waiting = Some((frame, Box::pin(permit.grown(bytes, this.wait))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::budget::{Budget, Shares},
        *,
    };
    use axum::body::Body as Whole;
    use futures::stream;
    use std::{future::poll_fn, io};
    use tonic::Code;

    fn body(n_pieces: usize) -> Whole {
        let piece = |_| Ok::<_, io::Error>(Bytes::from_static(&[0; 100]));
        Whole::from_stream(stream::iter((0..n_pieces).map(piece)))
    }

    async fn next(body: &mut Counted<Whole>) -> Option<Result<Frame<Bytes>, Status>> {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_room_and_is_refused_when_there_is_none_in_time() {
        let budget = Budget::new("requests", Shares { node: 3_000, address: 0, caller: 0 });
        let (account, wait) = (budget.account(None, None), Duration::from_secs(5));
        let (first, second) = (Held::default(), Held::default());
        let mut one = Counted::new(body(2), account.clone(), 10, wait, Arc::clone(&first));
        let mut two = Counted::new(body(2), account, 10, wait, Arc::clone(&second));
        for n_bytes in [1_000, 2_000] {
            assert!(next(&mut one).await.unwrap().is_ok());
            assert_eq!(budget.out(), n_bytes);
        }
        assert!(next(&mut two).await.unwrap().is_ok());
        assert_eq!(next(&mut two).await.unwrap().unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(budget.out(), 2_000, "who is refused holds nothing");
        assert!(next(&mut one).await.is_none());
        drop((one, first));
        assert_eq!(budget.out(), 0);
    }
}
