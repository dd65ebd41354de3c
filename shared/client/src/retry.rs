//! Which failures to try again, and when.

use crate::Error;
use rand::Rng;
use std::{error::Error as StdError, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};
use tonic::{Code, ConnectError, Response, Status};
use tonic_types::StatusExt;

/// The first wait.
const WAIT_MIN: Duration = Duration::from_millis(50);
/// The longest wait of our own choice.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The longest wait that a server may ask for.
const ASKED_MAX: Duration = Duration::from_secs(60);

/// How long one attempt of a call may take; a server's own deadlines are shorter.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// Which calls may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// One that changes nothing, or the same when it is made twice: after `UNAVAILABLE`, `ABORTED`, `DEADLINE_EXCEEDED`,
    /// `CANCELLED`, a lost connection, and `RESOURCE_EXHAUSTED` where the server says when to come back.
    Always,
    /// One that might be done twice: only where the server cannot have begun with it, which is when nobody was reached, or when it
    /// said `RESOURCE_EXHAUSTED` and when to come back.
    Unbegun,
}

/// Makes a call, and again while that can help and `patience` lasts, with growing waits between. A refused token is asked for
/// once more.
///
/// # Errors
/// [`Error::Token`]; [`Error::Refused`] and [`Error::NotGrpc`] when trying again would not help; [`Error::Unreachable`] after
/// `patience`, or when it may not be repeated.
pub async fn call<T, F>(repeat: Repeat, patience: Duration, mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let began = Instant::now();
    let mut backoff = Backoff::default();
    let mut has_new_token = false;
    loop {
        let status = match timeout(ATTEMPT_TIMEOUT, attempt()).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded(format!("no answer within {} s", ATTEMPT_TIMEOUT.as_secs())),
        };
        if let Some(NoToken(cause)) = status.source().and_then(|source| source.downcast_ref()) {
            return Err(Error::Token(cause.clone()));
        }
        let verdict = verdict(&status);
        let may_repeat = repeat == Repeat::Always || is_unbegun(&status);
        let status = Arc::new(status);
        let wait = match verdict {
            Verdict::Again(asked) => backoff.next(asked),
            Verdict::NewToken if !has_new_token => {
                has_new_token = true;
                continue;
            }
            Verdict::NewToken | Verdict::Never => return Err(refused(status)),
        };
        if !may_repeat || began.elapsed() + wait >= patience {
            return Err(Error::Unreachable { waited: began.elapsed(), last: Some(status) });
        }
        tokio::time::sleep(wait).await;
    }
}

/// Whether a call that was tried again by the contract cannot have been begun before.
fn is_unbegun(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<NotSent>() || error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    status.code() == Code::ResourceExhausted
}

/// The error of a call that something answered which does not speak gRPC.
pub(super) fn not_grpc(status: &Status) -> Option<&Error> {
    let cause = status.source()?.downcast_ref::<Error>()?;
    matches!(cause, Error::NotGrpc { .. }).then_some(cause)
}

/// Why a call is not made again.
pub(super) fn refused(status: Arc<Status>) -> Error {
    not_grpc(&status).cloned().unwrap_or(Error::Refused(status))
}

/// What to do about a status.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again, after at least this long.
    Again(Duration),
    /// Try again once with a new token.
    NewToken,
    /// Trying again gives the same answer.
    Never,
}

/// The contract that OTLP publishes; beside it what the transport itself reports, which says nothing about the message.
pub(super) fn verdict(status: &Status) -> Verdict {
    let asked = status.get_details_retry_info().map(|info| span(info.retry_delay));
    match status.code() {
        Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled => {
            Verdict::Again(asked.unwrap_or_default())
        }
        Code::ResourceExhausted if asked.is_some() => Verdict::Again(asked.unwrap_or_default()),
        Code::Unauthenticated => Verdict::NewToken,
        _ if not_grpc(status).is_some() => Verdict::Never,
        _ if is_from_transport(status) => Verdict::Again(Duration::ZERO),
        _ => Verdict::Never,
    }
}

/// A status that no server wrote: the connection broke. tonic then gives UNKNOWN or INTERNAL.
fn is_from_transport(status: &Status) -> bool {
    status.source().is_some()
        || (matches!(status.code(), Code::Unknown | Code::Internal) && status.get_details_error_info().is_none())
}

/// A length of time off the wire; none and negative ones are zero, and nobody waits for longer than a minute.
pub(super) fn span<D: TryInto<Duration>>(length: Option<D>) -> Duration {
    length.and_then(|length| length.try_into().ok()).unwrap_or_default().min(ASKED_MAX)
}

/// Exponential waits with jitter, so that a ward's devices do not come back in one instant.
#[derive(Default)]
pub(super) struct Backoff {
    n_failed: u32,
}

impl Backoff {
    /// The next wait: at least half of its step, and at least `asked`.
    pub(super) fn next(&mut self, asked: Duration) -> Duration {
        let step = WAIT_MIN.saturating_mul(1 << self.n_failed.min(10)).min(WAIT_MAX);
        self.n_failed += 1;
        let jitter = rand::rng().random_range(0.5..=1.0);
        step.mul_f64(jitter).max(asked.mul_f64(0.5 + jitter))
    }

    /// The connection has proved to be good.
    pub(super) fn reset(&mut self) {
        self.n_failed = 0;
    }
}

/// A call that has reached nobody.
#[derive(Debug, thiserror::Error)]
#[error("no call was made")]
pub(crate) struct NotSent(#[source] pub(crate) Error);

/// There is no token for a call.
#[derive(Debug, thiserror::Error)]
#[error("no token")]
pub(crate) struct NoToken(#[source] pub(crate) Arc<dyn std::error::Error + Send + Sync>);

#[cfg(test)]
mod tests {
    use super::*;
    use proto::problem;

    #[test]
    fn statuses_are_tried_again_by_the_contract() {
        let second = Duration::from_secs(1);
        assert_eq!(verdict(&problem::unavailable("STOPPING", "", second)), Verdict::Again(second));
        for code in [Code::Aborted, Code::DeadlineExceeded, Code::Cancelled] {
            assert_eq!(verdict(&Status::new(code, "")), Verdict::Again(Duration::ZERO));
        }
        assert_eq!(verdict(&Status::new(Code::ResourceExhausted, "")), Verdict::Never);
        let details = tonic_types::ErrorDetails::with_retry_info(Some(second));
        let status = Status::with_error_details(Code::ResourceExhausted, "", details);
        assert_eq!(verdict(&status), Verdict::Again(second));
        assert_eq!(verdict(&Status::new(Code::Unauthenticated, "")), Verdict::NewToken);
        for code in [Code::Internal, Code::Unknown, Code::InvalidArgument, Code::PermissionDenied] {
            assert_eq!(verdict(&problem::status(code, "REASON", "")), Verdict::Never);
        }
        assert_eq!(verdict(&Status::unknown("h2 protocol error")), Verdict::Again(Duration::ZERO));
    }

    #[test]
    fn waits_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        let first = backoff.next(Duration::ZERO);
        assert!((WAIT_MIN / 2..=WAIT_MIN).contains(&first), "{first:?}");
        let last = (0..50).map(|_| backoff.next(Duration::ZERO)).last().unwrap();
        assert!((WAIT_MAX / 2..=WAIT_MAX).contains(&last), "{last:?}");
        assert!(backoff.next(ASKED_MAX) >= ASKED_MAX);
        backoff.reset();
        assert!(backoff.next(Duration::ZERO) <= WAIT_MIN);
    }
}
