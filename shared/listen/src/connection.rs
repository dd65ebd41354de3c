//! An accepted connection: bytes in and out, whose certificate it has, an end from outside, and an end when its peer says
//! nothing at first or takes nothing of what it is sent.

use crate::tls::{Speaks, Watched};
use crate::{Admission, line_faults::LineFaults, lines::Lines};
use auth::Certificate;
use bytes::Bytes;
use futures::task::AtomicWaker;
use guard::{Caller, connection_limit::Slot};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;

/// What a connection is measured by from its beginning.
pub(super) struct Watch {
    pub(super) speaks: Speaks,
    pub(super) from: SocketAddr,
    pub(super) admission: Admission,
}

/// A connection that is served.
pub struct Connection {
    socket: Socket,
    caller: Caller,
    ending: Option<Arc<Ending>>,
    beginning: Option<Beginning>,
    stall: Stall,
    lines: Option<Lines>,
    cut: Cut,
    found: LineFaults,
    _watched: Option<Watched>,
    _place: Slot,
}

enum Socket {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Socket {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

/// Whether there is a head that is not passed on whole (`lines.rs`).
enum Cut {
    No,
    /// What comes is left out, until its end.
    LeavingOut,
    /// This is still to be passed on, and nothing after it: its request is the connection's last.
    Ending(Bytes),
}

/// Until the first bytes are there.
struct Beginning {
    n_missing: usize,
    deadline: Pin<Box<Sleep>>,
}

/// While the peer takes nothing.
struct Stall {
    patience: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Passes an attempt to write on; one that waits for longer than `patience` fails.
    fn watch<T>(&mut self, context: &mut Context<'_>, attempt: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if attempt.is_ready() {
            self.deadline = None;
            return attempt;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(deadline.as_mut().poll(context));
        crate::refuse::<()>("write_timeout");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

/// Ends a connection from outside.
#[derive(Default)]
pub(super) struct Ending {
    is_ended: AtomicBool,
    reader: AtomicWaker,
}

impl Ending {
    pub(super) fn end(&self) {
        self.is_ended.store(true, Ordering::Release);
        self.reader.wake();
    }

    fn check(&self) -> io::Result<()> {
        if self.is_ended.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "its certificate no longer holds"));
        }
        Ok(())
    }
}

impl Connection {
    /// A connection without encryption.
    pub(super) fn plain(socket: TcpStream, place: Slot, watch: &Watch) -> Self {
        Self::new(Socket::Plain(socket), place, watch)
    }

    /// Encrypted, perhaps with a client's certificate, and how it is ended when that no longer holds.
    pub(super) fn encrypted(
        stream: TlsStream<TcpStream>,
        place: Slot,
        watch: &Watch,
        client: Option<(Arc<Certificate>, Arc<Ending>, Watched)>,
    ) -> Self {
        let mut connection = Self::new(Socket::Encrypted(Box::new(stream)), place, watch);
        if let Some((certificate, ending, watched)) = client {
            connection.caller = connection.caller.with(certificate);
            connection.ending = Some(ending);
            connection._watched = Some(watched);
        }
        connection
    }

    fn new(socket: Socket, place: Slot, watch: &Watch) -> Self {
        let Watch { speaks, from, admission } = watch;
        let deadline = Box::pin(sleep(admission.patience));
        let found = LineFaults::default();
        Self {
            socket,
            caller: Caller::at(*from),
            ending: None,
            beginning: Some(Beginning { n_missing: speaks.first_bytes(), deadline }),
            stall: Stall { patience: admission.write_patience, deadline: None },
            lines: (*speaks == Speaks::Http).then(|| Lines::new(found.clone())),
            cut: Cut::No,
            found,
            _watched: None,
            _place: place,
        }
    }

    /// Who is at the other end.
    pub(crate) fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// What was wrong with the lines of its requests, as soon as something was.
    pub(crate) fn found(&self) -> LineFaults {
        self.found.clone()
    }

    /// Reads a head that is too long to its end, so that its sender can read the answer, and passes on an end for what was passed on.
    fn leave_out(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.cut {
                Cut::Ending(rest) if rest.is_empty() => return Poll::Pending,
                Cut::Ending(rest) => {
                    buffer.put_slice(&rest.split_to(rest.len().min(buffer.remaining())));
                    return Poll::Ready(Ok(()));
                }
                Cut::LeavingOut => {
                    let mut scratch = [0; 4 << 10];
                    let mut scratch = ReadBuf::new(&mut scratch);
                    ready!(self.socket.poll_read(context, &mut scratch))?;
                    let has_ended = self.lines.as_mut().is_none_or(|lines| lines.leave_out(scratch.filled()));
                    if has_ended || scratch.filled().is_empty() {
                        self.cut = Cut::Ending(self.lines.as_ref().map(Lines::rest).unwrap_or_default());
                    }
                }
                Cut::No => return Poll::Pending,
            }
        }
    }

    fn check(&self) -> io::Result<()> {
        self.ending.as_ref().map_or(Ok(()), |ending| ending.check())
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(ending) = &this.ending {
            // first who is to be woken, then the check: an end between the two is not missed
            ending.reader.register(context.waker());
            ending.check()?;
        }
        let before = buffer.filled().len();
        if !matches!(this.cut, Cut::No) {
            return this.leave_out(context, buffer);
        }
        let read = this.socket.poll_read(context, buffer);
        if let (Some(lines), Poll::Ready(Ok(()))) = (&mut this.lines, &read)
            && let Some(cut) = lines.read(&buffer.filled()[before..])
        {
            let is_over = lines.leave_out(&buffer.filled()[before + cut.n_passed..]) || !cut.is_read_to_end;
            this.cut = if is_over { Cut::Ending(lines.rest()) } else { Cut::LeavingOut };
            buffer.set_filled(before + cut.n_passed);
            // nothing at all would be the connection's end
            if cut.n_passed == 0 {
                return this.leave_out(context, buffer);
            }
        }
        let Some(beginning) = &mut this.beginning else { return read };
        if let Poll::Ready(outcome) = read {
            beginning.n_missing = beginning.n_missing.saturating_sub(buffer.filled().len() - before);
            if beginning.n_missing == 0 {
                this.beginning = None;
            }
            return Poll::Ready(outcome);
        }
        ready!(beginning.deadline.as_mut().poll(context));
        crate::refuse::<()>("first_bytes_timeout");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no HTTP in time")))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        let this = self.get_mut();
        let written = match &mut this.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        this.stall.watch(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let this = self.get_mut();
        let written = match &mut this.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write_vectored(context, parts),
            Socket::Encrypted(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        };
        this.stall.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Encrypted(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        let this = self.get_mut();
        match &mut this.socket {
            // nothing is held back there, so it says nothing about the peer
            Socket::Plain(socket) => Pin::new(socket).poll_flush(context),
            Socket::Encrypted(stream) => {
                let flushed = Pin::new(stream).poll_flush(context);
                this.stall.watch(context, flushed)
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = match &mut this.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        };
        this.stall.watch(context, shut)
    }
}
