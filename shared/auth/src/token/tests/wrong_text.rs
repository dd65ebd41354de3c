//! Claims and head are good; the signature or the writing is not.

use super::{
    Case,
    rig::{Rig, Signer, changed, claims, decode, encode, hs256, seal},
};
use crate::token::{Algorithm, MAX_TOKEN_BYTES, Rejected};
use serde_json::json;

/// The order of Ed25519's group, little-endian (RFC 8032): adding it to S gives the same signature in other bytes.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

pub fn cases(rig: &Rig) -> Vec<Case> {
    let good = rig.good();
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three segments") };
    // signed as it is written, so that nothing but the writing is wrong
    let sealed = |text: &str| seal_over(text, |text| rig.signer.sign(text, rig.algorithm));
    let padded = |segment: &str| format!("{segment}{}", "=".repeat(1 + (3 - segment.len() % 4) % 4));
    let mut cases = Vec::new();
    let mut add = |what: &str, token: String| cases.push(Case::invalid(what, token));
    for (what, token) in [
        ("nothing", String::new()),
        ("a dot", ".".to_owned()),
        ("two dots", "..".to_owned()),
        ("four dots", "....".to_owned()),
        ("words", "a.b.c".to_owned()),
        ("one segment", head.to_owned()),
        ("two segments", format!("{head}.{body}")),
        ("no signature", format!("{head}.{body}.")),
        ("no body", format!("{head}..{signature}")),
        ("no head", format!(".{body}.{signature}")),
        ("a dot behind", format!("{good}.")),
        ("a dot before", format!(".{good}")),
        ("four segments", format!("{good}.{signature}")),
        ("five segments, as if encrypted", format!("{head}.{signature}.{signature}.{body}.{signature}")),
        ("head and body swapped", format!("{body}.{head}.{signature}")),
        ("the head as body", format!("{head}.{head}.{signature}")),
        ("a space before", format!(" {good}")),
        ("a space behind", format!("{good} ")),
        ("a space within", sealed(&format!("{head}. {body}"))),
        ("a space within a segment", sealed(&format!("{} {}.{body}", &head[..8], &head[8..]))),
        ("a line break behind", format!("{good}\n")),
        ("a line break within", sealed(&format!("{head}.{body}\r\n"))),
        ("a tab within", format!("{head}.{body}.\t{signature}")),
        ("NUL behind", format!("{good}\0")),
        ("NUL within", sealed(&format!("{head}\0.{body}"))),
        ("NUL and more behind", format!("{good}\0{good}")),
        ("not our letters", "é.é.é".to_owned()),
        ("a wide dot", good.replace('.', "．")),
        ("a space of no width", format!("{good}\u{200b}")),
        ("percent encoded", good.replace('.', "%2E")),
        ("in quotes", format!("\"{good}\"")),
        ("with its scheme", format!("Bearer {good}")),
        ("two, with a comma", format!("{good},{good}")),
        ("as JSON", json!({"protected": head, "payload": body, "signature": signature}).to_string()),
        ("padding in the head", sealed(&format!("{}.{body}", padded(head)))),
        ("padding in the body", sealed(&format!("{head}.{}", padded(body)))),
        ("padding in the signature", format!("{head}.{body}.{}", padded(signature))),
        ("the longest, of dots only", ".".repeat(MAX_TOKEN_BYTES)),
        ("the longest, of one letter", "a".repeat(MAX_TOKEN_BYTES)),
    ] {
        add(what, token);
    }
    for (what, token) in [
        ("too long", "a".repeat(5_000)),
        ("a byte too long", "a".repeat(MAX_TOKEN_BYTES + 1)),
        ("oversized", rig.with_claims(&changed("pad", json!("x".repeat(MAX_TOKEN_BYTES))))),
    ] {
        cases.push(Case { what: what.to_owned(), token, expected: Rejected::TooLarge });
    }
    cases.extend(writings(rig));
    cases
}

