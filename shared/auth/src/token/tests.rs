//! Each way in which a token can be wrong, alone: the same token with nothing changed is good.

use super::*;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "wardline";
const DEVICE: &str = "0191c3c8-7a00-7000-8000-00000000abcd";

/// An issuer with one key, under the id `k1`.
struct Issuing {
    key: EncodingKey,
    public: Vec<u8>,
}

impl Issuing {
    fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let public = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap().public_key().as_ref().to_vec();
        Self { key: EncodingKey::from_ed_der(pkcs8.as_ref()), public }
    }

    fn verifier(&self) -> Verifier {
        Verifier::new([Issuer::new(ISSUER, AUDIENCE, Algorithm::EdDsa).with_ed25519("k1", &self.public)])
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }

    /// A token whose head is any JSON, signed with this key.
    fn sign_raw(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &self.key, jsonwebtoken::Algorithm::EdDSA).unwrap();
        format!("{text}.{signature}")
    }
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            out.push(char::from(LETTERS[(bits >> (18 - 6 * i)) as usize & 63]));
        }
    }
    out
}

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

fn header() -> Header {
    let mut header = Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.typ = Some("at+jwt".into());
    header.kid = Some("k1".into());
    header
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": format!("device:{DEVICE}"),
        "iat": now(), "nbf": now() - 1, "exp": now() + 300,
    })
}

#[test]
fn a_good_token_says_who_and_until_when() {
    let issuing = Issuing::new();
    let (verifier, claims) = (issuing.verifier(), claims());
    let identity = verifier.verify(&issuing.sign(&header(), &claims)).unwrap();
    assert_eq!(identity.subject, Subject::Device(DEVICE.parse().unwrap()));
    assert_eq!(identity.expires_at.0, claims["exp"].as_i64().unwrap() * Nanos::SECOND);
    assert_eq!(identity.scope, None);
    // signed by hand it is the same
    let raw = issuing.sign_raw(&json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}), &claims);
    assert_eq!(verifier.verify(&raw), Ok(identity));
    let mut person = claims;
    person["sub"] = json!(format!("user:{DEVICE}"));
    person["aud"] = json!(["other", AUDIENCE]);
    let identity = verifier.verify(&issuing.sign(&header(), &person)).unwrap();
    assert_eq!(identity.subject, Subject::User(DEVICE.parse().unwrap()));
}

#[test]
fn a_scope_leaves_what_it_names_and_only_our_words_count() {
    let issuing = Issuing::new();
    let scope = |words: Value| {
        let mut claims = claims();
        claims["scope"] = words;
        issuing.verifier().verify(&issuing.sign(&header(), &claims)).map(|identity| identity.scope)
    };
    assert_eq!(scope(json!("openid profile")), Ok(None));
    assert_eq!(scope(json!("openid wardline/readings.read")), Ok(Some(vec![Permission::ReadReadings])));
    let both = vec![Permission::WriteReadings, Permission::ReadReadings];
    assert_eq!(scope(json!("wardline/readings.write  wardline/readings.read")), Ok(Some(both)));
    assert_eq!(scope(json!("wardline/everything")), Ok(Some(vec![])), "not everything");
    for odd in [json!(["wardline/readings.read"]), json!(7), Value::Null] {
        assert_eq!(scope(odd.clone()), Err(Rejected::Invalid), "{odd}");
    }
}

#[test]
fn each_wrong_claim_alone_is_refused() {
    let issuing = Issuing::new();
    let verifier = issuing.verifier();
    let changed = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        verifier.verify(&issuing.sign(&header(), &claims))
    };
    let invalid = Err(Rejected::Invalid);
    for name in ["iss", "aud", "sub", "exp", "nbf"] {
        let mut without = claims();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(verifier.verify(&issuing.sign(&header(), &without)), invalid, "without {name}");
        for odd in [Value::Null, json!({}), json!(true), json!("")] {
            assert_eq!(changed(name, odd.clone()), invalid, "{name} {odd}");
        }
    }
    for (name, value) in [
        ("iss", json!("https://other.test")),
        ("iss", json!([ISSUER])),
        ("iss", json!(["https://other.test", ISSUER])),
        ("iss", json!(123)),
        ("aud", json!("other")),
        ("aud", json!(["other"])),
        ("aud", json!([])),
        ("nbf", json!(now() + 120)),
        ("nbf", json!("soon")),
        ("exp", json!("never")),
        ("exp", json!(i64::MAX)),
        ("exp", json!(1e300)),
        ("sub", json!(DEVICE)),
        ("sub", json!(format!("admin:{DEVICE}"))),
        ("sub", json!("device:")),
        ("sub", json!("device:bed 7")),
        ("sub", json!(["device", DEVICE])),
    ] {
        assert_eq!(changed(name, value.clone()), invalid, "{name} {value}");
    }
    assert_eq!(changed("exp", json!(now() - 60)), Err(Rejected::Expired));
    assert!(changed("exp", json!(now() + 1)).is_ok());
    assert!(changed("nbf", json!(now() + 5)).is_ok(), "clocks may differ a little");
    assert!(changed("more", json!("claims")).is_ok());
}

