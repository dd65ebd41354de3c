//! Client certificates: the one form in which a certificate names a device.
//!
//! A device's certificate has the URI `urn:wardline:device:UUID` among its subject alternative names (RFC 5280, 4.2.1.6),
//! the UUID in lower case with hyphens. Nothing else in it counts: not the common name, not other alternative names. Two
//! URIs of ours, or one in any other form, name nobody, and such a certificate is good for nothing here.
//!
//! Whether a certificate is to be believed (authority, time, revocation, key) is decided before, in the TLS handshake.

use crate::{Error, Identity};
use model::{DeviceId, Nanos, access::Subject};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// What the URI of a device's certificate begins with.
const DEVICE_URI: &str = "urn:wardline:device:";
/// What every URI of ours begins with; of it, scheme and namespace are the same in either case (RFC 8141, 3.1).
const OUR_URI: &str = "urn:wardline:";

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The serial number, in lower-case hexadecimal.
    pub serial: String,
    /// The first instant at which it is valid.
    pub issued_at: Nanos,
    /// The last instant at which it is valid.
    pub expires_at: Nanos,
    /// Whom it names.
    pub holder: Holder,
}

/// Whom a certificate names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A device.
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
        let issued_at = Nanos::from_parts(certificate.validity().not_before.timestamp(), 0).unwrap_or(Nanos::MIN);
        Ok(Self { serial, issued_at, expires_at, holder: holder(&certificate) })
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

fn holder(certificate: &X509Certificate<'_>) -> Holder {
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => &extension.value.general_names,
        Ok(None) => return Holder::Other,
        // given twice, or not readable
        Err(_) => return Holder::Unclear,
    };
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let mut ours = uris.filter(|uri| is_ours(uri));
    match (ours.next(), ours.next()) {
        (None, _) => Holder::Other,
        (Some(uri), None) => device(uri).map_or(Holder::Unclear, Holder::Device),
        (Some(_), Some(_)) => Holder::Unclear,
    }
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
}
