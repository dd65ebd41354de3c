//! The gate before every service of ours: no request is decoded before its token is checked.

use auth::{Rejected, Shared, Verifier};
use model::access::Purpose;
use proto::problem;
use std::sync::Arc;
use tonic::{Request, Status, metadata::MetadataMap, service::Interceptor};

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

    /// What it goes by.
    pub fn directory(&self) -> &Shared {
        &self.directory
    }
}

impl Interceptor for Gate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = problem::bearer(request.metadata());
        let token =
            token.ok_or_else(|| problem::unauthenticated("NO_TOKEN", "send a token as `authorization: Bearer ...`"))?;
        let identity = self.verifier.verify(token).map_err(|rejected| match rejected {
            Rejected::Expired => problem::unauthenticated("TOKEN_EXPIRED", "the token has expired; get a new one"),
            Rejected::Invalid => problem::unauthenticated("INVALID_TOKEN", "the token is not valid here"),
        })?;
        let purpose = purpose(request.metadata())?;
        let principal = self.directory.get().principal(&identity, purpose);
        request.extensions_mut().insert(principal);
        Ok(request)
    }
}

/// What a request says it is for; nothing: what its relation to the patient is usually for.
const PURPOSE: &str = "purpose-of-use";

fn purpose(metadata: &MetadataMap) -> Result<Option<Purpose>, Status> {
    let Some(code) = metadata.get(PURPOSE) else { return Ok(None) };
    match code.to_str().ok().and_then(Purpose::from_code) {
        Some(purpose) => Ok(Some(purpose)),
        None => {
            let known: Vec<_> = Purpose::ALL.iter().map(|purpose| purpose.code()).collect();
            Err(problem::invalid("UNKNOWN_PURPOSE", PURPOSE, format!("must be one of {}", known.join(", "))))
        }
    }
}
