//! The settings of TLS: what does not go together, and what is made of them.

use crate::config::{ClientAuth, Config, Tls, is_set};
use listen::tls::Settings;
use std::{net::SocketAddr, time::Duration};

impl Tls {
    /// Whether the gRPC port is encrypted.
    pub fn is_on(&self) -> bool {
        is_set(&self.cert_file)
    }

    /// What the ports are encrypted with, if they are.
    pub(crate) fn settings(&self) -> Option<Settings> {
        self.is_on().then(|| Settings {
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            client_ca_file: Some(self.client_ca_file.clone()).filter(|file| is_set(file)),
            client_auth_required: self.client_auth == ClientAuth::Required,
            crl_files: self.crl_files.clone(),
            reload: Duration::from_secs(self.reload_seconds),
        })
    }

    /// Every mistake, with what to do.
    pub fn contradictions(&self) -> Vec<String> {
        let (cert, key, ca) = (is_set(&self.cert_file), is_set(&self.key_file), is_set(&self.client_ca_file));
        let rules = [
            (cert && !key, "tls.key_file: name the key of tls.cert_file"),
            (key && !cert, "tls.cert_file: name the certificate of tls.key_file"),
            (ca && !cert, "tls.client_ca_file: client certificates need TLS; name tls.cert_file and tls.key_file"),
            (
                self.client_auth == ClientAuth::Required && !ca,
                "tls.client_auth: required needs tls.client_ca_file, the authorities whose certificates are believed",
            ),
            (
                !self.crl_files.is_empty() && !ca,
                "tls.crl_files: there are no client certificates to be revoked without tls.client_ca_file",
            ),
            (self.crl_files.iter().any(|path| !is_set(path)), "tls.crl_files: one of them is an empty name"),
        ];
        rules.into_iter().filter(|(wrong, _)| *wrong).map(|(_, text)| text.to_owned()).collect()
    }
}

impl Config {
    /// What connections may take, for at most so many.
    pub(crate) fn limits(&self, max_connections: usize) -> listen::Limits {
        listen::Limits {
            max_connections,
            max_per_address: self.server.max_connections_per_address,
            handshake: Duration::from_secs(self.tls.handshake_timeout_seconds),
            write: Duration::from_secs(self.server.write_timeout_seconds),
        }
    }

    /// How connections are served.
    pub(crate) fn terms(&self) -> listen::Terms {
        let minutes = self.server.connection_age_minutes;
        let age = (minutes > 0).then(|| Duration::from_secs(minutes * 60));
        listen::Terms::new(self.server.max_streams, age, Duration::from_secs(self.server.drain_seconds))
    }

    /// Where a client finds the gRPC port that listens at `at`.
    pub fn uri(&self, at: SocketAddr) -> String {
        format!("{}://{at}", if self.tls.is_on() { "https" } else { "http" })
    }

    /// Whether the JSON API is served with TLS.
    pub fn api_is_encrypted(&self) -> bool {
        self.tls.is_on() && self.tls.api
    }

    /// Where a client finds the JSON API that listens at `at`.
    pub fn api_uri(&self, at: SocketAddr) -> String {
        format!("{}://{at}", if self.api_is_encrypted() { "https" } else { "http" })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Sources};

    #[test]
    fn what_does_not_go_together_is_refused_with_the_missing_setting() {
        let load = |flags: &[&str]| {
            let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
            Config::load(&Sources { file: None, environment: Vec::new(), flags }).map(|_| ())
        };
        let [cert, key, ca] = ["tls.cert_file=c.pem", "tls.key_file=k.pem", "tls.client_ca_file=ca.pem"];
        let crl = "tls.crl_files=[\"crl.pem\"]";
        let required = "tls.client_auth=required";
        for (flags, named) in [
            (&[cert][..], "tls.key_file"),
            (&[key], "tls.cert_file"),
            (&[ca], "tls.client_ca_file"),
            (&[cert, key, required], "tls.client_auth"),
            (&[cert, key, crl], "tls.crl_files"),
            (&[cert, key, ca, "tls.crl_files=[\"\"]"], "tls.crl_files"),
            (&["tls.reload_seconds=0"], "tls.reload_seconds"),
            (&["tls.handshake_timeout_seconds=0"], "tls.handshake_timeout_seconds"),
        ] {
            let text = load(flags).unwrap_err().to_string();
            assert!(text.starts_with("1 mistakes") && text.contains(&format!("\n  {named}: ")), "{flags:?}: {text}");
        }
        load(&[cert, key]).unwrap();
        load(&[cert, key, ca, crl, required]).unwrap();
    }
}
