//! Each way in which a token can be wrong, alone: the same token with nothing changed is good.

mod published;
mod rig;
mod wrong_claims;
mod wrong_head;
mod wrong_text;

use super::*;
use model::{
    Nanos,
    access::{Denied, Permission, Principal, Subject, decide_write},
};
use rig::{AUDIENCE, ID, ISSUER, Rig, changed, claims, now, without};
use serde_json::{Value, json};
use std::collections::HashSet;

/// A token that must be refused.
struct Case {
    what: String,
    token: String,
    expected: Rejected,
}

impl Case {
    fn invalid(what: impl Into<String>, token: String) -> Self {
        Self { what: what.into(), token, expected: Rejected::Invalid }
    }

    fn expired(what: impl Into<String>, token: String) -> Self {
        Self { what: what.into(), token, expected: Rejected::Expired }
    }
}

/// With keys that are given, everything is known at once.
fn verify(verifier: &Verifier, token: &str) -> Result<Identity, Rejected> {
    verifier.verify_now(token).expect("an answer at once")
}

#[test]
fn each_wrong_token_is_refused_and_the_right_one_is_not() {
    let mut n_cases = 0;
    let mut names = HashSet::new();
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256] {
        let rig = Rig::new(algorithm);
        let verifier = rig.verifier();
        let mut cases = wrong_text::confusions(&rig);
        if algorithm == Algorithm::EdDsa {
            cases.extend(
                [wrong_claims::cases(&rig), wrong_head::cases(&rig), wrong_text::cases(&rig)].into_iter().flatten(),
            );
        }
        assert!(verify(&verifier, &rig.good()).is_ok(), "{algorithm:?}");
        for case in &cases {
            assert_eq!(verify(&verifier, &case.token), Err(case.expected), "{}: {}", case.what, case.token);
        }
        assert!(verify(&verifier, &rig.good()).is_ok(), "{algorithm:?}, afterwards");
        n_cases += cases.len();
        names.extend(cases.into_iter().map(|case| case.what));
    }
    assert!(n_cases >= 150, "only {n_cases} cases");
    assert_eq!(names.len(), n_cases, "a case is there twice");
    println!("{n_cases} wrong tokens refused");
}

#[test]
fn what_only_looks_odd_is_good() {
    let rig = Rig::new(Algorithm::EdDsa);
    let verifier = rig.verifier();
    let mut head = rig.head();
    for (name, value) in [
        ("jku", json!("https://attacker.test/keys")),
        ("x5u", json!("https://attacker.test/chain")),
        ("jwk", rig.stranger.jwk("k1")),
        ("more", json!({"in": "the head"})),
    ] {
        head[name] = value;
    }
    assert!(verify(&verifier, &rig.with_head(&head)).is_ok(), "where a key lies is nothing that a token decides");
    for (what, claims) in [
        ("more claims", changed("more", json!({"claims": [1, 2]}))),
        ("one of several audiences", changed("aud", json!(["other", AUDIENCE]))),
        ("ends within the leeway", changed("exp", json!(now() - 5))),
        ("clocks differ", changed("nbf", json!(now() + 5))),
        ("issued in a moment", changed("iat", json!(now() + 5))),
        ("no iat", without(claims(), "iat")),
        ("an access token, it says", changed("typ", json!("Bearer"))),
        ("a person", changed("sub", json!(format!("user:{ID}")))),
        ("large", changed("pad", json!("x".repeat(1_000)))),
        ("ends at a fraction of a second", changed("exp", json!(now() as f64 + 300.25))),
        ("ends at a number with a point", changed("exp", json!(now() as f64 + 300.0))),
        ("ends within the leeway, by a fraction", changed("exp", json!(now() as f64 - 5.5))),
        ("begins at a fraction of a second", changed("nbf", json!(now() as f64 - 1.5))),
        ("was issued at a fraction of a second", changed("iat", json!(now() as f64 - 1.5))),
    ] {
        assert!(verify(&verifier, &rig.with_claims(&claims)).is_ok(), "{what}");
    }
}

#[test]
fn a_good_token_says_who_and_until_when() {
    let rig = Rig::new(Algorithm::EdDsa);
    let (verifier, claims) = (rig.verifier(), claims());
    let identity = verify(&verifier, &rig.with_claims(&claims)).unwrap();
    assert_eq!(identity.subject, Subject::Device(ID.parse().unwrap()));
    assert_eq!(identity.expires_at.0, (claims["exp"].as_i64().unwrap() + 30) * Nanos::SECOND, "clocks may differ");
    assert_eq!(identity.scope, None);
    let person = changed("sub", json!(format!("user:{ID}")));
    let identity = verify(&verifier, &rig.with_claims(&person)).unwrap();
    assert_eq!(identity.subject, Subject::User(ID.parse().unwrap()));
}

