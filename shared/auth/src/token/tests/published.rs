//! Of the keys that an issuer publishes only those are taken that can check its signatures.

use super::rig::{Rig, Signer, decode, encode};
use crate::token::{Algorithm, Discovery, Pace, fetch, keys};
use serde_json::{Value, json};

const ALL: [Algorithm; 4] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256];

fn taken(keys: &[Value], algorithm: Algorithm) -> Vec<String> {
    let text = json!({"keys": keys}).to_string();
    let mut taken: Vec<_> = keys::from_jwks(text.as_bytes(), algorithm).unwrap().into_keys().collect();
    taken.sort();
    taken
}

fn with(mut key: Value, changes: &[(&str, Value)]) -> Value {
    for (name, value) in changes {
        key[*name] = value.clone();
    }
    key
}

#[test]
fn a_published_key_is_the_key() {
    for algorithm in ALL {
        let rig = Rig::new(algorithm);
        let set = json!({"keys": [rig.stranger.jwk("k0"), rig.signer.jwk("k1")]}).to_string();
        let keys = keys::from_jwks(set.as_bytes(), algorithm).unwrap();
        let token = rig.good();
        let mut validation = jsonwebtoken::Validation::new(algorithm.name().parse().unwrap());
        validation.set_audience(&[super::AUDIENCE]);
        let check = |kid: &str| jsonwebtoken::decode::<Value>(&token, &keys[kid], &validation).is_ok();
        assert!(check("k1") && !check("k0"), "{algorithm:?}");
    }
}

#[test]
fn a_key_for_something_else_is_left_out() {
    for algorithm in ALL {
        let good = Signer::new(algorithm).jwk("good");
        let key = |kid: &str, changes: &[(&str, Value)]| with(with(good.clone(), &[("kid", json!(kid))]), changes);
        let said =
            key("said", &[("use", json!("sig")), ("alg", json!(algorithm.name())), ("key_ops", json!(["verify"]))]);
        let mut keys = vec![
            good.clone(),
            said,
            key("x5c", &[("x5c", json!(["MII"])), ("x5u", json!("https://attacker.test")), ("more", json!(1))]),
            key("enc", &[("use", json!("enc"))]),
            key("no use", &[("use", json!(""))]),
            key("other alg", &[("alg", json!("ES512"))]),
            key("symmetric alg", &[("alg", json!("HS256"))]),
            key("ops", &[("key_ops", json!(["sign", "encrypt"]))]),
            key("private", &[("d", json!("AAAA"))]),
            key("kind", &[("kty", json!("oct")), ("k", json!("c2VjcmV0"))]),
            key("kind in small letters", &[("kty", json!(good["kty"].as_str().unwrap().to_lowercase()))]),
            key("number for a kind", &[("kty", json!(7))]),
            key(&"k".repeat(300), &[]),
            key("", &[]),
            json!({"kid": "oct", "kty": "oct", "k": "c2VjcmV0", "alg": algorithm.name(), "use": "sig"}),
            json!("no key"),
            Value::Null,
        ];
        let mut nameless = good.clone();
        nameless.as_object_mut().unwrap().remove("kid");
        keys.push(nameless);
        // one key can do both with RSA
        let kind = |algorithm| if algorithm == Algorithm::Ps256 { Algorithm::Rs256 } else { algorithm };
        let others = ALL.into_iter().filter(|other| kind(*other) != kind(algorithm));
        keys.extend(others.map(|other| Signer::new(other).jwk("another kind")));
        assert_eq!(taken(&keys, algorithm), ["good", "said", "x5c"], "{algorithm:?}");
    }
}

