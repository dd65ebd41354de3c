//! What a device gets when it claims: tokens signed with a key of this installation, and certificates of an authority that
//! was given to it.

use crate::{
    Error, Issuer, SubjectKind,
    certificate::{after_uri, device_uri},
    issuing::{failed, uri, wanted_for_device},
    signer::{self, Signer},
};
use model::{DeviceId, Nanos};
use rcgen::{CertificateParams, CertificateSigningRequestParams, KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use std::{fs, path::Path};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// What the public half of an Ed25519 key begins with in DER (RFC 8410, 4).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Issues the tokens that devices get when they claim or refresh.
pub struct DeviceIssuer {
    signer: Signer,
    seconds: i64,
}

impl DeviceIssuer {
    /// Signs as the issuer `name` with the Ed25519 key in a PEM file (PKCS#8); tokens are good for `minutes`.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Key`] when it is no such key.
    pub fn open(name: &str, path: &Path, minutes: u16) -> Result<Self, Error> {
        let what = "not an Ed25519 key in PEM (openssl genpkey -algorithm ed25519)".to_owned();
        let unusable = || Error::Key { name: path.display().to_string(), what };
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(&read(path)?);
        let signer = pkcs8.ok().and_then(|pkcs8| Signer::new(name, pkcs8.secret_pkcs8_der()));
        signer.map(|signer| Self::signing_with(signer, minutes)).ok_or_else(unusable)
    }

    pub(crate) fn signing_with(signer: Signer, minutes: u16) -> Self {
        Self { signer, seconds: i64::from(minutes) * 60 }
    }

    /// What a verifier must know: the key that signs, and others (PEM files of their public halves) whose tokens count, too.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Key`] when one is no public Ed25519 key.
    pub fn issuer(signing: Option<&Self>, name: &str, public_keys: &[impl AsRef<Path>]) -> Result<Issuer, Error> {
        let mut issuer = signing.map_or_else(|| signer::issuer(name), |one| one.signer.issuer());
        for path in public_keys.iter().map(AsRef::as_ref) {
            let what = "not the public half of an Ed25519 key in PEM (openssl pkey -pubout)".to_owned();
            let unusable = || Error::Key { name: path.display().to_string(), what };
            let spki = SubjectPublicKeyInfoDer::from_pem_slice(&read(path)?).ok();
            let key = spki.as_deref().and_then(|spki| spki.strip_prefix(&ED25519_SPKI)).filter(|key| key.len() == 32);
            let key = key.ok_or_else(unusable)?;
            issuer = issuer.with_ed25519(&signer::kid(key), key);
        }
        Ok(issuer.speaking_for(&[SubjectKind::Device], None))
    }

    /// A device's token, and when it ends. It counts as issued after `after` also where the clock is not there yet.
    pub fn token(&self, device: DeviceId, after: Nanos) -> Result<(String, Nanos), Error> {
        let ends = Nanos((signer::now().0 / Nanos::SECOND + self.seconds) * Nanos::SECOND);
        let token = self.signer.sign_after(&format!("device:{}", device.uuid()), self.seconds, None, after)?;
        Ok((token, ends))
    }
}

/// A key, and the request for its certificate, both PEM.
pub struct Requested {
    /// The signing request (PKCS#10), in PEM.
    pub request: String,
    /// Its private key, PKCS#8 in PEM.
    pub key: String,
}

/// The certificate authority that issues the devices' certificates.
pub struct DeviceCa {
    issuer: rcgen::Issuer<'static, KeyPair>,
    /// What goes with each certificate, where the authority is not itself the one that is believed.
    chain: String,
}

impl DeviceCa {
    /// An authority from PEM files: its certificate (and those above it, but the root) and its key.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Certificate`] when they cannot be used or do not belong together.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let text = |path: &Path| {
            let what = format!("{} is no text", path.display());
            String::from_utf8(read(path)?).map_err(|_| Error::Certificate { what })
        };
        let (chain, key) = (text(certificate)?, KeyPair::from_pem(&text(key)?).map_err(failed)?);
        let own = CertificateDer::from_pem_slice(chain.as_bytes());
        let own = own.map_err(|_| Error::Certificate { what: "the authority's is not PEM".to_owned() })?;
        let (_, read) = X509Certificate::from_der(&own)
            .map_err(|_| Error::Certificate { what: "the authority's is not an X.509 certificate".to_owned() })?;
        let wrong = |what: &str| Err(Error::Certificate { what: what.to_owned() });
        if read.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
            return wrong("the authority's certificate belongs to another key");
        }
        if !read.is_ca() {
            return wrong("the authority's certificate may not issue others (basicConstraints, RFC 5280, 4.2.1.9)");
        }
        // one that signed itself is what clients are believed by: it need not be sent
        let sent = if read.subject() == read.issuer() { String::new() } else { chain.clone() };
        Ok(Self { issuer: rcgen::Issuer::from_ca_cert_pem(&chain, key).map_err(failed)?, chain: sent })
    }

    pub(crate) fn of(issuer: rcgen::Issuer<'static, KeyPair>) -> Self {
        Self { issuer, chain: String::new() }
    }

    /// A new key and a request for its certificate: what a device makes for itself.
    ///
    /// # Errors
    /// [`Error::Certificate`]: there is no randomness.
    pub fn request() -> Result<Requested, Error> {
        let key = KeyPair::generate().map_err(failed)?;
        let request = CertificateParams::default().serialize_request(&key).and_then(|request| request.pem());
        Ok(Requested { request: request.map_err(failed)?, key: key.serialize_pem() })
    }

    /// Whether a signing request (PEM, PKCS#10) can be granted.
    ///
    /// # Errors
    /// [`Error::Certificate`]: it cannot be read, is not signed with its key, or its key is of an unknown kind.
    pub fn check(csr_pem: &str) -> Result<(), Error> {
        CertificateSigningRequestParams::from_pem(csr_pem).map(|_| ()).map_err(failed)
    }

    /// A device's certificate for 24 hours, which counts as issued after `after`, for the key of a signing request: a chain in
    /// PEM. Of the request only the key counts.
    ///
    /// # Errors
    /// As [`DeviceCa::check`].
    pub fn issue(&self, device: DeviceId, csr_pem: &str, after: Nanos) -> Result<String, Error> {
        let request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(failed)?;
        let mut wanted = wanted_for_device()?;
        wanted.subject_alt_names = vec![uri(&device_uri(device))?];
        // it is valid from a little ago on, so that clocks that are behind take it: that alone would make it look old
        if after.0 > wanted.not_before.unix_timestamp().saturating_mul(Nanos::SECOND) {
            wanted.subject_alt_names.push(uri(&after_uri(after))?);
        }
        let issued = wanted.signed_by(&request.public_key, &self.issuer).map_err(failed)?;
        Ok(issued.pem() + &self.chain)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
