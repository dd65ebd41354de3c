//! What the operators' commands have in common: a connection with a token, and times and errors as people read them.

use crate::{client::Remote, timeline::when};
use anyhow::Context;
use proto::{convert, prost_types::Timestamp};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

/// Somebody with a token.
pub(crate) struct Operator {
    token: MetadataValue<Ascii>,
}

impl Operator {
    /// Connects.
    pub(crate) async fn connect(remote: impl Into<Remote>, token: &str) -> anyhow::Result<(Self, Channel)> {
        let channel = remote.into().connect().await?;
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
