//! Tokens of an issuer that publishes its keys: found, changed, withdrawn, out of reach, and hostile.

use anyhow::Context;
use auth::demo_person;
use futures::{StreamExt, stream};
use serde_json::json;
use std::time::Duration;
use tests::{
    Bed, Sandbox, builders,
    builders::pulse,
    http,
    issuer::{Answer, TestIssuer},
    line::Problem,
    wait::until,
    with_token,
};
use tokio::time::Instant;
use tonic::Code;

/// A node that believes these issuers and the demo's, with a reading of bed 0.
async fn node(issuers: &[&TestIssuer], more: &[&str]) -> anyhow::Result<Sandbox> {
    let believed: Vec<_> = issuers.iter().map(|issuer| issuer.setting()).collect();
    let believed = format!("auth.issuers=[{}]", believed.join(", "));
    let flags: Vec<&str> = ["auth.demo=on", &believed].into_iter().chain(more.iter().copied()).collect();
    let sandbox = Sandbox::with(1, &flags, &node::services::ALL).await?;
    sandbox.write(&Bed::numbered(0), 1, vec![pulse(60.0, guard::clock::now())]).await?;
    sandbox.readable(&Bed::numbered(0), 1).await?;
    Ok(sandbox)
}

fn doctor() -> anyhow::Result<String> {
    Ok(demo_person("doctor").context("no doctor")?.uuid().to_string())
}

/// What comes of reading bed 0: the number of readings, or code and reason.
async fn read(sandbox: &Sandbox, token: &str) -> anyhow::Result<Result<usize, (Code, String)>> {
    Ok(ask(sandbox, token).await?.map_err(|problem| (problem.code, problem.reason)))
}

async fn ask(sandbox: &Sandbox, token: &str) -> anyhow::Result<Result<usize, Problem>> {
    let request = with_token(builders::everything(&Bed::numbered(0)), token)?;
    let answer = sandbox.timeline().await?.read_timeline(request).await;
    Ok(answer.map(|page| page.into_inner().readings.len()).map_err(|status| Problem::of(&status)))
}

/// Waits until reading with a token comes to this.
async fn comes(
    what: &str,
    sandbox: &Sandbox,
    token: &str,
    expected: Result<usize, (Code, String)>,
) -> anyhow::Result<()> {
    let seen = until(what, async || read(sandbox, token).await, |answer| *answer == expected).await?;
    anyhow::ensure!(seen == expected, "{what}");
    Ok(())
}

fn invalid() -> Result<usize, (Code, String)> {
    Err((Code::Unauthenticated, "INVALID_TOKEN".to_owned()))
}

fn unavailable() -> Result<usize, (Code, String)> {
    Err((Code::Unavailable, "ISSUER_UNAVAILABLE".to_owned()))
}

#[tokio::test]
async fn who_has_a_token_of_a_discovered_issuer_reads_and_writes() -> anyhow::Result<()> {
    let (issuer, other) = (TestIssuer::start().await?, TestIssuer::start().await?);
    let sandbox = node(&[&issuer], &[]).await?;
    let doctor = doctor()?;
    for sub in [doctor.clone(), format!("user:{doctor}")] {
        assert_eq!(read(&sandbox, &issuer.token(&sub)).await?, Ok(1), "{sub}");
    }
    let bed = Bed::numbered(0);
    let token = issuer.token(&format!("device:{}", bed.device.uuid()));
    let request = with_token(builders::write(&bed, 2, vec![pulse(61.0, guard::clock::now())]), &token)?;
    sandbox.ingest().await?.write_readings(request).await?;

    let wrong = |name: &'static str, value: serde_json::Value| {
        issuer.token_with(|_, claims| {
            claims["sub"] = json!(doctor);
            claims[name] = value;
        })
    };
    assert_eq!(read(&sandbox, &wrong("aud", json!("elsewhere"))).await?, invalid());
    assert_eq!(read(&sandbox, &wrong("iss", json!(other.name()))).await?, invalid());
    let ended = read(&sandbox, &wrong("exp", json!(1_000_000_000))).await?;
    assert_eq!(ended, Err((Code::Unauthenticated, "TOKEN_EXPIRED".to_owned())));
    let seconds = guard::clock::now().0 / model::Nanos::SECOND;
    assert!(read(&sandbox, &wrong("exp", json!(seconds - 15))).await?.is_ok(), "clocks may differ");
    assert_eq!(read(&sandbox, &other.token(&doctor)).await?, invalid(), "nobody said that it is believed");
    // it signs as the other one, whose name it took
    let forged = other.token_with(|_, claims| {
        claims["sub"] = json!(doctor);
        claims["iss"] = json!(issuer.name());
    });
    assert_eq!(read(&sandbox, &forged).await?, invalid());
    Ok(())
}