/// The same bytes, written in other characters.
fn writings(rig: &Rig) -> Vec<Case> {
    // the last letter of an unpadded segment has bits that say nothing: they must be zero
    let bent = |segment: &str| -> Option<String> {
        const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = LETTERS.find(segment.chars().last()?)?;
        let free = [0, 0, 4, 2][segment.len() % 4];
        (free > 0).then(|| format!("{}{}", &segment[..segment.len() - 1], &LETTERS[at + 1..at + 2]))
    };
    let mut cases = Vec::new();
    for at in 0..3 {
        // some length of the claims leaves such bits in each segment
        let token = (0..3).find_map(|length| {
            let pad = "x".repeat(length);
            let mut head = rig.head();
            head["pad"] = json!(pad);
            let token = rig.signed(head.to_string(), changed("pad", json!(pad)).to_string());
            let mut segments: Vec<_> = token.split('.').map(str::to_owned).collect();
            segments[at] = bent(&segments[at])?;
            let text = segments[..2].join(".");
            let signed = seal_over(&text, |text| rig.signer.sign(text, rig.algorithm));
            Some(if at < 2 { signed } else { segments.join(".") })
        });
        cases.push(Case::invalid(format!("bits that say nothing in segment {at}"), token.unwrap()));
    }
    let standard = (0..1_000).find_map(|number| {
        let token = rig.with_claims(&changed("jti", json!(number.to_string())));
        let other = token.replace('-', "+").replace('_', "/");
        (other != token).then_some(other)
    });
    cases.push(Case::invalid("the letters of plain base64", standard.unwrap()));
    cases
}

fn signatures(rig: &Rig, good: &str) -> Vec<Case> {
    let (text, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = text.split_once('.').unwrap();
    let bytes = decode(signature);
    let with = |bytes: &[u8]| format!("{text}.{}", encode(bytes));
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        with(&bytes)
    };
    let other = rig.with_claims(&changed("jti", json!("other")));
    let (other_text, other_signature) = other.rsplit_once('.').unwrap();
    let stronger = changed("sub", json!("user:0191c3c8-7a00-7000-8000-00000000ffff"));
    let longer_kid = encode(json!({"alg": rig.algorithm.name(), "typ": "at+jwt", "kid": "k1", "x": 1}).to_string());
    let half = bytes.len() / 2;
    let mut cases = Vec::new();
    for (what, token) in [
        ("cut by a byte", with(&bytes[..bytes.len() - 1])),
        ("cut by its first byte", with(&bytes[1..])),
        ("cut in half", with(&bytes[..half])),
        ("one byte", with(&bytes[..1])),
        ("a byte longer", with(&[&bytes[..], &[0]].concat())),
        ("a zero before", with(&[&[0], &bytes[..]].concat())),
        ("twice", with(&[&bytes[..], &bytes[..]].concat())),
        ("halves swapped", with(&[&bytes[half..], &bytes[..half]].concat())),
        ("reversed", with(&bytes.iter().rev().copied().collect::<Vec<_>>())),
        ("all zero", with(&vec![0; bytes.len()])),
        ("all ones", with(&vec![0xff; bytes.len()])),
        ("the number one", with(&[vec![0; bytes.len() - 1], vec![1]].concat())),
        ("first bit flipped", flipped(0)),
        ("a bit in the middle flipped", flipped(half)),
        ("last bit flipped", flipped(bytes.len() - 1)),
        ("of another token", format!("{text}.{other_signature}")),
        ("of another token, the other way", format!("{other_text}.{signature}")),
        ("of other claims", format!("{head}.{}.{signature}", encode(stronger.to_string()))),
        ("of another head", format!("{longer_kid}.{body}.{signature}")),
        (
            "of the text without dot",
            seal_over(text, |_| rig.signer.sign(text.replace('.', "").as_bytes(), rig.algorithm)),
        ),
        ("of the claims alone", seal_over(text, |_| rig.signer.sign(body.as_bytes(), rig.algorithm))),
        ("by a stranger", seal_over(text, |text| rig.stranger.sign(text, rig.algorithm))),
    ] {
        cases.push(Case::invalid(format!("{}: signature {what}", rig.algorithm.name()), token));
    }
    cases
}

