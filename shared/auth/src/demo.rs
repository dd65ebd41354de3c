//! The demo issuer: signs tokens for demo people and replayed devices. Only for loopback.

use crate::{Algorithm, Error, Issuer, SubjectKind, key_file};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{EncodingKey, Header, encode};
use model::{DeviceId, Nanos, UserId};
use serde::Serialize;
use std::path::Path;
use uuid::Uuid;

const NAME: &str = "https://demo.wardline.invalid";
const AUDIENCE: &str = "wardline";
const KEY_FILE: &str = "issuer.pk8";
/// Devices renew; a person at the demo should not have to within a working day.
const DEVICE_SECONDS: i64 = 15 * 60;
const USER_SECONDS: i64 = 12 * 60 * 60;

/// The demo's people, one for each role: role, name, id. Whom they may see is in the demo's directory files.
pub const PEOPLE: [(&str, &str, UserId); 8] = [
    ("doctor", "Dr. Ada Okafor", person(1)),
    ("nurse", "Noor Haddad", person(2)),
    ("administrator", "Alex Admin", person(3)),
    ("patient", "Pat Doe", person(4)),
    ("application-developer", "Dev Kapoor", person(5)),
    ("device-integrator", "Iris Lindqvist", person(6)),
    ("ml-scientist", "Milan Horvat", person(7)),
    ("auditor", "Audrey Stone", person(8)),
];

/// Who has a role at the demo.
pub fn demo_person(role: &str) -> Option<UserId> {
    PEOPLE.iter().find(|(name, ..)| *name == role).map(|(.., id)| *id)
}

const fn person(number: u128) -> UserId {
    UserId::new(Uuid::from_u128(0xd0c7_0000_0000_4000_8000_0000_0000_0000 + number))
}

/// Holds the demo's signing key.
pub struct DemoIssuer {
    pair: Ed25519KeyPair,
    signing: EncodingKey,
    kid: String,
}

#[derive(Serialize)]
struct Claims {
    iss: &'static str,
    aud: &'static str,
    sub: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

impl DemoIssuer {
    /// Opens the key in `dir`, made there at the first call (readable by its owner only).
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(KEY_FILE);
        let unusable = |what: &str| Error::Key { name: path.display().to_string(), what: what.to_owned() };
        let pkcs8 = key_file::ed25519(&path)?;
        let pair =
            Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| unusable("not an Ed25519 key in PKCS#8; delete it"))?;
        let kid: String = pair.public_key().as_ref()[..8].iter().map(|b| format!("{b:02x}")).collect();
        Ok(Self { pair, signing: EncodingKey::from_ed_der(&pkcs8), kid })
    }

    /// What a verifier must know of this issuer.
    pub fn issuer(&self) -> Issuer {
        Issuer::new(NAME, AUDIENCE, Algorithm::EdDsa)
            .with_ed25519(&self.kid, self.pair.public_key().as_ref())
            .speaking_for(&[SubjectKind::User, SubjectKind::Device], None)
    }

    /// A device's token, and when it ends.
    pub fn device_token_until(&self, device: DeviceId) -> Result<(String, Nanos), Error> {
        let ends = Nanos((now().0 / Nanos::SECOND + DEVICE_SECONDS) * Nanos::SECOND);
        Ok((self.device_token(device)?, ends))
    }

    /// A device's token, for 15 minutes.
    pub fn device_token(&self, device: DeviceId) -> Result<String, Error> {
        self.sign(format!("device:{}", device.uuid()), DEVICE_SECONDS)
    }

    /// A person's token, for 12 hours.
    pub fn user_token(&self, user: UserId) -> Result<String, Error> {
        self.sign(format!("user:{}", user.uuid()), USER_SECONDS)
    }

    /// A person's token that leaves only some permissions (see [`crate::Verifier`]), for 12 hours.
    pub fn scoped_token(&self, user: UserId, scope: &str) -> Result<String, Error> {
        self.sign_scoped(format!("user:{}", user.uuid()), USER_SECONDS, Some(scope.to_owned()))
    }

    /// A token that ends `seconds` from now (negative: has ended), for tests of what happens then.
    pub fn sign(&self, sub: String, seconds: i64) -> Result<String, Error> {
        self.sign_scoped(sub, seconds, None)
    }

    fn sign_scoped(&self, sub: String, seconds: i64, scope: Option<String>) -> Result<String, Error> {
        let now = now().0 / Nanos::SECOND;
        let mut header = Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.kid.clone());
        let iat = now.min(now + seconds);
        let claims = Claims { iss: NAME, aud: AUDIENCE, sub, iat, nbf: iat - 1, exp: now + seconds, scope };
        encode(&header, &claims, &self.signing)
            .map_err(|error| Error::Key { name: KEY_FILE.to_owned(), what: error.to_string() })
    }
}

pub(crate) fn now() -> Nanos {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
