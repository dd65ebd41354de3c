//! What the operators' commands have in common: a connection with a token, calls, and times and errors as people read them.

use crate::{opening, timeline::when};
use anyhow::Context;
use clap::Args;
use client::{Connection, Error, Remote, Tokens};
use guard::convert;
pub(crate) use model::on_one_line;
use proto::prost_types::Timestamp;
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};
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
            let answer = answer.await;
            let wait = answer.as_ref().err().and_then($crate::operator::told_to_wait);
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => break answer,
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
        let file = self.token_file.as_deref().map(token_file);
        // a variable that is there and empty is none
        let text = self.token.as_deref().filter(|token| !token.is_empty());
        file.or_else(|| text.map(client::token))
    }
}

/// The token that a file holds, read at each call: a pipe that nobody writes to would hold up the whole process.
fn token_file(path: &Path) -> Tokens {
    let (path, token) = (path.to_owned(), client::token_file(path));
    Arc::new(move || {
        opening::check(&path).map_err(|cause| format!("{}: {cause}", spelled(&path)))?;
        token()
    })
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

/// How long to wait for a node that answers, and says to come later: an import of thousands of devices takes its time.
/// Nothing, when it says to come back after more than anybody waits for at a terminal.
pub(crate) fn told_to_wait(error: &Error) -> Option<Duration> {
    let Error::Unreachable { last: Some(status), .. } = error else { return None };
    error.retry_after().filter(|wait| status.code() == Code::ResourceExhausted && *wait <= PATIENCE)
}

/// What a node said that wants to be left alone for longer than a call is tried, and when to try again.
pub(crate) fn put_off(error: &Error) -> Option<String> {
    let Error::Unreachable { last: Some(status), .. } = error else { return None };
    let wait = error.retry_after().filter(|wait| *wait > PATIENCE)?;
    let seconds = wait.as_millis().div_ceil(1_000);
    let when = if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) };
    Some(format!("{} ({:?}); try again in {when}", status.message(), status.code()))
}

/// A time as it is printed.
pub(crate) fn shown(at: Option<Timestamp>) -> Option<String> {
    convert::nanos(&at?).map(when::show)
}

/// A file as messages name it: in its own letters, on one line.
pub(crate) fn spelled(path: &Path) -> String {
    on_one_line(&path.display().to_string()).into_owned()
}

/// Why a node refused, in its own words; or that none answers.
pub(crate) fn plain(error: Error) -> anyhow::Error {
    if let Some(text) = put_off(&error) {
        return anyhow::anyhow!(text);
    }
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
    use super::{TokenArgs, on_one_line, plain};
    use crate::cli::Cli;
    use clap::Parser;
    use proto::problem;
    use std::{
        borrow::Cow,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        time::Duration,
    };
    use tokio::time::Instant;
    use tonic::{Response, Status};

    /// A node that refuses the first calls alike.
    #[derive(Clone)]
    struct Node {
        n_refused: u32,
        refusal: Status,
        n_calls: Arc<AtomicU32>,
    }

    impl Node {
        async fn open(&mut self, _: String) -> Result<Response<()>, Status> {
            let n = self.n_calls.fetch_add(1, Ordering::Relaxed);
            if n < self.n_refused { Err(self.refusal.clone()) } else { Ok(Response::new(())) }
        }
    }

    struct Caller {
        client: Node,
    }

    fn refusing(n_refused: u32, refusal: Status) -> Caller {
        Caller { client: Node { n_refused, refusal, n_calls: Arc::default() } }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_come_back_much_later_is_told_when_and_asks_once() {
        let hour = Duration::from_secs(3_600);
        for refusal in [problem::exhausted("MANY", "too many", hour), problem::unavailable("REST", "it rests", hour)] {
            let (caller, began) = (refusing(u32::MAX, refusal.clone()), Instant::now());
            let error = plain(calling!(Unbegun, caller.open(String::new())).unwrap_err()).to_string();
            assert_eq!((caller.client.n_calls.load(Ordering::Relaxed), began.elapsed()), (1, Duration::ZERO));
            assert!(error.contains(refusal.message()) && error.ends_with("try again in 60 min"), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_come_back_soon_waits_as_long_each_time() {
        for seconds in [1, 29, 30] {
            let wait = Duration::from_secs(seconds);
            let (caller, began) = (refusing(3, problem::exhausted("BUSY", "busy", wait)), Instant::now());
            calling!(Unbegun, caller.open(String::new())).unwrap();
            assert_eq!(caller.client.n_calls.load(Ordering::Relaxed), 4);
            assert!(began.elapsed() >= wait * 3, "{:?}", began.elapsed());
        }
    }

    #[test]
    fn a_token_that_is_empty_is_none() {
        let given = |token: &str| TokenArgs { token: Some(token.to_owned()), token_file: None }.tokens().is_some();
        assert_eq!([given("a"), given("")], [true, false]);
    }

    #[test]
    fn a_token_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let given = |name: &str| {
            let access = TokenArgs { token: None, token_file: Some(dir.path().join(name)) };
            access.tokens().unwrap()().map_err(|cause| cause.to_string())
        };
        std::fs::write(dir.path().join("token"), "secret\n").unwrap();
        assert_eq!(given("token").as_deref(), Ok("secret"));
        assert!(std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap().success());
        assert!(given("pipe").unwrap_err().contains("pipe: it is no plain file; give one"));
    }

    #[test]
    fn a_row_stays_one() {
        assert!(matches!(on_one_line("Zoë: 7 °C, 1/2"), Cow::Borrowed("Zoë: 7 °C, 1/2")));
        assert_eq!(on_one_line("a\r\nb\tc\u{1b}[2J\u{85}\u{202e}ä"), "a\\r\\nb\\tc\\u{1b}[2J\\u{85}\\u{202e}ä");
    }

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
