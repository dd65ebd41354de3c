//! One issuer: whose tokens are believed, with which keys, and whom they may speak for.

use super::{
    Fault,
    keys::{self, Algorithm, Set},
    scope::scope,
    source::{Discovery, Source},
    strict::{Object, Parts},
    times::{Times, now, times},
};
use crate::Error;
use jsonwebtoken::{DecodingKey, Validation, decode, errors::ErrorKind};
use model::{
    DeviceId, UserId,
    access::{Identity, Subject},
};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

/// `typ` among the claims of an access token, where an issuer says it at all (Keycloak): an ID token says `ID`.
const BEARER: &str = "Bearer";

/// The kind of subject that an issuer's tokens speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectKind {
    /// A person, or a program's account: who is in the directory as a user.
    User,
    /// A monitoring device.
    Device,
}

impl SubjectKind {
    fn from_prefix(prefix: &str) -> Option<Self> {
        match prefix {
            "user" => Some(Self::User),
            "device" => Some(Self::Device),
            _ => None,
        }
    }
}

/// Which `typ` a token's header must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068): an access token and nothing else.
    AccessToken,
    /// `JWT`, for issuers that cannot say more. Such an issuer's other tokens look the same: `aud` must then be a name that
    /// is used for access tokens only, never a client's.
    Any,
}

impl TokenType {
    /// Whether a header's `typ` says so: a media type, whose letters may be small or capital, and whose `application/` may be
    /// left out (RFC 7515, 4.1.9).
    fn is(self, typ: &str) -> bool {
        let name = match self {
            Self::AccessToken => "at+jwt",
            Self::Any => "jwt",
        };
        let bare = match typ.split_once('/') {
            Some((kind, bare)) if kind.eq_ignore_ascii_case("application") => bare,
            _ => typ,
        };
        bare.eq_ignore_ascii_case(name)
    }
}

/// Where an issuer's keys come from.
pub(super) enum Keys {
    /// The keys stand in the settings.
    Held(Set),
    /// The keys are fetched from the issuer, again and again.
    Fetched(Box<Source>),
}

impl Keys {
    pub fn get(&self, kid: &str) -> Option<Arc<DecodingKey>> {
        match self {
            Self::Held(keys) => keys.get(kid).cloned(),
            Self::Fetched(source) => source.key(kid),
        }
    }

    pub fn source(&self) -> Option<&Source> {
        match self {
            Self::Held(_) => None,
            Self::Fetched(source) => Some(source),
        }
    }
}

/// A trusted issuer: its name, its keys and what its tokens must say.
pub struct Issuer {
    pub(super) name: String,
    pub(super) keys: Keys,
    algorithm: Algorithm,
    typ: TokenType,
    needs_nbf: bool,
    validation: Validation,
    subject_claim: String,
    kinds: Vec<SubjectKind>,
    bare: Option<SubjectKind>,
}

impl Issuer {
    /// An issuer whose tokens carry `name` as `iss` and `audience` as `aud`, and speak for users only.
    pub fn new(name: &str, audience: &str, algorithm: Algorithm) -> Self {
        let mut validation = Validation::new(algorithm.pinned());
        validation.set_required_spec_claims(&["iss", "aud", "sub"]);
        validation.set_issuer(&[name]);
        validation.set_audience(&[audience]);
        // it counts whole seconds only: see `times`
        validation.validate_exp = false;
        Self {
            name: name.to_owned(),
            keys: Keys::Held(HashMap::new()),
            algorithm,
            typ: TokenType::AccessToken,
            needs_nbf: true,
            validation,
            subject_claim: "sub".to_owned(),
            kinds: vec![SubjectKind::User],
            bare: None,
        }
    }

    /// Adds a public key from PEM (SubjectPublicKeyInfo) under its `kid`.
    pub fn with_pem(self, kid: &str, pem: &[u8]) -> Result<Self, Error> {
        let key = keys::from_pem(pem, self.algorithm);
        let key = key.map_err(|error| Error::Key { name: kid.to_owned(), what: error.to_string() })?;
        Ok(self.with_key(kid, key))
    }

    /// Adds a raw Ed25519 public key of 32 bytes.
    pub(crate) fn with_ed25519(self, kid: &str, public: &[u8]) -> Self {
        self.with_key(kid, DecodingKey::from_ed_der(public))
    }

    /// Takes the keys that the issuer publishes, in place of any given before.
    pub fn with_discovery(self, discovery: &Discovery) -> Result<Self, Error> {
        let source = Source::new(&self.name, self.algorithm, discovery)?;
        Ok(Self { keys: Keys::Fetched(Box::new(source)), ..self })
    }

    /// Whom its tokens may speak for: these kinds only. `bare` is what a UUID without `user:` or `device:` means.
    pub fn speaking_for(self, kinds: &[SubjectKind], bare: Option<SubjectKind>) -> Self {
        Self { kinds: kinds.to_vec(), bare, ..self }
    }

    /// Which claim holds the subject, in place of `sub`. `sub` is required all the same.
    pub fn with_subject_claim(self, claim: &str) -> Self {
        Self { subject_claim: claim.to_owned(), ..self }
    }

    /// Sets the `typ` that the issuer's tokens must have.
    pub fn of_type(self, typ: TokenType) -> Self {
        Self { typ, ..self }
    }

    /// Takes tokens without `nbf`; one that is there still counts.
    pub fn without_nbf(self) -> Self {
        Self { needs_nbf: false, ..self }
    }

    fn with_key(mut self, kid: &str, key: DecodingKey) -> Self {
        if let Keys::Held(held) = &mut self.keys {
            held.insert(kid.to_owned(), Arc::new(key));
        }
        self
    }

    pub(super) fn check(&self, token: &str, parts: &Parts) -> Result<Identity, Fault> {
        if !self.typ.is(&parts.typ) || parts.algorithm != self.algorithm.name() {
            return Err(Fault::WrongType);
        }
        let key = self.keys.get(&parts.kid).ok_or(Fault::UnknownKey)?;
        let Object(claims) =
            decode::<Object>(token, &key, &self.validation).map_err(|error| fault(error.kind()))?.claims;
        if claims.get("typ").is_some_and(|typ| typ != BEARER) {
            return Err(Fault::WrongType);
        }
        let Times { issued_at, expires_at } = times(&claims, self.needs_nbf, now())?;
        let scope = scope(&claims)?;
        let subject = claims.get(&self.subject_claim).and_then(Value::as_str).and_then(|text| self.subject(text));
        Ok(Identity { subject: subject.ok_or(Fault::BadSubject)?, scope, issued_at, expires_at })
    }

    fn subject(&self, text: &str) -> Option<Subject> {
        let (kind, id) = match text.split_once(':') {
            Some((prefix, id)) => (SubjectKind::from_prefix(prefix)?, id),
            None => (self.bare?, text),
        };
        if !self.kinds.contains(&kind) {
            return None;
        }
        match kind {
            SubjectKind::User => id.parse::<UserId>().ok().map(Subject::User),
            SubjectKind::Device => id.parse::<DeviceId>().ok().map(Subject::Device),
        }
    }
}

fn fault(kind: &ErrorKind) -> Fault {
    match kind {
        ErrorKind::InvalidAudience => Fault::WrongAudience,
        ErrorKind::InvalidSignature => Fault::BadSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Fault::WrongType,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::InvalidIssuer => {
            Fault::BadClaims
        }
        _ => Fault::Malformed,
    }
}
