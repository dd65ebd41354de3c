//! Keys and authorities as an installation has them, in PEM.

use super::*;
use crate::{Certificate, DemoCa, Holder, Rejected, Verifier};
use rcgen::{BasicConstraints, DnType, IsCa, Issuer as Authority};
use std::path::PathBuf;
use tempfile::TempDir;

const DEVICE: &str = "0e605b33-5b83-571d-b438-24e18dbf8ff3";
const NAME: &str = "https://wardline.example.org/devices";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// Private and public half of a key, as openssl writes them.
fn key(files: &Files, name: &str) -> [PathBuf; 2] {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    [files.put(name, &pair.serialize_pem()), files.put(&format!("{name}.pub"), &pair.public_key_pem())]
}

fn checked(issuer: Issuer, token: &str) -> Result<DeviceId, Rejected> {
    let identity = Verifier::new([issuer]).verify_now(token).unwrap()?;
    assert_eq!(identity.subject, model::access::Subject::Device(DEVICE.parse().unwrap()));
    Ok(DEVICE.parse().unwrap())
}

#[test]
fn tokens_are_good_where_the_public_half_is_known_and_while_an_old_key_is() {
    let files = Files::new();
    let [[old, old_public], [new, new_public]] = ["old", "new"].map(|name| key(&files, name));
    let [old, new] = [old, new].map(|path| DeviceIssuer::open(NAME, &path, 15).unwrap());
    let device: DeviceId = DEVICE.parse().unwrap();
    let (token, ends) = old.token(device, Nanos::MIN).unwrap();
    let left = ends.0 - signer::now().0;
    assert!((14 * 60 * Nanos::SECOND..=15 * 60 * Nanos::SECOND).contains(&left), "{left}");
    let issuer = |signing, public: &[&PathBuf]| DeviceIssuer::issuer(signing, NAME, public).unwrap();
    assert_eq!(checked(issuer(Some(&old), &[]), &token), Ok(device));
    assert_eq!(checked(issuer(None, &[&new_public, &old_public]), &token), Ok(device));
    assert_eq!(checked(issuer(Some(&new), &[&old_public]), &token), Ok(device), "the key was changed");
    assert_eq!(checked(issuer(Some(&new), &[]), &token), Err(Rejected::Invalid), "and the old one forgotten");
    let elsewhere = DeviceIssuer::issuer(Some(&old), "https://elsewhere.example.org", &[&old_public]).unwrap();
    assert!(checked(elsewhere, &token).is_ok(), "the signing key goes by its own issuer's name");
    let person = old.signer.sign(&format!("user:{DEVICE}"), 60, None).unwrap();
    let verified = Verifier::new([issuer(Some(&old), &[])]).verify_now(&person).unwrap();
    assert_eq!(verified, Err(Rejected::Invalid), "this key speaks for no person");
}

#[test]
fn keys_of_another_kind_are_refused() {
    let files = Files::new();
    let [private, public] = key(&files, "right");
    let other = files.put("other", &KeyPair::generate().unwrap().serialize_pem());
    for wrong in [&public, &other, &files.put("empty", "")] {
        assert!(matches!(DeviceIssuer::open(NAME, wrong, 15), Err(Error::Key { .. })), "{}", wrong.display());
    }
    for wrong in [&private, &other] {
        assert!(matches!(DeviceIssuer::issuer(None, NAME, &[wrong]), Err(Error::Key { .. })), "{}", wrong.display());
    }
    assert!(matches!(DeviceIssuer::open(NAME, &files.0.path().join("none"), 15), Err(Error::File { .. })));
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name.push(DnType::CommonName, name);
    wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (wanted, KeyPair::generate().unwrap())
}

#[test]
fn an_authority_in_files_issues_below_itself_and_sends_what_is_between() {
    let files = Files::new();
    let (root, root_key) = authority("root");
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let root_files = [files.put("root", &root_pem), files.put("root.key", &root_key.serialize_pem())];
    let (below, below_key) = authority("below");
    let below_pem = below.signed_by(&below_key, &Authority::new(root, root_key)).unwrap().pem();
    let below_files = [files.put("below", &below_pem), files.put("below.key", &below_key.serialize_pem())];
    let device: DeviceId = DEVICE.parse().unwrap();
    for ([certificate, key], n_certificates) in [(&root_files, 1), (&below_files, 2)] {
        let ca = DeviceCa::open(certificate, key).unwrap();
        let chain = ca.issue(device, &DeviceCa::request().unwrap().request, Nanos::MIN).unwrap();
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), n_certificates);
        let own = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
        assert_eq!(Certificate::read(&own).unwrap().holder, Holder::Device(device));
        let (_, read) = X509Certificate::from_der(&own).unwrap();
        let above = CertificateDer::from_pem_file(certificate).unwrap();
        let (_, above) = X509Certificate::from_der(&above).unwrap();
        read.verify_signature(Some(above.public_key())).unwrap();
        assert_eq!(read.issuer(), above.subject());
    }
    let mixed = DeviceCa::open(&root_files[0], &below_files[1]).err().unwrap().to_string();
    assert!(mixed.contains("another key"), "{mixed}");
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::default().self_signed(&leaf_key).unwrap().pem();
    let leaf = DeviceCa::open(&files.put("leaf", &leaf), &files.put("leaf.key", &leaf_key.serialize_pem()));
    assert!(leaf.err().unwrap().to_string().contains("may not issue"));
}

/// Now and then, and when the clock was put back a day after it.
fn changes() -> [Nanos; 3] {
    let whole = Nanos(signer::now().0 / Nanos::SECOND * Nanos::SECOND);
    [whole, whole.plus(Nanos::SECOND), whole.plus(Nanos::DAY)]
}

#[test]
fn a_certificate_is_not_older_than_the_change_it_comes_after_and_valid_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let ca = DemoCa::open(dir.path()).unwrap().into_devices();
    let issued_at = |after| {
        let chain = ca.issue(DEVICE.parse().unwrap(), &DeviceCa::request().unwrap().request, after).unwrap();
        let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
        let (_, read) = X509Certificate::from_der(&der).unwrap();
        assert!(read.validity().is_valid(), "it can be used at once");
        let certificate = Certificate::read(&der).unwrap();
        assert_eq!(certificate.holder, Holder::Device(DEVICE.parse().unwrap()));
        certificate.issued_at
    };
    assert!(issued_at(Nanos::MIN) < signer::now().plus(-60 * Nanos::SECOND), "clocks that are behind take it, too");
    for after in changes() {
        assert_eq!(issued_at(after), after);
        assert_eq!(issued_at(after.plus(-1)), after, "whole seconds, not before it");
    }
}

#[test]
fn a_token_is_not_older_than_the_change_it_comes_after_and_good_at_once() {
    let files = Files::new();
    let [private, _] = key(&files, "key");
    let tokens = DeviceIssuer::open(NAME, &private, 15).unwrap();
    let issued_at = |after| {
        let (token, _) = tokens.token(DEVICE.parse().unwrap(), after).unwrap();
        let issuer = DeviceIssuer::issuer(Some(&tokens), NAME, &[] as &[PathBuf]).unwrap();
        Verifier::new([issuer]).verify_now(&token).unwrap().unwrap().issued_at
    };
    for after in [Nanos::MIN].into_iter().chain(changes()) {
        assert!(issued_at(after) >= after.max(signer::now().plus(-2 * Nanos::SECOND)), "{after:?}");
    }
}
