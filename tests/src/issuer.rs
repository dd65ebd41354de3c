//! An issuer of our own: its discovery document and its keys on loopback, keys that change, and whatever a broken or hostile
//! issuer would answer instead.

use anyhow::Context;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, StatusCode, Uri, header::LOCATION},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

/// Whom its tokens are for.
pub const AUDIENCE: &str = "wardline";
const DOCUMENT: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";
/// What is answered well, whatever else is asked for; where a redirect leads.
const ELSEWHERE: &str = "/elsewhere";

/// What one of its addresses answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The right keys.
    Good,
    /// This status, with what it should.
    Status(u16),
    /// This text, with 200.
    Text(String),
    /// What it should, at another address.
    Redirect,
    /// What it should, after more than any issuer has to say.
    Huge,
    /// Nothing, for a minute.
    Slow,
}

/// A token issuer that serves its keys, as the test says.
pub struct TestIssuer {
    address: SocketAddr,
    state: Arc<Mutex<Inner>>,
    serving: JoinHandle<()>,
}

struct Inner {
    name: String,
    /// The last one signs.
    keys: Vec<(String, Ed25519KeyPair)>,
    document: Answer,
    published: Answer,
    n_documents: usize,
    n_published: usize,
}

impl TestIssuer {
    /// Starts one with one key.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(Inner {
            name: format!("http://{address}"),
            keys: Vec::new(),
            document: Answer::Good,
            published: Answer::Good,
            n_documents: 0,
            n_published: 0,
        }));
        let issuer = Self { address, serving: serve(listener, Arc::clone(&state)), state };
        issuer.rotate()?;
        Ok(issuer)
    }

    /// `iss` of its tokens.
    pub fn name(&self) -> String {
        self.inner().name.clone()
    }

    /// A table of `auth.issuers` that believes it, for everybody.
    pub fn setting(&self) -> String {
        let name = self.name();
        format!(
            "{{name = \"{name}\", audience = \"{AUDIENCE}\", algorithm = \"EdDSA\", discovery = true, subjects = [\"user\", \"device\"]}}"
        )
    }

    /// From now on a new key signs; the old ones are published as before.
    pub fn rotate(&self) -> anyhow::Result<()> {
        self.add(Uuid::new_v4().to_string())
    }

    /// From now on another key signs, under the id of the one before.
    pub fn replace(&self) -> anyhow::Result<()> {
        let last = self.inner().keys.pop().context("it has a key")?;
        self.add(last.0)
    }

    fn add(&self, kid: String) -> anyhow::Result<()> {
        let pair = Ed25519KeyPair::generate().map_err(|_| anyhow::anyhow!("no key"))?;
        self.inner().keys.push((kid, pair));
        Ok(())
    }

    /// Takes back all keys but the one that signs.
    pub fn withdraw(&self) {
        let mut inner = self.inner();
        let n_old = inner.keys.len() - 1;
        inner.keys.drain(..n_old);
    }

    /// What its discovery document is from now on.
    pub fn answer_document(&self, answer: Answer) {
        self.inner().document = answer;
    }

    /// What its key set is from now on.
    pub fn answer_keys(&self, answer: Answer) {
        self.inner().published = answer;
    }

    /// How often its document and its keys were asked for.
    pub fn hits(&self) -> (usize, usize) {
        let inner = self.inner();
        (inner.n_documents, inner.n_published)
    }

    /// Nobody listens any more.
    pub async fn down(&mut self) {
        self.serving.abort();
        // an abort is done when the task has ended, and its socket with it
        let _ = (&mut self.serving).await;
    }

    /// It listens again, where it did.
    pub async fn up(&mut self) -> anyhow::Result<()> {
        self.serving = serve(TcpListener::bind(self.address).await?, Arc::clone(&self.state));
        Ok(())
    }

    /// A good token, for five minutes.
    pub fn token(&self, sub: &str) -> String {
        self.token_with(|_, claims| claims["sub"] = json!(sub))
    }

    /// A token whose head and claims are changed before it is signed.
    pub fn token_with(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let inner = self.inner();
        let now = guard::clock::now().0 / model::Nanos::SECOND;
        let (kid, pair) = &inner.keys[inner.keys.len() - 1];
        let mut head = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid});
        let mut claims = json!({"iss": inner.name, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300});
        change(&mut head, &mut claims);
        let text = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn serve(listener: TcpListener, state: Arc<Mutex<Inner>>) -> JoinHandle<()> {
    let router = Router::new().fallback(answer).with_state(state);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "the issuer of the tests ended");
        }
    })
}

async fn answer(State(state): State<Arc<Mutex<Inner>>>, uri: Uri) -> Response<Body> {
    let (good, answer) = {
        let mut inner = state.lock().unwrap_or_else(PoisonError::into_inner);
        let document = json!({"issuer": inner.name, "jwks_uri": format!("{}{KEYS}", inner.name)}).to_string();
        let published = json!({"keys": inner.keys.iter().map(jwk).collect::<Vec<_>>()}).to_string();
        match uri.path() {
            DOCUMENT => {
                inner.n_documents += 1;
                (document, inner.document.clone())
            }
            KEYS => {
                inner.n_published += 1;
                (published, inner.published.clone())
            }
            path if path.starts_with(ELSEWHERE) && path.ends_with(KEYS) => (published, Answer::Good),
            _ => (document, Answer::Good),
        }
    };
    let mut response = Response::new(Body::empty());
    match answer {
        Answer::Good => *response.body_mut() = good.into(),
        Answer::Text(text) => *response.body_mut() = text.into(),
        Answer::Huge => *response.body_mut() = format!("{}{good}", " ".repeat(512 * 1024)).into(),
        Answer::Status(code) => {
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            *response.body_mut() = good.into();
        }
        Answer::Redirect => {
            *response.status_mut() = StatusCode::FOUND;
            if let Ok(place) = format!("{ELSEWHERE}{}", uri.path()).parse() {
                response.headers_mut().insert(LOCATION, place);
            }
        }
        Answer::Slow => tokio::time::sleep(Duration::from_secs(60)).await,
    }
    response
}

fn jwk((kid, pair): &(String, Ed25519KeyPair)) -> Value {
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    json!({"kid": kid, "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "x": x})
}