#[test]
fn a_weak_or_broken_key_is_left_out() {
    let number = |text: &Value| decode(text.as_str().unwrap());
    let rsa = Signer::new(Algorithm::Rs256).jwk("k");
    let modulus = number(&rsa["n"]);
    for (n, e, expected) in [
        (modulus.clone(), vec![1, 0, 1], true),
        // a zero before changes no number
        ([&[0], &modulus[..]].concat(), vec![0, 1, 0, 1], true),
        (modulus[..255].to_vec(), vec![1, 0, 1], false),
        (vec![0xff; 128], vec![1, 0, 1], false),
        ([&[0; 128], &[0xff; 128][..]].concat(), vec![1, 0, 1], false),
        ([&[0x7f], &[0xff; 255][..]].concat(), vec![1, 0, 1], false),
        (vec![0xff; 1_025], vec![1, 0, 1], false),
        (modulus.clone(), vec![1], false),
        (modulus.clone(), vec![3], false),
        (modulus.clone(), vec![], false),
        (modulus.clone(), vec![0xff; 9], false),
        (vec![], vec![1, 0, 1], false),
        (vec![0; 256], vec![1, 0, 1], false),
    ] {
        let key = with(rsa.clone(), &[("n", json!(encode(&n))), ("e", json!(encode(&e)))]);
        for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
            assert_eq!(
                !taken(std::slice::from_ref(&key), algorithm).is_empty(),
                expected,
                "{} bytes, e {e:?}",
                n.len()
            );
        }
    }
    let (ec, ed) = (Signer::new(Algorithm::Es256).jwk("k"), Signer::new(Algorithm::EdDsa).jwk("k"));
    for (key, algorithm, name, value) in [
        (&ec, Algorithm::Es256, "crv", json!("P-384")),
        (&ec, Algorithm::Es256, "crv", json!("secp256k1")),
        (&ec, Algorithm::Es256, "x", json!(encode([1; 31]))),
        (&ec, Algorithm::Es256, "y", json!(encode([1; 33]))),
        (&ec, Algorithm::Es256, "y", Value::Null),
        (&ed, Algorithm::EdDsa, "crv", json!("X25519")),
        (&ed, Algorithm::EdDsa, "crv", json!("Ed448")),
        (&ed, Algorithm::EdDsa, "x", json!(encode([1; 57]))),
        (&ed, Algorithm::EdDsa, "x", json!("not base64!")),
    ] {
        assert_eq!(taken(&[with(key.clone(), &[(name, value.clone())])], algorithm), [""; 0], "{name} {value}");
    }
}

#[test]
fn a_set_is_bounded_and_its_first_key_of_a_name_counts() {
    let (first, second) = (Rig::new(Algorithm::EdDsa), Rig::new(Algorithm::EdDsa));
    let set = json!({"keys": [first.signer.jwk("k1"), second.signer.jwk("k1")]}).to_string();
    let keys = keys::from_jwks(set.as_bytes(), Algorithm::EdDsa).unwrap();
    assert_eq!(keys["k1"].try_get_as_bytes().unwrap(), first.signer.raw());
    let many: Vec<_> = (0..1_000).map(|number| first.signer.jwk(&number.to_string())).collect();
    assert_eq!(taken(&many, Algorithm::EdDsa).len(), 100);
    for text in ["", "{}", "[]", "null", r#"{"keys": {}}"#, r#"{"keys": 7}"#, r#"{"keys": []} x"#] {
        assert!(keys::from_jwks(text.as_bytes(), Algorithm::EdDsa).is_err(), "{text}");
    }
    assert!(taken(&[], Algorithm::EdDsa).is_empty());
}

#[test]
fn an_address_is_one_that_nobody_on_the_way_can_answer_for() {
    for text in [
        "https://id.example.org/a?b",
        "https://10.0.0.1:8443/",
        "http://127.0.0.1:80/a",
        "http://localhost/",
        "http://[::1]:8/",
    ] {
        assert!(fetch::address(text).is_ok(), "{text}");
    }
    for text in [
        "http://id.example.org/",
        "http://10.0.0.1/",
        "http://localhost.attacker.test/",
        "http://127.0.0.1.attacker.test/",
        "http://[::2]/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "https://user:word@id.example.org/",
        "/keys",
        "keys",
        "",
        "https://",
        "https:///keys",
        "http://127.0.0.1@attacker.test/",
        "https://id.example.org/#a",
        "https://a b/",
    ] {
        assert!(fetch::address(text).is_err(), "{text}");
    }
    let discovery = |url: Option<&str>| Discovery { url: url.map(str::to_owned), ca_file: None, pace: Pace::default() };
    assert!(discovery(None).check("https://id.example.org").is_ok());
    assert!(discovery(None).check("not an address").is_err());
    assert!(discovery(None).check("http://id.example.org").is_err());
    assert!(
        discovery(Some("https://internal.test/document")).check("http://id.example.org").is_ok(),
        "its name is a name"
    );
}
