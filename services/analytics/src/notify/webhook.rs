//! A message as a request to an address of the settings.

use super::{Message, causes};
use crate::{hexadecimal::hexadecimal, tls};
use aws_lc_rs::hmac;
use model::Clock;
use reqwest::{Client, redirect::Policy};
use std::time::Duration;

/// How long a receiver may take.
const TIME: Duration = Duration::from_secs(20);

/// Posts messages. Anything but a status of 2xx is tried again.
pub struct Webhook {
    client: Client,
    url: String,
    secret: Option<hmac::Key>,
    clock: Clock,
}

impl Webhook {
    /// To this address; signed where there is a secret.
    ///
    /// # Errors
    /// The address is none, or this system has no certificates.
    pub fn new(url: &str, secret: Option<&[u8]>, clock: Clock) -> Result<Self, String> {
        let parsed = reqwest::Url::parse(url).map_err(|error| format!("url: {error}"))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err("url: must begin with https:// or http://".to_owned());
        }
        // what is posted goes there and nowhere else
        let tls = tls::client(None).map_err(|error| error.to_string())?;
        let client =
            Client::builder().use_preconfigured_tls(tls).no_proxy().timeout(TIME).redirect(Policy::none()).build();
        let client = client.map_err(|error| error.to_string())?;
        let secret = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
        Ok(Self { client, url: url.to_owned(), secret, clock })
    }

    /// Posts a message as JSON within 20 s, signed if there is a secret.
    ///
    /// # Errors
    /// Nobody took it; the address is not said, which may hold a secret.
    pub(super) async fn send(&self, message: &Message) -> Result<(), String> {
        let body = message.body.to_string();
        let at = (self.clock)().0 / 1_000_000_000;
        let mut request = self.client.post(&self.url).header("content-type", "application/json");
        request = request.header("wardline-event", &message.id).header("wardline-timestamp", at);
        if let Some(secret) = &self.secret {
            request = request.header("wardline-signature", signature(secret, at, &body));
        }
        let answer = request.body(body).send().await;
        let answer =
            answer.map_err(|error| format!("the webhook cannot be reached: {}", causes(&error.without_url())))?;
        let status = answer.status();
        status.is_success().then_some(()).ok_or_else(|| format!("the webhook answered {}", status.as_u16()))
    }
}

/// `sha256=` and the HMAC of the time in seconds, a full stop and the body, in hexadecimal digits: who has the secret knows that
/// this is no old message sent again.
fn signature(secret: &hmac::Key, at: i64, body: &str) -> String {
    let tag = hmac::sign(secret, format!("{at}.{body}").as_bytes());
    format!("sha256={}", hexadecimal(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn a_signature_is_the_hmac_of_time_and_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let tag = hmac::sign(&key, b"what do ya want for nothing?");
        assert_eq!(hexadecimal(tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let one = signature(&key, 1, "{}");
        assert!(one.starts_with("sha256=") && one.len() == 71, "{one}");
        assert_ne!(one, signature(&key, 2, "{}"));
        assert_ne!(one, signature(&key, 1, "{ }"));
    }

    #[test]
    fn what_is_no_address_of_the_web_is_refused() {
        let clock: Clock = || model::Nanos(0);
        for url in ["", "example.org", "ftp://example.org/", "file:///etc/passwd"] {
            assert!(Webhook::new(url, None, clock).is_err(), "{url}");
        }
        assert!(Webhook::new("https://example.org/hook", None, clock).is_ok());
    }
}
