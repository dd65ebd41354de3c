//! What the operators' commands have in common: a connection with a token, and times and errors as people read them.

use crate::timeline::when;
use anyhow::Context;
use client::Remote;
use guard::convert;
use proto::prost_types::Timestamp;
use std::time::Duration;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_types::StatusExt;

/// Items in a page.
pub(crate) const PAGE: i32 = 1_000;
/// The registry's largest answer: a page of people.
pub(crate) const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Calls an rpc; its answer, or why it was refused. Who is told to come later comes later.
macro_rules! ask {
    ($who:ident.$rpc:ident($message:expr)) => {{
        let message = $message;
        loop {
            let answer = $who.client.$rpc($who.operator.request(message.clone())).await;
            match $crate::operator::later(&answer) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => break answer.map_err($crate::operator::plain)?.into_inner(),
            }
        }
    }};
}
pub(crate) use ask;

/// Calls a list's rpc for every page; all items, or why it was refused.
macro_rules! ask_all {
    ($who:ident.$rpc:ident($request:ident { $($field:ident: $value:expr),* }).$items:ident) => {{
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = $request { page_size: $crate::operator::PAGE, page_token, $($field: $value),* };
            let page = $crate::operator::ask!($who.$rpc(request));
            all.extend(page.$items);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break all;
            }
        }
    }};
}
pub(crate) use ask_all;

/// Somebody with a token.
#[derive(Clone)]
pub struct Operator {
    token: MetadataValue<Ascii>,
}

impl Operator {
    /// Whose token it is.
    pub fn new(token: &str) -> anyhow::Result<Self> {
        let token = format!("Bearer {token}").parse().context("the token has characters that no token has")?;
        Ok(Self { token })
    }

    /// Connects.
    pub async fn connect(remote: impl Into<Remote>, token: &str) -> anyhow::Result<(Self, Channel)> {
        Ok((Self::new(token)?, remote.into().connect().await?))
    }

    /// A request with the token.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }
}

/// When to ask again, where a node says that it was asked too often.
pub(crate) fn later<T>(answer: &Result<T, Status>) -> Option<Duration> {
    let status = answer.as_ref().err().filter(|status| status.code() == Code::ResourceExhausted)?;
    status.get_details_retry_info()?.retry_delay
}

/// A time as it is printed.
pub(crate) fn shown(at: Option<Timestamp>) -> Option<String> {
    convert::nanos(&at?).map(when::show)
}

/// Why a node refused, in its own words.
pub(crate) fn plain(status: Status) -> anyhow::Error {
    anyhow::anyhow!("{} ({:?})", status.message(), status.code())
}
