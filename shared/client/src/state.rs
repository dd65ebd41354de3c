//! What caller, transport and task of a session share.

use crate::{Error, window::Window};
use bytes::Bytes;
use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tonic::Status;

/// What caller, transport and task share.
pub(super) struct SessionState {
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
    pub(super) lost_at: Option<Instant>,
    /// How long it may try before it gives up; `None`: for ever.
    pub(super) patience: Option<Duration>,
    /// Number of the connection whose transport may take batches.
    pub(super) connection: u64,
    /// Whether the connection has seen `Opened`, and not its end.
    pub(super) is_open: bool,
    pub(super) is_paused: bool,
    pub(super) is_draining: bool,
    /// The caller closes: no more batches will come.
    pub(super) is_closing: bool,
    pub(super) ended: Option<Result<(), Error>>,
    /// The transport, when it waits for batches.
    pub(super) transport: Option<Waker>,
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
    pub(super) fn is_out_of_patience(&self, wait: Duration) -> bool {
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
    pub(super) fn is_half_closed(&self) -> bool {
        (self.is_closing && self.window.is_empty()) || (self.is_draining && !self.window.has_in_flight())
    }
}

impl SessionState {
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

    pub(super) fn try_push(&self, sequence: u64, bytes: &mut Option<Bytes>, n_readings: u32) -> Result<bool, Error> {
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
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
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
