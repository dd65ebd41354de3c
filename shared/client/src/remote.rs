//! A node somewhere: its address, and whom to believe and to be when the connection is encrypted.

use crate::Error;
use std::{fmt, sync::Arc, time::Duration};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A node to connect to.
#[derive(Clone)]
pub struct Remote {
    uri: String,
    tls: Option<ClientTlsConfig>,
}

/// Whom to believe, and who to be; all of it PEM.
pub struct Tls {
    /// Certificates of the authorities to believe.
    pub authorities: Vec<u8>,
    /// Certificate and key to show to the server.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Remote {
    /// A node at an `https` URI.
    pub fn encrypted(uri: &str, tls: Tls) -> Self {
        let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(tls.authorities));
        if let Some((certificate, key)) = tls.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        Self { uri: uri.to_owned(), tls: Some(config) }
    }

    /// A lazily connecting channel with the settings a client should have: a dead connection is noticed within 20 s.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn channel(&self) -> Result<Channel, Error> {
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
    /// As [`Remote::channel`], or [`Error::NoAnswer`].
    pub async fn connect(&self) -> Result<Channel, Error> {
        let connected = self.endpoint()?.connect().await;
        connected.map_err(|cause| Error::NoAnswer { uri: self.uri.clone(), cause: Arc::new(cause) })
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let endpoint = || {
            let endpoint = Endpoint::from_shared(self.uri.clone())?;
            match &self.tls {
                Some(tls) => endpoint.tls_config(tls.clone()),
                None => Ok(endpoint),
            }
        };
        endpoint().map_err(|cause| Error::Address { uri: self.uri.clone(), cause: Arc::new(cause) })
    }
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
