//! The auth layer before every service of ours: no request is decoded, and no body read, before it is known who asks, whether a
//! permission allows it at all, and that there is room for it ([`Bounds`]).
//!
//! A token signed with a known key is checked at once. One that names a key which its issuer may have by now waits until the
//! issuer was asked, a few seconds at most; one of somebody who is not known, or may do nothing, and that is newer than what is
//! known here of the registry waits until that is known, too. Where people are shown something, a token's first use is in the audit log before
//! the answer, and so is what was refused.

mod early;
mod logins;
mod news;
mod refusals;

pub use early::Named;
pub use logins::Logins;

use crate::{
    Caller,
    bounds::{Bounded, Bounds},
    quotas::{Quotas, Who},
    token,
};
use auth::{Certificate, Holder, Rejected, Verifier, count_refused};
use directory::LiveDirectory;
use futures::future::{BoxFuture, FutureExt, ready};
use model::access::{Identity, Purpose, Subject};
use news::News;
use proto::problem;
use std::{
    convert::Infallible,
    mem,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    metadata::MetadataMap,
    server::NamedService,
};

/// Checks the bearer token and the connection's client certificate, and leaves a `model::access::Principal` with the request.
#[derive(Clone)]
pub struct AuthLayer {
    verifier: Arc<Verifier>,
    directory: LiveDirectory,
    logins: Option<Logins>,
    quotas: Option<Quotas>,
    bounds: Bounds,
    news: Option<News>,
}

impl AuthLayer {
    /// Believes `verifier`; what a principal may do is what the directory says at the time of the request.
    pub fn new(verifier: Arc<Verifier>, directory: LiveDirectory, bounds: Bounds) -> Self {
        Self { verifier, directory, logins: None, quotas: None, bounds, news: None }
    }

    /// The directory by which permissions are decided.
    pub fn directory(&self) -> &LiveDirectory {
        &self.directory
    }

    /// Puts itself before a service.
    pub fn before<S>(&self, service: S) -> Authenticated<S> {
        Authenticated { service: Bounded::new(service, self.bounds.clone()), auth: self.clone() }
    }

    /// The same, and who comes in or is refused is written down.
    pub fn watched(mut self, logins: Logins) -> Self {
        self.logins = Some(logins);
        self
    }

    /// The same, and nobody may call more often than this.
    pub fn limited(mut self, quotas: Quotas) -> Self {
        self.quotas = Some(quotas);
        self
    }

    /// The same, and who was entered on another node a moment ago is found: `registry` is read once more before such a one is
    /// refused.
    pub fn following(mut self, registry: Arc<dyn store::Registry>) -> Self {
        self.news = Some(News::new(self.directory.clone(), registry));
        self
    }

    /// Whom a token's request is from, when its connection's certificate agrees.
    fn settle(&self, request: &http::Request<Body>, named: Result<Identity, Rejected>) -> Result<Identity, Status> {
        let named = named.map_err(refusals::token)?;
        match device(request)? {
            Some(device) => on_connection_of(&device, named),
            None => Ok(named),
        }
    }

    /// The same for a request without a token: the device that the connection's certificate names.
    fn certified(&self, request: &http::Request<Body>) -> Result<Identity, Status> {
        match device(request)? {
            // something else was sent for a token: not to be taken for nothing
            Some(device) if !request.headers().contains_key(http::header::AUTHORIZATION) => Ok(device),
            _ => {
                count_refused("no_token");
                Err(refusals::no_token())
            }
        }
    }

    /// Whether somebody is refused who may have been entered since the registry was read.
    fn lacks_news(&self, outcome: &Result<Identity, Status>) -> bool {
        matches!((&self.news, outcome), (Some(news), Ok(identity)) if news.may_change(identity))
    }

    /// Whether something is to be written down before the request goes on.
    fn writes_down(&self, token: Option<&str>, outcome: &Result<Identity, Status>) -> bool {
        let Some(logins) = &self.logins else { return false };
        match (outcome, token) {
            (Err(_), _) => true,
            (Ok(_), Some(token)) => !logins.knows(token),
            (Ok(identity), None) => !logins.knows(&certificate_of(identity)),
        }
    }

    /// Counts a request against what its caller may ask for.
    fn count(&self, request: &http::Request<Body>, identity: &Identity) -> Result<(), Status> {
        let Some(quotas) = &self.quotas else { return Ok(()) };
        quotas.take(request.uri().path(), Who::Caller(identity.subject))
    }

    /// The same as [`Self::admit`], for somebody who may not be known yet: once the registry was read.
    async fn admit_with_news(
        &self,
        request: &mut http::Request<Body>,
        outcome: Result<Identity, Status>,
    ) -> Result<Identity, Status> {
        let lacks_news = self.lacks_news(&outcome);
        let identity = outcome?;
        self.count(request, &identity)?;
        if let (true, Some(news)) = (lacks_news, &self.news) {
            news.known().await?;
        }
        self.admit(request, &identity)?;
        Ok(identity)
    }

