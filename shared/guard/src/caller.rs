//! Who is at the other end of a connection.

use crate::connection_limit::counted;
use auth::Certificate;
use model::access::Principal;
use proto::problem;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tonic::Status;

/// Who is at the other end; with each request of the connection.
#[derive(Clone)]
pub struct Caller {
    certificate: Option<Arc<Certificate>>,
    address: IpAddr,
}

impl Caller {
    /// At an address, and not known any further.
    pub fn at(from: SocketAddr) -> Self {
        Self { certificate: None, address: counted(from.ip()) }
    }

    /// The same, with a certificate that an authority of the settings signed.
    pub fn with(self, certificate: Arc<Certificate>) -> Self {
        Self { certificate: Some(certificate), ..self }
    }

    /// The client's certificate, believed by an authority of the settings.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_deref()
    }

    /// Where it comes from, as addresses are counted here: of IPv6 the network of 64 bits, the rest is zero.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

/// Who sent a request, as the auth layer left it there.
pub fn principal(extensions: &tonic::Extensions) -> Result<&Principal, Status> {
    let missing = || problem::unauthenticated("NO_TOKEN", "send a token as `authorization: Bearer ...`");
    extensions.get::<Principal>().ok_or_else(missing)
}
