//! The keys that an issuer publishes: found by OIDC discovery, kept, and asked for again.
//!
//! They are asked for every few minutes, and besides when a token names a key that is not known, as seldom as [`Pace`] says. An
//! issuer that does not answer keeps the keys it had; one that never answered has none, and its tokens are refused as
//! [`super::Rejected::IssuerUnavailable`]. An answer replaces all keys: what an issuer withdraws is not believed any more.

use super::{
    fetch::{self, Http},
    keys::{self, Algorithm, Set},
};
use crate::Error;
use hyper::Uri;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

/// Where the document lies, below the issuer's name (OpenID Connect Discovery 1.0, section 4).
const WELL_KNOWN: &str = ".well-known/openid-configuration";
/// How long an issuer may take for both answers.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// How long somebody waits for an answer that is under way: no longer than it may take.
const WAIT_LIMIT: Duration = Duration::from_secs(6);
/// After a failure it is tried again: first after so long, then after twice as long each time ...
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// ... up to this.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// How an issuer's keys are found.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// The address of the discovery document; `None`: below the issuer's name.
    pub url: Option<String>,
    /// An authority (PEM) that is trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How often the issuer is asked for its keys.
    pub pace: Pace,
}

/// How often an issuer is asked for its keys.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time between two fetches while the keys are known.
    pub every: Duration,
    /// At most, for keys that are not known: anybody can make tokens that name such keys.
    pub unknown_every: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: Duration::from_secs(300), unknown_every: Duration::from_secs(30) }
    }
}

/// An issuer's published keys, and when to ask for them again.
pub(super) struct Source {
    issuer: String,
    algorithm: Algorithm,
    url: Uri,
    http: Http,
    pace: Pace,
    keys: RwLock<Arc<Set>>,
    state: watch::Sender<State>,
    /// When it was last asked for a key that is not known.
    asked: Mutex<Option<Instant>>,
    wake: Notify,
}

#[derive(Clone, Copy)]
struct State {
    /// An answer is under way, or will be at once.
    fetching: bool,
    /// The last answer was none, or there was none yet.
    failing: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Fetch(#[from] fetch::Trouble),
    #[error("the {0} is not what it should be")]
    Json(&'static str, #[source] serde_json::Error),
    #[error("the document is that of another issuer")]
    OtherIssuer,
    #[error("no answer within {FETCH_LIMIT:?}")]
    TooSlow,
}

impl Discovery {
    /// Whether an issuer of that name can be asked; nobody is asked yet.
    pub fn check(&self, issuer: &str) -> Result<(), Error> {
        self.address(issuer).map(drop)
    }

    fn address(&self, issuer: &str) -> Result<Uri, Error> {
        let below = || format!("{}/{WELL_KNOWN}", issuer.trim_end_matches('/'));
        let url = self.url.clone().unwrap_or_else(below);
        fetch::address(&url)
            .map_err(|trouble| Error::Key { name: format!("of issuer {issuer}"), what: format!("{url}: {trouble}") })
    }
}

impl Source {
    pub fn new(issuer: &str, algorithm: Algorithm, discovery: &Discovery) -> Result<Self, Error> {
        let url = discovery.address(issuer)?;
        let http = Http::new(discovery.ca_file.as_deref())?;
        Ok(Self {
            issuer: issuer.to_owned(),
            algorithm,
            url,
            http,
            pace: discovery.pace,
            keys: RwLock::default(),
            // whoever asks before the first answer waits for it
            state: watch::Sender::new(State { fetching: true, failing: true }),
            asked: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// The key with this `kid`; `None`: it was not published when last asked.
    pub fn key(&self, kid: &str) -> Option<Arc<DecodingKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(kid).cloned()
    }

    /// Whether the issuer did not answer when it was last asked.
    pub fn is_failing(&self) -> bool {
        self.state.borrow().failing
    }

    /// Whether [`Source::ask`] would ask the issuer now, and not refuse because it was asked too lately.
    pub fn may_be_asked(&self) -> bool {
        self.state.borrow().fetching || self.is_due(*self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_due(&self, asked: Option<Instant>) -> bool {
        asked.is_none_or(|at| at.elapsed() >= self.pace.unknown_every)
    }

    /// Asks for a key that is not known, or joins who has asked already; what is returned waits for the answer. `None`: it was
    /// asked too short a time ago.
    pub fn ask(&self) -> Option<impl Future<Output = ()> + use<>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.state.borrow().fetching {
            if !self.is_due(*asked) {
                return None;
            }
            *asked = Some(Instant::now());
            self.state.send_modify(|state| state.fetching = true);
            self.wake.notify_one();
        }
        let mut state = self.state.subscribe();
        Some(async move {
            // when it takes too long, the keys at hand have to do
            let _ = timeout(WAIT_LIMIT, state.wait_for(|state| !state.fetching)).await;
        })
    }

    /// Asks again and again. Never ends.
    pub async fn follow(&self) {
        let mut retry = FIRST_RETRY;
        loop {
            self.state.send_modify(|state| state.fetching = true);
            let outcome = timeout(FETCH_LIMIT, self.fetch()).await.unwrap_or(Err(Trouble::TooSlow));
            let failing = outcome.is_err();
            self.settle(outcome);
            let pause = if failing { retry.min(self.pace.every) } else { self.pace.every };
            retry = if failing { (retry * 2).min(LAST_RETRY) } else { FIRST_RETRY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wake.notified() => {}
            }
        }
    }

    fn settle(&self, outcome: Result<Set, Trouble>) {
        let was_failing = self.is_failing();
        let failing = outcome.is_err();
        crate::metrics::keys_fetched(failing);
        match outcome {
            Ok(keys) => {
                if was_failing || keys.is_empty() {
                    tracing::info!(issuer = self.issuer, n_keys = keys.len(), "the issuer's keys are there");
                }
                if keys.is_empty() {
                    tracing::warn!(issuer = self.issuer, "no published key fits the algorithm: its tokens are refused");
                }
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(trouble) => {
                let error = &trouble as &dyn std::error::Error;
                tracing::warn!(issuer = self.issuer, error, "the issuer gave no keys; those at hand stay");
            }
        }
        self.state.send_replace(State { fetching: false, failing });
    }

    async fn fetch(&self) -> Result<Set, Trouble> {
        let text = self.http.get(&self.url).await?;
        let document: Document =
            serde_json::from_slice(&text).map_err(|cause| Trouble::Json("discovery document", cause))?;
        if document.issuer != self.issuer {
            return Err(Trouble::OtherIssuer);
        }
        let set = self.http.get(&fetch::address(&document.jwks_uri)?).await?;
        keys::from_jwks(&set, self.algorithm).map_err(|cause| Trouble::Json("key set", cause))
    }
}
