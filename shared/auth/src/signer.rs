//! Signs access tokens with an Ed25519 key of this process.

use crate::{Algorithm, Error, Issuer};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{EncodingKey, Header, encode};
use model::Nanos;
use serde::Serialize;

/// `aud` of the tokens that are signed here.
const AUDIENCE: &str = "wardline";

/// A key, and the issuer's name that goes with it.
pub(crate) struct Signer {
    public_key: Vec<u8>,
    signing: EncodingKey,
    kid: String,
    name: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'static str,
    sub: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(rename = "urn:wardline:after", skip_serializing_if = "Option::is_none")]
    after: Option<i64>,
}

impl Signer {
    /// With a key in PKCS#8 (DER); `None` when it is no Ed25519 key.
    pub(crate) fn new(name: &str, pkcs8: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
        let public_key = pair.public_key().as_ref().to_vec();
        let kid = kid(&public_key);
        Some(Self { public_key, signing: EncodingKey::from_ed_der(pkcs8), kid, name: name.to_owned() })
    }

    /// What a verifier must know of this issuer; whom it speaks for is for the caller to say.
    pub(crate) fn issuer(&self) -> Issuer {
        issuer(&self.name).with_ed25519(&self.kid, &self.public_key)
    }

    /// A token that ends `seconds` from now (negative: has ended).
    pub(crate) fn sign(&self, sub: &str, seconds: i64, scope: Option<&str>) -> Result<String, Error> {
        self.sign_after(sub, seconds, scope, Nanos::MIN)
    }

    /// The same; it comes after `after` in any case, also when the clock says that this is still to come.
    pub(crate) fn sign_after(
        &self,
        sub: &str,
        seconds: i64,
        scope: Option<&str>,
        after: Nanos,
    ) -> Result<String, Error> {
        let now = now().0 / Nanos::SECOND;
        let mut header = Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.kid.clone());
        let iat = now.min(now + seconds);
        // whole seconds, not before it
        let after = Some(after.0.div_euclid(Nanos::SECOND) + i64::from(after.0.rem_euclid(Nanos::SECOND) > 0));
        let after = after.filter(|after| *after > iat);
        let claims =
            Claims { iss: &self.name, aud: AUDIENCE, sub, iat, nbf: iat - 1, exp: now + seconds, scope, after };
        encode(&header, &claims, &self.signing)
            .map_err(|error| Error::Key { name: self.kid.clone(), what: error.to_string() })
    }
}

/// An issuer of tokens that are signed here, without a key yet.
pub(crate) fn issuer(name: &str) -> Issuer {
    Issuer::new(name, AUDIENCE, Algorithm::EdDsa)
}

/// Names a key in the header of its tokens: the first 8 bytes of its public half.
pub(crate) fn kid(public_key: &[u8]) -> String {
    public_key.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn now() -> Nanos {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
