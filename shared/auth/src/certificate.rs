//! Client certificates: the one form in which a certificate names a device.
//!
//! A device's certificate has the URI `urn:wardline:device:UUID` among its subject alternative names (RFC 5280, 4.2.1.6),
//! the UUID in lower case with hyphens. Nothing else in it counts: not the common name, not other alternative names. Two
//! URIs of ours, or one in any other form, name nobody, and such a certificate is good for nothing here. Beside it there may be
//! `urn:wardline:after:SECONDS` (since 1970), once: the certificate comes after the change of the device that was made then,
//! though it is valid from before.
//!
//! Whether a certificate is to be believed (authority, time, revocation, key) is decided before, in the TLS handshake.

use crate::Error;
use model::{
    DeviceId, Nanos,
    access::{Identity, Subject},
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// What the URI of a device's certificate begins with.
const DEVICE_URI: &str = "urn:wardline:device:";
/// What the URI begins with that says after which change a certificate comes.
const AFTER_URI: &str = "urn:wardline:after:";
/// What every URI of ours begins with; of it, scheme and namespace are the same in either case (RFC 8141, 3.1).
const OUR_URI: &str = "urn:wardline:";

/// A client certificate, as far as it decides something here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The serial number, in lower-case hexadecimal.
    pub serial: String,
    /// The first instant at which it is valid, or a later one that it says it comes after.
    pub issued_at: Nanos,
    /// The last instant at which it is valid.
    pub expires_at: Nanos,
    /// The device that the certificate names, if it names one.
    pub holder: Holder,
}

/// The subject that a certificate names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Exactly one name, of the device with this id.
    Device(DeviceId),
    /// Nobody we know: a server, or a program that has a token besides.
    Other,
    /// It tries to name a device and does not.
    Unclear,
}

impl Certificate {
    /// Reads an X.509 certificate (DER). [`Error::Certificate`] when it is none.
    pub fn read(der: &[u8]) -> Result<Self, Error> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|_| Error::Certificate { what: "not an X.509 certificate".to_owned() })?;
        let serial = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        let not_after = certificate.validity().not_after.timestamp();
        // one that never expires (9999-12-31, RFC 5280, 4.1.2.5) lies beyond our time
        let expires_at = Nanos::from_parts(not_after, 0).unwrap_or(Nanos::MAX);
        let valid_from = Nanos::from_parts(certificate.validity().not_before.timestamp(), 0).unwrap_or(Nanos::MIN);
        let (holder, after) = names(&certificate);
        Ok(Self { serial, issued_at: after.map_or(valid_from, |after| after.max(valid_from)), expires_at, holder })
    }

    /// The device that it speaks for, until it expires.
    pub fn identity(&self) -> Option<Identity> {
        let Holder::Device(device) = self.holder else { return None };
        let Self { issued_at, expires_at, .. } = *self;
        Some(Identity { subject: Subject::Device(device), scope: None, issued_at, expires_at })
    }
}

/// The URI that names a device.
pub(crate) fn device_uri(device: DeviceId) -> String {
    format!("{DEVICE_URI}{}", device.uuid())
}

/// The URI that says that a certificate comes after an instant: whole seconds, not before it.
pub(crate) fn after_uri(after: Nanos) -> String {
    let up = i64::from(after.0.rem_euclid(Nanos::SECOND) > 0);
    format!("{AFTER_URI}{}", after.0.div_euclid(Nanos::SECOND) + up)
}

/// Whom a certificate names, and what it comes after if it says so.
fn names(certificate: &X509Certificate<'_>) -> (Holder, Option<Nanos>) {
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => &extension.value.general_names,
        Ok(None) => return (Holder::Other, None),
        // given twice, or not readable
        Err(_) => return (Holder::Unclear, None),
    };
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    holder(uris.filter(|uri| is_ours(uri)))
}

fn holder<'a>(ours: impl Iterator<Item = &'a str>) -> (Holder, Option<Nanos>) {
    let (afters, others): (Vec<_>, Vec<_>) = ours.partition(|uri| uri.starts_with(AFTER_URI));
    let device = match others[..] {
        [uri] => device(uri),
        [] if afters.is_empty() => return (Holder::Other, None),
        _ => None,
    };
    match (device, &afters[..]) {
        (Some(device), []) => (Holder::Device(device), None),
        (Some(device), [uri]) => match after(uri) {
            Some(after) => (Holder::Device(device), Some(after)),
            None => (Holder::Unclear, None),
        },
        _ => (Holder::Unclear, None),
    }
}

/// Only the form in which it is issued.
fn after(uri: &str) -> Option<Nanos> {
    let after = Nanos::from_parts(uri.strip_prefix(AFTER_URI)?.parse().ok()?, 0)?;
    (after_uri(after) == uri).then_some(after)
}

fn is_ours(uri: &str) -> bool {
    uri.as_bytes().get(..OUR_URI.len()).is_some_and(|start| start.eq_ignore_ascii_case(OUR_URI.as_bytes()))
}

/// Only the form in which it is issued: two spellings of one device would be two certificates to compare by eye.
fn device(uri: &str) -> Option<DeviceId> {
    let device = uri.strip_prefix(DEVICE_URI)?.parse().ok()?;
    (device_uri(device) == uri).then_some(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_issued_form_names_a_device() {
        let id = "0e605b33-5b83-571d-b438-24e18dbf8ff3";
        assert_eq!(device(&format!("urn:wardline:device:{id}")), Some(id.parse().unwrap()));
        for wrong in [
            "urn:wardline:device:".to_owned(),
            "urn:wardline:device:bed-7".to_owned(),
            format!("urn:wardline:device:{}", id.to_uppercase()),
            format!("urn:wardline:device:{}", id.replace('-', "")),
            format!("urn:wardline:device:{{{id}}}"),
            format!("URN:wardline:device:{id}"),
            format!("urn:wardline:device:{id}/"),
            format!("urn:wardline:user:{id}"),
        ] {
            assert_eq!(device(&wrong), None, "{wrong}");
            assert!(is_ours(&wrong), "{wrong} is to be refused, not passed over");
        }
        assert!(!is_ours("urn:uuid:0e605b33-5b83-571d-b438-24e18dbf8ff3"));
        assert!(!is_ours("urn:ward"));
    }

    #[test]
    fn what_a_certificate_comes_after_is_said_once_and_in_one_form() {
        let device = "urn:wardline:device:0e605b33-5b83-571d-b438-24e18dbf8ff3";
        let of = |uris: &[&'static str]| holder([device].into_iter().chain(uris.iter().copied()));
        let known = Holder::Device("0e605b33-5b83-571d-b438-24e18dbf8ff3".parse().unwrap());
        assert_eq!(of(&[]), (known, None));
        assert_eq!(of(&["urn:wardline:after:1700000000"]), (known, Some(Nanos(1_700_000_000 * Nanos::SECOND))));
        for wrong in ["", "x", "+5", "05", " 5", "5.0", "-0", "99999999999999999999"] {
            let uri = format!("{AFTER_URI}{wrong}");
            assert_eq!(holder([device, &uri].into_iter()), (Holder::Unclear, None), "{wrong}");
        }
        assert_eq!(of(&["urn:wardline:after:5", "urn:wardline:after:5"]), (Holder::Unclear, None));
        assert_eq!(of(&[device]), (Holder::Unclear, None));
        assert_eq!(holder(["urn:wardline:after:5"].into_iter()), (Holder::Unclear, None));
        assert_eq!(after_uri(Nanos(1)), "urn:wardline:after:1", "not before it");
    }
}