#[test]
fn clocks_may_differ_by_half_a_minute_wherever_the_end_is_looked_at() {
    let rig = Rig::new(Algorithm::EdDsa);
    let ending = |exp: i64| verify(&rig.verifier(), &rig.with_claims(&changed("exp", json!(exp))));
    let device = ID.parse().unwrap();
    let writes = |exp: i64, at: i64| -> Result<Result<Nanos, Denied>, Rejected> {
        let ends = ending(exp)?.expires_at;
        let sender = Principal::everywhere(Subject::Device(device), &[Permission::WriteReadings], ends);
        Ok(decide_write(&sender, device, Nanos(at * Nanos::SECOND)).map(|permit| permit.expires_at()))
    };
    let exp = now() + 1;
    let end = Nanos((exp + 30) * Nanos::SECOND);
    let ended = Err(Denied::Expired);
    for (after, expected) in [(-1, Ok(end)), (20, Ok(end)), (29, Ok(end)), (30, ended), (31, ended)] {
        assert_eq!(writes(exp, exp + after), Ok(expected), "{after} seconds after its end");
    }
    let exp = now() - 20;
    assert_eq!(writes(exp, now()), Ok(Ok(Nanos((exp + 30) * Nanos::SECOND))), "one that has ended here");
    assert_eq!(writes(now() - 31, now()), Err(Rejected::Expired));
}

#[test]
fn a_date_may_have_a_fraction_or_an_exponent() {
    let rig = Rig::new(Algorithm::EdDsa);
    let read = |exp: &str, iat: &str| {
        let claims = claims();
        let with = |text: &str, name: &str, to: &str| {
            text.replace(&format!("\"{name}\":{}", claims[name]), &format!("\"{name}\":{to}"))
        };
        let text = with(&with(&claims.to_string(), "exp", exp), "iat", iat);
        verify(&rig.verifier(), &rig.signed(rig.head().to_string(), text)).map(|one| (one.issued_at, one.expires_at))
    };
    let at = |seconds, nanos| Nanos::from_parts(seconds, nanos).unwrap();
    assert_eq!(read("4.0e9", "1700000000.25"), Ok((at(1_700_000_000, 250_000_000), at(4_000_000_030, 0))));
    assert_eq!(read("4000000000.5", "1.5e9"), Ok((at(1_500_000_000, 0), at(4_000_000_030, 500_000_000))));
    assert_eq!(read("1.5e9", "1.4e9"), Err(Rejected::Expired));
}

#[test]
fn a_type_is_a_media_type() {
    let rig = Rig::new(Algorithm::EdDsa);
    let taken = |issuer: Issuer, typ: &str| {
        let mut head = rig.head();
        head["typ"] = json!(typ);
        verify(&Verifier::new([issuer]), &rig.with_head(&head)).is_ok()
    };
    for typ in ["at+jwt", "AT+JWT", "at+JWT", "application/at+jwt", "Application/AT+JWT"] {
        assert!(taken(rig.issuer(), typ), "{typ}");
        assert!(!taken(rig.issuer().of_type(TokenType::Any), typ), "{typ}: one type an issuer");
    }
    for typ in ["JWT", "jwt", "Jwt", "application/jwt", "APPLICATION/JWT"] {
        assert!(taken(rig.issuer().of_type(TokenType::Any), typ), "{typ}");
        assert!(!taken(rig.issuer(), typ), "{typ}: one type an issuer");
    }
}

#[test]
fn the_longest_token_is_read() {
    let rig = Rig::new(Algorithm::EdDsa);
    let of = |length: usize| rig.with_claims(&changed("pad", json!("x".repeat(length))));
    let longest = (0..MAX_TOKEN_BYTES).rev().map(of).find(|token| token.len() <= MAX_TOKEN_BYTES).unwrap();
    assert!(longest.len() + 2 >= MAX_TOKEN_BYTES && verify(&rig.verifier(), &longest).is_ok());
}

#[test]
fn a_scope_leaves_what_it_names_and_only_our_words_count() {
    let rig = Rig::new(Algorithm::EdDsa);
    let scope = |words: &str| {
        verify(&rig.verifier(), &rig.with_claims(&changed("scope", json!(words)))).map(|identity| identity.scope)
    };
    assert_eq!(scope("openid profile"), Ok(None));
    assert_eq!(scope("openid wardline/readings.read"), Ok(Some(vec![Permission::ReadReadings])));
    let both = vec![Permission::WriteReadings, Permission::ReadReadings];
    assert_eq!(scope("wardline/readings.write  wardline/readings.read"), Ok(Some(both)));
    assert_eq!(scope("wardline/everything"), Ok(Some(vec![])), "not everything");
    assert_eq!(scope("readings.read"), Ok(Some(vec![Permission::ReadReadings])), "the name alone");
}

