//! Where Kafka is and how we speak to it; from these come librdkafka's settings, each with its reason.

use crate::Error;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// Everything the clients need to know.
#[derive(Clone)]
pub struct Settings {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Name of the topic to publish to and to read.
    pub topic: String,
    /// Of the topic when it is made; an existing one must have as many.
    pub partitions: u16,
    /// Of the topic when it is made.
    pub replication_factor: u16,
    /// Of the topic when it is made: so many copies before a record counts as durable.
    pub min_insync_replicas: u16,
    /// Of the batches on their way.
    pub compression: Compression,
    /// How the connection is protected.
    pub security: Security,
    /// Publishing waits when so many bytes have not been reported durable yet; at most 1 GiB.
    pub max_in_flight_bytes: usize,
    /// Where a group starts that has no committed position.
    pub auto_offset_reset: OffsetReset,
    /// librdkafka settings that replace ours, for what is not foreseen here.
    pub extra: BTreeMap<String, String>,
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Smallest: what the network and the broker's disk see.
    Zstd,
    /// LZ4: the least CPU time.
    Lz4,
    /// Batches are sent as they are.
    None,
}

/// Where a group starts that has no committed position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the earliest record: the first start.
    Earliest,
    /// Nowhere: positions that were there and are not any more mean that records may have been skipped.
    Error,
}

/// How the connection is protected.
#[derive(Clone, Default)]
pub struct Security {
    /// How connections are encrypted and authenticated.
    pub protocol: Protocol,
    /// PEM file of the authorities that the broker's certificate is checked against.
    pub ca: Option<PathBuf>,
    /// PEM file of our client certificate; `None`: we show none.
    pub certificate: Option<PathBuf>,
    /// PEM file of that certificate's private key.
    pub key: Option<PathBuf>,
    /// `SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`.
    pub sasl_mechanism: Option<String>,
    /// User name for SASL; needed with the SASL protocols.
    pub username: Option<String>,
    /// Password for SASL; left out of `Debug` and logs.
    pub password: Option<String>,
}

/// Encryption and authentication of connections: Kafka's `security.protocol`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// TLS; clients may have a certificate.
    Ssl,
    /// TLS, and a user name and password by SASL.
    SaslSsl,
    /// A user name and password by SASL, without encryption.
    SaslPlaintext,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            topic: crate::READINGS.into(),
            partitions: 8,
            replication_factor: 3,
            min_insync_replicas: 2,
            compression: Compression::Zstd,
            security: Security::default(),
            max_in_flight_bytes: 16 << 20,
            auto_offset_reset: OffsetReset::Error,
            extra: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security")
            .field("protocol", &self.protocol)
            .field("ca", &self.ca)
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .field("sasl_mechanism", &self.sasl_mechanism)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "hidden"))
            .finish()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("partitions", &self.partitions)
            .field("replication_factor", &self.replication_factor)
            .field("min_insync_replicas", &self.min_insync_replicas)
            .field("compression", &self.compression)
            .field("security", &self.security)
            .field("max_in_flight_bytes", &self.max_in_flight_bytes)
            .field("auto_offset_reset", &self.auto_offset_reset)
            // Values can be secrets: `sasl.password`, `ssl.key.pem` ...
            .field("extra", &self.extra.keys())
            .finish()
    }
}

