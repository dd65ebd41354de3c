//! A message as mail.

use super::{Message, causes};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use std::time::Duration;

/// How long a mail server may take for each of its answers, and for all.
const TIME: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(60));

/// How the connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// From its beginning (port 465).
    Tls,
    /// Before anything is said (port 587); a server that does not is not used.
    StartTls,
    /// Not at all.
    None,
}

/// Where mail goes.
pub struct MailSettings {
    /// Name of the server.
    pub host: String,
    /// Its TCP port: 587 for STARTTLS, 465 for TLS from the beginning.
    pub port: u16,
    /// How the connection is encrypted.
    pub encryption: Encryption,
    /// Whose mail it is: `Name <name@example.org>`.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// User and password; `None`: the server asks for none.
    pub login: Option<(String, String)>,
}

/// Sends messages as mail.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    /// By these settings.
    ///
    /// # Errors
    /// An address is none, or this system has no certificates.
    pub fn new(settings: MailSettings) -> Result<Self, String> {
        let MailSettings { host, port, encryption, from, to, login } = settings;
        let mailbox = |name: &str, text: &str| {
            text.parse::<Mailbox>().map_err(|error| format!("{name}: {} is no address: {error}", model::quoted(text)))
        };
        let from = mailbox("from", &from)?;
        let to = to.iter().map(|text| mailbox("to", text)).collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err("to: must be at least one address".to_owned());
        }
        let parameters = || TlsParameters::new(host.clone()).map_err(|error| format!("tls: {error}"));
        let tls = match encryption {
            Encryption::Tls => Tls::Wrapper(parameters()?),
            Encryption::StartTls => Tls::Required(parameters()?),
            Encryption::None => Tls::None,
        };
        // it is not dangerous: this says how it is encrypted
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host).port(port).tls(tls);
        let builder = builder.timeout(Some(TIME.0));
        let builder = match login {
            Some((user, password)) => builder.credentials(Credentials::new(user, password)),
            None => builder,
        };
        Ok(Self { transport: builder.build(), from, to })
    }

    /// Sends a message to all recipients at once, within 60 s.
    ///
    /// # Errors
    /// The server did not take it.
    pub(super) async fn send(&self, message: &Message) -> Result<(), String> {
        let mut mail = lettre::Message::builder().from(self.from.clone()).subject(&message.subject);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        // the same again is known as such by who reads it
        let id = message.id.replace('/', ".");
        let mail = mail.message_id(Some(format!("<{id}@{}>", self.from.email.domain())));
        let mail = mail.header(ContentType::TEXT_PLAIN).body(message.text()).map_err(|error| error.to_string())?;
        let sending = tokio::time::timeout(TIME.1, self.transport.send(mail)).await;
        let sent = sending.map_err(|_| format!("the mail server took more than {} s", TIME.1.as_secs()))?;
        sent.map(|_| ()).map_err(|error| format!("the mail server did not take it: {}", causes(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_by_name() {
        let mail = |from: &str, to: &[&str]| {
            let to = to.iter().map(|&text| text.to_owned()).collect();
            let (host, from) = ("localhost".to_owned(), from.to_owned());
            let settings = MailSettings { host, port: 25, encryption: Encryption::None, from, to, login: None };
            Mail::new(settings).map(|_| ())
        };
        assert_eq!(mail("Wardline <w@example.org>", &["a@example.org", "B <b@example.org>"]), Ok(()));
        assert!(mail("nobody", &["a@example.org"]).unwrap_err().starts_with("from: "));
        assert!(mail("w@example.org", &["a@"]).unwrap_err().starts_with("to: "));
        assert!(mail("w@example.org", &[]).unwrap_err().starts_with("to: "));
    }
}
