//! What the demo's authority issues, as somebody else reads it.

use super::*;
use crate::{Holder, issuing::ISSUED};
use model::Nanos;
use rcgen::{CertificateSigningRequest, ExtendedKeyUsagePurpose};
use std::{os::unix::fs::PermissionsExt, thread};
use tempfile::TempDir;
use x509_parser::{pem::parse_x509_pem, revocation_list::CertificateRevocationList};

const DEVICE: &str = "0e605b33-5b83-571d-b438-24e18dbf8ff3";

fn ca() -> (TempDir, DemoCa) {
    let dir = tempfile::tempdir().unwrap();
    let ca = DemoCa::open(&dir.path().join("ca")).unwrap();
    (dir, ca)
}

fn der(pem: &str) -> Vec<u8> {
    parse_x509_pem(pem.as_bytes()).unwrap().1.contents
}

fn read(pem: &str) -> Certificate {
    Certificate::read(&der(pem)).unwrap()
}

fn request(key: &KeyPair, names: &[&str]) -> CertificateSigningRequest {
    let mut wanted = CertificateParams::default();
    wanted.subject_alt_names = names.iter().map(|name| uri(name).unwrap()).collect();
    wanted.serialize_request(key).unwrap()
}

#[test]
fn it_is_made_once_and_its_key_is_its_owners() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("made/ca");
    let made: Vec<_> = thread::scope(|scope| {
        let open = || scope.spawn(|| DemoCa::open(&folder).unwrap().certificate().to_owned());
        let threads: Vec<_> = (0..8).map(|_| open()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|certificate| *certificate == made[0]), "made once");
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("ca.pk8"), 0o600);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "nothing left behind");

    fs::remove_file(folder.join("ca.pk8")).unwrap();
    assert!(matches!(DemoCa::open(&folder), Err(Error::Key { .. })), "a new key does not go with the certificate");
}

#[test]
fn a_device_gets_what_it_is_and_not_what_it_asks_for() {
    let (dir, ca) = ca();
    let devices = DemoCa::open(&dir.path().join("ca")).unwrap().into_devices();
    let device: DeviceId = DEVICE.parse().unwrap();
    let key = KeyPair::generate().unwrap();
    let asked = request(&key, &["urn:wardline:device:00000000-0000-4000-8000-000000000001"]);
    let issued = devices.issue(device, &asked.pem().unwrap(), Nanos::MIN).unwrap();
    let certificate = read(&issued);
    assert_eq!(certificate.holder, Holder::Device(device));
    let ends = (certificate.expires_at.0 - crate::signer::now().0) / Nanos::SECOND;
    assert!((DEVICE_SECONDS - 60..=DEVICE_SECONDS).contains(&ends), "{ends} s");
    let bytes = der(&issued);
    let (_, parsed) = X509Certificate::from_der(&bytes).unwrap();
    assert_eq!(parsed.public_key().subject_public_key.data.as_ref(), key.der_bytes());
    assert!(!parsed.is_ca());
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    let authority = der(ca.certificate());
    let (_, authority) = X509Certificate::from_der(&authority).unwrap();
    parsed.verify_signature(Some(authority.public_key())).unwrap();
    assert_ne!(read(&devices.issue(device, &asked.pem().unwrap(), Nanos::MIN).unwrap()).serial, certificate.serial);
}

#[test]
fn nothing_that_a_request_asks_for_is_in_its_certificate() {
    let devices = ca().1.into_devices();
    let key = KeyPair::generate().unwrap();
    let mut wanted = CertificateParams::default();
    wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    wanted.distinguished_name.push(DnType::CommonName, "somebody else");
    wanted.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
    let asked = wanted.serialize_request(&key).unwrap().pem().unwrap();
    let issued = der(&devices.issue(DEVICE.parse().unwrap(), &asked, Nanos::MIN).unwrap());
    let (_, parsed) = X509Certificate::from_der(&issued).unwrap();
    assert!(!parsed.is_ca());
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    assert_eq!(parsed.subject().to_string(), format!("O={ISSUED}"));
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1, "{:?}", names.value);
}

