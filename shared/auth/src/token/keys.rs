//! Public keys of an issuer: from a file, or from the set that it publishes (JWKS, RFC 7517), of which only keys are taken that
//! fit the pinned algorithm.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

/// Keys of one set that are read at most; issuers publish two or three.
const MAX_KEYS: usize = 100;
/// Longest `kid`, in bytes.
const MAX_KID_BYTES: usize = 256;
/// Bits of an RSA modulus: NIST SP 800-131A wants the least; more than the most takes too long to check.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Least RSA exponent (FIPS 186-5), which everybody uses: signatures to a small one can be forged where padding is read loosely.
const MIN_EXPONENT: u64 = 65_537;

/// Signature algorithms that can be pinned: asymmetric ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518).
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// RSA PSS with SHA-256.
    Ps256,
}

impl Algorithm {
    /// As in `alg` (RFC 7518, RFC 8037).
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    pub(super) fn pinned(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
        }
    }
}

/// An issuer's public keys, by their id (`kid`).
pub(super) type Set = HashMap<String, Arc<DecodingKey>>;

pub(super) fn from_pem(pem: &[u8], algorithm: Algorithm) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
    match algorithm {
        Algorithm::EdDsa => DecodingKey::from_ed_pem(pem),
        Algorithm::Es256 => DecodingKey::from_ec_pem(pem),
        Algorithm::Rs256 | Algorithm::Ps256 => DecodingKey::from_rsa_pem(pem),
    }
}

/// The keys of a published set that can check `algorithm`. What cannot is left out: sets hold keys for other uses, too.
pub(super) fn from_jwks(text: &[u8], algorithm: Algorithm) -> Result<Set, serde_json::Error> {
    #[derive(Deserialize)]
    struct Published {
        keys: Vec<Value>,
    }
    let published: Published = serde_json::from_slice(text)?;
    let mut keys = Set::new();
    for value in published.keys.into_iter().take(MAX_KEYS) {
        let jwk = Jwk::deserialize(value).ok();
        if let Some((kid, key)) = jwk.and_then(|jwk| jwk.read(algorithm)) {
            // the first of that name, as a reader who searches from the start would find
            keys.entry(kid).or_insert_with(|| Arc::new(key));
        }
    }
    Ok(keys)
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// Only a private key has it: whoever reads the set could sign.
    d: Option<Value>,
}

impl Jwk {
    fn read(self, algorithm: Algorithm) -> Option<(String, DecodingKey)> {
        let signs = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"))
            && self.alg.as_deref().is_none_or(|name| name == algorithm.name());
        if !signs || self.d.is_some() || self.kid.is_empty() || self.kid.len() > MAX_KID_BYTES {
            return None;
        }
        let key = match (algorithm, self.kty.as_str(), self.crv.as_deref()) {
            (Algorithm::EdDsa, "OKP", Some("Ed25519")) => DecodingKey::from_ed_der(&bytes_32(&self.x)?),
            (Algorithm::Es256, "EC", Some("P-256")) => {
                // an uncompressed point (SEC 1)
                let point = [&[4][..], &bytes_32(&self.x)?, &bytes_32(&self.y)?].concat();
                DecodingKey::from_ec_der(&point)
            }
            (Algorithm::Rs256 | Algorithm::Ps256, "RSA", _) => {
                let (modulus, exponent) = (number(&self.n)?, number(&self.e)?);
                let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
                if !MODULUS_BITS.contains(&bits) || small(&exponent)? < MIN_EXPONENT {
                    return None;
                }
                DecodingKey::from_rsa_raw_components(&modulus, &exponent)
            }
            _ => return None,
        };
        Some((self.kid, key))
    }
}

fn bytes_32(text: &Option<String>) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text.as_deref()?).ok()?.try_into().ok()
}

/// A big-endian number without leading zeros.
fn number(text: &Option<String>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.as_deref()?).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes[zeros..].to_vec())
}

/// A number of at most eight bytes.
fn small(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
