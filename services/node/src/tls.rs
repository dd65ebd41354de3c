//! TLS of the gRPC port and the JSON API: the server's certificate, whose client certificates are believed, and their
//! exchange while connections are open.
//!
//! What it promises: a handshake sees the files as they were at most `tls.reload_seconds` ago; files that cannot be used
//! change nothing; a connection whose client certificate no longer holds (revoked, expired, its authority gone) ends.
//! No session is resumed: each connection proves anew that it has the key of a certificate that holds.

mod files;
mod settings;

use crate::{config, metrics};
use auth::Certificate;
use files::{Contents, Material};
use guard::clock;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What is spoken behind a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/2 alone, for gRPC.
    Http2,
    /// HTTP/1.1 or HTTP/2, as the client likes.
    Http,
}

impl Speaks {
    /// The first bytes that a client must have sent in time: until they are there, nothing behind the listener looks at the clock.
    pub(crate) fn first_bytes(self) -> usize {
        match self {
            // the preface (RFC 9113, 3.4)
            Self::Http2 => 24,
            Self::Http => 1,
        }
    }
}

/// What is served with now, and the connections that must be looked at when it changes.
pub(crate) struct Tls {
    settings: config::Tls,
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

/// A connection's place among those that are looked at; given up when dropped.
pub(crate) struct Watched {
    tls: Arc<Tls>,
    number: u64,
}

/// A configuration to shake hands with.
pub(crate) struct Offer(Arc<Material>);

impl Tls {
    /// Reads the files for the first time; `None` when the settings say plaintext.
    pub(crate) fn open(settings: &config::Tls) -> anyhow::Result<Option<Arc<Self>>> {
        if !settings.is_on() {
            return Ok(None);
        }
        let material = Material::new(settings, Contents::read(settings)?)?;
        material.tell();
        Ok(Some(Arc::new(Self {
            settings: settings.clone(),
            current: RwLock::new(Arc::new(material)),
            held: Mutex::default(),
        })))
    }

    /// What a new connection is offered.
    pub(crate) fn offer(&self) -> Offer {
        Offer(self.current())
    }

    /// Has a connection looked at from now on; `end` ends it. `None` when its certificate does not hold any more: the
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
        // first among those that are looked at, then this look: whatever changes now, one of the two sees it
        let current = self.current();
        (Arc::ptr_eq(&current, &offer.0) || current.believes(&client)).then_some(watched)
    }

    /// Follows the files until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut due = tokio::time::interval(Duration::from_secs(self.settings.reload_seconds));
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut trouble = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = due.tick() => {}
            }
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || tls.refresh()).await? {
                Ok(true) => tracing::info!("the TLS files were read again"),
                Ok(false) => {}
                Err(error) => {
                    metrics::reload_failed();
                    let said = format!("{error:#}");
                    // once, not at every look
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
    fn refresh(&self) -> anyhow::Result<bool> {
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

    /// Ends connections whose certificate has expired, and when `all` is to be looked at, those that are not believed.
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
