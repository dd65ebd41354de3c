//! The demo's certificate authority: certificates for devices, servers and programs, and their revocation. For trying out
//! and for tests; a hospital has an authority of its own.
//!
//! A folder holds all of it: `ca.pk8` (the key, for its owner only), `ca.pem`, `crl.pem` (what was revoked) and `revoked`
//! (the same as lines of `serial seconds`). Each file is whole at any time.

use crate::{
    Certificate, DeviceCa, Error,
    certificate::device_uri,
    issuing::{BACK_SECONDS, DEVICE_SECONDS, Usage, dated, failed, instant, now, uri, wanted},
    key_file,
};
use model::DeviceId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

const NAME: &str = "Wardline demo authority";
/// Whoever tries it out should not have to within a season.
const OTHER_SECONDS: i64 = 90 * 24 * 60 * 60;
/// Of the authority itself and of its revocation list.
const CA_SECONDS: i64 = 10 * 365 * 24 * 60 * 60;

/// The certificate authority of the demo: issues certificates for servers and devices, and revokes them.
pub struct DemoCa {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate with its key, both PEM.
pub struct Issued {
    /// The certificate, in PEM.
    pub certificate: String,
    /// Its private key, PKCS#8 in PEM.
    pub key: String,
    /// Its serial number, in lower-case hexadecimal: what is revoked.
    pub serial: String,
}

impl DemoCa {
    /// Opens the authority in `dir`, made there at the first call. Of several that make it at once all get the same.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("ca.pk8");
        let unusable = |what: &str| Error::Key { name: path.display().to_string(), what: what.to_owned() };
        let pkcs8 = key_file::private(&path, || Ok(KeyPair::generate().map_err(failed)?.serialize_der()))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(pkcs8.as_slice()),
            &rcgen::PKCS_ECDSA_P256_SHA256,
        );
        let key = key.map_err(|_| unusable("not an ECDSA key on P-256 in PKCS#8; delete the folder"))?;
        let wanted = authority()?;
        let certificate =
            key_file::public(&dir.join("ca.pem"), || Ok(wanted.self_signed(&key).map_err(failed)?.pem().into_bytes()))?;
        if !belongs(&certificate, &key) {
            return Err(unusable("ca.pem belongs to another key; delete the folder"));
        }
        let certificate = String::from_utf8(certificate).map_err(|_| unusable("ca.pem is no text"))?;
        let ca = Self { dir: dir.to_owned(), issuer: Issuer::new(wanted, key), certificate };
        key_file::public(&ca.crl_file(), || ca.list(&[]))?;
        Ok(ca)
    }

    /// The authority's own certificate (PEM): what believes all others.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Where the authority's own certificate is.
    pub fn certificate_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Where the list of revoked certificates is (PEM, RFC 5280, 5).
    pub fn crl_file(&self) -> PathBuf {
        self.dir.join("crl.pem")
    }

    /// Its part that issues certificates for devices' own keys.
    pub fn into_devices(self) -> DeviceCa {
        DeviceCa::of(self.issuer)
    }

    /// A device's certificate for 24 hours, with a new key.
    pub fn device(&self, device: DeviceId) -> Result<Issued, Error> {
        self.issue(Usage::Client, vec![uri(&device_uri(device))?], DEVICE_SECONDS)
    }

    /// A certificate for 90 days that names no device: for a program whose user has a token.
    pub fn client(&self) -> Result<Issued, Error> {
        self.issue(Usage::Client, Vec::new(), OTHER_SECONDS)
    }

    /// A server's certificate for 90 days, for `localhost` and the addresses of loopback.
    pub fn server(&self) -> Result<Issued, Error> {
        let names = CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned)).map_err(failed)?;
        self.issue(Usage::Server, names.subject_alt_names, OTHER_SECONDS)
    }

    /// A certificate with these URIs that ends `seconds` from now (negative: has ended), for tests of what happens then.
    pub fn with_uris(&self, uris: &[&str], seconds: i64) -> Result<Issued, Error> {
        self.issue(Usage::Client, uris.iter().map(|text| uri(text)).collect::<Result<_, _>>()?, seconds)
    }

    fn issue(&self, usage: Usage, names: Vec<SanType>, seconds: i64) -> Result<Issued, Error> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut wanted = wanted(usage, seconds)?;
        wanted.subject_alt_names = names;
        let certificate = wanted.signed_by(&key, &self.issuer).map_err(failed)?;
        let serial = Certificate::read(certificate.der())?.serial;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem(), serial })
    }

    /// Puts a serial number (hexadecimal; colons are passed over) on the list of what is revoked.
    ///
    /// # Errors
    /// [`Error::Certificate`]: not a serial number. [`Error::File`].
    pub fn revoke(&self, serial: &str) -> Result<(), Error> {
        let serial: String = serial.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
        if number(&serial).is_none() {
            let what = format!("{} is no serial number: 2 to 40 hexadecimal digits", model::quoted(&serial));
            return Err(Error::Certificate { what });
        }
        let path = self.dir.join("revoked");
        let file_error = |source| Error::File { path: path.clone(), source };
        let opened = fs::OpenOptions::new().create(true).read(true).append(true).open(&path);
        let mut file = opened.map_err(file_error)?;
        // two that revoke at once: neither list may miss the other's
        file.lock().map_err(file_error)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(file_error)?;
        if !text.lines().any(|line| line.split(' ').next() == Some(&serial)) {
            let line = format!("{serial} {}\n", now());
            file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(file_error)?;
            text += &line;
        }
        let revoked: Vec<_> = text.lines().filter_map(revoked).collect();
        key_file::replace(&self.crl_file(), &self.list(&revoked)?)
    }

    /// The list as PEM.
    fn list(&self, revoked: &[(Vec<u8>, i64)]) -> Result<Vec<u8>, Error> {
        let certificate = |(serial, at): &(Vec<u8>, i64)| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: instant(*at),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: instant(now() - BACK_SECONDS),
            next_update: instant(now() + CA_SECONDS),
            // it grows with each that is revoked
            crl_number: SerialNumber::from(revoked.len() as u64 + 1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(certificate).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(failed)?.into_bytes())
    }
}

fn authority() -> Result<CertificateParams, Error> {
    let mut wanted = dated(CA_SECONDS)?;
    wanted.distinguished_name.push(DnType::CommonName, NAME);
    wanted.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(wanted)
}

fn belongs(pem: &[u8], key: &KeyPair) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem) else { return false };
    X509Certificate::from_der(&der)
        .is_ok_and(|(_, certificate)| certificate.public_key().subject_public_key.data.as_ref() == key.der_bytes())
}

/// A line of the file of what was revoked; one that a crash cut off is none.
fn revoked(line: &str) -> Option<(Vec<u8>, i64)> {
    let (serial, at) = line.split_once(' ')?;
    Some((number(serial)?, at.parse().ok()?))
}

fn number(hexadecimal: &str) -> Option<Vec<u8>> {
    let length = hexadecimal.len();
    if !hexadecimal.is_ascii() || !length.is_multiple_of(2) || !(2..=40).contains(&length) {
        return None;
    }
    (0..length).step_by(2).map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests;
