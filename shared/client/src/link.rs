//! The one task of a stream: connect, read, connect again.

mod outgoing;

use super::{
    BoxError, Connection, Error, Stream, Tokens,
    retry::{Backoff, Verdict, not_grpc, refused, span, verdict},
    state::SessionState,
};
use futures::future::OptionFuture;
use proto::telemetry::v1::{StreamReadingsResponse, Throttle, stream_readings_response::Message};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};

/// How long a server may take to answer `Open`.
const OPENED_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a draining server may take to acknowledge what it has.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
/// A connection that lasted this long was a good one.
const PROOF: Duration = Duration::from_secs(5);

/// How a connection ended.
enum End {
    /// The caller closed, the server answered.
    Closed,
    /// The server is about to stop.
    Drained(Duration),
    /// The connection went away or the server ended it.
    Lost(Status),
    /// There is no token.
    NoToken(BoxError),
}

/// Runs the stream until it is closed or cannot go on.
pub(super) async fn run(shared: Arc<SessionState>, connection: Connection, tokens: Tokens, stream: Stream) {
    let link = Link { shared: shared.clone(), connection, tokens, stream };
    let ended = link.serve().await;
    if let Err(error) = &ended {
        tracing::debug!(device = ?link.stream.device, code = ?error.code(), "sending has ended");
    }
    shared.change(|state| {
        state.is_open = false;
        state.ended = Some(ended);
    });
}

struct Link {
    shared: Arc<SessionState>,
    connection: Connection,
    tokens: Tokens,
    stream: Stream,
}

impl Link {
    async fn serve(&self) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        let mut has_new_token = false;
        loop {
            let mut is_proved = false;
            let end = self.connection(&mut is_proved).await;
            self.shared.change(|state| {
                state.is_open = false;
                state.lost_at.get_or_insert_with(Instant::now);
            });
            if is_proved {
                backoff.reset();
                has_new_token = false;
            }
            let wait = match end {
                End::Closed => return Ok(()),
                End::Drained(asked) => backoff.next(asked),
                // a device that was sending keeps its data while its tokens are out of reach
                End::NoToken(error) if self.shared.lock().first_durable.is_none() => {
                    return Err(Error::Token(Arc::from(error)));
                }
                End::NoToken(_) => backoff.next(Duration::ZERO),
                End::Lost(status) => {
                    let verdict = match not_grpc(&status) {
                        // a node has spoken there before: a proxy's page stands in its place for a while
                        Some(_) if self.shared.lock().first_durable.is_some() => Verdict::Again(Duration::ZERO),
                        _ => verdict(&status),
                    };
                    let status = Arc::new(status);
                    self.shared.lock().trouble = Some(status.clone());
                    match verdict {
                        Verdict::Again(asked) => backoff.next(asked),
                        Verdict::NewToken if !has_new_token => {
                            has_new_token = true;
                            Duration::ZERO
                        }
                        Verdict::NewToken | Verdict::Never => return Err(refused(status)),
                    }
                }
            };
            {
                let state = self.shared.lock();
                if state.is_out_of_patience(wait)
                    && let Some(unreachable) = state.unreachable()
                {
                    return Err(unreachable);
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn connection(&self, is_proved: &mut bool) -> End {
        let token = match (self.tokens)() {
            Ok(token) => token,
            Err(error) => return End::NoToken(error),
        };
        let connection = self.shared.change(|state| {
            state.connection += 1;
            (state.is_paused, state.is_draining) = (false, false);
            state.connection
        });
        let call = outgoing::call(self.connection.clone(), &token, &self.stream, self.shared.clone(), connection);
        let opened = async {
            let mut incoming = call.await?;
            match incoming.message().await?.and_then(|message| message.message) {
                Some(Message::Opened(opened)) => Ok((incoming, opened)),
                Some(_) => Err(Status::failed_precondition("the server's first message is not Opened")),
                None => Err(Status::unavailable("the server ended the stream before Opened")),
            }
        };
        let (incoming, opened) = match timeout(OPENED_TIMEOUT, opened).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(status)) => return End::Lost(status),
            Err(_) => return End::Lost(Status::deadline_exceeded("no Opened in time")),
        };
        let through = self.shared.change(|state| {
            if state.window.opened(opened.last_durable, opened.limits.as_ref()) {
                // its store lags behind what it has acknowledged, or it has lost data: what is still here goes out again, and
                // what was acknowledged is not here any more
                tracing::warn!(device = ?self.stream.device, "the server can prove less than it has acknowledged");
            }
            state.first_durable.get_or_insert(opened.last_durable);
            state.n_opened += 1;
            state.is_open = true;
            state.lost_at = None;
            state.window.progress().through
        });
        self.acknowledged(through);
        let since = Instant::now();
        let end = self.read(incoming, is_proved).await;
        *is_proved |= since.elapsed() >= PROOF;
        end
    }

    async fn read(&self, mut incoming: Streaming<StreamReadingsResponse>, is_proved: &mut bool) -> End {
        let (mut paused_until, mut draining) = (None, None);
        loop {
            let paused = OptionFuture::from(paused_until.map(sleep_until));
            let drained = OptionFuture::from(draining.map(|(deadline, _)| sleep_until(deadline)));
            let message = tokio::select! {
                biased;
                Some(()) = paused => {
                    paused_until = None;
                    self.shared.change(|state| state.is_paused = false);
                    continue;
                }
                Some(()) = drained => Ok(None),
                message = incoming.message() => message,
            };
            match message.map(|message| message.and_then(|message| message.message)) {
                Ok(Some(Message::Ack(ack))) => {
                    *is_proved = true;
                    let through = self.shared.change(|state| {
                        state.window.ack(ack);
                        state.window.progress().through
                    });
                    self.acknowledged(through);
                }
                Ok(Some(Message::Throttle(throttle))) => paused_until = self.throttle(throttle),
                Ok(Some(Message::Draining(message))) => {
                    draining = Some((Instant::now() + DRAIN_PATIENCE, span(message.reconnect_after)));
                    self.shared.change(|state| state.is_draining = true);
                }
                // a message of a later version: nothing to do about it
                Ok(Some(Message::Opened(_))) => {}
                ended => {
                    return match (draining, ended) {
                        (Some((_, asked)), _) => End::Drained(asked),
                        (None, Err(status)) => End::Lost(status),
                        (None, Ok(_)) if self.shared.lock().is_half_closed() => End::Closed,
                        (None, Ok(_)) => End::Lost(Status::unavailable("the server ended the stream")),
                    };
                }
            }
        }
    }

    /// New credits, and until when not to use them.
    fn throttle(&self, throttle: Throttle) -> Option<Instant> {
        let wait = span(throttle.retry_after);
        self.shared.change(|state| {
            state.window.allow(throttle.max_in_flight);
            state.is_paused = !wait.is_zero();
        });
        (!wait.is_zero()).then(|| Instant::now() + wait)
    }

    fn acknowledged(&self, through: u64) {
        self.shared.acknowledged.send_if_modified(|known| {
            let is_new = through > *known;
            *known = through.max(*known);
            is_new
        });
    }
}
