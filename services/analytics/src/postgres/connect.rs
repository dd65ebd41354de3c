//! A connection to the database, and what its errors mean for a job.

use super::{Postgres, tls::Tls};
use crate::{jobs::kinds::Failure, tls};
use std::{error::Error as _, fs, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{Client, Config, Connection, Error, NoTls, config::SslMode};
use tokio_util::task::AbortOnDropHandle;

/// Oldest server, whose unique keys can hold nulls: 15.
const OLDEST: i32 = 150_000;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Most bytes of what the database says.
const SAID_BYTES: usize = 500;

/// A connection. The task ends with it, and the server takes back what was not committed.
pub(super) struct Connected {
    pub(super) client: Client,
    _driver: AbortOnDropHandle<()>,
}

impl Postgres {
    /// Connects, to a server that is new enough.
    pub(super) async fn connect(&self) -> Result<Connected, Failure> {
        let mut config = Config::new();
        // a folder is that of a Unix socket
        config.host(&self.host).port(self.port).dbname(&self.database).user(&self.user);
        config.application_name("wardline").connect_timeout(CONNECT).keepalives_idle(CONNECT * 3);
        if let Some(password) = self.password()? {
            config.password(password);
        }
        let connected = match self.tls {
            true => {
                let config_failed = |error: tls::Error| Failure::Final(format!("analytics.postgres: {error}"));
                let tls = Tls::new(tls::client(self.ca_file.as_deref()).map_err(config_failed)?);
                let (client, connection) = config.ssl_mode(SslMode::Require).connect(tls).await.map_err(failed)?;
                Connected { client, _driver: drive(connection) }
            }
            false => {
                let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await.map_err(failed)?;
                Connected { client, _driver: drive(connection) }
            }
        };
        let asked = "SELECT current_setting('server_version_num')::int4";
        let version: i32 = connected.client.query_one(asked, &[]).await.map_err(failed)?.get(0);
        match version >= OLDEST {
            true => Ok(connected),
            false => Err(Failure::Final("the database is older than PostgreSQL 15: take a newer one".to_owned())),
        }
    }

    fn password(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.password_file else {
            return Ok(Some(self.password.clone()).filter(|password| !password.is_empty()));
        };
        let unread = |error: std::io::Error| {
            tracing::warn!(path = %path.display(), %error, "a password cannot be read");
            Failure::Final(format!("analytics.postgres.password_file cannot be read: {}", error.kind()))
        };
        fs::read_to_string(path).map(|text| Some(text.trim_end_matches(['\r', '\n']).to_owned())).map_err(unread)
    }
}

fn drive<S, T>(connection: Connection<S, T>) -> AbortOnDropHandle<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::info!(error = &error as &dyn std::error::Error, "the connection to a database ended");
        }
    }))
}

/// What an error means: whether it may go better next time. What the database says has no secrets in it; its details, which may
/// have rows in them, are left out.
pub(super) fn failed(error: Error) -> Failure {
    let Some(said) = error.as_db_error() else {
        let cause = std::iter::successors(error.source(), |error| (*error).source()).last();
        let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
        return match cause == "password missing" {
            true => Failure::Final("the database wants a password: set analytics.postgres.password_file".to_owned()),
            false => Failure::Again(format!("the database cannot be reached, or is gone ({cause})")),
        };
    };
    let (code, message) = (said.code().code(), said.message());
    let message = &message[..message.floor_char_boundary(SAID_BYTES)];
    let text = format!("the database says: {message} ({code})");
    match code.get(..2).unwrap_or_default() {
        // connections, serialisation and deadlocks, resources, locks, an operator, the system
        "08" | "40" | "53" | "55" | "57" | "58" => Failure::Again(text),
        _ => Failure::Final(text),
    }
}