#[test]
fn a_request_that_is_not_signed_with_its_key_is_refused() {
    let devices = ca().1.into_devices();
    let device: DeviceId = DEVICE.parse().unwrap();
    let signed = request(&KeyPair::generate().unwrap(), &[]).pem().unwrap().replace("\r\n", "\n");
    // a bit of the last of base64's lines: the signature's end
    let text = signed.trim_end().rsplit_once('\n').unwrap().0;
    let (rest, last) = text.rsplit_once('\n').unwrap();
    let changed = if last.starts_with('A') { "B" } else { "A" };
    let text = format!("{rest}\n{changed}{}\n-----END CERTIFICATE REQUEST-----\n", &last[1..]);
    assert!(matches!(devices.issue(device, &text, Nanos::MIN), Err(Error::Certificate { .. })));
    assert!(devices.issue(device, &signed, Nanos::MIN).is_ok());
    assert!(matches!(devices.issue(device, "no request", Nanos::MIN), Err(Error::Certificate { .. })));
}

#[test]
fn only_one_uri_of_ours_names_a_device() {
    let (_dir, ca) = ca();
    let ours = format!("urn:wardline:device:{DEVICE}");
    let other = "urn:wardline:device:00000000-0000-4000-8000-000000000001";
    let device = Holder::Device(DEVICE.parse().unwrap());
    for (uris, holder) in [
        (&[][..], Holder::Other),
        (&["https://example.org/"], Holder::Other),
        (&[&ours], device),
        (&["https://example.org/", &ours], device),
        (&[&ours, other], Holder::Unclear),
        (&[&ours, &ours], Holder::Unclear),
        (&["urn:wardline:device:bed-7"], Holder::Unclear),
        (&["urn:wardline:user:00000000-0000-4000-8000-000000000001"], Holder::Unclear),
    ] {
        let certificate = read(&ca.with_uris(uris, 60).unwrap().certificate);
        assert_eq!(certificate.holder, holder, "{uris:?}");
        assert_eq!(certificate.identity().is_some(), holder == device);
    }
    assert_eq!(read(&ca.server().unwrap().certificate).holder, Holder::Other);
    assert!(Certificate::read(b"not a certificate").is_err());
}

#[test]
fn what_is_revoked_is_on_the_list_also_when_several_revoke_at_once() {
    let (_dir, ca) = ca();
    let listed = || {
        let list = der(&fs::read_to_string(ca.crl_file()).unwrap());
        let (_, list) = CertificateRevocationList::from_der(&list).unwrap();
        let mut serials: Vec<_> = list.iter_revoked_certificates().map(|one| one.raw_serial_as_string()).collect();
        serials.sort();
        (serials, list.crl_number().unwrap().to_string())
    };
    assert_eq!(listed(), (vec![], "1".to_owned()));
    let serials: Vec<_> = (0..8).map(|_| ca.client().unwrap().serial).collect();
    thread::scope(|scope| {
        for serial in &serials {
            scope.spawn(|| DemoCa::open(&ca.dir).unwrap().revoke(serial).unwrap());
        }
    });
    ca.revoke(&serials[0].to_uppercase()).unwrap();
    let mut expected: Vec<_> = serials.iter().map(|serial| colons(serial)).collect();
    expected.sort();
    assert_eq!(listed(), (expected, "9".to_owned()));
    ca.revoke(&colons(&serials[1])).unwrap();
    assert_eq!(listed().0.len(), 8);
    for wrong in ["", "0", "xy", "é", &"00".repeat(21)] {
        assert!(matches!(ca.revoke(wrong), Err(Error::Certificate { .. })), "{wrong:?}");
    }
}

fn colons(serial: &str) -> String {
    (0..serial.len()).step_by(2).map(|at| &serial[at..at + 2]).collect::<Vec<_>>().join(":")
}
