//! The listener with TLS: nobody waits for another's handshake, who is silent or over a limit is closed, and old versions are refused.

use anyhow::Context;
use node::services;
use std::{io::ErrorKind, time::Duration};
use tests::{
    Bed, Sandbox,
    builders::pulse,
    http::metric,
    tls::{Secure, VERSIONS, answers, is_shut_out},
    wait::{PATIENCE, until},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::rustls::HandshakeKind;
use tonic::transport::Endpoint;

/// Waits until the other side has closed; bytes before that are passed over.
async fn closed(mut stream: impl AsyncReadExt + Unpin) -> anyhow::Result<()> {
    let mut buffer = [0; 1_024];
    let reading = async {
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // closed with bytes of ours unread
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.context("it is still open")?
}

/// Whether the other side has not closed; what it said already is passed over.
fn is_open(stream: &TcpStream) -> bool {
    loop {
        match stream.try_read(&mut [0; 64]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test]
async fn who_connects_and_is_silent_is_closed_and_holds_nobody_up() -> anyhow::Result<()> {
    let secure = Secure::start(&["tls.handshake_timeout_seconds=5"]).await?;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(secure.address()?).await?);
    }
    // half a record, and then nothing
    silent[0].write_all(&[22, 3, 1, 2]).await?;
    answers(secure.device(&Bed::numbered(0))?).await??;
    assert!(silent.iter().all(is_open), "others were let in while these were waited for");
    let encrypted = secure.shake(VERSIONS[1], None).await?;
    for stream in silent {
        closed(stream).await?;
    }
    closed(encrypted).await.context("one that said nothing after the handshake")?;
    let refused = metric(secure.sandbox.http(), "wardline_connections_refused_total").await?;
    assert!(refused >= 21.0, "{refused}");
    Ok(())
}

#[tokio::test]
async fn in_the_clear_too_a_silent_connection_is_closed_and_one_that_works_is_not() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(1, &["tls.handshake_timeout_seconds=1"], &services::ALL).await?;
    let bed = Bed::numbered(0);
    let (mut line, _) = sandbox.line(&bed, 0).await?;
    let address = sandbox.endpoint().replace("http://", "");
    let silent = TcpStream::connect(&address).await?;
    let mut slow = TcpStream::connect(&address).await?;
    slow.write_all(b"PRI * HTTP/2.0").await?;
    closed(silent).await?;
    closed(slow).await?;
    line.batch(1, vec![pulse(60.0, guard::clock::now())]).await;
    assert_eq!(line.acked(1).await?.accepted, 1);
    Ok(())
}

#[tokio::test]
async fn what_is_over_a_limit_is_closed_at_once_and_counted() -> anyhow::Result<()> {
    for flag in ["server.max_connections_per_address=3", "server.max_connections=3"] {
        let sandbox = Sandbox::with(1, &[flag, "tls.handshake_timeout_seconds=300"], &services::ALL).await?;
        let address = sandbox.endpoint().replace("http://", "");
        let refused = async || metric(sandbox.http(), "wardline_connections_refused_total").await;
        let channel = sandbox.channel().await?;
        answers(channel.clone()).await??;
        let (first, second) = (TcpStream::connect(&address).await?, TcpStream::connect(&address).await?);
        let before = refused().await?;
        closed(TcpStream::connect(&address).await?).await.context(flag)?;
        assert!(refused().await? > before);
        assert!(is_open(&first) && is_open(&second));
        answers(channel.clone()).await??;

        drop(first);
        let again = async || {
            let stream = TcpStream::connect(&address).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            anyhow::Ok(is_open(&stream))
        };
        until("room for one more", again, |open| *open).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_limits_hold_for_handshakes_under_way() -> anyhow::Result<()> {
    let flags = ["server.max_connections_per_address=2", "tls.handshake_timeout_seconds=300"];
    let secure = Secure::start(&flags).await?;
    let _waiting = [TcpStream::connect(secure.address()?).await?, TcpStream::connect(secure.address()?).await?];
    closed(TcpStream::connect(secure.address()?).await?).await
}

#[tokio::test]
async fn both_versions_are_spoken_each_time_anew_and_older_ones_are_not() -> anyhow::Result<()> {
    let secure = Secure::start(&[]).await?;
    let issued = secure.ca.device(Bed::numbered(0).device)?;
    for version in VERSIONS {
        let client = secure.client(&[version], Some(&issued))?;
        for _ in 0..3 {
            let mut stream = secure.shake_with(&client).await?;
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
            // whatever the server has to say, a ticket included, came before its settings
            stream.read_exact(&mut [0; 9]).await?;
            let session = &stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full), "a session was resumed");
            assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        }
    }
    // fatal alerts (RFC 8446, 6.2): handshake_failure for the cipher suite alone, protocol_version
    for (name, minor, alert) in [("TLS 1.2", 3, 40), ("TLS 1.1", 2, 70), ("TLS 1.0", 1, 70), ("SSL 3", 0, 70)] {
        let mut stream = TcpStream::connect(secure.address()?).await?;
        stream.write_all(&hello(minor)).await?;
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context(name)??;
        assert_eq!((answer.first(), answer.get(5..)), (Some(&21), Some(&[2, alert][..])), "{name}: {answer:?}");
    }
    Ok(())
}

/// A ClientHello of version 3.`minor` (RFC 5246, 7.4.1.2) with a cipher suite of old; it says which signatures it takes,
/// or it would be refused for that.
fn hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    body.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = body.len() as u8;
    let mut record = vec![22, 3, minor.min(1), 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test]
async fn what_is_not_tls_is_refused_and_the_port_goes_on() -> anyhow::Result<()> {
    let secure = Secure::start(&[]).await?;
    is_shut_out(Endpoint::from_shared(secure.sandbox.endpoint())?.connect_lazy()).await?;
    let mut web = TcpStream::connect(secure.address()?).await?;
    web.write_all(b"GET / HTTP/1.1\r\nhost: ward\r\n\r\n").await?;
    closed(web).await?;
    let plain = Sandbox::start(0).await?;
    let mut encrypted = TcpStream::connect(plain.endpoint().replace("http://", "")).await?;
    encrypted.write_all(&hello(3)).await?;
    closed(encrypted).await.context("TLS to a port without")?;
    answers(secure.device(&Bed::numbered(0))?).await??;
    Ok(())
}
