//! A call's two bodies: requests that are refused before they are kept, and answers that end in time.

use super::Bounds;
use crate::connection_limit::Slot;
use axum::body::{Body, Bytes, HttpBody};
use hyper::{HeaderMap, body::Frame};
use proto::problem;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

/// gRPC's prefix of a message: a flag, and the length in four bytes.
const PREFIX: usize = 5;
/// How long a stream that is open to all has after a stop, to say that the node is going.
const AFTER_STOP: Duration = Duration::from_secs(1);
/// What a compressed message may be longer than an uncompressed one: its text is checked again when it is unpacked.
const fn slack(n_bytes: usize) -> usize {
    n_bytes / 128 + 64
}

/// Why the rest of a request was not read; the answer says it, also where a service does not.
#[derive(Clone, Default)]
pub(super) struct Said(Arc<Mutex<Option<Status>>>);

impl Said {
    fn say(&self, status: &Status) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status.clone());
    }

    fn take(&self) -> Option<Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request's body. It ends with an error at a message that is too long, at a second one where there may be one, and when
/// nothing comes for too long.
pub(super) struct Asked {
    body: Body,
    bounds: Bounds,
    said: Said,
    /// Bytes of the prefix under way.
    prefix: [u8; PREFIX],
    n_prefix: usize,
    /// Bytes of the message under way that are to come.
    n_left: usize,
    n_messages: usize,
    idle: Option<Idle>,
    is_over: bool,
}

struct Idle {
    limit: Duration,
    last: Instant,
    due: Pin<Box<Sleep>>,
}

impl Asked {
    pub(super) fn new(body: Body, bounds: Bounds, said: Said) -> Self {
        let idle = bounds.idle.map(|limit| Idle { limit, last: Instant::now(), due: Box::pin(sleep(limit)) });
        Self { body, bounds, said, prefix: [0; PREFIX], n_prefix: 0, n_left: 0, n_messages: 0, idle, is_over: false }
    }

    /// Follows the messages in a piece of the body.
    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        while !bytes.is_empty() {
            if self.n_left > 0 {
                let n_here = self.n_left.min(bytes.len());
                self.n_left -= n_here;
                bytes = &bytes[n_here..];
                continue;
            }
            if self.n_prefix == 0 && self.n_messages > 0 && self.bounds.is_single {
                let text = "more than the one message that this method takes";
                return Err(problem::invalid("MALFORMED_MESSAGE", "message", text));
            }
            self.prefix[self.n_prefix] = bytes[0];
            self.n_prefix += 1;
            bytes = &bytes[1..];
            if self.n_prefix == PREFIX {
                self.begin_message()?;
            }
        }
        Ok(())
    }

    fn begin_message(&mut self) -> Result<(), Status> {
        let [flag, length @ ..] = self.prefix;
        let (n_bytes, max) = (u32::from_be_bytes(length) as usize, self.bounds.max_message_bytes);
        if n_bytes > max + if flag == 1 { slack(max) } else { 0 } {
            let text = format!("{n_bytes} bytes; this method takes at most {max}: send less at once");
            return Err(problem::invalid("MESSAGE_TOO_LARGE", "message", text));
        }
        (self.n_prefix, self.n_left) = (0, n_bytes);
        self.n_messages += 1;
        Ok(())
    }

    fn end(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.said.say(&status);
        self.is_over = true;
        // nothing more is read, and what the connection holds for it is given back
        self.body = Body::empty();
        Poll::Ready(Some(Err(status)))
    }
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(idle) = &mut this.idle {
                    idle.last = Instant::now();
                }
                match frame.data_ref().map(|data| this.follow(data)) {
                    Some(Err(status)) => this.end(status),
                    _ => Poll::Ready(Some(Ok(frame))),
                }
            }
            // the connection went away, or the other side reset the stream
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Status::from_error(error.into())))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let Some(idle) = &mut this.idle else { return Poll::Pending };
                loop {
                    ready!(idle.due.as_mut().poll(context));
                    let due = idle.last + idle.limit;
                    if due <= Instant::now() {
                        let text =
                            format!("nothing came for {:?}; open the stream again when there is something", idle.limit);
                        return this.end(problem::status(Code::DeadlineExceeded, "IDLE", text));
                    }
                    idle.due.as_mut().reset(due);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }
}

/// A stream of answers, which ends in time, and with what was wrong with the request.
pub(super) struct Answers {
    body: Body,
    said: Said,
    began: Instant,
    end: Option<(Instant, Pin<Box<Sleep>>)>,
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    is_stopping: bool,
    is_over: bool,
    _place: Option<Slot>,
}

impl Answers {
    /// Until `end`, and until a moment after `stop`. `place` is kept as long.
    pub(super) fn new(
        body: Body,
        said: Said,
        end: Option<Instant>,
        stop: Option<CancellationToken>,
        place: Option<Slot>,
    ) -> Self {
        let end = end.map(|end| (end, Box::pin(sleep_until(end))));
        let stop = stop.map(|stop| Box::pin(stop.cancelled_owned()));
        let began = Instant::now();
        Self { body, said, began, end, stop, is_stopping: false, is_over: false, _place: place }
    }

    /// Whether it has to end now, and with what.
    fn ends(&mut self, context: &mut Context<'_>) -> Option<Status> {
        if !self.is_stopping
            && let Some(stop) = &mut self.stop
            && stop.as_mut().poll(context).is_ready()
        {
            self.is_stopping = true;
            let soon = Instant::now() + AFTER_STOP;
            if self.end.as_ref().is_none_or(|(end, _)| *end > soon) {
                self.end = Some((soon, Box::pin(sleep_until(soon))));
            }
        }
        let (end, due) = self.end.as_mut()?;
        if due.as_mut().poll(context).is_pending() {
            return None;
        }
        Some(match self.is_stopping {
            true => problem::unavailable("DRAINING", "the node is going; come again", AFTER_STOP),
            false => late(end.duration_since(self.began)),
        })
    }
}

impl HttpBody for Answers {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        let frame = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(other) => return Poll::Ready(other),
            Poll::Pending => {
                let Some(status) = this.ends(context) else { return Poll::Pending };
                this.is_over = true;
                this.body = Body::empty();
                return Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))));
            }
        };
        // a service that ends when its request does, and calls that a success
        let is_success =
            frame.trailers_ref().is_some_and(|trailers| trailers.get("grpc-status").is_some_and(|ok| ok == "0"));
        match is_success.then(|| this.said.take()).flatten() {
            Some(status) => Poll::Ready(Some(Ok(Frame::trailers(trailers(&status))))),
            None => Poll::Ready(Some(Ok(frame))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // a text of ours always fits
    let _ = status.add_header(&mut trailers);
    trailers
}

/// DEADLINE_EXCEEDED: `limit` was not enough.
pub(super) fn late(limit: Duration) -> Status {
    let text = format!("not answered within {limit:?}; send the whole request at once, ask for less, or try again");
    problem::status(Code::DeadlineExceeded, "DEADLINE", text)
}
