//! Access tokens: one pinned algorithm per issuer, every claim required, nothing believed from the token's header.
//!
//! Claims: `iss`, `aud`, `sub`, `exp`, `nbf` (see [`Issuer`] for what an issuer may do otherwise); header `typ` is `at+jwt`
//! (RFC 9068). The subject is `user:UUID`, `device:UUID`, or a UUID alone where the issuer's settings say what that means.
//! `scope` (RFC 8693) or `scp`: words like `wardline/readings.read` leave only those permissions; without such a word all are
//! left, and what restricts and is not understood is refused.
//! `jku`, `x5u`, `jwk` and `x5c` in the header are ignored: keys come from settings, or from the issuer's own address.
//!
//! The issuer is found by the token's `iss`, and its key by `kid` among that issuer's keys only, so that no issuer can sign
//! for another. A key that is not known may be a new one: [`Verifier::verify`] asks the issuer, at most once in a while.

mod fetch;
mod issuer;
mod keys;
mod scope;
mod source;
mod strict;
mod times;

pub use issuer::{Issuer, SubjectKind, TokenType};
pub use keys::Algorithm;
pub use source::{Discovery, Pace};

use futures::future::join_all;
use model::access::Identity;
use source::Source;
use std::collections::HashMap;
use strict::Parts;

/// Longest token that is read, in bytes: half of what the head of a request may have.
pub const MAX_TOKEN_BYTES: usize = 4_096;

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
    /// It may be good, but its issuer does not answer: try again.
    #[error("the issuer of the token cannot be asked for its keys")]
    IssuerUnavailable,
    /// It is longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is too large")]
    TooLarge,
    /// It restricts what it may be used for in a way that is not understood here: get one with another scope.
    #[error("the token has a restriction that is not understood here")]
    UnknownRestriction,
    /// Not valid here, for any other reason.
    #[error("the token is not valid here")]
    Invalid,
}

/// What is wrong with a token, for the operator's eyes: a label of `wardline_auth_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is longer than [`MAX_TOKEN_BYTES`].
    TooLarge,
    /// No signed token: its segments, its JSON, or a header that asks for what is not done here.
    Malformed,
    /// Nobody that is believed.
    UnknownIssuer,
    /// The key that the header names (`kid`) is not one of the issuer's.
    UnknownKey,
    /// `kid`, and the issuer could not be asked.
    IssuerUnavailable,
    /// The header's `typ` or `alg` is not the one that the issuer's settings name.
    WrongType,
    /// The signature does not verify with the key that the header names.
    BadSignature,
    /// No audience (`aud`) is ours.
    WrongAudience,
    /// The expiry (`exp`) has passed.
    Expired,
    /// `nbf` or `iat` lies ahead.
    NotYetValid,
    /// A claim is missing or is of the wrong kind.
    BadClaims,
    /// A claim that restricts the token is not understood.
    UnknownRestriction,
    /// The subject is no person and no device, or not one that the issuer may speak for.
    BadSubject,
}

impl Fault {
    const ALL: [Self; 13] = [
        Self::TooLarge,
        Self::Malformed,
        Self::UnknownIssuer,
        Self::UnknownKey,
        Self::IssuerUnavailable,
        Self::WrongType,
        Self::BadSignature,
        Self::WrongAudience,
        Self::Expired,
        Self::NotYetValid,
        Self::BadClaims,
        Self::UnknownRestriction,
        Self::BadSubject,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownKey => "unknown_key",
            Self::IssuerUnavailable => "issuer_unavailable",
            Self::WrongType => "wrong_type",
            Self::BadSignature => "bad_signature",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BadClaims => "bad_claims",
            Self::UnknownRestriction => "unknown_restriction",
            Self::BadSubject => "bad_subject",
        }
    }

    fn rejected(self) -> Rejected {
        match self {
            Self::Expired => Rejected::Expired,
            Self::IssuerUnavailable => Rejected::IssuerUnavailable,
            Self::TooLarge => Rejected::TooLarge,
            Self::UnknownRestriction => Rejected::UnknownRestriction,
            _ => Rejected::Invalid,
        }
    }
}

/// All that can be wrong with a token: as it is counted (`reason` of `wardline_auth_refused_total`), and what its bearer is told.
pub fn faults() -> impl Iterator<Item = (&'static str, Rejected)> {
    Fault::ALL.into_iter().map(|fault| (fault.label(), fault.rejected()))
}

/// Counts a request that is refused for its token; `reason` is one of a small fixed set.
pub fn count_refused(reason: &'static str) {
    crate::metrics::refused(reason);
}

impl Verifier {
    /// Believes these issuers and no other.
    pub fn new(issuers: impl IntoIterator<Item = Issuer>) -> Self {
        Self { issuers: issuers.into_iter().map(|i| (i.name.clone(), i)).collect() }
    }

    /// Checks a token with the keys at hand. `None`: it names a key that its issuer may have by now and may be asked for, as
    /// [`Verifier::verify`] does.
    pub fn verify_now(&self, token: &str) -> Option<Result<Identity, Rejected>> {
        match self.check(token) {
            Err(Fault::UnknownKey) if self.source(token).is_some_and(Source::may_be_asked) => None,
            outcome => Some(self.settle(token, outcome)),
        }
    }

    /// Checks a token, and asks its issuer first when it names a key that is not known: for some seconds at most, and as
    /// seldom as the issuer's [`Pace`] says.
    pub async fn verify(&self, token: &str) -> Result<Identity, Rejected> {
        // twice: what is under way may have begun before the issuer had the key
        for _ in 0..2 {
            if self.check(token) != Err(Fault::UnknownKey) {
                break;
            }
            let Some(answered) = self.source(token).and_then(Source::ask) else { break };
            answered.await;
        }
        self.settle(token, self.check(token))
    }

    /// Keeps the keys of those issuers fresh that are asked for them. Never ends; dropped, the keys stay as they are.
    pub async fn follow(&self) {
        join_all(self.issuers.values().filter_map(|issuer| issuer.keys.source()).map(Source::follow)).await;
        std::future::pending().await
    }

    fn check(&self, token: &str) -> Result<Identity, Fault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Fault::TooLarge);
        }
        let parts = Parts::read(token).ok_or(Fault::Malformed)?;
        self.issuers.get(&parts.issuer).ok_or(Fault::UnknownIssuer)?.check(token, &parts)
    }

    /// Where the token's issuer can be asked.
    fn source(&self, token: &str) -> Option<&Source> {
        self.issuers.get(&Parts::read(token)?.issuer)?.keys.source()
    }

    fn settle(&self, token: &str, outcome: Result<Identity, Fault>) -> Result<Identity, Rejected> {
        outcome.map_err(|fault| {
            let unanswered = fault == Fault::UnknownKey && self.source(token).is_some_and(Source::is_failing);
            let fault = if unanswered { Fault::IssuerUnavailable } else { fault };
            count_refused(fault.label());
            fault.rejected()
        })
    }
}

#[cfg(test)]
mod tests;
