//! A node somewhere: its address, and whom to believe and to be when the connection is encrypted.

use anyhow::{Context, ensure};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A node to connect to.
#[derive(Clone)]
pub struct Remote {
    uri: String,
    tls: Option<ClientTlsConfig>,
}

/// PEM files of a client.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Files {
    /// Authorities to believe when the server is https:// (PEM).
    #[arg(long = "ca", global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate to show to the server (PEM).
    #[arg(long = "cert", global = true, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Key of the certificate (PEM).
    #[arg(long = "key", global = true, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

impl Remote {
    /// A node at a URI; `https` with the files.
    ///
    /// # Errors
    /// A file cannot be read, or files and URI do not go together.
    pub fn new(uri: &str, files: &Files) -> anyhow::Result<Self> {
        if !uri.starts_with("https:") {
            ensure!(files.ca.is_none() && files.cert.is_none(), "--ca and --cert are for https://, not for {uri}");
            return Ok(Self::from(uri));
        }
        let ca = files.ca.as_ref().with_context(|| format!("{uri} needs --ca FILE, the authorities to believe"))?;
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("--ca", ca)?));
        if let (Some(cert), Some(key)) = (&files.cert, &files.key) {
            tls = tls.identity(Identity::from_pem(read("--cert", cert)?, read("--key", key)?));
        }
        Ok(Self { uri: uri.to_owned(), tls: Some(tls) })
    }

    /// A lazily connecting channel with the settings a client should have: a dead connection is noticed within 20 s.
    ///
    /// # Errors
    /// It is not a URI such as `http://127.0.0.1:7300`, or the certificates cannot be used.
    pub fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        Ok(self
            .endpoint()?
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .connect_lazy())
    }

    /// Connects now.
    ///
    /// # Errors
    /// As [`Remote::channel`], or nobody answers.
    pub async fn connect(&self) -> anyhow::Result<Channel> {
        self.endpoint()?.connect().await.with_context(|| format!("no node answers at {self}"))
    }

    fn endpoint(&self) -> Result<Endpoint, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(self.uri.clone())?;
        match &self.tls {
            Some(tls) => endpoint.tls_config(tls.clone()),
            None => Ok(endpoint),
        }
    }
}

fn read(flag: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{flag} {}", path.display()))
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

/// In the clear.
impl From<&str> for Remote {
    fn from(uri: &str) -> Self {
        Self { uri: uri.to_owned(), tls: None }
    }
}

impl From<&String> for Remote {
    fn from(uri: &String) -> Self {
        Self::from(uri.as_str())
    }
}

impl From<String> for Remote {
    fn from(uri: String) -> Self {
        Self { uri, tls: None }
    }
}

impl From<&Self> for Remote {
    fn from(remote: &Self) -> Self {
        remote.clone()
    }
}
