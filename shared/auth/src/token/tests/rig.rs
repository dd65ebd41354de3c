//! An issuer with one key, and everything that an attacker could do with what is public of it.

use crate::token::{Algorithm, Issuer, SubjectKind, Verifier};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.test";
pub const AUDIENCE: &str = "wardline";
pub const ID: &str = "0191c3c8-7a00-7000-8000-00000000abcd";

/// A key pair.
pub enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EdDsa => Self::Ed(Ed25519KeyPair::generate().unwrap()),
            Algorithm::Es256 => Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Algorithm::Rs256 | Algorithm::Ps256 => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        }
    }

    /// Signs; an RSA key as `algorithm` says.
    pub fn sign(&self, text: &[u8], algorithm: Algorithm) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ed(pair) => pair.sign(text).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&random, text).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = match algorithm {
                    Algorithm::Ps256 => pair.sign(&RSA_PSS_SHA256, &random, text, &mut signature),
                    _ => pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature),
                };
                signed.unwrap();
                signature
            }
        }
    }

    /// The public key as a SubjectPublicKeyInfo (RFC 5280), in DER.
    pub fn der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Ed(pair) => pair.public_key().as_der().unwrap(),
            Self::Ec(pair) => pair.public_key().as_der().unwrap(),
            Self::Rsa(pair) => pair.public_key().as_der().unwrap(),
        };
        der.as_ref().to_vec()
    }

    pub fn pem(&self) -> String {
        let text = STANDARD.encode(self.der());
        let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// The key itself: a point, or PKCS#1.
    pub fn raw(&self) -> Vec<u8> {
        match self {
            Self::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Self::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// As an issuer would publish it.
    pub fn jwk(&self, kid: &str) -> Value {
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed(_) => json!({"kid": kid, "kty": "OKP", "crv": "Ed25519", "x": number(&self.raw())}),
            Self::Ec(_) => {
                let point = self.raw();
                json!({"kid": kid, "kty": "EC", "crv": "P-256", "x": number(&point[1..33]), "y": number(&point[33..])})
            }
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let modulus = number(key.modulus().big_endian_without_leading_zero());
                let exponent = number(key.exponent().big_endian_without_leading_zero());
                json!({"kid": kid, "kty": "RSA", "n": modulus, "e": exponent})
            }
        }
    }
}

/// An issuer that is believed, its key under the id `k1`.
pub struct Rig {
    pub algorithm: Algorithm,
    pub signer: Signer,
    /// Somebody else, with a key of the same kind.
    pub stranger: Signer,
}

impl Rig {
    pub fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, signer: Signer::new(algorithm), stranger: Signer::new(algorithm) }
    }

    /// It may speak for users and devices.
    pub fn issuer(&self) -> Issuer {
        let issuer = Issuer::new(ISSUER, AUDIENCE, self.algorithm).with_pem("k1", self.signer.pem().as_bytes());
        issuer.unwrap().speaking_for(&[SubjectKind::User, SubjectKind::Device], None)
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::new([self.issuer()])
    }

    pub fn head(&self) -> Value {
        json!({"alg": self.algorithm.name(), "typ": "at+jwt", "kid": "k1"})
    }

    /// A good token with other claims.
    pub fn with_claims(&self, claims: &Value) -> String {
        self.signed(self.head().to_string(), claims.to_string())
    }

    /// A good token with another head.
    pub fn with_head(&self, head: &Value) -> String {
        self.signed(head.to_string(), claims().to_string())
    }

    /// Any two texts, signed.
    pub fn signed(&self, head: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> String {
        self.by(&self.signer, head, body)
    }

    pub fn by(&self, signer: &Signer, head: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> String {
        seal(head, body, |text| signer.sign(text, self.algorithm))
    }

    pub fn good(&self) -> String {
        self.with_claims(&claims())
    }
}

/// Any two texts with any signature.
pub fn seal(head: impl AsRef<[u8]>, body: impl AsRef<[u8]>, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", encode(head), encode(body));
    let signature = sign(text.as_bytes());
    format!("{text}.{}", encode(signature))
}

pub fn hs256(secret: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text).as_ref().to_vec()
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": format!("device:{ID}"),
        "iat": now() - 1, "nbf": now() - 1, "exp": now() + 300,
    })
}

/// The claims with one changed.
pub fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

/// An object without one of its names.
pub fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}