#[test]
fn words_of_others_restrict_nothing() {
    let rig = Rig::new(Algorithm::EdDsa);
    let others = [
        "openid",
        "profile",
        "email",
        "offline_access",
        "groups",
        "roles",
        "openid,profile,email",
        "access_as_user",
        "https://www.googleapis.com/auth/userinfo.email",
        "api://other/.default",
        "urn:zitadel:iam:org:project:roles",
        "User.Read",
        "user/*.read",
        "patient/Observation.read",
        "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
        "launch/patient",
        "fhirUser",
        "address",
        "phone",
        "microprofile-jwt",
        "User.ReadWrite.All",
        "AuditLog.Read.All",
        "https://graph.microsoft.com/.default",
        "https://graph.microsoft.com/User.Read",
        "api://x/.default",
        "read:user",
        "read:users",
        "Device.Read.All",
        "Contacts.Read",
        "device_sso",
        "user/Device.read",
        "patient/Consent.write",
        "100%",
        "%zz",
    ];
    for (name, value) in [("scope", json!(others.join(" "))), ("scp", json!(others.as_slice()))] {
        let left = verify(&rig.verifier(), &rig.with_claims(&changed(name, value))).map(|identity| identity.scope);
        assert_eq!(left, Ok(None), "{name}");
    }
    for word in others {
        let left = verify(&rig.verifier(), &rig.with_claims(&changed("scope", json!(word))));
        assert_eq!(left.map(|identity| identity.scope), Ok(None), "{word}");
    }
}

#[test]
fn a_scope_may_be_called_scp_and_be_a_list() {
    let rig = Rig::new(Algorithm::EdDsa);
    let left = |scp: Value, scope: Option<&str>| {
        let mut claims = changed("scp", scp);
        scope.into_iter().for_each(|scope| claims["scope"] = json!(scope));
        verify(&rig.verifier(), &rig.with_claims(&claims)).map(|identity| identity.scope)
    };
    let (read, write) = (Permission::ReadReadings, Permission::WriteReadings);
    let both = ["wardline/readings.read", "wardline/readings.write"];
    assert_eq!(left(json!(both[0]), None), Ok(Some(vec![read])));
    assert_eq!(left(json!("readings.read openid"), None), Ok(Some(vec![read])));
    assert_eq!(left(json!(both), None), Ok(Some(vec![read, write])));
    assert_eq!(left(json!(["openid", "readings.write"]), None), Ok(Some(vec![write])));
    assert_eq!(left(json!(["openid"]), None), Ok(None));
    // each restricts
    assert_eq!(left(json!(both), Some("openid wardline/readings.read")), Ok(Some(vec![read])));
    assert_eq!(left(json!(["openid"]), Some("wardline/readings.read")), Ok(Some(vec![read])));
    assert_eq!(left(json!([both[1]]), Some("wardline/readings.read")), Ok(Some(vec![])));
}

#[test]
fn an_issuer_speaks_for_whom_its_settings_say() {
    let rig = Rig::new(Algorithm::EdDsa);
    let id = ID.parse().unwrap();
    let (user, device) = (Subject::User(id), Subject::Device(ID.parse().unwrap()));
    let who = |issuer: Issuer, claims: &Value| {
        verify(&Verifier::new([issuer]), &rig.with_claims(claims)).map(|identity| identity.subject)
    };
    let sub = |text: &str| changed("sub", json!(text));
    let (prefixed, device_too) = (format!("user:{ID}"), format!("device:{ID}"));
    let plain = || {
        let issuer = Issuer::new(ISSUER, AUDIENCE, Algorithm::EdDsa);
        issuer.with_pem("k1", rig.signer.pem().as_bytes()).unwrap()
    };
    let (users, devices) = ([SubjectKind::User], [SubjectKind::Device]);
    let invalid = Err(Rejected::Invalid);
    assert_eq!(who(plain(), &sub(&prefixed)), Ok(user), "users, when nothing is said");
    assert_eq!(who(plain(), &sub(&device_too)), invalid);
    assert_eq!(who(plain(), &sub(ID)), invalid);
    let clinic = || plain().speaking_for(&users, Some(SubjectKind::User));
    assert_eq!(who(clinic(), &sub(ID)), Ok(user));
    assert_eq!(who(clinic(), &sub(&prefixed)), Ok(user));
    assert_eq!(who(clinic(), &sub(&device_too)), invalid, "not for devices");
    let maker = || plain().speaking_for(&devices, Some(SubjectKind::Device));
    assert_eq!(who(maker(), &sub(ID)), Ok(device));
    assert_eq!(who(maker(), &sub(&prefixed)), invalid, "not for users");
    assert_eq!(who(plain().speaking_for(&devices, Some(SubjectKind::User)), &sub(ID)), invalid, "a contradiction");
    let mut other = sub("f:123:ada");
    other["wardline_id"] = json!(ID);
    assert_eq!(who(clinic().with_subject_claim("wardline_id"), &other), Ok(user));
    assert_eq!(who(clinic().with_subject_claim("wardline_id"), &sub(ID)), invalid, "no such claim");
    other["wardline_id"] = json!([ID]);
    assert_eq!(who(clinic().with_subject_claim("wardline_id"), &other), invalid);
}

