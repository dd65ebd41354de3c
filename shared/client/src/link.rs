//! The one task of a stream: connect, read, connect again; and the state it shares with the caller and the transport.

use super::{
    BoxError, Connection, Error, Stream, Tokens,
    retry::{Backoff, Verdict, span, verdict},
    window::Window,
    wire,
};
use bytes::Bytes;
use futures::future::OptionFuture;
use proto::telemetry::v1::{StreamReadingsResponse, Throttle, stream_readings_response::Message};
use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use tonic::{Status, Streaming};

/// How long a server may take to answer `Open`.
const OPENED_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a draining server may take to acknowledge what it has.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
/// A connection that lasted this long was a good one.
const PROOF: Duration = Duration::from_secs(5);

/// What caller, transport and task share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Notify,
    pub(super) acknowledged: watch::Sender<u64>,
}

pub(super) struct State {
    pub(super) window: Window,
    /// `Opened.last_durable` of the first connection.
    pub(super) first_durable: Option<u64>,
    pub(super) n_opened: u64,
    /// What the last failed attempt said.
    pub(super) trouble: Option<Arc<Status>>,
    /// Since when there is no connection.
    lost_at: Option<Instant>,
    /// How long that may last.
    pub(super) patience: Option<Duration>,
    /// Number of the connection whose transport may take batches.
    connection: u64,
    /// Whether the connection has seen `Opened`, and not its end.
    is_open: bool,
    is_paused: bool,
    is_draining: bool,
    /// The caller closes: no more batches will come.
    is_closing: bool,
    ended: Option<Result<(), Error>>,
    /// The transport, when it waits for batches.
    transport: Option<Waker>,
}

impl State {
    /// The error a caller gets now, if the stream has ended.
    pub(super) fn ended<T>(&self) -> Option<Result<T, Error>> {
        self.ended.as_ref().map(|ended| Err(ended.clone().err().unwrap_or(Error::Closed)))
    }

    /// What to say while there is no connection.
    pub(super) fn unreachable(&self) -> Option<Error> {
        let waited = self.lost_at?.elapsed();
        Some(Error::Unreachable { waited, last: self.trouble.clone() })
    }

    /// Whether the server is gone for longer than the caller waits.
    fn is_out_of_patience(&self, wait: Duration) -> bool {
        let waited = self.lost_at.map(|at| at.elapsed() + wait);
        self.patience.is_some_and(|patience| waited.is_some_and(|waited| waited > patience))
    }

    /// Whether nothing more will come from the server on this connection.
    pub(super) fn is_over(&self) -> bool {
        self.ended.is_some() || !self.is_open
    }

    /// The transport asks for the next message.
    pub(super) fn poll_outgoing(&mut self, connection: u64, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if connection != self.connection {
            return Poll::Ready(None);
        }
        if self.is_open
            && !self.is_paused
            && !self.is_draining
            && let Some(bytes) = self.window.next()
        {
            return Poll::Ready(Some(bytes));
        }
        if self.is_open && self.is_half_closed() {
            return Poll::Ready(None);
        }
        if !self.transport.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.transport = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Nothing more will be sent on this connection.
    fn is_half_closed(&self) -> bool {
        (self.is_closing && self.window.is_empty()) || (self.is_draining && !self.window.has_in_flight())
    }
}

impl Shared {
    pub(super) fn new(resume_after: u64) -> Self {
        let state = State {
            window: Window::new(resume_after),
            first_durable: None,
            n_opened: 0,
            trouble: None,
            lost_at: None,
            patience: None,
            connection: 0,
            is_open: false,
            is_paused: false,
            is_draining: false,
            is_closing: false,
            ended: None,
            transport: None,
        };
        Self { state: Mutex::new(state), changed: Notify::new(), acknowledged: watch::Sender::new(resume_after) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `check` has an answer.
    pub(super) async fn wait<T>(&self, check: impl Fn(&State) -> Option<Result<T, Error>>) -> Result<T, Error> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let answer = check(&self.lock());
            match answer {
                Some(answer) => return answer,
                None => changed.await,
            }
        }
    }

    /// Puts a batch into the window, once there is room.
    pub(super) async fn push(&self, sequence: u64, bytes: Bytes, n_readings: u32) -> Result<(), Error> {
        let mut bytes = Some(bytes);
        loop {
            if self.try_push(sequence, &mut bytes, n_readings)? {
                return Ok(());
            }
            self.wait(|state| state.ended().or_else(|| state.window.has_credit().then_some(Ok(())))).await?;
        }
    }

    fn try_push(&self, sequence: u64, bytes: &mut Option<Bytes>, n_readings: u32) -> Result<bool, Error> {
        let mut state = self.lock();
        if let Some(ended) = state.ended() {
            return ended;
        }
        if !state.window.has_credit() {
            return Ok(false);
        }
        let Some(bytes) = bytes.take() else { return Ok(true) };
        if let Some(limit) = state.window.limit_exceeded_by(bytes.len()) {
            return Err(Error::TooLarge { bytes: bytes.len(), limit });
        }
        state.window.push(sequence, bytes, n_readings);
        wake(state);
        Ok(true)
    }

    /// No more batches: the stream ends when the window is empty.
    pub(super) fn half_close(&self) {
        self.change(|state| state.is_closing = true);
    }

    /// Changes the state and tells everybody.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let answer = change(&mut state);
        wake(state);
        self.changed.notify_waiters();
        answer
    }
}

/// Wakes the transport, after the lock is gone.
fn wake(mut state: MutexGuard<'_, State>) {
    let transport = state.transport.take();
    drop(state);
    if let Some(transport) = transport {
        transport.wake();
    }
}

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
pub(super) async fn run(shared: Arc<Shared>, connection: Connection, tokens: Tokens, stream: Stream) {
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
    shared: Arc<Shared>,
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
                    let verdict = verdict(&status);
                    let status = Arc::new(status);
                    self.shared.lock().trouble = Some(status.clone());
                    match verdict {
                        Verdict::Again(asked) => backoff.next(asked),
                        Verdict::NewToken if !has_new_token => {
                            has_new_token = true;
                            Duration::ZERO
                        }
                        Verdict::NewToken | Verdict::Never => return Err(Error::Refused(status)),
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
        let call = wire::call(self.connection.clone(), &token, &self.stream, self.shared.clone(), connection);
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
