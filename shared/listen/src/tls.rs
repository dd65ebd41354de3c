//! TLS of the gRPC port and the JSON API: the server's certificate, whose client certificates are believed, and their
//! exchange while connections are open.
//!
//! What it promises: a handshake sees the files as they were at most `tls.reload_seconds` ago; files that cannot be used
//! change nothing; a connection whose client certificate no longer holds (revoked, expired, its authority gone) ends.
//! No session is resumed: each connection proves anew that it has the key of a certificate that holds.

mod files;

use crate::metrics;
use auth::Certificate;
use files::{Contents, Material};
use guard::clock;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
};
use std::{
    collections::HashMap,
    error::Error as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What is spoken behind a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/2 alone, for gRPC.
    Http2,
    /// HTTP/1.1 or HTTP/2, as the client likes.
    Http,
}

impl Speaks {
    /// The first bytes that a client must have sent in time: until they are there, nothing behind the listener checks a timeout.
    pub(crate) fn first_bytes(self) -> usize {
        match self {
            // the preface (RFC 9113, 3.4)
            Self::Http2 => 24,
            Self::Http => 1,
        }
    }
}

/// Which files, and how they are used. Names of settings in errors are those of `[tls]` of a node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server's certificate chain, PEM.
    pub cert_file: PathBuf,
    /// The private key of that chain's first certificate, PEM.
    pub key_file: PathBuf,
    /// Authorities whose client certificates are believed, PEM; none: client certificates are not asked for.
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client without a believed certificate is turned away.
    pub client_auth_required: bool,
    /// Revocation lists of these authorities, PEM.
    pub crl_files: Vec<PathBuf>,
    /// How often the files are read.
    pub reload: Duration,
}

/// Why TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// The setting, and the file.
    what: String,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None }
    }

    /// What comes of this cause, of a setting.
    fn of<'a, E>(setting: &'a str) -> impl FnOnce(E) -> Self + 'a
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'a,
    {
        move |cause| Self { what: setting.to_owned(), cause: Some(cause.into()) }
    }

    /// With all its causes, in a line.
    fn whole(&self) -> String {
        let (mut text, mut cause) = (self.what.clone(), self.source());
        while let Some(one) = cause {
            text = text + ": " + &one.to_string();
            cause = one.source();
        }
        text
    }
}

/// What is served with now, and the connections that must be checked when it changes.
pub struct Tls {
    settings: Settings,
    current: RwLock<Arc<Material>>,
    /// Connections with a client certificate.
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    next: u64,
    connections: HashMap<u64, Arc<Client>>,
}

/// A client's certificate, as long as its connection is open.
pub(crate) struct Client {
    chain: Vec<CertificateDer<'static>>,
    certificate: Certificate,
    end: Box<dyn Fn() + Send + Sync>,
}

/// A connection's entry among those that are checked; removed when dropped.
pub(crate) struct Watched {
    tls: Arc<Tls>,
    number: u64,
}

/// A configuration to shake hands with.
pub(crate) struct Offer(Arc<Material>);

impl Tls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// A file that cannot be read or used, by the name of its setting.
    pub fn open(settings: Settings) -> Result<Arc<Self>, Error> {
        let material = Material::new(&settings, Contents::read(&settings)?)?;
        material.tell();
        Ok(Arc::new(Self { settings, current: RwLock::new(Arc::new(material)), held: Mutex::default() }))
    }

    /// What a new connection is offered.
    pub(crate) fn offer(&self) -> Offer {
        Offer(self.current())
    }

    /// Has a connection checked from now on; `end` ends it. `None` when its certificate does not hold any more: the
    /// files may have changed since the handshake began.
    pub(crate) fn watch(
        self: &Arc<Self>,
        offer: &Offer,
        chain: &[CertificateDer<'_>],
        certificate: &Certificate,
        end: impl Fn() + Send + Sync + 'static,
    ) -> Option<Watched> {
        let chain = chain.iter().map(|part| part.clone().into_owned()).collect();
        let client = Arc::new(Client { chain, certificate: certificate.clone(), end: Box::new(end) });
        let number = {
            let mut held = self.held();
            held.next += 1;
            let number = held.next;
            held.connections.insert(number, Arc::clone(&client));
            number
        };
        let watched = Watched { tls: Arc::clone(self), number };
        // first among those that are checked, then this check: whatever changes now, one of the two sees it
        let current = self.current();
        (Arc::ptr_eq(&current, &offer.0) || current.believes(&client)).then_some(watched)
    }

    /// Follows the files until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut due = tokio::time::interval(self.settings.reload);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut trouble = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = due.tick() => {}
            }
            let tls = Arc::clone(&self);
            // a panic of it is this task's
            let refreshed = tokio::task::spawn_blocking(move || tls.refresh()).await;
            match refreshed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
                Ok(true) => tracing::info!("the TLS files were read again"),
                Ok(false) => {}
                Err(error) => {
                    metrics::reload_failed();
                    let said = error.whole();
                    // once, not at every check
                    if trouble.as_ref() != Some(&said) {
                        tracing::error!(error = said, "the TLS files cannot be used; those before stay in force");
                    }
                    trouble = Some(said);
                    continue;
                }
            }
            trouble = None;
        }
    }

    /// Reads the files; when they changed, says so, and ends the connections that no longer hold.
    fn refresh(&self) -> Result<bool, Error> {
        let read = Contents::read(&self.settings);
        let changed = match read {
            Ok(contents) if contents == self.current().contents => Ok(false),
            Ok(contents) => Material::new(&self.settings, contents).map(|material| {
                material.tell();
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(material);
                true
            }),
            Err(error) => Err(error),
        };
        // time passes also while the files cannot be read
        self.end_others(matches!(changed, Ok(true)));
        changed
    }

    /// Ends connections whose certificate has expired, and when `all` are to be checked, those that are not believed.
    fn end_others(&self, all: bool) {
        let clients: Vec<_> = self.held().connections.values().cloned().collect();
        let (now, current) = (clock::now(), self.current());
        for client in clients {
            if now >= client.certificate.expires_at || (all && !current.believes(&client)) {
                metrics::connection_ended();
                (client.end)();
            }
        }
    }

    fn current(&self) -> Arc<Material> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offer {
    /// The settings of a handshake, by what is spoken after it.
    pub(crate) fn config(&self, speaks: Speaks) -> Arc<ServerConfig> {
        let [grpc, api] = &self.0.configs;
        Arc::clone(match speaks {
            Speaks::Http2 => grpc,
            Speaks::Http => api,
        })
    }
}

impl Material {
    /// Whether a client's certificate holds now.
    fn believes(&self, client: &Client) -> bool {
        let (Some(verifier), Some((own, others))) = (&self.clients, client.chain.split_first()) else { return false };
        verifier.verify_client_cert(own, others, UnixTime::now()).is_ok()
    }

    /// For who watches over the certificate.
    fn tell(&self) {
        metrics::certificate_expires_at(self.expires_at.parts().0);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tls.held().connections.remove(&self.number);
    }
}
