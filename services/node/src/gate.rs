//! The gate before every service of ours: no request is decoded before it is known who asks.

use crate::accept::Caller;
use auth::{Certificate, Holder, Identity, Rejected, Shared, Verifier};
use model::access::{Purpose, Subject};
use proto::problem;
use std::sync::Arc;
use tonic::{Request, Status, metadata::MetadataMap, service::Interceptor};

/// Checks the bearer token and the connection's client certificate, and leaves a `model::access::Principal` with the request.
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

    /// Who asks. Without a token, the device that the certificate names; a device's token counts only on a connection with
    /// that device's certificate, or with none that names a device.
    fn identity(&self, metadata: &MetadataMap, certificate: Option<&Certificate>) -> Result<Identity, Status> {
        if certificate.is_some_and(|certificate| certificate.holder == Holder::Unclear) {
            return Err(problem::unauthenticated(
                "INVALID_CERTIFICATE",
                "the client certificate must have exactly one name like URI:urn:wardline:device:UUID, in lower case",
            ));
        }
        let device = certificate.and_then(Certificate::identity);
        if let Some(device) = &device
            && !metadata.contains_key("authorization")
        {
            return Ok(device.clone());
        }
        let named = self.bearer(metadata)?;
        match (named.subject, device) {
            (Subject::Device(_), Some(device)) if device.subject != named.subject => Err(problem::unauthenticated(
                "OTHER_DEVICE",
                "the token is of another device than the client certificate; send each device's token on its own connection",
            )),
            (Subject::Device(_), Some(device)) => {
                Ok(Identity { expires_at: named.expires_at.min(device.expires_at), ..named })
            }
            _ => Ok(named),
        }
    }

    fn bearer(&self, metadata: &MetadataMap) -> Result<Identity, Status> {
        let token = problem::bearer(metadata)
            .ok_or_else(|| problem::unauthenticated("NO_TOKEN", "send a token as `authorization: Bearer ...`"))?;
        self.verifier.verify(token).map_err(|rejected| match rejected {
            Rejected::Expired => problem::unauthenticated("TOKEN_EXPIRED", "the token has expired; get a new one"),
            Rejected::Invalid => problem::unauthenticated("INVALID_TOKEN", "the token is not valid here"),
        })
    }

    /// What it goes by.
    pub fn directory(&self) -> &Shared {
        &self.directory
    }
}

impl Interceptor for Gate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let certificate = request.extensions().get::<Caller>().and_then(Caller::certificate);
        let identity = self.identity(request.metadata(), certificate)?;
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