#[test]
fn each_wrong_header_alone_is_refused() {
    let issuing = Issuing::new();
    let (verifier, good) = (issuing.verifier(), json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}));
    assert!(verifier.verify(&issuing.sign_raw(&good, &claims())).is_ok());
    for (name, value) in [
        ("typ", Value::Null),
        ("typ", json!("JWT")),
        ("typ", json!("application/at+jwt")),
        ("kid", Value::Null),
        ("kid", json!("k2")),
        ("kid", json!("")),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("ES256")),
        ("alg", json!("RS256")),
        ("alg", json!("EdDSA ")),
        ("alg", Value::Null),
    ] {
        let mut header = good.clone();
        match &value {
            Value::Null => drop(header.as_object_mut().unwrap().remove(name)),
            value => header[name] = value.clone(),
        }
        let outcome = verifier.verify(&issuing.sign_raw(&header, &claims()));
        assert_eq!(outcome, Err(Rejected::Invalid), "{name} {value}");
    }
    // where a key could be fetched from is nothing that a token decides
    let mut header = good;
    header["jku"] = json!("https://attacker.test/keys");
    assert!(verifier.verify(&issuing.sign_raw(&header, &claims())).is_ok());
}

#[test]
fn no_other_signature_is_believed() {
    let (issuing, other) = (Issuing::new(), Issuing::new());
    let verifier = issuing.verifier();
    let good = issuing.sign(&header(), &claims());
    let invalid = Err(Rejected::Invalid);
    assert_eq!(verifier.verify(&other.sign(&header(), &claims())), invalid, "another key under the same id");
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let mut stronger = claims();
    stronger["sub"] = json!("user:0191c3c8-7a00-7000-8000-00000000ffff");
    let stronger = base64url(stronger.to_string().as_bytes());
    assert_eq!(verifier.verify(&format!("{head}.{stronger}.{signature}")), invalid, "another payload");
    assert_eq!(verifier.verify(&format!("{head}.{body}.")), invalid, "no signature");
    let none = base64url(json!({"alg": "none", "typ": "at+jwt", "kid": "k1"}).to_string().as_bytes());
    assert_eq!(verifier.verify(&format!("{none}.{body}.")), invalid, "alg none");
    assert_eq!(verifier.verify(&format!("{none}.{body}.{signature}")), invalid, "alg none, signed");
    // the public key as the secret of a symmetric algorithm
    let mut symmetric = header();
    symmetric.alg = jsonwebtoken::Algorithm::HS256;
    let forged = encode(&symmetric, &claims(), &EncodingKey::from_secret(&issuing.public)).unwrap();
    assert_eq!(verifier.verify(&forged), invalid, "HS256 with the public key");
    for at in (0..good.len()).step_by(7) {
        let mut bent = good.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(verifier.verify(&String::from_utf8(bent).unwrap()), invalid, "byte {at}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let issuing = Issuing::new();
    let verifier = issuing.verifier();
    for text in ["", ".", "..", "a.b.c", "a.b.c.d", "é.é.é", &"a".repeat(5_000)] {
        assert_eq!(verifier.verify(text), Err(Rejected::Invalid), "{text}");
    }
    let padded = |bytes: usize| {
        let mut claims = claims();
        claims["pad"] = json!("x".repeat(bytes));
        issuing.sign(&header(), &claims)
    };
    assert!(verifier.verify(&padded(1_000)).is_ok());
    assert_eq!(verifier.verify(&padded(4_000)), Err(Rejected::Invalid), "oversized");
    assert_eq!(Verifier::default().verify(&padded(1)), Err(Rejected::Invalid), "nobody is believed by default");
}

#[test]
fn an_issuer_speaks_only_for_itself() {
    let (first, second) = (Issuing::new(), Issuing::new());
    let verifier = Verifier::new([
        Issuer::new(ISSUER, AUDIENCE, Algorithm::EdDsa).with_ed25519("k1", &first.public),
        Issuer::new("https://second.test", AUDIENCE, Algorithm::EdDsa).with_ed25519("k2", &second.public),
    ]);
    let mut by_second = header();
    by_second.kid = Some("k2".into());
    assert_eq!(verifier.verify(&second.sign(&by_second, &claims())), Err(Rejected::Invalid), "the name of the first");
    let mut own = claims();
    own["iss"] = json!("https://second.test");
    assert!(verifier.verify(&second.sign(&by_second, &own)).is_ok());
    assert_eq!(verifier.verify(&second.sign(&header(), &own)), Err(Rejected::Invalid), "the key of the first");
}

#[test]
fn demo_tokens_are_good_where_the_demo_issuer_is_believed_and_nowhere_else() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let demo = crate::DemoIssuer::open(dir.path()).unwrap();
    let token = demo.device_token(DEVICE.parse().unwrap()).unwrap();
    let again = crate::DemoIssuer::open(dir.path()).unwrap();
    assert!(Verifier::new([again.issuer()]).verify(&token).is_ok(), "the key is kept");
    let other = crate::DemoIssuer::open(elsewhere.path()).unwrap();
    assert_eq!(Verifier::new([other.issuer()]).verify(&token), Err(Rejected::Invalid));
    let ended = demo.sign(format!("device:{DEVICE}"), -60).unwrap();
    assert_eq!(Verifier::new([demo.issuer()]).verify(&ended), Err(Rejected::Expired));
}