#[tokio::test]
async fn a_token_of_a_new_key_is_good_at_its_first_use() -> anyhow::Result<()> {
    let issuer = TestIssuer::start().await?;
    let sandbox = node(&[&issuer], &[]).await?;
    let old = issuer.token(&doctor()?);
    assert_eq!(read(&sandbox, &old).await?, Ok(1));
    assert_eq!(issuer.hits(), (1, 1));
    issuer.rotate()?;
    let new = issuer.token(&doctor()?);
    assert_eq!(read(&sandbox, &new).await?, Ok(1), "at its first use");
    assert_eq!(issuer.hits(), (2, 2));
    assert_eq!(read(&sandbox, &old).await?, Ok(1), "it is published still");
    // within 30 seconds it is not asked again
    issuer.rotate()?;
    assert_eq!(read(&sandbox, &issuer.token(&doctor()?)).await?, invalid());
    assert_eq!(issuer.hits(), (2, 2));
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_withdrawn_or_changed_is_not_believed_any_more() -> anyhow::Result<()> {
    let issuer = TestIssuer::start().await?;
    let sandbox = node(&[&issuer], &["auth.keys_every_seconds=1"]).await?;
    let withdrawn = issuer.token(&doctor()?);
    assert_eq!(read(&sandbox, &withdrawn).await?, Ok(1));
    issuer.rotate()?;
    issuer.withdraw();
    comes("it is withdrawn", &sandbox, &withdrawn, invalid()).await?;
    // the same id, and another key each time
    for _ in 0..3 {
        let before = issuer.token(&doctor()?);
        comes("the key is there", &sandbox, &before, Ok(1)).await?;
        issuer.replace()?;
        comes("it is another", &sandbox, &before, invalid()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_thousand_unknown_keys_ask_the_issuer_once() -> anyhow::Result<()> {
    let issuer = TestIssuer::start().await?;
    let sandbox = node(&[&issuer], &[]).await?;
    let doctor = doctor()?;
    assert_eq!(read(&sandbox, &issuer.token(&doctor)).await?, Ok(1));
    let client = sandbox.timeline().await?;
    let (began, before) = (Instant::now(), issuer.hits());
    let tokens = (0..1_000).map(|number| {
        issuer.token_with(|head, claims| {
            head["kid"] = json!(format!("unknown-{number}"));
            claims["sub"] = json!(doctor);
        })
    });
    let refused = stream::iter(tokens).map(|token| {
        let mut client = client.clone();
        async move {
            let request = with_token(builders::everything(&Bed::numbered(0)), &token)?;
            Problem::from(client.read_timeline(request).await)
        }
    });
    let refused: Vec<_> = refused.buffer_unordered(64).collect().await;
    for problem in refused {
        assert_eq!(problem?.reason, "INVALID_TOKEN");
    }
    anyhow::ensure!(began.elapsed() < Duration::from_secs(30), "too slow to say anything");
    assert_eq!(issuer.hits(), (before.0 + 1, before.1 + 1));
    assert_eq!(read(&sandbox, &issuer.token(&doctor)).await?, Ok(1));
    Ok(())
}

#[tokio::test]
async fn an_issuer_out_of_reach_stops_no_start_and_takes_no_key_away() -> anyhow::Result<()> {
    let mut issuer = TestIssuer::start().await?;
    issuer.down().await;
    let sandbox = node(&[&issuer], &["auth.unknown_key_every_seconds=1"]).await?;
    assert_eq!(http::get(sandbox.http(), "/ready").await?.0, 200);
    let known = issuer.token(&doctor()?);
    let problem = ask(&sandbox, &known).await?.err().context("nobody could know the key")?;
    assert_eq!((problem.code, problem.reason.as_str()), (Code::Unavailable, "ISSUER_UNAVAILABLE"));
    assert!(problem.retry_after.is_some());
    issuer.up().await?;
    comes("the issuer is found", &sandbox, &known, Ok(1)).await?;
    issuer.down().await;
    issuer.rotate()?;
    let new = issuer.token(&doctor()?);
    comes("the new key is asked for", &sandbox, &new, unavailable()).await?;
    assert_eq!(read(&sandbox, &known).await?, Ok(1), "a known key needs nobody");
    assert_eq!(http::get(sandbox.http(), "/ready").await?.0, 200);
    issuer.up().await?;
    comes("the new key is found", &sandbox, &new, Ok(1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_hostile_issuer_gets_nothing_and_hurts_no_other() -> anyhow::Result<()> {
    let good = TestIssuer::start().await?;
    let text = Answer::Text;
    let other = json!({"issuer": good.name(), "jwks_uri": format!("{}/keys", good.name())}).to_string();
    let mut hostile = Vec::new();
    for (document, keys) in [
        (Some(text(other)), None),
        (Some(Answer::Redirect), None),
        (None, Some(Answer::Redirect)),
        (Some(Answer::Huge), None),
        (None, Some(Answer::Huge)),
        (Some(Answer::Slow), None),
        (None, Some(Answer::Slow)),
        (Some(Answer::Status(500)), None),
        (None, Some(Answer::Status(503))),
        (None, Some(Answer::Status(404))),
        (None, Some(text("no keys".into()))),
        (None, Some(text("{\"keys\": 7}".into()))),
        (Some(text("{}".into())), None),
        (Some(text(String::new())), None),
    ] {
        let issuer = TestIssuer::start().await?;
        let what = format!("{document:?} {keys:?}");
        document.into_iter().for_each(|answer| issuer.answer_document(answer));
        keys.into_iter().for_each(|answer| issuer.answer_keys(answer));
        hostile.push((issuer, what));
    }
    // its document is good, but leads where anybody could answer
    let leading = TestIssuer::start().await?;
    leading.answer_document(text(
        json!({"issuer": leading.name(), "jwks_uri": "http://keys.example.org/keys"}).to_string(),
    ));
    hostile.push((leading, "keys by http".to_owned()));
    let symmetric = TestIssuer::start().await?;
    let secret = json!({"keys": [{"kid": "k", "kty": "oct", "k": "c2VjcmV0", "alg": "EdDSA", "use": "sig"}]});
    symmetric.answer_keys(text(secret.to_string()));

    let all: Vec<_> = hostile.iter().map(|(issuer, _)| issuer).chain([&good, &symmetric]).collect();
    let sandbox = node(&all, &[]).await?;
    let doctor = doctor()?;
    assert_eq!(read(&sandbox, &good.token(&doctor)).await?, Ok(1));
    assert_eq!(read(&sandbox, &symmetric.token(&doctor)).await?, invalid(), "it has no key that fits");
    for (issuer, what) in &hostile {
        assert_eq!(read(&sandbox, &issuer.token(&doctor)).await?, unavailable(), "{what}");
    }
    // once they answer as they should, they are believed
    for (issuer, what) in &hostile {
        issuer.answer_document(Answer::Good);
        issuer.answer_keys(Answer::Good);
        comes(what, &sandbox, &issuer.token(&doctor), Ok(1)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn refused_tokens_are_counted_by_reason() -> anyhow::Result<()> {
    let issuer = TestIssuer::start().await?;
    let sandbox = node(&[&issuer], &[]).await?;
    let doctor = doctor()?;
    let changed = |name: &'static str, value: serde_json::Value| {
        issuer.token_with(|head, claims| {
            claims["sub"] = json!(doctor);
            let part = if head.get(name).is_some() { head } else { claims };
            part[name] = value;
        })
    };
    let signed = issuer.token(&doctor);
    let (text, _) = signed.rsplit_once('.').context("a signature")?;
    for (reason, token) in [
        ("malformed", "x".to_owned()),
        ("unknown_issuer", changed("iss", json!("https://nobody.test"))),
        ("unknown_key", changed("kid", json!("k"))),
        ("wrong_type", changed("typ", json!("JWT"))),
        ("bad_signature", format!("{text}.AAAA")),
        ("wrong_audience", changed("aud", json!("elsewhere"))),
        ("expired", changed("exp", json!(1_000_000_000))),
        ("not_yet_valid", changed("nbf", json!(4_000_000_000_u32))),
        ("bad_claims", changed("iat", json!("soon"))),
        ("unknown_restriction", changed("scope", json!(7))),
        ("too_large", changed("pad", json!("x".repeat(auth::MAX_TOKEN_BYTES)))),
        ("bad_subject", changed("sub", json!("somebody"))),
    ] {
        let line = format!("wardline_auth_refused_total{{reason=\"{reason}\"}}");
        let counted = async || anyhow::Ok(http::metric(sandbox.http(), &line).await?);
        let before = counted().await?;
        assert!(read(&sandbox, &token).await?.is_err(), "{reason}");
        assert!(counted().await? > before, "{reason}");
    }
    let bare = sandbox.timeline().await?.read_timeline(builders::everything(&Bed::numbered(0))).await;
    assert_eq!(Problem::from(bare)?.reason, "NO_TOKEN");
    let text = http::get(sandbox.http(), "/metrics").await?.1;
    assert!(text.contains("wardline_auth_refused_total{reason=\"no_token\"}"), "{text}");
    Ok(())
}
