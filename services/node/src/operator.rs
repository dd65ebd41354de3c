//! What the operators' commands have in common: a connection with a token, and times and errors as people read them.

use crate::{client::Remote, timeline::when};
use anyhow::Context;
use proto::{convert, prost_types::Timestamp};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

/// Items in a page.
pub(crate) const PAGE: i32 = 1_000;
/// The registry's largest answer: a page of people.
pub(crate) const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Calls an rpc; its answer, or why it was refused.
macro_rules! ask {
    ($who:ident.$rpc:ident($message:expr)) => {{
        let request = $who.operator.request($message);
        $who.client.$rpc(request).await.map_err($crate::operator::plain)?.into_inner()
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
pub(crate) struct Operator {
    token: MetadataValue<Ascii>,
}

impl Operator {
    /// Whose token it is.
    pub(crate) fn new(token: &str) -> anyhow::Result<Self> {
        let token = format!("Bearer {token}").parse().context("the token has characters that no token has")?;
        Ok(Self { token })
    }

    /// Connects.
    pub(crate) async fn connect(remote: impl Into<Remote>, token: &str) -> anyhow::Result<(Self, Channel)> {
        Ok((Self::new(token)?, remote.into().connect().await?))
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
