//! A node that speaks TLS, with an authority of its own, and clients with any certificate.

use crate::{Bed, Sandbox, wait::until};
use anyhow::Context;
use auth::{DemoCa, Issued};
use node::services;
use std::{fs, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        version::{TLS12, TLS13},
    },
};
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// How long one answer may take before a test calls it a hang.
const ANSWER: Duration = Duration::from_secs(20);

/// A node with two beds behind TLS.
pub struct Secure {
    /// The sandbox that runs the node.
    pub sandbox: Sandbox,
    /// The authority that it believes, and that issued its certificate.
    pub ca: DemoCa,
    dir: TempDir,
}

impl Secure {
    /// All services; client certificates as the flags say, besides.
    pub async fn start(flags: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        // where the node's demo has its own: what it issues at a claim is believed
        let data = dir.path().join("data");
        let ca = DemoCa::open(&data.join("demo/ca"))?;
        put(&dir, &ca.server()?)?;
        let file = |name: &str| dir.path().join(name).display().to_string();
        let mut all = vec![
            format!("data.dir={}", data.display()),
            format!("tls.cert_file={}", file("cert.pem")),
            format!("tls.key_file={}", file("key.pem")),
            format!("tls.client_ca_file={}", ca.certificate_file().display()),
            format!("tls.crl_files=[\"{}\"]", ca.crl_file().display()),
        ];
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let sandbox = Sandbox::with(2, &all, &services::ALL).await?;
        Ok(Self { sandbox, ca, dir })
    }

    /// Gives the server another certificate.
    pub fn replace(&self, issued: &Issued) -> anyhow::Result<()> {
        put(&self.dir, issued)
    }

    /// Puts anything into the server's certificate file.
    pub fn break_certificate(&self, text: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.dir.path().join("cert.pem"), text)?)
    }

    /// Address of the gRPC port, as `host:port`.
    pub fn address(&self) -> anyhow::Result<String> {
        Ok(self.sandbox.endpoint().strip_prefix("http://").context("an odd endpoint")?.to_owned())
    }

    /// URI for clients, https.
    pub fn uri(&self) -> anyhow::Result<String> {
        Ok(format!("https://{}", self.address()?))
    }

    /// A connection with a certificate, or none; made at the first request.
    pub fn channel(&self, issued: Option<&Issued>) -> anyhow::Result<Channel> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.ca.certificate()));
        if let Some(issued) = issued {
            tls = tls.identity(Identity::from_pem(&issued.certificate, &issued.key));
        }
        Ok(Endpoint::from_shared(self.uri()?)?.tls_config(tls)?.connect_lazy())
    }

    /// A connection as a bed's device.
    pub fn device(&self, bed: &Bed) -> anyhow::Result<Channel> {
        self.channel(Some(&self.ca.device(bed.device)?))
    }

    /// A handshake of one version, with what the server says of itself.
    pub async fn shake(
        &self,
        version: &'static SupportedProtocolVersion,
        issued: Option<&Issued>,
    ) -> anyhow::Result<TlsStream<TcpStream>> {
        self.shake_with(&self.client(&[version], issued)?).await
    }

    /// What one client does at all its handshakes.
    pub fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        issued: Option<&Issued>,
    ) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.certificate().as_bytes())?)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)?
            .with_root_certificates(roots);
        let mut config = match issued {
            None => builder.with_no_client_auth(),
            Some(issued) => builder.with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(issued.key.as_bytes())?,
            )?,
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// Does one TLS handshake.
    pub async fn shake_with(&self, client: &Arc<ClientConfig>) -> anyhow::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.address()?).await?;
        let shaking = TlsConnector::from(Arc::clone(client)).connect(ServerName::try_from("localhost")?, socket);
        Ok(tokio::time::timeout(ANSWER, shaking).await.context("the handshake hangs")??)
    }

    /// The serial number of the certificate that a new handshake is shown.
    pub async fn serial(&self) -> anyhow::Result<String> {
        let stream = self.shake(&TLS13, None).await?;
        let chain = stream.get_ref().1.peer_certificates().context("a server without certificate")?;
        Ok(auth::Certificate::read(chain.first().context("an empty chain")?)?.serial)
    }

    /// Waits until new handshakes are shown this certificate.
    pub async fn shows(&self, serial: &str) -> anyhow::Result<()> {
        until("the server's new certificate", async || self.serial().await, |seen| seen == serial).await?;
        Ok(())
    }
}

/// Both versions that are spoken.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Whether requests are answered on a connection; how not, otherwise. A hang is a failure of the test.
pub async fn answers(channel: Channel) -> anyhow::Result<Result<(), Status>> {
    let mut client = HealthClient::new(channel);
    let answer = tokio::time::timeout(ANSWER, client.check(HealthCheckRequest::default()));
    Ok(answer.await.context("a request hangs")?.map(|_| ()))
}

/// That nobody is let in on a connection: it ends without an answer.
pub async fn is_shut_out(channel: Channel) -> anyhow::Result<()> {
    let status = answers(channel).await?.err().context("it was let in")?;
    // what a client of ours says when there is no connection, or it ended under the request
    let ended = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
    anyhow::ensure!(ended, "{status:?}");
    Ok(())
}

/// Each file whole at any time.
fn put(dir: &TempDir, issued: &Issued) -> anyhow::Result<()> {
    for (name, text) in [("key.pem", &issued.key), ("cert.pem", &issued.certificate)] {
        let unfinished = dir.path().join("unfinished");
        fs::write(&unfinished, text)?;
        fs::rename(unfinished, dir.path().join(name))?;
    }
    Ok(())
}
