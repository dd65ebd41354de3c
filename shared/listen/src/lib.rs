//! How connections come in: a port's listener lets in as many as there is room for, encrypted when there is a certificate.
//!
//! What it promises: no connection waits for another's handshake; who has not done its part in time is closed, also who does
//! not take what it is sent; who is over a limit is told so and closed, and costs little; all ports that share an
//! [`Admission`] count together; running out of files or memory is waited out, not the end. Nothing is queued here:
//! connections wait in the kernel until they are taken.

mod connection;
mod farewell;
mod fault;
mod grammar;
mod head;
mod lengths;
mod line_faults;
mod lines;
pub mod metrics;
mod seats;
mod serving;
pub mod tls;

pub use connection::Connection;
pub use farewell::AT_ONCE as FAREWELLS_AT_ONCE;
pub use fault::{Amount, Fault};
pub use serving::{Answers, KEEPALIVE, Terms, serve};

use connection::{Ending, Watch};
use farewell::Farewells;
use futures::future::OptionFuture;
use guard::connection_limit::{self, ConnectionLimit, Slot};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tls::{Speaks, Tls};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;

/// How long nothing is accepted after the system had no file or memory for a connection.
const PAUSE: Duration = Duration::from_millis(200);

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At once, on all ports that share an [`Admission`].
    pub max_connections: usize,
    /// At once, of one address; 0: as many as of all.
    pub max_per_address: usize,
    /// How long a handshake may take, and then the first bytes.
    pub handshake: Duration,
    /// How long a peer may take nothing of what it is sent.
    pub write: Duration,
}

/// Who is let in, and how patiently it is waited. Cheap to clone: ports with clones of one count together.
#[derive(Clone)]
pub struct Admission {
    room: Arc<ConnectionLimit>,
    farewells: Farewells,
    /// For each part of the beginning: the handshake, the first bytes.
    patience: Duration,
    /// For a peer that takes nothing of what it is sent.
    write_patience: Duration,
}

impl Admission {
    /// As the limits say.
    pub fn new(limits: Limits) -> Self {
        let open = metrics::connections(limits.max_connections);
        Self {
            room: ConnectionLimit::new(limits.max_connections, limits.max_per_address, open),
            farewells: Farewells::default(),
            patience: limits.handshake,
            write_patience: limits.write,
        }
    }

    /// The same patience, but so much room, and for itself.
    pub fn apart(&self, max_connections: usize) -> Self {
        Self { room: ConnectionLimit::new(max_connections, 0, ::metrics::Gauge::noop()), ..self.clone() }
    }
}

/// Where connections come in.
pub struct Listener {
    listener: TcpListener,
    admission: Admission,
    tls: Option<Arc<Tls>>,
    speaks: Speaks,
    handshakes: JoinSet<Option<Connection>>,
    closed_until: Option<Instant>,
}

impl Listener {
    /// A listener to `listener`.
    pub fn new(listener: TcpListener, tls: Option<Arc<Tls>>, speaks: Speaks, admission: &Admission) -> Self {
        let admission = admission.clone();
        Self { listener, admission, tls, speaks, handshakes: JoinSet::new(), closed_until: None }
    }

    /// What is spoken behind it.
    pub fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// The next connection that is ready to be served. Dropping the listener closes the port and ends handshakes under way.
    pub async fn next(&mut self) -> Connection {
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
        let place = match self.admission.room.enter(from.ip()) {
            Ok(place) => place,
            Err(full) => {
                let tls = self.tls.as_ref().map(|tls| tls.offer().config(self.speaks));
                self.admission.farewells.say(socket, tls, self.speaks, full);
                return refuse(match full {
                    connection_limit::Full::All(_) => "limit",
                    connection_limit::Full::Address(_) => "address_limit",
                });
            }
        };
        // acknowledgements are small, and somebody waits for each
        if socket.set_nodelay(true).is_err() {
            return refuse("gone");
        }
        let watch = Watch { speaks: self.speaks, from, admission: self.admission.clone() };
        match &self.tls {
            None => Some(Connection::plain(socket, place, &watch)),
            Some(tls) => {
                self.handshakes.spawn(shake(Arc::clone(tls), socket, place, watch));
                None
            }
        }
    }
}

/// Shakes hands on one connection, in [`Limits::handshake`] at most; `None`: it was refused, and is closed.
async fn shake(tls: Arc<Tls>, socket: TcpStream, place: Slot, watch: Watch) -> Option<Connection> {
    let offer = tls.offer();
    let accepting = TlsAcceptor::from(offer.config(watch.speaks)).accept(socket);
    let stream = match timeout(watch.admission.patience, accepting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            // anybody can cause it
            tracing::debug!(error = &error as &dyn std::error::Error, "a handshake failed");
            return refuse("handshake");
        }
        Err(_) => return refuse("handshake_timeout"),
    };
    let Some(chain) = stream.get_ref().1.peer_certificates().filter(|chain| !chain.is_empty()) else {
        return Some(Connection::encrypted(stream, place, &watch, None));
    };
    // the handshake has just read it
    let Ok(certificate) = auth::Certificate::read(&chain[0]) else { return refuse("handshake") };
    let ending = Arc::new(Ending::default());
    let end = Arc::clone(&ending);
    match tls.watch(&offer, chain, &certificate, move || end.end()) {
        Some(watched) => {
            Some(Connection::encrypted(stream, place, &watch, Some((Arc::new(certificate), ending, watched))))
        }
        None => refuse("handshake"),
    }
}

/// Counts one that is closed, by falling out of scope.
fn refuse<T>(reason: &'static str) -> Option<T> {
    metrics::connection_refused(reason);
    None
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