#[test]
fn what_an_issuer_cannot_do_is_said_in_its_settings() {
    let rig = Rig::new(Algorithm::EdDsa);
    let check = |issuer: Issuer, token: &str| verify(&Verifier::new([issuer]), token).map(|_| ());
    let no_nbf = rig.with_claims(&without(claims(), "nbf"));
    assert_eq!(check(rig.issuer(), &no_nbf), Err(Rejected::Invalid));
    assert_eq!(check(rig.issuer().without_nbf(), &no_nbf), Ok(()));
    let early = rig.with_claims(&changed("nbf", json!(now() + 120)));
    assert_eq!(check(rig.issuer().without_nbf(), &early), Err(Rejected::Invalid), "one that is there counts");
    let odd = rig.with_claims(&changed("nbf", json!("soon")));
    assert_eq!(check(rig.issuer().without_nbf(), &odd), Err(Rejected::Invalid));
    let mut head = rig.head();
    head["typ"] = json!("JWT");
    let any = rig.with_head(&head);
    assert_eq!(check(rig.issuer().of_type(TokenType::Any), &any), Ok(()));
    assert_eq!(check(rig.issuer().of_type(TokenType::Any), &rig.good()), Err(Rejected::Invalid), "one type an issuer");
    let id_token = rig.signed(head.to_string(), changed("typ", json!("ID")).to_string());
    assert_eq!(check(rig.issuer().of_type(TokenType::Any), &id_token), Err(Rejected::Invalid));
}

#[test]
fn an_issuer_speaks_only_for_itself() {
    let (first, second) = (Rig::new(Algorithm::EdDsa), Rig::new(Algorithm::EdDsa));
    let named = |rig: &Rig, name: &str, kid: &str| {
        let issuer = Issuer::new(name, AUDIENCE, Algorithm::EdDsa).with_pem(kid, rig.signer.pem().as_bytes());
        issuer.unwrap().speaking_for(&[SubjectKind::Device], None)
    };
    for kid in ["k1", "k2"] {
        // the second may even use the first one's key id
        let verifier = Verifier::new([named(&first, ISSUER, "k1"), named(&second, "https://second.test", kid)]);
        let mut head = second.head();
        head["kid"] = json!(kid);
        let by_second = |claims: &Value| verify(&verifier, &second.signed(head.to_string(), claims.to_string()));
        assert_eq!(by_second(&claims()), Err(Rejected::Invalid), "the name of the first");
        let own = changed("iss", json!("https://second.test"));
        assert!(by_second(&own).is_ok());
        assert_eq!(verify(&verifier, &first.with_claims(&own)), Err(Rejected::Invalid), "the key of the first");
        assert!(verify(&verifier, &first.good()).is_ok());
    }
    assert_eq!(verify(&Verifier::default(), &first.good()), Err(Rejected::Invalid), "nobody is believed by default");
}

#[test]
fn demo_tokens_are_good_where_the_demo_issuer_is_believed_and_nowhere_else() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let demo = crate::DemoIssuer::open(dir.path()).unwrap();
    let token = demo.device_token(ID.parse().unwrap()).unwrap();
    let again = crate::DemoIssuer::open(dir.path()).unwrap();
    assert!(verify(&Verifier::new([again.issuer()]), &token).is_ok(), "the key is kept");
    assert!(verify(&Verifier::new([again.issuer()]), &demo.user_token(ID.parse().unwrap()).unwrap()).is_ok());
    let other = crate::DemoIssuer::open(elsewhere.path()).unwrap();
    assert_eq!(verify(&Verifier::new([other.issuer()]), &token), Err(Rejected::Invalid));
    let ended = demo.sign(format!("device:{ID}"), -60).unwrap();
    assert_eq!(verify(&Verifier::new([demo.issuer()]), &ended), Err(Rejected::Expired));
}
