//! Certificates: a device is who its certificate says, only believed ones count, and changed files hold for new and open
//! connections.

use anyhow::Context;
use auth::{DemoCa, Issued};
use guard::clock;
use model::Nanos;
use proto::telemetry::v1::{
    ingest_service_client::IngestServiceClient, timeline_service_client::TimelineServiceClient,
};
use std::{fs, sync::Arc, time::Duration};
use tests::{
    Bed,
    builders::{self, pulse},
    http::metric,
    line::{Line, Problem},
    tls::{Secure, VERSIONS, answers, is_shut_out},
    wait::until,
    with_token,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::{Code, Request, transport::Channel};
use wardline::{cli::Files, quarantine::QuarantineClient};

/// How soon a connection ends whose certificate was revoked.
const EFFECT: Duration = Duration::from_secs(5);

async fn open(channel: Channel, bed: &Bed) -> anyhow::Result<Line> {
    Ok(Line::start(IngestServiceClient::new(channel), None).await?.opened(bed, 0).await?.0)
}

/// What comes of a batch of a bed's device, with a token or without.
async fn write(channel: Channel, bed: &Bed, token: Option<&str>) -> anyhow::Result<(Code, String)> {
    // the same each time: sent again it is the same batch
    let message = builders::write(bed, 1, vec![pulse(60.0, Nanos(1_700_000_000 * Nanos::SECOND))]);
    let request = match token {
        Some(token) => with_token(message, token)?,
        None => Request::new(message),
    };
    let answer = IngestServiceClient::new(channel).write_readings(request).await;
    Ok(answer.err().map_or((Code::Ok, String::new()), |status| {
        let problem = Problem::of(&status);
        (problem.code, problem.reason)
    }))
}

fn uri(bed: &Bed) -> String {
    format!("urn:wardline:device:{}", bed.device.uuid())
}

fn said(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn a_device_needs_only_its_certificate_and_a_person_reads_over_any() -> anyhow::Result<()> {
    let secure = Secure::start(&["tls.client_auth=required"]).await?;
    let (mine, other) = (Bed::numbered(0), Bed::numbered(1));
    let channel = secure.device(&mine)?;
    let mut line = open(channel.clone(), &mine).await?;
    for sequence in 1..=20 {
        let at = Nanos(1_700_000_000 * Nanos::SECOND + sequence as i64);
        line.batch(sequence, vec![pulse(60.0, at)]).await;
    }
    assert_eq!(line.acked(20).await?.accepted, 20);

    assert_eq!(write(channel.clone(), &other, None).await?, said(Code::PermissionDenied, "WRONG_DEVICE"));
    let mut client = TimelineServiceClient::new(channel.clone());
    let nobody = client.read_timeline(builders::everything(&mine)).await;
    assert_eq!(Problem::from(nobody)?.parts(), (Code::PermissionDenied, "NOT_PERMITTED", ""), "a device reads nothing");

    let read = async || {
        let request = secure.sandbox.as_person("doctor", builders::everything(&mine))?;
        Ok(client.clone().read_timeline(request).await?.into_inner().readings.len())
    };
    until("readings", read, |n| *n == 20).await?;
    Ok(())
}

#[tokio::test]
async fn a_devices_token_counts_only_on_a_connection_of_that_device() -> anyhow::Result<()> {
    let secure = Secure::start(&[]).await?;
    let (mine, other) = (Bed::numbered(0), Bed::numbered(1));
    let token = secure.sandbox.device_token(mine.device)?;
    let wrong = secure.device(&other)?;
    let stolen = write(wrong.clone(), &mine, Some(&token)).await?;
    assert_eq!(stolen, said(Code::Unauthenticated, "OTHER_DEVICE"));
    assert_eq!(write(wrong.clone(), &other, Some(&token)).await?, stolen, "nor does it become the other");
    assert_eq!(write(wrong, &mine, Some("garbage")).await?, said(Code::Unauthenticated, "INVALID_TOKEN"));
    let mut request = Request::new(builders::write(&other, 1, vec![pulse(60.0, clock::now())]));
    request.metadata_mut().insert("authorization", "Basic d2FyZDpsaW5l".parse()?);
    let odd = IngestServiceClient::new(secure.device(&other)?).write_readings(request).await;
    assert_eq!(Problem::from(odd)?.reason, "NO_TOKEN", "what is no token is not taken for none");
    for issued in [Some(secure.ca.device(mine.device)?), Some(secure.ca.client()?), None] {
        let channel = secure.channel(issued.as_ref())?;
        assert_eq!(write(channel, &mine, Some(&token)).await?.0, Code::Ok);
    }
    for issued in [Some(secure.ca.client()?), None] {
        let channel = secure.channel(issued.as_ref())?;
        assert_eq!(write(channel, &mine, None).await?, said(Code::Unauthenticated, "NO_TOKEN"));
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_does_not_name_one_device_is_good_for_nothing() -> anyhow::Result<()> {
    let secure = Secure::start(&[]).await?;
    let (mine, other) = (Bed::numbered(0), Bed::numbered(1));
    let token = secure.sandbox.device_token(mine.device)?;
    for uris in [
        vec![uri(&mine), uri(&other)],
        vec![uri(&mine), uri(&mine)],
        vec![uri(&mine).to_uppercase()],
        vec!["urn:wardline:device:bed-7".to_owned()],
    ] {
        let uris: Vec<_> = uris.iter().map(String::as_str).collect();
        let channel = secure.channel(Some(&secure.ca.with_uris(&uris, 600)?))?;
        answers(channel.clone()).await??;
        for token in [None, Some(token.as_str())] {
            let answer = write(channel.clone(), &mine, token).await?;
            assert_eq!(answer, said(Code::Unauthenticated, "INVALID_CERTIFICATE"), "{uris:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_is_not_believed_is_not_let_in() -> anyhow::Result<()> {
    let secure = Secure::start(&["tls.client_auth=required"]).await?;
    let bed = Bed::numbered(0);
    let folder = tempfile::tempdir()?;
    let stranger = DemoCa::open(folder.path())?;
    let revoked = secure.ca.device(bed.device)?;
    secure.ca.revoke(&revoked.serial)?;
    let issued: [(&str, Option<Issued>); 6] = [
        ("no certificate", None),
        ("of another authority of the same name", Some(stranger.device(bed.device)?)),
        ("expired", Some(secure.ca.with_uris(&[&uri(&bed)], -60)?)),
        ("a server's", Some(secure.ca.server()?)),
        ("revoked", Some(revoked)),
        ("its key is another's", Some(Issued { key: secure.ca.client()?.key, ..secure.ca.device(bed.device)? })),
    ];
    for (what, issued) in &issued {
        let shut_out = async || match secure.channel(issued.as_ref()) {
            Ok(channel) => is_shut_out(channel).await,
            // the client's own library sees that they do not belong together
            Err(_) => Ok(()),
        };
        // the list of what is revoked is read every two seconds
        until(what, shut_out, |()| true).await?;
    }
    answers(secure.device(&bed)?).await??;
    Ok(())
}

#[tokio::test]
async fn a_revoked_certificates_connection_ends_and_does_not_come_back() -> anyhow::Result<()> {
    let secure = Secure::start(&[]).await?;
    let (mine, other) = (Bed::numbered(0), Bed::numbered(1));
    let (lost, kept) = (secure.ca.device(mine.device)?, secure.ca.device(other.device)?);
    let line = open(secure.channel(Some(&lost))?, &mine).await?;
    let mut others = open(secure.channel(Some(&kept))?, &other).await?;
    let mut renewed = open(secure.device(&mine)?, &Bed { stream: other.stream, ..mine }).await?;
    let since = Instant::now();
    secure.ca.revoke(&lost.serial)?;
    let (_, draining, status) = line.until_end().await?;
    assert!(since.elapsed() < EFFECT, "{:?}", since.elapsed());
    assert!(!draining && status.is_some(), "it was ended, not asked to come again");
    is_shut_out(secure.channel(Some(&lost))?).await?;

    for line in [&mut others, &mut renewed] {
        line.batch(1, vec![pulse(60.0, clock::now())]).await;
        assert_eq!(line.acked(1).await?.accepted, 1, "other certificates, also of the same device, go on");
    }
    assert!(metric(secure.sandbox.http(), "wardline_connections_ended_total").await? >= 1.0);
    Ok(())
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() -> anyhow::Result<()> {
    let secure = Secure::start(&[]).await?;
    let bed = Bed::numbered(0);
    let short = secure.ca.with_uris(&[&uri(&bed)], 4)?;
    let channel = secure.channel(Some(&short))?;
    let line = open(channel.clone(), &bed).await?;
    let (_, _, status) = line.until_end().await?;
    // by its own clock, or because the connection was ended
    let code = status.map(|status| status.code());
    assert!(
        matches!(code, Some(Code::Unauthenticated | Code::Unavailable | Code::Unknown | Code::Internal)),
        "{code:?}"
    );
    until("no connection", async || is_shut_out(channel.clone()).await, |()| true).await
}

#[tokio::test]
async fn neither_a_certificate_nor_a_token_beside_it_opens_anything_after_its_end() -> anyhow::Result<()> {
    // long before the files are read again, and connections with them
    let secure = Secure::start(&["tls.reload_seconds=600"]).await?;
    let bed = Bed::numbered(0);
    let channel = secure.channel(Some(&secure.ca.with_uris(&[&uri(&bed)], 4)?))?;
    let token = secure.sandbox.device_token(bed.device)?;
    let mut lines = Vec::new();
    for (token, stream) in [(Some(token.as_str()), bed.stream), (None, Bed::numbered(1).stream)] {
        let line = Line::start(IngestServiceClient::new(channel.clone()), token).await?;
        lines.push(line.opened(&Bed { stream, ..bed }, 0).await?.0);
    }
    for line in lines {
        let (_, _, status) = line.until_end().await?;
        assert_eq!(Problem::of(&status.context("no reason")?).reason, "TOKEN_EXPIRED");
    }
    for token in [Some(token.as_str()), None] {
        assert_eq!(write(channel.clone(), &bed, token).await?.0, Code::Unauthenticated);
    }
    Ok(())
}

#[tokio::test]
async fn the_servers_certificate_changes_while_it_runs_and_a_broken_one_changes_nothing() -> anyhow::Result<()> {
    let secure = Secure::start(&["tls.reload_seconds=1"]).await?;
    let bed = Bed::numbered(0);
    let mut line = open(secure.device(&bed)?, &bed).await?;
    let first = secure.serial().await?;
    let second = secure.ca.server()?;
    assert_ne!(first, second.serial);
    secure.replace(&second)?;
    secure.shows(&second.serial).await?;

    let failures = async || metric(secure.sandbox.http(), "wardline_tls_reload_failures_total").await;
    // not PEM; nothing; a certificate that does not go with the key
    let foreign = secure.ca.server()?.certificate;
    for broken in ["no certificate", "", &foreign] {
        let before = failures().await?;
        secure.break_certificate(broken)?;
        until("a failure", failures, |n| *n > before).await?;
        assert_eq!(secure.serial().await?, second.serial, "{broken:?}");
    }
    let third = secure.ca.server()?;
    let list = fs::read_to_string(secure.ca.crl_file())?;
    let [cut, garbled] = [list[..list.len() / 2].to_owned(), list.replacen("MI", "AA", 1)];
    for broken in ["", "no list", &cut, &garbled] {
        fs::write(secure.ca.crl_file(), broken)?;
        secure.replace(&third)?;
        let before = failures().await?;
        until("a broken revocation list to be refused", failures, |n| *n > before + 1.0).await?;
        assert_eq!(secure.serial().await?, second.serial, "{broken:?}");
    }
    secure.ca.revoke(&secure.ca.client()?.serial)?;
    secure.shows(&third.serial).await?;

    line.batch(1, vec![pulse(60.0, clock::now())]).await;
    assert_eq!(line.acked(1).await?.accepted, 1, "who is connected notices nothing");
    Ok(())
}

#[tokio::test]
async fn a_command_reaches_the_node_with_its_files_and_says_what_is_missing() -> anyhow::Result<()> {
    let secure = Secure::start(&["tls.client_auth=required"]).await?;
    let (dir, issued) = (tempfile::tempdir()?, secure.ca.client()?);
    let file = |name: &str, text: &str| -> anyhow::Result<_> {
        let path = dir.path().join(name);
        fs::write(&path, text)?;
        Ok(Some(path))
    };
    let files = Files {
        ca: Some(secure.ca.certificate_file()),
        cert: file("cert.pem", &issued.certificate)?,
        key: file("key.pem", &issued.key)?,
    };
    let uri = secure.uri()?;
    let administrator = auth::demo_person("administrator").unwrap();
    let token = secure.sandbox.issuer()?.user_token(administrator)?;
    let mut served = QuarantineClient::connect(files.remote(&uri)?, &token).await?;
    assert_eq!(served.list().await?.len(), 0);

    let missing = Files::default().remote(&uri).unwrap_err().to_string();
    assert!(missing.contains("--ca"), "{missing}");
    let useless = files.remote(&secure.sandbox.endpoint()).unwrap_err().to_string();
    assert!(useless.contains("https://"), "{useless}");
    let unreadable = Files { cert: Some(dir.path().join("none.pem")), ..files };
    let unreadable = unreadable.remote(&uri).unwrap_err().to_string();
    assert!(unreadable.contains("--cert") && unreadable.contains("none.pem"), "{unreadable}");
    Ok(())
}

/// One request to the JSON API over TLS; the whole answer.
async fn asked(secure: &Secure, issued: Option<&Issued>, head: &str) -> anyhow::Result<String> {
    let mut client = ClientConfig::clone(&*secure.client(&VERSIONS, issued)?);
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let socket = TcpStream::connect(secure.sandbox.api()?).await?;
    let connector = TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect(ServerName::try_from("localhost")?, socket).await?;
    stream.write_all(format!("{head}\r\nhost: wardline\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[tokio::test]
async fn the_json_api_speaks_tls_with_the_same_certificates() -> anyhow::Result<()> {
    let secure = Secure::start(&[]).await?;
    let bed = Bed::numbered(0);
    let doctor = secure.sandbox.issuer()?.user_token(auth::demo_person("doctor").context("nobody")?)?;
    let latest = format!("GET /v1/patients/{}/latest HTTP/1.1", bed.patient.uuid());
    let text = asked(&secure, None, &format!("{latest}\r\nauthorization: Bearer {doctor}")).await?;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(asked(&secure, None, &latest).await?.starts_with("HTTP/1.1 401"));
    // a device is who its certificate says, here as well
    let report = "POST /v1/devices:report HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 0";
    let own = secure.ca.device(bed.device)?;
    let text = asked(&secure, Some(&own), report).await?;
    assert!(text.starts_with("HTTP/1.1 404") && text.contains("device"), "it is let in, and not registered: {text}");
    let unclear = secure.ca.with_uris(&[&uri(&bed), &uri(&Bed::numbered(1))], 60)?;
    assert!(asked(&secure, Some(&unclear), report).await?.contains("INVALID_CERTIFICATE"));
    secure.ca.revoke(&own.serial)?;
    let shut_out = async || Ok(asked(&secure, Some(&own), report).await.map_or(true, |text| text.is_empty()));
    until("the revoked certificate is shut out", shut_out, |is_out| *is_out).await?;
    // in the clear there is nothing
    let plain = tests::http::get(secure.sandbox.api()?, "/v1/openapi.json").await;
    assert!(plain.is_err() || plain.is_ok_and(|(status, _)| status != 200));
    Ok(())
}
