//! An accepted connection: bytes in and out, whose certificate it has, and an end from outside.

use super::room::Place;
use crate::tls::Watched;
use auth::Certificate;
use futures::task::AtomicWaker;
use std::{
    io,
    net::IpAddr,
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
use tonic::transport::server::Connected;

/// Who is at the other end; with each request of the connection.
#[derive(Clone)]
pub struct Caller {
    certificate: Option<Arc<Certificate>>,
    address: IpAddr,
}

impl Caller {
    /// The client's certificate, believed by an authority of the settings.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_deref()
    }

    /// Where it comes from, as addresses are counted here: of IPv6 the network of 64 bits, the rest is zero.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

/// A connection that is served.
pub struct Connection {
    socket: Socket,
    caller: Caller,
    ending: Option<Arc<Ending>>,
    beginning: Option<Beginning>,
    _watched: Option<Watched>,
    _place: Place,
}

enum Socket {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// Until the first bytes are there.
pub(super) struct Beginning {
    n_missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Beginning {
    /// So many bytes must come within `patience`, from now on.
    pub(super) fn new(n_bytes: usize, patience: Duration) -> Self {
        Self { n_missing: n_bytes, deadline: Box::pin(sleep(patience)) }
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
    /// In the clear.
    pub(super) fn plain(socket: TcpStream, place: Place, beginning: Beginning) -> Self {
        Self::new(Socket::Plain(socket), place, beginning)
    }

    /// Encrypted, perhaps with a client's certificate, and how it is ended when that no longer holds.
    pub(super) fn encrypted(
        stream: TlsStream<TcpStream>,
        place: Place,
        beginning: Beginning,
        client: Option<(Arc<Certificate>, Arc<Ending>, Watched)>,
    ) -> Self {
        let connection = Self::new(Socket::Encrypted(Box::new(stream)), place, beginning);
        let Some((certificate, ending, watched)) = client else { return connection };
        let caller = Caller { certificate: Some(certificate), ..connection.caller };
        Self { caller, ending: Some(ending), _watched: Some(watched), ..connection }
    }

    fn new(socket: Socket, place: Place, beginning: Beginning) -> Self {
        let (beginning, caller) = (Some(beginning), Caller { certificate: None, address: place.address() });
        Self { socket, caller, ending: None, beginning, _watched: None, _place: place }
    }

    fn check(&self) -> io::Result<()> {
        self.ending.as_ref().map_or(Ok(()), |ending| ending.check())
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(ending) = &this.ending {
            // first who is to be woken, then the look: an end between the two is not missed
            ending.reader.register(context.waker());
            ending.check()?;
        }
        let before = buffer.filled().len();
        let read = match &mut this.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Socket::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let Some(beginning) = &mut this.beginning else { return read };
        if let Poll::Ready(outcome) = read {
            beginning.n_missing = beginning.n_missing.saturating_sub(buffer.filled().len() - before);
            if beginning.n_missing == 0 {
                this.beginning = None;
            }
            return Poll::Ready(outcome);
        }
        ready!(beginning.deadline.as_mut().poll(context));
        super::refuse::<()>("first_bytes_timeout");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no HTTP in time")))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        match &mut self.get_mut().socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        match &mut self.get_mut().socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write_vectored(context, parts),
            Socket::Encrypted(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Encrypted(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        match &mut self.get_mut().socket {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(context),
            Socket::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
