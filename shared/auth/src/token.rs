//! Access tokens: one pinned algorithm per issuer, every claim required, nothing believed from the token's header.
//!
//! Claims: `iss`, `aud`, `sub` (`user:UUID` or `device:UUID`), `exp`, `nbf`; header `typ` must be `at+jwt` (RFC 9068).
//! `scope` (RFC 8693): words like `wardline/readings.read` leave only those permissions; without such a word all are left.
//! `jku`, `x5u`, `jwk` and `x5c` in the header are ignored: keys come from settings only.

use crate::Error;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use model::{
    DeviceId, Nanos, UserId,
    access::{Permission, Subject},
};
use serde::Deserialize;
use std::collections::HashMap;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 4_096;
/// Seconds that clocks may differ.
const LEEWAY_SECONDS: u64 = 30;

/// Signature algorithms that can be pinned: asymmetric ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256.
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
}

/// One issuer that is believed.
pub struct Issuer {
    name: String,
    validation: Validation,
    keys: HashMap<String, DecodingKey>,
}

/// Checks tokens of the issuers it knows.
#[derive(Default)]
pub struct Verifier {
    issuers: HashMap<String, Issuer>,
}

/// Why a token is refused. Deliberately coarse: a caller learns what to do, an attacker nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It has ended: get a new one.
    #[error("the token has expired")]
    Expired,
    /// Anything else.
    #[error("the token is not valid here")]
    Invalid,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: i64,
    nbf: i64,
    iat: Option<i64>,
    #[serde(default)]
    scope: String,
}

/// Who a token speaks for, how far and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The person or device.
    pub subject: Subject,
    /// The permissions that it leaves; `None`: all.
    pub scope: Option<Vec<Permission>>,
    /// When it was issued (`iat`, or `nbf` without it).
    pub issued_at: Nanos,
    /// When it ends.
    pub expires_at: Nanos,
}

/// What the words of a scope that are ours begin with.
const SCOPE_PREFIX: &str = "wardline/";

impl Issuer {
    /// An issuer whose tokens carry `name` as `iss` and `audience` as `aud`.
    pub fn new(name: &str, audience: &str, algorithm: Algorithm) -> Self {
        let mut validation = Validation::new(match algorithm {
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        });
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[name]);
        validation.set_audience(&[audience]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECONDS;
        Self { name: name.to_owned(), validation, keys: HashMap::new() }
    }

    /// Adds a public key from PEM (SubjectPublicKeyInfo) under its `kid`.
    pub fn with_pem(mut self, kid: &str, pem: &[u8]) -> Result<Self, Error> {
        let key = match self.validation.algorithms.first() {
            Some(jsonwebtoken::Algorithm::ES256) => DecodingKey::from_ec_pem(pem),
            Some(jsonwebtoken::Algorithm::RS256) => DecodingKey::from_rsa_pem(pem),
            _ => DecodingKey::from_ed_pem(pem),
        };
        let key = key.map_err(|error| Error::Key { name: kid.to_owned(), what: error.to_string() })?;
        self.keys.insert(kid.to_owned(), key);
        Ok(self)
    }

    /// Adds a raw Ed25519 public key of 32 bytes.
    pub(crate) fn with_ed25519(mut self, kid: &str, public: &[u8]) -> Self {
        self.keys.insert(kid.to_owned(), DecodingKey::from_ed_der(public));
        self
    }
}

impl Verifier {
    /// Believes these issuers and no other.
    pub fn new(issuers: impl IntoIterator<Item = Issuer>) -> Self {
        Self { issuers: issuers.into_iter().map(|i| (i.name.clone(), i)).collect() }
    }

    /// Checks a token.
    pub fn verify(&self, token: &str) -> Result<Identity, Rejected> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Rejected::Invalid);
        }
        let header = decode_header(token).map_err(|_| Rejected::Invalid)?;
        if header.typ.as_deref() != Some("at+jwt") || header.crit.is_some() {
            return Err(Rejected::Invalid);
        }
        let kid = header.kid.ok_or(Rejected::Invalid)?;
        // few issuers, each with its own key ids: the one that knows the key is the only one that can match
        let issuer = self.issuers.values().find(|i| i.keys.contains_key(&kid)).ok_or(Rejected::Invalid)?;
        let claims =
            decode::<Claims>(token, &issuer.keys[&kid], &issuer.validation).map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => Rejected::Expired,
                _ => Rejected::Invalid,
            })?;
        let claims = claims.claims;
        if claims.iss != issuer.name {
            return Err(Rejected::Invalid);
        }
        let expires_at = Nanos::from_parts(claims.exp, 0).ok_or(Rejected::Invalid)?;
        let subject = subject(&claims.sub).ok_or(Rejected::Invalid)?;
        let issued_at = Nanos::from_parts(claims.iat.unwrap_or(claims.nbf), 0).ok_or(Rejected::Invalid)?;
        Ok(Identity { subject, scope: scope(&claims.scope), issued_at, expires_at })
    }
}

/// Words of ours that nobody knows leave nothing, rather than everything.
fn scope(words: &str) -> Option<Vec<Permission>> {
    let ours: Vec<_> = words.split_ascii_whitespace().filter_map(|word| word.strip_prefix(SCOPE_PREFIX)).collect();
    (!ours.is_empty()).then(|| ours.into_iter().filter_map(Permission::from_name).collect())
}

fn subject(sub: &str) -> Option<Subject> {
    match sub.split_once(':')? {
        ("user", id) => id.parse::<UserId>().ok().map(Subject::User),
        ("device", id) => id.parse::<DeviceId>().ok().map(Subject::Device),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
