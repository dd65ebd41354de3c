//! What a certificate says that is issued here, whoever's authority signs it: names, times, and what it is for.

use crate::Error;
use model::Nanos;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber};
use time::OffsetDateTime;

/// What is issued belongs to whoever runs the installation: it says only what for.
pub(crate) const ISSUED: &str = "Wardline";
/// Of a device's certificate, in seconds: devices renew.
pub(crate) const DEVICE_SECONDS: i64 = 24 * 60 * 60;
/// Clocks that are behind take a new certificate, too.
pub(crate) const BACK_SECONDS: i64 = 5 * 60;

/// What a certificate is for (RFC 5280, 4.2.1.12).
#[derive(Clone, Copy)]
pub(crate) enum Usage {
    Client,
    Server,
}

/// The parameters of a certificate that ends `seconds` from now and is no authority's.
pub(crate) fn wanted(usage: Usage, seconds: i64) -> Result<CertificateParams, Error> {
    let mut wanted = dated(seconds)?;
    wanted.distinguished_name.push(DnType::OrganizationName, ISSUED);
    wanted.is_ca = IsCa::ExplicitNoCa;
    wanted.use_authority_key_identifier_extension = true;
    wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    wanted.extended_key_usages = vec![match usage {
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    Ok(wanted)
}

/// The parameters of a device's certificate.
pub(crate) fn wanted_for_device() -> Result<CertificateParams, Error> {
    wanted(Usage::Client, DEVICE_SECONDS)
}

/// A new serial number, and valid from a little ago until `seconds` from now.
pub(crate) fn dated(seconds: i64) -> Result<CertificateParams, Error> {
    let mut serial = [0; 16];
    let no_randomness = |_| Error::Certificate { what: "no randomness".to_owned() };
    aws_lc_rs::rand::fill(&mut serial).map_err(no_randomness)?;
    // positive, and of one length always
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut wanted = CertificateParams::default();
    wanted.serial_number = Some(SerialNumber::from_slice(&serial));
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.not_before = instant(now().min(now() + seconds) - BACK_SECONDS);
    wanted.not_after = instant(now() + seconds);
    Ok(wanted)
}

/// A name that is a URI.
pub(crate) fn uri(text: &str) -> Result<SanType, Error> {
    Ok(SanType::URI(text.try_into().map_err(failed)?))
}

/// What the library says it cannot issue, as our error.
pub(crate) fn failed(cause: rcgen::Error) -> Error {
    Error::Certificate { what: cause.to_string() }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    crate::signer::now().0 / Nanos::SECOND
}

/// Seconds since 1970 as the library takes them.
pub(crate) fn instant(seconds: i64) -> OffsetDateTime {
    // none of ours lies outside the years -9999 to 9999
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
