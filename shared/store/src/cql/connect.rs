//! A session with the cluster: sign-in, encryption, timeouts; and asking again when it did not answer.

use super::{Consistency, Settings, Tls};
use crate::{Error, metrics};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use scylla::{
    client::{execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    errors::{BadQuery, DbError, ExecutionError, PrepareError, RequestAttemptError},
    policies::{load_balancing::DefaultPolicy, retry::FallthroughRetryPolicy},
    statement::{Consistency as Level, SerialConsistency},
};
use std::{path::Path, sync::Arc, time::Duration};

/// Attempts at one statement before the caller is told; the writer then asks for ever.
const ATTEMPTS: u32 = 4;
/// Wait before the second attempt; doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Opens a session; no keyspace is in use.
pub(super) async fn session(settings: &Settings) -> Result<Session, Error> {
    settings.check()?;
    let level = match settings.consistency {
        Consistency::LocalQuorum => Level::LocalQuorum,
        Consistency::One => Level::One,
    };
    let mut balancing = DefaultPolicy::builder();
    if let Some(datacenter) = &settings.datacenter {
        balancing = balancing.prefer_datacenter(datacenter.clone());
    }
    let profile = ExecutionProfile::builder()
        .consistency(level)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(settings.write_timeout))
        .load_balancing_policy(balancing.build())
        // `again` decides, with a wait between
        .retry_policy(Arc::new(FallthroughRetryPolicy))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&settings.nodes)
        .connection_timeout(settings.connect_timeout)
        .default_execution_profile_handle(profile.into_handle())
        // how our keyspace is replicated: without it the driver does not know which nodes have a row
        .keyspaces_to_fetch([&settings.keyspace])
        .tls_context(settings.tls.as_ref().map(tls).transpose()?.map(Arc::new));
    if let Some(credentials) = &settings.credentials {
        builder = builder.user(&credentials.username, &credentials.password);
    }
    // each contact point once, and the ones found through it: a node that accepts and is silent ends it too
    let patience = settings.connect_timeout * (settings.nodes.len() as u32 + 1);
    match tokio::time::timeout(patience, builder.build()).await {
        Ok(session) => session.map_err(|cause| Error::Unavailable(Box::new(cause))),
        Err(cause) => Err(Error::Unavailable(Box::new(cause))),
    }
}

fn tls(files: &Tls) -> Result<ClientConfig, Error> {
    let bad = |path: &Path, cause: &dyn std::fmt::Display| Error::Config(format!("tls: {}: {cause}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&files.ca).map_err(|cause| bad(&files.ca, &cause))? {
        let certificate = certificate.map_err(|cause| bad(&files.ca, &cause))?;
        roots.add(certificate).map_err(|cause| bad(&files.ca, &cause))?;
    }
    // named rather than the process's default, so that a test or a tool need not install one first
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::Config(format!("tls: {cause}")))?
        .with_root_certificates(roots);
    let Some(identity) = &files.identity else {
        return Ok(config.with_no_client_auth());
    };
    let chain = CertificateDer::pem_file_iter(&identity.cert)
        .and_then(Iterator::collect)
        .map_err(|cause| bad(&identity.cert, &cause))?;
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|cause| bad(&identity.key, &cause))?;
    config.with_client_auth_cert(chain, key).map_err(|cause| bad(&identity.cert, &cause))
}

/// Does something idempotent, again after a growing wait when the cluster did not answer.
pub(super) async fn again<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, ExecutionError>>,
{
    let mut wait = FIRST_WAIT;
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(cause) if is_final(&cause) => return Err(failed(cause)),
            Err(cause) => {
                tracing::debug!(error = %cause, "the cluster did not answer, asking again");
                metrics::retried();
            }
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    attempt().await.map_err(failed)
}

/// What the driver says, in the store's words.
pub(super) fn failed(cause: ExecutionError) -> Error {
    if is_final(&cause) {
        return Error::Config(format!("the cluster refuses a statement: {cause}"));
    }
    Error::Unavailable(Box::new(cause))
}

/// What preparing a statement says, in the store's words.
pub(super) fn prepare_failed(cause: PrepareError) -> Error {
    failed(ExecutionError::PrepareError(cause))
}

/// Whether asking again cannot help.
fn is_final(cause: &ExecutionError) -> bool {
    let attempt = match cause {
        ExecutionError::BadQuery(BadQuery::SerializationError(_)) => return true,
        ExecutionError::LastAttemptError(attempt) => attempt,
        ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt }) => first_attempt,
        _ => return false,
    };
    matches!(
        attempt,
        RequestAttemptError::DbError(
            DbError::SyntaxError
                | DbError::Invalid
                | DbError::AlreadyExists { .. }
                | DbError::FunctionFailure { .. }
                | DbError::AuthenticationError
                | DbError::Unauthorized
                | DbError::ConfigError,
            _
        )
    )
}
