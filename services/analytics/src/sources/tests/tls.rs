//! Publishers over TLS.

use super::{
    pace,
    server::{Script, answer, head, whole},
};
use crate::{
    jobs::work::Work,
    sources::{
        Fetched,
        trouble::Trouble,
        web::{Web, fetch},
    },
};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A server for 127.0.0.1 with a certificate of its own, which it gives as PEM.
async fn start(script: Arc<Script>) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (pem, key) = (made.cert.pem(), PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
            tokio::spawn(async move {
                // who does not believe the certificate goes away
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, script, Arc::new(Mutex::default())).await;
                }
            });
        }
    });
    (port, pem)
}

#[tokio::test]
async fn a_publisher_is_believed_by_its_authority_and_does_not_lead_out_of_tls() {
    let script = |_: usize, asked: &str| match asked.starts_with("GET /plain") {
        true => vec![head("302 Found", &["Location: http://127.0.0.1:1/a.csv"])],
        false => whole("200 OK", &[], b"rows"),
    };
    let (port, pem) = start(Arc::new(script)).await;
    let dir = TempDir::new().unwrap();
    let ca_file = dir.path().join("ca.pem");
    fs::write(&ca_file, pem).unwrap();
    let web = |path: &str| Web {
        url: format!("https://127.0.0.1:{port}{path}"),
        allowed_hosts: vec!["127.0.0.1".to_owned()],
        ca_file: Some(ca_file.clone()),
        max_bytes: 1_000,
        max_time: Duration::from_secs(20),
        ..Web::default()
    };
    let bring = async |web: &Web| fetch(web, ("s", None), dir.path(), &pace(), &Work::alone(true)).await;
    assert!(matches!(bring(&web("/a.csv")).await, Ok(Fetched::Files(..))));
    let stranger = bring(&Web { ca_file: None, ..web("/a.csv") }).await;
    assert!(matches!(&stranger, Err(Trouble::Again { text, .. }) if text.contains("certificate")), "{stranger:?}");
    let plain = bring(&web("/plain")).await;
    assert!(matches!(&plain, Err(Trouble::Final(text)) if text.contains("from https to http")), "{plain:?}");
    fs::write(&ca_file, "no certificate").unwrap();
    let unfit = bring(&web("/a.csv")).await;
    assert!(matches!(&unfit, Err(Trouble::Final(text)) if text.contains("ca_file")), "{unfit:?}");
}
