//! The demo issuer: signs tokens for demo people and replayed devices. Only for loopback.

use crate::{DeviceIssuer, Error, Issuer, SubjectKind, key_file, signer::Signer};
use model::{DeviceId, UserId};
use std::path::Path;
use uuid::Uuid;

const NAME: &str = "https://demo.wardline.invalid";
const KEY_FILE: &str = "issuer.pk8";
/// Devices renew; a person at the demo should not have to within a working day.
const DEVICE_MINUTES: u16 = 15;
const USER_SECONDS: i64 = 12 * 60 * 60;

/// The demo's people, one for each role: role, name, id.
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
pub struct DemoIssuer(Signer);

impl DemoIssuer {
    /// Opens the key in `dir`, made there at the first call (readable by its owner only).
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(KEY_FILE);
        let what = "not an Ed25519 key in PKCS#8; delete it".to_owned();
        let signer = Signer::new(NAME, &key_file::ed25519(&path)?);
        signer.map(Self).ok_or_else(|| Error::Key { name: path.display().to_string(), what })
    }

    /// What a verifier must know of this issuer.
    pub fn issuer(&self) -> Issuer {
        self.0.issuer().speaking_for(&[SubjectKind::User, SubjectKind::Device], None)
    }

    /// Its part that issues tokens for devices.
    pub fn into_devices(self) -> DeviceIssuer {
        DeviceIssuer::signing_with(self.0, DEVICE_MINUTES)
    }

    /// A device's token, for 15 minutes.
    pub fn device_token(&self, device: DeviceId) -> Result<String, Error> {
        self.sign(format!("device:{}", device.uuid()), i64::from(DEVICE_MINUTES) * 60)
    }

    /// A person's token, for 12 hours.
    pub fn user_token(&self, user: UserId) -> Result<String, Error> {
        self.sign(format!("user:{}", user.uuid()), USER_SECONDS)
    }

    /// A person's token that leaves only some permissions (see [`crate::Verifier`]), for 12 hours.
    pub fn scoped_token(&self, user: UserId, scope: &str) -> Result<String, Error> {
        self.0.sign(&format!("user:{}", user.uuid()), USER_SECONDS, Some(scope))
    }

    /// A token that ends `seconds` from now (negative: has ended), for tests of what happens then.
    pub fn sign(&self, sub: String, seconds: i64) -> Result<String, Error> {
        self.0.sign(&sub, seconds, None)
    }
}