fn seal_over(text: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    format!("{text}.{}", encode(sign(text.as_bytes())))
}

/// One algorithm taken for another. For each pinned one.
pub fn confusions(rig: &Rig) -> Vec<Case> {
    let name = rig.algorithm.name();
    let head = |alg: &str| json!({"alg": alg, "typ": "at+jwt", "kid": "k1"}).to_string();
    let mut cases = signatures(rig, &rig.good());
    let pem = rig.signer.pem();
    for (what, secret) in [
        ("PEM", pem.as_bytes().to_vec()),
        ("PEM without its last line break", pem.trim_end().as_bytes().to_vec()),
        ("DER", rig.signer.der()),
        ("bytes", rig.signer.raw()),
        ("nothing", vec![]),
    ] {
        let token = |alg: &str| seal(head(alg), claims().to_string(), |text| hs256(&secret, text));
        cases.push(Case::invalid(format!("{name}: HS256 with the public key's {what}"), token("HS256")));
        cases.push(Case::invalid(format!("{name}: HMAC with its {what}, called {name}"), token(name)));
    }
    for other in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256] {
        if other == rig.algorithm {
            continue;
        }
        let signer = Signer::new(other);
        for called in [other.name(), name] {
            let token = seal(head(called), claims().to_string(), |text| signer.sign(text, other));
            cases.push(Case::invalid(
                format!("{name}: signed with another {} key, called {called}", other.name()),
                token,
            ));
            if matches!((&rig.signer, &signer), (Signer::Rsa(_), Signer::Rsa(_))) {
                let token = seal(head(called), claims().to_string(), |text| rig.signer.sign(text, other));
                cases.push(Case::invalid(format!("{name}: its key used as {}, called {called}", other.name()), token));
            }
        }
    }
    cases.extend(numbers(rig));
    cases
}

/// Signatures that are good but for how their numbers are written.
fn numbers(rig: &Rig) -> Vec<Case> {
    let good = rig.good();
    let (text, signature) = good.rsplit_once('.').unwrap();
    let bytes = decode(signature);
    let mut cases = Vec::new();
    let mut add = |what: &str, bytes: &[u8]| {
        cases.push(Case::invalid(format!("{}: {what}", rig.algorithm.name()), format!("{text}.{}", encode(bytes))));
    };
    match rig.signer {
        Signer::Ec(_) => {
            let (r, s) = bytes.split_at(32);
            add("in DER", &der(r, s));
            add("r is zero", &[&[0; 32], s].concat());
            add("s is zero", &[r, &[0; 32]].concat());
            add("r and s with a zero more", &[&[0], r, &[0], s].concat());
        }
        Signer::Ed(_) => {
            let mut carry = 0;
            let sum = bytes[32..].iter().zip(ED25519_ORDER).map(|(byte, order)| {
                carry += u16::from(*byte) + u16::from(order);
                let low = carry as u8;
                carry >>= 8;
                low
            });
            let sum: Vec<_> = sum.collect();
            add("S and the order of the group", &[&bytes[..32], &sum].concat());
        }
        Signer::Rsa(_) => add("without padding to the key's length", &bytes[bytes.len() - 255..]),
    }
    cases
}

/// ECDSA-Sig-Value (RFC 3279).
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let sign: &[u8] = if number[zeros] >= 0x80 { &[0] } else { &[] };
        let number = [sign, &number[zeros..]].concat();
        [&[2, number.len() as u8][..], &number].concat()
    };
    let both = [integer(r), integer(s)].concat();
    [&[0x30, both.len() as u8][..], &both].concat()
}