impl Settings {
    /// Says what is wrong, if anything is.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::Config(what.into()));
        if self.brokers.trim().is_empty() || self.topic.is_empty() {
            return wrong("brokers and topic must be named");
        }
        if self.partitions == 0 || self.replication_factor == 0 || self.min_insync_replicas == 0 {
            return wrong("partitions, replication_factor and min_insync_replicas are at least 1");
        }
        if self.min_insync_replicas > self.replication_factor {
            return wrong("min_insync_replicas is at most replication_factor");
        }
        if self.max_in_flight_bytes < 64 << 10 || self.max_in_flight_bytes > 1 << 30 {
            return wrong("max_in_flight_bytes is between 64 KiB and 1 GiB");
        }
        let sasl = matches!(self.security.protocol, Protocol::SaslSsl | Protocol::SaslPlaintext);
        let named = self.security.sasl_mechanism.is_some() && self.security.username.is_some();
        if sasl && !(named && self.security.password.is_some()) {
            return wrong("SASL needs a mechanism, a username and a password");
        }
        if self.security.certificate.is_some() != self.security.key.is_some() {
            return wrong("a certificate needs its key, and a key its certificate");
        }
        Ok(())
    }

    /// The librdkafka settings that all clients have in common.
    pub(super) fn client(&self) -> Result<ClientConfig, Error> {
        self.check()?;
        let mut config = ClientConfig::new();
        // A broker that hangs up is told of at this level and nowhere else.
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("bootstrap.servers", &self.brokers).set("client.id", "wardline");
        // Idle connections through a NAT die silently otherwise.
        config.set("socket.keepalive.enable", "true").set("socket.timeout.ms", "30000");
        config.set("reconnect.backoff.max.ms", "5000");
        let security = &self.security;
        let protocol = match security.protocol {
            Protocol::Plaintext => "plaintext",
            Protocol::Ssl => "ssl",
            Protocol::SaslSsl => "sasl_ssl",
            Protocol::SaslPlaintext => "sasl_plaintext",
        };
        config.set("security.protocol", protocol);
        let files = [
            ("ssl.ca.location", &security.ca),
            ("ssl.certificate.location", &security.certificate),
            ("ssl.key.location", &security.key),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                config.set(name, file.to_string_lossy());
            }
        }
        let texts = [
            ("sasl.mechanism", &security.sasl_mechanism),
            ("sasl.username", &security.username),
            ("sasl.password", &security.password),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                config.set(name, text);
            }
        }
        Ok(config)
    }

    pub(super) fn producer(&self) -> Result<ClientConfig, Error> {
        let mut config = self.client()?;
        let compression = match self.compression {
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
            Compression::None => "none",
        };
        // Sent again by the client, a record is not written twice. `acks` is said too, so that a setting of it in
        // `extra` that contradicts is refused.
        config.set("enable.idempotence", "true").set("acks", "all");
        // As Java's clients, not librdkafka's own CRC32.
        config.set("partitioner", "murmur2_random");
        config.set("compression.type", compression).set("linger.ms", "5").set("batch.size", "262144");
        // Our own limit in bytes is smaller than both, so a full queue is never seen.
        config.set("queue.buffering.max.kbytes", "65536").set("queue.buffering.max.messages", "1000000");
        // Long enough for a leader to change: a short one turns a stutter into records of unknown fate.
        config.set("message.timeout.ms", "60000");
        config.set("message.max.bytes", (super::MAX_RECORD_BYTES + super::RECORD_OVERHEAD_BYTES).to_string());
        Ok(self.with_extra(config))
    }

    pub(super) fn consumer(&self, group: &str) -> Result<ClientConfig, Error> {
        let mut config = self.client()?;
        let reset = match self.auto_offset_reset {
            OffsetReset::Earliest => "earliest",
            OffsetReset::Error => "error",
        };
        config.set("group.id", group).set("auto.offset.reset", reset);
        // Only what has been dealt with is committed, by us.
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        // `group.protocol=consumer` makes a member fatal that polls late, in this librdkafka.
        config.set("partition.assignment.strategy", "cooperative-sticky").set("group.protocol", "classic");
        // The partitions of a member that was killed stand still for so long; the default is 45 s.
        config.set("session.timeout.ms", "10000");
        config.set("check.crcs", "true");
        // The defaults hold 64 MiB and 100,000 records ahead.
        config.set("queued.max.messages.kbytes", "16384").set("queued.min.messages", "5000");
        config.set("fetch.message.max.bytes", "1048576");
        Ok(self.with_extra(config))
    }

    pub(super) fn with_extra(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.extra {
            config.set(name, value);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut settings = Settings::default();
        settings.security.password = Some("swordfish".into());
        settings.extra.insert("ssl.key.password".into(), "swordfish".into());
        let shown = format!("{settings:?}");
        assert!(!shown.contains("swordfish"), "{shown}");
        assert!(shown.contains("ssl.key.password"), "{shown}");
    }

    #[test]
    fn contradictions_are_refused() {
        let wrong = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            settings.check().unwrap();
            change(&mut settings);
            matches!(settings.check(), Err(Error::Config(_)))
        };
        assert!(wrong(|s| s.brokers.clear()));
        assert!(wrong(|s| s.partitions = 0));
        assert!(wrong(|s| s.min_insync_replicas = 4));
        assert!(wrong(|s| s.max_in_flight_bytes = 1));
        assert!(wrong(|s| s.security.protocol = Protocol::SaslSsl));
        assert!(wrong(|s| s.security.key = Some("key.pem".into())));
    }

    #[test]
    fn extra_settings_win() {
        let mut settings = Settings::default();
        settings.extra.insert("linger.ms".into(), "1".into());
        assert_eq!(settings.producer().unwrap().get("linger.ms"), Some("1"));
        assert_eq!(settings.consumer("g").unwrap().get("check.crcs"), Some("true"));
    }
}
