//! The gate before every service of ours: no request is decoded before its token is checked.

use auth::{Rejected, Shared, Verifier};
use proto::problem;
use std::sync::Arc;
use tonic::{Request, Status, service::Interceptor};

/// Checks the bearer token and leaves a `model::access::Principal` with the request.
#[derive(Clone)]
pub struct Gate {
    verifier: Arc<Verifier>,
    directory: Shared,
}

impl Gate {
    /// Believes `verifier`; what a principal may do is what the directory says at the time of the request.
    pub fn new(verifier: Arc<Verifier>, directory: Shared) -> Self {
        Self { verifier, directory }
    }
}

impl Interceptor for Gate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = problem::bearer(request.metadata());
        let token =
            token.ok_or_else(|| problem::unauthenticated("NO_TOKEN", "send a token as `authorization: Bearer ...`"))?;
        let (subject, expires_at) = self.verifier.verify(token).map_err(|rejected| match rejected {
            Rejected::Expired => problem::unauthenticated("TOKEN_EXPIRED", "the token has expired; get a new one"),
            Rejected::Invalid => problem::unauthenticated("INVALID_TOKEN", "the token is not valid here"),
        })?;
        let principal = self.directory.get().principal(subject, expires_at);
        request.extensions_mut().insert(principal);
        Ok(request)
    }
}
