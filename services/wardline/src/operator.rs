//! What the operators' commands have in common: a connection with a token, calls, and times and errors as people read them.

use crate::timeline::when;
use anyhow::Context;
use clap::Args;
use client::{Connection, Error, Remote, Tokens};
use guard::convert;
use proto::prost_types::Timestamp;
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};
use tonic::Code;
use uuid::Uuid;

/// Most items of one page of a list.
pub(crate) const PAGE: i32 = 1_000;
/// The registry's largest answer: a page of people.
pub(crate) const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// How long a call is tried.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Calls an rpc that reads; its answer, or why it was refused. It is called again where that can help.
macro_rules! ask {
    ($who:ident.$rpc:ident($message:expr)) => {
        $crate::operator::calling!(Always, $who.$rpc($message)).map_err($crate::operator::plain)?
    };
}
pub(crate) use ask;

/// Calls an rpc that changes something: again only where it cannot have been begun.
macro_rules! change {
    ($who:ident.$rpc:ident($message:expr)) => {
        $crate::operator::calling!(Unbegun, $who.$rpc($message)).map_err($crate::operator::plain)?
    };
}
pub(crate) use change;

/// Calls an rpc, and again as it may be.
macro_rules! calling {
    ($repeat:ident, $who:ident.$rpc:ident($message:expr)) => {{
        let message = $message;
        loop {
            let answer = client::call(client::Repeat::$repeat, $crate::operator::PATIENCE, || {
                let (mut client, message) = ($who.client.clone(), message.clone());
                async move { client.$rpc(message).await }
            });
            match answer.await {
                Err(error) if $crate::operator::is_told_to_wait(&error) => {}
                answer => break answer,
            }
        }
    }};
}
pub(crate) use calling;

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

/// An id that somebody types, spelled as everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(pub Uuid);

impl FromStr for Id {
    type Err = model::NoId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        model::uuid(text).map(Self)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose token is used.
#[derive(Debug, Clone, Default, Args)]
pub struct TokenArgs {
    /// Bearer token [default: that of one of the demo's people].
    #[arg(long, global = true, env = "WARDLINE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// File with the token, instead of --token. It is read at each call: whoever renews the token replaces the file.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// What was given, if anything was.
    pub fn tokens(&self) -> Option<Tokens> {
        let file = self.token_file.as_ref().map(client::token_file);
        file.or_else(|| self.token.clone().map(client::token))
    }
}

/// A token, or where one comes from at each call.
pub struct Token(Tokens);

impl From<&str> for Token {
    fn from(token: &str) -> Self {
        Self(client::token(token))
    }
}

impl From<&String> for Token {
    fn from(token: &String) -> Self {
        Self::from(token.as_str())
    }
}

impl From<Tokens> for Token {
    fn from(tokens: Tokens) -> Self {
        Self(tokens)
    }
}

/// A way to a node that puts a token beside each call.
pub fn connection(remote: impl Into<Remote>, token: impl Into<Token>) -> anyhow::Result<Connection> {
    let remote = remote.into();
    let connection =
        remote.connection().with_context(|| format!("{remote} is no address such as http://127.0.0.1:7300"))?;
    Ok(connection.with_tokens(token.into().0))
}

/// The same, when somebody answers there.
pub async fn connect(remote: impl Into<Remote>, token: impl Into<Token>) -> anyhow::Result<Connection> {
    let connection = connection(remote, token)?;
    connection.ready().await?;
    Ok(connection)
}

/// Whether a node answers, and says to come later: an import of thousands of devices takes its time.
pub(crate) fn is_told_to_wait(error: &Error) -> bool {
    matches!(error, Error::Unreachable { last: Some(status), .. } if status.code() == Code::ResourceExhausted)
}

/// A time as it is printed.
pub(crate) fn shown(at: Option<Timestamp>) -> Option<String> {
    convert::nanos(&at?).map(when::show)
}

/// Why a node refused, in its own words; or that none answers.
pub(crate) fn plain(error: Error) -> anyhow::Error {
    match error {
        Error::Refused(status) => anyhow::anyhow!("{} ({:?})", status.message(), status.code()),
        error => error.into(),
    }
}

/// Who registers the devices that send, and how long a server may be gone.
///
/// With a token, its holder enters patients, registers devices and assigns them, and each device claims a token of its
/// own, and refreshes it. Without one the demo's people do, and the demo's issuer gives the devices their tokens.
#[derive(Debug, Clone, Args)]
pub struct Sending {
    /// Whose token is used.
    #[command(flatten)]
    pub access: TokenArgs,
    /// How many seconds a server that has gone is waited for.
    #[arg(long, default_value = "60", value_name = "SECONDS")]
    pub patience: u32,
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn an_id_is_spelled_here_as_everywhere() {
        let id = "0191c3c8-7a00-7000-8000-00000000abcd";
        let bare = id.replace('-', "");
        let spelled = |id: &str| {
            [
                Cli::try_parse_from(["wardline", "users", "get", id]).is_ok(),
                Cli::try_parse_from(["wardline", "relations", "list", "--user", id]).is_ok(),
                Cli::try_parse_from(["wardline", "audit", "search", "--patient", id]).is_ok(),
                Cli::try_parse_from(["wardline", "timeline", id, "--metric", "8867-4"]).is_ok(),
            ]
        };
        assert_eq!([spelled(id), spelled(&id.to_uppercase())], [[true; 4]; 2]);
        for wrong in [&bare, &format!("{{{id}}}"), &format!("urn:uuid:{id}"), "00000000-0000-0000-0000-000000000000"] {
            assert_eq!(spelled(wrong), [false; 4], "{wrong}");
        }
    }
}
