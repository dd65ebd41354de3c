//! What librdkafka said last of the brokers. A question that nobody answers ends with a time-out, whatever the cause;
//! the cause (a wrong password, a certificate of an unknown authority) is heard only here.

use crate::Error;
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What was heard longer ago explains nothing: librdkafka repeats a complaint that lasts every 30 s.
const FRESH: Duration = Duration::from_secs(60);

/// What librdkafka's words mean for our settings: what the reason has, and what to look at.
const HINTS: [(&str, &str); 3] = [
    ("certificate verify failed", "is the broker's certificate of the authority that we trust, and for this host?"),
    ("SSL alert", "does the broker want a certificate of us, or another one?"),
    ("Disconnected", "if it lasts: is this the listener for our security protocol?"),
];

/// Words of a refusal: what is logged is heard a moment before the code. That our certificate is not good enough comes late, as
/// a failure to receive.
const REFUSALS: [&str; 4] =
    ["certificate verify failed", "SSL alert", "SASL authentication error", "mechanism handshake failed"];

/// Hears what goes wrong with a client's connections. Part of every client's context.
#[derive(Default)]
pub(super) struct Trouble(Mutex<Option<Heard>>);

struct Heard {
    /// None of what is only logged: a connection that was closed.
    code: Option<RDKafkaErrorCode>,
    reason: String,
    at: Instant,
}

/// A context that heeds the trouble of its client.
pub(super) trait Heeds: ClientContext {
    fn trouble(&self) -> &Trouble;
}

/// An error, and what may have caused it.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Explained {
    reason: String,
    #[source]
    source: KafkaError,
}

impl Trouble {
    /// For the context's `error`: keeps what it says.
    pub(super) fn hear(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // Follows each of the others, and says less.
            None | Some(RDKafkaErrorCode::AllBrokersDown) => {}
            code => *self.heard() = Some(Heard { code, reason: reason.to_owned(), at: Instant::now() }),
        }
    }

    /// For the context's `log`: a listener of another protocol closes the connection, and that is said only here.
    pub(super) fn hear_log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        match level {
            RDKafkaLogLevel::Debug => tracing::debug!(facility, line, "librdkafka"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => tracing::info!(facility, line, "librdkafka"),
            _ => tracing::warn!(facility, line, "librdkafka"),
        }
        if facility == "FAIL" {
            let mut heard = self.heard();
            if heard.as_ref().is_none_or(|heard| heard.code.is_none()) {
                *heard = Some(Heard { code: None, reason: line.to_owned(), at: Instant::now() });
            }
        }
    }

    /// The brokers have answered: what was heard before is no reason for what comes.
    pub(super) fn over(&self) {
        *self.heard() = None;
    }

    /// Whether a broker, or our check of its certificate, has said no: waiting does not help.
    pub(super) fn is_refused(&self) -> bool {
        self.heard().as_ref().is_some_and(Heard::is_refusal)
    }

    /// `error`, which says that nobody answered, with what is known of the cause.
    pub(super) fn explain(&self, error: KafkaError) -> Error {
        match &*self.heard() {
            Some(heard) if heard.is_refusal() => Error::Config(heard.told()),
            Some(heard) => heard.explain(error),
            None => super::client_error(error),
        }
    }

    /// As [`Self::explain`], for a client that goes on: the password may be put right while it waits.
    pub(super) fn explain_for_now(&self, error: KafkaError) -> Error {
        match &*self.heard() {
            Some(heard) => heard.explain(error),
            None => Error::Unavailable(Box::new(error)),
        }
    }

    fn heard(&self) -> MutexGuard<'_, Option<Heard>> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.take_if(|heard| heard.at.elapsed() > FRESH);
        heard
    }
}

impl Heard {
    fn is_refusal(&self) -> bool {
        use RDKafkaErrorCode::{Authentication, SSL, SaslAuthenticationFailed, UnsupportedSASLMechanism};
        let refusals = [Authentication, SSL, SaslAuthenticationFailed, UnsupportedSASLMechanism];
        self.code.is_some_and(|code| refusals.contains(&code))
            || REFUSALS.iter().any(|words| self.reason.contains(words))
    }

    fn explain(&self, source: KafkaError) -> Error {
        Error::Unavailable(Box::new(Explained { reason: self.told(), source }))
    }

    fn told(&self) -> String {
        match HINTS.iter().find(|(words, _)| self.reason.contains(words)) {
            Some((_, hint)) => format!("{}; {hint}", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// The context of a client that asks a question or two.
#[derive(Default)]
pub(super) struct AdminContext(Trouble);

impl ClientContext for AdminContext {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
        self.0.hear(&error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.hear_log(level, facility, line);
    }
}

impl ConsumerContext for AdminContext {}

impl Heeds for AdminContext {
    fn trouble(&self) -> &Trouble {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: RDKafkaErrorCode) -> Trouble {
        let trouble = Trouble::default();
        trouble.hear(&KafkaError::Global(code), "broker 1 says why");
        trouble.hear(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        trouble
    }

    fn timed_out() -> KafkaError {
        KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut)
    }

    #[test]
    fn a_refusal_is_a_matter_of_settings_and_gives_its_reason() {
        for code in [RDKafkaErrorCode::Authentication, RDKafkaErrorCode::SSL] {
            let trouble = told(code);
            assert!(trouble.is_refused());
            assert!(matches!(trouble.explain(timed_out()), Error::Config(reason) if reason == "broker 1 says why"));
            assert!(matches!(trouble.explain_for_now(timed_out()), Error::Unavailable(_)), "a running client waits");
        }
    }

    #[test]
    fn a_refusal_is_one_also_before_its_code_is_heard() {
        for words in ["SSL routines::certificate verify failed", "SASL authentication error: Authentication failed"] {
            let trouble = Trouble::default();
            trouble.hear_log(RDKafkaLogLevel::Error, "FAIL", &format!("broker 1: {words} (after 4ms)"));
            assert!(trouble.is_refused(), "{words}");
        }
    }

    #[test]
    fn a_lost_connection_may_come_back() {
        let trouble = told(RDKafkaErrorCode::BrokerTransportFailure);
        assert!(!trouble.is_refused());
        let Error::Unavailable(cause) = trouble.explain(timed_out()) else { panic!("not for now") };
        assert_eq!(cause.to_string(), "broker 1 says why");
        assert!(cause.source().is_some());
    }

    #[test]
    fn a_closed_connection_is_named_unless_there_is_more_to_say() {
        let trouble = Trouble::default();
        trouble.hear_log(RDKafkaLogLevel::Info, "FAIL", "broker 1: Disconnected");
        let Error::Unavailable(cause) = trouble.explain(timed_out()) else { panic!("not for now") };
        assert!(cause.to_string().ends_with(HINTS[2].1), "{cause}");
        let trouble = told(RDKafkaErrorCode::SSL);
        trouble.hear_log(RDKafkaLogLevel::Info, "FAIL", "broker 1: Disconnected");
        assert!(trouble.is_refused());
    }

    #[test]
    fn what_is_over_explains_nothing() {
        let trouble = told(RDKafkaErrorCode::Authentication);
        trouble.over();
        assert!(!trouble.is_refused());
        assert!(matches!(trouble.explain(timed_out()), Error::Unavailable(_)));
    }
}
