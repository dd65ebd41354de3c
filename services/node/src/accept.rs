//! The door of a port: lets in as many as there is room for, encrypted when there is a certificate.
//!
//! What it promises: no connection waits for another's handshake; who has not done its part in time is closed; who is
//! over a limit is closed at once and costs nothing further; running out of files or memory is waited out, not the end.
//! Nothing is queued here: connections wait in the kernel until they are taken.

mod connection;
mod room;

pub use connection::{Caller, Connection};

use crate::{config::Config, tls::Tls};
use connection::{Beginning, Ending};
use futures::{Stream, future::OptionFuture, stream};
use metrics::counter;
use room::{Full, Place, Room};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;

/// How long nothing is accepted after the system had no file or memory for a connection.
const PAUSE: Duration = Duration::from_millis(200);

/// What is spoken behind a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/2 alone: gRPC.
    Http2,
    /// HTTP/1.1 or HTTP/2, as the client likes.
    Http,
}

impl Speaks {
    /// The first bytes that a client must have sent in time: until they are there, nothing behind the door looks at the clock.
    fn first_bytes(self) -> usize {
        match self {
            // the preface (RFC 9113, 3.4)
            Self::Http2 => 24,
            Self::Http => 1,
        }
    }
}

/// Where connections come in.
pub(crate) struct Door {
    listener: TcpListener,
    room: Arc<Room>,
    tls: Option<Arc<Tls>>,
    speaks: Speaks,
    /// For each part of the beginning: the handshake, the first bytes.
    patience: Duration,
    handshakes: JoinSet<Option<Connection>>,
    closed_until: Option<Instant>,
}

impl Door {
    /// A door with the limits of the settings.
    pub(crate) fn new(config: &Config, listener: TcpListener, tls: Option<Arc<Tls>>, speaks: Speaks) -> Self {
        let limits = &config.server;
        Self {
            listener,
            room: Arc::new(Room::new(limits.max_connections, limits.max_connections_per_address)),
            tls,
            speaks,
            patience: Duration::from_secs(config.tls.handshake_timeout_seconds),
            handshakes: JoinSet::new(),
            closed_until: None,
        }
    }

    /// The connections as they are ready to be served. Dropping it closes the port and ends handshakes under way.
    pub(crate) fn connections(self) -> impl Stream<Item = Result<Connection, Infallible>> {
        stream::unfold(self, async |mut door| Some((Ok(door.next().await), door)))
    }

    async fn next(&mut self) -> Connection {
        loop {
            let reopened = OptionFuture::from(self.closed_until.map(sleep_until));
            tokio::select! {
                Some(shaken) = self.handshakes.join_next() => match shaken {
                    Ok(Some(connection)) => return connection,
                    Ok(None) => {}
                    Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a handshake panicked"),
                },
                Some(()) = reopened => self.closed_until = None,
                accepted = self.listener.accept(), if self.closed_until.is_none() => match accepted {
                    Ok((socket, from)) => {
                        if let Some(connection) = self.admit(socket, from) {
                            return connection;
                        }
                    }
                    // gone before it was taken
                    Err(error) if is_of_the_connection(&error) => {}
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "connections cannot be accepted now");
                        self.closed_until = Some(Instant::now() + PAUSE);
                    }
                },
            }
        }
    }

    /// Finds a place for a connection. One that is ready is returned; one that must shake hands first begins to.
    fn admit(&mut self, socket: TcpStream, from: SocketAddr) -> Option<Connection> {
        let place = match self.room.enter(from.ip()) {
            Ok(place) => place,
            Err(Full::All) => return refuse("limit"),
            Err(Full::Address) => return refuse("address_limit"),
        };
        // acknowledgements are small, and somebody waits for each
        if socket.set_nodelay(true).is_err() {
            return refuse("gone");
        }
        let (speaks, patience) = (self.speaks, self.patience);
        match &self.tls {
            None => Some(Connection::plain(socket, place, Beginning::new(speaks.first_bytes(), patience))),
            Some(tls) => {
                self.handshakes.spawn(shake(Arc::clone(tls), speaks, socket, place, patience));
                None
            }
        }
    }
}

/// One handshake.
async fn shake(
    tls: Arc<Tls>,
    speaks: Speaks,
    socket: TcpStream,
    place: Place,
    patience: Duration,
) -> Option<Connection> {
    let offer = tls.offer();
    let stream = match timeout(patience, TlsAcceptor::from(offer.config(speaks)).accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            // anybody can cause it
            tracing::debug!(error = &error as &dyn std::error::Error, "a handshake failed");
            return refuse("handshake");
        }
        Err(_) => return refuse("handshake_timeout"),
    };
    let beginning = Beginning::new(speaks.first_bytes(), patience);
    let Some(chain) = stream.get_ref().1.peer_certificates().filter(|chain| !chain.is_empty()) else {
        return Some(Connection::encrypted(stream, place, beginning, None));
    };
    // the handshake has just read it
    let Ok(certificate) = auth::Certificate::read(&chain[0]) else { return refuse("handshake") };
    let ending = Arc::new(Ending::default());
    let end = Arc::clone(&ending);
    match tls.watch(&offer, chain, &certificate, move || end.end()) {
        Some(watched) => {
            Some(Connection::encrypted(stream, place, beginning, Some((Arc::new(certificate), ending, watched))))
        }
        None => refuse("handshake"),
    }
}

/// Counts one that is closed, by falling out of scope.
fn refuse<T>(reason: &'static str) -> Option<T> {
    counter!("wardline_connections_refused_total", "reason" => reason).increment(1);
    None
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