    /// Leaves the principal with a request, as the directory knows it now.
    fn admit(&self, request: &mut http::Request<Body>, identity: &Identity) -> Result<(), Status> {
        let principal = self.directory.get().principal(identity, purpose(request.headers())?);
        request.extensions_mut().insert(principal);
        Ok(())
    }
}

/// A service behind the auth layer.
#[derive(Clone)]
pub struct Authenticated<S> {
    service: Bounded<S>,
    auth: AuthLayer,
}

impl<S: NamedService> NamedService for Authenticated<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = Result<http::Response<Body>, Infallible>;

impl<S> Service<http::Request<Body>> for Authenticated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + NamedService
        + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let metadata = MetadataMap::from_headers(mem::take(request.headers_mut()));
        let token = token::token(&metadata, request.uri().path());
        *request.headers_mut() = metadata.into_headers();
        let settled = match &token {
            Some(token) => self.auth.verifier.verify_now(token).map(|identity| self.auth.settle(&request, identity)),
            None => Some(self.auth.certified(&request)),
        };
        // mostly there is nothing to wait for
        let outcome = match settled {
            Some(outcome) if !self.auth.writes_down(token.as_deref(), &outcome) && !self.auth.lacks_news(&outcome) => {
                outcome
            }
            settled => return self.after_waiting(request, token, settled).boxed(),
        };
        let admitted = outcome.and_then(|identity| {
            self.auth.count(&request, &identity)?;
            self.auth.admit(&mut request, &identity)
        });
        if let Err(status) = admitted {
            return ready(Ok(status.into_http())).boxed();
        }
        match self.auth.refused_early(&request) {
            None => self.service.call(request),
            Some(refused) => refused.answered(self.auth.logins.clone()).map(|status| Ok(status.into_http())).boxed(),
        }
    }
}

impl<S> Authenticated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + NamedService
        + 'static,
    S::Future: Send + 'static,
{
    /// Asks the token's issuer, or writes down who came or was refused, and then goes on.
    fn after_waiting(
        &mut self,
        mut request: http::Request<Body>,
        token: Option<String>,
        settled: Option<Result<Identity, Status>>,
    ) -> impl Future<Output = Answer> + use<S> {
        // the one that is ready is the one to call
        let fresh = self.service.clone();
        let mut service = mem::replace(&mut self.service, fresh);
        let auth = self.auth.clone();
        async move {
            let outcome = match (settled, &token) {
                (Some(outcome), _) => outcome,
                (None, Some(token)) => {
                    let identity = auth.verifier.verify(token).await;
                    auth.settle(&request, identity)
                }
                (None, None) => auth.certified(&request),
            };
            let outcome = auth.admit_with_news(&mut request, outcome).await;
            if let Some(logins) = &auth.logins {
                match &outcome {
                    Ok(identity) => {
                        let credential = token.unwrap_or_else(|| certificate_of(identity));
                        if let Err(status) = logins.came(&credential, identity, S::NAME).await {
                            return Ok(status.into_http());
                        }
                    }
                    Err(status) => logins.refused(status, S::NAME).await,
                }
            }
            if let Err(status) = outcome {
                return Ok(status.into_http());
            }
            match auth.refused_early(&request) {
                None => service.call(request).await,
                Some(refused) => Ok(refused.answered(auth.logins.clone()).await.into_http()),
            }
        }
    }
}

/// What a login by certificate goes by.
fn certificate_of(identity: &Identity) -> String {
    format!("{:?} {:?}", identity.subject, identity.issued_at)
}

/// The device that the connection's certificate names, if it names one.
fn device(request: &http::Request<Body>) -> Result<Option<Identity>, Status> {
    let certificate = request.extensions().get::<Caller>().and_then(Caller::certificate);
    if certificate.is_some_and(|certificate| certificate.holder == Holder::Unclear) {
        return Err(refusals::unclear_certificate());
    }
    Ok(certificate.and_then(Certificate::identity))
}

/// A device's token counts only on a connection with that device's certificate, or with none that names a device.
fn on_connection_of(device: &Identity, named: Identity) -> Result<Identity, Status> {
    match named.subject {
        Subject::Device(_) if device.subject != named.subject => Err(refusals::other_device()),
        Subject::Device(_) => Ok(Identity { expires_at: named.expires_at.min(device.expires_at), ..named }),
        Subject::User(_) => Ok(named),
    }
}

/// What a request says it is for; nothing: what its relation to the patient is usually for.
const PURPOSE: &str = "purpose-of-use";

fn purpose(headers: &http::HeaderMap) -> Result<Option<Purpose>, Status> {
    let Some(code) = headers.get(PURPOSE) else { return Ok(None) };
    match code.to_str().ok().and_then(Purpose::from_code) {
        Some(purpose) => Ok(Some(purpose)),
        None => {
            let known: Vec<_> = Purpose::ALL.iter().map(|purpose| purpose.code()).collect();
            Err(problem::invalid("UNKNOWN_PURPOSE", PURPOSE, format!("must be one of {}", known.join(", "))))
        }
    }
}
