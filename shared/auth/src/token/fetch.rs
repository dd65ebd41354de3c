//! One GET, as an issuer is asked: TLS unless it is on this machine, no redirect followed, a bounded body. Each on a connection
//! of its own: there are few, minutes apart.

use crate::Error;
use futures::future::join;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{net::IpAddr, path::Path, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Largest answer, in bytes: hundreds of keys.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// Largest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Why an issuer's keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the address must be https://..., or http://... on loopback, without user and fragment")]
    Address,
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    #[error("no HTTP")]
    Http(#[from] hyper::Error),
    #[error("it answers {0}; redirects are not followed")]
    Status(StatusCode),
    #[error("the answer ends early, or is larger than {MAX_BODY_BYTES} bytes")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An address that may be asked: nobody on the way can give another answer.
pub(super) fn address(text: &str) -> Result<Uri, Trouble> {
    let uri: Uri = text.parse().map_err(|_| Trouble::Address)?;
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@')) && !text.contains('#');
    let safe = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback(host(&uri)),
        _ => false,
    };
    if plain && safe { Ok(uri) } else { Err(Trouble::Address) }
}

/// Without the brackets of an IPv6 address.
fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An HTTP client that asks issuers for their keys, with limits of time and size.
pub(super) struct Http {
    tls: TlsConnector,
}

impl Http {
    /// Trusts the system's authorities, and those in a file.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        // what the system has and cannot be read is missing: whoever has such a certificate is then not believed
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca_file {
            let wrong = |cause: &dyn std::fmt::Display| Error::Key {
                name: path.display().to_string(),
                what: cause.to_string(),
            };
            let mut n_given = 0;
            for certificate in CertificateDer::pem_file_iter(path).map_err(|cause| wrong(&cause))? {
                let certificate = certificate.map_err(|cause| wrong(&cause))?;
                roots.add(certificate).map_err(|cause| wrong(&cause))?;
                n_given += 1;
            }
            if n_given == 0 {
                return Err(wrong(&"it holds no certificate"));
            }
        }
        // named rather than the process's default, so that a test or a tool need not install one first
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|cause| Error::Key { name: "TLS".to_owned(), what: cause.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// The body of a 200. Takes as long as the other side likes: the caller has a deadline.
    pub async fn get(&self, uri: &Uri) -> Result<Bytes, Trouble> {
        let host = host(uri);
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await.map_err(Trouble::Connect)?;
        if !secure {
            return exchange(stream, uri).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Trouble::Address)?;
        exchange(self.tls.connect(name, stream).await.map_err(Trouble::Connect)?, uri).await
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, uri: &Uri) -> Result<Bytes, Trouble> {
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, "wardline")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Trouble::Address)?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream)).await?;
    let answer = async move {
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(Trouble::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect().await.map_err(Trouble::Body)?;
        Ok(body.to_bytes())
    };
    // the connection ends when the answer is there: nobody can send any more
    let (answer, _) = join(answer, connection).await;
    answer
}
