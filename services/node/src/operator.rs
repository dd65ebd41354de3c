//! What the operators' commands have in common: a connection with a token, and times and errors as people read them.

use crate::timeline::when;
use anyhow::Context;
use proto::{convert, prost_types::Timestamp};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// Somebody with a token.
pub(crate) struct Operator {
    token: MetadataValue<Ascii>,
}

impl Operator {
    /// Connects to `endpoint`.
    pub(crate) async fn connect(endpoint: &str, token: &str) -> anyhow::Result<(Self, Channel)> {
        let channel = Endpoint::from_shared(endpoint.to_owned())?.connect().await;
        let channel = channel.with_context(|| format!("no node answers at {endpoint}"))?;
        let token = format!("Bearer {token}").parse().context("the token has characters that no token has")?;
        Ok((Self { token }, channel))
    }

    /// A request with the token.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }
}

/// A time as it is printed.
pub(crate) fn shown(at: Option<Timestamp>) -> Option<String> {
    convert::nanos(&at?).map(when::show)
}

/// Why a node refused, in its own words.
pub(crate) fn plain(status: Status) -> anyhow::Error {
    anyhow::anyhow!("{} ({:?})", status.message(), status.code())
}
