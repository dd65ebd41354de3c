//! The HTTP client that asks publishers and object stores: it follows nothing by itself, knows no proxy, and does not wait for ever.

use super::address::{Guard, Refused};
use crate::tls;
use reqwest::{Client, redirect::Policy};
use std::{error::Error, path::Path, sync::Arc, time::Duration};

/// How patient a download is.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Until there is a connection.
    pub(super) connect: Duration,
    /// Until an answer has begun, and until more of it comes.
    pub(super) idle: Duration,
    /// How often it is tried again after what may pass.
    pub(super) tries: u32,
    /// How long it waits before it tries again: the first time, doubled each time.
    pub(super) pause: Duration,
    /// Longest wait before a try: who asks for more ends the attempt.
    pub(super) longest_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), idle: seconds(30), tries: 6, pause: seconds(1), longest_pause: seconds(60) }
    }
}

impl Pace {
    /// Whether the other side may have the pause that it asks for within the download. If not, the attempt ends, and the job's
    /// next one begins no earlier than asked.
    pub(super) fn waits_for(&self, asked: Option<Duration>) -> bool {
        asked.is_none_or(|asked| asked <= self.longest_pause)
    }

    /// How long to wait before the try after `n` others: as long as the other side asks, which [`Pace::waits_for`] has allowed;
    /// else longer each time, and not all at once. At most `longest_pause`.
    pub(super) fn wait(&self, n: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.pause.saturating_mul(1 << n.min(16));
        let wait = asked.unwrap_or_else(|| doubled.mul_f64(rand::random_range(0.75..1.25)));
        wait.min(self.longest_pause)
    }
}

/// A client that believes the system's authorities and those of a file; `private`: whether names may lead to inner addresses.
pub(super) fn client(ca_file: Option<&Path>, private: bool, pace: &Pace) -> Result<Client, String> {
    let mut tls = tls::client(ca_file).map_err(|error| error.to_string())?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let builder = Client::builder()
        .use_preconfigured_tls(tls)
        .user_agent("wardline")
        .no_proxy()
        .redirect(Policy::none())
        .dns_resolver(Arc::new(Guard { private }))
        .connect_timeout(pace.connect)
        .read_timeout(pace.idle);
    builder.build().map_err(|error| cause(&error))
}

/// Why an address was not asked, where the guard refused it.
pub(super) fn refused<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Refused> {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref())
}

/// The innermost cause: it says what happened, without the address, which may have a secret in it.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    if error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout) {
        return "it takes too long".to_owned();
    }
    let innermost = std::iter::successors(Some(error), |error| (*error).source()).last();
    match innermost {
        Some(error) if error.is::<reqwest::Error>() => "no HTTP as expected".to_owned(),
        Some(error) => error.to_string(),
        None => String::new(),
    }
}
