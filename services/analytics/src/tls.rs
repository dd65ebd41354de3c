//! TLS to those whom analytics asks: the system's authorities, and those of a file.

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{path::Path, sync::Arc};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("ca_file cannot be used")]
    Authorities(#[source] rustls::pki_types::pem::Error),
    #[error("ca_file has no certificate that can be used")]
    Unfit,
    #[error("no TLS")]
    Tls(#[from] rustls::Error),
}

/// Trusts the system's authorities, and those of a PEM file, which is read now.
pub(crate) fn client(ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    // what the system has and cannot be read is missing: whoever has such a certificate is then not believed
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let given: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let (n_added, n_unfit) = roots.add_parsable_certificates(given.map_err(Error::Authorities)?);
        if n_added == 0 || n_unfit > 0 {
            return Err(Error::Unfit);
        }
    }
    // named rather than the process's default, so that a test or a tool need not install one first
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
