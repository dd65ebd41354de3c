//! The PEM files behind the settings, and what is served with.

use super::{Error, Settings};
use auth::Certificate;
use model::Nanos;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use std::{fs, path::Path, sync::Arc};

/// Larger files are none of ours; in bytes. The list of a large authority may well have 1 MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What is in the files.
#[derive(PartialEq)]
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    crls: Vec<Vec<u8>>,
}

impl Contents {
    /// Reads all of them.
    pub(super) fn read(settings: &Settings) -> Result<Self, Error> {
        let client_ca = settings.client_ca_file.as_deref().map(|ca| read("tls.client_ca_file", ca)).transpose()?;
        Ok(Self {
            cert: read("tls.cert_file", &settings.cert_file)?,
            key: read("tls.key_file", &settings.key_file)?,
            client_ca,
            crls: settings.crl_files.iter().map(|path| read("tls.crl_files", path)).collect::<Result<_, _>>()?,
        })
    }
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let name = format!("{setting} {}", path.display());
    let size = fs::metadata(path).map_err(Error::of(&name))?.len();
    if size > FILE_BYTES_MAX {
        return Err(Error::new(format!("{name}: {size} bytes are no PEM file")));
    }
    fs::read(path).map_err(Error::of(&name))
}

/// What is served with.
pub(super) struct Material {
    /// What it was made of.
    pub(super) contents: Contents,
    /// For handshakes of gRPC, and of the JSON API.
    pub(super) configs: [Arc<ServerConfig>; 2],
    /// Who decides about client certificates.
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
    /// When the server's own certificate ends.
    pub(super) expires_at: Nanos,
}

impl Material {
    /// Checks that the files can be used, and go together.
    pub(super) fn new(settings: &Settings, contents: Contents) -> Result<Self, Error> {
        // named rather than the process's default, so that a test or a tool need not install one first
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = clients(settings, &contents, &provider)?;
        let chain = certificates(&contents.cert).map_err(Error::of("tls.cert_file"))?;
        let own = chain.first().ok_or_else(|| Error::new("tls.cert_file: no certificate in it"))?;
        let expires_at = Certificate::read(own).map_err(Error::of("tls.cert_file"))?.expires_at;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(Error::of("tls.key_file"))?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(Error::of("tls"))?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(Error::of("tls.cert_file and tls.key_file"))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // a resumed session would bring back a certificate that may have been revoked since
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let mut api = config.clone();
        api.alpn_protocols.push(b"http/1.1".to_vec());
        Ok(Self { contents, configs: [config, api].map(Arc::new), clients, expires_at })
    }
}

fn clients(
    settings: &Settings,
    contents: &Contents,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
    let Some(client_ca) = &contents.client_ca else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(client_ca).map_err(Error::of("tls.client_ca_file"))? {
        roots.add(certificate).map_err(Error::of("tls.client_ca_file"))?;
    }
    let mut crls = Vec::new();
    for (path, text) in settings.crl_files.iter().zip(&contents.crls) {
        let name = || format!("tls.crl_files {}", path.display());
        let lists = CertificateRevocationListDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
        let lists = lists.map_err(Error::of(&name()))?;
        // an empty file must not mean that nothing is revoked
        if lists.is_empty() {
            return Err(Error::new(format!("{}: no revocation list in it", name())));
        }
        crls.extend(lists);
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).with_crls(crls);
    let builder = if settings.client_auth_required { builder } else { builder.allow_unauthenticated() };
    Ok(Some(builder.build().map_err(Error::of("tls.client_ca_file and tls.crl_files"))?))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}
