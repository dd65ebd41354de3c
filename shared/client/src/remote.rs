//! Where nodes are: addresses, and whom to believe and to be when the connection is encrypted.

use crate::{Connection, Error};
use std::{fmt, sync::Arc, time::Duration};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// One node to connect to, or several that serve the same.
#[derive(Clone)]
pub struct Remote {
    /// At least one; in the order in which they are tried.
    places: Vec<ServerAddress>,
}

#[derive(Clone)]
struct ServerAddress {
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
        Self { places: vec![ServerAddress { uri: uri.to_owned(), tls: Some(config) }] }
    }

    /// Others that serve the same, for when those before do not answer.
    #[must_use]
    pub fn or(mut self, others: impl Into<Self>) -> Self {
        self.places.extend(others.into().places);
        self
    }

    /// A lazily connecting way to the first of them that answers; a dead connection is noticed within 20 s.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn connection(&self) -> Result<Connection, Error> {
        let endpoints = self.places.iter().map(|place| Ok((place.uri.clone(), place.endpoint()?)));
        Ok(Connection::new(endpoints.collect::<Result<_, Error>>()?))
    }

    /// A lazily connecting channel to the first of them alone, with the same settings.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn channel(&self) -> Result<Channel, Error> {
        let first = self.places.first().ok_or(Error::NoEndpoint)?;
        Ok(first.endpoint()?.connect_lazy())
    }
}

impl ServerAddress {
    fn endpoint(&self) -> Result<Endpoint, Error> {
        let endpoint = || {
            let endpoint = Endpoint::from_shared(self.uri.clone())?;
            match &self.tls {
                Some(tls) => endpoint.tls_config(tls.clone()),
                None => Ok(endpoint),
            }
        };
        let endpoint = endpoint().map_err(|cause| Error::Address { uri: self.uri.clone(), cause: Arc::new(cause) })?;
        Ok(endpoint
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true))
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uris: Vec<_> = self.places.iter().map(|place| &*place.uri).collect();
        f.write_str(&uris.join(", "))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A remote whose connections are not encrypted.
impl From<&str> for Remote {
    fn from(uri: &str) -> Self {
        Self::from(uri.to_owned())
    }
}

impl From<&String> for Remote {
    fn from(uri: &String) -> Self {
        Self::from(uri.as_str())
    }
}

impl From<String> for Remote {
    fn from(uri: String) -> Self {
        Self { places: vec![ServerAddress { uri, tls: None }] }
    }
}

impl From<&Self> for Remote {
    fn from(remote: &Self) -> Self {
        remote.clone()
    }
}
